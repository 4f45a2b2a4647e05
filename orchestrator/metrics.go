package orchestrator

import (
	"cmp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// metrics are the counters and gauges of one process. Names are amends_<subject>_<what>_<unit>; no
// label ever holds an id or a key, and no label value comes from a record unless a definition that
// this process knows contains it.
type metrics struct {
	registry *prometheus.Registry
	all      []Metric

	started  *prometheus.CounterVec   // saga
	finished *prometheus.CounterVec   // saga, outcome
	duration *prometheus.HistogramVec // saga, outcome

	commands     *prometheus.CounterVec   // saga, step, direction
	attempts     *prometheus.CounterVec   // saga, step, outcome
	stepDuration *prometheus.HistogramVec // saga, step
	undos        *prometheus.CounterVec   // saga, outcome
	attention    *prometheus.CounterVec   // saga, reason
	costs        *prometheus.CounterVec   // saga
	signals      *prometheus.CounterVec   // saga, outcome
	children     *prometheus.CounterVec   // saga, outcome
	events       *prometheus.CounterVec   // saga
	decisions    *prometheus.CounterVec   // saga, outcome
	actions      *prometheus.CounterVec   // saga, action

	ignored     *prometheus.CounterVec // reason
	deadLetters *prometheus.CounterVec // reason

	records      prometheus.Counter
	forwarded    prometheus.Counter
	timers       prometheus.Counter
	timerLag     prometheus.Histogram
	reaction     prometheus.Histogram
	transactions *prometheus.CounterVec // outcome
	commit       prometheus.Histogram
	rebalances   *prometheus.CounterVec // cause
	taskStates   *prometheus.GaugeVec   // state
	restoreLeft  *prometheus.GaugeVec   // partition
	restoreTime  *prometheus.GaugeVec   // partition
	restoring    topology.RestoreProgress
	restore      prometheus.Histogram
	wiped        prometheus.Counter
	breakers     *prometheus.CounterVec // state
}

// Metric describes one metric that every process has under /metrics.
type Metric struct {
	Name   string
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string
}

// Metrics lists the engine's own metrics, in the order in which they are declared. Those of the Go
// runtime and of the process come on top.
func Metrics() []Metric { return newMetrics().all }

var (
	latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
	longBuckets    = []float64{.05, .1, .5, 1, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400}
)

// Native histograms: each bucket is a tenth wider than the one before, and one series has at most so many.
const (
	nativeFactor  = 1.1
	nativeBuckets = 160
)

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		m.all = append(m.all, Metric{Name: "amends_" + name, Type: "counter", Help: help, Labels: labels})
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "amends_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		m.all = append(m.all, Metric{Name: "amends_" + name, Type: "gauge", Help: help, Labels: labels})
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "amends_" + name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		m.all = append(m.all, Metric{Name: "amends_" + name, Type: "histogram", Help: help, Labels: labels})
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "amends_" + name, Help: help, Buckets: buckets,
			// Both kinds: a Prometheus that asks for native histograms gets finer buckets, any other the classic ones.
			NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeBuckets, NativeHistogramMinResetDuration: time.Hour,
		}, labels)
		m.registry.MustRegister(h)
		return h
	}
	one := func(h *prometheus.HistogramVec) prometheus.Histogram {
		return h.WithLabelValues().(prometheus.Histogram)
	}

	m.started = counter("instances_started_total", "Instances that began to run.", "saga")
	m.finished = counter("instances_finished_total", "Instances that ended, by outcome.", "saga", "outcome")
	m.duration = histogram("instance_duration_seconds", "Time from the start of an instance to its end.", longBuckets, "saga", "outcome")
	m.commands = counter("commands_total", "Commands sent to participants, retries included.", "saga", "step", "direction")
	m.attempts = counter("step_attempts_total", "Answers of participants to do commands, by outcome.", "saga", "step", "outcome")
	m.stepDuration = histogram("step_duration_seconds", "Time from the first do command of a step to its success.", longBuckets, "saga", "step")
	m.undos = counter("undo_total", "Answers of participants to undo commands, by outcome.", "saga", "outcome")
	m.attention = counter("instances_attention_total", "Times that an instance began to need a person, by reason.", "saga", "reason")
	m.costs = counter("expression_cost_exceeded_total", "Expressions that were stopped at their cost limit; the instance needs a person.", "saga")
	m.signals = counter("signals_total", "Signals by what became of them: taken, used or dropped.", "saga", "outcome")
	m.children = counter("children_total", "Child instances that were started, and that ended.", "saga", "outcome")
	m.events = counter("domain_events_total", "Domain events published.", "saga")
	m.decisions = counter("decisions_total", "Decisions of people: opened, reminded, decided.", "saga", "outcome")
	m.actions = counter("operator_actions_total", "Actions of operators that were taken.", "saga", "action")
	m.ignored = counter("records_ignored_total", "Records without effect, by reason.", "reason")
	m.deadLetters = counter("dead_letters_total", "Records that were set aside, by reason.", "reason")
	m.records = counter("records_total", "Input records taken.").WithLabelValues()
	m.forwarded = counter("records_forwarded_total", "Input records that were on a partition of another task.").WithLabelValues()
	m.timers = counter("timers_fired_total", "Timers that fired.").WithLabelValues()
	m.timerLag = one(histogram("timer_lag_seconds", "By how much the latest timer of a cycle was late.", latencyBuckets))
	m.reaction = one(histogram("event_to_command_seconds", "From the oldest input record of a cycle to the commit of what it caused.", latencyBuckets))
	m.transactions = counter("transactions_total", "Kafka transactions by outcome.", "outcome")
	m.commit = one(histogram("transaction_duration_seconds", "From the begin to the end of a Kafka transaction.", latencyBuckets))
	m.rebalances = counter("rebalances_total", "Times that the group gave tasks to this process or took them away.", "cause")
	m.taskStates = gauge("task_state", "Tasks of this process by state.", "state")
	m.restoreLeft = gauge("restore_remaining_records", "Changelog offsets that a task has yet to restore.", "partition")
	m.restoreTime = gauge("restore_remaining_seconds", "Time that a task's restore will take at its present rate.", "partition")
	m.restore = one(histogram("restore_duration_seconds", "Time that a task took to restore its store.", longBuckets))
	m.wiped = counter("stores_wiped_total", "Local stores that were thrown away to be rebuilt.").WithLabelValues()
	m.breakers = counter("destination_changes_total", "Times that the breaker of a topic of others came to a state; open counts failed probes too.", "state")
	m.all = append(m.all, instancesActive, timersPending, consumerLag, destinationOpen, destinationWaiting,
		standbyLag, standbyAge, storeBytes, instancesAttention, oldestAttention) // collected, not kept
	gauge("build_info", "1, labelled with the version.", "version", "goversion").WithLabelValues(Version, runtime.Version()).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// hooks feeds the metrics from the runtime. tallies finds the counts of a task.
