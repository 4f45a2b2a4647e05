package bench_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/bench"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

var (
	isolationPhase = flag.Duration("isolation.phase", 3*time.Second, "BenchmarkIsolation: length of a phase")
	isolationBlock = flag.Duration("isolation.block", 3*time.Second, "BenchmarkIsolation: how long the destination is blocked")
	isolationFlap  = flag.Duration("isolation.flap", 10*time.Second, "BenchmarkIsolation: period of the member that comes and goes")
	isolationOnly  = flag.String("isolation.only", "", "BenchmarkIsolation: the phases to run, by name, with commas between; all of them by default")
	isolationCheck = flag.Bool("isolation.check", false, "BenchmarkIsolation: fail when a limit is not kept; for a quiet machine")
)

// side is a saga of a participant of its own, started at a constant rate beside the transfers.
const side = `
saga: side
version: 1
deadline: 1h
participants:
  side:
    ops: [do]
    topic: cmd.$NS-side
steps:
  - id: ask
    call: side.ask
    kind: readonly
`

const (
	isolationInFlight = 200
	sideRate          = 50 // per second
)

// BenchmarkIsolation measures what the trouble of some costs the others, as ratios within one run: a
// closed loop of transfers, and beside it, at a constant rate, sagas of a participant of their own.
//
//	baseline   nothing is wrong
//	blocked    the topic of that participant takes nothing; then it does again, and all its sagas end
//	poison     a tenth of the starts cannot be read
//	hot key    half of the records are for one workflow ID
//	flapping   a second process joins for half of each period, and leaves again
//
// Limits: blocked keeps 90 % of the throughput and 1.5 times the p99; poison 80 % and flapping 50 % of the
// throughput. Each is compared with the mean of the baselines before and after it.
func BenchmarkIsolation(b *testing.B) {
	for range b.N {
		isolation(b)
	}
}

