package topology

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/internal/murmur2"
	"github.com/amendsio/amends/statestore"
)

// pulse sends one record to each partition every few milliseconds and notes when
// each partition's output comes.
type pulse struct {
	r     *rig
	every time.Duration
	keys  []string // one for each partition

	mu struct {
		sync.Mutex
		times map[int32][]time.Time
	}
	stop func()
}

func (r *rig) pulse(every time.Duration) *pulse {
	p := &pulse{r: r, every: every, keys: make([]string, r.partitions)}
	p.mu.times = make(map[int32][]time.Time)
	for missing, i := int(r.partitions), 0; missing > 0; i++ {
		key := fmt.Sprintf("pulse%d", i)
		if at := murmur2.Partition([]byte(key), r.partitions); p.keys[at] == "" {
			p.keys[at] = key
			missing--
		}
	}
	in, out := r.c.Client(kgo.RecordPartitioner(Partitioner())), r.c.Client(
		kgo.ConsumeTopics(r.out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	both.Go(func() {
		for sleep(ctx, every) {
			for at, key := range p.keys {
				r.sent[key]++
				in.Produce(context.Background(), &kgo.Record{Topic: r.in, Partition: int32(at), Key: []byte(key), Value: []byte("inc")}, func(_ *kgo.Record, err error) {
					if err != nil {
						r.t.Error(err)
					}
				})
			}
		}
		if err := in.Flush(context.Background()); err != nil {
			r.t.Error(err)
		}
	})
	both.Go(func() {
		for ctx.Err() == nil {
			out.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.mu.times[rec.Partition] = append(p.mu.times[rec.Partition], time.Now())
			})
		}
	})
	p.stop = sync.OnceFunc(func() {
		cancel()
		both.Wait()
	})
	r.t.Cleanup(p.stop)
	return p
}

// gaps is the longest time without an output of each partition since a moment.
func (p *pulse) gaps(since time.Time) []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := make([]time.Duration, p.r.partitions)
	for at := range found {
		last := since
		for _, t := range append(p.mu.times[int32(at)], time.Now()) {
			if t.After(since) {
				found[at] = max(found[at], t.Sub(last))
				last = t
			}
		}
	}
	slices.Sort(found)
	return found
}

// TestRollingRestart restarts each of three processes under load and kills one,
// with the timing that the product has by default. In a bubble nothing takes time
// but waits, so how long a partition stands still is what we wait for: next to
// nothing when a process stops, and the session when it dies.
func TestRollingRestart(t *testing.T) {
	roll := func(t *testing.T, c *kafkatest.Cluster) {
		const (
			every  = 50 * time.Millisecond
			moment = every + 300*time.Millisecond // a client may try something again once
		)
		r := newRig(t, c, 3, 3)
		var disks [3]*kafkatest.Disk
		var procs [3]*process
		start := func(i int) {
			cfg := r.memberConfig(fmt.Sprintf("n%d", i), disks[i])
			cfg.Timing, cfg.Client = Timing{}, c.BareOpts()
			procs[i] = r.start(cfg, disks[i])
		}
		warm := func() {
			for _, p := range procs {
				p.ready(1)
			}
		}
		for i := range procs {
			disks[i] = kafkatest.NewDisk()
			start(i)
		}
		warm()
		load := r.pulse(every)
		stood := func(what string, since time.Time, most time.Duration) {
			time.Sleep(time.Second)
			found := load.gaps(since)
			t.Logf("%s: longest gaps %v", what, found)
			if longest := slices.Max(found); !c.IsReal() && longest > most {
				t.Errorf("%s: a partition stood still for %v, at most %v is waited for", what, longest, most)
			}
		}
		time.Sleep(time.Second)
		stood("no restart", time.Now(), moment)
		for i := range procs {
			since := time.Now()
			procs[i].end()
			start(i)
			warm()
			stood(fmt.Sprintf("restart of n%d", i), since, moment)
		}
		since := time.Now()
		procs[0].fail(ErrCrash)
		<-procs[0].done
		time.Sleep(Config{}.withDefaults().Timing.Session)
		r.until("all are back", func() bool { return len(procs[1].Tasks())+len(procs[2].Tasks()) == 3 })
		stood("death of n0", since, Config{}.withDefaults().Timing.Session+time.Second)
		start(0)
		warm()
		load.stop()
		r.check(procs[:]...)
	}
	t.Run("bubble", func(t *testing.T) { kafkatest.Bubble(t, roll) })
	t.Run("real", func(t *testing.T) { roll(t, kafkatest.Real(t)) })
}

