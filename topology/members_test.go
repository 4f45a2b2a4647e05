package topology

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/topology/balance"
)

// troupe is a group whose members have no stores but numbers: how far each copy
// is. It knows who owns what at any time, and that nothing is owned twice.
type troupe struct {
	*rig
	end int64 // of each changelog partition
	mu  struct {
		sync.Mutex
		pace   int64 // records that a copy reads per step
		owner  map[int32]string
		gained []gain
		fault  string
	}
}

// gain is a task that somebody was given.
type gain struct {
	task int32
	who  string
	from string // the owner before, empty at first
	lag  int64  // of the copy
}

// player is a member of a troupe.
type player struct {
	*member
	w      *troupe
	name   string
	done   chan struct{}
	exited chan struct{}
	mu     struct {
		sync.Mutex
		stores map[int32]int64
		open   map[int32]bool
	}
}

const troupeStep = 50 * time.Millisecond

func newTroupe(t *testing.T, c *kafkatest.Cluster, tasks int32, end, pace int64) *troupe {
	w := &troupe{rig: newRig(t, c, tasks, tasks), end: end}
	w.mu.pace, w.mu.owner = pace, make(map[int32]string)
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.mu.fault != "" {
			t.Error(w.mu.fault)
		}
	})
	return w
}

// own and disown are the same for members of all kinds.
func (w *troupe) own(who string, lag func(task int32) int64, tasks ...int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, task := range tasks {
		from := w.mu.owner[task]
		if from != "" && from[0] != '-' {
			w.mu.fault = fmt.Sprintf("task %d was given to %s, and %s has it", task, who, from)
		}
		g := gain{task: task, who: who, lag: lag(task)}
		if from != "" {
			g.from = from[1:]
		}
		w.mu.gained = append(w.mu.gained, g)
		w.mu.owner[task] = who
	}
}

func (w *troupe) disown(who string, tasks ...int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, task := range tasks {
		if w.mu.owner[task] == who {
			w.mu.owner[task] = "-" + who
		}
	}
}

// gains lists what was given since the last call.
func (w *troupe) gains() []gain {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.mu.gained
	w.mu.gained = nil
	return list
}

// share counts the tasks of each member.
func (w *troupe) shares() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := make(map[string]int)
	for _, who := range w.mu.owner {
		n[who]++
	}
	return n
}

func (w *troupe) shared(want map[string]int) {
	w.t.Helper()
	w.until(fmt.Sprintf("the tasks are shared as %v", want), func() bool { return maps.Equal(w.shares(), want) })
}

func (w *troupe) config(name string) Config {
	cfg := w.rig.config(name, kafkatest.NewDisk())
	cfg.InstanceID = ""
	cfg.Timing.Probe = 5 * time.Second
	return cfg
}

// join starts a member that keeps copies.
func (w *troupe) join(cfg Config) *player {
	w.t.Helper()
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		w.t.Fatal(err)
	}
	p := &player{w: w, name: cfg.Advertise, done: make(chan struct{}), exited: make(chan struct{})}
	p.mu.stores, p.mu.open = make(map[int32]int64), make(map[int32]bool)
	m, err := newMember(&cfg, append(w.c.Opts(), kgo.ClientID(clientPrefix+cfg.Advertise)), p.holds)
	if err != nil {
		w.t.Fatal(err)
	}
	p.member = m
	go p.run()
	w.t.Cleanup(p.exit)
	return p
}

func (p *player) holds() []balance.Held {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []balance.Held
	for task, at := range p.mu.stores {
		h := balance.Held{Task: task, Position: at, End: -1}
		if p.mu.open[task] {
			h.End = p.w.end
		}
		list = append(list, h)
	}
	return list
}

func (p *player) run() {
	defer close(p.exited)
	tick := time.NewTicker(troupeStep)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-p.changed:
			p.follow()
		case <-tick.C:
			p.w.mu.Lock()
			pace := p.w.mu.pace
			p.w.mu.Unlock()
			p.mu.Lock()
			for task := range p.mu.open {
				p.mu.stores[task] = min(p.w.end, p.mu.stores[task]+pace)
			}
			p.mu.Unlock()
		}
	}
}

