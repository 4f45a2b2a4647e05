package sagas

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits of one JSON value: an input, an output, a payload. They are checked before anything is
// allocated for the part that exceeds them.
const (
	MaxValueBytes  = 1 << 20
	MaxValueDepth  = 64
	maxNumberBytes = 512
	maxExponent    = 9999
)

// The value model. A JSON value is one of
//
//	nil, bool, string, []any
//	int64    an integral number that fits
//	float64  a number whose digits a double gives back exactly
//	bigNum   any other number, as its canonical text
//	*object  fields in the order of their keys
//
// No number is ever rounded: what a double cannot hold stays text.
type (
	bigNum string
	object struct{ fields []field }
	field  struct {
		key string
		val any
	}
)

// get finds a field.
func (o *object) get(key string) (any, bool) {
	i := sort.Search(len(o.fields), func(i int) bool { return o.fields[i].key >= key })
	if i < len(o.fields) && o.fields[i].key == key {
		return o.fields[i].val, true
	}
	return nil, false
}

// set replaces or inserts a field. Only for objects that nobody else has seen yet.
func (o *object) set(key string, val any) {
	i := sort.Search(len(o.fields), func(i int) bool { return o.fields[i].key >= key })
	if i < len(o.fields) && o.fields[i].key == key {
		o.fields[i].val = val
		return
	}
	o.fields = append(o.fields, field{})
	copy(o.fields[i+1:], o.fields[i:])
	o.fields[i] = field{key, val}
}

// CanonicalJSON rewrites a JSON text in its one canonical form: no blanks, keys sorted by their
// bytes, the shortest spelling of strings and numbers. Numbers keep all their digits. It refuses
// duplicate keys, invalid UTF-8 and texts over the limits.
func CanonicalJSON(src []byte) ([]byte, error) {
	if canonical, ok := rewriteJSON(src); ok {
		return canonical, nil
	}
	return parsedJSON(src)
}

// parsedJSON is CanonicalJSON for all texts.
func parsedJSON(src []byte) ([]byte, error) {
	v, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	return appendJSON(make([]byte, 0, len(src)), v), nil
}

// KeepFields is the canonical JSON of those fields of a JSON object. No output is the same as an
// empty object. Fields that the output does not have are left out.
func KeepFields(output []byte, keep []string) ([]byte, error) {
	if len(keep) == 0 {
		return []byte("{}"), nil
	}
	o, err := parseObject(output)
	if err != nil {
		return nil, err
	}
	kept := &object{}
	for _, k := range keep {
		if v, ok := o.get(k); ok {
			kept.set(k, v)
		}
	}
	return appendJSON(nil, kept), nil
}

// MergeObjects puts the fields of b over those of a. Either may be empty.
func MergeObjects(a, b []byte) ([]byte, error) {
	oa, err := parseObject(a)
	if err != nil {
		return nil, err
	}
	ob, err := parseObject(b)
	if err != nil {
		return nil, err
	}
	for _, f := range ob.fields {
		oa.set(f.key, f.val)
	}
	out := appendJSON(make([]byte, 0, len(a)+len(b)), oa)
	if len(out) > MaxValueBytes {
		return nil, fmt.Errorf("merged object has %d bytes, the limit is %d", len(out), MaxValueBytes)
	}
	return out, nil
}

// parseObject parses a JSON object; nothing and null are the empty one.
func parseObject(src []byte) (*object, error) {
	if len(src) == 0 {
		return &object{}, nil
	}
	v, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case *object:
		return v, nil
	case nil:
		return &object{}, nil
	}
	return nil, fmt.Errorf("want a JSON object, got %s", typeName(v))
}

// typeName is the JSON type of a value, as people say it.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64, bigNum:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	case *object:
		return "an object"
	}
	return fmt.Sprintf("%T", v)
}

// parseJSON reads one JSON text into the value model.
func parseJSON(src []byte) (any, error) {
	p := jsonParser{src: src}
	return p.text()
}

// jsonError is a fault of a JSON text.
type jsonError struct {
	offset int
	text   string
}

func (e *jsonError) Error() string { return fmt.Sprintf("JSON at byte %d: %s", e.offset, e.text) }

// jsonParser reads strict JSON (RFC 8259).
type jsonParser struct {
	src []byte
	i   int
}

func (p *jsonParser) fail(format string, args ...any) error {
	return &jsonError{p.i, fmt.Sprintf(format, args...)}
}

func (p *jsonParser) text() (any, error) {
	if len(p.src) > MaxValueBytes {
		return nil, p.fail("the text has %d bytes, the limit is %d", len(p.src), MaxValueBytes)
	}
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(p.src) {
		return nil, p.fail("text after the value")
	}
	return v, nil
}

