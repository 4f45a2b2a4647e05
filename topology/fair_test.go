package topology

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/kafkatest"
)

// TestSettle takes records at random out of the front of two partitions whose offsets have holes, and
// begins anew from a progress record now and then: each record is taken once, and the spans stay in order.
func TestSettle(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var logs [2][]*kgo.Record
		for part := range logs {
			at := int64(rng.IntN(5))
			for range 60 {
				logs[part] = append(logs[part], &kgo.Record{Topic: "in", Partition: int32(part), Offset: at})
				at += int64(1 + rng.IntN(2))
			}
		}
		p := positions{}
		p.set("in", 0, 0)
		p.set("in", 1, 0)
		taken := map[string]int{}
		var queue []*kgo.Record
		read := func() { // what a consumer brings from the positions on
			queue = nil
			var list [2][]*kgo.Record
			for part, log := range logs {
				next, _ := p.next("in", int32(part))
				for _, rec := range log {
					if rec.Offset >= next {
						list[part] = append(list[part], rec)
					}
				}
			}
			for len(list[0])+len(list[1]) > 0 {
				part := rng.IntN(2)
				if n := min(len(list[part]), 1+rng.IntN(5)); n > 0 {
					queue = append(queue, list[part][:n]...)
					list[part] = list[part][n:]
				}
			}
		}
		read()
		for cycles := 0; len(taken) < 120; cycles++ {
			if cycles > 1000 {
				t.Fatalf("seed %d: %d of 120 taken", seed, len(taken))
			}
			front := queue[:min(len(queue), rng.IntN(30))]
			done := make([]bool, len(front))
			var rest []*kgo.Record
			for i, rec := range front {
				switch {
				case p.taken(rec.Topic, rec.Partition, rec.Offset):
					done[i] = true
				case rng.IntN(3) > 0:
					done[i] = true
					taken[fmt.Sprint(rec.Partition, "/", rec.Offset)]++
				default:
					rest = append(rest, rec)
				}
			}
			p.settle(front, done)
			queue = append(rest, queue[len(front):]...)

			b := (&changelog.Progress{Inputs: p.list(), Ahead: p.ahead}).Append(nil)
			got, err := changelog.DecodeProgress(b)
			if err != nil {
				t.Fatalf("seed %d: %+v: %v", seed, p, err)
			}
			if rng.IntN(8) == 0 {
				p = positions{}
				p.set("in", 1, got.Inputs[1].Next)
				p.set("in", 0, got.Inputs[0].Next)
				p.keep(got.Inputs, got.Ahead)
				read()
			}
		}
		for id, n := range taken {
			if n != 1 {
				t.Fatalf("seed %d: %s was taken %d times", seed, id, n)
			}
		}
		if p.settle(queue, slices.Repeat([]bool{true}, len(queue))); len(p.ahead) > 0 {
			t.Fatalf("seed %d: spans are left: %+v", seed, p)
		}
	}
}

// hotRig has a queue full of records for one key, and behind them a few of others, before its first cycle ends.
func hotRig(t *testing.T, c *kafkatest.Cluster, limits Limits) (*rig, *process) {
	r := newRig(t, c, 1, 1)
	disk := kafkatest.NewDisk()
	cfg := r.config("a", disk)
	cfg.Limits = limits
	gate := make(chan struct{})
	cfg.Processor = func(int32) Processor { return &counter{r: r, gate: gate} }
	a := r.start(cfg, disk).ready(1)
	r.hot(60)
	r.send(2, 3, "inc")
	r.hot(60)
	r.until("all records wait", func() bool { info := a.Tasks(); return len(info) == 1 && info[0].Queued >= 100 })
	close(gate)
	return r, a
}

// hot produces n records for one key.
func (r *rig) hot(n int) {
	var list []*kgo.Record
	for range n {
		r.sent["hot"]++
		list = append(list, &kgo.Record{Topic: r.in, Key: []byte("hot"), Value: []byte("inc")})
	}
	r.c.Produce(list...)
}

