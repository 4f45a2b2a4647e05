package topology

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/statestore"
)

// counter is the processor of these tests. It counts the records of each key
// and emits every new count. The value of a record may ask for more:
//
//	fail, panic       Process returns an error, panics
//	big               emits an output that Kafka refuses
//	lost              emits to a topic that does not exist
//	timer <ms>        the key gets a timer at that time; when it fires it
//	                  counts as well
//	stuck <ms>        a timer that does nothing when it fires
type counter struct {
	r    *rig
	gate <-chan struct{} // when set, Process waits for a token
}

// count is the state of a key.
type count struct {
	due   int64
	n     int64
	stuck bool
}

func (c count) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.due))
	b = binary.BigEndian.AppendUint64(b, uint64(c.n))
	if c.stuck {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeCount(b []byte) count {
	return count{
		due: int64(binary.BigEndian.Uint64(b)), n: int64(binary.BigEndian.Uint64(b[8:])), stuck: b[16] == 1,
	}
}

func indexCount(_, value []byte) statestore.Entry {
	c := decodeCount(value)
	return statestore.Entry{Due: c.due, Attrs: []string{"odd/" + strconv.FormatInt(c.n%2, 10)}}
}

func (p *counter) Decode(rec *Record) (any, []byte) {
	return strings.Fields(string(rec.Value)), rec.Key
}

func (p *counter) Process(c *Cycle, rec *Record, msg any) error {
	if p.gate != nil {
		<-p.gate
	}
	for _, point := range []string{FailDecode, FailLoad, FailAdvance} {
		if err := c.Failpoint(point); err != nil {
			return err
		}
	}
	words := msg.([]string)
	if err := p.add(c, rec.Key, words); err != nil {
		return err
	}
	switch words[0] {
	case "fail":
		return errors.New("asked to fail")
	case "panic":
		panic("asked to panic")
	case "big":
		c.Emit(&Record{Topic: p.r.out, Partition: ByKey, Key: rec.Key, Value: bytes.Repeat([]byte("x"), 2<<20)})
	case "lost":
		c.Emit(&Record{Topic: p.r.c.Name("nowhere"), Partition: ByKey, Key: rec.Key})
	}
	return c.Failpoint(FailStage)
}

func (p *counter) add(c *Cycle, key []byte, words []string) error {
	state := count{}
	if b, found, err := c.Get(key); err != nil {
		return err
	} else if found {
		state = decodeCount(b)
	}
	state.n++
	if len(words) == 2 {
		at, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return err
		}
		state.due, state.stuck = at, words[0] == "stuck"
	}
	c.Put(key, state.encode())
	c.Emit(&Record{Topic: p.r.out, Partition: ByKey, Key: key, Value: strconv.AppendInt(nil, state.n, 10)})
	return nil
}

func (p *counter) Timer(c *Cycle, key []byte) error {
	b, _, err := c.Get(key)
	if err != nil {
		return err
	}
	state := decodeCount(b)
	if state.stuck {
		return nil
	}
	state.n, state.due = state.n+1, 0
	c.Put(key, state.encode())
	c.Emit(&Record{Topic: p.r.out, Partition: ByKey, Key: key, Value: strconv.AppendInt(nil, state.n, 10)})
	return nil
}

func (p *counter) Poison(c *Cycle, rec *Record, key []byte, err error) {
	dead := &Record{Topic: p.r.dlq, Partition: ByKey, Key: key, Headers: []Header{{Key: "cause", Value: []byte(err.Error())}}}
	if rec != nil {
		dead.Value = rec.Value
	} else if key != nil {
		c.Delete(key)
	}
	if bytes.HasPrefix(dead.Value, []byte("fail twice")) {
		panic("cannot be set aside")
	}
	c.Emit(dead)
}

// Wake emits what the test put into the rig.
func (p *counter) Wake(c *Cycle) error {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.r.mu.wake != "" {
		c.Emit(&Record{Topic: p.r.out, Partition: 0, Key: []byte("wake"), Value: []byte(p.r.mu.wake)})
	}
	return nil
}

// rig is one application on one cluster.
type rig struct {
	t *testing.T
	c *kafkatest.Cluster

	app, in, out, dlq, state string
	partitions, tasks        int32
	sent                     map[string]int // records per key, by send
	fired                    map[string]int // and timers

	mu struct {
		sync.Mutex
		wake string
	}
}

func newRig(t *testing.T, c *kafkatest.Cluster, partitions, tasks int32) *rig {
	ns := c.Namespace() + ".saga."
	r := &rig{
		t: t, c: c, app: ns, in: ns + "in", out: ns + "out", dlq: ns + "dlq", state: ns + "state",
		partitions: partitions, tasks: tasks, sent: make(map[string]int), fired: make(map[string]int),
	}
	c.CreateTopic(r.in, partitions, nil)
	c.CreateTopic(r.out, partitions, nil)
	c.CreateTopic(r.dlq, 1, nil)
	c.CreateTopic(r.state, tasks, kafkatest.Compacted())
	return r
}

// clusters runs fn in a bubble, and on loopback or, when KAFKA_SEEDS is set, on
// a real cluster.
func clusters(t *testing.T, fn func(t *testing.T, c *kafkatest.Cluster)) {
	t.Run("bubble", func(t *testing.T) { kafkatest.Bubble(t, fn) })
	t.Run("cluster", func(t *testing.T) { fn(t, kafkatest.New(t)) })
}

