package statestore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/statestore/storetest"
)

// history is a changelog in memory: what each applied batch wrote.
type history struct {
	muts [][]statestore.Mutation
	pos  []statestore.Position
}

// record applies a random batch to the store and remembers it.
func (h *history) record(t *testing.T, s *statestore.Store, b *statestore.Batch, rng *rand.Rand, size int) {
	t.Helper()
	b.Reset()
	var muts []statestore.Mutation
	for range 1 + rng.IntN(20) {
		key := fmt.Appendf(nil, "card-payment/%04d", rng.IntN(400))
		if rng.IntN(4) == 0 {
			b.Delete(key)
			muts = append(muts, statestore.Mutation{Key: key})
			continue
		}
		value := make([]byte, 5+rng.IntN(size))
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		value[0] = byte(rng.IntN(20))
		b.Put(key, value)
		muts = append(muts, statestore.Mutation{Key: key, Value: value})
	}
	p := s.Position()
	p.Next += int64(len(muts)) + 2 // the progress record and a marker
	p.Time += int64(rng.IntN(10))
	if err := s.Apply(b, p); err != nil {
		t.Fatal(err)
	}
	h.muts, h.pos = append(h.muts, muts), append(h.pos, p)
}

// verify wants the store to be an exact prefix of the history, and equal to
// the whole of it after the rest was loaded.
func (h *history) verify(s *statestore.Store) (prefix int, err error) {
	m := storetest.NewModel(storetest.Index)
	n := 0
	for n < len(h.pos) && h.pos[n].Next <= s.Position().Next {
		m.Apply(h.muts[n], h.pos[n])
		n++
	}
	if err := storetest.Same(s, m); err != nil {
		return n, fmt.Errorf("after %d of %d batches: %w", n, len(h.pos), err)
	}
	for i := n; i < len(h.pos); i++ {
		m.Apply(h.muts[i], h.pos[i])
		if err := s.Load(h.muts[i], h.pos[i]); err != nil {
			return n, err
		}
	}
	if err := storetest.Same(s, m); err != nil {
		return n, fmt.Errorf("after replay from batch %d of %d: %w", n, len(h.pos), err)
	}
	return n, nil
}

func testOptions(fs vfs.FS) statestore.Options {
	return statestore.Options{
		Dir: "data/task-7", FS: fs, Shared: shared, Index: storetest.Index, MemTableSize: 1 << 20,
		Identity: statestore.Identity{Format: 1, Cluster: "c", Topic: "pay.saga.state", Partition: 7, Partitions: 12},
	}
}

// TestCrashPrefix cuts the power at random points, keeping none, half or all
// of what was not synced.
func TestCrashPrefix(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; one goroutine, so the race detector (-short) has nothing to find")
	}
	for _, percent := range []int{0, 50, 100} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("keep=%d/seed=%d", percent, seed), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, uint64(percent)))
				fs := vfs.NewCrashableMem()
				s, err := statestore.Open(testOptions(fs))
				if err != nil {
					t.Fatal(err)
				}
				var h history
				b := s.NewBatch()
				size := []int{100, 2000, 20000}[seed%3]
				stop := 20 + rng.IntN(150)
				for i := range stop {
					h.record(t, s, b, rng, size)
					switch {
					case rng.IntN(40) == 0:
						if err := s.Flush(); err != nil {
							t.Fatal(err)
						}
					case rng.IntN(60) == 0:
						if err := s.Close(); err != nil {
							t.Fatal(err)
						}
						if s, err = statestore.Open(testOptions(fs)); err != nil {
							t.Fatal(err)
						}
						b = s.NewBatch()
					}
					if i%10 != 9 && i != stop-1 {
						continue
					}
					crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
					again, err := statestore.Open(testOptions(crashed))
					if err != nil {
						t.Fatalf("after %d batches: %v", i+1, err)
					}
					if _, err := h.verify(again); err != nil {
						t.Fatal(err)
					}
					if err := again.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				// A clean close loses nothing, even when the power goes after it.
				s, err = statestore.Open(testOptions(fs.CrashClone(vfs.CrashCloneCfg{})))
				if err != nil {
					t.Fatal(err)
				}
				if n, err := h.verify(s); err != nil || n != stop {
					t.Fatalf("after Close: %d of %d batches: %v", n, stop, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// TestCrashTwice crashes again while the first recovery is still fresh.
func TestCrashTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; one goroutine, so the race detector (-short) has nothing to find")
	}
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 99))
		fs := vfs.NewCrashableMem()
		var h history
		for round := range 5 {
			s, err := statestore.Open(testOptions(fs))
			if err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
			if _, err := h.verify(s); err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
			b := s.NewBatch()
			for range rng.IntN(60) {
				h.record(t, s, b, rng, 5000)
			}
			next := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 10 * rng.IntN(11), RNG: rng})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			fs = next
		}
	}
}

// damaged accepts what may follow from damage: ErrCorrupt, or an exact prefix.
func damaged(s *statestore.Store, err error, h *history) (string, error) {
	if err != nil {
		if !errors.Is(err, statestore.ErrCorrupt) {
			return "", fmt.Errorf("open: wanted ErrCorrupt, got %w", err)
		}
		return "open", nil
	}
	defer s.Close()
	n, err := h.verify(s)
	switch {
	case errors.Is(err, statestore.ErrCorrupt):
		return "read", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("prefix of %d", n), nil
}
