package schema

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Write appends the Avro binary encoding of a JSON value.
//
// A field that the value does not have takes the default of the schema, or null where that is allowed; one
// that the schema does not have is refused. Which branch of a union a value takes:
//
//   - the only one that can hold it;
//   - of several, the first in this order: enum, decimal, date and time, uuid, string, fixed, bytes for texts,
//     and before all others those from which the text comes back as it is; int, long, double, float for
//     numbers; within one kind the order of the schema;
//   - an object may name its branch: {"shop.Card": {…}}. Where it fits several records it must.
func (s *Schema) Write(dst []byte, value []byte) ([]byte, error) {
	if len(value) > sagas.MaxValueBytes {
		return dst, tooLarge(len(value))
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return dst, malformed("not a JSON value")
	}
	w := writer{left: maxWriteSteps}
	out, fault := w.write(dst, s.root, v, 0)
	if fault != nil {
		return dst, malformed("the value does not fit the schema %s: %s", s.root, fault.text())
	}
	if len(out)-len(dst) > protocol.MaxRecordBytes {
		return dst, tooLarge(len(out) - len(dst))
	}
	return out, nil
}

// writer bounds what the choice of branches may cost: in a union of records that contain one another each level
// could double it.
type writer struct{ left int }

const maxWriteSteps = 4 << 20

// misfit says where a value does not fit, without repeating it.
type misfit struct {
	path []string // outermost last
	why  string
}

func (m *misfit) text() string {
	if len(m.path) == 0 {
		return m.why
	}
	p := slices.Clone(m.path)
	slices.Reverse(p)
	return strings.Join(p, ".") + ": " + m.why
}

func misfits(t *avroType, v any) *misfit {
	return &misfit{why: "want " + t.String() + ", got " + jsonKind(v)}
}

func jsonKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a text"
	case []any:
		return "an array"
	}
	return "an object"
}

func (w *writer) write(dst []byte, t *avroType, v any, depth int) ([]byte, *misfit) {
	if depth > MaxSchemaDepth {
		return dst, &misfit{why: "it is nested deeper than 64 levels"}
	}
	if w.left--; w.left < 0 {
		return dst, &misfit{why: "its unions leave too many possibilities"}
	}
	switch t.kind {
	case kNull:
		if v != nil {
			return dst, misfits(t, v)
		}
		return dst, nil
	case kBoolean:
		b, ok := v.(bool)
		if !ok {
			return dst, misfits(t, v)
		}
		if b {
			return append(dst, 1), nil
		}
		return append(dst, 0), nil
	case kInt, kLong:
		return writeInteger(dst, t, v)
	case kFloat, kDouble:
		return writeFloat(dst, t, v)
	case kString:
		s, ok := v.(string)
		if !ok {
			return dst, misfits(t, v)
		}
		return append(appendLong(dst, int64(len(s))), s...), nil
	case kBytes, kFixed:
		return writeBinary(dst, t, v)
	case kEnum:
		s, _ := v.(string)
		i := slices.Index(t.symbols, s)
		if i < 0 {
			return dst, &misfit{why: "it is no symbol of " + t.name}
		}
		return appendLong(dst, int64(i)), nil
	case kUnion:
		return w.writeUnion(dst, t, v, depth)
	case kRecord:
		return w.writeRecord(dst, t, v, depth+1)
	case kArray:
		list, ok := v.([]any)
		if !ok {
			return dst, misfits(t, v)
		}
		// Blocks of a size that every reader takes, ours included.
		for i, item := range list {
			if i%writeBlock == 0 {
				dst = appendLong(dst, int64(min(writeBlock, len(list)-i)))
			}
			var m *misfit
			if dst, m = w.write(dst, t.item, item, depth+1); m != nil {
				m.path = append(m.path, strconv.Itoa(i))
				return dst, m
			}
		}
		return append(dst, 0), nil
	case kMap:
		return w.writeMap(dst, t, v, depth+1)
	}
	return dst, misfits(t, v)
}

const writeBlock = 10_000

