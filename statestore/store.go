package statestore

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options of Open. Dir is required.
type Options struct {
	// Dir is the directory of this store alone. It is made when missing.
	Dir string
	// FS is the file system. Default: the operating system's.
	FS vfs.FS
	// Shared is what the stores of this process share. Default: an own one of
	// the default sizes, closed with the store.
	Shared *Shared
	// Identity is what the store is a copy of.
	Identity Identity
	// Index derives due times and attributes. Default: none are derived.
	Index Indexer
	// Logger gets what Pebble has to say. Default: silent.
	Logger *slog.Logger
	// ObjectBytes bounds the memory of what PutObject keeps. Default: nothing is
	// kept.
	ObjectBytes int
	// MemTableSize is the size at which writes are flushed, in bytes, from
	// 1 MiB to 16 MiB. Default: what Shared.Divide made of a budget, or 4 MiB.
	MemTableSize uint64
	// OnFailure is called once, when the store can take no more work, with an
	// error of class ErrCorrupt or ErrFailed. It must return at once and must
	// not call the store. Every later call of the store reports that error.
	OnFailure func(error)
}

// Position is the place in the changelog that a store contains.
type Position struct {
	// Next is the offset behind the last record that the store contains.
	Next int64
	// Time is that of the last applied commit, in milliseconds since 1970. It
	// never falls.
	Time int64
}

// A Store holds the state of one task. See the package comment for who may
// call what.
type Store struct {
	db       *pebble.DB
	pebble   *pebble.Options // how tables are written
	fs       vfs.FS
	dir      string
	seed     maphash.Seed
	lock     *pebble.Lock
	index    Indexer
	shared   *Shared // when the store owns it
	log      *slog.Logger
	onFail   func(error)
	timers   timerIndex
	counts   counts
	loading  *Batch // of Load
	reader   reader // of the writing goroutine
	objects  objects
	calls    calls
	failed   atomic.Pointer[failure]
	opened   atomic.Bool // Open returned the store: failures go to onFail
	panicked atomic.Bool // Pebble did: its locks may be held

	attrsRefused   atomic.Int64
	flushes        atomic.Int64
	stalls         atomic.Int64
	backgroundErrs atomic.Int64

	mu struct {
		sync.Mutex
		position Position
		applied  uint64 // batches written since the store was made
	}
}

type failure struct{ err error }

// Open opens the store in a directory, or makes one. It reports ErrLocked,
// ErrCorrupt, ErrIdentity, ErrNewerFormat or ErrFailed; the directory is then
// as it was, and not in use.
func Open(o Options) (_ *Store, err error) {
	defer contain(&err)
	if o.Dir == "" {
		return nil, fmt.Errorf("%w: no directory", ErrMisuse)
	}
	if err := o.Identity.check(); err != nil {
		return nil, err
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	s := &Store{dir: o.Dir, index: o.Index, log: o.Logger, onFail: o.OnFailure, seed: maphash.MakeSeed()}
	s.calls.idle = make(chan struct{})
	s.objects.init(max(0, o.ObjectBytes))
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Shared == nil {
		o.Shared = NewShared(0, 0)
		s.shared = o.Shared
	}
	defer func() {
		if err == nil {
			return
		}
		if s.db != nil {
			func() { // the error that is known matters more
				var cerr error
				defer contain(&cerr)
				_ = s.db.Close()
			}()
		}
		s.release()
		// What the disk said explains what came of it.
		if f := s.failure(); f != nil {
			err = f
		}
		err = fmt.Errorf("open state store %s: %w", o.Dir, err)
	}()
	o.FS = &haltFS{FS: o.FS, onHalt: func(err error) { s.fail(classify(err, false)) }}

	s.fs = o.FS
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, classify(err, false)
	}
	if s.lock, err = pebble.LockDirectory(o.Dir, o.FS); err != nil {
		if refused(err) {
			return nil, classify(err, false)
		}
		return nil, fmt.Errorf("%w: %v", ErrLocked, err)
	}
	if err := inspect(o.FS, o.Dir); err != nil {
		return nil, classify(err, true)
	}
	if err := s.removeBulk(); err != nil {
		return nil, err
	}
	if s.db, err = openPebble(s, o); err != nil {
		return nil, classify(err, true)
	}
	if err := s.claim(o.Identity); err != nil {
		return nil, classify(err, true)
	}
	if err := s.readPosition(); err != nil {
		return nil, classify(err, true)
	}
	s.opened.Store(true)
	if err := s.failure(); err != nil {
		return nil, err
	}
	return s, nil
}

