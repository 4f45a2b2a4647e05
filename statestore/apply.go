package statestore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Prepare does the part of Apply that can be done before the position is
// known: it reads the old values that the batch has not read yet and derives
// the index changes. Call it while waiting for the broker, and before the
// commit: what can fail for reasons of the data fails here. A later write to
// the batch makes it void. Apply does it when it was not done.
func (s *Store) Prepare(b *Batch) (err error) {
	defer s.contain(&err, nil)
	if err := s.usable(b); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.prepare(b)
}

// Apply writes the batch, the changes of the derived index and the position in
// one write of Pebble, without waiting for the disk. Call it after the commit
// has been confirmed. p.Next must not be below that of the store. The batch
// stays as it is; Reset it for the next cycle. After ErrFailed the batch is in
// the files as a whole or not at all, and the position tells which.
func (s *Store) Apply(b *Batch, p Position) (err error) {
	defer s.contain(&err, nil)
	if err := s.usable(b); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.checkPosition(p); err != nil {
		return err
	}
	if err := s.prepare(b); err != nil {
		return err
	}
	return s.write(b, p)
}

func (s *Store) usable(b *Batch) error {
	if b.s != s {
		return fmt.Errorf("%w: batch of another store", ErrMisuse)
	}
	return b.err
}

func (s *Store) checkPosition(p Position) error {
	if cur := s.Position(); p.Next < cur.Next || p.Time < 0 {
		return fmt.Errorf("%w: position %+v after %+v", ErrMisuse, p, cur)
	}
	return nil
}

func (s *Store) prepare(b *Batch) error {
	stale := b.base != s.appliedCount()
	if b.prepared && !stale {
		return nil
	}
	if b.pb == nil {
		b.pb = s.db.NewBatch()
	}
	b.pb.Reset()
	b.timers.reset()
	b.counts.reset()
	b.entries = b.entries[:0]
	for _, i := range b.order {
		e := &b.ents[i]
		var old, now Entry
		var err error
		kept := s.objects.find(e.key)
		found := kept != nil
		if found { // what was derived from the stored value is known without reading it
			old = kept.entry
		} else {
			if !e.known || stale {
				if err := b.load(e); err != nil {
					return classify(err, false)
				}
			}
			if found = e.found; found {
				if old, err = s.entry(e.key, e.old); err != nil {
					return err
				}
			}
		}
		b.scratch = appendData(b.scratch[:0], e.key)
		if e.state == put {
			if now, err = s.entry(e.key, e.val); err != nil {
				return err
			}
			err = b.pb.Set(b.scratch, e.val, nil)
		} else if found {
			err = b.pb.Delete(b.scratch, nil)
		}
		if err != nil {
			return classify(err, false)
		}
		if err := b.derive(e.key, old, now); err != nil {
			return classify(err, false)
		}
		b.entries = append(b.entries, now)
	}
	if stale {
		b.base = s.appliedCount()
	}
	b.prepared = true
	return nil
}

// write is the one place where the store changes.
func (s *Store) write(b *Batch, p Position) error {
	if err := s.failure(); err != nil {
		return err
	}
	b.prepared = false
	p.Time = max(p.Time, s.Position().Time)
	applied := s.appliedCount() + 1
	b.scratch = appendPosition(b.scratch[:0], p, applied)
	if err := b.pb.Set(keyPosition, b.scratch, nil); err != nil {
		return classify(err, false)
	}
	counted := s.counts.after(&b.counts)
	b.scratch = appendCounts(b.scratch[:0], counted, applied)
	if err := b.pb.Set(keyCounts, b.scratch, nil); err != nil {
		return classify(err, false)
	}
	if err := link(b.pb, applied); err != nil {
		return classify(err, false)
	}

	if err := s.reader.close(); err != nil {
		return s.failRead(err)
	}

	// The timer lock spans the write and the new bound, so that nobody looks
	// up the next timer in between and remembers what was true before.
	s.timers.mu.Lock()
	defer s.timers.mu.Unlock()
	if err := s.db.Apply(b.pb, pebble.NoSync); err != nil {
		return s.fail(classify(err, false))
	}
	// Pebble reports a failed log write through its logger and returns nil.
	if err := s.failure(); err != nil {
		return err
	}
	s.timers.apply(&b.timers)
	s.counts.set(counted)
	for n, i := range b.order {
		e := &b.ents[i]
		s.objects.set(e.key, e.object, b.entries[n], e.weight)
	}
	s.advance(p, applied)
	return nil
}
