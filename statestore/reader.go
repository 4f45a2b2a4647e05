package statestore

import "github.com/cockroachdb/pebble/v2"

// reader is the iterator through which the writing goroutine reads data keys.
//
// Reading a key with DB.Get sets up an iterator each time and never asks the
// bloom filters of the lowest level, where most tables are: to learn that a
// saga is new it would read a block. One iterator for the reads of a cycle, in
// prefix mode (the prefix is the whole key) and with all filters, takes half
// of the time for keys that are there and a tenth for those that are not.
//
// It shows the store as it was when it was opened, so every write closes it.
type reader struct{ it *pebble.Iterator }

// find copies the value under a data key, given with its kind, into mem.
func (r *reader) find(db *pebble.DB, key []byte, mem *arena) (value []byte, found bool, err error) {
	if r.it == nil {
		r.it, err = db.NewIter(&pebble.IterOptions{
			LowerBound: []byte{KindData}, UpperBound: []byte{KindData + 1}, UseL6Filters: true,
		})
		if err != nil {
			return nil, false, err
		}
	}
	if !r.it.SeekPrefixGE(key) {
		return nil, false, r.it.Error()
	}
	v, err := r.it.ValueAndErr()
	if err != nil {
		return nil, false, err
	}
	return mem.copy(v), true, nil
}

// close gives back what the iterator holds on to.
func (r *reader) close() error {
	it := r.it
	if r.it = nil; it == nil {
		return nil
	}
	return it.Close()
}