// openPebble never lets a panic of Pebble pass, so that Open can clean up.
func openPebble(s *Store, o Options) (db *pebble.DB, err error) {
	p := s.options(o)
	p.EnsureDefaults()
	s.pebble = p
	scheduler := o.Shared.compactions.scheduler()
	p.Experimental.CompactionScheduler = scheduler
	defer func() {
		if err != nil {
			scheduler.Unregister()
		} else {
			scheduler.admit()
		}
	}()
	defer contain(&err)
	return pebble.Open(o.Dir, p)
}

// options sets what differs from Pebble's defaults.
func (s *Store) options(o Options) *pebble.Options {
	if o.MemTableSize == 0 {
		o.MemTableSize = o.Shared.memTable
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = 4 << 20
	}
	p := &pebble.Options{
		FS:                          o.FS,
		Lock:                        s.lock,
		Cache:                       o.Shared.cache,
		FileCache:                   o.Shared.files,
		FormatMajorVersion:          pebble.FormatNewest, // the default is the oldest
		MemTableSize:                min(max(o.MemTableSize, 1<<20), 16<<20),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8, // of which Pebble takes half: four flushes are merged at a time
		L0StopWritesThreshold:       20,
		LBaseMaxBytes:               32 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      pebbleLogger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				s.backgroundErrs.Add(1)
				s.fail(classify(err, false))
			},
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				s.fail(fmt.Errorf("%w: %s", ErrCorrupt, info))
			},
			FlushEnd:        func(pebble.FlushInfo) { s.flushes.Add(1) },
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { s.stalls.Add(1) },
		},
	}
	// Nearly every block of timers and lists is dense with tombstones, so each flush would at once be
	// merged into the lowest level for that alone. Whoever walks over timers begins behind the fired ones
	// (timerIndex), and the tombstones of lists go with the merges that sizes ask for.
	p.Experimental.TombstoneDenseCompactionThreshold = -1
	for i := range p.Levels {
		p.Levels[i].BlockSize = 16 << 10
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].FilterType = pebble.TableFilter
	}
	return p
}

// readPosition reads where the store stands and that nothing before is missing.
func (s *Store) readPosition() error {
	value, found, err := s.read(keyPosition)
	if err != nil {
		return err
	}
	var p Position
	var applied uint64
	if found {
		if p, applied, err = parsePosition(value); err != nil {
			return err
		}
	}
	s.advance(p, applied)
	if err := s.checkChain(applied); err != nil {
		return err
	}
	return s.readCounts(applied)
}

// Position returns where the store stands; the zero Position when nothing was
// ever applied. It stays readable after Close.
func (s *Store) Position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.position
}

func (s *Store) appliedCount() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.applied
}

func (s *Store) advance(p Position, applied uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.position, s.mu.applied = p, applied
}

// Get returns a copy of the value under key.
func (s *Store) Get(key []byte) (value []byte, found bool, err error) {
	defer s.contain(&err, nil)
	if err := s.enter(); err != nil {
		return nil, false, err
	}
	defer s.leave()
	var buf [128]byte
	return s.read(appendData(buf[:0], key))
}

func (s *Store) read(key []byte) (value []byte, found bool, err error) {
	v, closer, err := s.db.Get(key)
	if err == pebble.ErrNotFound {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.failRead(err)
	}
	value = append(make([]byte, 0, len(v)), v...)
	return value, true, classify(closer.Close(), false)
}

