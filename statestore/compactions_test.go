package statestore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// fakeDB is a store as the scheduler sees it: it waits for n compactions.
type fakeDB struct {
	s     *compactionStore
	mu    sync.Mutex
	n     int
	shy   bool // says that it waits, and then does not take the grant
	grant []pebble.CompactionGrantHandle
}

func (db *fakeDB) GetAllowedWithoutPermission() int { return 1 }

func (db *fakeDB) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.n > 0, pebble.WaitingCompaction{}
}

func (db *fakeDB) Schedule(g pebble.CompactionGrantHandle) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.n == 0 || db.shy {
		return false
	}
	db.n--
	db.grant = append(db.grant, g)
	return true
}

// try is what a store does when it finds out that it wants a compaction.
func (db *fakeDB) try() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	ok, g := db.s.TrySchedule()
	if ok {
		db.grant = append(db.grant, g)
	} else {
		db.n++
	}
	return ok
}

func (db *fakeDB) done() bool {
	db.mu.Lock()
	if len(db.grant) == 0 {
		db.mu.Unlock()
		return false
	}
	g := db.grant[0]
	db.grant = db.grant[1:]
	db.mu.Unlock()
	g.Done()
	return true
}

func newFakes(limit, n int) (*compactions, []*fakeDB) {
	c := newCompactions(limit)
	dbs := make([]*fakeDB, n)
	for i := range dbs {
		dbs[i] = &fakeDB{s: c.scheduler()}
		dbs[i].s.Register(2, dbs[i])
		dbs[i].s.admit()
	}
	return c, dbs
}

func TestCompactionsTakeTurns(t *testing.T) {
	_, dbs := newFakes(1, 3)
	if !dbs[0].try() || dbs[1].try() || dbs[2].try() || dbs[0].try() {
		t.Fatal("limit of one was not kept")
	}
	dbs[1].n = 2
	var order []int
	for range 4 {
		for i, db := range dbs {
			if len(db.grant) > 0 {
				order = append(order, i)
				db.done()
				break
			}
		}
	}
	// Store 0 began without waiting, so it still was the first in line.
	if want := []int{0, 0, 1, 2}; !slices.Equal(order, want) {
		t.Errorf("order %v", order)
	}
}

func TestCompactionsUnregister(t *testing.T) {
	c, dbs := newFakes(1, 2)
	if !dbs[0].try() || dbs[1].try() {
		t.Fatal("limit of one was not kept")
	}
	dbs[1].s.Unregister()
	dbs[0].done()
	if len(dbs[1].grant) != 0 || c.mu.running != 0 || len(c.mu.stores) != 1 {
		t.Errorf("a store that is gone got a compaction; %d running, %d stores", c.mu.running, len(c.mu.stores))
	}
	if ok, _ := dbs[1].s.TrySchedule(); ok {
		t.Error("a store that is gone may start one")
	}
}

// TestCompactionsNeverStall runs random stores from many goroutines: the limit
// is kept, and nobody waits while there is room.
func TestCompactionsNeverStall(t *testing.T) {
	for seed := range uint64(20) {
		limit := 1 + int(seed%3)
		c, dbs := newFakes(limit, 6)
		dbs[5].shy = true
		var wg sync.WaitGroup
		for i, db := range dbs {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			wg.Go(func() {
				for range 300 {
					if rng.IntN(2) == 0 {
						db.try()
					} else {
						db.done()
					}
					c.mu.Lock()
					running := c.mu.running
					c.mu.Unlock()
					if running > limit {
						panic(fmt.Sprintf("%d of %d running", running, limit))
					}
				}
			})
		}
		wg.Wait()
		for again := true; again; {
			again = false
			for _, db := range dbs {
				again = db.done() || again
			}
		}
		for i, db := range dbs {
			if db.n > 0 && !db.shy {
				t.Errorf("seed %d: store %d still waits for %d", seed, i, db.n)
			}
		}
		if c.mu.running != 0 {
			t.Errorf("seed %d: %d running", seed, c.mu.running)
		}
	}
}

func TestCompactionsWaitForOpen(t *testing.T) {
	c := newCompactions(2)
	db := &fakeDB{s: c.scheduler()}
	db.s.Register(2, db)
	if db.try() {
		t.Fatal("a store got a compaction while it was opened")
	}
	db.s.admit()
	if len(db.grant) != 1 {
		t.Fatal("the store waits, and got nothing when it was open")
	}
	failed := c.scheduler()
	failed.Unregister() // never registered
}