// follow does what the group says.
func (p *player) follow() {
	owned, assigned, revoked := p.owned()
	standing := p.standbys()
	for _, task := range standing {
		if slices.Contains(owned, task) && p.owns(task) {
			p.w.mu.Lock()
			p.w.mu.fault = fmt.Sprintf("%s keeps a copy of task %d, which it owns", p.name, task)
			p.w.mu.Unlock()
		}
	}
	p.w.disown(p.name, revoked...)
	lags := make(map[int32]int64)
	p.mu.Lock()
	for _, task := range assigned {
		lags[task] = p.w.end - p.mu.stores[task]
	}
	clear(p.mu.open)
	for _, task := range slices.Concat(owned, standing) {
		p.mu.open[task] = true
		p.mu.stores[task] += 0
	}
	for _, task := range owned {
		p.mu.stores[task] = p.w.end
	}
	p.mu.Unlock()
	p.w.own(p.name, func(task int32) int64 { return lags[task] }, assigned...)
}

// exit leaves the group, once.
func (p *player) exit() {
	select {
	case <-p.done:
		return
	default:
	}
	close(p.done)
	<-p.exited
	p.w.disown(p.name, p.peek()...)
	p.leave()
}

// calm waits until every task has so many copies and nothing is to come.
func (w *troupe) calm(copies int, ps ...*player) {
	w.t.Helper()
	w.until(fmt.Sprintf("every task has %d copies", copies), func() bool {
		n := make(map[int32]int)
		for _, p := range ps {
			for _, task := range p.standbys() {
				if p.mu.Lock(); p.mu.stores[task] < w.end {
					p.mu.Unlock()
					return false
				}
				p.mu.Unlock()
				n[task]++
			}
		}
		for task := range w.tasks {
			if n[task] != copies {
				return false
			}
		}
		return true
	})
}

// warm fails when a task went from a living owner to a member without a warm copy.
func (w *troupe) warm(moves int) {
	w.t.Helper()
	gains := w.gains()
	if len(gains) != moves {
		w.t.Errorf("%d moves, want %d: %+v", len(gains), moves, gains)
	}
	for _, g := range gains {
		if g.lag > 10_000 {
			w.t.Errorf("task %d went from %s to %s, whose copy lacks %d", g.task, g.from, g.who, g.lag)
		}
	}
}

// TestScale: one process becomes three and one again. There is much to read, so
// each task moves only when its copy is nearly complete, and no task moves that
// need not.
func TestScale(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 6, 1_000_000, 20_000)
		a := w.join(w.config("a"))
		w.shared(map[string]int{a.name: 6})
		w.gains()
		b, d := w.join(w.config("b")), w.join(w.config("d"))
		w.shared(map[string]int{a.name: 2, b.name: 2, d.name: 2})
		w.warm(4)
		w.calm(1, a, b, d)

		for _, leaves := range []*player{d, b} {
			n := w.shares()[leaves.name]
			leaves.drain()
			w.until("the tasks are handed over", func() bool {
				now := w.shares()
				return now[leaves.name]+now["-"+leaves.name] == 0
			})
			w.warm(n)
			leaves.exit()
			if leaves == d {
				w.calm(1, a, b)
			}
		}
		w.shared(map[string]int{a.name: 6})
	})
}

// TestDeath: what a process had that has died goes to where the copies are.
func TestDeath(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 6, 1_000_000, 100_000)
		a, b, d := w.join(w.config("a")), w.join(w.config("b")), w.join(w.config("d"))
		w.shared(map[string]int{a.name: 2, b.name: 2, d.name: 2})
		w.calm(1, a, b, d)
		w.gains()
		n := w.shares()[b.name]
		b.exit() // without a word
		w.until("nothing is left of it", func() bool { return w.shares()["-"+b.name] == 0 })
		w.warm(n)
	})
}

