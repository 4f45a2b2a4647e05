package statestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/statestore/storetest"
)

func open(t testing.TB, o statestore.Options) *statestore.Store {
	t.Helper()
	s, err := statestore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func apply(t testing.TB, s *statestore.Store, writes map[string]string) {
	t.Helper()
	b := s.NewBatch()
	for key, value := range writes {
		b.Put([]byte(key), []byte(value))
	}
	p := s.Position()
	p.Next++
	if err := s.Apply(b, p); err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestBatchTouchesNothing(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	apply(t, s, map[string]string{"a": "\x05a"})
	before, err := storetest.Dump(s)
	if err != nil {
		t.Fatal(err)
	}
	b := s.NewBatch()
	b.Put([]byte("a"), []byte("\x06b"))
	b.Put([]byte("b"), []byte("\x06b"))
	if err := s.Prepare(b); err != nil {
		t.Fatal(err)
	}
	b.Delete([]byte("a"))
	b.Reset()
	after, err := storetest.Dump(s)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(before) != fmt.Sprint(after) || s.Position() != (statestore.Position{Next: 1}) {
		t.Errorf("before %v\nafter  %v", before, after)
	}
}

func TestBatchMemory(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	long := string(bytes.Repeat([]byte("v"), 100_000))
	apply(t, s, map[string]string{"old": "\x01x", "long": long})
	b := s.NewBatch()
	for round := range 3 {
		old, _, _ := b.Get([]byte("old"))
		big, _, _ := b.Get([]byte("long"))
		key, value := []byte("k0"), []byte("\x01v0")
		b.Put(key, value)
		key[1], value[2] = 'X', 'X' // the batch has copies
		first, _, _ := b.Get([]byte("k0"))
		for i := range 5000 {
			b.Put(fmt.Appendf(nil, "k%d", i+1), bytes.Repeat([]byte{1}, i%300))
		}
		b.Put([]byte("old"), []byte("\x01new"))
		b.Delete([]byte("k0"))
		if string(old) != "\x01x" || string(first) != "\x01v0" || string(big) != long {
			t.Fatalf("round %d: %q %q changed", round, old, first)
		}
		n := 0
		for key, value := range b.All() {
			if string(key) == "k7" && len(value) != 6 {
				t.Fatalf("k7 is %q", value)
			}
			n++
		}
		if n != 5002 || b.Len() != n {
			t.Fatalf("%d writes, %d", n, b.Len())
		}
		b.Reset()
	}
}

func TestBatchAllocatesNothing(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	keys := make([][]byte, 100)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "card-payment/%d", i)
	}
	value := bytes.Repeat([]byte("v"), 400)
	b := s.NewBatch()
	cycle := func() {
		b.Reset()
		for _, key := range keys {
			b.Put(key, value)
			at := b.Mark()
			b.Delete(key)
			b.Rollback(at)
			if v, ok, err := b.Get(key); len(v) != len(value) || !ok || err != nil {
				t.Fatal(v, ok, err)
			}
		}
	}
	cycle()
	if n := testing.AllocsPerRun(20, cycle); n > 0 {
		t.Errorf("%v allocations a cycle", n)
	}
}

func TestBatchRefuses(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	b := s.NewBatch()
	start := b.Mark()
	for name, write := range map[string]func(){
		"no key":      func() { b.Put(nil, []byte("v")) },
		"long key":    func() { b.Delete(make([]byte, statestore.KeyMax+1)) },
		"large value": func() { b.Put([]byte("k"), make([]byte, statestore.ValueMax+1)) },
	} {
		b.Put([]byte("a"), []byte("\x01"))
		at := b.Mark()
		write()
		wantErr(t, name, b.Err(), statestore.ErrLimit)
		wantErr(t, name+": prepare", s.Prepare(b), statestore.ErrLimit)
		wantErr(t, name+": apply", s.Apply(b, statestore.Position{Next: 9}), statestore.ErrLimit)
		b.Rollback(at)
		if b.Err() != nil || b.Len() != 1 {
			t.Errorf("%s: after rollback %v, %d writes", name, b.Err(), b.Len())
		}
	}
	_, _, err := b.Get(nil)
	wantErr(t, "get without a key", err, statestore.ErrLimit)

	later := b.Mark()
	b.Put([]byte("b"), nil)
	b.Rollback(start)
	b.Rollback(later)
	wantErr(t, "savepoint that was gone back over", b.Err(), statestore.ErrMisuse)
	b.Reset()
	b.Rollback(start)
	wantErr(t, "savepoint from before a reset", b.Err(), statestore.ErrMisuse)

	other := open(t, statestore.Options{Dir: "other", FS: vfs.NewMem(), Shared: shared})
	wantErr(t, "batch of another store", other.Apply(s.NewBatch(), statestore.Position{}), statestore.ErrMisuse)
	_, err = statestore.Open(statestore.Options{})
	wantErr(t, "no directory", err, statestore.ErrMisuse)
	wantErr(t, "wipe no directory", statestore.Wipe(nil, ""), statestore.ErrMisuse)
	_, err = statestore.Open(statestore.Options{Dir: "x", FS: vfs.NewMem(), Identity: statestore.Identity{Topic: string(make([]byte, 5000))}})
	wantErr(t, "long topic", err, statestore.ErrLimit)
}

