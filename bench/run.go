package bench

import (
	"bufio"
	"cmp"
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
	// Ceiling runs the loop written by hand as well, tuned unless Lanes is set, in turn with the engine.
	Ceiling bool
	Lanes   int           // of the loop; 0 tries several settings
	Gather  time.Duration // of the loop, when Lanes is set
	// Rounds is how often the load is measured, 0 is once: engine and loop in turn, so that a broker that
	// is still being compiled favours neither. Of each the median counts.
	Rounds int
	// Rates are further loads after the measured one, each an open loop of so many starts a second for
	// RateFor: the curve of the report.
	Rates   []float64
	RateFor time.Duration
	// Binary is the program whose commands run and bench-ceiling are started as processes.
	Binary string
	// EngineArgs are further flags of run.
	EngineArgs []string
	Dir        string // for the stores; removed at the end
	Log        io.Writer
}

// Run measures. Every process that it starts has ended when it returns.
func Run(ctx context.Context, o Options) (*Report, error) {
	r := &run{o: o, opts: []kgo.Opt{kgo.SeedBrokers(o.Brokers...)}}
	defer r.clean()
	var err error
	if r.engineSpace, err = r.space(ctx, o.Namespace); err != nil {
		return nil, err
	}
	commands := r.engineSpace.commands
	if o.Ceiling {
		// A namespace of its own: an engine would go on with what the loop has left.
		if r.loopSpace, err = r.space(ctx, o.Namespace+"-loop"); err != nil {
			return nil, err
		}
		commands = slices.Concat(commands, r.loopSpace.commands)
	}
	participant, err := NewParticipant(r.opts, commands)
	if err != nil {
		return nil, err
	}
	report, err := r.all(ctx)
	return report, errors.Join(err, participant.Close())
}

// run is one invocation.
type run struct {
	o                      Options
	opts                   []kgo.Opt
	engineSpace, loopSpace *space
	number                 int // of the next load
}

// space is a namespace and its topics.
type space struct {
	name     string
	topics   protocol.Topics
	commands []string
}

// space makes a namespace that knows the workload.
func (r *run) space(ctx context.Context, name string) (*space, error) {
	topics, err := protocol.NewTopics(name)
	if err != nil {
		return nil, err
	}
	def, err := r.o.Workload.Definition(name)
	if err != nil {
		return nil, err
	}
	cfg := orchestrator.Config{Namespace: name, Brokers: r.o.Brokers, Partitions: int32(r.o.Tasks), Tasks: int32(r.o.Tasks), CreateTopics: true, DataDir: r.o.Dir}
	if _, err := orchestrator.Apply(ctx, cfg, []*sagas.Definition{def}); err != nil {
		return nil, err
	}
	s := &space{name: name, topics: topics}
	for _, p := range def.Participants {
		s.commands = append(s.commands, p.Topic)
	}
	slices.Sort(s.commands)
	return s, nil
}

// all names what the topics of a namespace are.
func (s *space) all() []string {
	return append([]string{
		s.topics.Intake, s.topics.Replies, s.topics.Control, s.topics.Lifecycle, s.topics.State, s.topics.DLQ,
		s.topics.Defs, s.topics.Members,
	}, s.commands...)
}

// system is one of the two that are measured, while it runs.
type system struct {
	what      string
	space     *space
	processes []*process
	metrics   []string // addresses
	results   []*Result
}

func (s *system) stop() {
	for _, p := range s.processes {
		p.stop()
	}
}

func (r *run) all(ctx context.Context) (*Report, error) {
	var systems []*system
	defer func() {
		for _, s := range systems {
			s.stop()
		}
	}()
	if r.o.Ceiling {
		best := setting{lanes: r.o.Lanes, gather: r.o.Gather}
		if best.lanes == 0 {
			var err error
			if best, err = r.tune(ctx); err != nil {
				return nil, err
			}
		}
		loop, err := r.ceiling(ctx, best)
		if err != nil {
			return nil, err
		}
		systems = append(systems, loop)
	}
	engine, err := r.engine(ctx)
	systems = append(systems, engine)
	if err != nil {
		return nil, err
	}
	for _, s := range systems {
		if err := r.warm(ctx, s, r.o.Load, r.o.Warm); err != nil {
			return nil, err
		}
	}
	for range max(1, r.o.Rounds) {
		for _, s := range systems {
			res, err := r.measure(ctx, s, r.o.Load)
			if err != nil {
				return nil, err
			}
			s.results = append(s.results, res)
			if r.o.Rounds > 1 {
				fmt.Fprintf(r.o.Log, "%s: %.0f sagas/s, p50 %.1f ms, CPU %.3f ms/saga (%s)\n", res.What, res.PerSecond, res.P50, res.CPUAll, res.cpus())
			}
		}
	}
	report := &Report{Engine: *median(engine.results)}
	if r.o.Ceiling {
		report.Ceiling = median(systems[0].results)
		if r.o.Load.Rate == 0 {
			report.Ratio = report.Engine.PerSecond / report.Ceiling.PerSecond
		}
		report.LatencyRatio = report.Engine.P50 / report.Ceiling.P50
	}
	for _, rate := range r.o.Rates {
		for _, s := range systems {
			l := Load{Sagas: max(1, int(rate*r.o.RateFor.Seconds())), Rate: rate, Refused: r.o.Load.Refused}
			res, err := r.measure(ctx, s, l)
			if err != nil {
				return nil, err
			}
			report.Curve = append(report.Curve, *res)
		}
	}
	return report, nil
}