func (p *jsonParser) space() {
	for p.i < len(p.src) {
		switch p.src[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *jsonParser) value(depth int) (any, error) {
	p.space()
	if p.i >= len(p.src) {
		return nil, p.fail("the text ends early")
	}
	switch c := p.src[p.i]; c {
	case '{':
		return p.object(depth + 1)
	case '[':
		return p.array(depth + 1)
	case '"':
		return p.string()
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	default:
		if c == '-' || c >= '0' && c <= '9' {
			return p.number()
		}
		return nil, p.fail("unexpected character %q", rune(c))
	}
}

func (p *jsonParser) word(w string) error {
	if len(p.src)-p.i < len(w) || string(p.src[p.i:p.i+len(w)]) != w {
		return p.fail("want %s", w)
	}
	p.i += len(w)
	return nil
}

func (p *jsonParser) object(depth int) (any, error) {
	if depth > MaxValueDepth {
		return nil, p.fail("nested deeper than %d levels", MaxValueDepth)
	}
	p.i++
	o := &object{}
	ordered := true
	for first := true; ; first = false {
		p.space()
		if p.i >= len(p.src) {
			return nil, p.fail("the object does not end")
		}
		if p.src[p.i] == '}' && first {
			p.i++
			return o, nil
		}
		if p.src[p.i] != '"' {
			return nil, p.fail("want a field name in quotes")
		}
		keyAt := p.i
		key, err := p.string()
		if err != nil {
			return nil, err
		}
		p.space()
		if p.i >= len(p.src) || p.src[p.i] != ':' {
			return nil, p.fail("want ':' after the field name")
		}
		p.i++
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		if n := len(o.fields); ordered && n > 0 {
			switch last := o.fields[n-1].key; {
			case last == key:
				return nil, &jsonError{keyAt, fmt.Sprintf("the field %q occurs twice", key)}
			case last > key:
				ordered = false
			}
		}
		o.fields = append(o.fields, field{key, v})
		p.space()
		if p.i >= len(p.src) {
			return nil, p.fail("the object does not end")
		}
		c := p.src[p.i]
		p.i++
		if c == ',' {
			continue
		}
		if c != '}' {
			p.i--
			return nil, p.fail("want ',' or '}'")
		}
		if !ordered {
			sort.SliceStable(o.fields, func(a, b int) bool { return o.fields[a].key < o.fields[b].key })
			for i := 1; i < len(o.fields); i++ {
				if o.fields[i].key == o.fields[i-1].key {
					return nil, p.fail("the field %q occurs twice", o.fields[i].key)
				}
			}
		}
		return o, nil
	}
}

func (p *jsonParser) array(depth int) (any, error) {
	if depth > MaxValueDepth {
		return nil, p.fail("nested deeper than %d levels", MaxValueDepth)
	}
	p.i++
	list := []any{}
	for first := true; ; first = false {
		p.space()
		if p.i >= len(p.src) {
			return nil, p.fail("the array does not end")
		}
		if p.src[p.i] == ']' && first {
			p.i++
			return list, nil
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		p.space()
		if p.i >= len(p.src) {
			return nil, p.fail("the array does not end")
		}
		c := p.src[p.i]
		p.i++
		if c == ',' {
			continue
		}
		if c != ']' {
			p.i--
			return nil, p.fail("want ',' or ']'")
		}
		return list, nil
	}
}

func (p *jsonParser) string() (string, error) {
	p.i++
	start := p.i
	// Most strings have no escape: one pass, one copy.
	for p.i < len(p.src) {
		c := p.src[p.i]
		if c == '"' {
			s := p.src[start:p.i]
			p.i++
			if !utf8.Valid(s) {
				p.i = start
				return "", p.fail("the string is not valid UTF-8")
			}
			return string(s), nil
		}
		if c == '\\' {
			break
		}
		if c < 0x20 {
			return "", p.fail("a control character in a string must be escaped")
		}
		p.i++
	}
	buf := append([]byte(nil), p.src[start:p.i]...)
	for p.i < len(p.src) {
		c := p.src[p.i]
		switch {
		case c == '"':
			p.i++
			if !utf8.Valid(buf) {
				p.i = start
				return "", p.fail("the string is not valid UTF-8")
			}
			return string(buf), nil
		case c == '\\':
			var err error
			if buf, err = p.escape(buf); err != nil {
				return "", err
			}
		case c < 0x20:
			return "", p.fail("a control character in a string must be escaped")
		default:
			buf = append(buf, c)
			p.i++
		}
	}
	return "", p.fail("the string does not end")
}

func (p *jsonParser) escape(buf []byte) ([]byte, error) {
	if p.i+1 >= len(p.src) {
		return nil, p.fail("the string does not end")
	}
	c := p.src[p.i+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, ok := p.hex4(p.i + 2)
		if !ok {
			return nil, p.fail("\\u needs four hexadecimal digits")
		}
		next := p.i + 6
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if next+1 < len(p.src) && p.src[next] == '\\' && p.src[next+1] == 'u' {
				low, ok = p.hex4(next + 2)
			}
			if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
				return nil, p.fail("half of a surrogate pair")
			}
			next += 6
		}
		p.i = next
		return utf8.AppendRune(buf, r), nil
	default:
		return nil, p.fail("unknown escape \\%c", c)
	}
	p.i += 2
	return append(buf, c), nil
}

func (p *jsonParser) hex4(at int) (rune, bool) {
	if at+4 > len(p.src) {
		return 0, false
	}
	var r rune
	for _, c := range p.src[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (p *jsonParser) number() (any, error) {
	start := p.i
	for p.i < len(p.src) {
		c := p.src[p.i]
		if c >= '0' && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E' {
			p.i++
			continue
		}
		break
	}
	v, err := parseNumber(p.src[start:p.i])
	if err != nil {
		p.i = start
		return nil, p.fail("%s", err.Error())
	}
	return v, nil
}

var (
	errNumber      = errors.New("not a JSON number")
	errNumberLong  = fmt.Errorf("a number has at most %d characters", maxNumberBytes)
	errNumberRange = fmt.Errorf("the exponent of a number is at most %d", maxExponent)
)

// parseNumber reads the text of a JSON number into the value model.
func parseNumber(text []byte) (any, error) {
	if len(text) > maxNumberBytes {
		return nil, errNumberLong
	}
	i, neg := 0, false
	if i < len(text) && text[i] == '-' {
		neg = true
		i++
	}
	intStart := i
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	whole := text[intStart:i]
	if len(whole) == 0 || len(whole) > 1 && whole[0] == '0' {
		return nil, errNumber
	}
	if i == len(text) && len(whole) <= 18 { // the common case: a plain integer that surely fits
		var n int64
		for _, c := range whole {
			n = n*10 + int64(c-'0')
		}
		if neg {
			n = -n
		}
		return n, nil
	}
	var frac []byte
	if i < len(text) && text[i] == '.' {
		i++
		s := i
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		if frac = text[s:i]; len(frac) == 0 {
			return nil, errNumber
		}
	}
	exp := 0
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		expNeg := false
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			expNeg = text[i] == '-'
			i++
		}
		s := i
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			if exp = exp*10 + int(text[i]-'0'); exp > maxExponent {
				exp = maxExponent + 1
			}
			i++
		}
		if i == s {
			return nil, errNumber
		}
		if expNeg {
			exp = -exp
		}
	}
	if i != len(text) {
		return nil, errNumber
	}
	digits := strings.TrimRight(string(whole)+string(frac), "0")
	point := len(whole) + exp // the value is 0.digits * 10^point
	trimmed := strings.TrimLeft(digits, "0")
	point -= len(digits) - len(trimmed)
	if trimmed == "" {
		return int64(0), nil
	}
	if exp > maxExponent || exp < -maxExponent {
		return nil, errNumberRange
	}
	canonical := formatDecimal(neg, trimmed, point)
	if point >= len(trimmed) && point <= 19 {
		if n, err := strconv.ParseInt(canonical, 10, 64); err == nil {
			return n, nil
		}
	}
	if f, err := strconv.ParseFloat(canonical, 64); err == nil && formatFloat(f) == canonical {
		return f, nil
	}
	return bigNum(canonical), nil
}

