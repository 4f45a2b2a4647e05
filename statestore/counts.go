package statestore

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// counts are the numbers of keys per attribute, so that nobody walks over ten
// million keys to count them. Each batch writes them anew, as one value: the
// number of the batch, then each attribute and its count. A store whose counts
// have another number than its position was written by a release that did not
// keep them; they are counted once, when it is opened.
//
// An attribute that begins with Uncounted has no count. An Indexer with so many
// others that the value would be larger than countsMax has none kept: then
// CountAttr walks.
type counts struct {
	mu sync.Mutex
	n  map[string]int64 // nil: not kept
}

const countsMax = 16 << 10

var keyCounts = []byte{kindMeta, 'n'}

// countChange is what a batch does to the counts.
type countChange struct {
	attrs  []string
	deltas []int64
}

func (c *countChange) reset() {
	clear(c.attrs)
	c.attrs, c.deltas = c.attrs[:0], c.deltas[:0]
}

func (c *countChange) add(attr string, delta int64) {
	i := slices.Index(c.attrs, attr)
	if i < 0 {
		i = len(c.attrs)
		c.attrs, c.deltas = append(c.attrs, attr), append(c.deltas, 0)
	}
	c.deltas[i] += delta
}

// count notes a change, unless counts are not kept.
func (b *Batch) count(attr string, delta int64) {
	if b.s.counts.n != nil && counted(attr) {
		b.counts.add(attr, delta)
	}
}

// get is false when the counts are not kept.
func (c *counts) get(attr string) (n int64, kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[attr], c.n != nil
}

// with is false when the counts are not kept. The map of counts is never changed
// once it is there.
func (c *counts) with(prefix string) (map[string]int64, bool) {
	c.mu.Lock()
	all := c.n
	c.mu.Unlock()
	if all == nil {
		return nil, false
	}
	n := make(map[string]int64)
	for attr, count := range all {
		if strings.HasPrefix(attr, prefix) {
			n[attr] = count
		}
	}
	return n, true
}

func (c *counts) set(n map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = n
}

// after gives the counts as they are after a batch: nil when they are not kept
// or would be too many. Only the writing goroutine changes counts.
func (c *counts) after(change *countChange) map[string]int64 {
	if c.n == nil || len(change.attrs) == 0 {
		return c.n
	}
	n := maps.Clone(c.n)
	for i, attr := range change.attrs {
		n[strings.Clone(attr)] += change.deltas[i]
		if n[attr] == 0 {
			delete(n, attr)
		}
	}
	return fitting(n)
}

// fitting is n, or nil when it is too large to be kept.
func fitting(n map[string]int64) map[string]int64 {
	size := 1 + 8
	for attr := range n {
		size += 2 + len(attr) + binary.MaxVarintLen64
	}
	if size > countsMax {
		return nil
	}
	return n
}

// appendCounts encodes n: layout, applied, whether they are kept, entries.
func appendCounts(dst []byte, n map[string]int64, applied uint64) []byte {
	dst = append(dst, layout)
	dst = binary.BigEndian.AppendUint64(dst, applied)
	if n == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for attr, count := range n {
		dst = binary.AppendUvarint(dst, uint64(len(attr)))
		dst = append(dst, attr...)
		dst = binary.AppendUvarint(dst, uint64(count))
	}
	return dst
}

func parseCounts(b []byte) (n map[string]int64, applied uint64, err error) {
	bad := fmt.Errorf("%w: counts of %d bytes", ErrCorrupt, len(b))
	if len(b) < 1+8+1 || len(b) > 2*countsMax || b[0] != layout {
		return nil, 0, bad
	}
	applied = binary.BigEndian.Uint64(b[1:])
	kept := b[9]
	if b = b[10:]; kept == 0 {
		return nil, applied, nil
	}
	n = make(map[string]int64)
	for len(b) > 0 {
		size, used := binary.Uvarint(b)
		if used <= 0 || size > uint64(len(b)-used) {
			return nil, 0, bad
		}
		attr := string(b[used : used+int(size)])
		b = b[used+int(size):]
		count, used := binary.Uvarint(b)
		if used <= 0 || count == 0 || int64(count) < 0 {
			return nil, 0, bad
		}
		b = b[used:]
		n[attr] = int64(count)
	}
	return n, applied, nil
}

// readCounts reads the counts that belong to a position, or counts.
func (s *Store) readCounts(applied uint64) error {
	value, found, err := s.read(keyCounts)
	if err != nil {
		return err
	}
	if found {
		n, at, err := parseCounts(value)
		if err != nil {
			return err
		}
		if at == applied {
			s.counts.n = n
			return nil
		}
	}
	n := make(map[string]int64)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{KindData}, UpperBound: []byte{KindData + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	// Those that are in no list can only be counted where they come from.
	for ok := it.First(); ok && len(n) <= countsMax; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		e, err := s.entry(it.Key()[1:], value)
		if err != nil {
			return err
		}
		for _, attr := range e.Attrs {
			if counted(attr) {
				n[attr]++
			}
		}
	}
	s.counts.n = fitting(n)
	return it.Error()
}
