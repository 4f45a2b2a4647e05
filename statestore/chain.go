package statestore

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// The chain finds holes. Pebble replays the write-ahead logs that it finds and
// does not miss one that is gone: the newer logs would then be applied on an
// older base, and the position would claim what is not there. So each applied
// batch carries its number into a ring of keys. When the store is opened, the
// ring must hold the last numbers without a gap.
//
// The ring holds more batches than the logs that can be waiting for a flush.
const chainRing = 1 << 16

const chainKeySize = 2 + 2

func appendLink(dst []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint16(append(dst, kindMeta, 'c'), uint16(n%chainRing))
}

func link(pb *pebble.Batch, n uint64) error {
	var key [chainKeySize]byte
	var value [8]byte
	binary.BigEndian.PutUint64(value[:], n)
	return pb.Set(appendLink(key[:0], n), value[:], nil)
}

// checkChain verifies the ring against the number of applied batches.
func (s *Store) checkChain(applied uint64) error {
	prefix := []byte{kindMeta, 'c'}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper(prefix)})
	if err != nil {
		return err
	}
	defer it.Close()
	var links uint64
	for ok := it.First(); ok; ok = it.Next() {
		key, value := it.Key(), it.Value()
		if len(key) != chainKeySize || len(value) != 8 {
			return fmt.Errorf("%w: link %x", ErrCorrupt, key)
		}
		n := binary.BigEndian.Uint64(value)
		if string(appendLink(nil, n)) != string(key) || n > applied || n+chainRing <= applied {
			return fmt.Errorf("%w: batch %d is followed by %d: a part of the log is missing", ErrCorrupt, n, applied)
		}
		links++
	}
	if err := it.Error(); err != nil {
		return err
	}
	if want := min(applied, chainRing); links != want {
		return fmt.Errorf("%w: %d of the last %d batches are there: a part of the log is missing", ErrCorrupt, links, want)
	}
	return nil
}