// formatDecimal writes 0.digits * 10^point in the canonical spelling. digits has no zero at either
// end. Numbers are written out plainly as long as that stays readable.
func formatDecimal(neg bool, digits string, point int) string {
	var b strings.Builder
	if neg {
		b.WriteByte('-')
	}
	switch {
	case point >= len(digits) && point <= 100:
		b.WriteString(digits)
		for range point - len(digits) {
			b.WriteByte('0')
		}
	case point > 0 && point < len(digits):
		b.WriteString(digits[:point])
		b.WriteByte('.')
		b.WriteString(digits[point:])
	case point <= 0 && point > -6:
		b.WriteString("0.")
		for range -point {
			b.WriteByte('0')
		}
		b.WriteString(digits)
	default:
		b.WriteByte(digits[0])
		if len(digits) > 1 {
			b.WriteByte('.')
			b.WriteString(digits[1:])
		}
		b.WriteByte('e')
		b.WriteString(strconv.Itoa(point - 1))
	}
	return b.String()
}

// formatFloat is the canonical spelling of a finite double: its shortest exact digits.
func formatFloat(f float64) string {
	if f == 0 {
		return "0"
	}
	var buf [32]byte
	e := strconv.AppendFloat(buf[:0], math.Abs(f), 'e', -1, 64) // d.ddde±xx
	mantissa, exponent, _ := strings.Cut(string(e), "e")
	x, _ := strconv.Atoi(exponent)
	digits := strings.TrimRight(strings.Replace(mantissa, ".", "", 1), "0")
	return formatDecimal(f < 0, digits, x+1)
}

// appendJSON writes a value in canonical form.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float64:
		return append(dst, formatFloat(v)...)
	case bigNum:
		return append(dst, v...)
	case string:
		return appendString(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, e)
		}
		return append(dst, ']')
	case *object:
		dst = append(dst, '{')
		for i, f := range v.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, f.key)
			dst = append(dst, ':')
			dst = appendJSON(dst, f.val)
		}
		return append(dst, '}')
	}
	panic(fmt.Sprintf("sagas: %T is not in the value model", v))
}

const hexDigits = "0123456789abcdef"

// AppendText appends a text, valid UTF-8, as canonical JSON.
func AppendText(dst []byte, s string) []byte { return appendString(dst, s) }

// appendString writes a JSON string with the fewest escapes.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
