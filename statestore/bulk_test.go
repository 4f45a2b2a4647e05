package statestore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/statestore/storetest"
)

// log is a changelog of random mutations, with many for one key and deletions.
func randomLog(rng *rand.Rand, n, keys, size int) []statestore.Mutation {
	muts := make([]statestore.Mutation, n)
	for i := range muts {
		muts[i].Key = fmt.Appendf(nil, "card-payment/%05d", rng.IntN(keys))
		switch rng.IntN(20) {
		case 0:
			muts[i].Key = []byte("\x00progress")
		case 1:
			muts[i].Key = fmt.Appendf(nil, "r%d", rng.IntN(keys))
		}
		if rng.IntN(5) == 0 {
			continue
		}
		value := make([]byte, rng.IntN(size))
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		if len(value) > 3 {
			value[0] = byte(rng.IntN(20))
			copy(value[1:], []byte{'a' + byte(rng.IntN(4)), 'a' + byte(rng.IntN(4))})
		}
		muts[i].Value = value
	}
	return muts
}

// sameCounts wants the counts to be those that a walk gives.
func sameCounts(s *statestore.Store) error {
	for c := byte('a'); c < 'e'; c++ {
		attr := "s/" + string(c)
		walked := int64(0)
		if err := s.ScanAttr(attr, nil, func([]byte) bool { walked++; return true }); err != nil {
			return err
		}
		if n, err := s.CountAttr(attr); err != nil || n != walked {
			return fmt.Errorf("attribute %q: count %d %v, and a walk finds %d", attr, n, err, walked)
		}
	}
	return nil
}

// TestBulkIsLoad fills a store in bulk, whether it all fits in memory or needs
// hundreds of runs, and wants what Load makes of the same; then both go on.
func TestBulkIsLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		keys := rapid.SampledFrom([]int{1, 50, 3000}).Draw(t, "keys")
		muts := randomLog(rng, rapid.IntRange(0, 4000).Draw(t, "records"), keys,
			rapid.SampledFrom([]int{10, 300}).Draw(t, "size"))
		fs := vfs.NewMem()
		s, err := statestore.Open(testOptions(fs))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		b, err := s.NewBulk(statestore.BulkOptions{})
		if err != nil {
			t.Fatal(err)
		}
		memory := rapid.SampledFrom([]int{8 << 10, 64 << 10, 64 << 20}).Draw(t, "memory")
		b.Starve(memory)
		for rest := muts; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(700))
			if err := b.Add(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		model := storetest.NewModel(storetest.Index)
		if err := storetest.Same(s, model); err != nil {
			t.Fatalf("before Finish: %v", err)
		}
		if len(muts) > 2000 && keys == 3000 && memory == 8<<10 && b.Runs() < 2 {
			t.Fatalf("%d runs: the test does not reach them", b.Runs())
		}
		p := statestore.Position{Next: int64(len(muts)) + 3, Time: 77}
		if err := b.Finish(p); err != nil {
			t.Fatal(err)
		}
		model.Apply(muts, p)
		check := func(when string) {
			t.Helper()
			if err := storetest.Same(s, model); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			if err := sameCounts(s); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
		}
		check("after Finish")
		if err := b.Finish(p); !errors.Is(err, statestore.ErrMisuse) {
			t.Fatalf("Finish twice: %v", err)
		}
		if _, err := s.NewBulk(statestore.BulkOptions{}); !errors.Is(err, statestore.ErrMisuse) {
			t.Fatalf("bulk into a store with data: %v", err)
		}
		for range 3 {
			more := randomLog(rng, 200, 50, 30)
			p.Next += 201
			if err := s.Load(more, p); err != nil {
				t.Fatal(err)
			}
			model.Apply(more, p)
		}
		check("after Load")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = statestore.Open(testOptions(fs)); err != nil {
			t.Fatal(err)
		}
		check("after a restart")
	})
}