func appendLong(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

func (w *writer) writeMap(dst []byte, t *avroType, v any, depth int) ([]byte, *misfit) {
	o, ok := v.(map[string]any)
	if !ok {
		return dst, misfits(t, v)
	}
	keys := make([]string, 0, len(o))
	for k := range o {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		if i%writeBlock == 0 {
			dst = appendLong(dst, int64(min(writeBlock, len(keys)-i)))
		}
		dst = append(appendLong(dst, int64(len(k))), k...)
		var m *misfit
		if dst, m = w.write(dst, t.item, o[k], depth); m != nil {
			m.path = append(m.path, k)
			return dst, m
		}
	}
	return append(dst, 0), nil
}

func (w *writer) writeRecord(dst []byte, t *avroType, v any, depth int) ([]byte, *misfit) {
	o, ok := v.(map[string]any)
	if !ok {
		return dst, misfits(t, v)
	}
	known := 0
	for i := range t.fields {
		f := &t.fields[i]
		fv, given := o[f.name]
		var m *misfit
		switch {
		case given:
			known++
			dst, m = w.write(dst, f.typ, fv, depth)
		case f.hasDefault:
			dst, m = w.writeDefault(dst, f.typ, f.def, depth)
		case takesNull(f.typ):
			dst, m = w.write(dst, f.typ, nil, depth)
		default:
			m = &misfit{why: "it is missing, and " + t.name + " has no default for it"}
		}
		if m != nil {
			m.path = append(m.path, f.name)
			return dst, m
		}
	}
	if known < len(o) {
		for k := range o {
			if !slices.ContainsFunc(t.fields, func(f avroField) bool { return f.name == k }) {
				return dst, &misfit{path: []string{cut(k)}, why: t.name + " has no such field"}
			}
		}
	}
	return dst, nil
}

func takesNull(t *avroType) bool {
	_, null := t.nullable()
	return null
}

// writeDefault writes the default of a field, whose JSON form is another than that of our values: bytes are
// texts of one character per byte, and a union's is of its first branch.
func (w *writer) writeDefault(dst []byte, t *avroType, v any, depth int) ([]byte, *misfit) {
	switch t.kind {
	case kUnion:
		// Some generators give a default of another branch: take the first that holds it.
		for i, b := range t.branches {
			if out, m := w.writeDefault(appendLong(dst, int64(i)), b, v, depth); m == nil {
				return out, nil
			}
		}
		return dst, &misfit{why: "its default fits no branch"}
	case kBytes, kFixed:
		s, ok := v.(string)
		if !ok {
			return dst, misfits(t, v)
		}
		var b []byte
		for _, c := range s {
			if c > 255 {
				return dst, &misfit{why: "its default is not of bytes"}
			}
			b = append(b, byte(c))
		}
		if t.kind == kFixed {
			if len(b) != t.size {
				return dst, &misfit{why: "its default has another size"}
			}
			return append(dst, b...), nil
		}
		return append(appendLong(dst, int64(len(b))), b...), nil
	case kRecord:
		o, ok := v.(map[string]any)
		if !ok || depth > MaxSchemaDepth {
			return dst, misfits(t, v)
		}
		for i := range t.fields {
			f := &t.fields[i]
			fv, given := o[f.name]
			if !given {
				if !f.hasDefault {
					return dst, &misfit{path: []string{f.name}, why: "it is missing in a default"}
				}
				fv = f.def
			}
			var m *misfit
			if dst, m = w.writeDefault(dst, f.typ, fv, depth+1); m != nil {
				return dst, m
			}
		}
		return dst, nil
	}
	return w.write(dst, plainOf(t), v, depth)
}

// plainOf is a type without its logical type: a default is in the form of the underlying type.
func plainOf(t *avroType) *avroType {
	if t.logical == 0 {
		return t
	}
	p := *t
	p.logical = 0
	return &p
}

// writeFloat rounds to what the type holds.
func writeFloat(dst []byte, t *avroType, v any) ([]byte, *misfit) {
	n, ok := v.(json.Number)
	if !ok {
		return dst, misfits(t, v)
	}
	bits := 64
	if t.kind == kFloat {
		bits = 32
	}
	f, err := strconv.ParseFloat(string(n), bits)
	if err != nil {
		return dst, &misfit{why: "the number is too large"}
	}
	if bits == 32 {
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(f))), nil
	}
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), nil
}

func writeInteger(dst []byte, t *avroType, v any) ([]byte, *misfit) {
	var n int64
	switch v := v.(type) {
	case json.Number:
		var err error
		if n, err = strconv.ParseInt(string(v), 10, 64); err != nil {
			return dst, &misfit{why: "want " + t.String() + ", got a number that is no integer of 64 bits"}
		}
	case string:
		if t.logical == 0 {
			return dst, misfits(t, v)
		}
		var m *misfit
		if n, m = integerOf(t, v); m != nil {
			return dst, m
		}
	default:
		return dst, misfits(t, v)
	}
	if t.kind == kInt && n != int64(int32(n)) {
		return dst, &misfit{why: "want int, got a larger number"}
	}
	return appendLong(dst, n), nil
}