// Flush writes what is in memory to tables and waits for the disk. It need not
// be called for correctness.
func (s *Store) Flush() (err error) {
	defer s.contain(&err, nil)
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.db.Flush(); err != nil {
		return s.fail(classify(err, false))
	}
	return s.failure()
}

// Close waits for the calls under way and closes the store. Nothing is lost:
// the log is written. Later calls do nothing. After a panic inside Pebble the
// store cannot be closed: its directory stays in use until the process ends.
func (s *Store) Close() (err error) {
	if !s.calls.close() {
		return nil
	}
	if s.panicked.Load() {
		return fmt.Errorf("close state store %s: end this process: %w", s.dir, s.failure())
	}
	defer s.release()
	defer s.contain(&err, nil)
	_ = s.reader.close() // what it met was reported by the read
	if err := s.db.Close(); err != nil && s.failure() == nil {
		return classify(err, false)
	}
	return nil
}

// release gives back what Open took besides Pebble.
func (s *Store) release() {
	if s.lock != nil {
		_ = s.lock.Close()
	}
	if s.shared != nil {
		s.shared.Close()
	}
}

// fail records the first failure and returns it.
func (s *Store) fail(err error) error {
	if err == nil {
		return nil
	}
	if s.failed.CompareAndSwap(nil, &failure{err}) {
		s.log.Error("state store failed", "dir", s.dir, "err", err)
		if s.onFail != nil && s.opened.Load() {
			s.onFail(err)
		}
	}
	return s.failed.Load().err
}

// failRead classes the error of a read. Damage ends the store; a refused read
// does not.
func (s *Store) failRead(err error) error {
	err = classify(err, false)
	if f := s.failure(); err != nil && f != nil {
		return f // of which this one may be a consequence
	}
	if errors.Is(err, ErrCorrupt) {
		return s.fail(err)
	}
	return err
}

func (s *Store) failure() error {
	if f := s.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// enter begins a call. A store that failed or was closed takes none.
func (s *Store) enter() error {
	if err := s.failure(); err != nil {
		return err
	}
	if !s.calls.enter() {
		return ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.calls.leave() }

// calls counts the calls under way, so that Close can wait for them. A mutex
// would not do: a scan may call Get, while Close waits.
type calls struct {
	n    atomic.Int64 // below zero once closed
	idle chan struct{}
}

func (c *calls) enter() bool {
	if c.n.Add(1) > 0 {
		return true
	}
	c.leave()
	return false
}

func (c *calls) leave() {
	if c.n.Add(-1) == math.MinInt64 {
		select {
		case c.idle <- struct{}{}:
		default:
		}
	}
}

// close lets no new call in and waits. It is false when it was called before.
func (c *calls) close() bool {
	for {
		n := c.n.Load()
		if n < 0 {
			return false
		}
		if c.n.CompareAndSwap(n, math.MinInt64+n) {
			break
		}
	}
	for c.n.Load() != math.MinInt64 {
		<-c.idle
	}
	return true
}

// pebbleLogger passes Pebble's messages on, until the store failed: what comes
// then only repeats it. Fatalf returns, unlike what Pebble expects: it marks
// the store as failed, and every call looks at that mark after Pebble returned.
type pebbleLogger struct{ s *Store }

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.s.failure() != nil {
		return
	}
	l.s.log.Debug(strings.TrimSpace(fmt.Sprintf(format, args...)), "dir", l.s.dir)
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if l.s.failure() != nil {
		return
	}
	l.s.log.Warn(strings.TrimSpace(fmt.Sprintf(format, args...)), "dir", l.s.dir)
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.s.fail(classifyFatal(fmt.Sprintf(format, args...), args))
}

// classifyFatal classes a message by the error in it.
func classifyFatal(text string, args []any) error {
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			return classify(fmt.Errorf("%s: %w", strings.TrimSpace(text), err), false)
		}
	}
	return fmt.Errorf("%w: %s", ErrFailed, text)
}
