package statestore

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// GetSorted visits the entries of some keys, which are in ascending order, until fn returns false. Keys that
// are not there are left out. It sees the store as it was when GetSorted was called, and goes forward only: what
// lies near to one another is read once, where as many calls of Get would unpack the same block again and again.
// Key and value are valid until fn returns.
func (s *Store) GetSorted(keys [][]byte, fn func(key, value []byte) bool) (err error) {
	if len(keys) == 0 {
		return nil
	}
	var inCaller bool
	defer s.contain(&err, &inCaller)
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: appendData(nil, keys[0]), UpperBound: append(appendData(nil, keys[len(keys)-1]), 0)})
	if err != nil {
		return s.failRead(err)
	}
	defer s.closeIter(it, &err)
	var at []byte
	for _, key := range keys {
		at = appendData(at[:0], key)
		// By prefix, so that the filters of the tables are asked: keys may be far apart.
		if !it.SeekPrefixGE(at) || !bytes.Equal(it.Key(), at) {
			if it.Error() != nil {
				break // closing the iterator says it
			}
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return s.failRead(err)
		}
		inCaller = true
		more := fn(it.Key()[1:], value)
		inCaller = false
		if !more {
			break
		}
	}
	return nil
}
