package sagas

import (
	"encoding/binary"
	"fmt"
)

type stateWriter struct {
	b    []byte
	base Time
	v2   bool
}

func (e *stateWriter) byte(b byte)   { e.b = append(e.b, b) }
func (e *stateWriter) raw(b []byte)  { e.b = append(e.b, b...) }
func (e *stateWriter) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *stateWriter) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *stateWriter) text(s string) {
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *stateWriter) bytes(s []byte) {
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *stateWriter) time(t Time) {
	if t == 0 {
		e.b = append(e.b, 0)
		return
	}
	d := int64(t - e.base)
	e.b = binary.AppendUvarint(e.b, (uint64(d)<<1^uint64(d>>63))+1)
}

// stateReader reads s; b is a copy of the same bytes. After the first error every read gives zero.
type stateReader struct {
	s    string
	b    []byte
	at   int
	base Time
	v2   bool
	err  error
}

// most is the last value of an enumeration that the record's format knows.
func (d *stateReader) most(v1, v2 byte) byte {
	if d.v2 {
		return v2
	}
	return v1
}

// index reads the position of a node or lane in a plan.
func (d *stateReader) index() int {
	n := d.uint()
	if n > 1<<20 {
		d.fail("position %d", n)
		return 0
	}
	return int(n)
}

// end checks that everything was read.
func (d *stateReader) end() {
	if d.err == nil && len(d.s) != d.at {
		d.fail("%d bytes are left over", len(d.s)-d.at)
	}
}

func (d *stateReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: at byte %d: %s", ErrCorrupt, d.at, fmt.Sprintf(format, args...))
	}
}

// take reads n bytes as text.
func (d *stateReader) take(n int) string {
	if d.err != nil {
		return ""
	}
	if n > len(d.s)-d.at {
		d.fail("it ends too early")
		return ""
	}
	s := d.s[d.at : d.at+n]
	d.at += n
	return s
}

func (d *stateReader) uint() uint64 {
	if d.err != nil {
		return 0
	}
	var n uint64
	for shift := uint(0); shift < 64; shift += 7 {
		if d.at >= len(d.s) {
			break
		}
		c := d.s[d.at]
		d.at++
		if c < 0x80 {
			if (c == 0 && shift > 0) || (shift == 63 && c > 1) {
				break // not the shortest form, or over 64 bits
			}
			return n | uint64(c)<<shift
		}
		n |= uint64(c&0x7f) << shift
	}
	d.fail("a bad number")
	return 0
}

func (d *stateReader) uint32() uint32 {
	n := d.uint()
	if n > 1<<32-1 {
		d.fail("a number over 32 bits")
		return 0
	}
	return uint32(n)
}

// enum reads one byte that is at most most.
func (d *stateReader) enum(most byte) byte {
	s := d.take(1)
	if d.err != nil {
		return 0
	}
	if s[0] > most {
		d.fail("value %d, at most %d is known", s[0], most)
		return 0
	}
	return s[0]
}

// count reads the number of elements of which each takes at least size bytes.
func (d *stateReader) count(size int) int {
	n := d.uint()
	if n > uint64((len(d.s)-d.at)/size) {
		d.fail("%d elements", n)
		return 0
	}
	return int(n)
}

func (d *stateReader) text() string {
	n := d.uint()
	if n > uint64(len(d.s)-d.at) {
		d.fail("a text of %d bytes", n)
		return ""
	}
	return d.take(int(n))
}

// bytes reads a byte string; an empty one is nil.
func (d *stateReader) bytes() []byte {
	n := len(d.text())
	if n == 0 {
		return nil
	}
	return d.b[d.at-n : d.at : d.at]
}

func (d *stateReader) time() Time {
	n := d.uint()
	if n == 0 {
		return 0
	}
	n--
	t := d.moment(uint64(d.base) + (n>>1 ^ -(n & 1)))
	if t == 0 {
		d.fail("a moment that is none")
	}
	return t
}

// moment checks that a number is a moment that Step can have made.
func (d *stateReader) moment(n uint64) Time {
	if n > uint64(maxTime) {
		d.fail("a moment out of range")
		return 0
	}
	return Time(n)
}

func be32(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

func be64(s string) uint64 { return uint64(be32(s))<<32 | uint64(be32(s[4:])) }
