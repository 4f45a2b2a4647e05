package statestore_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/amendsio/amends/statestore"
)

// benchStore opens a store on the disk, with the memtable of a large task.
func benchStore(b *testing.B) *statestore.Store {
	b.Helper()
	o := testOptions(vfs.Default)
	// All data fits in the cache, as that of a task's active sagas does.
	o.Dir, o.MemTableSize, o.Shared = b.TempDir(), 16<<20, statestore.NewShared(256<<20, 500)
	b.Cleanup(o.Shared.Close)
	s, err := statestore.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func benchValue(due byte, size int) []byte {
	v := make([]byte, size)
	v[0] = due
	copy(v[1:], "ab")
	return v
}

// cpu reports the processor time per operation, that of compactions and of
// setting up included: on a busy machine the clock says little.
func cpu(b *testing.B, unit string, operations func() int) {
	b.Helper()
	now := func() int64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	began := now()
	b.Cleanup(func() {
		b.ReportMetric(float64(now()-began)/float64(operations()), unit)
	})
}

// fill loads n instances of 400 bytes.
func fill(b *testing.B, s *statestore.Store, n int) {
	b.Helper()
	var muts []statestore.Mutation
	for i := range n {
		muts = append(muts, statestore.Mutation{Key: fmt.Appendf(nil, "card-payment/%08d", i), Value: benchValue(byte(1+i%200), 400)})
		if len(muts) == 2000 || i == n-1 {
			if err := s.Load(muts, statestore.Position{Next: int64(i + 1)}); err != nil {
				b.Fatal(err)
			}
			muts = muts[:0]
		}
	}
}

// BenchmarkApply is one cycle of a task: 100 instances are read, changed with
// a new due time and another status, and applied with a progress record.
func BenchmarkApply(b *testing.B) {
	const instances, perCycle = 100_000, 100
	s := benchStore(b)
	fill(b, s, instances)
	keys := make([][]byte, instances)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "card-payment/%08d", i)
	}
	values := [][]byte{benchValue(7, 400), benchValue(9, 420)}
	copy(values[1][1:], "cb")
	progress := make([]byte, 120)
	batch := s.NewBatch()
	b.ReportAllocs()
	next := s.Position().Next
	i := 0
	cpu(b, "cpu-ns/instance", func() int { return i })
	for b.Loop() {
		batch.Reset()
		for range perCycle {
			key := keys[i*7919%instances]
			if _, _, err := batch.Get(key); err != nil {
				b.Fatal(err)
			}
			batch.Put(key, values[i/instances&1])
			i++
		}
		batch.Put([]byte("\x00progress"), progress)
		next += perCycle + 2
		if err := s.Apply(batch, statestore.Position{Next: next}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApplyPrepared is what is left of a cycle after the commit.
func BenchmarkApplyPrepared(b *testing.B) {
	s := benchStore(b)
	fill(b, s, 10_000)
	batch := s.NewBatch()
	next := s.Position().Next
	i := 0
	for b.Loop() {
		b.StopTimer()
		batch.Reset()
		for range 100 {
			batch.Put(fmt.Appendf(nil, "card-payment/%08d", i%10_000), benchValue(byte(1+i%100), 400))
			i++
		}
		if err := s.Prepare(batch); err != nil {
			b.Fatal(err)
		}
		next++
		b.StartTimer()
		if err := s.Apply(batch, statestore.Position{Next: next}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	const instances = 100_000
	s := benchStore(b)
	fill(b, s, instances)
	if err := s.Flush(); err != nil {
		b.Fatal(err)
	}
	keys := make([][]byte, instances)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "card-payment/%08d", i*7919%instances)
	}
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		cpu(b, "cpu-ns/op", func() int { return b.N })
		for i := 0; b.Loop(); i++ {
			if _, found, err := s.Get(keys[i%instances]); !found || err != nil {
				b.Fatal(found, err)
			}
		}
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		cpu(b, "cpu-ns/op", func() int { return b.N })
		for i := 0; b.Loop(); i++ {
			if _, found, err := s.Get(append(keys[i%instances], 'x')); found || err != nil {
				b.Fatal(found, err)
			}
		}
	})
}

// BenchmarkDue looks for the next timer after 300 000 have fired: with the
// remembered bound, as a running task does, and without, as after a restart.
func BenchmarkDue(b *testing.B) {
	s := benchStore(b)
	fireAll(b, s, 300_000)
	look := func(b *testing.B) {
		if _, err := s.PassedByNextDue(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if err := s.Due(10_000, 100, func([]byte, int64) bool { return true }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seek from the bound", func(b *testing.B) {
		for b.Loop() {
			look(b)
		}
	})
	b.Run("seek from the start", func(b *testing.B) {
		for b.Loop() {
			s.ForgetTimers()
			look(b)
		}
	})
}

// BenchmarkLoad restores 100 000 instances of 400 bytes.
func BenchmarkLoad(b *testing.B) {
	cpu(b, "cpu-ns/record", func() int { return b.N * 100_000 })
	for b.Loop() {
		s := benchStore(b)
		fill(b, s, 100_000)
	}
}

// BenchmarkBulk does the same from nothing, in bulk: at once in memory, and
// over sorted runs.
func BenchmarkBulk(b *testing.B) {
	const n = 100_000
	muts := make([]statestore.Mutation, n)
	for i := range muts {
		muts[i] = statestore.Mutation{Key: fmt.Appendf(nil, "card-payment/%08d", i*7919%n), Value: benchValue(byte(1+i%200), 400)}
	}
	for _, memory := range []int{256 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("memory=%dMiB", memory>>20), func(b *testing.B) {
			cpu(b, "cpu-ns/record", func() int { return b.N * n })
			for b.Loop() {
				bulk, err := benchStore(b).NewBulk(statestore.BulkOptions{Memory: memory})
				if err != nil {
					b.Fatal(err)
				}
				for at := 0; at < n; at += 2000 {
					if err := bulk.Add(muts[at : at+2000]); err != nil {
						b.Fatal(err)
					}
				}
				if err := bulk.Finish(statestore.Position{Next: n}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
