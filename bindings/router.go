package bindings

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
)

// Config is what a Router needs. The zero value of an optional field is its default.
type Config struct {
	// Namespace whose intake and dead letters are written. Required.
	Namespace string
	// Client are the options of every Kafka client. Required.
	Client []kgo.Opt
	// Codec reads values. Default: schema.Plain.
	Codec schema.Codec
	// CreateTopics lets the router make the changelogs of rules. The topics of events are never made.
	CreateTopics bool
	// Replication of topics that are made. Default 3, or the number of brokers if that is less.
	Replication int16
	// Tasks is the most tasks of one rule. Default MaxTasks.
	Tasks int32
	// Advertise is where this process is reached; it is in dead letters and client ids.
	Advertise string
	// InstanceID makes the group memberships static. Default: dynamic.
	InstanceID string
	// Timing, Limits, Failpoint and Clock are those of package topology.
	Timing    topology.Timing
	Limits    topology.Limits
	Failpoint func(name string, task int32) error
	Clock     func() time.Time
	// Logger. Default: silent.
	Logger *slog.Logger
	// Registerer takes the metrics. Default: none.
	Registerer prometheus.Registerer
}

// Desired is one rule that is to run.
type Desired struct {
	Rule   Rule
	Since  time.Time // when it became active: where FromLatest begins
	Paused bool
}

// MaxRules bounds the rules of a namespace: each has clients of its own.
const MaxRules = 200

// Router runs rules in one process. Any number of processes share the work of each.
type Router struct {
	cfg     Config
	topics  protocol.Topics
	metrics *metrics
	changed chan struct{}

	mu      sync.Mutex
	desired map[string]Desired
	left    int // rules beyond MaxRules
	readers map[string]*reader
	crashed bool
}

// New checks cfg. It talks to no broker.
func New(cfg Config) (*Router, error) {
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		return nil, err
	}
	if len(cfg.Client) == 0 {
		return nil, errors.New("bindings: Client is required; it holds at least the seed brokers")
	}
	if cfg.Codec == nil {
		cfg.Codec = schema.Plain{}
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Router{
		cfg: cfg, topics: topics, metrics: newMetrics(cfg.Registerer), changed: make(chan struct{}, 1),
		desired: map[string]Desired{}, readers: map[string]*reader{},
	}, nil
}

// Set says which rules are to run from now on. It returns at once.
func (r *Router) Set(rules []Desired) {
	next := make(map[string]Desired, len(rules))
	left := 0
	for _, d := range rules {
		if len(next) == MaxRules {
			left++
			continue
		}
		next[d.Rule.Key()] = d
	}
	r.mu.Lock()
	if left != r.left && left > 0 {
		r.cfg.Logger.Error("too many bindings, some are not read", "limit", MaxRules, "left", left)
	}
	r.desired, r.left = next, left
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// every is the interval at which partition counts and lags are looked up.
const every = 10 * time.Second

// Run keeps the readers in step with the rules until ctx ends; then it stops them and returns.
func (r *Router) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(r.cfg.Client...)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for ctx.Err() == nil {
		r.reconcile(ctx)
		var tick <-chan time.Time // without rules there is nothing to look up
		if !r.idle() {
			tick = time.After(every)
		}
		select {
		case <-ctx.Done():
		case <-r.changed:
		case <-tick:
			r.look(ctx, adm)
		}
	}
	r.stop(slices.Collect(maps.Values(r.running())))
	return nil
}

// idle says that no rule is wanted and none runs.
func (r *Router) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.desired) == 0 && len(r.readers) == 0
}

func (r *Router) running() map[string]*reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.readers)
}

// reconcile stops what is not to run, starts what is, and gives the others their rule of now.
func (r *Router) reconcile(ctx context.Context) {
	r.mu.Lock()
	var gone []*reader
	for key, rd := range r.readers {
		d, ok := r.desired[key]
		if !ok || d.Paused || d.Rule.Topic() != rd.topic {
			gone = append(gone, rd)
			continue
		}
		rd.current.Store(&d.Rule)
	}
	r.mu.Unlock()
	r.stop(gone)

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.crashed || ctx.Err() != nil {
		return
	}
	for key, d := range r.desired {
		if d.Paused || r.readers[key] != nil {
			continue
		}
		topic := d.Rule.Topic()
		rd := newReader(&r.cfg, r.topics, d, func(what result, n int) { r.metrics.count(key, topic, what, n) })
		var own context.Context
		own, rd.cancel = context.WithCancel(context.WithoutCancel(ctx))
		r.readers[key] = rd
		r.metrics.begin(key, topic)
		go rd.run(own)
	}
}

// stop ends readers and waits for them.
func (r *Router) stop(gone []*reader) {
	for _, rd := range gone {
		rd.cancel()
	}
	for _, rd := range gone {
		<-rd.done
		r.mu.Lock()
		delete(r.readers, rd.key)
		r.mu.Unlock()
		r.metrics.end(rd.key, rd.topic)
		rd.log.Info("binding stopped reading")
	}
}

// Crash ends all readers as kill -9 would end the process; for tests.
func (r *Router) Crash() {
	r.mu.Lock()
	r.crashed = true
	readers := slices.Collect(maps.Values(r.readers))
	r.mu.Unlock()
	for _, rd := range readers {
		if w := rd.worker.Load(); w != nil {
			w.Crash()
		}
		rd.cancel()
	}
}

// look compares partition counts and measures lags.
func (r *Router) look(ctx context.Context, adm *kadm.Client) {
	running := r.running()
	if len(running) == 0 {
		return
	}
	topics := map[string]bool{}
	for _, rd := range running {
		topics[rd.topic] = true
	}
	ctx, cancel := context.WithTimeout(ctx, every)
	defer cancel()
	ends, err := adm.ListCommittedOffsets(ctx, slices.Sorted(maps.Keys(topics))...)
	if err != nil {
		return // the readers say what is wrong with Kafka
	}
	for _, rd := range running {
		if n := len(ends[rd.topic]); n > 0 && ends[rd.topic][0].Err == nil {
			rd.look(n)
		}
		var lag int64
		for partition, next := range rd.positions() {
			if end, ok := ends.Lookup(rd.topic, partition); ok && end.Err == nil {
				lag += max(0, end.Offset-next)
			}
		}
		r.metrics.lag.WithLabelValues(rd.key, rd.topic).Set(float64(lag))
	}
}

// States are what the rules do in this process, by key.
func (r *Router) States() []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []State
	for key, d := range r.desired {
		s := State{Key: key, Topic: d.Rule.Topic(), Paused: d.Paused}
		if rd := r.readers[key]; rd != nil && !d.Paused {
			s = rd.state()
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b State) int { return strings.Compare(a.Key, b.Key) })
	return out
}
