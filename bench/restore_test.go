package bench_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bench"
	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

var (
	sagasFlag = flag.Int("sagas", 100_000, "live sagas of BenchmarkRestore, parked ones of BenchmarkParked")
	// On a busy machine or at a small scale the limits say nothing.
	limitsFlag = flag.Bool("limits", false, "fail when a limit is missed")
)

const (
	restoreTasks     = 4
	restoreLimit     = 150_000 // records per second of processor time
	restartLimit     = 15 * time.Second
	recordsPerCommit = 2000
)

// BenchmarkRestore writes the states of -sagas live transfers to the changelog of a namespace, in
// transactions as tasks do. Then it reads them, in one run: with a plain read-committed consumer that
// throws them away; by restoring the stores of one process from nothing; and with two real processes
// (amends run) that are killed at once, which start again with their disks, and without.
//
// One iteration is all of it: use -benchtime 1x.
func BenchmarkRestore(b *testing.B) {
	c := kafkatest.New(b)
	def := transferOf(b, c.Namespace())
	n := *sagasFlag
	for b.Loop() {
		cfg := orchestrator.Config{
			Namespace: c.Namespace(), Brokers: c.Seeds(), DataDir: b.TempDir(),
			Partitions: restoreTasks, Tasks: restoreTasks, CreateTopics: true,
		}
		ctx := context.Background()
		if _, err := orchestrator.Apply(ctx, cfg, []*sagas.Definition{def}); err != nil {
			b.Fatal(err)
		}
		topics, err := protocol.NewTopics(cfg.Namespace)
		if err != nil {
			b.Fatal(err)
		}
		bytes := writeStates(b, c, topics, def, n)
		fmt.Printf("restore: %d live sagas, %d bytes each, %d tasks, %d processors\n", n, bytes/int64(n), restoreTasks, runtime.GOMAXPROCS(0))

		plain := measure(func() { consumeAll(b, c, topics.State, n+restoreTasks) })
		fmt.Printf("plain consumer, read committed: %s\n", plain.rates(n))
		restored := measure(func() { restoreOnce(b, cfg) })
		fmt.Printf("restore from nothing:           %s\n", restored.rates(n))
		fmt.Printf("ratio: %.2f by the clock, %.2f by processor time; limit %d records/s of processor time\n",
			restored.perSecond(n)/plain.perSecond(n), restored.perCPU(n)/plain.perCPU(n), restoreLimit)
		b.ReportMetric(restored.perSecond(n), "records/s")
		b.ReportMetric(restored.perCPU(n), "records/cpu-s")
		b.ReportMetric(restored.perCPU(n)/plain.perCPU(n), "ratio")
		if *limitsFlag && restored.perCPU(n) < restoreLimit {
			b.Errorf("%.0f records per second of processor time, wanted %d", restored.perCPU(n), restoreLimit)
		}
		if c.IsReal() {
			killAll(b, c, cfg)
		} else {
			fmt.Println("killed at once: left out, real processes need a real Kafka (make bench-restore)")
		}
	}
}

// transferOf is the transfer with the command topics of a namespace.
func transferOf(b *testing.B, ns string) *sagas.Definition {
	work, err := bench.WorkloadNamed("transfer")
	if err != nil {
		b.Fatal(err)
	}
	def, err := work.Definition(ns)
	if err != nil {
		b.Fatal(err)
	}
	return def
}

// spent is what some work took.
type spent struct{ wall, cpu time.Duration }

func measure(fn func()) spent {
	runtime.GC()
	began, cpu := time.Now(), processorTime()
	fn()
	return spent{time.Since(began), processorTime() - cpu}
}

func (s spent) perSecond(n int) float64 { return float64(n) / s.wall.Seconds() }
func (s spent) perCPU(n int) float64    { return float64(n) / s.cpu.Seconds() }
func (s spent) rates(n int) string {
	return fmt.Sprintf("%.0f records/s, %.0f per second of processor time (%.1f s, %.1f s)", s.perSecond(n), s.perCPU(n), s.wall.Seconds(), s.cpu.Seconds())
}

// processorTime is that of this process, which holds the embedded broker as well when there is one.
func processorTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// newStates gives the state record of the i-th live transfer: its first command is sent, and its timer
// is a day away.
func newStates(tb testing.TB, def *sagas.Definition) func(i int) (wid string, value []byte) {
	plan, err := sagas.Compile(def)
	if err != nil {
		tb.Fatal(err)
	}
	now := sagas.Time(time.Now().Add(24 * time.Hour).UnixMilli())
	return func(i int) (string, []byte) {
		wid := fmt.Sprintf("%s/order-%09d", plan.Type, i*7919%1_000_000_007)
		inst, _ := sagas.Step(plan, nil, sagas.Start{
			WorkflowID: wid, Type: plan.Type, Version: plan.Version, IssuedAt: now,
			Input: fmt.Appendf(nil, `{"amount":1500,"from":"DE-%09d","note":"%0120d","to":"DE-2"}`, i, i),
		}, now)
		return wid, inst.Append(nil)
	}
}

