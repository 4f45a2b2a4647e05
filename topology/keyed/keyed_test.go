package keyed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/topology/keyed"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func clusters(t *testing.T, fn func(t *testing.T, c *kafkatest.Cluster)) {
	t.Run("bubble", func(t *testing.T) { kafkatest.Bubble(t, fn) })
	t.Run("cluster", func(t *testing.T) { fn(t, kafkatest.New(t)) })
}

// journal notes what handlers do, and finds what must not be.
type journal struct {
	t  *testing.T
	mu struct {
		sync.Mutex
		active  map[string]bool     // keys in a call
		last    map[string]int64    // by partition and key: highest offset handled
		handled map[string][]string // values by key
		total   int
		most    int // calls at once
	}
	// moves says that partitions change hands: what the former owner has done and not committed comes
	// again, after what it did later.
	moves   bool
	changed chan struct{}
}

func newJournal(t *testing.T) *journal {
	j := &journal{t: t, changed: make(chan struct{}, 1)}
	j.mu.active, j.mu.last, j.mu.handled = map[string]bool{}, map[string]int64{}, map[string][]string{}
	return j
}

// enter begins a call. Repetitions after a crash may go back; within one life order must hold.
func (j *journal) enter(rec *kgo.Record) (leave func(done bool)) {
	key := fmt.Sprintf("%d/%s", rec.Partition, rec.Key)
	j.mu.Lock()
	defer j.mu.Unlock()
	if rec.Key != nil {
		if j.mu.active[key] {
			j.t.Errorf("two calls for key %s at once", key)
		}
		if last, ok := j.mu.last[key]; ok && rec.Offset < last && !j.moves {
			j.t.Errorf("offset %d of key %s after %d", rec.Offset, key, last)
		}
		j.mu.active[key] = true
		j.mu.last[key] = rec.Offset
	}
	j.mu.total++
	calls := j.mu.total
	j.mu.most = max(j.mu.most, calls)
	return func(done bool) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.mu.total--
		delete(j.mu.active, key)
		if done {
			j.mu.handled[string(rec.Key)] = append(j.mu.handled[string(rec.Key)], string(rec.Value))
		}
		select {
		case j.changed <- struct{}{}:
		default:
		}
	}
}

func (j *journal) count() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, list := range j.mu.handled {
		n += len(list)
	}
	return n
}

func (j *journal) of(key string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.mu.handled[key])
}

func (j *journal) active() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.total
}

// until waits for what only the processor can bring about.
func until(t *testing.T, c *kafkatest.Cluster, what string, met func() bool) {
	t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	for wait := time.Millisecond; !met(); wait = min(2*wait, 100*time.Millisecond) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}

// start runs a processor; stop ends it and gives its error.
func start(t *testing.T, cfg keyed.Config) (stop func() error) {
	t.Helper()
	p, err := keyed.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() {
			cancel()
			result = <-ended
		})
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func produce(c *kafkatest.Cluster, topic string, from, n, keys int) {
	var recs []*kgo.Record
	for i := from; i < from+n; i++ {
		recs = append(recs, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i%keys), Value: fmt.Append(nil, i)})
	}
	c.Produce(recs...)
}