func (m *metrics) hooks(tallies func(task int32) *tally) topology.Hooks {
	return topology.Hooks{
		TaskState: func(_ int32, from, to topology.TaskState, _ string) {
			if from != topology.TaskCreated { // nobody is told when a task comes into being
				m.taskStates.WithLabelValues(from.String()).Dec()
			}
			m.taskStates.WithLabelValues(to.String()).Inc()
		},
		Cycle: func(s topology.CycleStats) {
			m.records.Add(float64(s.Records))
			m.timers.Add(float64(s.Timers))
			if s.Repeated > 0 {
				m.ignored.WithLabelValues("source-repeated").Add(float64(s.Repeated))
			}
			m.transactions.WithLabelValues("committed").Inc()
			m.commit.Observe(s.Commit.Seconds())
			if s.Timers > 0 {
				m.timerLag.Observe(s.Late.Seconds())
			}
			if s.Records > 0 {
				m.reaction.Observe(s.Delay.Seconds())
			}
			tallies(s.Task).commit()
		},
		Aborted: func(task int32, class string, _ error) {
			m.transactions.WithLabelValues(class).Inc()
			tallies(task).drop()
		},
		Restore: func(task int32, next, target int64) {
			m.restoreLeft.WithLabelValues(taskLabel(task)).Set(float64(max(0, target-next)))
			if s := m.restoring.At(task, next, target); s.Left() >= 0 {
				m.restoreTime.WithLabelValues(taskLabel(task)).Set(s.Left().Seconds())
			}
		},
		Restored: func(task int32, _ int64, took time.Duration) {
			m.restoring.Done(task)
			m.restoreLeft.DeleteLabelValues(taskLabel(task))
			m.restoreTime.DeleteLabelValues(taskLabel(task))
			m.restore.Observe(took.Seconds())
		},
		Rebalance: func(assigned, revoked []int32) {
			if len(assigned) > 0 {
				m.rebalances.WithLabelValues("assigned").Inc()
			}
			if len(revoked) > 0 {
				m.rebalances.WithLabelValues("revoked").Inc()
			}
		},
		Postponed: func(task int32) { tallies(task).postponed() },
		Forwarded: func(_ int32, n int) { m.forwarded.Add(float64(n)) },
		Wiped:     func(int32, string) { m.wiped.Inc() },
		Destination: func(info topology.DestinationInfo) {
			m.breakers.WithLabelValues(info.State.String()).Inc()
		},
	}
}

