package topology

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/internal/kafkatest"
)

// courier numbers the parcels of each key and delivers them to the topic that the record names, in
// order and once; what a topic does not take waits.
type courier struct{ r *rig }

type parcels struct {
	N    int              `json:"n"`
	Held map[string][]int `json:"held,omitempty"`
}

func (p *courier) Decode(rec *Record) (any, []byte) { return string(rec.Value), rec.Key }

func (p *courier) Process(c *Cycle, rec *Record, msg any) error {
	s, err := p.load(c, rec.Key)
	if err != nil {
		return err
	}
	s.N++
	s.Held[msg.(string)] = append(s.Held[msg.(string)], s.N)
	return p.deliver(c, rec.Key, s)
}

func (p *courier) load(c *Cycle, key []byte) (s parcels, err error) {
	b, found, err := c.Get(key)
	if err == nil && found {
		err = json.Unmarshal(b, &s)
	}
	if s.Held == nil {
		s.Held = map[string][]int{}
	}
	return s, err
}

func (p *courier) deliver(c *Cycle, key []byte, s parcels) error {
	var topics []string
	for topic := range s.Held {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	for _, topic := range topics {
		for len(s.Held[topic]) > 0 {
			if !c.May(topic, false) {
				if err := c.Wait(topic, key); err != nil {
					return err
				}
				break
			}
			c.Emit(&Record{Topic: topic, Partition: ByKey, Key: key, Value: strconv.AppendInt(nil, int64(s.Held[topic][0]), 10)})
			s.Held[topic] = s.Held[topic][1:]
		}
		if len(s.Held[topic]) == 0 {
			delete(s.Held, topic)
		}
	}
	b, err := json.Marshal(s)
	c.Put(key, b)
	return err
}

func (p *courier) Release(c *Cycle, _ string, key []byte) error {
	s, err := p.load(c, key)
	if err != nil {
		return err
	}
	return p.deliver(c, key, s)
}

func (p *courier) Timer(*Cycle, []byte) error { return errors.New("there are no timers") }

func (p *courier) Poison(c *Cycle, rec *Record, key []byte, err error) {
	c.Emit(&Record{Topic: p.r.dlq, Partition: 0, Key: key, Headers: []Header{{Key: "cause", Value: []byte(err.Error())}}})
}

// post is a rig whose processor is a courier.
type post struct {
	*rig
	good, bad string
	mu        sync.Mutex
	want      map[string]map[string]int // parcels by topic and key
	seen      []DestinationInfo
}

func newPost(t *testing.T, c *kafkatest.Cluster, tasks int32) *post {
	r := newRig(t, c, tasks, tasks)
	p := &post{rig: r, good: c.Name("good"), bad: c.Name("bad"), want: map[string]map[string]int{}}
	c.CreateTopic(p.good, 2, nil)
	c.CreateTopic(p.bad, 2, nil)
	return p
}

func (p *post) config(name string, disk *kafkatest.Disk) Config {
	cfg := p.rig.config(name, disk)
	cfg.Index = nil
	cfg.Processor = func(int32) Processor { return &courier{p.rig} }
	cfg.Hooks.Destination = func(info DestinationInfo) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = append(p.seen, info)
	}
	return cfg
}

// send has n parcels of each of keys k0… go to topic.
func (p *post) send(topic string, n, keys int) {
	p.t.Helper()
	var list []*kgo.Record
	for range n {
		for k := range keys {
			key := fmt.Sprintf("k%d", k)
			if p.want[topic] == nil {
				p.want[topic] = map[string]int{}
			}
			p.want[topic][key]++
			list = append(list, &kgo.Record{Topic: p.in, Key: []byte(key), Value: []byte(topic)})
		}
	}
	p.c.Produce(list...)
}

func (p *post) total(topic string) (n int) {
	for _, k := range p.want[topic] {
		n += k
	}
	return n
}

