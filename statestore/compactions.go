package statestore

import (
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactions limits the concurrent compactions of all stores of a process.
// Pebble's own scheduler knows one store only: sixty-four of them could start
// sixty-four compactions.
//
// Lock order, set by Pebble: a store calls TrySchedule with its mutex held, so
// no method of a store is called with mu held.
type compactions struct {
	limit int
	mu    struct {
		sync.Mutex
		running int
		refused bool               // a store was told to wait since offer looked
		stores  []*compactionStore // in the order in which they are granted
	}
}

func newCompactions(limit int) *compactions { return &compactions{limit: limit} }

// scheduler returns the scheduler of one store. It grants nothing until admit:
// a store that fails to open frees its memory under its own compactions.
func (c *compactions) scheduler() *compactionStore {
	s := &compactionStore{all: c}
	s.mu.held = true
	s.mu.idle = sync.NewCond(&s.mu.Mutex)
	return s
}

// compactionStore is the limit as one store sees it.
type compactionStore struct {
	all *compactions
	db  pebble.DBForCompaction
	mu  struct {
		sync.Mutex
		running  int
		granting int  // calls into db under way
		held     bool // it is being opened
		gone     bool
		idle     *sync.Cond
	}
}

var _ pebble.CompactionScheduler = (*compactionStore)(nil)

// Register implements pebble.CompactionScheduler.
func (s *compactionStore) Register(_ int, db pebble.DBForCompaction) {
	s.db = db
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.mu.stores = append(s.all.mu.stores, s)
}

// admit is called when the store is open.
func (s *compactionStore) admit() {
	s.mu.Lock()
	s.mu.held = false
	s.mu.Unlock()
	s.all.offer()
}

// Unregister implements pebble.CompactionScheduler. It waits for calls into
// the store that are under way, not for its compactions. It is also called for
// a store that failed to open, whether that got as far as Register or not.
func (s *compactionStore) Unregister() {
	s.all.mu.Lock()
	if i := slices.Index(s.all.mu.stores, s); i >= 0 {
		s.all.mu.stores = slices.Delete(s.all.mu.stores, i, i+1)
	}
	s.all.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.gone = true
	for s.mu.granting > 0 {
		s.mu.idle.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *compactionStore) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !s.take(s.db.GetAllowedWithoutPermission()) {
		return false, nil
	}
	return true, &compactionGrant{store: s}
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler. A
// store is never allowed more than one compaction, so nothing can change.
func (s *compactionStore) UpdateGetAllowedWithoutPermission() {}

// take reserves a compaction when the store and the process may start one.
func (s *compactionStore) take(allowed int) bool {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.gone || s.mu.held || s.mu.running >= allowed {
		return false
	}
	if s.all.mu.running >= s.all.limit {
		s.all.mu.refused = true
		return false
	}
	s.mu.running++
	s.all.mu.running++
	return true
}

func (s *compactionStore) give() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.running--
	s.all.mu.running--
}

// compactionGrant is the right to one compaction.
type compactionGrant struct{ store *compactionStore }

// Started implements pebble.CompactionGrantHandle.
func (g *compactionGrant) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (g *compactionGrant) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (g *compactionGrant) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle. Pebble calls it without locks.
func (g *compactionGrant) Done() {
	g.store.give()
	g.store.all.offer()
}

// offer hands free places to the stores that wait, each in turn: the one that
// was granted goes to the end. A place that a store did not want after all may
// have been refused to another one meanwhile; then the round is repeated.
func (c *compactions) offer() {
	for again := true; again; {
		c.mu.Lock()
		c.mu.refused = false
		waiting := slices.Clone(c.mu.stores)
		c.mu.Unlock()
		returned := false
		for _, s := range waiting {
			granted, gaveBack := s.grant()
			if returned = returned || gaveBack; granted {
				c.mu.Lock()
				if i := slices.Index(c.mu.stores, s); i >= 0 {
					c.mu.stores = append(slices.Delete(c.mu.stores, i, i+1), s)
				}
				c.mu.Unlock()
			}
		}
		c.mu.Lock()
		again = returned && c.mu.refused
		c.mu.Unlock()
	}
}

// grant offers a place to the store. It reports whether the store took it, and
// whether a place was taken and given back.
func (s *compactionStore) grant() (granted, gaveBack bool) {
	s.mu.Lock()
	if s.mu.gone {
		s.mu.Unlock()
		return false, false
	}
	s.mu.granting++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.mu.granting--
		s.mu.idle.Broadcast()
		s.mu.Unlock()
	}()
	if waiting, _ := s.db.GetWaitingCompaction(); !waiting || !s.take(s.db.GetAllowedWithoutPermission()) {
		return false, false
	}
	if s.db.Schedule(&compactionGrant{store: s}) {
		return true, false
	}
	s.give()
	return false, true
}
