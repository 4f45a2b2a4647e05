package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Options says what Run does.
type Options struct {
	Brokers   []string
	Namespace string // must not exist; its topics are deleted at the end
	Workload  *Workload
	Load      Load
	Warm      int // sagas before the measured ones
	Tasks     int // of the namespace
	Processes int // of the engine
	// Ceiling runs the loop written by hand as well, tuned, before the engine.
	Ceiling bool
	// Binary is the program whose commands run and bench-ceiling are started as processes.
	Binary string
	// EngineArgs are further flags of run.
	EngineArgs []string
	Dir        string // for the stores; removed at the end
	Log        io.Writer
}

// Run measures. Every process that it starts has ended when it returns.
func Run(ctx context.Context, o Options) (*Report, error) {
	topics, err := protocol.NewTopics(o.Namespace)
	if err != nil {
		return nil, err
	}
	def, err := o.Workload.Definition(o.Namespace)
	if err != nil {
		return nil, err
	}
	cfg := orchestrator.Config{Namespace: o.Namespace, Brokers: o.Brokers, Partitions: int32(o.Tasks), Tasks: int32(o.Tasks), CreateTopics: true, DataDir: o.Dir}
	if _, err := orchestrator.Apply(ctx, cfg, []*sagas.Definition{def}); err != nil {
		return nil, err
	}
	r := &run{o: o, topics: topics, opts: []kgo.Opt{kgo.SeedBrokers(o.Brokers...)}}
	defer r.clean()
	for _, p := range def.Participants {
		r.commands = append(r.commands, p.Topic)
	}
	slices.Sort(r.commands)
	participant, err := NewParticipant(r.opts, r.commands)
	if err != nil {
		return nil, err
	}
	report, err := r.all(ctx)
	return report, errors.Join(err, participant.Close())
}

// run is one invocation.
type run struct {
	o        Options
	topics   protocol.Topics
	opts     []kgo.Opt
	commands []string
	number   int // of the next load
}

func (r *run) all(ctx context.Context) (*Report, error) {
	report := &Report{}
	if r.o.Ceiling {
		best, err := r.tune(ctx)
		if err != nil {
			return nil, err
		}
		res, err := r.ceiling(ctx, best, r.o.Load, r.o.Warm)
		if err != nil {
			return nil, err
		}
		report.Ceiling = res
	}
	res, err := r.engine(ctx)
	if err != nil {
		return nil, err
	}
	report.Engine = *res
	if c := report.Ceiling; c != nil {
		if r.o.Load.Rate == 0 {
			report.Ratio = res.PerSecond / c.PerSecond
		}
		report.LatencyRatio = res.P50 / c.P50
	}
	return report, nil
}

// setting is one way to run the loop.
type setting struct {
	lanes  int
	gather time.Duration
}

// tune tries the loop with several lanes and waits on a part of the load and returns the best: the most
// sagas/s, or the least p50 when the rate is given.
func (r *run) tune(ctx context.Context) (setting, error) {
	part := r.o.Load
	part.Sagas = max(part.Sagas/4, min(part.Sagas, 200))
	var best setting
	var score float64
	for _, lanes := range slices.Compact([]int{1, min(2, r.o.Tasks), r.o.Tasks}) {
		for _, gather := range []time.Duration{0, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond} {
			s := setting{lanes: lanes, gather: gather}
			res, err := r.ceiling(ctx, s, part, min(r.o.Warm, 2*max(part.InFlight, 50)))
			if err != nil {
				return best, err
			}
			fmt.Fprintf(r.o.Log, "tuning the ceiling: %s: %.0f sagas/s, p50 %.1f ms\n", res.What, res.PerSecond, res.P50)
			now := res.PerSecond
			if part.Rate > 0 {
				now = 1 / res.P50
			}
			if now > score {
				best, score = s, now
			}
		}
	}
	return best, nil
}

