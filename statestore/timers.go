package statestore

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// timerIndex remembers where the timers begin. Without that, each look at the
// first timer would pass over the tombstones of all that fired since the last
// compaction.
type timerIndex struct {
	mu sync.Mutex
	// low is a lower bound: no timer key is below it.
	low []byte
	// first is the smallest timer key, when exact; empty and exact: none.
	first []byte
	exact bool
}

// timerChanges is what a batch does to the timers.
type timerChanges struct {
	min     []byte   // the smallest key inserted, empty for none
	removed [][]byte // the keys deleted; memory is reused
}

func (c *timerChanges) reset() { c.min, c.removed = c.min[:0], c.removed[:0] }

func (c *timerChanges) inserted(key []byte) {
	if len(c.min) == 0 || bytes.Compare(key, c.min) < 0 {
		c.min = append(c.min[:0], key...)
	}
}

func (c *timerChanges) deleted(key []byte) {
	n := len(c.removed)
	if n < cap(c.removed) {
		c.removed = c.removed[:n+1]
	} else {
		c.removed = append(c.removed, nil)
	}
	c.removed[n] = append(c.removed[n][:0], key...)
}

// apply brings the index up to date with a batch that was written. The caller
// holds mu.
func (t *timerIndex) apply(c *timerChanges) {
	if t.exact && len(t.first) > 0 {
		for _, key := range c.removed {
			if bytes.Equal(key, t.first) {
				t.low = append(t.low[:0], t.first...)
				t.exact = false
				break
			}
		}
	}
	if len(c.min) == 0 {
		return
	}
	if t.exact && (len(t.first) == 0 || bytes.Compare(c.min, t.first) < 0) {
		t.first = append(t.first[:0], c.min...)
	}
	if bytes.Compare(c.min, t.low) < 0 {
		t.low = append(t.low[:0], c.min...)
	}
}

// Due visits the keys whose due time is now or before, in order of the due
// time, at most limit of them, until fn returns false. The key is valid until
// fn returns. A timer leaves the index when the batch that changes its value
// is applied, not by being visited.
func (s *Store) Due(now int64, limit int, fn func(key []byte, due int64) bool) (err error) {
	var inCaller bool
	defer s.contain(&err, &inCaller)
	if limit <= 0 || now <= 0 {
		return nil
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	low, _, err := s.firstTimer(now)
	if err != nil || low == nil {
		return err
	}
	high := []byte{KindTimer + 1}
	if now < math.MaxInt64 {
		high = appendTimer(nil, now+1, nil)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return s.failRead(err)
	}
	defer s.closeIter(it, &err)
	for ok := it.First(); ok && limit > 0; ok = it.Next() {
		due, key, valid := splitTimer(it.Key()[1:])
		inCaller = true
		if !valid || !fn(key, due) {
			inCaller = false
			break
		}
		inCaller = false
		limit--
	}
	return nil
}

// NextDue returns the earliest due time. It is false when there is none, or
// when the store cannot be read: then Due reports why.
func (s *Store) NextDue() (due int64, ok bool) {
	var err error
	defer s.contain(&err, nil)
	if s.enter() != nil {
		return 0, false
	}
	defer s.leave()
	_, due, err = s.firstTimer(0)
	return due, err == nil && due > 0
}

// firstTimer returns the earliest due time, 0 for none, and the key it is
// under when that time is now or before. It looks only when it does not
// remember.
func (s *Store) firstTimer(now int64) (key []byte, due int64, err error) {
	t := &s.timers
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.exact {
		if err := s.findFirstTimer(t); err != nil {
			return nil, 0, err
		}
	}
	if len(t.first) == 0 {
		return nil, 0, nil
	}
	due, _, ok := splitTimer(t.first[1:])
	if !ok || due <= 0 {
		return nil, 0, s.fail(fmt.Errorf("%w: timer key %x", ErrCorrupt, t.first))
	}
	if due <= now {
		key = slices.Clone(t.first)
	}
	return key, due, nil
}

// findFirstTimer seeks from the lower bound. The caller holds t.mu.
func (s *Store) findFirstTimer(t *timerIndex) (err error) {
	low := t.low
	if len(low) == 0 {
		low = []byte{KindTimer}
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: []byte{KindTimer + 1}})
	if err != nil {
		return s.failRead(err)
	}
	t.first = t.first[:0]
	if it.First() {
		t.first = append(t.first, it.Key()...)
	}
	if err := it.Close(); err != nil {
		return s.failRead(err)
	}
	t.exact = true
	if t.low = append(t.low[:0], t.first...); len(t.low) == 0 {
		t.low = append(t.low, KindTimer+1) // no timer at all
	}
	return nil
}
