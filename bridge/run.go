package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/durable"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// Config is what a Runner needs. The zero value of every optional field is its default.
type Config struct {
	// Bridge is what to run. Required.
	Bridge *Bridge

	// Client are the options of every Kafka client: seed brokers, TLS, SASL. Required.
	Client []kgo.Opt

	// DataDir is the directory of the stores; two processes must not share it. Default: the stores are
	// in memory and are read from the changelog at each start.
	DataDir string

	// CreateTopics makes the changelog <bridge>.inbox when it is missing. Default: it must be there.
	CreateTopics bool

	// Tasks is the partition count of a changelog that is created, at most that of the command topic.
	// Default: as many.
	Tasks int32

	// Replication of a changelog that is created. Default 3, or the number of brokers if that is less.
	Replication int16

	// InstanceID is a name of this process that stays over restarts. A process that is started again under it
	// has its partitions at once, else the group waits for the session of a process that was killed.
	// Default: none, partitions move at once when a process stops in order.
	InstanceID string

	// Drain is how long a process that stops waits for the calls that are under way. What is cut off is
	// called again by the next owner, with the same key. Default 10 s; negative for not at all.
	Drain time.Duration

	// Dial opens connections to destinations. Default: as net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Clock tells the time. Default time.Now.
	Clock func() time.Time

	// Registerer takes the metrics. Default: none.
	Registerer prometheus.Registerer

	// Logger. Default: silent.
	Logger *slog.Logger

	// Runtime has the last word on the settings of the runtime: limits, timing, hooks.
	Runtime func(*topology.Config)
}

// Runner is one process of a bridge. Any number share the work.
type Runner struct {
	*participant.Handlers
	cfg      Config
	metrics  *metrics
	services map[*destination]*service
	worker   *topology.Worker
	work     context.Context // of what a task does; it does not end

	calls  sync.WaitGroup
	ctx    context.Context // of the calls
	cutOff context.CancelFunc

	mu struct {
		sync.Mutex
		stopping   bool
		flights    map[string]*flight // by saga-key
		outcomes   map[int32]*outbox
		processors map[int32]*processor
	}
}

// flight is a call that is under way in this process.
type flight struct {
	task  int32
	clean bool
}

// New checks cfg and reads the secrets and certificates that the file names. It does not connect; Run does.
func New(cfg Config) (*Runner, error) {
	if cfg.Bridge == nil {
		return nil, errors.New("bridge config: Bridge is required")
	}
	if len(cfg.Client) == 0 {
		return nil, errors.New("bridge config: Client is required; it holds at least the seed brokers")
	}
	if cfg.Tasks < 0 || cfg.Replication < 0 {
		return nil, errors.New("bridge config: Tasks and Replication are not negative")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Drain == 0 {
		cfg.Drain = 10 * time.Second
	}
	b := cfg.Bridge
	r := &Runner{cfg: cfg, work: context.Background(), services: map[*destination]*service{}, metrics: newMetrics(b.Name, cfg.Registerer)}
	r.ctx, r.cutOff = context.WithCancel(context.Background())
	r.mu.flights, r.mu.outcomes, r.mu.processors = map[string]*flight{}, map[int32]*outbox{}, map[int32]*processor{}
	longest := participant.DefaultHandlerTimeout
	for _, d := range b.destinations {
		s, err := newService(d, cfg.Dial)
		if err != nil {
			return nil, fmt.Errorf("bridge %s: %w", b.Name, err)
		}
		r.services[d] = s
		r.metrics.breaker(d.name, false)
		r.metrics.load.WithLabelValues(d.name).Set(0)
		longest = max(longest, d.timeout)
	}
	r.Handlers = participant.NewHandlers(cfg.Logger, longest)
	handlers(b, r.Handlers)
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	run := topology.Config{
		App:        durable.ChangelogTopic(b.Name) + ".",
		Inputs:     []string{b.Topic},
		Changelog:  durable.ChangelogTopic(b.Name),
		Processor:  r.processor,
		Index:      index(b.Retention),
		DataDir:    cfg.DataDir,
		InstanceID: cfg.InstanceID,
		InMemory:   cfg.DataDir == "",
		Client:     cfg.Client,
		Clock:      cfg.Clock,
		Logger:     cfg.Logger,
	}
	if cfg.Runtime != nil {
		cfg.Runtime(&run)
	}
	run.Hooks = topology.Tee(topology.Hooks{
		Cycle:     func(s topology.CycleStats) { r.of(s.Task, (*processor).committed) },
		Postponed: func(task int32) { r.of(task, (*processor).postponed) },
	}, run.Hooks)
	var err error
	if r.worker, err = topology.New(run); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", b.Name, err)
	}
	return r, nil
}

// Worker is the runtime, for its state and health.
func (r *Runner) Worker() *topology.Worker { return r.worker }

