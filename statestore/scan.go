package statestore

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Scan visits the data keys with a prefix in order, beginning after the key
// after (nil: from the start), until fn returns false. It sees the store as it
// was when Scan was called. Key and value are valid until fn returns. Reserved
// keys are visited only when the prefix begins with 0x00.
func (s *Store) Scan(prefix, after []byte, fn func(key, value []byte) bool) (err error) {
	low := appendData(nil, prefix)
	high := upper(low)
	if len(prefix) == 0 {
		low = append(low, 1)
	}
	return s.scan(low, high, appendData(nil, after), len(after) > 0, func(it *pebble.Iterator) bool {
		return fn(it.Key()[1:], it.Value())
	})
}

// ScanAttr visits the keys that have an attribute, in order, like Scan.
func (s *Store) ScanAttr(attr string, after []byte, fn func(key []byte) bool) error {
	low := appendAttr(nil, attr, nil)
	skip := len(low)
	return s.scan(low, upper(low), appendAttr(nil, attr, after), len(after) > 0, func(it *pebble.Iterator) bool {
		return fn(it.Key()[skip:])
	})
}

// CountAttr counts the keys that have an attribute. It knows the number unless
// the attribute is Uncounted or there are very many of them (counts.go); then it
// walks over the keys.
func (s *Store) CountAttr(attr string) (n int64, err error) {
	if !attrValid(attr) {
		return 0, nil
	}
	if n, kept := s.counts.get(attr); kept && counted(attr) {
		if err := s.enter(); err != nil {
			return 0, err
		}
		s.leave()
		return n, nil
	}
	if listed(attr) {
		err = s.ScanAttr(attr, nil, func([]byte) bool { n++; return true })
		return n, err
	}
	var bad error
	err = s.Scan(nil, nil, func(key, value []byte) bool {
		e, err := s.entry(key, value)
		if bad = err; slices.Contains(e.Attrs, attr) {
			n++
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	return n, err
}

// Counted gives the counts of the attributes that begin with a prefix. Not ok when
// they are not kept (counts.go).
func (s *Store) Counted(prefix string) (n map[string]int64, ok bool, err error) {
	if err := s.enter(); err != nil {
		return nil, false, err
	}
	defer s.leave()
	n, ok = s.counts.with(prefix)
	return n, ok, nil
}

// scan visits [low, high), beginning after the key after when resume is set.
func (s *Store) scan(low, high, after []byte, resume bool, fn func(*pebble.Iterator) bool) (err error) {
	var inCaller bool
	defer s.contain(&err, &inCaller)
	if resume && bytes.Compare(after, low) >= 0 {
		low = append(after, 0) // the smallest key above it
	}
	if bytes.Compare(low, high) >= 0 {
		return nil
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return s.failRead(err)
	}
	defer s.closeIter(it, &err)
	for ok := it.First(); ok; ok = it.Next() {
		inCaller = true
		more := fn(it)
		inCaller = false
		if !more {
			break
		}
	}
	return nil
}

// closeIter, deferred, closes an iterator and reports what stopped it.
func (s *Store) closeIter(it *pebble.Iterator, err *error) {
	if cerr := it.Close(); *err == nil {
		*err = s.failRead(cerr)
	}
}
