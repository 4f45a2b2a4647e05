package topology

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestRebalance adds and removes workers while records flow.
func TestRebalance(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		disks := []*kafkatest.Disk{kafkatest.NewDisk(), kafkatest.NewDisk(), kafkatest.NewDisk()}
		dynamic := func(name string, disk *kafkatest.Disk) Config {
			cfg := r.config(name, disk)
			cfg.InstanceID = ""
			cfg.Limits.CycleRecords = 11
			return cfg
		}
		a := r.start(dynamic("a", disks[0]), disks[0]).ready(4)
		r.send(5, 20, "inc")
		b := r.start(dynamic("b", disks[1]), disks[1])
		r.send(5, 20, "inc")
		b.ready(2)
		a.ready(2)
		r.check(a, b)
		r.send(5, 20, "inc")
		a.end()
		b.ready(4)
		r.check(b)
		third := r.start(dynamic("c", disks[2]), disks[2])
		r.send(5, 20, "inc")
		third.ready(2)
		r.check(b, third)
		b.end()
		r.send(1, 20, "inc")
		third.ready(4)
		r.check(third)
		third.end()
	})
}

// TestTakeoverFences: two workers believe that they own the same tasks, as
// after a pause that the group took for a death. The old one learns it from
// the broker at its next commit, drops it, asks the group, and does not come
// back, because the group knows no such member any more.
func TestTakeoverFences(t *testing.T) {
	for _, work := range []string{"records", "timers"} {
		t.Run(work, func(t *testing.T) {
			clusters(t, func(t *testing.T, c *kafkatest.Cluster) { fence(t, c, work) })
		})
	}
}

func fence(t *testing.T, c *kafkatest.Cluster, work string) {
	r := newRig(t, c, 1, 1)
	disk, other := kafkatest.NewDisk(), kafkatest.NewDisk()

	// The old owner stops at begin, with a batch that is complete, as if the
	// process had been frozen there. Depending on who is quicker it is the broker
	// or the group that tells it the truth afterwards; the broker decides.
	var frozen, thawed atomic.Bool
	reached, thaw := make(chan struct{}), make(chan struct{})
	var classes list
	cfg := r.config("a", disk)
	cfg.Failpoint = func(name string, _ int32) error {
		if name == FailBegin && frozen.CompareAndSwap(true, false) {
			close(reached)
			<-thaw
			thawed.Store(true)
		}
		if name == FailEnded && thawed.Load() {
			classes.add("committed")
		}
		return nil
	}
	cfg.Hooks.Aborted = func(_ int32, class string, _ error) { classes.add(class) }
	a := r.start(cfg, disk).ready(1)
	if work == "timers" {
		due := time.Now().Add(10 * time.Second)
		r.send(1, 3, "timer "+strconv.FormatInt(due.UnixMilli(), 10))
		for k := range 3 {
			r.fired["k"+strconv.Itoa(k)]++
		}
		r.c.Consume(r.out, 3)
		frozen.Store(true)
	} else {
		r.send(1, 3, "inc")
		r.c.Consume(r.out, 3)
		frozen.Store(true)
		r.send(1, 3, "inc")
	}
	<-reached

	// The same static member starts elsewhere: the group gives it everything
	// and fences the old one.
	cfg = r.config("a", other)
	cfg.Advertise = "b:7000"
	b := r.start(cfg, other).ready(1)
	r.check(b)

	close(thaw)
	r.until("the old owner is fenced", func() bool { return classes.has("fenced") })
	r.send(2, 3, "inc")
	r.check(b)
	if classes.has("committed") {
		t.Error("the old owner has committed after it was fenced")
	}
	if view, ok := a.View(0); ok {
		t.Errorf("the old owner still serves: %+v", view)
	}
	a.stop()
	<-a.done
	r.rebuilt(b)
}

// list collects strings from other goroutines.
type list struct {
	mu  sync.Mutex
	all []string
}

func (l *list) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *list) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.all, func(s string) bool { return strings.Contains(s, part) })
}

func (l *list) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// TestFencedByStranger: something else has used a transactional id of a task
// that the group still gives to us. After a heartbeat that succeeded the task
// takes over again and goes on.
func TestFencedByStranger(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 1, 1)
		disk := kafkatest.NewDisk()
		var classes list
		cfg := r.config("a", disk)
		cfg.Hooks.Aborted = func(_ int32, class string, _ error) { classes.add(class) }
		a := r.start(cfg, disk).ready(1)
		r.send(2, 3, "inc")
		r.check(a)
		for _, id := range transactionalIDs(r.app, 0) {
			stranger := c.Client(kgo.TransactionalID(id))
			if _, _, err := stranger.ProducerID(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		r.send(2, 3, "inc")
		r.check(a)
		if !classes.has("fenced") {
			t.Fatalf("not fenced: %v", classes.all)
		}
		r.rebuilt(a)
	})
}

