package derive

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/topology"
)

// Metrics count what a stage reads and writes. Bytes are those of keys and values, before compression
// and without headers.
//
//	amends_derive_records_in_total{stage}          records taken from the source and understood
//	amends_derive_bytes_in_total{stage}
//	amends_derive_records_out_total{stage,topic}   records written
//	amends_derive_bytes_out_total{stage,topic}
//	amends_derive_dead_letters_total{stage}        records set aside, attempts included
//	amends_derive_transactions_total{stage,outcome}
type Metrics struct {
	in, inBytes  prometheus.Counter
	out          []prometheus.Counter // by target
	outBytes     []prometheus.Counter
	dead         prometheus.Counter
	transactions *prometheus.CounterVec

	mu struct {
		sync.Mutex
		tallies map[int32]*Tally
	}
}

// NewMetrics makes and registers the metrics of a stage. A nil registerer is allowed.
func NewMetrics(st *Stage, reg prometheus.Registerer) *Metrics {
	m := &Metrics{}
	m.mu.tallies = make(map[int32]*Tally)
	constant := prometheus.Labels{"stage": st.Name}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "amends_derive_" + name, Help: help, ConstLabels: constant}, labels)
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	m.in = vec("records_in_total", "Records taken from the source and understood.").WithLabelValues()
	m.inBytes = vec("bytes_in_total", "Bytes of keys and values of those records.").WithLabelValues()
	records := vec("records_out_total", "Records written, by topic.", "topic")
	size := vec("bytes_out_total", "Bytes of keys and values of those records.", "topic")
	for _, tg := range st.targets {
		m.out = append(m.out, records.WithLabelValues(tg.topic))
		m.outBytes = append(m.outBytes, size.WithLabelValues(tg.topic))
	}
	m.dead = vec("dead_letters_total", "Records that were set aside; one that was tried again counts again.").WithLabelValues()
	m.transactions = vec("transactions_total", "Kafka transactions by outcome.", "outcome")
	return m
}

// Tally is what the cycle of one task counts, until it is known whether the cycle commits. A nil Tally
// counts nothing.
type Tally struct {
	m  *Metrics
	mu struct {
		sync.Mutex
		counts
		before counts // the last record
	}
}

// counts are of records and bytes, in and out, the latter by target.
type counts struct {
	records, bytes       int
	outRecords, outBytes []int
}

func (c *counts) copyFrom(o *counts) {
	c.records, c.bytes = o.records, o.bytes
	c.outRecords, c.outBytes = append(c.outRecords[:0], o.outRecords...), append(c.outBytes[:0], o.outBytes...)
}

// Task gives the tally of a task.
func (m *Metrics) Task(task int32) *Tally {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.mu.tallies[task]
	if t == nil {
		t = &Tally{m: m}
		t.mu.outRecords, t.mu.outBytes = make([]int, len(m.out)), make([]int, len(m.out))
		m.mu.tallies[task] = t
	}
	return t
}

func (t *Tally) in(n int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.mu.before.copyFrom(&t.mu.counts)
	t.mu.records++
	t.mu.bytes += n
	t.mu.Unlock()
}

func (t *Tally) out(target, n int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	t.mu.outRecords[target]++
	t.mu.outBytes[target] += n
	t.mu.Unlock()
}

// postponed takes back what the last record counted: it comes again.
func (t *Tally) postponed() {
	t.mu.Lock()
	t.mu.counts.copyFrom(&t.mu.before)
	t.mu.Unlock()
}

// settle moves what was counted to the metrics, or drops it.
func (t *Tally) settle(committed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if committed {
		t.m.in.Add(float64(t.mu.records))
		t.m.inBytes.Add(float64(t.mu.bytes))
		for i := range t.mu.outRecords {
			t.m.out[i].Add(float64(t.mu.outRecords[i]))
			t.m.outBytes[i].Add(float64(t.mu.outBytes[i]))
		}
	}
	t.mu.records, t.mu.bytes = 0, 0
	clear(t.mu.outRecords)
	clear(t.mu.outBytes)
}

// Hooks feed the metrics from the runtime.
func (m *Metrics) Hooks() topology.Hooks {
	return topology.Hooks{
		Cycle: func(s topology.CycleStats) {
			m.transactions.WithLabelValues("committed").Inc()
			m.Task(s.Task).settle(true)
		},
		Aborted: func(task int32, class string, _ error) {
			m.transactions.WithLabelValues(class).Inc()
			m.Task(task).settle(false)
		},
		Postponed: func(task int32) { m.Task(task).postponed() },
		Poisoned:  func(int32, error) { m.dead.Inc() },
	}
}
