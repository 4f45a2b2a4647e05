package statestore

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Bulk fills an empty store from a changelog that is read from its beginning.
//
// Load would do, at the price of a read, a log write, a memtable and several
// compactions per record. A Bulk keeps only the newest value of each key in
// memory, sorts, goes to disk in sorted runs when the memory is used up, and at
// the end merges them once into tables that lie in the lowest level as they
// are. The derived keys are made during that merge, of the values that are
// left: no old value has to be read to take its derived keys back.
//
// The store stays empty until Finish, which adds data, derived keys, counts and
// position in one step. After a crash it holds all of it or nothing; what lies
// in the directory from a Bulk that did not finish is removed by Open.
//
// A Bulk belongs to the goroutine that writes the store. Nothing else may write
// before Finish or Close.
type Bulk struct {
	s    *Store
	o    BulkOptions
	dir  string
	data sorter
	done bool
}

// BulkOptions of NewBulk.
type BulkOptions struct {
	// Memory is how many bytes the Bulk may hold, at least 4 MiB. Default
	// 64 MiB.
	Memory int
	// Pace, when set, is called after every thousand entries or comparisons,
	// much more often than once per millisecond. It may wait.
	Pace func()
	// OnMerge, when set, is told by Finish how many keys are in their tables.
	OnMerge func(keys int64)
}

const (
	bulkMemory    = 64 << 20
	bulkMemoryMin = 4 << 20
	bulkTable     = 64 << 20 // bytes of a table
)

// bulkDir is where runs and tables are made, inside the store's directory: the
// tables are linked from there.
func bulkDir(fs vfs.FS, dir string) string { return fs.PathJoin(dir, "bulk") }

// NewBulk begins to fill the store. One that was ever written is ErrMisuse.
func (s *Store) NewBulk(o BulkOptions) (_ *Bulk, err error) {
	defer s.contain(&err, nil)
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if s.appliedCount() != 0 {
		return nil, fmt.Errorf("%w: bulk load into a store that stands at %d", ErrMisuse, s.Position().Next)
	}
	if o.Memory == 0 {
		o.Memory = bulkMemory
	}
	o.Memory = max(o.Memory, bulkMemoryMin)
	if o.Pace == nil {
		o.Pace = func() {}
	}
	b := &Bulk{s: s, o: o, dir: bulkDir(s.fs, s.dir)}
	if err := s.removeBulk(); err != nil {
		return nil, err
	}
	if err := s.fs.MkdirAll(b.dir, 0o755); err != nil {
		return nil, b.failed(err)
	}
	b.data = b.sorter("data", o.Memory/2)
	return b, nil
}

// removeBulk removes what an unfinished Bulk left.
func (s *Store) removeBulk() error {
	return classify(ignoreMissing(s.fs.RemoveAll(bulkDir(s.fs, s.dir))), false)
}

func (b *Bulk) sorter(name string, limit int) sorter {
	return sorter{fs: b.s.fs, name: b.s.fs.PathJoin(b.dir, name), limit: limit, pace: b.o.Pace, seed: b.s.seed}
}

// Add takes mutations as they are read from the changelog, in their order. It
// keeps no reference to the slices.
func (b *Bulk) Add(muts []Mutation) (err error) {
	defer b.s.contain(&err, nil)
	if err := b.enter(); err != nil {
		return err
	}
	defer b.s.leave()
	for i := range muts {
		m := &muts[i]
		if len(m.Key) == 0 || len(m.Key) > KeyMax || len(m.Value) > ValueMax {
			return fmt.Errorf("%w: key of %d bytes, value of %d", ErrLimit, len(m.Key), len(m.Value))
		}
		if i%paceEvery == paceEvery-1 {
			b.o.Pace()
		}
		if err := b.data.add(m.Key, m.Value); err != nil {
			return b.failed(err)
		}
	}
	return nil
}

func (b *Bulk) enter() error {
	if b.done {
		return fmt.Errorf("%w: the bulk load is over", ErrMisuse)
	}
	return b.s.enter()
}

// failed gives an error its class. What the disk said explains what came of it.
func (b *Bulk) failed(err error) error {
	if f := b.s.failure(); f != nil {
		return f
	}
	return classify(err, false)
}

// Finish merges what was added and puts it into the store, with the position
// behind it. An error leaves the store empty, unless it is of class ErrFailed:
// then it is empty or full, and after the next Open the position tells which.
func (b *Bulk) Finish(p Position) (err error) {
	defer b.s.contain(&err, nil)
	if err := b.enter(); err != nil {
		return err
	}
	defer b.s.leave()
	if err := b.s.checkPosition(p); err != nil {
		return err
	}
	b.done = true
	if err := b.finish(p); err != nil {
		return b.failed(err)
	}
	return b.s.removeBulk()
}

// Close gives up what was added, unless Finish was called.
func (b *Bulk) Close() (err error) {
	defer b.s.contain(&err, nil)
	if b.done {
		return nil
	}
	b.done = true
	b.data = sorter{}
	if err := b.s.enter(); err != nil {
		return err
	}
	defer b.s.leave()
	return b.s.removeBulk()
}

