package topology

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// idle is config with waits so long that virtual weeks take seconds.
func (r *rig) idle(name string, disk *kafkatest.Disk) Config {
	cfg := r.config(name, disk)
	cfg.Timing.Heartbeat, cfg.Timing.Session = 10*time.Minute, 45*time.Minute
	cfg.Timing.FetchMaxWait, cfg.Timing.Topics, cfg.Timing.Offsets = 10*time.Minute, time.Hour, time.Hour
	return cfg
}

// TestBoundedQueue: a task that does not move never holds more than its queue
// and one fetch; the other task goes on meanwhile; nothing is lost when it moves
// again.
func TestBoundedQueue(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		disk := kafkatest.NewDisk()
		gate := make(chan struct{})
		var paused, resumed atomic.Int32
		cfg := r.config("a", disk)
		cfg.Limits.QueueRecords, cfg.Limits.CycleRecords = 50, 10
		cfg.Limits.FetchBytes, cfg.Limits.FetchPartitionBytes = 4<<10, 4<<10
		cfg.Hooks.Paused = func(task int32, on bool) {
			if on {
				paused.Add(1)
			} else {
				resumed.Add(1)
			}
		}
		cfg.Processor = func(task int32) Processor {
			if task == 0 {
				return &counter{r: r, gate: gate}
			}
			return &counter{r: r}
		}
		a := r.start(cfg, disk).ready(2)

		var slow, fast []string
		for i := 0; len(slow) < 3 || len(fast) < 3; i++ {
			key := fmt.Sprintf("k%d", i)
			if a.TaskOf([]byte(key)) == 0 {
				slow = append(slow, key)
			} else {
				fast = append(fast, key)
			}
		}
		// Several requests, because a fetch brings whole batches, and some bytes
		// that do not compress, because it is bounded in bytes.
		noise := rand.NewChaCha8([32]byte{})
		send := func(keys []string, n int) {
			for n > 0 {
				var recs []*kgo.Record
				for i := 0; i < 20 && n > 0; i, n = i+1, n-1 {
					for _, key := range keys {
						r.sent[key]++
						pad := make([]byte, 100)
						_, _ = noise.Read(pad) // never fails
						recs = append(recs, &kgo.Record{Topic: r.in, Key: []byte(key), Value: []byte("inc"),
							Headers: []kgo.RecordHeader{{Key: "noise", Value: pad}}})
					}
				}
				c.Produce(recs...)
			}
		}
		send(slow[:3], 200)
		r.until("the slow task is paused", func() bool { return paused.Load() == 1 })
		if queued := a.Tasks()[0].Queued; queued > 300 {
			t.Errorf("%d records queued", queued)
		}
		quick := 0
		send(fast[:3], 20)
		r.until("the fast task is done", func() bool {
			quick = 0
			view, _ := a.View(1)
			for _, key := range fast[:3] {
				if value, found, _ := view.Get([]byte(key)); found && decodeCount(value).n == 20 {
					quick++
				}
			}
			return quick == 3
		})
		close(gate)
		r.check(a)
		if paused.Load() != resumed.Load() {
			t.Errorf("paused %d times, resumed %d times", paused.Load(), resumed.Load())
		}
		r.rebuilt(a)
	})
}

// TestVirtualWeek leaves workers idle for a week, with one timer in it.
func TestVirtualWeek(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; under the race detector (-short) virtual months take minutes")
	}
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		ca, cb := r.idle("a", da), r.idle("b", db)
		a := r.start(ca, da).ready(4)
		b := r.start(cb, db)
		b.ready(2)
		a.ready(2)
		began := time.Now()
		due := began.Add(5*24*time.Hour + 1234*time.Millisecond)
		r.send(1, 1, "timer "+strconv.FormatInt(due.UnixMilli(), 10))
		r.fired["k0"] = 1
		r.check(a, b)
		if late := time.Since(due); late < 0 || late > time.Minute {
			t.Errorf("the timer fired %v after its time", late)
		}
		time.Sleep(2 * 24 * time.Hour)
		r.send(1, 8, "inc")
		r.check(a, b)
		for _, p := range []*process{a, b} {
			if err := p.Ready(); err != nil {
				t.Error(err)
			}
			if err := p.Live(); err != nil {
				t.Error(err)
			}
			p.end()
		}
	})
}