func isolation(b *testing.B) {
	c := kafkatest.New(b)
	ns := strings.ReplaceAll(c.Namespace(), "_", "-")
	work, err := bench.WorkloadNamed("transfer")
	if err != nil {
		b.Fatal(err)
	}
	def, err := work.Definition(ns)
	if err != nil {
		b.Fatal(err)
	}
	defs, err := sagas.ParseDefinitions("side.yaml", []byte(strings.ReplaceAll(side, "$NS", ns)))
	if err != nil {
		b.Fatal(err)
	}
	defs = append(defs, def)
	base := orchestrator.Config{
		Namespace: ns, Brokers: c.Seeds(), Partitions: 4, CreateTopics: true,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := orchestrator.Apply(ctx, base, defs); err != nil {
		b.Fatal(err)
	}
	var aborted atomic.Int64
	member := func(dir string) (o *orchestrator.Orchestrator, stop func()) {
		cfg := base
		cfg.DataDir = dir
		cfg.Hooks = topology.Hooks{Aborted: func(int32, string, error) { aborted.Add(1) }}
		o, err := orchestrator.New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		return o, func() {
			cancel()
			if err := <-ended; err != nil {
				b.Errorf("stop: %v", err)
			}
		}
	}
	o, stop := member(b.TempDir())
	defer stop()
	for o.Ready() != nil || len(o.Tasks()) < 4 {
		time.Sleep(20 * time.Millisecond)
	}
	sideTopic := "cmd." + ns + "-side"
	serve := func(topics ...string) (end func()) {
		p, err := bench.NewParticipant(c.Opts(), topics)
		if err != nil {
			b.Fatal(err)
		}
		return func() {
			if err := p.Close(); err != nil {
				b.Logf("participant of %v: %v", topics, err)
			}
		}
	}
	defer serve("cmd."+ns+"-bank", "cmd."+ns+"-mail")()
	endSide := serve(sideTopic)
	defer func() { endSide() }()

	topics, _ := protocol.NewTopics(ns)
	l := newLoop(ctx, b, c, topics)
	defer l.close()
	l.warm()

	only := strings.FieldsFunc(*isolationOnly, func(r rune) bool { return r == ',' })
	run := func(name string, d time.Duration, least, slowest float64, trouble func() (over func())) {
		if len(only) > 0 && !slices.Contains(only, name) {
			return
		}
		before := l.measure(*isolationPhase)
		aborts := aborted.Load()
		over := trouble()
		during := l.measure(d)
		over()
		aborts = aborted.Load() - aborts
		after := l.measure(*isolationPhase)
		rate := during.rate / ((before.rate + after.rate) / 2)
		p99 := during.p99 / ((before.p99 + after.p99) / 2)
		fmt.Printf("%-9s %6.0f sagas/s, p99 %5.0f ms (before %.0f, %.0f ms; after %.0f, %.0f ms): throughput %.2f, p99 %.2f, %d dropped transactions\n",
			name, during.rate, during.p99, before.rate, before.p99, after.rate, after.p99, rate, p99, aborts)
		b.ReportMetric(rate, strings.ReplaceAll(name, " ", "-")+"-throughput")
		b.ReportMetric(p99, strings.ReplaceAll(name, " ", "-")+"-p99")
		if *isolationCheck && (rate < least || slowest > 0 && p99 > slowest) {
			b.Errorf("%s: throughput %.2f, want at least %.2f; p99 %.2f, want at most %.2f (0 = any)", name, rate, least, p99, slowest)
		}
	}

	run("nothing", *isolationPhase, 0, 0, func() func() { return func() {} })
	run("blocked", *isolationBlock, 0.9, 1.5, func() func() {
		heal := block(b, c, sideTopic)
		return func() {
			held := l.open.Load()
			heal()
			endSide() // a consumer does not follow a topic that was made anew
			endSide = serve(sideTopic)
			began := time.Now()
			for len(o.Destinations()) > 0 {
				time.Sleep(20 * time.Millisecond)
				if time.Since(began) > 2*time.Minute {
					b.Fatalf("what waited does not go on: %+v", o.Destinations())
				}
			}
			fmt.Printf("          %d sagas were open when the topic came back; all had gone on %v later\n", held, time.Since(began).Round(10*time.Millisecond))
		}
	})
	run("poison", *isolationPhase, 0.8, 0, func() func() { l.poison.Store(true); return func() { l.poison.Store(false) } })
	run("hot key", *isolationPhase, 0, 0, func() func() { l.hot.Store(true); return func() { l.hot.Store(false) } })
	run("flapping", max(*isolationPhase, 2**isolationFlap), 0.5, 0, func() func() {
		quit, done := make(chan struct{}), make(chan struct{})
		dir := b.TempDir()
		go func() {
			defer close(done)
			for {
				_, leave := member(dir)
				out := wait(quit, *isolationFlap/2)
				leave()
				if out || wait(quit, *isolationFlap/2) {
					return
				}
			}
		}()
		return func() { close(quit); <-done }
	})
	began := time.Now()
	l.drain()
	fmt.Printf("all %d transfers and all sagas beside them have ended, the last %v after the load\n", l.next, time.Since(began).Round(10*time.Millisecond))
}

// wait waits for d and reports whether quit came first.
func wait(quit <-chan struct{}, d time.Duration) bool {
	select {
	case <-quit:
		return true
	case <-time.After(d):
		return false
	}
}

// block makes a topic take nothing until heal is called. The embedded broker refuses; from a real one
// the topic is deleted.
func block(b *testing.B, c *kafkatest.Cluster, topic string) (heal func()) {
	if !c.IsReal() {
		fault := c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.NotEnoughReplicas, Count: -1})
		return fault.Remove
	}
	if _, err := c.Admin().DeleteTopic(context.Background(), topic); err != nil {
		b.Fatal(err)
	}
	return func() { c.CreateTopic(topic, 4, nil) }
}

// loop drives transfers in a closed loop and side sagas at a constant rate.
type loop struct {
	b       *testing.B
	client  *kgo.Client
	topics  protocol.Topics
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	poison  atomic.Bool
	hot     atomic.Bool
	open    atomic.Int64 // side sagas that have not ended

	mu     sync.Mutex
	begun  map[string]time.Time
	ended  []time.Duration // transfers, since the last look
	next   int
	paused bool
}

type measured struct{ rate, p99 float64 }

func newLoop(ctx context.Context, b *testing.B, c *kafkatest.Cluster, topics protocol.Topics) *loop {
	l := &loop{b: b, topics: topics, begun: make(map[string]time.Time), client: c.Client(
		kgo.ConsumeTopics(topics.Lifecycle),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ProducerLinger(0),
	)}
	l.ctx, l.cancel = context.WithCancel(ctx)
	l.workers.Go(l.read)
	l.workers.Go(l.beside)
	for range isolationInFlight {
		l.start()
	}
	return l
}

func (l *loop) close() {
	l.cancel()
	l.workers.Wait()
}

