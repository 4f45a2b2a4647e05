package statestore

import (
	"fmt"
	"slices"
)

// Indexer derives the index entries of one value. It must be a pure function
// of its arguments, must not keep them, and is never called with a nil value
// nor for a reserved key. When its results change between versions of a
// program, Identity.Format must be raised.
type Indexer func(key, value []byte) Entry

// Entry is what the store derives from one value.
type Entry struct {
	// Due is when the key wants to be called, in milliseconds since 1970;
	// 0 or less for never.
	Due int64
	// Attrs are the lists the key is to be found in, such as "s/running". One
	// that is empty, longer than AttrMax or has a 0x00 is left out and counted
	// in Metrics.AttrsRefused; a repeated one counts once.
	//
	// The first byte may say more about an attribute. One that begins with
	// Uncounted is for values of which there are many: it is in the index, and
	// CountAttr walks over its keys. One that begins with CountOnly is counted
	// and in no list.
	Attrs []string
}

// First bytes of attributes.
const (
	Uncounted byte = 0x01
	CountOnly byte = 0x02
)

func listed(attr string) bool  { return attr[0] != CountOnly }
func counted(attr string) bool { return attr[0] != Uncounted }

// entry calls the Indexer and makes its answer fit for the index.
func (s *Store) entry(key, value []byte) (e Entry, err error) {
	if s.index == nil || reserved(key) {
		return Entry{}, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrIndexer, r)
		}
	}()
	e = s.index(key, value)
	e.Due = max(e.Due, 0)
	for i, attr := range e.Attrs {
		if !attrValid(attr) || slices.Contains(e.Attrs[:i], attr) {
			e.Attrs = s.cleanAttrs(e.Attrs)
			break
		}
	}
	return e, nil
}

// cleanAttrs is the rare path of entry. It does not touch the Indexer's slice.
func (s *Store) cleanAttrs(attrs []string) []string {
	clean := make([]string, 0, len(attrs))
	for _, attr := range attrs {
		switch {
		case !attrValid(attr):
			s.attrsRefused.Add(1)
		case !slices.Contains(clean, attr):
			clean = append(clean, attr)
		}
	}
	return clean
}

// derive writes the difference between the index entries of the old and of the
// new value. It is the only place where derived keys change.
//
// A derived key is set once between two deletions, so SingleDelete would be
// allowed, and would leave fewer tombstones. But a compaction that cannot read
// a block while it drops a SingleDelete panics (Pebble 2.1.7), in a goroutine
// of its own: one bad sector would end the process. With Delete it is an error.
func (b *Batch) derive(key []byte, old, now Entry) error {
	if old.Due != now.Due {
		if old.Due > 0 {
			b.scratch = appendTimer(b.scratch[:0], old.Due, key)
			if err := b.pb.Delete(b.scratch, nil); err != nil {
				return err
			}
			b.timers.deleted(b.scratch)
		}
		if now.Due > 0 {
			b.scratch = appendTimer(b.scratch[:0], now.Due, key)
			if err := b.pb.Set(b.scratch, nil, nil); err != nil {
				return err
			}
			b.timers.inserted(b.scratch)
		}
	}
	for _, attr := range old.Attrs {
		if slices.Contains(now.Attrs, attr) {
			continue
		}
		b.count(attr, -1)
		if !listed(attr) {
			continue
		}
		b.scratch = appendAttr(b.scratch[:0], attr, key)
		if err := b.pb.Delete(b.scratch, nil); err != nil {
			return err
		}
	}
	for _, attr := range now.Attrs {
		if slices.Contains(old.Attrs, attr) {
			continue
		}
		b.count(attr, 1)
		if !listed(attr) {
			continue
		}
		b.scratch = appendAttr(b.scratch[:0], attr, key)
		if err := b.pb.Set(b.scratch, nil, nil); err != nil {
			return err
		}
	}
	return nil
}