// TestZones: the copy of a task is in another zone.
func TestZones(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 6, 1_000_000, 500_000)
		zone := map[string]string{"a": "x", "b": "x", "d": "y"}
		var ps []*player
		for _, name := range slices.Sorted(maps.Keys(zone)) {
			cfg := w.config(name)
			cfg.Zone = zone[name]
			ps = append(ps, w.join(cfg))
		}
		w.shared(map[string]int{ps[0].name: 2, ps[1].name: 2, ps[2].name: 2})
		w.until("every copy is in another zone", func() bool {
			n := 0
			for _, p := range ps {
				for _, task := range p.standbys() {
					for _, o := range ps {
						if o.owns(task) && o.cfg.Zone != p.cfg.Zone {
							n++
						}
					}
				}
			}
			return n == 6
		})
		// Everybody knows who has what.
		for _, p := range ps {
			for task := range w.tasks {
				active, standbys, ok := p.route(task)
				if !ok || len(standbys) < 1 || active == standbys[0] {
					t.Errorf("%s knows of task %d: %q %q %v", p.name, task, active, standbys, ok)
				}
				for _, o := range ps {
					if o.owns(task) && o.name != active {
						t.Errorf("%s thinks task %d is at %s, and it is at %s", p.name, task, active, o.name)
					}
				}
			}
		}
	})
}

// TestProbe: while something waits for a copy, the leader asks again and again.
func TestProbe(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 2, 1_000_000, 0)
		cfg := w.config("a")
		cfg.Timing.Probe = time.Second
		a := w.join(cfg)
		w.shared(map[string]int{a.name: 2})
		b := w.join(w.config("b"))
		w.until("b has a copy to make", func() bool { return len(b.standbys()) > 0 })
		_, from := a.cl.GroupMetadata()
		w.until("the leader has asked three times", func() bool {
			_, now := a.cl.GroupMetadata()
			return now >= from+3
		})
		if w.shares()[a.name] != 2 {
			t.Errorf("a task has moved although no copy is made: %v", w.shares())
		}
		w.mu.Lock()
		w.mu.pace = 1_000_000
		w.mu.Unlock()
		w.shared(map[string]int{a.name: 1, b.name: 1})
	})
}

// TestStatic: a static process that comes back in time finds its tasks untouched;
// one that has drained leaves the group.
func TestStatic(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 4, 1_000_000, 500_000)
		static := func(name string) *player {
			cfg := w.config(name)
			cfg.InstanceID = name
			return w.join(cfg)
		}
		a, b := static("a"), static("b")
		w.shared(map[string]int{a.name: 2, b.name: 2})
		w.calm(1, a, b)
		w.gains()
		had := b.peek()
		b.exit()
		if n := w.groupSize(); n != 2 {
			t.Errorf("%d members while one restarts", n)
		}
		if got := w.gains(); len(got) > 0 {
			t.Errorf("tasks have moved while one restarts: %+v", got)
		}
		b = static("b")
		w.shared(map[string]int{a.name: 2, b.name: 2})
		if c.IsReal() && !slices.Equal(b.peek(), had) {
			t.Errorf("b had %v and has %v", had, b.peek())
		}
		w.calm(1, a, b)

		b.drain()
		w.shared(map[string]int{a.name: 4})
		b.exit()
		if n := w.groupSize(); n != 1 {
			t.Errorf("%d members after one has left", n)
		}
	})
}

func (w *troupe) groupSize() int {
	w.t.Helper()
	ctx, cancel := w.c.Context()
	defer cancel()
	groups, err := kadm.NewClient(w.c.Client()).DescribeGroups(ctx, group(w.app))
	if err != nil {
		w.t.Fatal(err)
	}
	return len(groups[group(w.app)].Members)
}

// older is a process of a release that knows only the plain protocol.
func (w *troupe) older(name string) (leave func()) {
	w.t.Helper()
	never := func(int32) int64 { return 0 }
	var mu sync.Mutex
	owned := make(map[int32]bool)
	lost := func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
		w.disown(name, topics[w.state]...)
		mu.Lock()
		defer mu.Unlock()
		for _, task := range topics[w.state] {
			delete(owned, task)
		}
	}
	cl := w.c.Client(
		kgo.ConsumerGroup(group(w.app)), kgo.ConsumeTopics(w.state),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.SessionTimeout(6*time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			w.own(name, never, topics[w.state]...)
			mu.Lock()
			defer mu.Unlock()
			for _, task := range topics[w.state] {
				owned[task] = true
			}
		}),
		kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost))
	cl.PauseFetchTopics(w.state)
	return func() {
		mu.Lock()
		w.disown(name, slices.Sorted(maps.Keys(owned))...)
		mu.Unlock()
		cl.Close()
	}
}