// Run answers commands until ctx ends; then it waits for the calls under way, for Drain at most, and
// returns nil.
func (r *Runner) Run(ctx context.Context) error {
	defer r.calls.Wait()
	defer r.cutOff()
	if r.cfg.CreateTopics {
		topic := durable.Changelog{Name: durable.ChangelogTopic(r.cfg.Bridge.Name), Commands: r.cfg.Bridge.Topic,
			Tasks: r.cfg.Tasks, Replication: r.cfg.Replication}
		if err := topic.Create(ctx, r.cfg.Client, r.cfg.Logger); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("bridge %s: %w", r.cfg.Bridge.Name, err)
		}
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan struct{})
	var draining sync.WaitGroup
	draining.Go(func() {
		select {
		case <-ctx.Done():
			r.drain(ended)
			stop()
		case <-ended:
		}
	})
	err := r.worker.Run(work)
	close(ended)
	draining.Wait()
	for _, s := range r.services {
		s.client.CloseIdleConnections()
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", r.cfg.Bridge.Name, err)
	}
	return nil
}

// drainPoll is how often a process that stops looks whether its calls have ended.
const drainPoll = 20 * time.Millisecond

// drain begins no call any more and waits until those under way have ended and their results are written.
func (r *Runner) drain(ended <-chan struct{}) {
	r.mu.Lock()
	r.mu.stopping = true
	r.mu.Unlock()
	if r.cfg.Drain < 0 {
		return
	}
	limit := time.NewTimer(r.cfg.Drain)
	defer limit.Stop()
	for !r.idle() {
		wait := time.NewTimer(drainPoll)
		select {
		case <-wait.C:
		case <-limit.C:
			wait.Stop()
			return
		case <-ended:
			wait.Stop()
			return
		}
	}
}

func (r *Runner) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.flights) > 0 {
		return false
	}
	for task, o := range r.mu.outcomes {
		if r.mu.processors[task] != nil && o.len() > 0 {
			return false
		}
	}
	return true
}

// processor makes the processor of a task that was taken over.
func (r *Runner) processor(task int32) topology.Processor {
	p := &processor{r: r, task: task}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.processors[task] = p
	return p
}

// of calls fn on the processor of a task. It is called from the task's goroutine.
func (r *Runner) of(task int32, fn func(*processor)) {
	r.mu.Lock()
	p := r.mu.processors[task]
	r.mu.Unlock()
	if p != nil {
		fn(p)
	}
}

func (r *Runner) wake(task int32) {
	if r.worker != nil {
		r.worker.Wake(task)
	}
}

// label is the name of a command for metrics: one that the file does not know could be anything.
func (r *Runner) label(command string) string {
	if r.cfg.Bridge.commands[command] == nil {
		return "unknown"
	}
	return command
}

func (r *Runner) skip(reason string, rec *topology.Record, err error) {
	r.cfg.Logger.Error("command skipped", "reason", reason, "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "error", err)
	r.metrics.skipped.WithLabelValues(reason).Inc()
}

// submit makes a call in the background. A key that is under way already is not called twice: its result
// is for whoever asked last.
func (r *Runner) submit(c *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.mu.flights[c.cmd.Key]; f != nil {
		f.task, f.clean = c.task, false
		return
	}
	if r.mu.stopping || r.outboxLocked(c.task).has(c.cmd.Key) {
		return
	}
	f := &flight{c.task, c.clean}
	r.mu.flights[c.cmd.Key] = f
	load := func(int64) {}
	if op := r.cfg.Bridge.operation(c.cmd); op != nil {
		s := r.services[op.dest]
		load = func(n int64) { r.metrics.load.WithLabelValues(s.name).Set(float64(s.load.Add(n))) }
	}
	load(1)
	r.calls.Go(func() {
		res, ok := r.perform(r.ctx, c)
		load(-1)
		r.mu.Lock()
		delete(r.mu.flights, c.cmd.Key)
		task := f.task
		if ok {
			r.outboxLocked(task).add(done{c.cmd.Key, res, f.clean})
		}
		r.mu.Unlock()
		if ok {
			r.wake(task)
		}
	})
}

func (r *Runner) results(task int32) *outbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outboxLocked(task)
}

func (r *Runner) outboxLocked(task int32) *outbox {
	o := r.mu.outcomes[task]
	if o == nil {
		o = &outbox{}
		r.mu.outcomes[task] = o
	}
	return o
}

// done is a call that has ended.
type done struct {
	key    string
	result result
	clean  bool
}

// outbox holds the results of a task until a cycle that has written them is committed.
type outbox struct {
	mu   sync.Mutex
	done []done
}

func (o *outbox) add(d done) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = append(o.done, d)
}

func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.done)
}

func (o *outbox) has(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.done {
		if o.done[i].key == key {
			return true
		}
	}
	return false
}

// list is what there is, oldest first.
func (o *outbox) list() []done {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]done(nil), o.done...)
}

func (o *outbox) forget(keys ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := make(map[string]bool, len(keys))
	for _, k := range keys {
		gone[k] = true
	}
	kept := o.done[:0]
	for _, d := range o.done {
		if !gone[d.key] {
			kept = append(kept, d)
		}
	}
	clear(o.done[len(kept):])
	o.done = kept
}

// shrink takes the output out of the oldest result: Kafka does not take it.
func (o *outbox) shrink() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.done) > 0 {
		d := &o.done[0]
		d.result = result{Outcome: protocol.OutcomeFailedFatal, Code: CodeBadResponse}
	}
}
