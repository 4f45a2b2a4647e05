package bench_test

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bench"
	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/topology"
)

//go:embed testdata/nap.yaml
var nap string

var (
	timersFlag = flag.Int("timers", 0, "timers of BenchmarkParked that are due at once; 0 means a tenth of -sagas")
	memoryFlag = flag.Int64("memory", 1<<30, "memory budget of BenchmarkParked in bytes")
	loopFlag   = flag.Int("loop", 4000, "transfers in each closed loop of BenchmarkParked")
)

const (
	parkedTasks     = 4
	besideFlight    = 20
	transitionLimit = 1.5
	latencyLimit    = 2.0
	timersLimit     = time.Minute
)

// BenchmarkParked puts -sagas sleeping sagas into the stores of one process, with a timer each, and
// runs transfers beside them: what a transition costs against the same process with empty stores, what
// the process holds against its budget, and, when -timers of them are due at once, how long these take
// and what that does to the latency of the transfers.
//
// The stores are filled directly: how they get there is BenchmarkRestore. One iteration is all of it.
func BenchmarkParked(b *testing.B) {
	c := kafkatest.New(b)
	n, timers := *sagasFlag, *timersFlag
	if timers == 0 {
		timers = n / 10
	}
	debug.SetMemoryLimit(*memoryFlag / 10 * 9)
	for b.Loop() {
		empty := newParked(b, c, "empty", 0, 0)
		empty.start()
		emptyCost := empty.loop("cost")
		fmt.Printf("empty stores:            %s\n", emptyCost)
		empty.stop()

		full := newParked(b, c, "full", n, timers)
		full.start()
		fullCost := full.loop("cost")
		ratio := fullCost.cpu.Seconds() / emptyCost.cpu.Seconds()
		fmt.Printf("%9d parked sagas:  %s\n", n, fullCost)
		fmt.Printf("cost of a transition:    %.2f of that with empty stores, by processor time (limit %.1f)\n", ratio, transitionLimit)

		before := full.beside("before", func() bool { return false })
		full.jump()
		began := time.Now()
		var during []time.Duration
		for round := 0; full.fired.Load() < int64(timers); round++ {
			during = append(during, full.beside(fmt.Sprintf("during-%d", round), func() bool { return full.fired.Load() >= int64(timers) })...)
			if time.Since(began) > 10*time.Minute {
				b.Fatalf("%d of %d timers fired in 10 minutes", full.fired.Load(), timers)
			}
		}
		took := full.lastFired().Sub(began)
		slices.Sort(during)
		late := percentile(during, 99) / percentile(before, 99)
		fmt.Printf("%9d timers at once: all fired after %.1f s (limit %v), %.0f per second, %.0f in a cycle\n",
			timers, took.Seconds(), timersLimit, float64(timers)/took.Seconds(), float64(timers)/float64(max(1, full.cycles.Load())))
		fmt.Printf("others meanwhile:        p50 %.0f ms, p99 %.0f ms; before p50 %.0f ms, p99 %.0f ms; p99 ratio %.2f (limit %.1f)\n",
			percentile(during, 50), percentile(during, 99), percentile(before, 50), percentile(before, 99), late, latencyLimit)
		used, err := bench.UsageOf(os.Getpid())
		if err != nil {
			b.Log(err) // there is no /proc here
		}
		resident := used.Peak
		fmt.Printf("memory:                  RSS %d MiB at most, %d MiB now, budget %d MiB, driver and participant included\n", resident>>20, used.RSS>>20, *memoryFlag>>20)
		full.stop()

		b.ReportMetric(ratio, "cost-ratio")
		b.ReportMetric(late, "p99-ratio")
		b.ReportMetric(took.Seconds(), "timers-s")
		b.ReportMetric(float64(resident)/(1<<20), "rss-MB")
		if *limitsFlag && (ratio > transitionLimit || late > latencyLimit || took > timersLimit || resident > *memoryFlag) {
			b.Error("a limit is missed")
		}
	}
}

// parked is one namespace with its process.
type parked struct {
	b      *testing.B
	cfg    orchestrator.Config
	driver *bench.Driver
	answer *bench.Participant
	ended  chan error
	cancel context.CancelFunc

	parked bool
	ahead  atomic.Int64 // of the clock, in ns
	cycles atomic.Int64 // with timers
	fired  atomic.Int64
	last   atomic.Int64 // unix ns of the last cycle with timers
	wiped  atomic.Int64
	inputs atomic.Int64
}

