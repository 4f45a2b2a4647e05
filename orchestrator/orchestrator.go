package orchestrator

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Orchestrator is one process of a namespace. Make it with New, run it once with Run; the other
// methods may be called from any goroutine, before, during and after.
type Orchestrator struct {
	cfg         Config
	topics      protocol.Topics
	metrics     *metrics
	pulse       *pulse
	oldest      oldest
	definitions *definitions
	announcer   *announcer
	logs        *logReader
	desk        *desk
	router      *bindings.Router
	rebind      chan struct{} // has a token when the bindings may be others
	correlator  *correlator
	layout      layout // set before worker
	worker      atomic.Pointer[topology.Worker]
	sender      atomic.Pointer[kgo.Client]       // while Run works
	facts       atomic.Pointer[explain.Gatherer] // while Run works

	mu struct {
		sync.Mutex
		tallies map[int32]*tally
	}
}

// New checks the configuration. It does not talk to Kafka yet.
func New(cfg Config) (*Orchestrator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		return nil, configError([]string{"Namespace: " + err.Error()})
	}
	o := &Orchestrator{cfg: cfg, topics: topics, metrics: newMetrics(), pulse: newPulse(time.Now)}
	o.definitions = newDefinitions(cfg.Namespace, topics.Defs, cfg.Logger)
	o.logs = newLogReader(cfg)
	o.desk = newDesk(topics.Members, cfg.Logger)
	o.announcer = newAnnouncer(cfg, topics.Members)
	o.mu.tallies = map[int32]*tally{}
	o.rebind = make(chan struct{}, 1)
	o.correlator = newCorrelator(o)
	if o.router, err = newRouter(cfg, o.metrics); err != nil {
		return nil, configError([]string{err.Error()})
	}
	o.metrics.registry.MustRegister(newStoreCollector(o), newStoreBytesCollector(o), newCensusCollector(o), &destinationCollector{o: o}, newStandbyCollector(o.Standbys), newLagCollector(o))
	return o, nil
}