// delivered waits for every parcel of topic and proves that each is there once and in order.
func (p *post) delivered(topic string) {
	p.t.Helper()
	want := p.total(topic)
	p.c.Consume(topic, want)
	last, got := map[string]int{}, map[string]int{}
	for _, rec := range p.c.ReadAll(topic) {
		n, err := strconv.Atoi(string(rec.Value))
		if err != nil || n <= last[string(rec.Key)] {
			p.t.Fatalf("%s: parcel %q of %s after %d", topic, rec.Value, rec.Key, last[string(rec.Key)])
		}
		last[string(rec.Key)] = n
		got[string(rec.Key)]++
	}
	for key, n := range p.want[topic] {
		if got[key] != n {
			p.t.Fatalf("%s: %d parcels of %s, want %d", topic, got[key], key, n)
		}
	}
}

// states lists the states that the breaker of topic went through.
func (p *post) states(topic string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, info := range p.seen {
		if s := info.State.String(); info.Topic == topic && (len(out) == 0 || out[len(out)-1] != s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

// refuse has the in-process cluster refuse every produce to topic until the returned function is called.
func refuse(c *kafkatest.Cluster, topic string, err *kerr.Error) (heal func()) {
	fault := c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: err, Count: -1})
	return fault.Remove
}

// TestDestinationRefuses: a topic that refuses holds back what is for it and nothing else; what waited
// goes out by itself, in order and once, also over a restart with an empty disk.
func TestDestinationRefuses(t *testing.T) {
	for _, err := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.TopicAuthorizationFailed, kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition} {
		t.Run(err.Message, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				p := newPost(t, c, 2)
				disk := kafkatest.NewDisk()
				a := p.start(p.config("a", disk), disk).ready(2)
				p.send(p.good, 2, 5)
				p.send(p.bad, 2, 5)
				p.delivered(p.good)
				p.delivered(p.bad)

				heal := refuse(c, p.bad, err)
				p.send(p.good, 3, 5)
				p.send(p.bad, 3, 5)
				p.send(p.good, 3, 5)
				p.delivered(p.good)
				p.until("five keys wait", func() bool {
					list := a.Destinations()
					return len(list) == 1 && list[0].Topic == p.bad && list[0].State == DestinationOpen && list[0].Waiting == 5 && list[0].Reason != ""
				})
				if len(c.ReadAll(p.bad)) != 10 {
					t.Error("a record came to the topic that refuses")
				}
				a.end()
				empty := kafkatest.NewDisk()
				a = p.start(p.config("a", empty), empty).ready(2)
				p.send(p.bad, 2, 5)
				p.send(p.good, 2, 5)
				p.delivered(p.good)
				heal()
				p.delivered(p.bad)
				p.until("nobody waits", func() bool { return len(a.Destinations()) == 0 })
				if got := p.states(p.bad); !strings.HasSuffix(got, "open half-open closed") {
					t.Errorf("breaker went %s", got)
				}
				if dead := c.ReadAll(p.dlq); len(dead) > 0 {
					t.Errorf("dead letter: %s", dead[0].Headers[0].Value)
				}
				p.rebuilt(a, p.config)
			})
		})
	}
}

// TestProbeFails: the breaker stays open while probes fail, and a topic that refuses once more opens it again.
func TestProbeFails(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		p := newPost(t, c, 1)
		disk := kafkatest.NewDisk()
		a := p.start(p.config("a", disk), disk).ready(1)
		heal := refuse(c, p.bad, kerr.NotEnoughReplicas)
		p.send(p.bad, 1, 3)
		p.until("some probes have failed", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.seen) > 4
		})
		if got := p.states(p.bad); got != "open" {
			t.Errorf("breaker went %s", got)
		}
		heal()
		p.delivered(p.bad)
		heal = refuse(c, p.bad, kerr.NotEnoughReplicas)
		p.send(p.bad, 1, 3)
		p.send(p.good, 1, 3)
		p.delivered(p.good)
		heal()
		p.delivered(p.bad)
		p.until("it is closed again", func() bool { return strings.HasSuffix(p.states(p.bad), "closed") })
		a.end()
	})
}

// TestDestinationStalls: a topic that does not answer at all is told from a cluster that does not.
func TestDestinationStalls(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		p := newPost(t, c, 1)
		disk := kafkatest.NewDisk()
		var classes list
		cfg := p.config("a", disk)
		cfg.Hooks.Aborted = func(_ int32, class string, _ error) { classes.add(class) }
		a := p.start(cfg, disk).ready(1)
		p.send(p.good, 1, 3)
		p.delivered(p.good)

		// Everything refuses: no breaker opens for it.
		all := c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1,
			When: func(req kmsg.Request) bool { return req.(*kmsg.ProduceRequest).TransactionID != nil }})
		p.send(p.bad, 1, 3)
		p.until("a commit fails", func() bool { return classes.len() > 0 })
		if classes.has("destination") || p.states(p.bad) != "" {
			t.Errorf("the cluster was taken for a topic: %v", classes.all)
		}
		all.Remove()
		p.delivered(p.bad)
		a.end()
	})
}

