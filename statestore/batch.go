package statestore

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"

	"github.com/cockroachdb/pebble/v2"
)

// A Batch gathers the writes of one cycle in memory and reads through them to
// the store. The store does not change until Apply.
//
// It is an overlay of our own and not an indexed batch of Pebble: it can go
// back to a savepoint, keeps only the last value of a key, remembers what it
// read so that Apply need not read it again, and is reused without garbage.
//
// A batch belongs to the goroutine that writes the store. Only one batch with
// writes should be under way at a time: another one that is applied in between
// leaves what this one has read out of date.
type Batch struct {
	s     *Store
	seed  maphash.Seed
	table []int32 // open addressing; entry number + 1, 0 = free
	ents  []batchEntry
	order []int32 // entries with a write, in the order of the first write
	undo  []undoEntry
	mem   arena
	bytes int
	base  uint64 // s.applied when the first entry was made
	gen   uint64 // raised by Reset, so that an old savepoint is noticed
	err   error  // a write that was refused; Apply reports it

	pb       *pebble.Batch // what Prepare made
	prepared bool
	timers   timerChanges
	counts   countChange
	entries  []Entry // of the writes in order, for what is kept of them
	scratch  []byte
}

type batchEntry struct {
	hash  uint64
	key   []byte
	old   []byte // what the store holds, when known
	val   []byte
	known bool
	found bool // the store holds the key; only when known
	state writeState

	object any // what is to be kept of val
	weight int
}

type writeState uint8

const (
	unwritten writeState = iota
	put
	deleted
)

// undoEntry is how an entry was before a write.
type undoEntry struct {
	entry int32
	state writeState
	val   []byte
	err   error
	fault bool // the write was refused; restore err only

	object any
	weight int
}

// Savepoint is a moment in a batch. It is valid until Reset, or until a
// Rollback to an earlier one.
type Savepoint struct {
	gen  uint64
	undo int
}

// NewBatch returns an empty batch. What was kept by PutObject is forgotten: a
// new user of the store begins with what is stored.
func (s *Store) NewBatch() *Batch {
	s.objects.clear()
	return &Batch{s: s, seed: maphash.MakeSeed()}
}

// Get returns the value as the batch would leave it. The slice is valid until
// Reset and must not be changed.
func (b *Batch) Get(key []byte) (value []byte, found bool, err error) {
	i, err := b.entry(key)
	if err != nil {
		return nil, false, err
	}
	e := &b.ents[i]
	switch {
	case e.state == put:
		return e.val, true, nil
	case e.state == deleted:
		return nil, false, nil
	case !e.known:
		if err := b.loadAlone(e); err != nil {
			return nil, false, err
		}
	}
	return e.old, e.found, nil
}

// Put sets key to a copy of value. An empty value is a value. A key or value
// over the limits is refused: see Err.
func (b *Batch) Put(key, value []byte) {
	if len(value) > ValueMax {
		b.refuse(fmt.Errorf("%w: value of %d bytes, at most %d", ErrLimit, len(value), ValueMax))
		return
	}
	b.write(key, put, value, nil, 0)
}

// PutObject is Put, and gives what the caller has made of value, which takes
// about weight bytes of memory. Object gives it back: from this batch at once,
// from others when this one was applied, as long as there is room for it and
// until the key is written again. Nobody may change object any more.
func (b *Batch) PutObject(key, value []byte, object any, weight int) {
	if len(value) > ValueMax {
		b.Put(key, value) // which refuses it
		return
	}
	b.write(key, put, value, object, weight)
}

// Object is what was given to PutObject with the value that Get would return,
// or nil when it is not there any more: then Get it.
func (b *Batch) Object(key []byte) any {
	if b.s.objects.limit == 0 {
		return nil
	}
	i, err := b.entry(key)
	if err != nil {
		return nil
	}
	switch e := &b.ents[i]; e.state {
	case put:
		return e.object
	case deleted:
		return nil
	}
	return b.s.objects.use(key)
}

// Delete removes key. It is written to the changelog even when the store does
// not hold the key.
func (b *Batch) Delete(key []byte) { b.write(key, deleted, nil, nil, 0) }

// Err reports a write that was refused since the last savepoint that was gone
// back to. Such a batch must not be committed; Apply refuses it.
func (b *Batch) Err() error { return b.err }

func (b *Batch) write(key []byte, state writeState, value []byte, object any, weight int) {
	i, err := b.entry(key)
	if err != nil {
		b.refuse(err)
		return
	}
	b.prepared = false
	e := &b.ents[i]
	b.undo = append(b.undo, undoEntry{entry: i, state: e.state, val: e.val, object: e.object, weight: e.weight})
	if e.state == unwritten {
		b.order = append(b.order, i)
		b.bytes += len(e.key)
	}
	b.bytes += len(value) - len(e.val)
	e.state, e.val, e.object, e.weight = state, nil, object, weight
	if state == put {
		e.val = b.mem.copy(value)
	}
}

