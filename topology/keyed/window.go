package keyed

import "github.com/twmb/franz-go/pkg/kgo"

// window holds the records of one partition that were read and are not below the commit: in the order
// of their offsets, each done or not. Done ones wait for those before them.
//
// Invariant: the first record of the ring is not done, or the ring is empty.
type window struct {
	ring  []pending // a queue with room in front, see compact
	head  int
	base  uint64 // number of the record at head, counted from the first of this assignment
	bytes int
	next  kgo.EpochOffset // what may be committed
	moved bool            // next is above what was committed last
}

type pending struct {
	offset int64
	epoch  int32
	bytes  int
	done   bool
}

// add takes the next record of the partition and returns the number by which it is marked as done.
func (w *window) add(rec *kgo.Record, bytes int) (number uint64) {
	w.ring = append(w.ring, pending{offset: rec.Offset, epoch: rec.LeaderEpoch, bytes: bytes})
	w.bytes += bytes
	return w.base + uint64(len(w.ring)-w.head) - 1
}

// done marks a record, and moves the commit over the contiguous prefix.
func (w *window) done(number uint64) {
	w.ring[w.head+int(number-w.base)].done = true
	for w.head < len(w.ring) && w.ring[w.head].done {
		p := &w.ring[w.head]
		w.next, w.moved = kgo.EpochOffset{Epoch: p.epoch, Offset: p.offset + 1}, true
		w.bytes -= p.bytes
		w.head++
		w.base++
	}
	w.compact()
}

// compact reuses the room in front once it is the larger half.
func (w *window) compact() {
	if w.head > 64 && w.head > len(w.ring)/2 {
		n := copy(w.ring, w.ring[w.head:])
		w.ring, w.head = w.ring[:n], 0
	}
}

// len is the number of records in the window.
func (w *window) len() int { return len(w.ring) - w.head }