// TestMarkersLag: the markers of a transaction may be written so late that the next
// but one, under the same id, is refused for a moment. It is tried again at once,
// not when the client thinks that it may look at the topics again.
func TestMarkersLag(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		cfg := r.memberConfig("n0", disk)
		cfg.Timing, cfg.Client = Timing{}, c.BareOpts()
		a := r.start(cfg, disk).ready(1)
		load := r.pulse(20 * time.Millisecond)
		time.Sleep(time.Second)
		since := time.Now()
		for range 5 {
			c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: r.out, Err: kerr.ConcurrentTransactions, Count: 2})
			time.Sleep(2 * time.Second)
		}
		if longest := slices.Max(load.gaps(since)); longest > 500*time.Millisecond {
			t.Errorf("the partition stood still for %v", longest)
		}
		load.stop()
		r.check(a)
	})
}

// TestAllStop: processes that stop together have nobody to hand their tasks to.
// They find out and do not wait for it.
func TestAllStop(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		var procs [2]*process
		for i := range procs {
			disk := kafkatest.NewDisk()
			cfg := r.memberConfig(fmt.Sprintf("n%d", i), disk)
			cfg.Timing.Drain = time.Hour
			procs[i] = r.start(cfg, disk)
		}
		for _, p := range procs {
			p.ready(2).warm(2)
		}
		r.send(3, 20, "inc")
		began := time.Now()
		for _, p := range procs {
			p.stop()
		}
		for _, p := range procs {
			p.end()
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("they waited %v for one another", took)
		}
		disk := kafkatest.NewDisk()
		r.check(r.start(r.memberConfig("n2", disk), disk).ready(4))
	})
}

// TestStopBesideAnOlderProcess: the plain protocol knows no drain. A process that
// stops under it leaves at once, and the group moves its tasks.
func TestStopBesideAnOlderProcess(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 4, 100, 100)
		older := w.older("older")
		defer older()
		disk := kafkatest.NewDisk()
		cfg := w.memberConfig("n0", disk)
		cfg.Timing.Drain = time.Hour
		p := w.start(cfg, disk)
		w.until("it has tasks", func() bool { return len(p.Tasks()) == 2 && p.Ready() == nil })
		began := time.Now()
		p.end()
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it waited %v for a plan that moves its tasks", took)
		}
	})
}

// TestCopiesWait: while a process restarts nobody copies what it has on its disk.
// When it stays away its copies are made.
func TestCopiesWait(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 6, 6)
		var disks [3]*kafkatest.Disk
		var procs [3]*process
		var read restores
		start := func(i int) {
			cfg := r.memberConfig(fmt.Sprintf("n%d", i), disks[i])
			cfg.Timing.Copy = 30 * time.Second
			cfg.Hooks.Restored = read.hook()
			procs[i] = r.start(cfg, disks[i])
		}
		for i := range procs {
			disks[i] = kafkatest.NewDisk()
			start(i)
		}
		for _, p := range procs {
			p.ready(2)
		}
		r.send(10, 60, "inc")
		r.check(procs[:]...)
		for _, p := range procs {
			p.warm(2)
		}
		time.Sleep(time.Minute)

		before := read.records.Load()
		procs[0].end()
		time.Sleep(10 * time.Second)
		start(0)
		for _, p := range procs {
			p.ready(2).warm(2)
		}
		// Without the wait all four of its copies are read anew, 41 to 49 records. With it none is, but for a plan
		// now and then that gives the process two other tasks than it has copies of.
		if n := read.records.Load() - before; n > 30 {
			t.Errorf("%d records were read for copies that were there again after 10 s", n)
		}

		before = read.records.Load()
		procs[0].end()
		procs[1].ready(3)
		procs[2].ready(3)
		if read.records.Load() == before {
			t.Error("no copies were made of the tasks of a process that stayed away")
		}
		r.send(1, 60, "inc")
		r.check(procs[1], procs[2])
	})
}

// TestClosedStoresAreTold: a process that starts tells the group how far the stores
// on its disk are, before anybody has opened one.
func TestClosedStoresAreTold(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		disk := kafkatest.NewDisk()
		cfg := r.memberConfig("n0", disk)
		a := r.start(cfg, disk).ready(4)
		r.send(5, 40, "inc")
		r.check(a)
		a.end()

		w, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		held := w.held()
		w.member.leave()
		w.kill()
		w.release()
		if len(held) != 4 {
			t.Fatalf("told of %v, has 4 stores", held)
		}
		for _, h := range held {
			if _, known := h.Lag(); known || h.Position == 0 || h.Position > r.stable(h.Task) {
				t.Errorf("told %+v of a store that ends at %d", h, r.stable(h.Task))
			}
		}

		// A note that cannot be read, or is gone with its store, says nothing.
		dir := storeDir(&w.cfg, 0)
		f, err := disk.FS.Create(disk.FS.PathJoin(dir, noteName), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("-12 or so")); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if at := readNote(disk.FS, dir); at != 0 {
			t.Errorf("read %d from a note of nonsense", at)
		}
		dir = storeDir(&w.cfg, 1)
		if err := statestore.Wipe(disk.FS, dir); err != nil {
			t.Fatal(err)
		}
		if at := readNote(disk.FS, dir); at != 0 {
			t.Errorf("a wiped store is at %d", at)
		}
		r.check(r.start(cfg, disk).ready(4))
	})
}