func newParked(b *testing.B, c *kafkatest.Cluster, name string, n, timers int) *parked {
	p := &parked{b: b, ended: make(chan error, 1), parked: n > 0}
	ns := c.Namespace() + "-" + name
	p.cfg = orchestrator.Config{
		Namespace: ns, Brokers: c.Seeds(), DataDir: b.TempDir(),
		Partitions: parkedTasks, Tasks: parkedTasks, CreateTopics: true, Memory: *memoryFlag / 10 * 9,
		Clock:  func() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) },
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Hooks: topology.Hooks{
			Cycle: func(s topology.CycleStats) {
				p.inputs.Add(int64(s.Records + s.Timers))
				if s.Timers > 0 && p.ahead.Load() > 0 {
					p.cycles.Add(1)
					p.fired.Add(int64(s.Timers))
					p.last.Store(time.Now().UnixNano())
				}
			},
			Wiped: func(int32, string) { p.wiped.Add(1) },
		},
	}
	ctx := context.Background()
	transfer := transferOf(b, ns)
	sleeper, err := sagas.ParseDefinition("nap.yaml", []byte(nap))
	if err != nil {
		b.Fatal(err)
	}
	defs := []*sagas.Definition{transfer, sleeper}
	if _, err := orchestrator.Apply(ctx, p.cfg, defs); err != nil {
		b.Fatal(err)
	}
	topics, err := protocol.NewTopics(ns)
	if err != nil {
		b.Fatal(err)
	}
	if n > 0 {
		p.fill(c, topics, n, timers)
	}
	work, err := bench.WorkloadNamed("transfer")
	if err != nil {
		b.Fatal(err)
	}
	if p.driver, err = bench.NewDriver(c.Opts(), topics, work); err != nil {
		b.Fatal(err)
	}
	var commands []string
	for _, participant := range transfer.Participants {
		commands = append(commands, participant.Topic)
	}
	if p.answer, err = bench.NewParticipant(c.Opts(), commands); err != nil {
		b.Fatal(err)
	}
	return p
}