// TestBulkCrash cuts the power while a Bulk gathers, spills, merges, and after
// it: the store is then empty, or has all of it, and can be filled again.
func TestBulkCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; one goroutine, so the race detector (-short) has nothing to find")
	}
	empty, full := 0, 0
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 5))
		muts := randomLog(rng, 20_000, 5000, 60)
		p := statestore.Position{Next: 20_001, Time: 9}
		want := storetest.NewModel(storetest.Index)
		want.Apply(muts, p)
		fs := vfs.NewCrashableMem()
		var crashed []*vfs.MemFS
		crash := func() {
			crashed = append(crashed, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed%3) * 50, RNG: rng}))
		}
		s, err := statestore.Open(testOptions(fs))
		if err != nil {
			t.Fatal(err)
		}
		paces := 0
		b, err := s.NewBulk(statestore.BulkOptions{Pace: func() {
			if paces++; paces%151 == int(seed) {
				crash()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		b.Starve(256 << 10)
		crash()
		if err := b.Add(muts); err != nil {
			t.Fatal(err)
		}
		crash()
		if err := b.Finish(p); err != nil {
			t.Fatal(err)
		}
		crash()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		crash()
		for i, fs := range crashed {
			s, err := statestore.Open(testOptions(fs))
			if err != nil {
				t.Fatalf("seed %d, crash %d: %v", seed, i, err)
			}
			switch s.Position().Next {
			case p.Next:
				full++
			case 0:
				empty++
				if err := storetest.Same(s, storetest.NewModel(storetest.Index)); err != nil {
					t.Fatalf("seed %d, crash %d: %v", seed, i, err)
				}
				b, err := s.NewBulk(statestore.BulkOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if err := b.Add(muts); err != nil {
					t.Fatal(err)
				}
				if err := b.Finish(p); err != nil {
					t.Fatal(err)
				}
			}
			if err := storetest.Same(s, want); err != nil {
				t.Fatalf("seed %d, crash %d: %v", seed, i, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if empty < 4 || full < 8 {
		t.Fatalf("%d crashes left an empty store and %d a full one: the test does not reach both", empty, full)
	}
}

// TestBulkDiskFull refuses writes of each kind of file at random moments of a
// Bulk.
func TestBulkDiskFull(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; one goroutine, so the race detector (-short) has nothing to find")
	}
	for _, match := range []string{"data.*", "attrs.*", "*.table", "MANIFEST-*", "*.sst"} {
		refused := 0
		for seed := range uint64(6) {
			rng := rand.New(rand.NewPCG(seed, 6))
			muts := randomLog(rng, 20_000, 5000, 60)
			fs := &brokenFS{FS: vfs.NewMem(), match: match, err: syscall.ENOSPC}
			s, err := statestore.Open(testOptions(fs))
			if err != nil {
				t.Fatal(err)
			}
			paces, breakAt := 0, rng.IntN(60)
			b, err := s.NewBulk(statestore.BulkOptions{Pace: func() {
				if paces++; paces >= breakAt {
					fs.broken.Store(true)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			b.Starve(256 << 10)
			p := statestore.Position{Next: 20_001}
			if err = b.Add(muts); err == nil {
				err = b.Finish(p)
			}
			if err != nil {
				refused++
				wantErr(t, match, err, statestore.ErrFailed)
				wantErr(t, match, err, syscall.ENOSPC)
			}
			if err := s.Close(); err != nil {
				t.Fatalf("%s, seed %d: close: %v", match, seed, err)
			}
			fs.broken.Store(false)
			again, err := statestore.Open(testOptions(fs))
			if err != nil {
				t.Fatalf("%s, seed %d: %v", match, seed, err)
			}
			want := storetest.NewModel(storetest.Index)
			if again.Position().Next != 0 {
				want.Apply(muts, p)
			}
			if err := storetest.Same(again, want); err != nil {
				t.Fatalf("%s, seed %d: %v", match, seed, err)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if refused == 0 && match != "*.sst" { // tables become .sst by a link
			t.Errorf("%s: no write was ever refused", match)
		}
	}
}

// TestCountsOfAnotherRelease opens a store in which the counts are not those of
// its last batch.
func TestCountsOfAnotherRelease(t *testing.T) {
	fs := vfs.NewMem()
	s, err := statestore.Open(testOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 5 {
		if err := s.Load(randomLog(rng, 100, 80, 20), statestore.Position{Next: int64(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ForgetCounts(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = statestore.Open(testOptions(fs)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if !s.CountsKept() {
		t.Error("counts are not kept")
	}
	if err := sameCounts(s); err != nil {
		t.Error(err)
	}
}

// TestCountsOfManyAttributes meets an Indexer with more attributes than are
// counted.
func TestCountsOfManyAttributes(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Index = func(key, _ []byte) statestore.Entry {
		return statestore.Entry{Attrs: []string{"s/" + string(key), "s/a"}}
	}
	s, err := statestore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		muts := []statestore.Mutation{{Key: fmt.Appendf(nil, "k%d", i), Value: []byte("v")}}
		if err := s.Load(muts, statestore.Position{Next: int64(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if n, err := s.CountAttr("s/a"); n != 2000 || err != nil || s.CountsKept() {
			t.Errorf("count %d %v, kept %v", n, err, s.CountsKept())
		}
		if n, err := s.CountAttr("s/k7"); n != 1 || err != nil {
			t.Errorf("count %d %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = statestore.Open(o); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
}