// ceiling measures the loop.
func (r *run) ceiling(ctx context.Context, s setting, l Load, warm int) (*Result, error) {
	child, err := r.start(ctx, "ceiling", "bench-ceiling", "--brokers", strings.Join(r.o.Brokers, ","), "--namespace", r.o.Namespace,
		"--lanes", strconv.Itoa(s.lanes), "--gather", s.gather.String(), "--partitions", strconv.Itoa(r.o.Tasks))
	if err != nil {
		return nil, err
	}
	defer child.stop()
	if err := child.await(ctx, "ready"); err != nil {
		return nil, err
	}
	res, err := r.measure(ctx, []*process{child}, l, warm)
	if err != nil {
		return nil, err
	}
	res.What = fmt.Sprintf("ceiling, %d lanes, gather %s", s.lanes, s.gather)
	return res, nil
}

// engine measures amends itself.
func (r *run) engine(ctx context.Context) (*Result, error) {
	var children []*process
	defer func() {
		for _, c := range children {
			c.stop()
		}
	}()
	var addresses []string
	for i := range r.o.Processes {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
		args := append([]string{"run", "--brokers", strings.Join(r.o.Brokers, ","), "--namespace", r.o.Namespace, "--listen", address,
			"--data-dir", filepath.Join(r.o.Dir, "node-"+strconv.Itoa(i)), "--log-level", "warn"}, r.o.EngineArgs...)
		child, err := r.start(ctx, "engine", args...)
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
	for i, address := range addresses {
		if err := children[i].answers(ctx, "http://"+address+"/readyz"); err != nil {
			return nil, err
		}
	}
	res, err := r.measure(ctx, children, r.o.Load, r.o.Warm, addresses...)
	if err != nil {
		return nil, err
	}
	res.What = fmt.Sprintf("engine, %d tasks, %d processes", r.o.Tasks, r.o.Processes)
	return res, nil
}

// measure drives one load and takes what everything used for it.
func (r *run) measure(ctx context.Context, server []*process, l Load, warm int, metrics ...string) (*Result, error) {
	driver, err := NewDriver(r.opts, r.topics, r.o.Workload)
	if err != nil {
		return nil, err
	}
	defer driver.Close()
	adm := kadm.NewClient(driver.client)
	r.number++
	prefix := fmt.Sprintf("r%d", r.number)
	if warm > 0 {
		w := l
		w.Sagas = warm
		if w.Rate > 0 {
			w.Rate, w.InFlight = 0, 20
		}
		if _, err := driver.Run(ctx, w, prefix+"w"); err != nil {
			return nil, died(server, err)
		}
	}
	brokers := Listeners(r.o.Brokers)
	groups := map[string][]int{"load": {os.Getpid()}, "broker": brokers}
	for _, p := range server {
		groups["engine"] = append(groups["engine"], p.cmd.Process.Pid)
	}
	before, err := usageOf(groups)
	if err != nil {
		return nil, err
	}
	grown, err := r.grown(ctx, adm)
	if err != nil {
		return nil, err
	}
	committed := transactions(ctx, metrics)
	out, err := driver.Run(ctx, l, prefix)
	if err != nil {
		return nil, died(server, err)
	}
	after, err := usageOf(groups)
	if err != nil {
		return nil, err
	}
	now, err := r.grown(ctx, adm)
	if err != nil {
		return nil, err
	}
	n := float64(l.Sagas)
	res := &Result{CPU: map[string]float64{}, Peak: map[string]int64{}, Broker: &Traffic{
		Records: float64(now.records-grown.records) / n, Bytes: float64(now.bytes-grown.bytes) / n,
		Transactions: (transactions(ctx, metrics) - committed) / n,
	}}
	res.fill(r.o.Workload, l, out)
	for name := range groups {
		ms := float64((after[name].CPU - before[name].CPU).Microseconds()) / 1000 / n
		res.CPU[name], res.Peak[name] = ms, after[name].Peak
		res.CPUAll += ms
	}
	return res, nil
}

func usageOf(groups map[string][]int) (map[string]Usage, error) {
	out := map[string]Usage{}
	for name, pids := range groups {
		var sum Usage
		for _, pid := range pids {
			u, err := UsageOf(pid)
			if err != nil {
				return nil, err
			}
			sum.CPU, sum.RSS, sum.Peak = sum.CPU+u.CPU, sum.RSS+u.RSS, max(sum.Peak, u.Peak)
		}
		out[name] = sum
	}
	return out, nil
}

type size struct{ records, bytes int64 }

// grown is what the topics of the run hold: offsets used, transaction markers included, and bytes on disk.
func (r *run) grown(ctx context.Context, adm *kadm.Client) (s size, err error) {
	names := append([]string{r.topics.Intake, r.topics.Replies, r.topics.Control, r.topics.Lifecycle, r.topics.State, r.topics.DLQ}, r.commands...)
	ends, err := adm.ListEndOffsets(ctx, names...)
	if err != nil {
		return s, err
	}
	ends.Each(func(o kadm.ListedOffset) { s.records += o.Offset })
	parts := kadm.TopicsSet{}
	ends.Each(func(o kadm.ListedOffset) { parts.Add(o.Topic, o.Partition) })
	dirs, err := adm.DescribeAllLogDirs(ctx, parts)
	if err != nil {
		return s, err
	}
	replicas := int64(max(1, len(dirs)))
	dirs.Each(func(d kadm.DescribedLogDir) { s.bytes += d.Size() })
	s.bytes /= replicas
	return s, nil
}

// transactions is the sum of what the processes say that they have committed.
func transactions(ctx context.Context, addresses []string) (sum float64) {
	for _, a := range addresses {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a+"/metrics", nil)
		if err != nil {
			continue
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if name, value, _ := strings.Cut(lines.Text(), " "); strings.HasPrefix(name, "amends_transactions_total{") && strings.Contains(name, `"committed"`) {
				n, _ := strconv.ParseFloat(value, 64)
				sum += n
			}
		}
		resp.Body.Close()
	}
	return sum
}