// writeStates fills the changelog as tasks would, in transactions of one task each.
func writeStates(b *testing.B, c *kafkatest.Cluster, topics protocol.Topics, def *sagas.Definition, n int) (bytes int64) {
	state := newStates(b, def)
	cl := c.Client(
		kgo.TransactionalID(c.Name("filler")), kgo.TransactionTimeout(time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.MaxBufferedRecords(2*recordsPerCommit*restoreTasks),
	)
	ctx := context.Background()
	commit := func(records []*kgo.Record) {
		if err := cl.BeginTransaction(); err != nil {
			b.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
			b.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, kgo.TryCommit); err != nil {
			b.Fatal(err)
		}
	}
	var records []*kgo.Record
	for i := range n {
		wid, value := state(i)
		bytes += int64(len(value))
		task := protocol.Partition([]byte(wid), restoreTasks)
		records = append(records, &kgo.Record{Topic: topics.State, Partition: task, Key: []byte(wid), Value: value})
		if len(records) == recordsPerCommit {
			commit(records)
			records = records[:0]
		}
	}
	now := time.Now().UnixMilli()
	for task := range int32(restoreTasks) {
		p := changelog.Progress{Time: now, Epoch: 1, Commit: 1}
		for _, topic := range []string{topics.Control, topics.Replies, topics.Intake} {
			p.Inputs = append(p.Inputs, changelog.InputPosition{Topic: topic, Partition: task})
		}
		records = append(records, &kgo.Record{Topic: topics.State, Partition: task, Key: []byte(changelog.ProgressKey), Value: p.Append(nil)})
	}
	commit(records)
	return bytes
}

// consumeAll reads a topic as a plain consumer does, and only counts.
func consumeAll(b *testing.B, c *kafkatest.Cluster, topic string, n int) {
	cl, err := kgo.NewClient(c.Opts(
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)...)
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for got := 0; got < n; {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			b.Fatalf("%d of %d records: %v", got, n, err)
		}
		got += fetches.NumRecords()
	}
}

// restoreOnce runs one process with an empty directory until all tasks run.
func restoreOnce(b *testing.B, cfg orchestrator.Config) {
	var mu sync.Mutex
	var first time.Time
	var last time.Time
	records := int64(0)
	cfg.Hooks = topology.Hooks{Restored: func(_ int32, n int64, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if began := now.Add(-took); first.IsZero() || began.Before(first) {
			first = began
		}
		last, records = now, records+n
	}}
	o, err := orchestrator.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- o.Run(ctx) }()
	for o.Ready() != nil || len(o.Tasks()) < restoreTasks {
		select {
		case err := <-ended:
			b.Fatalf("the process ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	mu.Lock()
	fmt.Printf("  of that: %.2f s until the first restore began, %.2f s of restoring %d records\n",
		first.Sub(began).Seconds(), last.Sub(first).Seconds(), records)
	mu.Unlock()
	cancel()
	if err := <-ended; err != nil {
		b.Errorf("stop: %v", err)
	}
}

// killAll runs two processes, kills both at once, and looks how long they take until all tasks run
// again: with their stores, and without.
func killAll(b *testing.B, c *kafkatest.Cluster, cfg orchestrator.Config) {
	dir := b.TempDir()
	binary := filepath.Join(dir, "amends")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/amends").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	var nodes []*node
	for i := range 2 {
		name := fmt.Sprintf("n%d", i+1)
		listen := freeAddress(b)
		nodes = append(nodes, &node{b: b, name: name, listen: listen, dir: filepath.Join(dir, name), log: filepath.Join(dir, name+".log"), args: []string{
			binary, "run", "--brokers", strings.Join(c.Seeds(), ","), "--namespace", cfg.Namespace,
			"--data-dir", filepath.Join(dir, name), "--listen", listen, "--instance", name,
		}})
	}
	defer func() {
		for _, p := range nodes {
			p.kill()
		}
	}()
	full := func() time.Duration {
		began := time.Now()
		for _, p := range nodes {
			p.start()
		}
		for deadline := began.Add(10 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			running := 0
			for _, p := range nodes {
				running += p.running()
			}
			if running == restoreTasks {
				return time.Since(began)
			}
			if time.Now().After(deadline) {
				b.Fatalf("%d of %d tasks run after 10 minutes", running, restoreTasks)
			}
		}
	}
	kill := func() {
		for _, p := range nodes {
			p.signal()
		}
		for _, p := range nodes {
			p.kill()
		}
	}
	fmt.Printf("two processes, first start:      all %d tasks run after %.1f s\n", restoreTasks, full().Seconds())
	time.Sleep(2 * time.Second)
	kill()
	local := full()
	fmt.Printf("killed at once, with their disks: all tasks run after %.1f s (limit %v)\n", local.Seconds(), restartLimit)
	kill()
	for _, p := range nodes {
		if err := os.RemoveAll(p.dir); err != nil {
			b.Fatal(err)
		}
	}
	fmt.Printf("killed at once, disks deleted:    all tasks run after %.1f s\n", full().Seconds())
	b.ReportMetric(local.Seconds(), "restart-s")
	if *limitsFlag && local > restartLimit {
		b.Errorf("full service after %v, wanted %v", local, restartLimit)
	}
}

// node is one amends run.
type node struct {
	b                      *testing.B
	name, listen, dir, log string
	args                   []string
	cmd                    *exec.Cmd
}

func (p *node) start() {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		p.b.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.b.Fatal(err)
	}
}

func (p *node) signal() { _ = p.cmd.Process.Kill() }

func (p *node) kill() {
	if p.cmd != nil {
		p.signal()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// running is how many tasks run in the process, by its metrics.
func (p *node) running() int {
	resp, err := http.Get("http://" + p.listen + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	n := 0
	for lines := bufio.NewScanner(io.LimitReader(resp.Body, 8<<20)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), `amends_task_state{state="running"} `); ok {
			n, _ = strconv.Atoi(value)
		}
	}
	return n
}

func freeAddress(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
