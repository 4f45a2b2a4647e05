package sagas

import (
	"encoding/binary"
	"fmt"
)

// ReadTags reads the tags of an encoded instance, sorted by key, in passing: it decodes nothing else. nil
// when there are none. The error is ErrNewerFormat or ErrCorrupt.
func ReadTags(b []byte) ([]KV, error) {
	if err := checkFormat(b, formatPaged); err != nil {
		return nil, err
	}
	r := skipper{b: b}
	r.skip(headBytes)
	r.text()
	if n := r.uint(); n&1 == 0 { // the type, when it is not the beginning of the workflow ID
		r.skip(n >> 1)
	}
	r.skip(2 * uint64(len(Digest{})))
	r.uint() // seq
	r.skip(2)
	r.text() // start id
	switch n := r.uint(); {
	case b[0] != formatPaged:
		r.skip(n)
	case n&1 == 0: // the input lies here and not in pages
		r.skip(n >> 1)
	}
	r.text() // reply-to
	r.text() // trace
	n := r.uint()
	if r.bad || n > uint64(len(b)-r.at)/2 {
		return nil, fmt.Errorf("%w: it ends before its tags", ErrCorrupt)
	}
	if n == 0 {
		return nil, nil
	}
	tags := make([]KV, n)
	for k := range tags {
		tags[k] = KV{string(r.text()), string(r.text())}
	}
	if r.bad {
		return nil, fmt.Errorf("%w: it ends within its tags", ErrCorrupt)
	}
	return tags, nil
}

// skipper walks over the fields of a record. Once it is bad, it gives nothing more.
type skipper struct {
	b   []byte
	at  int
	bad bool
}

func (r *skipper) skip(n uint64) {
	if r.bad = r.bad || n > uint64(len(r.b)-r.at); !r.bad {
		r.at += int(n)
	}
}

func (r *skipper) uint() uint64 {
	n, w := binary.Uvarint(r.b[r.at:])
	if r.bad = r.bad || w <= 0; r.bad {
		return 0
	}
	r.at += w
	return n
}

func (r *skipper) text() []byte {
	n, from := r.uint(), r.at
	r.skip(n)
	if r.bad {
		return nil
	}
	return r.b[from:r.at]
}
