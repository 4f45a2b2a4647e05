package orchestrator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// everywhere runs a test in a bubble, where time is virtual, and against the cluster of KAFKA_SEEDS.
func everywhere(t *testing.T, fn func(*testing.T, *rig)) {
	t.Run("bubble", func(t *testing.T) {
		kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) { fn(t, newRig(t, c)) })
	})
	t.Run("real", func(t *testing.T) { fn(t, newRig(t, kafkatest.Real(t))) })
}

// virtual runs a test in a bubble only: it waits too long for a real clock, or breaks things.
func virtual(t *testing.T, fn func(*testing.T, *rig)) {
	kafkatest.Bubble(t, func(t *testing.T, c *kafkatest.Cluster) { fn(t, newRig(t, c)) })
}

// rig is one namespace with at most one process and the participants of a definition.
type rig struct {
	t      *testing.T
	c      *kafkatest.Cluster
	topics protocol.Topics
	cfg    orchestrator.Config
	disk   *kafkatest.Disk
	people *participants

	o    *orchestrator.Orchestrator
	stop context.CancelFunc
	done chan error
}

func newRig(t *testing.T, c *kafkatest.Cluster) *rig {
	t.Helper()
	topics, err := protocol.NewTopics(c.Namespace())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, c: c, topics: topics, disk: kafkatest.NewDisk()}
	r.cfg = orchestrator.Config{
		Namespace: c.Namespace(), Client: c.Opts(kgo.DisableClientMetrics()), DataDir: "data", Partitions: 4, CreateTopics: true,
		Advertise: "127.0.0.1:8480", Logger: testLogger(t),
	}
	if c.IsReal() {
		r.cfg.Timing = topology.Timing{Session: 6 * time.Second, Heartbeat: 200 * time.Millisecond}
	} else {
		r.cfg.Timing = topology.Timing{Heartbeat: 10 * time.Minute, Session: 45 * time.Minute, FetchMaxWait: 10 * time.Minute,
			Offsets: -1, Topics: -1, Backoff: 10 * time.Millisecond}
	}
	r.people = &participants{t: t, c: c, answers: map[string]answerFunc{}, memory: map[string]*answer{}}
	t.Cleanup(func() {
		r.shut()
		r.people.close()
	})
	return r
}

// unhurried lets fetches, heartbeats and metadata wait for hours, so that months pass in seconds.
// A record ends the wait of a fetch, so nothing that the engine does comes later for it.
func (r *rig) unhurried() {
	const pause = 4 * time.Hour
	r.people.extra = []kgo.Opt{kgo.FetchMaxWait(pause)}
	r.cfg.Client = append(r.cfg.Client, r.people.extra...)
	r.cfg.Timing.FetchMaxWait = pause
}