// tally collects what the cycle of one task counts, until it is known whether the cycle commits. An
// aborted cycle runs again and would count twice.
type tally struct {
	m      *metrics
	pulse  *pulse       // nil = off
	tracer func([]Span) // nil = off
	mu     struct {
		sync.Mutex
		counters []prometheus.Counter
		observed []observation
		beats    []beat
		acts     []Mark // what people did
		spans    []Span
		before   [5]int // how many there were before the last record
	}
}

type observation struct {
	in prometheus.Observer
	v  float64
}

func (t *tally) count(c prometheus.Counter) {
	t.mu.Lock()
	t.mu.counters = append(t.mu.counters, c)
	t.mu.Unlock()
}

func (t *tally) observe(o prometheus.Observer, ms int64) {
	t.mu.Lock()
	t.mu.observed = append(t.mu.observed, observation{o, float64(ms) / 1000})
	t.mu.Unlock()
}

func (t *tally) commit() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.mu.counters {
		c.Inc()
	}
	for _, o := range t.mu.observed {
		o.in.Observe(o.v)
	}
	t.pulse.take(t.mu.beats, t.mu.acts)
	if len(t.mu.spans) > 0 {
		t.tracer(ended(t.mu.spans))
	}
	t.clear()
}

// mark is called before each record, postponed when that record comes again.
func (t *tally) mark() {
	t.mu.Lock()
	t.mu.before = [5]int{len(t.mu.counters), len(t.mu.observed), len(t.mu.spans), len(t.mu.beats), len(t.mu.acts)}
	t.mu.Unlock()
}

func (t *tally) postponed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.counters, t.mu.observed, t.mu.spans = t.mu.counters[:t.mu.before[0]], t.mu.observed[:t.mu.before[1]], t.mu.spans[:t.mu.before[2]]
	t.mu.beats, t.mu.acts = t.mu.beats[:t.mu.before[3]], t.mu.acts[:t.mu.before[4]]
}

func (t *tally) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
}

func (t *tally) clear() {
	clear(t.mu.counters)
	clear(t.mu.observed)
	clear(t.mu.spans)
	clear(t.mu.beats)
	clear(t.mu.acts)
	t.mu.counters, t.mu.observed, t.mu.spans, t.mu.beats, t.mu.acts = t.mu.counters[:0], t.mu.observed[:0], t.mu.spans[:0], t.mu.beats[:0], t.mu.acts[:0]
}

// act notes what a person did, as the audit would: see auditKinds.
func (t *tally) act(e *sagas.Lifecycle) {
	by, of := auditKinds[string(e.Kind)]
	if !of || t.pulse == nil || by != "" && detailOf(e, by) == "" {
		return
	}
	m := Mark{Kind: MarkPerson, N: 1, Type: e.Type, WorkflowID: e.WorkflowID, Actor: cmp.Or(detailOf(e, "operator"), detailOf(e, "actor")), Action: string(e.Kind)}
	switch e.Kind {
	case sagas.KindOperator:
		m.Action = detailOf(e, "action")
	case sagas.KindTaskDecided:
		m.Action = detailOf(e, "decision")
	}
	t.mu.Lock()
	t.mu.acts = append(t.mu.acts, m)
	t.mu.Unlock()
}

// beat counts for the pulse. ms is how long it took, negative = nothing is measured.
func (t *tally) beat(what beatKind, typ string, version uint32, step string, ms int64) {
	if what == 0 || t.pulse == nil {
		return
	}
	t.mu.Lock()
	t.mu.beats = append(t.mu.beats, beat{what, stepRef{typ, version, step}, ms})
	t.mu.Unlock()
}

func (t *tally) deadLetter(class string) { t.count(t.m.deadLetters.WithLabelValues(class)) }
func (t *tally) ignored(reason string)   { t.count(t.m.ignored.WithLabelValues(reason)) }