// integerOf is the number of a time that is written as text. What is finer than its unit is refused.
func integerOf(t *avroType, s string) (int64, *misfit) {
	bad := &misfit{why: "want " + t.String() + ", got a text of another form"}
	layout, unit := time.RFC3339Nano, int64(0)
	switch t.logical {
	case lDate:
		layout, unit = "2006-01-02", day
	case lTimeMillis, lTimeMicros:
		layout, unit = "15:04:05.999999999", int64(time.Millisecond)
		if t.logical == lTimeMicros {
			unit = int64(time.Microsecond)
		}
	case lMillis, lLocalMillis:
		unit = int64(time.Millisecond)
	case lMicros, lLocalMicros:
		unit = int64(time.Microsecond)
	case lNanos, lLocalNanos:
		unit = 1
	}
	if t.logical >= lLocalMillis && t.logical <= lLocalNanos {
		layout = "2006-01-02T15:04:05.999999999"
	}
	at, err := time.Parse(layout, s)
	if err != nil {
		return 0, bad
	}
	at = at.UTC()
	switch t.logical {
	case lTimeMillis, lTimeMicros:
		n := (int64(at.Hour())*3600+int64(at.Minute())*60+int64(at.Second()))*int64(time.Second) + int64(at.Nanosecond())
		if n%unit != 0 {
			return 0, &misfit{why: "the time is finer than " + t.String()}
		}
		return n / unit, nil
	case lDate:
		return at.Unix() / 86400, nil // midnight: nothing is left over
	}
	if int64(at.Nanosecond())%unit != 0 {
		return 0, &misfit{why: "the time is finer than " + t.String()}
	}
	n := new(big.Int).Mul(big.NewInt(at.Unix()), big.NewInt(int64(time.Second)/unit))
	n.Add(n, big.NewInt(int64(at.Nanosecond())/unit))
	if !n.IsInt64() {
		return 0, &misfit{why: "the time is out of the range of " + t.String()}
	}
	return n.Int64(), nil
}

func writeBinary(dst []byte, t *avroType, v any) ([]byte, *misfit) {
	var b []byte
	switch s, isText := v.(string); {
	case t.logical == lDecimal:
		n, isNumber := v.(json.Number)
		if isNumber {
			s = string(n)
		} else if !isText {
			return dst, misfits(t, v)
		}
		var m *misfit
		if b, m = decimalBytes(t, s); m != nil {
			return dst, m
		}
	case !isText:
		return dst, misfits(t, v)
	case t.logical == lUUID:
		h := strings.ReplaceAll(s, "-", "")
		var err error
		if b, err = hex.DecodeString(h); err != nil || len(b) != 16 || len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return dst, &misfit{why: "want uuid, got a text of another form"}
		}
	default:
		var err error
		if b, err = base64.StdEncoding.Strict().DecodeString(s); err != nil || strings.ContainsAny(s, "\r\n") {
			return dst, &misfit{why: "want " + t.String() + ", got a text that is not base64"}
		}
	}
	if t.kind == kFixed {
		if len(b) != t.size {
			return dst, &misfit{why: "want " + t.String() + ", got another number of bytes"}
		}
		return append(dst, b...), nil
	}
	return append(appendLong(dst, int64(len(b))), b...), nil
}

// decimalBytes is the two's complement of a decimal: the shortest one for bytes, of its size for fixed.
// Digits behind the point that the scale has no place for must be zeros.
func decimalBytes(t *avroType, s string) ([]byte, *misfit) {
	bad := &misfit{why: "want decimal, got a text of another form"}
	digits := strings.TrimPrefix(s, "-")
	whole, frac, dotted := strings.Cut(digits, ".")
	if whole == "" || dotted && frac == "" || len(digits) > maxDecimalDigit || strings.Trim(whole+frac, "0123456789") != "" {
		return nil, bad
	}
	if len(frac) > t.scale {
		if strings.Trim(frac[t.scale:], "0") != "" {
			return nil, &misfit{why: "it has more than the " + strconv.Itoa(t.scale) + " digits behind the point of " + t.String()}
		}
		frac = frac[:t.scale]
	}
	all := whole + frac + strings.Repeat("0", t.scale-len(frac))
	if len(strings.TrimLeft(all, "0")) > t.digits {
		return nil, &misfit{why: "it has more than the " + strconv.Itoa(t.digits) + " digits of " + t.String()}
	}
	n, ok := new(big.Int).SetString(all, 10)
	if !ok {
		return nil, bad
	}
	if len(digits) != len(s) {
		n.Neg(n)
	}
	size := 1
	for !fits(n, size) {
		size++
	}
	if t.kind == kFixed {
		if size > t.size {
			return nil, &misfit{why: "it does not fit into " + strconv.Itoa(t.size) + " bytes"}
		}
		size = t.size
	}
	if n.Sign() < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	return n.FillBytes(make([]byte, size)), nil
}

