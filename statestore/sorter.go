package statestore

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A sorter puts entries into key order within a bound of memory. Of several
// entries with one key the newest counts: in memory it takes the place of the
// older one, so that a key which is written often costs no more than another.
// What does not fit goes to sorted runs on disk.
//
// It belongs to one goroutine.
type sorter struct {
	fs    vfs.FS
	name  string // the runs are name.1, name.2 and so on
	limit int    // bytes of memory
	// unique says that no key is added twice.
	unique bool
	pace   func()

	seed   maphash.Seed
	table  []int32 // open addressing; entry number + 1, 0 = free
	ents   []sortEntry
	refs   []sortRef
	mem    slab
	common []byte // what all keys in memory begin with; nil: none yet
	runs   []string
	made   int // runs so far, those that were merged included
}

type sortEntry struct {
	key  []byte
	val  []byte // nil: a deletion
	hash uint32
}

// sortRef stands for an entry while sorting. head is what follows the common
// beginning of all keys: it decides nearly every comparison.
type sortRef struct {
	head uint64
	ent  int32
}

const (
	sortEntryBytes = 56 + 16 + 8 // of the entry, its ref and its place in the table
	runsMax        = 64          // read at the same time
	paceEvery      = 1 << 10     // comparisons or entries between two calls of pace
)

// bytes is the memory in use.
func (s *sorter) bytes() int { return s.mem.bytes + len(s.ents)*sortEntryBytes }

// add takes a copy of an entry; a nil value is a deletion.
func (s *sorter) add(key, val []byte) error {
	if !s.unique {
		if len(s.ents)*2 >= len(s.table) {
			s.grow()
		}
		hash := uint32(maphash.Bytes(s.seed, key))
		mask := uint32(len(s.table) - 1)
		slot := hash & mask
		for ; s.table[slot] != 0; slot = (slot + 1) & mask {
			if e := &s.ents[s.table[slot]-1]; e.hash == hash && bytes.Equal(e.key, key) {
				e.val = s.mem.replace(e.val, val)
				return s.full()
			}
		}
		s.ents = append(s.ents, sortEntry{key: s.mem.copy(key), val: s.mem.replace(nil, val), hash: hash})
		s.table[slot] = int32(len(s.ents))
	} else {
		s.ents = append(s.ents, sortEntry{key: s.mem.copy(key), val: s.mem.replace(nil, val)})
	}
	if s.common == nil {
		s.common = append(make([]byte, 0, len(key)+1), key...)
	} else if !bytes.HasPrefix(key, s.common) {
		n := 0
		for n < len(key) && n < len(s.common) && key[n] == s.common[n] {
			n++
		}
		s.common = s.common[:n]
	}
	return s.full()
}

func (s *sorter) full() error {
	if s.bytes() < s.limit {
		return nil
	}
	return s.spill()
}

func (s *sorter) grow() {
	s.table = make([]int32, max(1<<10, 1<<bits.Len(uint(len(s.ents)*3))))
	mask := uint32(len(s.table) - 1)
	for i := range s.ents {
		slot := s.ents[i].hash & mask
		for s.table[slot] != 0 {
			slot = (slot + 1) & mask
		}
		s.table[slot] = int32(i) + 1
	}
}

// sort makes refs the order of what is in memory.
func (s *sorter) sort() {
	s.refs = slices.Grow(s.refs[:0], len(s.ents))
	skip := len(s.common)
	for i := range s.ents {
		s.refs = append(s.refs, sortRef{head(s.ents[i].key[skip:]), int32(i)})
	}
	n := 0
	slices.SortFunc(s.refs, func(a, b sortRef) int {
		if n++; n%paceEvery == 0 {
			s.pace()
		}
		if a.head != b.head {
			return cmp.Compare(a.head, b.head)
		}
		return bytes.Compare(s.ents[a.ent].key, s.ents[b.ent].key)
	})
}

// head is the first eight bytes of a key as a number that sorts as they do.
func head(key []byte) (n uint64) {
	for i := range 8 {
		n <<= 8
		if i < len(key) {
			n |= uint64(key[i])
		}
	}
	return n
}