// TestCrashWithWaiting kills the process at each failpoint while parcels wait, before and while they
// are let go: each is delivered once.
func TestCrashWithWaiting(t *testing.T) {
	for _, point := range Failpoints {
		if slices.Contains([]string{FailDecode, FailLoad, FailAdvance, FailStage}, point) {
			continue // the courier does not name them
		}
		t.Run(point, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
				p := newPost(t, c, 2)
				disk := kafkatest.NewDisk()
				for round, percent := range []int{0, 50, 100} {
					heal := refuse(c, p.bad, kerr.NotEnoughReplicas)
					hits, crashed := new(atomic.Int32), new(atomic.Pointer[kafkatest.Disk])
					cfg := p.config("a", disk)
					cfg.Limits.CycleRecords = 7
					cfg.Failpoint = func(name string, _ int32) error {
						after := int32(4)
						if name == FailTakeover || name == FailRestore || name == FailRestored {
							after = 3 // the one after the breaker opened
						}
						if name != point || hits.Add(1) != after {
							return nil
						}
						crashed.Store(disk.Crash(percent, uint64(round)))
						return ErrCrash
					}
					w := p.start(cfg, disk)
					p.send(p.good, 3, 6)
					p.send(p.bad, 3, 6)
					p.send(p.good, 3, 6)
					<-w.done
					if !errors.Is(w.err, ErrCrash) {
						t.Fatalf("worker ended with %v", w.err)
					}
					disk = crashed.Load()
					cfg = p.config("a", disk)
					w = p.start(cfg, disk).ready(2)
					p.delivered(p.good)
					heal()
					p.delivered(p.bad)
					p.until("nobody waits", func() bool { return len(w.Destinations()) == 0 })
					if percent == 100 {
						p.rebuilt(w, p.config)
					} else {
						w.end()
					}
				}
			})
		})
	}
}

// TestRate: a topic gets no more than its rate, keys that wait go before those that come, and all arrive.
func TestRate(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		p := newPost(t, c, 1)
		disk := kafkatest.NewDisk()
		cfg := p.config("a", disk)
		cfg.Destinations.Topics = map[string]Lane{p.bad: {Rate: 5, Burst: 2}}
		a := p.start(cfg, disk).ready(1)
		began := time.Now()
		p.send(p.bad, 1, 42)
		p.send(p.good, 1, 42)
		p.delivered(p.good)
		p.delivered(p.bad)
		// Virtual time: the burst, and then five a second.
		if took := time.Since(began); took < 8*time.Second {
			t.Errorf("42 records at 5/s and a burst of 2 took %v", took)
		}
		if got := p.states(p.bad); got != "" {
			t.Errorf("breaker went %s", got)
		}
		a.end()
	})
}

// TestSuspectsGoAlone: once a topic has refused a size, another record of that size costs one dropped
// transaction at most, and no halving of batches.
func TestSuspectsGoAlone(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) {
		p := newPost(t, c, 1)
		small := c.CreateTopic(c.Name("small"), 1, nil)
		refuse(c, small, kerr.MessageTooLarge)
		disk := kafkatest.NewDisk()
		var classes list
		cfg := p.config("a", disk)
		cfg.Processor = func(int32) Processor { return &large{courier{p.rig}, small} }
		cfg.Hooks.Aborted = func(_ int32, class string, _ error) { classes.add(class) }
		a := p.start(cfg, disk).ready(1)
		const each = 20
		var recs []*kgo.Record
		for i := range 5 * each {
			value := p.good
			if i%5 == 0 {
				value = "large"
			} else {
				if p.want[p.good] == nil {
					p.want[p.good] = map[string]int{}
				}
				p.want[p.good][fmt.Sprintf("k%d", i%7)]++
			}
			recs = append(recs, &kgo.Record{Topic: p.in, Key: fmt.Appendf(nil, "k%d", i%7), Value: []byte(value)})
		}
		c.Produce(recs...)
		p.delivered(p.good)
		dead := c.Consume(p.dlq, each)
		for _, rec := range dead {
			if !bytes.Contains(rec.Headers[0].Value, []byte(ErrTooLarge.Error())) {
				t.Fatalf("dead letter says %s", rec.Headers[0].Value)
			}
		}
		// The first one is looked for by halving; the others go alone.
		if n := classes.len(); n < each || n > each+9 {
			t.Errorf("%d transactions were dropped for %d records: %v", n, each, classes.all)
		}
		a.end()
	})
}