// median is the one in the middle: of the sagas/s, or of the p50 when the rate is given.
func median(results []*Result) *Result {
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b *Result) int {
		if a.Rate > 0 {
			return cmp.Compare(b.P50, a.P50)
		}
		return cmp.Compare(a.PerSecond, b.PerSecond)
	})
	return sorted[len(sorted)/2]
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
			res, err := r.try(ctx, s, part)
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

// try measures the loop once.
func (r *run) try(ctx context.Context, s setting, l Load) (*Result, error) {
	loop, err := r.ceiling(ctx, s)
	if err != nil {
		return nil, err
	}
	defer loop.stop()
	if err := r.warm(ctx, loop, l, min(r.o.Warm, 2*max(l.InFlight, 50))); err != nil {
		return nil, err
	}
	return r.measure(ctx, loop, l)
}

// ceiling starts the loop.
func (r *run) ceiling(ctx context.Context, s setting) (*system, error) {
	child, err := r.start(ctx, "ceiling", "bench-ceiling", "--brokers", strings.Join(r.o.Brokers, ","), "--namespace", r.loopSpace.name,
		"--lanes", strconv.Itoa(s.lanes), "--gather", s.gather.String(), "--partitions", strconv.Itoa(r.o.Tasks))
	if err != nil {
		return nil, err
	}
	loop := &system{what: fmt.Sprintf("ceiling, %d lanes, gather %s", s.lanes, s.gather), space: r.loopSpace, processes: []*process{child}}
	if err := child.await(ctx, "ready"); err != nil {
		loop.stop()
		return nil, err
	}
	return loop, nil
}

// engine starts amends itself. What it returns is to be stopped also when there is an error.
func (r *run) engine(ctx context.Context) (*system, error) {
	s := &system{what: fmt.Sprintf("engine, %d tasks, %d processes", r.o.Tasks, r.o.Processes), space: r.engineSpace}
	for i := range r.o.Processes {
		address, err := freeAddress()
		if err != nil {
			return s, err
		}
		s.metrics = append(s.metrics, address)
		args := append([]string{"run", "--brokers", strings.Join(r.o.Brokers, ","), "--namespace", s.space.name, "--listen", address,
			"--data-dir", filepath.Join(r.o.Dir, "node-"+strconv.Itoa(i)), "--log-level", "warn"}, r.o.EngineArgs...)
		child, err := r.start(ctx, "engine", args...)
		if err != nil {
			return s, err
		}
		s.processes = append(s.processes, child)
	}
	for i, address := range s.metrics {
		if err := s.processes[i].answers(ctx, "http://"+address+"/readyz"); err != nil {
			return s, err
		}
	}
	return s, nil
}

// prefix begins the workflow IDs of the next load.
func (r *run) prefix() string {
	r.number++
	return fmt.Sprintf("r%d", r.number)
}

// warm puts load on s that is not measured.
func (r *run) warm(ctx context.Context, s *system, l Load, sagas int) error {
	if sagas <= 0 {
		return nil
	}
	if l.Sagas = sagas; l.Rate > 0 {
		l.Rate, l.InFlight = 0, 20
	}
	driver, err := NewDriver(r.opts, s.space.topics, r.o.Workload)
	if err != nil {
		return err
	}
	defer driver.Close()
	_, err = driver.Run(ctx, l, r.prefix())
	return died(s.processes, err)
}

// measure drives one load and takes what everything used for it.
func (r *run) measure(ctx context.Context, s *system, l Load) (*Result, error) {
	driver, err := NewDriver(r.opts, s.space.topics, r.o.Workload)
	if err != nil {
		return nil, err
	}
	defer driver.Close()
	adm := kadm.NewClient(driver.client)
	// The driver reads its topic from the start: a few sagas let it get to the end.
	few := l
	few.Sagas, few.Rate, few.InFlight = 20, 0, 20
	if _, err := driver.Run(ctx, few, r.prefix()); err != nil {
		return nil, died(s.processes, err)
	}
	groups := map[string][]int{"load": {os.Getpid()}, "broker": Listeners(r.o.Brokers)}
	for _, p := range s.processes {
		groups["engine"] = append(groups["engine"], p.cmd.Process.Pid)
	}
	before, err := usageOf(groups)
	if err != nil {
		return nil, err
	}
	grown, err := r.grown(ctx, adm, s.space)
	if err != nil {
		return nil, err
	}
	committed := transactions(ctx, s.metrics)
	out, err := driver.Run(ctx, l, r.prefix())
	if err != nil {
		return nil, died(s.processes, err)
	}
	after, err := usageOf(groups)
	if err != nil {
		return nil, err
	}
	now, err := r.grown(ctx, adm, s.space)
	if err != nil {
		return nil, err
	}
	n := float64(l.Sagas)
	res := &Result{What: s.what, CPU: map[string]float64{}, Peak: map[string]int64{}, Broker: &Traffic{
		Records: float64(now.records-grown.records) / n, Bytes: float64(now.bytes-grown.bytes) / n,
		Transactions: (transactions(ctx, s.metrics) - committed) / n,
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

// grown is what the topics of a namespace hold: offsets used, transaction markers included, and bytes on disk.
func (r *run) grown(ctx context.Context, adm *kadm.Client, in *space) (s size, err error) {
	ends, err := adm.ListEndOffsets(ctx, in.all()...)
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
	for _, s := range []*space{r.engineSpace, r.loopSpace} {
		if s != nil {
			_, _ = adm.DeleteTopics(ctx, s.all()...) // what is left over is named after the run
		}
	}
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
	if err == nil {
		return nil
	}
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