func (r *run) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(r.opts...)
	if err != nil {
		return
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	names := append([]string{r.topics.Intake, r.topics.Replies, r.topics.Control, r.topics.Lifecycle, r.topics.State, r.topics.Defs, r.topics.Members, r.topics.DLQ}, r.commands...)
	_, _ = adm.DeleteTopics(ctx, names...) // what is left over is named after the run
	_ = os.RemoveAll(r.o.Dir)
}

// process is a child.
type process struct {
	name  string
	cmd   *exec.Cmd
	lines chan string
	ended chan struct{}
}

func (r *run) start(ctx context.Context, name string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(r.o.Binary, args...), lines: make(chan string, 16), ended: make(chan struct{})}
	p.cmd.Stderr = r.o.Log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the terminal is for us alone
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			select {
			case p.lines <- s.Text():
			default:
			}
		}
		_ = p.cmd.Wait() // how it ended is seen by who waits for it
	}()
	return p, ctx.Err()
}

const patience = 60 * time.Second

func (p *process) await(ctx context.Context, line string) error {
	timeout := time.After(patience)
	for {
		select {
		case got := <-p.lines:
			if got == line {
				return nil
			}
		case <-p.ended:
			return fmt.Errorf("the %s ended: %s", p.name, p.cmd.ProcessState)
		case <-timeout:
			return fmt.Errorf("the %s did not say %q in %s", p.name, line, patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *process) answers(ctx context.Context, url string) error {
	timeout := time.After(patience)
	for {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-p.ended:
			return fmt.Errorf("the %s ended: %s", p.name, p.cmd.ProcessState)
		case <-timeout:
			return fmt.Errorf("%s was not ready in %s", url, patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// died prefers the end of a process to what followed from it.
func died(ps []*process, err error) error {
	for _, p := range ps {
		select {
		case <-p.ended:
			return fmt.Errorf("the %s ended: %s: %w", p.name, p.cmd.ProcessState, err)
		default:
		}
	}
	return err
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