// committed is what the group has committed on a partition, -1 for nothing.
func committed(t *testing.T, c *kafkatest.Cluster, group, topic string, partition int32) int64 {
	t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	offsets, err := c.Admin().FetchOffsets(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := offsets.Lookup(topic, partition); ok {
		return at.At
	}
	return -1
}

func TestOrder(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 3, nil)
		group := c.Namespace() + ".order"
		produce(c, topic, 0, 300, 17)
		j := newJournal(t)
		stop := start(t, keyed.Config{
			Group: group, Topics: []string{topic}, Client: c.GroupOpts(), Backoff: time.Millisecond, Concurrency: 20,
			Handle: func(ctx context.Context, rec *kgo.Record) (err error) {
				leave := j.enter(rec)
				defer func() { leave(err == nil) }()
				time.Sleep(time.Duration(rec.Offset%7) * time.Millisecond)
				if rec.Offset%11 == 3 && ctx.Err() == nil && len(j.of("failed"+string(rec.Value))) == 0 {
					j.mu.Lock()
					j.mu.handled["failed"+string(rec.Value)] = []string{"once"}
					j.mu.Unlock()
					return errors.New("asked to fail once")
				}
				return nil
			},
		})
		until(t, c, "all are handled", func() bool {
			n := 0
			for k := range 17 {
				n += len(j.of(fmt.Sprint("k", k)))
			}
			return n == 300
		})
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for k := range 17 {
			for i, value := range j.of(fmt.Sprint("k", k)) {
				if value != fmt.Sprint(k+17*i) {
					t.Fatalf("key k%d: record %d is %s", k, i, value)
				}
			}
		}
		if j.mu.most < 2 || j.mu.most > 20 {
			t.Errorf("at most %d calls at once, want 2 to 20", j.mu.most)
		}
		sum := int64(0)
		for p := range int32(3) {
			sum += max(committed(t, c, group, topic, p), 0)
		}
		if sum != 300 {
			t.Errorf("%d records are committed after the stop, want 300", sum)
		}
	})
}

// TestStalledKey: one key hangs. The others go on until the window is full, nothing behind the stalled
// record is committed, and all of it comes again after a restart.
func TestStalledKey(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 1, nil)
		group := c.Namespace() + ".stalled"
		produce(c, topic, 0, 5, 5)    // k0 to k4
		produce(c, topic, 100, 10, 1) // k0: ten that wait behind the one that hangs
		produce(c, topic, 201, 1000, 200)
		release := make(chan struct{})
		j := newJournal(t)
		cfg := keyed.Config{
			Group: group, Topics: []string{topic}, Client: c.GroupOpts(), Pending: 100, Commit: 10 * time.Millisecond, Drain: time.Second,
			Handle: func(ctx context.Context, rec *kgo.Record) (err error) {
				leave := j.enter(rec)
				defer func() { leave(err == nil) }()
				if string(rec.Value) == "2" { // k2, offset 2
					select {
					case <-release:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				return nil
			},
		}
		stop := start(t, cfg)
		// The window is offsets 2 to 101: all of it but the two records of the stalled key is done, and no more.
		full := func() bool {
			n := 0
			for i := range 200 {
				if i != 2 {
					n += len(j.of(fmt.Sprint("k", i)))
				}
			}
			return n == 2+98
		}
		until(t, c, "the window is full", full)
		until(t, c, "the prefix is committed", func() bool { return committed(t, c, group, topic, 0) == 2 })
		time.Sleep(50 * time.Millisecond)
		if !full() || len(j.of("k2")) != 0 || j.active() != 1 {
			t.Errorf("the window was passed: %d handled, %d active", j.count(), j.active())
		}
		if err := stop(); err != nil { // the handler heeds its context
			t.Fatal(err)
		}
		if at := committed(t, c, group, topic, 0); at != 2 {
			t.Errorf("%d is committed, want 2", at)
		}
		close(release)
		j = newJournal(t)
		stop = start(t, cfg)
		until(t, c, "the rest is handled, what was done behind the stalled record again", func() bool { return j.count() == 1015-2 })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if at := committed(t, c, group, topic, 0); at != 1015 {
			t.Errorf("%d is committed, want 1015", at)
		}
	})
}