// TestHotKeyIsFair: what lies behind the records of a hot key does not wait for them. The order of each
// key holds, and so does exactly once.
func TestHotKeyIsFair(t *testing.T) {
	for _, share := range []int{0, 3} {
		clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
			r, a := hotRig(t, c, Limits{CycleRecords: 20, KeyRecords: share})
			r.check(a)
			before, last := 0, 0
			for _, rec := range r.c.ReadAll(r.out) {
				if string(rec.Key) == "hot" {
					before++
				} else {
					last = before
				}
			}
			// Four cycles' worth is looked at, of which the first may have been taken before all were there.
			if fair := last <= 40; fair != (share > 0) {
				t.Errorf("share %d: %d records of the hot key were taken before the last of the others", share, last)
			}
			r.rebuilt(a)
		})
	}
}

// TestHotKeyCrash: over a crash at any point of a cycle, with the disk as it was or gone, what was taken
// behind the hot key is not taken again, and what was passed over is not lost.
func TestHotKeyCrash(t *testing.T) {
	for _, point := range []string{FailPoll, FailBegin, FailFlush, FailEnd, FailEnded, FailApply, FailApplied} {
		t.Run(point, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				r := newRig(t, c, 2, 2)
				disk := kafkatest.NewDisk()
				spans := 0
				for round, percent := range []int{0, 50, 100} {
					hits, crashed := new(atomic.Int32), new(atomic.Pointer[kafkatest.Disk])
					cfg := r.config("a", disk)
					cfg.Limits.CycleRecords, cfg.Limits.KeyRecords = 12, 2
					cfg.Failpoint = func(name string, _ int32) error {
						if name != point || hits.Add(1) != int32(3+round) {
							return nil
						}
						crashed.Store(disk.Crash(percent, uint64(round)))
						return ErrCrash
					}
					for range 4 {
						r.hot(9)
						r.send(1, 7, "inc")
					}
					p := r.start(cfg, disk)
					<-p.done
					if !errors.Is(p.err, ErrCrash) {
						t.Fatalf("worker ended with %v", p.err)
					}
					spans += r.spans()
					disk = crashed.Load()
					if round == 1 {
						disk = kafkatest.NewDisk()
					}
					p = r.start(r.config("a", disk), disk).ready(2)
					r.check(p)
					if round == 2 {
						r.rebuilt(p)
					} else {
						p.end()
					}
				}
				if spans == 0 {
					t.Error("no crash came while records were passed over")
				}
			})
		})
	}
}

// spans counts those of the newest progress records.
func (r *rig) spans() (n int) {
	newest := map[int32][]byte{}
	for _, rec := range r.c.ReadAll(r.state) {
		if string(rec.Key) == changelog.ProgressKey {
			newest[rec.Partition] = rec.Value
		}
	}
	for _, b := range newest {
		p, err := changelog.DecodeProgress(b)
		if err != nil {
			r.t.Fatal(err)
		}
		n += len(p.Ahead)
	}
	return n
}

// TestHotKeyQueueIsBounded: records that are passed over count against the marks of the queue, so a
// hot key that never ends pauses its partitions instead of filling the memory.
func TestHotKeyQueueIsBounded(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		cfg := r.config("a", disk)
		cfg.Limits = Limits{CycleRecords: 10, KeyRecords: 1, QueueRecords: 50, FetchBytes: 4 << 10, FetchPartitionBytes: 4 << 10}
		a := r.start(cfg, disk).ready(1)
		most := 0
		for i := range 40 {
			r.hot(50)
			r.send(1, 5, "inc"+strconv.Itoa(i))
			most = max(most, a.Tasks()[0].Queued)
		}
		r.until("everything is done", func() bool {
			queued := a.Tasks()[0].Queued
			most = max(most, queued)
			return queued == 0
		})
		r.check(a)
		if most > 400 {
			t.Errorf("%d records were queued", most)
		}
		r.rebuilt(a)
	})
}
