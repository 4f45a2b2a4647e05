package schema

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Read turns the Avro binary encoding of one value into canonical JSON.
//
// It is a walk of our own and not goavro's, for what the bytes may claim: that library recurses as deep as
// a value of a recursive schema is nested, and takes zero-sized items as often as a block claims them, so
// that a record of 1 MiB could ask for gigabytes. Here each item costs bytes of the result, which has a
// limit. The tests compare the two.
func (s *Schema) Read(body []byte) ([]byte, error) {
	if len(body) > protocol.MaxRecordBytes {
		return nil, tooLarge(len(body))
	}
	r := reader{in: body, out: make([]byte, 0, 2*len(body)+64)}
	if err := r.value(s.root, 0); err != nil {
		var fault *Error
		if errors.As(err, &fault) {
			return nil, malformed("the bytes do not fit the schema %s: %s", s.root, fault.Text)
		}
		return nil, malformed("the bytes do not fit the schema %s: %v", s.root, err)
	}
	if r.at < len(r.in) {
		return nil, malformed("the bytes do not fit the schema %s: %d bytes after its end", s.root, len(r.in)-r.at)
	}
	return r.out, nil
}

type reader struct {
	in      []byte
	at      int
	out     []byte
	scratch []byte
	entries []entry // of the objects that are open, innermost last
}

// entry is one member of an object in out: its key, decoded, and all of it.
type entry struct {
	key        string
	start, end int
}

var (
	errEnd    = errors.New("it ends early")
	errVarint = errors.New("a number is too long")
	errText   = errors.New("a text is not UTF-8")
	errResult = errors.New("as JSON it is larger than 1 MiB")
	errDepth  = errors.New("it is nested deeper than 64 levels")
	errCount  = errors.New("a block claims more than is allowed")
	errNumber = errors.New("a number is not finite")
	errTime   = errors.New("a time is not within the years 0 to 9999")
	errTwice  = errors.New("a map has a key twice")
	errIndex  = errors.New("an index is out of range")
	errBool   = errors.New("a boolean is neither 0 nor 1")
)

func (r *reader) value(t *avroType, depth int) error {
	if len(r.out) > sagas.MaxValueBytes {
		return errResult
	}
	switch t.kind {
	case kNull:
		r.out = append(r.out, "null"...)
	case kBoolean:
		b, err := r.take(1)
		if err != nil {
			return err
		}
		if b[0] > 1 {
			return errBool
		}
		r.out = strconv.AppendBool(r.out, b[0] == 1)
	case kInt, kLong:
		n, err := r.long()
		if err == nil && t.kind == kInt && n != int64(int32(n)) {
			err = errVarint
		}
		if err != nil {
			return err
		}
		return r.integer(t, n)
	case kFloat:
		b, err := r.take(4)
		if err != nil {
			return err
		}
		return r.float(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32)
	case kDouble:
		b, err := r.take(8)
		if err != nil {
			return err
		}
		return r.float(math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)
	case kBytes:
		b, err := r.counted()
		if err != nil {
			return err
		}
		return r.binary(t, b)
	case kFixed:
		b, err := r.take(t.size)
		if err != nil {
			return err
		}
		return r.binary(t, b)
	case kString:
		b, err := r.counted()
		if err != nil {
			return err
		}
		return r.text(b)
	case kEnum:
		n, err := r.long()
		if err != nil {
			return err
		}
		if n < 0 || n >= int64(len(t.symbols)) {
			return errIndex
		}
		r.out = append(append(append(r.out, '"'), t.symbols[n]...), '"')
	case kUnion:
		n, err := r.long()
		if err != nil {
			return err
		}
		if n < 0 || n >= int64(len(t.branches)) {
			return errIndex
		}
		return r.value(t.branches[n], depth)
	case kRecord:
		return r.record(t, depth+1)
	case kArray:
		return r.array(t, depth+1)
	case kMap:
		return r.object(t, depth+1)
	}
	return nil
}