// TestStalledProcessor: two processors on one topic, one of which stands still.
func TestStalledProcessor(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 2, nil)
		release := make(chan struct{})
		slow, quick := newJournal(t), newJournal(t)
		stopSlow := start(t, keyed.Config{
			Group: c.Namespace() + ".slow", Topics: []string{topic}, Client: c.GroupOpts(), Pending: 10, Concurrency: 1,
			Handle: func(_ context.Context, rec *kgo.Record) error {
				defer slow.enter(rec)(true)
				<-release
				return nil
			},
		})
		stopQuick := start(t, keyed.Config{
			Group: c.Namespace() + ".quick", Topics: []string{topic}, Client: c.GroupOpts(),
			Handle: func(_ context.Context, rec *kgo.Record) error {
				defer quick.enter(rec)(true)
				return nil
			},
		})
		produce(c, topic, 0, 500, 50)
		until(t, c, "the slow one stands", func() bool { return slow.active() == 1 })
		until(t, c, "the quick one is through", func() bool { return quick.count() == 500 })
		if slow.count() != 0 {
			t.Errorf("the slow one handled %d", slow.count())
		}
		close(release)
		until(t, c, "the slow one is through", func() bool { return slow.count() == 500 })
		if err := errors.Join(stopSlow(), stopQuick()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestWindowIsBounded by bytes: nothing beyond the window is begun.
func TestWindowIsBounded(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 1, nil)
		var recs []*kgo.Record
		for i := range 40 {
			recs = append(recs, &kgo.Record{Topic: topic, Key: fmt.Append(nil, i), Value: make([]byte, 10_000)})
		}
		recs = append(recs, &kgo.Record{Topic: topic, Value: make([]byte, 200_000)}) // larger than the window, and without a key
		release := make(chan struct{})
		j := newJournal(t)
		var mu sync.Mutex
		paused := []bool{}
		stop := start(t, keyed.Config{
			Group: c.Namespace() + ".bytes", Topics: []string{topic}, Client: c.GroupOpts(), PendingBytes: 105_000,
			Hooks: keyed.Hooks{Paused: func(_ string, _ int32, p bool) {
				mu.Lock()
				defer mu.Unlock()
				paused = append(paused, p)
			}},
			Handle: func(_ context.Context, rec *kgo.Record) error {
				defer j.enter(rec)(true)
				<-release
				return nil
			},
		})
		c.Produce(recs...)
		until(t, c, "ten are begun", func() bool { return j.active() == 10 })
		time.Sleep(time.Minute)
		if j.active() != 10 {
			t.Errorf("%d calls, want 10", j.active())
		}
		close(release)
		until(t, c, "all are handled", func() bool { return j.count() == 41 })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(paused) < 2 || !paused[0] || paused[len(paused)-1] {
			t.Errorf("paused and resumed: %v", paused)
		}
	})
}

// TestRebalance: a second process takes partitions over while calls run. Nothing is lost, the order of a
// key holds, and what was drained is not handled again.
func TestRebalance(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 4, nil)
		group := c.Namespace() + ".rebalance"
		j := newJournal(t)
		j.moves = true
		config := func() keyed.Config {
			return keyed.Config{
				Group: group, Topics: []string{topic}, Client: c.GroupOpts(), Pending: 50, Commit: 20 * time.Millisecond,
				Handle: func(_ context.Context, rec *kgo.Record) error {
					defer j.enter(rec)(true)
					time.Sleep(time.Millisecond)
					return nil
				},
			}
		}
		first := start(t, config())
		produce(c, topic, 0, 400, 40)
		until(t, c, "the first has begun", func() bool { return j.count() > 20 })
		second := start(t, config())
		produce(c, topic, 400, 400, 40)
		until(t, c, "some are handled by both", func() bool { return j.count() >= 600 })
		if err := first(); err != nil {
			t.Fatal(err)
		}
		produce(c, topic, 800, 200, 40)
		seen := func() (values map[string]int) {
			values = map[string]int{}
			for k := range 40 {
				for _, v := range j.of(fmt.Sprint("k", k)) {
					values[v]++
				}
			}
			return values
		}
		until(t, c, "all are handled", func() bool { return len(seen()) == 1000 })
		if err := second(); err != nil {
			t.Fatal(err)
		}
		// Done behind an undrained record may come again, at most a window for each partition that moved.
		if n := j.count(); n > 1000+3*4*50 {
			t.Errorf("%d calls for 1000 records", n)
		}
	})
}

