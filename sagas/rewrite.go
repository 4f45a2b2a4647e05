package sagas

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// rewriter makes canonical JSON of a text without building its value: it copies each token and sorts the
// members of an object in place. It knows the plain cases only: strings without escapes, whole numbers of
// up to 18 digits. At anything else, errors among them, it gives up, and the parser decides.
type rewriter struct {
	src     []byte
	i       int
	dst     []byte
	members []member // of the objects that are open, innermost last
	scratch []byte
	other   bool // a byte that is not ASCII was seen
}

// member is one of an object, in bytes of dst: the key without its quotes, and all of it.
type member struct{ key, keyEnd, start, end int }

// plainDigits is the length of the longest number that needs no thought.
const plainDigits = 18

// rewriteJSON is CanonicalJSON for the plain cases; ok is false for the others. The result is new.
func rewriteJSON(src []byte) (canonical []byte, ok bool) {
	if len(src) > MaxValueBytes {
		return nil, false
	}
	r := rewriter{src: src, dst: make([]byte, 0, len(src)), members: make([]member, 0, 8)}
	ok = r.value(0)
	r.space()
	ok = ok && r.i == len(src) && (!r.other || utf8.Valid(src))
	return r.dst, ok
}

func (r *rewriter) space() {
	for r.i < len(r.src) {
		switch r.src[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// next is the byte at the next token, 0 at the end; no token begins with 0.
func (r *rewriter) next() byte {
	r.space()
	if r.i >= len(r.src) {
		return 0
	}
	return r.src[r.i]
}

func (r *rewriter) value(depth int) bool {
	switch c := r.next(); c {
	case '{':
		return depth < MaxValueDepth && r.object(depth+1)
	case '[':
		return depth < MaxValueDepth && r.array(depth+1)
	case '"':
		return r.string()
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
		return r.word("null")
	default:
		return r.number()
	}
}

func (r *rewriter) word(w string) bool {
	if len(r.src)-r.i < len(w) || string(r.src[r.i:r.i+len(w)]) != w {
		return false
	}
	r.i += len(w)
	r.dst = append(r.dst, w...)
	return true
}

func (r *rewriter) number() bool {
	start := r.i
	if r.i < len(r.src) && r.src[r.i] == '-' {
		r.i++
	}
	digits := r.i
	for r.i < len(r.src) && r.src[r.i] >= '0' && r.src[r.i] <= '9' {
		r.i++
	}
	n := r.i - digits
	if n == 0 || n > plainDigits || r.src[digits] == '0' && (n > 1 || digits > start) {
		return false
	}
	if r.i < len(r.src) {
		switch r.src[r.i] {
		case '.', 'e', 'E':
			return false
		}
	}
	r.dst = append(r.dst, r.src[start:r.i]...)
	return true
}

func (r *rewriter) string() bool {
	for i := r.i + 1; i < len(r.src); i++ {
		switch c := r.src[i]; {
		case c == '"':
			r.dst = append(r.dst, r.src[r.i:i+1]...)
			r.i = i + 1
			return true
		case c == '\\' || c < 0x20:
			return false
		case c >= utf8.RuneSelf:
			r.other = true
		}
	}
	return false
}

func (r *rewriter) array(depth int) bool {
	r.i++
	r.dst = append(r.dst, '[')
	if r.next() != ']' {
		for {
			if !r.value(depth) {
				return false
			}
			if r.next() != ',' {
				break
			}
			r.i++
			r.dst = append(r.dst, ',')
		}
		if r.next() != ']' {
			return false
		}
	}
	r.i++
	r.dst = append(r.dst, ']')
	return true
}

func (r *rewriter) object(depth int) bool {
	r.i++
	first, ordered := len(r.members), true
	begin := len(r.dst) + 1
	r.dst = append(r.dst, '{')
	if r.next() != '}' {
		for {
			m := member{start: len(r.dst), key: len(r.dst) + 1}
			if r.next() != '"' || !r.string() {
				return false
			}
			m.keyEnd = len(r.dst) - 1
			if r.next() != ':' {
				return false
			}
			r.i++
			r.dst = append(r.dst, ':')
			if !r.value(depth) {
				return false
			}
			m.end = len(r.dst)
			if n := len(r.members); n > first && ordered {
				ordered = bytes.Compare(r.keyOf(r.members[n-1]), r.keyOf(m)) < 0
			}
			r.members = append(r.members, m)
			if r.next() != ',' {
				break
			}
			r.i++
			r.dst = append(r.dst, ',')
		}
		if r.next() != '}' {
			return false
		}
	}
	if !ordered && !r.sort(r.members[first:], begin) {
		return false
	}
	r.members = r.members[:first]
	r.i++
	r.dst = append(r.dst, '}')
	return true
}

func (r *rewriter) keyOf(m member) []byte { return r.dst[m.key:m.keyEnd] }

// sort puts the members of an object, which begin at begin, in the order of their keys. It gives up when
// two are equal.
func (r *rewriter) sort(members []member, begin int) bool {
	slices.SortFunc(members, func(a, b member) int { return bytes.Compare(r.keyOf(a), r.keyOf(b)) })
	r.scratch = slices.Grow(r.scratch[:0], len(r.dst)-begin)
	for k, m := range members {
		if k > 0 {
			if bytes.Equal(r.keyOf(members[k-1]), r.keyOf(m)) {
				return false
			}
			r.scratch = append(r.scratch, ',')
		}
		r.scratch = append(r.scratch, r.dst[m.start:m.end]...)
	}
	r.dst = append(r.dst[:begin], r.scratch...)
	return true
}