// fits says that a number fits into size bytes of two's complement.
func fits(n *big.Int, size int) bool {
	if n.Sign() < 0 {
		return new(big.Int).Not(n).BitLen() < 8*size
	}
	return n.BitLen() < 8*size
}

// rank orders the branches that hold a value: the lower, the more it says.
func rank(t *avroType) int {
	switch {
	case t.kind == kEnum:
		return 0
	case t.logical == lDecimal:
		return 1
	case t.logical != 0 && t.logical != lUUID:
		return 2
	case t.logical == lUUID:
		return 3
	case t.kind == kFixed:
		return 5
	case t.kind == kBytes:
		return 6
	case t.kind == kLong:
		return 5
	case t.kind == kDouble:
		return 6
	case t.kind == kFloat:
		return 7
	}
	return 4
}

func (w *writer) writeUnion(dst []byte, t *avroType, v any, depth int) ([]byte, *misfit) {
	only, several := -1, false
	for i, b := range t.branches {
		if mayHold(b, v) {
			only, several = i, only >= 0
		}
	}
	if _, number := v.(json.Number); number && only < 0 {
		// A time or a decimal as a plain number: where nothing else can be meant.
		only = slices.IndexFunc(t.branches, func(b *avroType) bool { return b.kind == kInt || b.kind == kLong || b.logical == lDecimal })
	}
	if only >= 0 && !several && t.branches[only].kind != kRecord {
		return w.write(appendLong(dst, int64(only)), t.branches[only], v, depth)
	}
	best, bestRank, records := -1, 0, 0
	var why *misfit
	var kept []byte
	for i, b := range t.branches {
		if !mayHold(b, v) {
			continue
		}
		out, m := w.write(nil, b, v, depth)
		if m != nil {
			if why == nil {
				why = m
			}
			continue
		}
		if b.kind == kRecord {
			records++
		}
		r := rank(b)
		if text, ok := v.(string); ok && !readsAs(b, out, text) {
			r += inexact
		}
		if best < 0 || r < bestRank {
			best, bestRank, kept = i, r, out
		}
	}
	if o, ok := v.(map[string]any); ok && len(o) == 1 && (best < 0 || records > 1) {
		for name, inner := range o {
			for i, b := range t.branches {
				if b.name == name && name != "" {
					return w.write(appendLong(dst, int64(i)), b, inner, depth)
				}
			}
		}
	}
	switch {
	case records > 1:
		return dst, &misfit{why: `it fits several records of a union; name the one that is meant: {"full.Name": {…}}`}
	case best >= 0:
		return append(appendLong(dst, int64(best)), kept...), nil
	case why != nil:
		return dst, why
	}
	return dst, &misfit{why: "want one of a union, got " + jsonKind(v)}
}

// inexact is added to the rank of a branch from which the text would come back in another spelling, such as
// "1.5" from a decimal with two digits.
const inexact = 100

func readsAs(t *avroType, b []byte, text string) bool {
	r := reader{in: b}
	return r.value(t, 0) == nil && bytes.Equal(r.out, sagas.AppendText(nil, text))
}

// mayHold sorts out what need not be tried.
func mayHold(t *avroType, v any) bool {
	switch v.(type) {
	case nil:
		return t.kind == kNull
	case bool:
		return t.kind == kBoolean
	case json.Number:
		return t.logical == 0 && (t.kind == kInt || t.kind == kLong || t.kind == kFloat || t.kind == kDouble)
	case string:
		return t.kind == kString || t.kind == kBytes || t.kind == kFixed || t.kind == kEnum || t.logical != 0
	case []any:
		return t.kind == kArray
	}
	return t.kind == kRecord || t.kind == kMap
}