func TestPositionNeverFalls(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	b := s.NewBatch()
	if err := s.Apply(b, statestore.Position{Next: 10, Time: 100}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "apply", s.Apply(b, statestore.Position{Next: 9, Time: 100}), statestore.ErrMisuse)
	wantErr(t, "load", s.Load(nil, statestore.Position{Next: 9}), statestore.ErrMisuse)
	wantErr(t, "time", s.Apply(b, statestore.Position{Next: 10, Time: -1}), statestore.ErrMisuse)
	if err := s.Apply(b, statestore.Position{Next: 11, Time: 50}); err != nil {
		t.Fatal(err)
	}
	if got := s.Position(); got != (statestore.Position{Next: 11, Time: 100}) {
		t.Errorf("position %+v", got)
	}
}

// TestDerivedAgree applies a batch that read before another one was applied:
// the index must follow the store, not what the batch remembers.
func TestDerivedAgree(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	m := storetest.NewModel(storetest.Index)
	write := func(b *statestore.Batch, value string) {
		t.Helper()
		b.Put([]byte("k"), []byte(value))
		p := statestore.Position{Next: s.Position().Next + 1}
		if err := s.Apply(b, p); err != nil {
			t.Fatal(err)
		}
		m.Apply([]statestore.Mutation{{Key: []byte("k"), Value: []byte(value)}}, p)
		if err := storetest.Same(s, m); err != nil {
			t.Fatal(err)
		}
	}
	stale := s.NewBatch()
	if _, _, err := stale.Get([]byte("k")); err != nil {
		t.Fatal(err)
	}
	write(s.NewBatch(), "\x05a")
	write(stale, "\x07b") // thinks that there is nothing to remove
	write(stale, "\x09c") // and is applied again without a reset
	prepared := s.NewBatch()
	prepared.Put([]byte("k"), []byte("\x02d"))
	if err := s.Prepare(prepared); err != nil {
		t.Fatal(err)
	}
	write(s.NewBatch(), "\x03a")
	write(prepared, "\x02d")
}

func TestAttrsRefused(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	apply(t, s, map[string]string{"k": "\x01z"})
	if n := s.Metrics().AttrsRefused; n != 3 {
		t.Errorf("%d attributes refused, want 3", n)
	}
}

func TestIndexerPanics(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Index = func(_, value []byte) statestore.Entry { return statestore.Entry{Due: int64(value[3])} }
	s := open(t, o)
	b := s.NewBatch()
	b.Put([]byte("k"), []byte("v"))
	wantErr(t, "prepare", s.Prepare(b), statestore.ErrIndexer)
	wantErr(t, "apply", s.Apply(b, statestore.Position{Next: 1}), statestore.ErrIndexer)
	b.Reset()
	b.Put([]byte("\x00progress"), []byte("v")) // never shown to the indexer
	if err := s.Apply(b, statestore.Position{Next: 1}); err != nil {
		t.Error(err)
	}
}

// TestCallerPanics: a panic of the caller's function is the caller's, and
// leaves a store that works and can be closed.
func TestCallerPanics(t *testing.T) {
	s := open(t, testOptions(vfs.NewMem()))
	apply(t, s, map[string]string{"k": "\x01a"})
	for name, call := range map[string]func(){
		"scan": func() { _ = s.Scan(nil, nil, func(_, _ []byte) bool { panic("mine") }) },
		"due":  func() { _ = s.Due(1<<40, 1, func([]byte, int64) bool { panic("mine") }) },
	} {
		func() {
			defer func() {
				if r := recover(); r != "mine" {
					t.Errorf("%s: %v", name, r)
				}
			}()
			call()
		}()
	}
	apply(t, s, map[string]string{"l": "\x01a"})
}