func (b *Bulk) finish(p Position) error {
	s := b.s
	const applied = 1
	out := &tableWriter{s: s, dir: b.dir}
	defer out.abandon()
	timers, attrs := b.sorter("timers", b.o.Memory/8), b.sorter("attrs", b.o.Memory/8)
	timers.unique, attrs.unique = true, true
	count := make(map[string]int64)
	var merged int64
	var buf []byte
	err := b.data.merge(func(key, val []byte) error {
		buf = appendData(buf[:0], key)
		if err := out.set(buf, val); err != nil {
			return err
		}
		if merged++; merged%(8*paceEvery) == 0 && b.o.OnMerge != nil {
			b.o.OnMerge(merged)
		}
		e, err := s.entry(key, val)
		if err != nil {
			return err
		}
		if e.Due > 0 {
			buf = appendTimer(buf[:0], e.Due, key)
			if err := timers.add(buf, nil); err != nil {
				return err
			}
		}
		for _, attr := range e.Attrs {
			if counted(attr) && len(count) <= countsMax { // beyond that they are not kept
				count[attr]++
			}
			if !listed(attr) {
				continue
			}
			buf = appendAttr(buf[:0], attr, key)
			if err := attrs.add(buf, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.data.discard(); err != nil {
		return err
	}
	return b.publish(p, applied, out, &timers, &attrs, count)
}

// publish writes the keys that follow the data, and ingests all tables as one.
func (b *Bulk) publish(p Position, applied uint64, out *tableWriter, timers, attrs *sorter, count map[string]int64) error {
	s := b.s
	counted := fitting(count)
	identity, found, err := s.read(keyIdentity)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: no identity", ErrCorrupt)
	}
	p.Time = max(p.Time, s.Position().Time)
	var number [8]byte
	number[7] = byte(applied)
	for _, meta := range []struct{ key, value []byte }{
		{appendLink(nil, applied), number[:]},
		{keyIdentity, identity},
		{keyCounts, appendCounts(nil, counted, applied)},
		{keyPosition, appendPosition(nil, p, applied)},
	} {
		if err := out.set(meta.key, meta.value); err != nil {
			return err
		}
	}
	for _, derived := range []*sorter{timers, attrs} {
		if err := derived.mergeKeys(func(key []byte) error { return out.set(key, nil) }); err != nil {
			return err
		}
		if err := derived.discard(); err != nil {
			return err
		}
	}
	if err := out.close(); err != nil {
		return err
	}
	if err := s.reader.close(); err != nil {
		return s.failRead(err)
	}
	// The identity is in memory as well. Once it is flushed, the tables with
	// data overlap nothing.
	if err := s.db.Flush(); err != nil {
		return err
	}
	if err := s.failure(); err != nil {
		return err
	}
	s.timers.mu.Lock()
	defer s.timers.mu.Unlock()
	if err := s.db.Ingest(context.Background(), out.paths); err != nil {
		return s.fail(classify(err, false))
	}
	if err := s.failure(); err != nil {
		return err
	}
	s.timers.low, s.timers.first, s.timers.exact = nil, nil, false
	s.counts.set(counted)
	s.advance(p, applied)
	return nil
}

// mergeKeys is merge for entries without values.
func (s *sorter) mergeKeys(fn func(key []byte) error) error {
	s.sort()
	return s.mergeRuns(s.runs, true, func(key, _ []byte) error { return fn(key) })
}

// tableWriter writes keys in order into as many tables as it takes. No table
// holds keys of two kinds.
type tableWriter struct {
	s     *Store
	dir   string
	w     *sstable.Writer
	kind  byte
	since int // keys, since the size was looked at
	paths []string
}

func (t *tableWriter) set(key, value []byte) error {
	if t.w != nil && (key[0] != t.kind || t.large()) {
		if err := t.close(); err != nil {
			return err
		}
	}
	if t.w == nil {
		name := t.s.fs.PathJoin(t.dir, fmt.Sprintf("%06d.table", len(t.paths)))
		f, err := t.s.fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		lowest := len(t.s.pebble.Levels) - 1
		t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), t.s.pebble.MakeWriterOptions(lowest, t.s.db.TableFormat()))
		t.kind, t.since = key[0], 0
		t.paths = append(t.paths, name)
	}
	return t.w.Set(key, value)
}

func (t *tableWriter) large() bool {
	if t.since++; t.since%256 != 0 {
		return false
	}
	return t.w.Raw().EstimatedSize() >= bulkTable
}

// close finishes the table and waits for the disk.
func (t *tableWriter) close() error {
	if t.w == nil {
		return nil
	}
	w := t.w
	t.w = nil
	return w.Close()
}

// abandon closes a table that an error left open.
func (t *tableWriter) abandon() {
	if t.w != nil {
		_ = t.w.Close() // the error that is known matters more
	}
}