// TestRollingUpgrade: processes of the release before this one share the tasks
// with ours. Copies begin when the last of them has gone, and end when one comes
// back. No task is ever at two.
func TestRollingUpgrade(t *testing.T) {
	clusters(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 4, 1_000_000, 500_000)
		one, two := w.older("one"), w.older("two")
		w.shared(map[string]int{"one": 2, "two": 2})
		a := w.join(w.config("a"))
		w.until("a has a task", func() bool { return w.shares()[a.name] > 0 })
		if list := a.standbys(); len(list) > 0 {
			t.Errorf("copies are made of %v while an older process leads", list)
		}
		one()
		w.shared(map[string]int{a.name: 2, "two": 2})
		b := w.join(w.config("b"))
		two()
		w.shared(map[string]int{a.name: 2, b.name: 2})
		w.calm(1, a, b)

		three := w.older("three")
		w.until("the older process has a task", func() bool { return w.shares()["three"] > 0 })
		if n := len(a.standbys()) + len(b.standbys()); n > 0 {
			t.Errorf("%d copies are kept that nobody has planned", n)
		}
		three()
		w.shared(map[string]int{a.name: 2, b.name: 2})
		w.calm(1, a, b)
	})
}

// stranger speaks our protocol by name only.
type stranger struct {
	kgo.GroupBalancer
	says []byte
}

func (stranger) ProtocolName() string { return DefaultGroupProtocol + standbySuffix }
func (s stranger) JoinGroupMetadata([]string, map[string][]int32, int32) []byte {
	return slices.Clone(s.says)
}

// TestStranger: a member that says what nobody understands gets nothing, or is
// treated as one that has nothing; the others work on.
func TestStranger(t *testing.T) {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Generation = 3, -1
	meta.UserData = []byte{wireVersion, 255, 200, 1, 2, 3}
	deaf := meta.AppendTo(nil)
	for i, says := range [][]byte{{}, {0}, []byte("not a consumer"), {0, 3, 0x7f, 0xff, 0xff, 0xff}, deaf} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				w := newTroupe(t, c, 4, 100, 100)
				a := w.join(w.config("a"))
				w.shared(map[string]int{a.name: 4})
				odd := c.Client(kgo.ConsumerGroup(group(w.app)), kgo.ConsumeTopics(w.state), kgo.DisableAutoCommit(),
					kgo.Balancers(stranger{kgo.CooperativeStickyBalancer(), says}))
				w.until("the stranger is a member", func() bool { return w.groupSize() == 2 })
				b := w.join(w.config("b"))
				w.shared(map[string]int{a.name: 2, b.name: 2})
				w.calm(1, a, b)
				odd.Close()
			})
		})
	}
}

// TestNames: processes of two levels of a namespace find the protocol that they
// have in common, with copies; one that has none of the names is not let in.
func TestNames(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		w := newTroupe(t, c, 4, 1_000_000, 500_000)
		ca, cb := w.config("a"), w.config("b")
		ca.GroupProtocols = []string{"level-3", "level-2"}
		cb.GroupProtocols = []string{"level-2", "level-1"}
		a, b := w.join(ca), w.join(cb)
		w.shared(map[string]int{a.name: 2, b.name: 2})
		w.calm(1, a, b)

		cd := w.config("d")
		cd.GroupProtocols = []string{"level-1"}
		d := w.join(cd)
		time.Sleep(time.Minute)
		if d.joined() || w.groupSize() != 2 {
			t.Errorf("a process of level 1 is in the group: %v, %d members", d.joined(), w.groupSize())
		}
		w.shared(map[string]int{a.name: 2, b.name: 2})
	})
}
