package derive

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// MaxDepth bounds the nesting of a record.
const MaxDepth = 64

// slots is the set of fields that a file picks out of a record: a tree of names, each with the slot in
// which scan leaves the field's place.
type slots struct {
	root slot
	n    int
}

type slot struct {
	id       int // -1 for the root
	names    []string
	children []*slot
}

func newSlots() *slots { return &slots{root: slot{id: -1}} }

// add makes room for all prefixes of a path and gives their slots.
func (s *slots) add(keys []string) []int {
	at, ids := &s.root, make([]int, len(keys))
	for i, key := range keys {
		j := slices.Index(at.names, key)
		if j < 0 {
			j = len(at.names)
			at.names = append(at.names, key)
			at.children = append(at.children, &slot{id: s.n})
			s.n++
		}
		at = at.children[j]
		ids[i] = at.id
	}
	return ids
}

// span is the place of a value in a record; to is 0 when it is not there.
type span struct{ from, to int }

// scanner checks a JSON object and finds the fields of its slots, in one pass, without memory of its
// own.
type scanner struct {
	slots *slots
	found []span
	b     []byte
}

func newScanner(s *slots) *scanner { return &scanner{slots: s, found: make([]span, s.n)} }

var (
	errNotObject = errors.New("the record is not a JSON object")
	errEnd       = errors.New("the JSON ends too early")
	errUTF8      = errors.New("the record is not valid UTF-8")
	errDepth     = fmt.Errorf("the JSON is nested deeper than %d levels", MaxDepth)
)

func (s *scanner) bad(i int, what string) error {
	if i >= len(s.b) {
		return errEnd
	}
	return fmt.Errorf("not JSON at byte %d: %s", i, what)
}

// scan looks at one record. The spans are valid until the next.
func (s *scanner) scan(b []byte) error {
	clear(s.found)
	s.b = b
	if !utf8.Valid(b) {
		return errUTF8
	}
	i := s.blank(0)
	if i >= len(b) || b[i] != '{' {
		if json.Valid(b) || len(b) == 0 {
			return errNotObject
		}
		return s.bad(i, "want an object")
	}
	i, err := s.object(i, &s.slots.root, 1)
	if err != nil {
		return err
	}
	if i = s.blank(i); i < len(b) {
		return s.bad(i, "more behind the object")
	}
	return nil
}

func (s *scanner) blank(i int) int {
	for i < len(s.b) && (s.b[i] == ' ' || s.b[i] == '\t' || s.b[i] == '\n' || s.b[i] == '\r') {
		i++
	}
	return i
}

// value reads the value that begins at i and returns the place behind it. at is the slot of the value,
// nil when nobody asks for it.
func (s *scanner) value(i int, at *slot, depth int) (int, error) {
	if i >= len(s.b) {
		return i, errEnd
	}
	switch c := s.b[i]; {
	case c == '"':
		return s.text(i)
	case c == '{':
		return s.object(i, at, depth+1)
	case c == '[':
		return s.list(i, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		return s.number(i)
	case c == 't':
		return s.word(i, "true")
	case c == 'f':
		return s.word(i, "false")
	case c == 'n':
		return s.word(i, "null")
	}
	return i, s.bad(i, "want a value")
}

func (s *scanner) object(i int, at *slot, depth int) (end int, err error) {
	if depth > MaxDepth {
		return i, errDepth
	}
	if i = s.blank(i + 1); i < len(s.b) && s.b[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= len(s.b) || s.b[i] != '"' {
			return i, s.bad(i, "want the name of a field")
		}
		name := i
		if i, err = s.text(i); err != nil {
			return i, err
		}
		var child *slot
		if at != nil {
			child = at.child(s.b[name:i])
		}
		if i = s.blank(i); i >= len(s.b) || s.b[i] != ':' {
			return i, s.bad(i, "want a colon")
		}
		start := s.blank(i + 1)
		if i, err = s.value(start, child, depth); err != nil {
			return i, err
		}
		if child != nil {
			if s.found[child.id].to != 0 {
				return i, s.bad(start, "the field is there twice")
			}
			s.found[child.id] = span{start, i}
		}
		if i = s.blank(i); i >= len(s.b) {
			return i, errEnd
		}
		switch s.b[i] {
		case '}':
			return i + 1, nil
		case ',':
			i = s.blank(i + 1)
		default:
			return i, s.bad(i, "want a comma or the end of the object")
		}
	}
}

// child finds the slot of a field by its name as it stands in the record, with its quotes.
func (at *slot) child(quoted []byte) *slot {
	name := quoted[1 : len(quoted)-1]
	for i, known := range at.names {
		if string(name) == known {
			return at.children[i]
		}
	}
	for _, c := range name {
		if c != '\\' {
			continue
		}
		var plain string // written with escapes, which nobody does
		if json.Unmarshal(quoted, &plain) == nil {
			if i := slices.Index(at.names, plain); i >= 0 {
				return at.children[i]
			}
		}
		return nil
	}
	return nil
}

func (s *scanner) list(i, depth int) (end int, err error) {
	if depth > MaxDepth {
		return i, errDepth
	}
	if i = s.blank(i + 1); i < len(s.b) && s.b[i] == ']' {
		return i + 1, nil
	}
	for {
		if i, err = s.value(i, nil, depth); err != nil {
			return i, err
		}
		if i = s.blank(i); i >= len(s.b) {
			return i, errEnd
		}
		switch s.b[i] {
		case ']':
			return i + 1, nil
		case ',':
			i = s.blank(i + 1)
		default:
			return i, s.bad(i, "want a comma or the end of the list")
		}
	}
}

// text reads a string.
func (s *scanner) text(i int) (int, error) {
	b := s.b
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, nil
		case c < 0x20:
			return i, s.bad(i, "a control character in a string")
		case c == '\\':
			i++
			if i >= len(b) {
				return i, errEnd
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(b) || !hex(b[i]) {
						return i, s.bad(i, "a bad escape")
					}
				}
			default:
				return i, s.bad(i, "a bad escape")
			}
		}
	}
	return i, errEnd
}

func hex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (s *scanner) number(i int) (int, error) {
	b := s.b
	if b[i] == '-' {
		i++
	}
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return i, s.bad(i, "want a digit")
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return i, s.bad(i, "want a digit")
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return i, s.bad(i, "want a digit")
		}
	}
	return i, nil
}

func (s *scanner) word(i int, word string) (int, error) {
	if len(s.b)-i < len(word) {
		return len(s.b), errEnd
	}
	if string(s.b[i:i+len(word)]) != word {
		return i, s.bad(i, "want "+word)
	}
	return i + len(word), nil
}
