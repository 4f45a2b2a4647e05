package protocol

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/amendsio/amends/internal/nearest"
)

// scanner walks JSON text without building values: it says where a value ends and that it is well
// formed, in one pass, without allocation and with bounded recursion. encoding/json would build a
// tree first and has a depth limit of 10 000.
type scanner struct {
	b   []byte
	i   int
	err string
}

// checkJSON reports what is wrong with one JSON text; depth is the nesting already used around it.
func checkJSON(b []byte, depth int) string {
	s := scanner{b: b}
	s.space()
	if s.value(depth) {
		s.space()
		if s.i != len(b) {
			s.fail("text after the end of the JSON value")
		}
	}
	return s.err
}

func (s *scanner) fail(what string) bool {
	if s.err == "" {
		s.err = what + " at byte " + strconv.Itoa(s.i)
	}
	return false
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// next consumes c.
func (s *scanner) next(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) value(depth int) bool {
	if s.i >= len(s.b) {
		return s.fail("the JSON text ends early")
	}
	switch c := s.b[s.i]; {
	case c == '{':
		return s.object(depth+1, nil)
	case c == '[':
		return s.array(depth + 1)
	case c == '"':
		return s.str()
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.fail("not JSON")
}

// object walks an object; each is called with the quoted name and the value of every member, and
// stops the walk by returning false.
func (s *scanner) object(depth int, each func(name, raw []byte) bool) bool {
	if depth > MaxDepth {
		return s.fail("nested deeper than " + strconv.Itoa(MaxDepth) + " levels")
	}
	s.i++
	s.space()
	if s.next('}') {
		return true
	}
	for {
		from := s.i
		if !s.str() {
			return false
		}
		name := s.b[from:s.i]
		s.space()
		if !s.next(':') {
			return s.fail("want a colon")
		}
		s.space()
		from = s.i
		if !s.value(depth) {
			return false
		}
		if each != nil && !each(name, s.b[from:s.i]) {
			return false
		}
		s.space()
		if s.next('}') {
			return true
		}
		if !s.next(',') {
			return s.fail("want a comma or a closing brace")
		}
		s.space()
	}
}

func (s *scanner) array(depth int) bool {
	if depth > MaxDepth {
		return s.fail("nested deeper than " + strconv.Itoa(MaxDepth) + " levels")
	}
	s.i++
	s.space()
	if s.next(']') {
		return true
	}
	for {
		if !s.value(depth) {
			return false
		}
		s.space()
		if s.next(']') {
			return true
		}
		if !s.next(',') {
			return s.fail("want a comma or a closing bracket")
		}
		s.space()
	}
}

func (s *scanner) str() bool {
	if !s.next('"') {
		return s.fail("want a string")
	}
	from := s.i
	ascii := true
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			if !ascii && !utf8.Valid(s.b[from:s.i]) {
				return s.fail("a string that is not UTF-8")
			}
			s.i++
			return true
		case c == '\\':
			if !s.escape() {
				return false
			}
		case c < 0x20:
			return s.fail("a control character inside a string")
		default:
			ascii = ascii && c < 0x80
			s.i++
		}
	}
	return s.fail("the JSON text ends early")
}

func (s *scanner) escape() bool {
	s.i++
	if s.i >= len(s.b) {
		return s.fail("the JSON text ends early")
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return true
	case 'u':
		s.i++
		for range 4 {
			if s.i >= len(s.b) {
				return s.fail("the JSON text ends early")
			}
			c := s.b[s.i]
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
				return s.fail("a bad escape")
			}
			s.i++
		}
		return true
	}
	return s.fail("a bad escape")
}

func (s *scanner) number() bool {
	s.next('-')
	switch {
	case s.next('0'):
	case s.digits():
	default:
		return s.fail("a bad number")
	}
	if s.next('.') && !s.digits() {
		return s.fail("a bad number")
	}
	if s.next('e') || s.next('E') {
		if !s.next('+') {
			s.next('-')
		}
		if !s.digits() {
			return s.fail("a bad number")
		}
	}
	return true
}

func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.b[s.i:], []byte(w)) {
		return s.fail("not JSON")
	}
	s.i += len(w)
	return true
}

// unquote returns the text of a string that the scanner has passed.
func unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// members are the members of the outermost object of a record.
type members struct {
	names, raws [maxMembers][]byte
	n           int
}

// maxMembers is more than any record of ours has fields.
const maxMembers = 16

// readMembers splits a JSON object.
func readMembers(b []byte) (*members, error) {
	s := scanner{b: b}
	m := &members{}
	s.space()
	if s.i >= len(b) || b[s.i] != '{' {
		return nil, malformed("", "not a JSON object")
	}
	var err error
	if s.object(1, func(quoted, raw []byte) bool {
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			text, _ := unquote(quoted)
			name = []byte(text)
		}
		for i := range m.n {
			if bytes.Equal(m.names[i], name) {
				err = malformed(cut(string(name), maxCutInErrorBytes), "the field occurs twice")
				return false
			}
		}
		if m.n == maxMembers {
			err = malformed("", "too many fields")
			return false
		}
		m.names[m.n], m.raws[m.n] = name, raw
		m.n++
		return true
	}) {
		if s.space(); s.i != len(b) {
			s.fail("text after the end of the JSON value")
		}
	}
	if err != nil {
		return nil, err
	}
	if s.err != "" {
		return nil, malformed("", s.err)
	}
	return m, nil
}