// large is a courier that sends too much when it is told to.
type large struct {
	courier
	topic string
}

func (p *large) Process(c *Cycle, rec *Record, msg any) error {
	if msg.(string) == "large" {
		c.Emit(&Record{Topic: p.topic, Partition: ByKey, Key: rec.Key, Value: bytes.Repeat([]byte("x"), 3000)})
		return nil
	}
	return p.courier.Process(c, rec, msg)
}

// rebuilt compares the stores of w with those of a worker that has nothing but the changelog.
func (p *post) rebuilt(w *process, config func(string, *kafkatest.Disk) Config) {
	p.t.Helper()
	want := w.dump()
	w.end()
	empty := kafkatest.NewDisk()
	fresh := p.start(config("a", empty), empty).ready(int(p.tasks))
	if got := fresh.dump(); got != want {
		p.t.Fatalf("store and changelog differ\nstore:\n%s\nchangelog:\n%s", want, got)
	}
	fresh.end()
}

// TestBreaker walks a breaker through its picture.
func TestBreaker(t *testing.T) {
	cfg := (&Config{App: "own."}).withDefaults()
	cfg.Destinations.HalfOpen = 2
	d := newDestinations(&cfg, &hooks{})
	d.wake = func() {}
	d.spawn = func(func(stop <-chan struct{})) {}
	out := []*kgo.Record{{Topic: "cmd"}}
	if !d.admit("cmd", false) || d.flows("cmd") != 0 {
		t.Fatal("a topic that nobody complained about is closed")
	}
	d.trip([]laneFault{{topic: "cmd", reason: errStalled, sample: out}})
	if d.admit("cmd", false) || d.flows("cmd") != never || !d.isOpen("cmd") {
		t.Fatal("an open breaker lets records through")
	}
	if !d.admit("other", false) || !d.admit("own.cmd", false) {
		t.Fatal("an open breaker holds other topics back")
	}
	d.passed(out)
	if !d.isOpen("cmd") {
		t.Fatal("a commit that was under way closes an open breaker")
	}
	d.mu.Lock()
	x := d.mu.by["cmd"]
	x.left = 2
	d.enterLocked(x, DestinationHalfOpen)
	d.mu.Unlock()
	first, second, third := d.admit("cmd", false), d.admit("cmd", false), d.admit("cmd", false)
	if !first || !second || third {
		t.Fatal("half-open lets exactly HalfOpen records through")
	}
	d.passed(out)
	if !d.admit("cmd", false) || len(d.list()) != 0 || d.shut.Load() != 0 {
		t.Fatal("a commit does not close the breaker")
	}
}

// TestRetryBudget: repetitions are a share of first records, and a few in any case.
func TestRetryBudget(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, _ *kafkatest.Cluster) { // for its clock
		cfg := (&Config{App: "own."}).withDefaults()
		cfg.Destinations.All = Lane{Retries: 0.5, RetriesMin: 1}
		d := newDestinations(&cfg, &hooks{})
		count := func() (n int) {
			for d.admit("cmd", true) {
				n++
			}
			return n
		}
		if n := count(); n != 10 {
			t.Fatalf("%d repetitions at once, want ten seconds' worth", n)
		}
		for range 6 {
			if !d.admit("cmd", false) {
				t.Fatal("the budget of repetitions holds first records back")
			}
		}
		if n := count(); n != 3 {
			t.Fatalf("%d repetitions after 6 first records, want 3", n)
		}
		time.Sleep(2 * time.Second)
		if n := count(); n != 2 {
			t.Fatalf("%d repetitions after 2 s, want 2", n)
		}
	})
}