// Run works until ctx ends, then finishes what is in hand and returns nil. Any other return is an
// error; of class ErrConfig when a restart would not help.
func (o *Orchestrator) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(o.cfg.clientOpts(readerOpts()...)...)
	if err != nil {
		return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer cl.Close()
	if err := checkBrokers(ctx, cl, o.cfg); err != nil {
		return err
	}

	adm := kadm.NewClient(cl)
	if o.layout, err = ensureNamespace(ctx, adm, o.cfg, o.topics); err != nil {
		return err
	}
	o.definitions.usable = func(ctx context.Context, plans []*sagas.Plan) map[*sagas.Plan]error {
		return o.usable(ctx, adm, plans)
	}
	if err := o.definitions.load(ctx, cl); err != nil {
		return err
	}
	if known := o.definitions.current.Load(); known.level == 0 && len(known.versions) == 0 {
		level, err := beginLevel(ctx, o.cfg)
		if err != nil {
			return err
		}
		o.definitions.raise(level)
	} else if err := checkLevel(known.level); err != nil {
		return err
	}
	w, err := topology.New(o.topologyConfig())
	if err != nil {
		return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "runtime", Err: err}
	}
	o.definitions.changed = func() {
		for task := range o.layout.tasks {
			w.Wake(task)
		}
		select {
		case o.rebind <- struct{}{}:
		default:
		}
		o.correlator.look()
	}
	sender, err := kgo.NewClient(o.cfg.clientOpts(kgo.RequiredAcks(kgo.AllISRAcks()), kgo.AllowIdempotentProduceCancellation(), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))...)
	if err != nil {
		return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer sender.Close()
	o.sender.Store(sender)
	defer o.sender.Store(nil)
	searchers := newLogClients(logReaders, o.cfg.clientOpts(explain.ReaderOpts()...)...)
	for _, clients := range []*logClients{o.logs.clients, searchers} {
		clients.open()
		defer clients.close()
	}
	o.facts.Store(explain.NewGatherer(explain.NewKafka(sender, searchers.lend), o.cfg.Explain, o.cfg.Clock, protocol.Partition))
	defer o.facts.Store(nil)
	o.announcer.worker = w
	o.worker.Store(w)
	o.cfg.Logger.Info("running", "namespace", o.cfg.Namespace, "partitions", o.layout.partitions, "tasks", o.layout.tasks, "version", Version)

	tailCtx, stopTail := context.WithCancel(ctx)
	var tail sync.WaitGroup
	tail.Go(func() { o.definitions.tail(tailCtx, cl) })
	tail.Go(func() { o.announcer.run(tailCtx) })
	tail.Go(func() { o.desk.tail(tailCtx, o.cfg) })
	tail.Go(func() { o.bind(tailCtx) })
	tail.Go(func() { o.correlator.run(tailCtx) })
	tail.Go(func() {
		if err := o.router.Run(tailCtx); err != nil {
			o.cfg.Logger.Error("bindings are not read", "err", err)
		}
	})
	err = w.Run(ctx)
	stopTail()
	tail.Wait()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

func (o *Orchestrator) topologyConfig() topology.Config {
	client := o.cfg.Client
	if len(o.cfg.Brokers) > 0 {
		client = append([]kgo.Opt{kgo.SeedBrokers(o.cfg.Brokers...)}, client...)
	}
	memory, _ := divideMemory(o.cfg.Memory, o.correlator.needed())
	return o.flow().Config(topology.Config{
		App:            protocol.App(o.cfg.Namespace),
		Changelog:      o.topics.State,
		Origins:        []string{o.topics.Intake},
		IndexVersion:   indexVersion,
		DataDir:        o.cfg.DataDir,
		FS:             o.cfg.FS,
		Memory:         memory,
		Client:         client,
		Advertise:      o.cfg.Advertise,
		InstanceID:     o.cfg.InstanceID,
		Zone:           o.cfg.Zone,
		Standbys:       o.cfg.Standbys,
		GroupProtocols: groupProtocols(o.definitions.current.Load().Level()),
		Limits:         o.limits(),
		Timing:         o.cfg.Timing,
		Destinations:   o.cfg.Destinations,
		Clock:          o.cfg.Clock,
		Logger:         o.cfg.Logger,
		Hooks:          topology.Tee(o.metrics.hooks(o.tally), o.pulse.hooks(), topology.Hooks{Rebalance: o.announcer.rebalanced}, o.cfg.Hooks),
		Failpoint:      o.cfg.Failpoint,
	})
}

// keyRecords is the share of one workflow ID in a cycle while others wait behind it.
const keyRecords = 100

// limits are those of the configuration. What keeps a hot workflow ID from holding others up writes progress
// records that processes of the first release cannot read.
func (o *Orchestrator) limits() topology.Limits {
	l := o.cfg.Limits
	switch {
	case l.KeyRecords < 0:
		l.KeyRecords = 0
	case l.KeyRecords == 0 && o.definitions.current.Load().Level() >= levelFull:
		l.KeyRecords = keyRecords
	}
	return l
}

// flow is the engine as a topology: one processor that has the whole store.
func (o *Orchestrator) flow() *topology.Topology {
	b := topology.NewBuilder("amends " + o.cfg.Namespace)
	b.Run("sagas", []string{o.topics.Control, o.topics.Replies, o.topics.Intake}, o.newProcessor, index,
		protocol.CommandTopic("<participant>"), o.topics.Lifecycle, o.topics.Control, o.topics.DLQ)
	t, err := b.Build()
	if err != nil {
		panic(err) // constant input
	}
	return t
}

func (o *Orchestrator) newProcessor(task int32) topology.Processor {
	counts := o.tally(task)
	counts.drop() // what a former owner of the task here left undecided
	again := func() { o.worker.Load().Wake(task) }
	again() // definitions may have come while nobody ran this task
	return &processor{
		cfg: o.cfg, topics: o.topics, group: protocol.Group(o.cfg.Namespace), partitions: o.layout.partitions,
		definitions: o.definitions, counts: counts,
		again: again,
	}
}

func (o *Orchestrator) tally(task int32) *tally {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.mu.tallies[task]
	if t == nil {
		t = &tally{m: o.metrics, pulse: o.pulse, tracer: o.cfg.Tracer}
		o.mu.tallies[task] = t
	}
	return t
}

// usable says which plans cannot run yet because a topic that they send to is missing. Their
// instances wait; a command to a missing topic would fail over and over instead.
func (o *Orchestrator) usable(ctx context.Context, adm *kadm.Client, plans []*sagas.Plan) map[*sagas.Plan]error {
	faults := map[*sagas.Plan]error{}
	for _, p := range plans {
		err := ensureCommands(ctx, adm, o.cfg, commandTopics(p), o.layout.partitions)
		if err == nil {
			err = ensureEvents(ctx, adm, o.cfg, allEventTopics([]*sagas.Plan{p}), o.layout.partitions)
		}
		if err == nil {
			err = ensureCorrelation(ctx, adm, o.cfg, o.topics, []*sagas.Plan{p}, o.layout)
		}
		if err != nil {
			faults[p] = err
		}
	}
	return faults
}

// Ready says whether this process does its share: nil, or what is missing.
func (o *Orchestrator) Ready() error {
	w := o.worker.Load()
	if w == nil {
		return errors.New("the topics are not checked yet, or the definitions not read")
	}
	return w.Ready()
}

// Draining says whether this process is stopping: it gives its tasks away and takes no new ones.
func (o *Orchestrator) Draining() bool {
	w := o.worker.Load()
	return w != nil && w.Draining()
}

// Live says whether the loops turn: nil, or which one does not. It never asks Kafka.
func (o *Orchestrator) Live() error {
	if w := o.worker.Load(); w != nil {
		if err := w.Live(); err != nil {
			return err
		}
	}
	return o.correlator.live()
}

// LookAgain has every task look at the clock now. A task that waits for a timer looks once a minute by
// itself, so only whoever sets a Clock of its own forward needs it.
func (o *Orchestrator) LookAgain() {
	w := o.worker.Load()
	if w == nil {
		return
	}
	for _, t := range w.Tasks() {
		w.Wake(t.Task)
	}
	o.correlator.wake()
}

// Crash ends Run as kill -9 would end the process; see topology.Worker.
func (o *Orchestrator) Crash() {
	o.router.Crash()
	o.correlator.crash()
	if w := o.worker.Load(); w != nil {
		w.Crash()
	}
}

// Tasks tells what the tasks of this process do.
func (o *Orchestrator) Tasks() []topology.TaskInfo {
	if w := o.worker.Load(); w != nil {
		return w.Tasks()
	}
	return nil
}

// Gatherer has the metrics of this process.
func (o *Orchestrator) Gatherer() prometheus.Gatherer { return o.metrics.registry }

// Registerer takes more metrics of this process.
func (o *Orchestrator) Registerer() prometheus.Registerer { return o.metrics.registry }

// Namespace is the prefix of the topics.
func (o *Orchestrator) Namespace() string { return o.cfg.Namespace }

// Advertise is the address under which other processes reach this one's API.
func (o *Orchestrator) Advertise() string { return o.cfg.Advertise }

func taskLabel(task int32) string { return strconv.Itoa(int(task)) }

// storeCollector counts the instances in the stores of this process when it is asked, and their timers.
type storeCollector struct {
	o             *Orchestrator
	active, timed *prometheus.Desc
}

func newStoreCollector(o *Orchestrator) *storeCollector {
	return &storeCollector{o, instancesActive.desc(), timersPending.desc()}
}

func (s *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.active
	ch <- s.timed
}

func (s *storeCollector) Collect(ch chan<- prometheus.Metric) {
	counts, timed := map[string]int64{}, int64(0)
	for _, st := range []string{sagas.Running.String(), sagas.Finishing.String(), sagas.Compensating.String(), sagas.Parked.String(), StatusAttention} {
		counts[st] = 0
	}
	if w := s.o.worker.Load(); w != nil {
		for _, t := range w.Tasks() {
			view, ok := w.View(t.Task)
			if !ok {
				continue
			}
			for st := range counts {
				attr := attrStatusPrefix + st
				if st == StatusAttention {
					attr = attrAttention
				}
				n, err := view.CountAttr(attr)
				if err != nil {
					continue
				}
				counts[st] += n
			}
			if n, ok, err := view.Counted(attrTimed); ok && err == nil { // where counts are not kept, nobody walks over ten million keys for it
				timed += n[attrTimed]
			}
		}
	}
	for st, n := range counts {
		ch <- prometheus.MustNewConstMetric(s.active, prometheus.GaugeValue, float64(n), st)
	}
	ch <- prometheus.MustNewConstMetric(s.timed, prometheus.GaugeValue, float64(timed))
}
