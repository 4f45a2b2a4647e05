package bench

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

//go:embed transfer.yaml
var transfer string

// inFlight is how many sagas the closed loop keeps running.
const inFlight = 1000

// BenchmarkTasks runs transfers (debit, credit, notify) in a closed loop through one process that owns
// all tasks of a namespace. One iteration is one saga. It reports sagas/s, the latency from the start
// record to the completed fact, transitions (input records) per transaction, and what the process
// holds: memory, connections, goroutines.
//
// The number of tasks is the question: each costs two transactional clients.
func BenchmarkTasks(b *testing.B) {
	for _, tasks := range []int32{4, 8, 64, 256} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) { benchmarkTasks(b, tasks, inFlight) })
	}
}

// BenchmarkIdle runs one saga at a time: the latency that nobody's batching hides.
func BenchmarkIdle(b *testing.B) { benchmarkTasks(b, 12, 1) }

func benchmarkTasks(b *testing.B, tasks int32, parallel int) {
	c := kafkatest.New(b)
	ns := strings.ReplaceAll(c.Namespace()+"-"+fmt.Sprint(tasks), "_", "-")
	source := strings.NewReplacer("bank", c.Name("bank"), "mail", c.Name("mail")).Replace(transfer)
	def, err := sagas.ParseDefinition("transfer.yaml", []byte(source))
	if err != nil {
		b.Fatal(err)
	}
	var cycles, inputs atomic.Int64
	cfg := orchestrator.Config{
		Namespace:    ns,
		Brokers:      c.Seeds(),
		DataDir:      b.TempDir(),
		Partitions:   tasks,
		CreateTopics: true,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Hooks: topology.Hooks{Cycle: func(s topology.CycleStats) {
			cycles.Add(1)
			inputs.Add(int64(s.Records + s.Timers))
		}},
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := orchestrator.Apply(ctx, cfg, []*sagas.Definition{def}); err != nil {
		b.Fatal(err)
	}
	o, err := orchestrator.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	for o.Ready() != nil || len(o.Tasks()) < int(tasks) {
		select {
		case err := <-ended:
			b.Fatalf("the process ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	defer answerAtOnce(b, c, protocol.CommandTopic(c.Name("bank")), protocol.CommandTopic(c.Name("mail")))()

	topics, _ := protocol.NewTopics(ns)
	d := newDriver(b, c, topics)
	d.run(b, 2*parallel, parallel, "warm") // connections, code paths, caches
	cycles.Store(0)
	inputs.Store(0)
	runtime.GC()

	b.ResetTimer()
	began := time.Now()
	took := d.run(b, b.N, parallel, "run")
	seconds := time.Since(began).Seconds()
	b.StopTimer()

	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(b.N)/seconds, "sagas/s")
	b.ReportMetric(float64(inputs.Load())/float64(max(1, cycles.Load())), "transitions/txn")
	b.ReportMetric(float64(cycles.Load())/seconds, "txn/s")
	b.ReportMetric(percentile(took, 50), "p50-ms")
	b.ReportMetric(percentile(took, 99), "p99-ms")
	b.ReportMetric(float64(residentBytes())/(1<<20), "rss-MB")
	b.ReportMetric(float64(sockets()), "sockets")
	b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
	cancel()
	if err := <-ended; err != nil {
		b.Errorf("stop: %v", err)
	}
}

// driver starts sagas and sees them complete, as a producer and a reader of the lifecycle topic.
type driver struct {
	client *kgo.Client
	topics protocol.Topics
}

func newDriver(b *testing.B, c *kafkatest.Cluster, topics protocol.Topics) *driver {
	return &driver{topics: topics, client: c.Client(
		kgo.ConsumeTopics(topics.Lifecycle),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ProducerLinger(0),
	)}
}

// run drives n sagas, at most parallel at a time, and returns the time that each took, sorted.
func (d *driver) run(b *testing.B, n, parallel int, name string) []time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	begun := make(map[string]time.Time, parallel)
	took := make([]time.Duration, 0, n)
	started := 0
	start := func() {
		if started == n {
			return
		}
		id := fmt.Sprintf("%s-%d", name, started)
		started++
		wid := "transfer/" + id
		value := fmt.Appendf(nil, `{"type":"transfer","id":%q,"input":{"from":"DE-1","to":"DE-2","amount":1500,"note":"%0120d"}}`, id, started)
		begun[wid] = time.Now()
		d.client.Produce(ctx, &kgo.Record{Topic: d.topics.Intake, Key: []byte(wid), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Errorf("start: %v", err)
				cancel()
			}
		})
	}
	for range min(parallel, n) {
		start()
	}
	for len(took) < n {
		fetches := d.client.PollFetches(ctx)
		if ctx.Err() != nil {
			b.Fatalf("%d of %d sagas ended", len(took), n)
		}
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			wid := string(r.Key)
			at, mine := begun[wid]
			if !mine || !isKind(r, sagas.KindCompleted) {
				return
			}
			delete(begun, wid)
			took = append(took, now.Sub(at))
			start()
		})
	}
	slices.Sort(took)
	return took
}

func isKind(r *kgo.Record, kind sagas.Kind) bool {
	for _, h := range r.Headers {
		if h.Key == protocol.HeaderKind {
			return string(h.Value) == string(kind)
		}
	}
	return false
}

func percentile(sorted []time.Duration, p int) float64 {
	return float64(sorted[min(len(sorted)-1, len(sorted)*p/100)].Microseconds()) / 1000
}

// residentBytes is the resident set of this process; 0 where the system does not tell.
func residentBytes() (n int64) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// sockets counts the open connections of this process, the embedded broker's side included.
func sockets() (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
