package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amendsio/amends/bench"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

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
	work, err := bench.WorkloadNamed("transfer")
	if err != nil {
		b.Fatal(err)
	}
	def, err := work.Definition(ns)
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
	var commands []string
	for _, p := range def.Participants {
		commands = append(commands, p.Topic)
	}
	participant, err := bench.NewParticipant(c.Opts(), commands)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := participant.Close(); err != nil {
			b.Error(err)
		}
	}()
	topics, _ := protocol.NewTopics(ns)
	driver, err := bench.NewDriver(c.Opts(), topics, work)
	if err != nil {
		b.Fatal(err)
	}
	defer driver.Close()
	patience, stop := context.WithTimeout(ctx, 10*time.Minute)
	defer stop()
	drive := func(n int, prefix string) bench.Outcome {
		out, err := driver.Run(patience, bench.Load{Sagas: n, InFlight: parallel}, prefix)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	drive(2*parallel, "warm") // connections, code paths, caches
	cycles.Store(0)
	inputs.Store(0)
	runtime.GC()

	b.ResetTimer()
	out := drive(b.N, "run")
	seconds := out.Took.Seconds()
	b.StopTimer()

	b.ReportMetric(float64(b.N)/seconds, "sagas/s")
	b.ReportMetric(float64(inputs.Load())/float64(max(1, cycles.Load())), "transitions/txn")
	b.ReportMetric(float64(cycles.Load())/seconds, "txn/s")
	b.ReportMetric(ms(bench.Percentile(out.Latency, 50)), "p50-ms")
	b.ReportMetric(ms(bench.Percentile(out.Latency, 99)), "p99-ms")
	used, err := bench.UsageOf(os.Getpid())
	if err != nil {
		b.Log(err) // there is no /proc here
	}
	b.ReportMetric(float64(used.RSS)/(1<<20), "rss-MB")
	b.ReportMetric(float64(sockets()), "sockets")
	b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
	cancel()
	if err := <-ended; err != nil {
		b.Errorf("stop: %v", err)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

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