// config is what a worker of the rig starts from.
func (r *rig) config(name string, disk *kafkatest.Disk) Config {
	cfg := Config{
		App: r.app, Inputs: []string{r.in}, Changelog: r.state, Index: indexCount,
		Processor: func(int32) Processor { return &counter{r: r} },
		DataDir:   "/" + name, FS: disk.FS, Client: r.c.Opts(),
		Advertise: name + ":7000", InstanceID: name, CacheBytes: 1 << 20,
		Logger: slog.New(slog.NewTextHandler(logTo(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("worker", name),
	}
	cfg.Timing.Session = 6 * time.Second
	cfg.Timing.Heartbeat = 200 * time.Millisecond
	cfg.Timing.Backoff = 10 * time.Millisecond
	if !r.c.IsReal() && r.c.Kfake() != nil {
		cfg.Timing.FetchMaxWait = 10 * time.Minute
	}
	return cfg
}

// logTo is where workers log: nowhere, unless TOPOLOGY_LOG is set.
func logTo() io.Writer {
	if os.Getenv("TOPOLOGY_LOG") != "" {
		return os.Stderr
	}
	return io.Discard
}

// process is a worker under test.
type process struct {
	*Worker
	r    *rig
	disk *kafkatest.Disk
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// start runs a worker. The test ends it, or the cleanup does.
func (r *rig) start(cfg Config, disk *kafkatest.Disk) *process {
	r.t.Helper()
	w, err := New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{Worker: w, r: r, disk: disk, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = w.Run(ctx)
	}()
	r.t.Cleanup(func() {
		cancel()
		<-p.done
	})
	return p
}

// end stops the worker gracefully.
func (p *process) end() {
	p.r.t.Helper()
	p.stop()
	<-p.done
	if p.err != nil {
		p.r.t.Fatalf("worker ended with %v", p.err)
	}
}

// until waits for a condition that only the worker can bring about.
func (r *rig) until(what string, met func() bool) {
	r.t.Helper()
	ctx, cancel := r.c.Context()
	defer cancel()
	for wait := time.Millisecond; !met(); wait = min(2*wait, 100*time.Millisecond) {
		if !sleep(ctx, wait) {
			r.t.Fatalf("never happened: %s", what)
		}
	}
}

// ready waits until the worker runs n tasks.
func (p *process) ready(n int) *process {
	p.r.t.Helper()
	p.r.until(fmt.Sprintf("%s runs %d tasks", p.cfg.Advertise, n), func() bool {
		running := 0
		for _, info := range p.Tasks() {
			if info.State == TaskRunning {
				running++
			}
		}
		return running == n && p.Ready() == nil
	})
	return p
}

// send produces records with that value for keys k0..k<keys-1>, n for each.
func (r *rig) send(n, keys int, value string) {
	r.t.Helper()
	var list []*kgo.Record
	for range n {
		for k := range keys {
			key := fmt.Sprintf("k%d", k)
			r.sent[key]++
			list = append(list, &kgo.Record{Topic: r.in, Key: []byte(key), Value: []byte(value)})
		}
	}
	r.c.Produce(list...)
}

// check waits for all outputs and proves exactly once: each key's outputs are
// 1, 2, 3… in order, once each, up to the number of its inputs and timers, and
// the stores hold the same numbers.
func (r *rig) check(ps ...*process) {
	r.t.Helper()
	want := 0
	for key := range r.sent {
		want += r.sent[key] + r.fired[key]
	}
	r.c.Consume(r.out, want)
	got := make(map[string]int)
	for _, rec := range r.c.ReadAll(r.out) {
		key := string(rec.Key)
		got[key]++
		if string(rec.Value) != strconv.Itoa(got[key]) {
			r.t.Fatalf("output %d of %s says %s", got[key], key, rec.Value)
		}
	}
	for key := range r.sent {
		if n := r.sent[key] + r.fired[key]; got[key] != n {
			r.t.Fatalf("%s has %d outputs, want %d", key, got[key], n)
		}
	}
	if len(ps) == 0 {
		return
	}
	for key := range r.sent {
		n := int64(r.sent[key] + r.fired[key])
		r.until(fmt.Sprintf("a store holds %s = %d", key, n), func() bool {
			for _, p := range ps {
				if view, ok := p.View(p.TaskOf([]byte(key))); ok {
					value, found, err := view.Get([]byte(key))
					return err == nil && found && decodeCount(value).n == n
				}
			}
			return false
		})
	}
}

// dump lists everything in the stores of p, derived entries included.
func (p *process) dump() string {
	p.r.t.Helper()
	var b strings.Builder
	for _, info := range p.Tasks() {
		view, ok := p.View(info.Task)
		if !ok {
			p.r.t.Fatalf("task %d does not run: %v %s", info.Task, info.State, info.Reason)
		}
		fmt.Fprintf(&b, "task %d\n", info.Task)
		if err := view.Dump(func(kind byte, key, value []byte) {
			fmt.Fprintf(&b, "%c %q %x\n", kind, key, value)
		}); err != nil {
			p.r.t.Fatal(err)
		}
	}
	return b.String()
}

// rebuilt compares the stores of p with those of a worker that has nothing but
// the changelog. It ends p.
func (r *rig) rebuilt(p *process) {
	r.t.Helper()
	want := p.dump()
	name := p.cfg.InstanceID
	p.end()
	empty := kafkatest.NewDisk()
	fresh := r.start(r.config(name, empty), empty).ready(int(r.tasks))
	if got := fresh.dump(); got != want {
		r.t.Fatalf("store and changelog differ\nstore:\n%s\nchangelog:\n%s", want, got)
	}
	fresh.end()
}