// stepOf is the id of a step in its definition. A path holds keys of items and numbers of rounds, of
// which there is no end.
func stepOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// knownType is the saga of a fact, "" before the instance has a definition: its type is then whatever
// a producer wrote.
func knownType(e *sagas.Lifecycle) string {
	if e.Version == 0 {
		return ""
	}
	return e.Type
}

// costLimit is in the text of an expression that was stopped, as the expression language writes it.
const costLimit = "cost limit"

func detailOf(e *sagas.Lifecycle, key string) string {
	for i := range e.Detail {
		if e.Detail[i].Key == key {
			return e.Detail[i].Value
		}
	}
	return ""
}

func (t *tally) command(c *sagas.Command) {
	t.count(t.m.commands.WithLabelValues(c.Type, stepOf(c.Path), c.Op.String()))
	if c.Op == sagas.OpDo {
		t.beat(beatSent, c.Type, c.Version, stepOf(c.Path), -1)
	}
}

// reply counts an answer. Paths and outcomes come from outside: only those that the instance has
// become labels.
func (t *tally) reply(r *sagas.Reply, before *sagas.Instance) {
	if before == nil || before.StepIndex(r.Path) < 0 {
		return
	}
	switch r.Op {
	case sagas.OpDo:
		t.count(t.m.attempts.WithLabelValues(before.Type, stepOf(r.Path), string(r.Outcome)))
	case sagas.OpUndo:
		t.count(t.m.undos.WithLabelValues(before.Type, string(r.Outcome)))
	}
}

func (t *tally) lifecycle(e *sagas.Lifecycle, before *sagas.Instance) {
	took := int64(-1) // of what the fact ends, in ms
	defer func() {
		if knownType(e) != "" {
			t.beat(beatOf(e.Kind), e.Type, e.Version, stepOf(e.Path), took)
		}
		t.act(e)
	}()
	switch e.Kind {
	case sagas.KindStarted:
		t.count(t.m.started.WithLabelValues(e.Type))
	case sagas.KindCompleted, sagas.KindCompensated, sagas.KindClosed:
		t.count(t.m.finished.WithLabelValues(e.Type, string(e.Kind)))
		if before != nil {
			took = max(int64(e.At-before.StartedAt), 0)
			t.observe(t.m.duration.WithLabelValues(e.Type, string(e.Kind)), int64(e.At-before.StartedAt))
		}
	case sagas.KindAttention:
		t.count(t.m.attention.WithLabelValues(e.Type, detailOf(e, "reason")))
		if detailOf(e, "reason") == string(sagas.ReasonExpr) && strings.Contains(detailOf(e, "text"), costLimit) {
			t.count(t.m.costs.WithLabelValues(e.Type))
		}
	case sagas.KindSignalled:
		t.count(t.m.signals.WithLabelValues(knownType(e), "taken"))
	case sagas.KindSignalUsed:
		t.count(t.m.signals.WithLabelValues(knownType(e), "used"))
	case sagas.KindSignalDropped:
		t.count(t.m.signals.WithLabelValues(knownType(e), "dropped"))
	case sagas.KindChildStarted:
		t.count(t.m.children.WithLabelValues(e.Type, "started"))
	case sagas.KindChildEnded:
		t.count(t.m.children.WithLabelValues(e.Type, "ended"))
	case sagas.KindEmitted:
		t.count(t.m.events.WithLabelValues(e.Type))
	case sagas.KindTaskOpened:
		t.count(t.m.decisions.WithLabelValues(e.Type, "opened"))
	case sagas.KindTaskReminded:
		t.count(t.m.decisions.WithLabelValues(e.Type, "reminded"))
	case sagas.KindTaskDecided:
		t.count(t.m.decisions.WithLabelValues(e.Type, "decided"))
	case sagas.KindOperator:
		t.count(t.m.actions.WithLabelValues(e.Type, detailOf(e, "action")))
	case sagas.KindStepDone:
		if before == nil {
			return
		}
		if i := before.StepIndex(e.Path); i >= 0 && before.Steps[i].FirstSent > 0 {
			took = max(int64(e.At-before.Steps[i].FirstSent), 0)
			t.observe(t.m.stepDuration.WithLabelValues(e.Type, stepOf(e.Path)), int64(e.At-before.Steps[i].FirstSent))
		}
	}
}