// spill writes what is in memory to a run.
func (s *sorter) spill() error {
	if len(s.ents) == 0 {
		return nil
	}
	s.sort()
	err := s.write(func(put func(key, val []byte) error) error {
		for i, ref := range s.refs {
			if i%paceEvery == 0 {
				s.pace()
			}
			e := &s.ents[ref.ent]
			if err := put(e.key, e.val); err != nil {
				return err
			}
		}
		return nil
	})
	s.forget()
	if err != nil || len(s.runs) < runsMax {
		return err
	}
	// Too many to read at once: make one of them.
	old := s.runs
	s.runs = nil
	if err := s.write(func(put func(key, val []byte) error) error { return s.mergeRuns(old, false, put) }); err != nil {
		return err
	}
	for _, name := range old {
		if err := s.fs.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// write makes the next run of what fill puts.
func (s *sorter) write(fill func(put func(key, val []byte) error) error) error {
	s.made++
	name := fmt.Sprintf("%s.%d", s.name, s.made)
	w, err := newRunWriter(s.fs, name)
	if err != nil {
		return err
	}
	err = fill(w.put)
	if cerr := w.close(); err == nil {
		err = cerr
	}
	if err == nil {
		s.runs = append(s.runs, name)
	}
	return err
}

// forget empties the memory and keeps it.
func (s *sorter) forget() {
	clear(s.table)
	clear(s.ents)
	s.ents, s.refs, s.common = s.ents[:0], s.refs[:0], nil
	s.mem.reset()
}

// merge calls fn with each key in order and its newest value; deletions are
// left out. Key and value are valid until fn returns. Nothing can be added
// after it.
func (s *sorter) merge(fn func(key, val []byte) error) error {
	live := func(key, val []byte) error {
		if val == nil {
			return nil
		}
		return fn(key, val)
	}
	s.sort()
	return s.mergeRuns(s.runs, true, live)
}

// mergeRuns merges runs, oldest first, and then the memory when it is asked
// for, which is newer than all of them.
func (s *sorter) mergeRuns(runs []string, memory bool, fn func(key, val []byte) error) (err error) {
	var all []*runCursor
	defer func() {
		for _, c := range all {
			if cerr := c.close(); err == nil {
				err = cerr
			}
		}
	}()
	for age, name := range runs {
		r, err := openRun(s.fs, name)
		if err != nil {
			return err
		}
		all = append(all, &runCursor{age: age, run: r})
	}
	if memory {
		all = append(all, &runCursor{age: len(runs), sorter: s})
	}
	heap := make([]*runCursor, 0, len(all))
	for _, c := range all {
		switch ok, err := c.next(); {
		case err != nil:
			return err
		case ok:
			heap = append(heap, c)
		}
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		sink(heap, i)
	}
	var last []byte
	any := false
	for n := 0; len(heap) > 0; n++ {
		if n%paceEvery == 0 {
			s.pace()
		}
		c := heap[0]
		if len(all) == 1 || !any || !bytes.Equal(c.key, last) {
			if err := fn(c.key, c.val); err != nil {
				return err
			}
			if len(all) > 1 {
				last, any = append(last[:0], c.key...), true
			}
		}
		ok, err := c.next()
		if err != nil {
			return err
		}
		if !ok {
			heap[0] = heap[len(heap)-1]
			heap = heap[:len(heap)-1]
		}
		sink(heap, 0)
	}
	return nil
}

// discard removes the runs.
func (s *sorter) discard() error {
	for _, name := range s.runs {
		if err := s.fs.Remove(name); err != nil {
			return err
		}
	}
	s.runs, s.table, s.ents, s.refs, s.mem = nil, nil, nil, nil, slab{}
	return nil
}

// runCursor is a place in a run, or in the memory of a sorter.
type runCursor struct {
	key, val []byte
	age      int // the higher the newer
	run      *runReader
	sorter   *sorter
	at       int
}

func (c *runCursor) next() (ok bool, err error) {
	if c.run != nil {
		c.key, c.val, ok, err = c.run.next()
		return ok, err
	}
	if c.at == len(c.sorter.refs) {
		return false, nil
	}
	e := &c.sorter.ents[c.sorter.refs[c.at].ent]
	c.key, c.val = e.key, e.val
	c.at++
	return true, nil
}

func (c *runCursor) close() error {
	if c.run != nil {
		return c.run.close()
	}
	return nil
}

// before orders by key, and the newest first.
func (c *runCursor) before(d *runCursor) bool {
	if order := bytes.Compare(c.key, d.key); order != 0 {
		return order < 0
	}
	return c.age > d.age
}

// sink moves an element of a heap down to where it belongs.
func sink(heap []*runCursor, i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(heap); child++ {
			if heap[child].before(heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}

// slab hands out memory that is all taken back at once, in large pieces that
// it keeps.
type slab struct {
	chunks [][]byte
	at     int
	bytes  int // in use, what is lost at the ends of the pieces included
}

const slabChunk = 1 << 20

// copy returns a copy that is not nil.
func (s *slab) copy(b []byte) []byte { return append(s.alloc(len(b))[:0], b...) }

// replace is copy into the place of an older value when the new one fits. nil
// stays nil.
func (s *slab) replace(old, b []byte) []byte {
	switch {
	case b == nil:
		return nil
	case old != nil && len(b) <= cap(old):
		return append(old[:0], b...)
	}
	return s.copy(b)
}

func (s *slab) alloc(n int) []byte {
	if n > slabChunk/4 {
		s.bytes += n
		return make([]byte, n)
	}
	if s.at < len(s.chunks) {
		if c := s.chunks[s.at]; cap(c)-len(c) < n {
			s.bytes += cap(c) - len(c)
			s.at++
		}
	}
	if s.at == len(s.chunks) {
		s.chunks = append(s.chunks, make([]byte, 0, slabChunk))
	}
	c := s.chunks[s.at]
	s.chunks[s.at] = c[:len(c)+n]
	s.bytes += n
	return c[len(c) : len(c)+n : len(c)+n]
}

func (s *slab) reset() {
	for i, c := range s.chunks {
		s.chunks[i] = c[:0]
	}
	s.at, s.bytes = 0, 0
}