// start begins the next transfer, and with it what the phase asks for.
func (l *loop) start() {
	l.mu.Lock()
	if l.paused {
		l.mu.Unlock()
		return
	}
	l.next++
	n := l.next
	wid := fmt.Sprintf("transfer/t-%d", n)
	l.begun[wid] = time.Now()
	l.mu.Unlock()
	if l.poison.Load() && n%10 == 0 {
		l.produce(fmt.Sprintf("poison-%d", n), []byte(`{"type":`))
	}
	if l.hot.Load() {
		for range 4 { // a transfer is four records
			l.produce("transfer/hot", []byte(`{"type":"transfer","id":"hot","input":{"from":"DE-1","to":"DE-2","amount":1,"note":""}}`))
		}
	}
	l.produce(wid, fmt.Appendf(nil, `{"type":"transfer","id":"t-%d","input":{"from":"DE-1","to":"DE-2","amount":1500,"note":"%0120d"}}`, n, n))
}

func (l *loop) produce(key string, value []byte) {
	l.client.Produce(l.ctx, &kgo.Record{Topic: l.topics.Intake, Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) {
		if err != nil && l.ctx.Err() == nil {
			l.b.Errorf("start: %v", err)
		}
	})
}

// beside starts the sagas of the other participant.
func (l *loop) beside() {
	tick := time.NewTicker(time.Second / sideRate)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		paused := l.paused
		l.mu.Unlock()
		if paused {
			continue
		}
		l.open.Add(1)
		l.produce(fmt.Sprintf("side/%d", n), fmt.Appendf(nil, `{"type":"side","id":"%d","input":{}}`, n))
	}
}

// read sees sagas complete.
func (l *loop) read() {
	for l.ctx.Err() == nil {
		fetches := l.client.PollFetches(l.ctx)
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			if !slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool {
				return h.Key == protocol.HeaderKind && string(h.Value) == string(sagas.KindCompleted)
			}) {
				return
			}
			wid := string(r.Key)
			if strings.HasPrefix(wid, "side/") {
				l.open.Add(-1)
				return
			}
			l.mu.Lock()
			at, mine := l.begun[wid]
			if mine {
				delete(l.begun, wid)
				l.ended = append(l.ended, now.Sub(at))
			}
			l.mu.Unlock()
			if mine {
				l.start()
			}
		})
	}
}

// warm waits until the load has come to its speed: connections, code paths, caches, and a broker that compiles
// itself while it runs.
func (l *loop) warm() {
	began := time.Now()
	for len(l.took()) < 5*isolationInFlight {
		if time.Since(began) > 2*time.Minute {
			l.b.Fatalf("%d transfers ended within two minutes", len(l.took()))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !*isolationCheck {
		return
	}
	rate := steady(func() float64 { return l.measure(5 * time.Second).rate })
	fmt.Printf("warm after %v, at %.0f sagas/s\n", time.Since(began).Round(time.Second), rate)
}

// steady measures until it has not become faster three times in a row, at most 24 times, and returns the
// best.
func steady(rate func() float64) (best float64) {
	for i, still := 0, 0; i < 24 && still < 3; i++ {
		if now := rate(); now > best*1.05 {
			best, still = now, 0
		} else {
			still++
		}
	}
	return best
}

// took is how long the transfers took that ended since the last look.
func (l *loop) took() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ended)
}

// measure looks at the transfers that end within d.
func (l *loop) measure(d time.Duration) measured {
	l.mu.Lock()
	l.ended = nil
	l.mu.Unlock()
	began := time.Now()
	time.Sleep(d)
	took := l.took()
	slices.Sort(took)
	if len(took) == 0 {
		l.b.Fatalf("no transfer ended within %v", d)
	}
	return measured{rate: float64(len(took)) / time.Since(began).Seconds(), p99: ms(bench.Percentile(took, 99))}
}

// drain waits for every saga to end: what was held, lost or slow must not be missing.
func (l *loop) drain() {
	l.mu.Lock()
	l.paused = true
	l.mu.Unlock()
	began := time.Now()
	for {
		l.mu.Lock()
		transfers := len(l.begun)
		l.mu.Unlock()
		if transfers == 0 && l.open.Load() == 0 {
			return
		}
		if time.Since(began) > 3*time.Minute {
			l.b.Fatalf("%d transfers and %d side sagas have not ended", transfers, l.open.Load())
		}
		time.Sleep(50 * time.Millisecond)
	}
}