// raw returns the value of a member; nil when it is absent or null.
func (m *members) raw(name string) []byte {
	for i := range m.n {
		if string(m.names[i]) == name {
			if string(m.raws[i]) == "null" {
				return nil
			}
			return m.raws[i]
		}
	}
	return nil
}

// only refuses members that are not in known.
func (m *members) only(known []string) error {
	for i := range m.n {
		name := string(m.names[i])
		if slices.Contains(known, name) {
			continue
		}
		err := malformed(cut(name, maxCutInErrorBytes), "not a field of this record")
		if near := nearest.Name(name, known); near != "" {
			err.Hint = "Did you mean " + strconv.Quote(near) + "?"
		}
		return err
	}
	return nil
}

// memberReader reads typed members and keeps the first error.
type memberReader struct {
	*members
	err error
}

func (r *memberReader) fail(err *Error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *memberReader) text(name string, max int) string {
	raw := r.raw(name)
	if raw == nil {
		return ""
	}
	// An escape is at most six bytes for one.
	if len(raw) > 6*max+2 {
		r.fail(tooLarge(name, "longer than "+strconv.Itoa(max)+" bytes"))
		return ""
	}
	s, ok := unquote(raw)
	if !ok {
		r.fail(malformed(name, "want a string"))
		return ""
	}
	if len(s) > max {
		r.fail(tooLarge(name, "longer than "+strconv.Itoa(max)+" bytes"))
		return ""
	}
	return s
}

func (r *memberReader) number(name string, max int64) int64 {
	raw := r.raw(name)
	if raw == nil {
		return 0
	}
	n, ok := parseDecimal(string(raw[:min(len(raw), 20)]))
	if !ok || n > max {
		r.fail(malformed(name, "want an integer in 0.."+strconv.FormatInt(max, 10)))
		return 0
	}
	return n
}

// time reads an RFC 3339 time as ms.
func (r *memberReader) time(name string) int64 {
	s := r.text(name, 64)
	if s == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339, s)
	if ms := t.UnixMilli(); err == nil && ms > 0 && ms <= MaxTime {
		return ms
	}
	r.fail(malformed(name, "want a time such as 2026-01-31T12:00:00Z"))
	return 0
}

// duration reads a text such as "90s", "15m" or "7d" as ms.
func (r *memberReader) duration(name string) int64 {
	s := r.text(name, 32)
	if s == "" {
		return 0
	}
	ms, ok := parseDuration(s)
	if !ok {
		r.fail(malformed(name, `want a duration such as "90s", "15m", "2h" or "7d"`))
		return 0
	}
	return ms
}

// parseDuration reads one or more numbers with a unit: ms, s, m, h or d.
func parseDuration(s string) (ms int64, ok bool) {
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		count, fits := parseDecimal(s[:n])
		if s = s[n:]; !fits || count > MaxTime {
			return 0, false
		}
		var unit int64
		switch {
		case strings.HasPrefix(s, "ms"):
			unit, s = 1, s[2:]
		case strings.HasPrefix(s, "s"):
			unit, s = 1000, s[1:]
		case strings.HasPrefix(s, "m"):
			unit, s = 60*1000, s[1:]
		case strings.HasPrefix(s, "h"):
			unit, s = hour, s[1:]
		case strings.HasPrefix(s, "d"):
			unit, s = day, s[1:]
		default:
			return 0, false
		}
		if count > (MaxTime-ms)/unit {
			return 0, false
		}
		ms += count * unit
	}
	return ms, ms > 0
}

// args reads the arguments of an operator action: texts, but output and payload may be any JSON value.
func (r *memberReader) args(name string, max int) map[string]string {
	raw := r.raw(name)
	if raw == nil {
		return nil
	}
	if raw[0] != '{' {
		r.fail(malformed(name, "want an object"))
		return nil
	}
	s := scanner{b: raw}
	args := map[string]string{}
	s.object(1, func(quoted, raw []byte) bool {
		k, ok := unquote(quoted)
		if !ok {
			r.fail(malformed(name, "a name that is not text"))
			return false
		}
		var v string
		if k == ArgOutput || k == ArgPayload {
			v = string(raw)
		} else if v, ok = unquote(raw); !ok {
			if _, number := parseDecimal(string(raw)); !number {
				r.fail(malformed(name+"."+cut(k, maxCutInErrorBytes), "want a string"))
				return false
			}
			v = string(raw)
		}
		switch _, twice := args[k]; {
		case twice:
			r.fail(malformed(name+"."+cut(k, maxCutInErrorBytes), "the field occurs twice"))
		case len(args) == max:
			r.fail(tooLarge(name, "more than "+strconv.Itoa(max)+" entries"))
		}
		args[k] = v
		return r.err == nil
	})
	return args
}

func (r *memberReader) texts(name string, max int) map[string]string {
	raw := r.raw(name)
	if raw == nil {
		return nil
	}
	if raw[0] != '{' {
		r.fail(malformed(name, "want an object of strings"))
		return nil
	}
	s := scanner{b: raw}
	texts := map[string]string{}
	s.object(1, func(quoted, raw []byte) bool {
		k, ok1 := unquote(quoted)
		v, ok2 := unquote(raw)
		switch {
		case !ok1 || !ok2:
			r.fail(malformed(name, "want an object of strings"))
		case len(texts) == max:
			r.fail(tooLarge(name, "more than "+strconv.Itoa(max)+" entries"))
		}
		texts[k] = v
		return r.err == nil
	})
	return texts
}