// take is the next n bytes; n comes from the schema or was compared with what is left.
func (r *reader) take(n int) ([]byte, error) {
	if n > len(r.in)-r.at {
		return nil, errEnd
	}
	b := r.in[r.at : r.at+n]
	r.at += n
	return b, nil
}

func (r *reader) counted() ([]byte, error) {
	n, err := r.long()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > int64(len(r.in)-r.at) {
		return nil, errEnd
	}
	return r.take(int(n))
}

// long reads a zig-zag number of at most ten bytes.
func (r *reader) long() (int64, error) {
	n, size := binary.Uvarint(r.in[r.at:])
	switch {
	case size == 0:
		return 0, errEnd
	case size < 0:
		return 0, errVarint
	}
	r.at += size
	return int64(n>>1) ^ -int64(n&1), nil
}

func (r *reader) float(f float64, bits int) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return errNumber
	}
	n, err := canonicalNumber(strconv.FormatFloat(f, 'g', -1, bits))
	if err != nil {
		return err
	}
	r.out = append(r.out, n...)
	return nil
}

func (r *reader) text(b []byte) error {
	if !utf8.Valid(b) {
		return errText
	}
	r.out = sagas.AppendText(r.out, string(b))
	if len(r.out) > sagas.MaxValueBytes {
		return errResult
	}
	return nil
}

func (r *reader) binary(t *avroType, b []byte) error {
	switch t.logical {
	case lDecimal:
		if len(b) > 512 {
			return errCount // more digits than any precision here
		}
		r.out = append(append(append(r.out, '"'), decimalText(b, t.scale)...), '"')
	case lUUID:
		h := hex.EncodeToString(b)
		r.out = append(r.out, `"`+h[:8]+"-"+h[8:12]+"-"+h[12:16]+"-"+h[16:20]+"-"+h[20:]+`"`...)
	default:
		r.out = append(r.out, '"')
		r.out = base64.StdEncoding.AppendEncode(r.out, b)
		r.out = append(r.out, '"')
	}
	if len(r.out) > sagas.MaxValueBytes {
		return errResult
	}
	return nil
}

// decimalText is a two's complement number with its point.
func decimalText(b []byte, scale int) string {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	s := new(big.Int).Abs(n).String()
	if scale > 0 {
		if len(s) <= scale {
			s = strings.Repeat("0", scale+1-len(s)) + s
		}
		s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	}
	if n.Sign() < 0 {
		s = "-" + s
	}
	return s
}

const day = 24 * int64(time.Hour)

func (r *reader) integer(t *avroType, n int64) error {
	unit := int64(0)
	layout := "2006-01-02T15:04:05.999999999Z"
	switch t.logical {
	case 0:
		r.out = strconv.AppendInt(r.out, n, 10)
		return nil
	case lDate:
		unit, layout = day, "2006-01-02"
	case lTimeMillis:
		unit, layout = int64(time.Millisecond), "15:04:05.999999999"
	case lTimeMicros:
		unit, layout = int64(time.Microsecond), "15:04:05.999999999"
	case lMillis, lLocalMillis:
		unit = int64(time.Millisecond)
	case lMicros, lLocalMicros:
		unit = int64(time.Microsecond)
	case lNanos, lLocalNanos:
		unit = 1
	}
	if t.logical >= lLocalMillis && t.logical <= lLocalNanos {
		layout = strings.TrimSuffix(layout, "Z")
	}
	at := moment(n, unit)
	ofDay := t.logical == lTimeMillis || t.logical == lTimeMicros
	if ofDay && (n < 0 || at.Unix() >= 24*3600) || at.Year() < 0 || at.Year() > 9999 {
		return errTime
	}
	r.out = append(r.out, '"')
	r.out = at.AppendFormat(r.out, layout)
	r.out = append(r.out, '"')
	return nil
}

