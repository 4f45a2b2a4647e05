package statestore

import "github.com/cockroachdb/pebble/v2"

// Dump visits all data and derived keys in order: kind is KindData, KindTimer
// or KindAttr, key is what follows it. Two stores that contain the same
// position give the same dump, byte for byte. Local metadata is left out. Key
// and value are valid until fn returns.
func (s *Store) Dump(fn func(kind byte, key, value []byte)) error {
	for _, kind := range []byte{KindData, KindTimer, KindAttr} {
		err := s.scan([]byte{kind}, []byte{kind + 1}, nil, false, func(it *pebble.Iterator) bool {
			fn(kind, it.Key()[1:], it.Value())
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}