// TestTimersFireInOrderAndSlices: many timers fall due at once; they fire in
// the order of their time and in slices, so that records come in between.
func TestTimersFireInOrderAndSlices(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		cfg := r.config("a", disk)
		cfg.Limits.CycleTimers = 10
		var mu sync.Mutex
		var cycles []CycleStats
		cfg.Hooks.Cycle = func(s CycleStats) {
			mu.Lock()
			defer mu.Unlock()
			cycles = append(cycles, s)
		}
		a := r.start(cfg, disk).ready(1)
		due := time.Now().Add(time.Hour)
		var recs []*kgo.Record
		for i := range 95 {
			key := fmt.Sprintf("k%d", i)
			r.sent[key], r.fired[key] = 1, 1
			at := due.Add(time.Duration(i%7) * time.Millisecond).UnixMilli()
			recs = append(recs, &kgo.Record{Topic: r.in, Key: []byte(key), Value: []byte("timer " + strconv.FormatInt(at, 10))})
		}
		c.Produce(recs...)
		r.check(a)
		last := -1
		for _, rec := range c.ReadAll(r.out) {
			if string(rec.Value) != "2" {
				continue
			}
			i, err := strconv.Atoi(string(rec.Key[1:]))
			if err != nil {
				t.Fatal(err)
			}
			if i%7 < last {
				t.Errorf("the timer of %s, due at +%d ms, fired after one of +%d ms", rec.Key, i%7, last)
			}
			last = i % 7
		}
		mu.Lock()
		defer mu.Unlock()
		fired := 0
		for _, s := range cycles {
			fired += s.Timers
			if s.Timers > 10 {
				t.Errorf("a cycle fired %d timers", s.Timers)
			}
		}
		if fired != 95 {
			t.Errorf("%d timers fired", fired)
		}
		a.end()
	})
}

// TestRecordsBegin: while nobody worked on a task, timers fell due and records came. The first transaction
// of the next owner is not one for the timers alone.
func TestRecordsBegin(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(1)
		r.sent["k0"], r.fired["k0"] = 1, 1
		at := time.Now().Add(time.Minute).UnixMilli()
		c.Produce(&kgo.Record{Topic: r.in, Key: []byte("k0"), Value: []byte("timer " + strconv.FormatInt(at, 10))})
		c.Consume(r.out, 1)
		a.end()
		time.Sleep(2 * time.Minute)
		r.sent["k1"] = 1
		c.Produce(&kgo.Record{Topic: r.in, Key: []byte("k1"), Value: []byte("x")})
		cfg := r.config("a", disk)
		cycles := make(chan CycleStats, 100)
		cfg.Hooks.Cycle = func(s CycleStats) { cycles <- s }
		b := r.start(cfg, disk).ready(1)
		r.check(b)
		if first := <-cycles; first.Records != 1 {
			t.Errorf("the first cycle had %d records and %d timers", first.Records, first.Timers)
		}
		b.end()
	})
}

// TestTimeNeverFalls restarts on a machine whose clock is behind.
func TestTimeNeverFalls(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		ca := r.config("a", da)
		ahead := time.Now().Add(48 * time.Hour)
		ca.Clock = func() time.Time { return ahead }
		a := r.start(ca, da).ready(1)
		r.send(1, 1, "inc")
		r.check(a)
		a.end()

		// A timer that is due by the first clock, and not by the second.
		b := r.start(r.config("a", db), db).ready(1)
		r.send(1, 1, "timer "+strconv.FormatInt(ahead.Add(-time.Hour).UnixMilli(), 10))
		r.fired["k0"] = 1
		r.check(b)
		b.end()
	})
}

// TestWake asks tasks for a cycle without input.
func TestWake(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		disk := kafkatest.NewDisk()
		a := r.start(r.config("a", disk), disk).ready(2)
		a.Wake(0) // nothing to say: no transaction
		r.mu.Lock()
		r.mu.wake = "hello"
		r.mu.Unlock()
		a.Wake(1)
		if got := c.Consume(r.out, 1)[0]; string(got.Value) != "hello" {
			t.Fatalf("woke with %q", got.Value)
		}
		a.Wake(99) // not ours: nothing happens
		a.end()
	})
}

// TestLagOffsets: the positions appear as plain offsets of the group.
func TestLagOffsets(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 1)
		disk := kafkatest.NewDisk()
		cfg := r.config("a", disk)
		cfg.Timing.Offsets = 50 * time.Millisecond
		a := r.start(cfg, disk).ready(1)
		r.send(3, 10, "inc")
		r.check(a)
		r.until("the lag is zero", func() bool {
			offsets, err := c.Admin().FetchOffsets(t.Context(), group(r.app))
			if err != nil {
				t.Fatal(err)
			}
			sum := int64(0)
			offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
			return sum == 30
		})
		a.end()
	})
}