// fill makes the stores as they would be after a restore, and a changelog that has nothing else.
func (p *parked) fill(c *kafkatest.Cluster, topics protocol.Topics, n, timers int) {
	b, ctx, began := p.b, context.Background(), time.Now()
	cluster, id, _, err := changelog.TopicIdentity(ctx, c.Client(), topics.State)
	if err != nil {
		b.Fatal(err)
	}
	shared := statestore.NewShared(8<<20, 0)
	defer shared.Close()
	index, format := orchestrator.StoreIndex()
	var stores [parkedTasks]*statestore.Store
	var bulks [parkedTasks]*statestore.Bulk
	var muts [parkedTasks][]statestore.Mutation
	now := time.Now().UnixMilli()
	for task := range int32(parkedTasks) {
		if stores[task], err = statestore.Open(statestore.Options{
			Dir: filepath.Join(p.cfg.DataDir, fmt.Sprintf("task-%d", task)), Index: index, Shared: shared,
			Identity: statestore.Identity{Format: format, Cluster: cluster, Topic: topics.State, TopicID: id, Partition: task, Partitions: parkedTasks},
		}); err != nil {
			b.Fatal(err)
		}
		if bulks[task], err = stores[task].NewBulk(statestore.BulkOptions{Memory: 32 << 20}); err != nil {
			b.Fatal(err)
		}
		progress := changelog.Progress{Time: now, Epoch: 1, Commit: 1}
		for _, topic := range []string{topics.Control, topics.Replies, topics.Intake} {
			progress.Inputs = append(progress.Inputs, changelog.InputPosition{Topic: topic, Partition: task})
		}
		value := progress.Append(nil)
		c.ProduceTo(task, &kgo.Record{Topic: topics.State, Key: []byte(changelog.ProgressKey), Value: value})
		muts[task] = append(muts[task], statestore.Mutation{Key: []byte(changelog.ProgressKey), Value: value})
	}
	state := napStates(b)
	for i := range n {
		wid, value := state(i, i < timers)
		task := protocol.Partition([]byte(wid), parkedTasks)
		if muts[task] = append(muts[task], statestore.Mutation{Key: []byte(wid), Value: value}); len(muts[task]) == 2000 {
			if err := bulks[task].Add(muts[task]); err != nil {
				b.Fatal(err)
			}
			muts[task] = muts[task][:0]
		}
	}
	for task := range int32(parkedTasks) {
		if err := bulks[task].Add(muts[task]); err != nil {
			b.Fatal(err)
		}
		ends, err := changelog.Ends(ctx, c.Client(), topics.State, task)
		if err != nil {
			b.Fatal(err)
		}
		if err := bulks[task].Finish(statestore.Position{Next: ends.End, Time: now}); err != nil {
			b.Fatal(err)
		}
		if err := stores[task].Close(); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	debug.FreeOSMemory()
	fmt.Printf("filled:                  %d parked sagas in %.1f s, %d MiB on disk\n", n, time.Since(began).Seconds(), diskUsed(b, p.cfg.DataDir)>>20)
}

// diskUsed is the size of all files under dir.
func diskUsed(b *testing.B, dir string) (bytes int64) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

// napStates gives sleeping sagas: they wake in half an hour, or in two days.
func napStates(b *testing.B) func(i int, soon bool) (wid string, value []byte) {
	def, err := sagas.ParseDefinition("nap.yaml", []byte(nap))
	if err != nil {
		b.Fatal(err)
	}
	plan, err := sagas.Compile(def)
	if err != nil {
		b.Fatal(err)
	}
	soon := sagas.Time(time.Now().UnixMilli())
	late := sagas.Time(time.Now().Add(48 * time.Hour).UnixMilli())
	return func(i int, wakes bool) (string, []byte) {
		now := late
		if wakes {
			now = soon
		}
		wid := fmt.Sprintf("nap/order-%09d", i*7919%1_000_000_007)
		inst, _ := sagas.Step(plan, nil, sagas.Start{
			WorkflowID: wid, Type: "nap", Version: plan.Version, IssuedAt: now, Input: fmt.Appendf(nil, `{"note":"%0120d"}`, i),
		}, now)
		return wid, inst.Append(nil)
	}
}

func (p *parked) start() {
	o, err := orchestrator.New(p.cfg)
	if err != nil {
		p.b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	began := time.Now()
	go func() { p.ended <- o.Run(ctx) }()
	for o.Ready() != nil || len(o.Tasks()) < parkedTasks {
		select {
		case err := <-p.ended:
			p.b.Fatalf("the process ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if p.wiped.Load() > 0 {
		p.b.Fatal("a store was thrown away: it is not what the process makes itself")
	}
	fmt.Printf("start:                   all tasks run after %.2f s\n", time.Since(began).Seconds())
	p.run(*loopFlag/4, 100, "warm")
	p.run(*loopFlag, 500, "warm-0")
	if !p.parked && *limitsFlag { // the broker is new as well, and compiles itself while it runs
		round := 0
		rate := steady(func() float64 {
			began := time.Now()
			round++
			p.run(*loopFlag, 500, fmt.Sprintf("warm-%d", round))
			return float64(*loopFlag) / time.Since(began).Seconds()
		})
		fmt.Printf("warm:                    %.0f sagas/s\n", rate)
	}
}

// run runs transfers and returns the time that each took, sorted.
func (p *parked) run(n, inFlight int, prefix string) []time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	out, err := p.driver.Run(ctx, bench.Load{Sagas: n, InFlight: inFlight}, prefix)
	if err != nil {
		p.b.Fatal(err)
	}
	return out.Latency
}

func (p *parked) stop() {
	p.cancel()
	if err := <-p.ended; err != nil {
		p.b.Errorf("stop: %v", err)
	}
	p.driver.Close()
	if err := p.answer.Close(); err != nil {
		p.b.Error(err)
	}
}

// loopCost is what a closed loop of transfers took.
type loopCost struct {
	spent
	transfers int
	took      []time.Duration
}

func (l loopCost) String() string {
	return fmt.Sprintf("%.0f sagas/s, %.3f ms of processor time each (driver and participant included), p50 %.0f ms, p99 %.0f ms",
		l.perSecond(l.transfers), l.cpu.Seconds()*1000/float64(l.transfers), percentile(l.took, 50), percentile(l.took, 99))
}

func (p *parked) loop(name string) (l loopCost) {
	l.transfers = *loopFlag
	l.spent = measure(func() { l.took = p.run(l.transfers, 500, name) })
	return l
}

// beside runs a few transfers at a time, until done or for as many as a loop has.
func (p *parked) beside(name string, done func() bool) (took []time.Duration) {
	for i := 0; i*200 < *loopFlag/2 && !done(); i++ {
		took = append(took, p.run(200, besideFlight, fmt.Sprintf("%s-%d", name, i))...)
	}
	slices.Sort(took)
	return took
}

// jump moves the clock to where the timers are due.
func (p *parked) jump() { p.ahead.Store(int64(31 * time.Minute)) }

func (p *parked) lastFired() time.Time { return time.Unix(0, p.last.Load()) }

func percentile(sorted []time.Duration, at float64) float64 { return ms(bench.Percentile(sorted, at)) }