func testLogger(t *testing.T) *slog.Logger {
	if os.Getenv("AMENDS_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start runs the process. It does not wait for anything.
func (r *rig) start() {
	r.t.Helper()
	cfg := r.cfg
	cfg.FS = r.disk.FS
	o, err := orchestrator.New(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.o, r.stop, r.done = o, stop, make(chan error, 1)
	go func() { r.done <- o.Run(ctx) }()
}

// shut ends the process gracefully and returns what Run returned.
func (r *rig) shut() error {
	if r.o == nil {
		return nil
	}
	r.stop()
	err := <-r.done
	r.o = nil
	return err
}

// ready waits until all partitions are owned and restored.
func (r *rig) ready() {
	r.t.Helper()
	r.until("the process is ready", 20*time.Millisecond, func() bool {
		for _, info := range r.o.Tasks() {
			if info.State == topology.TaskHalted {
				r.t.Fatalf("task %d halted: %s", info.Task, info.Reason)
			}
		}
		return r.o.Ready() == nil
	})
}

// until waits for a condition. The limit turns a hang into a failure and measures nothing.
func (r *rig) until(what string, every time.Duration, ok func() bool) {
	r.t.Helper()
	ctx, cancel := r.c.Context()
	defer cancel()
	for tries := 0; !ok(); tries++ {
		if tries == 5000 { // in a bubble the cluster's patience is a year
			r.t.Fatalf("looked %d times until %s; heard: %v; tasks: %+v", tries, what, r.people.heard(), r.tasks())
		}
		select {
		case err := <-r.done:
			r.done <- err
			r.t.Fatalf("waiting until %s: the process ended: %v", what, err)
		case <-ctx.Done():
			r.t.Fatalf("waited in vain until %s; tasks: %+v", what, r.tasks())
		case <-time.After(every):
		}
	}
}

// tasks tells what the process does, for messages.
func (r *rig) tasks() []topology.TaskInfo {
	if r.o == nil {
		return nil
	}
	return r.o.Tasks()
}

// apply publishes definitions.
func (r *rig) apply(src string) []orchestrator.Published {
	r.t.Helper()
	out, err := r.tryApply(src)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *rig) tryApply(src string) ([]orchestrator.Published, error) {
	r.t.Helper()
	defs, err := sagas.ParseDefinitions("test.yaml", []byte(src))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := r.c.Context()
	defer cancel()
	return orchestrator.Apply(ctx, r.cfg, defs)
}

// intake writes a record with the workflow ID as its key.
func (r *rig) intake(wid string, body map[string]any) {
	r.t.Helper()
	value, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	r.c.Produce(&kgo.Record{Topic: r.topics.Intake, Key: []byte(wid), Value: value})
}

func (r *rig) begin(typ, id string, input map[string]any) string {
	r.t.Helper()
	r.intake(typ+"/"+id, map[string]any{"type": typ, "id": id, "input": input})
	return typ + "/" + id
}

// get shows an instance; ok is false while there is none.
func (r *rig) get(wid string) (v sagas.View, ok bool) {
	r.t.Helper()
	v, err := r.o.Get(context.Background(), wid)
	switch {
	case err == nil:
		return v, true
	case errors.Is(err, orchestrator.ErrNotFound), errors.Is(err, orchestrator.ErrMoving):
		return v, false
	}
	r.t.Fatalf("get %s: %v", wid, err)
	return v, false
}

// ends waits for the phase of an instance.
func (r *rig) ends(wid, phase string, every time.Duration) sagas.View {
	r.t.Helper()
	var v sagas.View
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%s: %+v", wid, v)
		}
	}()
	r.until(wid+" is "+phase, every, func() bool {
		got, ok := r.get(wid)
		if ok {
			v = got
		}
		if ok && isEnd(v.Phase) && v.Phase != phase {
			r.t.Fatalf("%s is %s, want %s: %+v", wid, v.Phase, phase, v)
		}
		return ok && v.Phase == phase
	})
	return v
}

func isEnd(phase string) bool {
	return slices.Contains([]string{"completed", "compensated", "closed"}, phase)
}

// deadLetters reads what is on the dead-letter topic now.
func (r *rig) deadLetters() []deadLetter {
	r.t.Helper()
	var out []deadLetter
	for _, rec := range r.c.ReadAll(r.topics.DLQ) {
		d, err := protocol.ParseDeadLetter(headersOf(rec))
		if err != nil {
			r.t.Fatalf("dead letter %d: %v", rec.Offset, err)
		}
		out = append(out, deadLetter{rec, d})
	}
	return out
}

type deadLetter struct {
	rec *kgo.Record
	why protocol.DeadLetter
}

// lifecycle reads the facts of an instance in order.
func (r *rig) lifecycle(wid string) (facts []*protocol.Lifecycle) {
	r.t.Helper()
	for _, rec := range r.c.ReadAll(r.topics.Lifecycle) {
		if string(rec.Key) != wid {
			continue
		}
		l, err := protocol.DecodeLifecycle(rec.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		facts = append(facts, l)
	}
	return facts
}

// kinds lists the lifecycle facts of an instance in order, and checks that their numbers have no gap.
func (r *rig) kinds(wid string) []string {
	r.t.Helper()
	var kinds []string
	for _, l := range r.lifecycle(wid) {
		kinds = append(kinds, l.Kind)
		if l.Seq != uint64(len(kinds)) {
			r.t.Errorf("%s: fact %d (%s) has number %d", wid, len(kinds), l.Kind, l.Seq)
		}
	}
	return kinds
}

func headersOf(rec *kgo.Record) []protocol.Header {
	h := make([]protocol.Header, len(rec.Headers))
	for i := range rec.Headers {
		h[i] = protocol.Header(rec.Headers[i])
	}
	return h
}

// answer is what a participant says to one command.
type answer struct {
	outcome protocol.Outcome
	code    string
	output  string // JSON
	noop    bool
	value   []byte // instead of output: any bytes
	silent  bool
}

func ok(output string) *answer  { return &answer{outcome: protocol.OutcomeOK, output: output} }
func no(code string) *answer    { return &answer{outcome: protocol.OutcomeRejected, code: code} }
func retry(code string) *answer { return &answer{outcome: protocol.OutcomeFailedRetriable, code: code} }
func silence() *answer          { return &answer{silent: true} }

// answerFunc decides on one command; the first call of a key has n 1.
type answerFunc func(cmd protocol.Command, payload []byte, n int) *answer

// participants are all services of a test in one: a plain client that reads every command topic and
// answers. What was decided (ok, rejected) is remembered by key, as an inbox does.
type participants struct {
	t  *testing.T
	c  *kafkatest.Cluster
	cl *kgo.Client

	mu      sync.Mutex
	answers map[string]answerFunc // by "<participant>.<op> <command>" or "<command>"
	memory  map[string]*answer    // by key
	calls   map[string]int        // by key
	log     []string              // "<op> <command> <wid>#<attempt>"
	effects map[string]int        // decided by "<op> <command> <wid>"
	ended   chan struct{}
	// extra are client options on top of the cluster's.
	extra []kgo.Opt
}

// on says how a command is answered; op is do, undo or inquire.
func (p *participants) on(op, command string, fn answerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[op+" "+command] = fn
}

// serve answers the commands of these topics until the test ends.
func (p *participants) serve(topics ...string) {
	p.calls, p.effects, p.ended = map[string]int{}, map[string]int{}, make(chan struct{})
	cl, err := kgo.NewClient(p.c.Opts(append(p.extra,
		kgo.DisableClientMetrics(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cl = cl
	// The client sends its first fetch when it knows where the first partition begins, and what comes to
	// the others waits until that fetch ends: in a bubble, for minutes. So the first fetch waits for all.
	cl.PauseFetchTopics(topics...)
	cl.AddConsumeTopics(topics...)
	if !p.c.IsReal() {
		time.Sleep(time.Millisecond) // of virtual time: everything has come to rest
	}
	cl.ResumeFetchTopics(topics...)
	go func() {
		defer close(p.ended)
		for {
			fetches := cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(p.handle)
		}
	}()
}

func (p *participants) handle(rec *kgo.Record) {
	cmd, err := protocol.ParseCommand(headersOf(rec))
	if err != nil {
		p.t.Errorf("command on %s: %v", rec.Topic, err)
		return
	}
	a := p.decide(cmd, rec.Value)
	if a.silent {
		return
	}
	reply := protocol.Reply{Token: cmd.Token, Outcome: a.outcome, Code: a.code, Noop: a.noop}
	value := a.value
	if value == nil && a.output != "" {
		value = []byte(a.output)
	}
	out := &kgo.Record{Topic: cmd.ReplyTo, Partition: cmd.ReplyPartition, Key: []byte(cmd.WorkflowID), Value: value}
	for _, h := range reply.Headers() {
		out.Headers = append(out.Headers, kgo.RecordHeader(h))
	}
	if err := p.cl.ProduceSync(context.Background(), out).FirstErr(); err != nil && !errors.Is(err, kgo.ErrClientClosed) {
		p.t.Errorf("reply: %v", err)
	}
}

func (p *participants) decide(cmd protocol.Command, payload []byte) *answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[cmd.Key]++
	name := string(cmd.Op) + " " + cmd.Name
	p.log = append(p.log, fmt.Sprintf("%s %s#%d", name, cmd.WorkflowID, cmd.Attempt))
	if a := p.memory[cmd.Key]; a != nil && cmd.Op != protocol.OpInquire {
		return a
	}
	a := ok("{}")
	if fn := p.answers[name]; fn != nil {
		a = fn(cmd, payload, p.calls[cmd.Key])
	}
	if a.outcome == protocol.OutcomeOK || a.outcome == protocol.OutcomeRejected {
		p.memory[cmd.Key] = a
		p.effects[name+" "+cmd.WorkflowID]++
	}
	return a
}

// heard lists the commands in the order in which they came.
func (p *participants) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// sent counts the commands with this name and workflow ID.
func (p *participants) sent(name, wid string) int {
	n := 0
	for _, l := range p.heard() {
		if strings.HasPrefix(l, name+" "+wid+"#") {
			n++
		}
	}
	return n
}

func (p *participants) close() {
	if p.cl != nil {
		p.cl.Close()
		<-p.ended
	}
}

// orderSaga names its participants after the namespace, because command topics do not carry it.
func (r *rig) orderSaga() (src string, topics []string) {
	stock, psp, ship := r.c.Name("stock"), r.c.Name("psp"), r.c.Name("ship")
	src = fmt.Sprintf(`
saga: order
version: 1
deadline: 1h
participants:
  stock:
    ops: [do, undo]
    topic: cmd.%s
  psp:
    ops: [do, undo]
    topic: cmd.%s
  ship:
    ops: [do]
    topic: cmd.%s
steps:
  - id: reserve
    call: stock.reserve
    with:
      amount: '=input.amount'
    keep: [ref]
    attempt: 5s
    within: 1m
    undo:
      call: stock.release
  - id: auth
    call: psp.authorise
    with:
      ref: '=step.reserve.?ref'
    attempt: 5s
    within: 1m
    undo:
      call: psp.void
  - id: capture
    call: psp.capture
    kind: pivot
    attempt: 5s
    within: 1m
    onUnknown: attention
  - id: ship
    call: ship.create
    kind: retriable
output:
  ref: '=step.reserve.?ref'
`, stock, psp, ship)
	return src, []string{"cmd." + stock, "cmd." + psp, "cmd." + ship}
}

// running is the usual beginning: the definition, its participants, one process that is ready.
func (r *rig) running() {
	r.t.Helper()
	src, topics := r.orderSaga()
	r.apply(src)
	r.people.on("do", "reserve", func(protocol.Command, []byte, int) *answer { return ok(`{"ref":"r-1","dropped":true}`) })
	r.people.serve(topics...)
	r.start()
	r.ready()
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func filter(status, typ string, limit int) orchestrator.Filter {
	return orchestrator.Filter{Status: status, Type: typ, Limit: limit}
}