// TestOwner asks one worker for the owners of all tasks.
func TestOwner(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 4, 4)
		da, db := kafkatest.NewDisk(), kafkatest.NewDisk()
		ca, cb := r.config("a", da), r.config("b", db)
		ca.InstanceID, cb.InstanceID = "", ""
		a := r.start(ca, da)
		a.ready(4)
		b := r.start(cb, db)
		b.ready(2)
		a.ready(2)
		// Who gave a task away answers for it until the new owner has fenced him.
		r.until("both know who has what", func() bool { return len(a.holding()) == 2 && len(b.holding()) == 2 })
		byAddress := make(map[string]int)
		for task := range int32(4) {
			address, self, err := a.Owner(t.Context(), task)
			if err != nil {
				t.Fatal(err)
			}
			byAddress[address]++
			if self != (address == "a:7000") {
				t.Errorf("task %d at %s: self is %v", task, address, self)
			}
			if other, _, err := b.Owner(t.Context(), task); err != nil || other != address {
				t.Errorf("task %d: %s and %s, %v", task, address, other, err)
			}
		}
		if byAddress["a:7000"] != 2 || byAddress["b:7000"] != 2 {
			t.Errorf("owners %v", byAddress)
		}
		if a.owners.mu.tasks != nil || b.owners.mu.tasks != nil {
			t.Error("the group was asked though the plan says it")
		}
		for task := range int32(4) {
			described, err := a.owners.find(t.Context(), task)
			if address, _, _ := a.Owner(t.Context(), task); err != nil || described != address {
				t.Errorf("task %d: the plan says %s, the group %s (%v)", task, address, described, err)
			}
		}
		r.send(4, 1, "inc")
		ends, err := c.Admin().ListEndOffsets(t.Context(), r.in)
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for p := range int32(4) {
			w, other := a, b
			if _, here := a.View(p); !here {
				w, other = b, a
			}
			end := ends[r.in][p].Offset
			if end == 0 {
				continue
			}
			if err := w.Await(short, r.in, p, end-1); err != nil {
				t.Errorf("partition %d: %v", p, err)
			}
			if err := other.Await(short, r.in, p, end-1); !errors.Is(err, ErrNotRunning) {
				t.Errorf("partition %d on the other process: %v", p, err)
			}
			gone, cancel := context.WithCancel(short)
			cancel()
			if err := w.Await(gone, r.in, p, end+1000); !errors.Is(err, context.Canceled) {
				t.Errorf("partition %d, what is not there: %v", p, err)
			}
		}
		b.end()
		a.ready(4)
		if address, self, err := a.Owner(t.Context(), 3); err != nil || !self || address != "a:7000" {
			t.Errorf("after b left: %s %v %v", address, self, err)
		}
		a.end()
	})
}

// TestGracefulStop: what a task has begun is committed, the group is left, the
// stores are closed, and a worker runs only once.
func TestGracefulStop(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		r := newRig(t, c, 2, 2)
		disk := kafkatest.NewDisk()
		cfg := r.config("a", disk)
		cfg.InstanceID = ""
		begun, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		cfg.Failpoint = func(name string, _ int32) error {
			if name == FailBegin {
				once.Do(func() {
					close(begun)
					<-goOn
				})
			}
			return nil
		}
		var states list
		cfg.Hooks.TaskState = func(_ int32, _, to TaskState, _ string) { states.add(to.String()) }
		a := r.start(cfg, disk).ready(2)
		r.c.Produce(&kgo.Record{Topic: r.in, Key: []byte("k0"), Value: []byte("inc")})
		r.sent["k0"]++
		<-begun
		a.stop()
		close(goOn)
		<-a.done
		if a.err != nil {
			t.Fatal(a.err)
		}
		r.check() // the batch that was begun is there
		if a.Ready() == nil {
			t.Error("ready after the end")
		}
		if _, ok := a.View(0); ok {
			t.Error("serves after the end")
		}
		if err := a.Run(context.Background()); !errors.Is(err, ErrFatal) {
			t.Errorf("ran twice: %v", err)
		}
		groups, err := c.Admin().DescribeGroups(t.Context(), group(r.app))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(groups[group(r.app)].Members); n != 0 {
			t.Errorf("%d members left in the group", n)
		}
		// Again with the same disk: nothing to redo.
		again := r.start(r.config("a", disk), disk).ready(2)
		r.check(again)
		r.rebuilt(again)
	})
}
