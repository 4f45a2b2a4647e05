package topology

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func records(from, n int) []*kgo.Record {
	list := make([]*kgo.Record, n)
	for i := range list {
		list[i] = &kgo.Record{Offset: int64(from + i), Value: make([]byte, 84)}
	}
	return list
}

// TestQueueKeepsOrder takes, puts back and pushes at random; what comes out is
// what went in, in order, and the counts end at zero.
func TestQueueKeepsOrder(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		q := newQueue(&Limits{QueueRecords: 1 << 20, QueueBytes: 1 << 30}, func() {}, func(bool) {})
		pushed, taken := 0, 0
		var scratch []*kgo.Record
		for taken < 500 {
			if pushed < 500 && rng.IntN(2) == 0 {
				n := min(1+rng.IntN(40), 500-pushed)
				q.push(records(pushed, n))
				pushed += n
			}
			scratch = q.take(rng.IntN(30), 100*(1+rng.IntN(50)), scratch[:0])
			use := len(scratch)
			if use > 0 {
				use = 1 + rng.IntN(use)
			}
			for _, rec := range scratch[:use] {
				if rec.Offset != int64(taken) {
					t.Fatalf("seed %d: offset %d, want %d", seed, rec.Offset, taken)
				}
				taken++
			}
			q.putBack(scratch[use:])
		}
		if q.len() != 0 || q.mu.bytes != 0 {
			t.Fatalf("seed %d: %d records and %d bytes left", seed, q.len(), q.mu.bytes)
		}
	}
}

// TestQueueMarks holds the high and the low mark, by records and by bytes: one
// pause above, one resume at half.
func TestQueueMarks(t *testing.T) {
	size := recordSize(records(0, 1)[0])
	for _, limits := range []Limits{
		{QueueRecords: 100, QueueBytes: 1 << 30},
		{QueueRecords: 1 << 20, QueueBytes: 100 * size},
	} {
		t.Run(fmt.Sprint(limits.QueueRecords), func(t *testing.T) {
			resumed := 0
			q := newQueue(&limits, func() { resumed++ }, func(bool) {})
			if q.push(records(0, 100)) {
				t.Fatal("paused at the mark")
			}
			if !q.push(records(100, 1)) {
				t.Fatal("not paused over the mark")
			}
			if q.push(records(101, 9)) {
				t.Fatal("paused twice")
			}
			q.take(59, 1<<30, nil)
			if resumed != 0 {
				t.Fatal("resumed above the low mark")
			}
			q.take(1, 1<<30, nil)
			if resumed != 1 {
				t.Fatal("not resumed at the low mark")
			}
			q.take(50, 1<<30, nil)
			if resumed != 1 {
				t.Fatal("resumed twice")
			}
		})
	}
}

// TestQueueTakesAtLeastOne: a record larger than the byte limit still moves.
func TestQueueTakesAtLeastOne(t *testing.T) {
	q := newQueue(&Limits{QueueRecords: 10, QueueBytes: 10}, func() {}, func(bool) {})
	q.push(records(0, 3))
	if got := q.take(10, 1, nil); len(got) != 1 {
		t.Fatalf("took %d", len(got))
	}
}