func (b *Batch) refuse(err error) {
	b.undo = append(b.undo, undoEntry{fault: true, err: b.err})
	if b.err == nil {
		b.err = err
	}
}

// Mark returns a savepoint of what was written so far.
func (b *Batch) Mark() Savepoint { return Savepoint{gen: b.gen, undo: len(b.undo)} }

// Rollback takes back every write since the savepoint. What was read stays
// remembered. A savepoint that is no longer valid makes the batch unusable.
func (b *Batch) Rollback(sp Savepoint) {
	if sp.gen != b.gen || sp.undo > len(b.undo) {
		b.refuse(fmt.Errorf("%w: rollback to a savepoint that is gone", ErrMisuse))
		return
	}
	b.prepared = false
	for i := len(b.undo) - 1; i >= sp.undo; i-- {
		u := b.undo[i]
		if u.fault {
			b.err = u.err
			continue
		}
		e := &b.ents[u.entry]
		b.bytes += len(u.val) - len(e.val)
		e.state, e.val, e.object, e.weight = u.state, u.val, u.object, u.weight
		if u.state == unwritten {
			b.order = b.order[:len(b.order)-1] // first writes are undone last in, first out
			b.bytes -= len(e.key)
		}
	}
	clear(b.undo[sp.undo:])
	b.undo = b.undo[:sp.undo]
}

// Reset empties the batch and keeps its memory for the next cycle. Everything
// that came out of the batch becomes invalid, also the records made from it:
// while some of them may still be on their way to a broker, drop the batch and
// take a new one instead.
func (b *Batch) Reset() {
	b.gen++
	clear(b.table)
	clear(b.ents)
	clear(b.undo)
	b.ents, b.order, b.undo = b.ents[:0], b.order[:0], b.undo[:0]
	b.bytes, b.err, b.prepared = 0, nil, false
	b.mem.reset()
	b.timers.reset()
	b.counts.reset()
	clear(b.entries)
	b.entries = b.entries[:0]
	b.s.rest()
}

// Len is the number of keys written.
func (b *Batch) Len() int { return len(b.order) }

// Bytes is the size of the keys and of the last values written.
func (b *Batch) Bytes() int { return b.bytes }

// All yields each key written with its last value, nil for a deletion, in the
// order of the first write. The slices are valid until Reset and must not be
// changed.
func (b *Batch) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for _, i := range b.order {
			if e := &b.ents[i]; !yield(e.key, e.val) {
				return
			}
		}
	}
}

// loadAlone is load as a call of its own.
func (b *Batch) loadAlone(e *batchEntry) (err error) {
	defer b.s.contain(&err, nil)
	if err := b.s.enter(); err != nil {
		return err
	}
	defer b.s.leave()
	return b.load(e)
}

// rest closes the reader between cycles, so that it does not hold on to tables
// that could be deleted.
func (s *Store) rest() {
	var err error
	defer s.contain(&err, nil)
	if s.reader.it == nil || !s.calls.enter() {
		return // Close does it
	}
	defer s.leave()
	if err := s.reader.close(); err != nil {
		_ = s.failRead(err) // damage is recorded; the rest was reported when it was met
	}
}

// load reads what the store holds under the entry's key, inside a call.
func (b *Batch) load(e *batchEntry) error {
	b.scratch = appendData(b.scratch[:0], e.key)
	value, found, err := b.s.reader.find(b.s.db, b.scratch, &b.mem)
	if err != nil {
		return b.s.failRead(err)
	}
	e.old, e.found, e.known = value, found, true
	return nil
}

// entry finds or makes the entry of a key.
func (b *Batch) entry(key []byte) (int32, error) {
	if len(key) == 0 || len(key) > KeyMax {
		return 0, fmt.Errorf("%w: key of %d bytes, wanted 1 to %d", ErrLimit, len(key), KeyMax)
	}
	if len(b.ents)*2 >= len(b.table) {
		b.growTable()
	}
	hash := maphash.Bytes(b.seed, key)
	mask := uint64(len(b.table) - 1)
	slot := hash & mask
	for ; b.table[slot] != 0; slot = (slot + 1) & mask {
		i := b.table[slot] - 1
		if e := &b.ents[i]; e.hash == hash && bytes.Equal(e.key, key) {
			return i, nil
		}
	}
	if len(b.ents) == 0 {
		b.base = b.s.appliedCount()
	}
	b.ents = append(b.ents, batchEntry{hash: hash, key: b.mem.copy(key)})
	b.table[slot] = int32(len(b.ents))
	return int32(len(b.ents)) - 1, nil
}

func (b *Batch) growTable() {
	b.table = make([]int32, max(256, 1<<bits.Len(uint(len(b.ents)*4))))
	mask := uint64(len(b.table) - 1)
	for i := range b.ents {
		slot := b.ents[i].hash & mask
		for b.table[slot] != 0 {
			slot = (slot + 1) & mask
		}
		b.table[slot] = int32(i) + 1
	}
}