// moment is n units after 1970, without overflow.
func moment(n, unit int64) time.Time {
	second := int64(time.Second)
	if unit >= second {
		if n > math.MaxInt64/(unit/second) || n < math.MinInt64/(unit/second) {
			return time.Unix(math.MaxInt64/4, 0).UTC() // out of range, as its year says
		}
		return time.Unix(n*(unit/second), 0).UTC()
	}
	per := second / unit
	sec, rest := n/per, n%per
	if rest < 0 {
		sec, rest = sec-1, rest+per
	}
	return time.Unix(sec, rest*unit).UTC()
}

// record writes the fields in the order of their names.
func (r *reader) record(t *avroType, depth int) error {
	if depth > sagas.MaxValueDepth {
		return errDepth
	}
	r.out = append(r.out, '{')
	base, start := len(r.entries), len(r.out)
	for i := range t.fields {
		f := &t.fields[i]
		from := len(r.out)
		r.out = append(r.out, f.quoted...)
		if err := r.value(f.typ, depth); err != nil {
			return err
		}
		r.entries = append(r.entries, entry{f.name, from, len(r.out)})
		r.out = append(r.out, ',')
	}
	r.reorder(start, base, t.sorted)
	r.entries = r.entries[:base]
	r.close('}')
	return nil
}

// close replaces the comma at the end.
func (r *reader) close(c byte) {
	if last := len(r.out) - 1; r.out[last] == ',' {
		r.out[last] = c
		return
	}
	r.out = append(r.out, c)
}

// reorder puts the members that begin at start into the given order.
func (r *reader) reorder(start, base int, order []int) {
	if slices.IsSorted(order) {
		return
	}
	r.scratch = append(r.scratch[:0], r.out[start:]...)
	r.out = r.out[:start]
	for _, i := range order {
		e := r.entries[base+i]
		r.out = append(r.out, r.scratch[e.start-start:e.end-start]...)
		r.out = append(r.out, ',')
	}
}

// blocks calls item for each item of an array or map.
func (r *reader) blocks(item func() error) error {
	for {
		n, err := r.long()
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if n < 0 { // the size of the block follows, for readers that skip it
			if n < -protocol.MaxAvroBlockCount {
				return errCount
			}
			n = -n
			size, err := r.long()
			if err != nil {
				return err
			}
			if size < 0 || size > int64(len(r.in)-r.at) {
				return errEnd
			}
		}
		if n > protocol.MaxAvroBlockCount {
			return errCount
		}
		for range n {
			if err := item(); err != nil {
				return err
			}
		}
	}
}

func (r *reader) array(t *avroType, depth int) error {
	if depth > sagas.MaxValueDepth {
		return errDepth
	}
	r.out = append(r.out, '[')
	err := r.blocks(func() error {
		if err := r.value(t.item, depth); err != nil {
			return err
		}
		r.out = append(r.out, ',')
		return nil
	})
	if err != nil {
		return err
	}
	r.close(']')
	return nil
}

func (r *reader) object(t *avroType, depth int) error {
	if depth > sagas.MaxValueDepth {
		return errDepth
	}
	r.out = append(r.out, '{')
	base, start := len(r.entries), len(r.out)
	err := r.blocks(func() error {
		key, err := r.counted()
		if err != nil {
			return err
		}
		from := len(r.out)
		if err := r.text(key); err != nil {
			return err
		}
		r.out = append(r.out, ':')
		if err := r.value(t.item, depth); err != nil {
			return err
		}
		r.entries = append(r.entries, entry{string(key), from, len(r.out)})
		r.out = append(r.out, ',')
		return nil
	})
	if err != nil {
		return err
	}
	mine := r.entries[base:]
	order := make([]int, len(mine))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(mine[a].key, mine[b].key) })
	for i := 1; i < len(order); i++ {
		if mine[order[i]].key == mine[order[i-1]].key {
			return errTwice
		}
	}
	r.reorder(start, base, order)
	r.entries = r.entries[:base]
	r.close('}')
	return nil
}