func TestSetAside(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 1, nil)
		group := c.Namespace() + ".aside"
		j := newJournal(t)
		var mu sync.Mutex
		var aside []string
		attempts := 0
		stop := start(t, keyed.Config{
			Group: group, Topics: []string{topic}, Client: c.GroupOpts(), Attempts: 3,
			Handle: func(_ context.Context, rec *kgo.Record) error {
				defer j.enter(rec)(true)
				if string(rec.Value) != "1" {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				if attempts++; attempts == 2 {
					panic("asked to panic")
				}
				return errors.New("asked to fail")
			},
			SetAside: func(_ context.Context, rec *kgo.Record, err error) error {
				mu.Lock()
				defer mu.Unlock()
				aside = append(aside, string(rec.Value)+" "+err.Error())
				if len(aside) == 1 {
					return errors.New("no broker")
				}
				return nil
			},
			Hooks: keyed.Hooks{Failed: func(_ *kgo.Record, attempt int, err error) {
				if (attempt == 2) != errors.Is(err, keyed.ErrPanic) {
					t.Errorf("attempt %d failed with %v", attempt, err)
				}
			}},
		})
		produce(c, topic, 0, 4, 1)
		until(t, c, "the others are handled", func() bool { return slices.Contains(j.of("k0"), "3") })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if want := []string{"1 asked to fail", "1 asked to fail"}; !slices.Equal(aside, want) || attempts != 4 {
			t.Errorf("%d attempts, set aside: %v", attempts, aside)
		}
		if at := committed(t, c, group, topic, 0); at != 4 {
			t.Errorf("%d is committed, want 4", at)
		}
	})
}

// TestStuck: a handler that does not heed its context keeps nobody from stopping, and is told of.
func TestStuck(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 1, nil)
		release := make(chan struct{})
		j := newJournal(t)
		stop := start(t, keyed.Config{
			Group: c.Namespace() + ".stuck", Topics: []string{topic}, Client: c.GroupOpts(), Drain: time.Minute,
			Handle: func(_ context.Context, rec *kgo.Record) error {
				defer j.enter(rec)(true)
				<-release
				return nil
			},
		})
		produce(c, topic, 0, 1, 1)
		until(t, c, "it hangs", func() bool { return j.active() == 1 })
		if err := stop(); !errors.Is(err, keyed.ErrStuck) {
			t.Errorf("got %v", err)
		}
		close(release)
		until(t, c, "it ends", func() bool { return j.active() == 0 })
	})
}

func TestRunAll(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		topic := c.CreateTopic(c.Namespace()+".in", 1, nil)
		j := [2]*journal{newJournal(t), newJournal(t)}
		var ps []*keyed.Processor
		for i := range j {
			p, err := keyed.New(keyed.Config{
				Group: fmt.Sprint(c.Namespace(), ".all", i), Topics: []string{topic}, Client: c.GroupOpts(),
				Handle: func(_ context.Context, rec *kgo.Record) error {
					j[i].enter(rec)(true)
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, p)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- keyed.RunAll(ctx, ps...) }()
		produce(c, topic, 0, 10, 3)
		until(t, c, "both are through", func() bool { return j[0].count() == 10 && j[1].count() == 10 })
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := keyed.RunAll(context.Background(), ps...); err == nil {
			t.Error("processors ran twice")
		}
	})
}

func TestConfigFaults(t *testing.T) {
	_, err := keyed.New(keyed.Config{Attempts: 1, Pending: -1, PendingBytes: -1, Concurrency: -1, Backoff: time.Second, BackoffMax: time.Millisecond, Commit: 1, Drain: -1})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, field := range []string{"Group", "Topics", "Client", "Handle", "Attempts", "Pending:", "PendingBytes", "Concurrency", "Backoff", "Commit", "Drain"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("no word about %s in %v", field, err)
		}
	}
}