func TestIdentity(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	s, err := statestore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = statestore.Open(o)
	wantErr(t, "second store", err, statestore.ErrLocked)
	wantErr(t, "wipe in use", statestore.Wipe(fs, o.Dir), statestore.ErrLocked)
	apply(t, s, map[string]string{"k": "\x01a"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		change  func(*statestore.Identity)
		want    error
		rebuild bool
	}{
		{"older format", func(id *statestore.Identity) { id.Format++ }, statestore.ErrIdentity, true},
		{"newer format", func(id *statestore.Identity) { id.Format-- }, statestore.ErrNewerFormat, false},
		{"cluster", func(id *statestore.Identity) { id.Cluster = "d" }, statestore.ErrIdentity, true},
		{"cluster and topic id", func(id *statestore.Identity) { id.Cluster, id.TopicID[0] = "d", 1 }, statestore.ErrIdentity, true},
		{"topic", func(id *statestore.Identity) { id.Topic = "other" }, statestore.ErrIdentity, true},
		{"topic id", func(id *statestore.Identity) { id.TopicID[15] = 1 }, statestore.ErrIdentity, false},
		{"partition", func(id *statestore.Identity) { id.Partition = 8 }, statestore.ErrIdentity, true},
		{"partitions", func(id *statestore.Identity) { id.Partitions = 24 }, statestore.ErrIdentity, true},
	} {
		other := o
		c.change(&other.Identity)
		_, err := statestore.Open(other)
		wantErr(t, c.name, err, c.want)
		var id *statestore.IdentityError
		if errors.As(err, &id) && (id.Rebuild() != c.rebuild || id.Stored != o.Identity || id.Want != other.Identity) {
			t.Errorf("%s: %+v, rebuild %v", c.name, id, id.Rebuild())
		}
	}
	s = open(t, o)
	if _, found, err := s.Get([]byte("k")); !found || err != nil {
		t.Errorf("after refusals: %v %v", found, err)
	}
}

func TestNewerPebble(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	if err := open(t, o).Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if m, _ := path.Match("marker.format-version.*", name); m {
			if err := fs.Rename(path.Join(o.Dir, name), path.Join(o.Dir, "marker.format-version.000099.999")); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = statestore.Open(o)
	wantErr(t, "open", err, statestore.ErrNewerFormat)
}

func TestWipe(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	if err := statestore.Wipe(fs, o.Dir); err != nil {
		t.Fatalf("nothing there: %v", err)
	}
	s, err := statestore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, map[string]string{"k": "\x01a"})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A crash on the way left the renamed directory.
	if err := fs.MkdirAll(o.Dir+".wiped/left", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := statestore.Wipe(fs, o.Dir); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.List("data"); err != nil || len(names) != 0 {
		t.Errorf("left: %q, %v", names, err)
	}
	s = open(t, o)
	if s.Position() != (statestore.Position{}) {
		t.Errorf("position %+v", s.Position())
	}
}

func TestClosed(t *testing.T) {
	s, err := statestore.Open(testOptions(vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, map[string]string{"k": "\x01a"})
	b := s.NewBatch()
	b.Put([]byte("k"), []byte("v"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = s.Get([]byte("k"))
	wantErr(t, "get", err, statestore.ErrClosed)
	wantErr(t, "apply", s.Apply(b, statestore.Position{Next: 2}), statestore.ErrClosed)
	wantErr(t, "load", s.Load(nil, statestore.Position{Next: 2}), statestore.ErrClosed)
	wantErr(t, "scan", s.Scan(nil, nil, nil), statestore.ErrClosed)
	wantErr(t, "due", s.Due(1, 1, nil), statestore.ErrClosed)
	wantErr(t, "flush", s.Flush(), statestore.ErrClosed)
	_, _, err = b.Get([]byte("new"))
	wantErr(t, "batch get", err, statestore.ErrClosed)
	if _, ok := s.NextDue(); ok {
		t.Error("next due")
	}
	if s.Position().Next != 1 || s.Metrics().Applied != 1 {
		t.Errorf("%+v %+v", s.Position(), s.Metrics())
	}
}

// TestCloseDuringReads closes the store under readers, also under one that
// reads from within a scan.
func TestCloseDuringReads(t *testing.T) {
	s, err := statestore.Open(testOptions(vfs.NewMem()))
	if err != nil {
		t.Fatal(err)
	}
	writes := map[string]string{}
	for i := range 500 {
		writes[fmt.Sprint("k", i)] = "\x01a"
	}
	apply(t, s, writes)
	var wg sync.WaitGroup
	var ready sync.WaitGroup
	for range 4 {
		ready.Add(1)
		wg.Go(func() {
			first := sync.OnceFunc(ready.Done)
			for {
				err := s.Scan(nil, nil, func(key, _ []byte) bool {
					first()
					_, found, err := s.Get(key)
					if err != nil && !errors.Is(err, statestore.ErrClosed) || err == nil && !found {
						t.Errorf("get %q: %v %v", key, found, err)
					}
					return true
				})
				s.NextDue()
				s.Metrics()
				if err != nil {
					wantErr(t, "scan", err, statestore.ErrClosed)
					return
				}
			}
		})
	}
	ready.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// brokenFS fails operations on files of a kind once it is told to.
type brokenFS struct {
	vfs.FS
	match  string // of the name
	sync   bool   // fail syncs, not writes
	err    error
	broken atomic.Bool
}

type brokenFile struct {
	vfs.File
	fs *brokenFS
}

func (fs *brokenFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if m, _ := path.Match(fs.match, path.Base(name)); err != nil || !m {
		return f, err
	}
	return &brokenFile{f, fs}, nil
}

func (fs *brokenFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}

func (fs *brokenFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, c)
	return fs.wrap(name, f, err)
}

func (f *brokenFile) Write(b []byte) (int, error) {
	if f.fs.broken.Load() && !f.fs.sync {
		n, _ := f.File.Write(b[:len(b)/2]) // a full disk takes a part
		return n, &vfsError{f.fs.err}
	}
	return f.File.Write(b)
}

func (f *brokenFile) Sync() error {
	if f.fs.broken.Load() && f.fs.sync {
		return &vfsError{f.fs.err}
	}
	return f.File.Sync()
}

func (f *brokenFile) SyncData() error { return f.Sync() }

type vfsError struct{ err error }

func (e *vfsError) Error() string { return "write: " + e.err.Error() }
func (e *vfsError) Unwrap() error { return e.err }

// TestDiskFull: the store says ErrFailed, says it once to OnFailure, can be
// closed, and after the disk was freed holds an exact prefix.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		match string
		sync  bool
		err   error
	}{
		{"*.log", false, syscall.ENOSPC}, {"*.sst", false, syscall.ENOSPC}, {"MANIFEST-*", false, syscall.ENOSPC},
		{"*.log", true, syscall.EIO}, {"*.sst", true, syscall.EIO}, {"MANIFEST-*", true, syscall.EIO},
	} {
		t.Run(fmt.Sprintf("%s sync=%v", c.match, c.sync), func(t *testing.T) {
			fs := &brokenFS{FS: vfs.NewMem(), match: c.match, sync: c.sync, err: c.err}
			o := testOptions(fs)
			failures := make(chan error, 10)
			o.OnFailure = func(err error) { failures <- err }
			s, err := statestore.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			m := storetest.NewModel(storetest.Index)
			var muts [][]statestore.Mutation
			var pos []statestore.Position
			b := s.NewBatch()
			for i := 0; ; i++ {
				if i == 20 {
					fs.broken.Store(true)
				}
				mut := statestore.Mutation{Key: fmt.Appendf(nil, "k%d", i%50), Value: append([]byte{byte(i)}, make([]byte, 20_000)...)}
				p := statestore.Position{Next: int64(i + 1)}
				b.Reset()
				b.Put(mut.Key, mut.Value)
				// The batch that is refused may be there after all.
				muts, pos = append(muts, []statestore.Mutation{mut}), append(pos, p)
				if err = s.Apply(b, p); err != nil {
					break
				}
			}
			wantErr(t, "apply", err, statestore.ErrFailed)
			wantErr(t, "cause", err, c.err)
			wantErr(t, "told", <-failures, c.err)
			_, _, err = s.Get([]byte("k1"))
			wantErr(t, "get", err, statestore.ErrFailed)
			wantErr(t, "flush", s.Flush(), statestore.ErrFailed)
			if !s.Metrics().Failed {
				t.Error("metrics do not show it")
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if len(failures) > 0 {
				t.Errorf("told again: %v", <-failures)
			}
			fs.broken.Store(false)
			s = open(t, o)
			for i, p := range pos {
				if p.Next <= s.Position().Next {
					m.Apply(muts[i], p)
				}
			}
			if err := storetest.Same(s, m); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDiskFullAtOpen: a disk that is full from the start is not taken for a
// damaged store.
func TestDiskFullAtOpen(t *testing.T) {
	for _, match := range []string{"*.log", "MANIFEST-*", "OPTIONS-*", "marker.*"} {
		fs := &brokenFS{FS: vfs.NewMem(), match: match, err: syscall.ENOSPC}
		fs.broken.Store(true)
		o := testOptions(fs)
		o.OnFailure = func(err error) { t.Logf("%s: told: %v", match, err) }
		s, err := statestore.Open(o)
		if err != nil {
			wantErr(t, match, err, statestore.ErrFailed)
		} else if err := s.Close(); err != nil { // nothing had to be written there
			t.Error(err)
		}
		fs.broken.Store(false)
		s, err = statestore.Open(o)
		if errors.Is(err, statestore.ErrCorrupt) { // a half-made directory
			if err := statestore.Wipe(fs, o.Dir); err != nil {
				t.Fatal(err)
			}
			s, err = statestore.Open(o)
		}
		if err != nil {
			t.Fatalf("%s: %v", match, err)
		}
		apply(t, s, map[string]string{"k": "\x01a"})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTimerBound: after many timers fired, looking for the next one does not
// pass over what is left of them.
func TestTimerBound(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.MemTableSize = 16 << 20 // so that no flush takes the tombstones away
	s := open(t, o)
	const n = 20_000
	fireAll(t, s, n)
	bounded, err := s.PassedByNextDue()
	if err != nil {
		t.Fatal(err)
	}
	s.ForgetTimers()
	unbounded, err := s.PassedByNextDue()
	if err != nil {
		t.Fatal(err)
	}
	if bounded > 2500 || unbounded < n {
		t.Errorf("a look at the timers passed over %d keys with the bound, %d without", bounded, unbounded)
	}
	// A timer before all that fired is found nevertheless.
	apply(t, s, map[string]string{"early": "\x01"})
	if due, ok := s.NextDue(); !ok || due != 1000 {
		t.Errorf("next due %d %v", due, ok)
	}
}

// TestFlushStays: a table full of tombstones, as every flush here is, is not merged for that alone.
func TestFlushStays(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.MemTableSize = 16 << 20 // so that there are these flushes only
	s := open(t, o)
	for range 3 { // a fourth is merged because there are four
		fireAll(t, s, 5000)
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for range 30 { // Pebble looks into new tables in the background
		time.Sleep(10 * time.Millisecond)
		if m := s.Metrics(); m.Compactions+m.CompactionsRunning > 0 {
			t.Fatalf("%d compactions, %d under way", m.Compactions, m.CompactionsRunning)
		}
	}
	if m := s.Metrics(); m.Tombstones < 10_000 {
		t.Fatalf("%d tombstones after the flushes: the test shows nothing", m.Tombstones)
	}
}

// fireAll puts n timers and one late one, then fires the n in slices.
func fireAll(t testing.TB, s *statestore.Store, n int) {
	t.Helper()
	b := s.NewBatch()
	for i := range n {
		b.Put(fmt.Appendf(nil, "card-payment/%08d", i), []byte("\x05"))
	}
	b.Put([]byte("late"), []byte("\xff"))
	p := statestore.Position{Next: s.Position().Next + 1}
	if err := s.Apply(b, p); err != nil {
		t.Fatal(err)
	}
	for fired := 0; fired < n; {
		b.Reset()
		if err := s.Due(10_000, 1000, func(key []byte, _ int64) bool {
			b.Put(key, []byte("\x00"))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if b.Len() == 0 {
			t.Fatalf("fired %d of %d", fired, n)
		}
		fired += b.Len()
		p.Next++
		if err := s.Apply(b, p); err != nil {
			t.Fatal(err)
		}
	}
}
