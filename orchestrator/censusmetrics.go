package orchestrator

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Gauges that are made of what the stores count; among Metrics.
var (
	instancesActive = Metric{Name: "amends_instances_active", Type: "gauge", Labels: []string{"status"},
		Help: "Instances in the stores of this process, by status."}
	timersPending = Metric{Name: "amends_timers_pending", Type: "gauge",
		Help: "Active instances in the stores of this process that have a timer: for a next attempt, the end of a wait, a deadline."}
	instancesAttention = Metric{Name: "amends_instances_attention", Type: "gauge", Labels: []string{"saga"},
		Help: "Instances of this process that need a person now."}
	oldestAttention = Metric{Name: "amends_instances_attention_oldest_seconds", Type: "gauge",
		Help: "For how long the one of this process that has waited longest has needed a person, among the first 500 of each task; 0 = none."}
)

const (
	attentionFor = 15 * time.Second // how long the oldest is remembered: it is looked for in the instances themselves
	attentionMax = 500              // instances of one task that are looked at for it
)

// censusCollector asks the stores when somebody looks.
type censusCollector struct {
	o                 *Orchestrator
	attention, oldest *prometheus.Desc

	mu     sync.Mutex
	since  sagas.Time // of the oldest, 0 = none
	looked time.Time
}

func newCensusCollector(o *Orchestrator) *censusCollector {
	return &censusCollector{o: o, attention: instancesAttention.desc(), oldest: oldestAttention.desc()}
}

func (c *censusCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.attention
	ch <- c.oldest
}

func (c *censusCollector) Collect(ch chan<- prometheus.Metric) {
	census, err := c.o.Census()
	if err != nil {
		return // the stores are going away: no number is better than a wrong one
	}
	attention := map[string]int64{}
	for _, r := range census.Rows {
		if r.Active {
			attention[r.Type] += 0 // a saga that runs has the series, so that an alert sees it fall
		}
		if r.Attention {
			attention[r.Type] += r.N
		}
	}
	needed := false
	for saga, n := range attention {
		needed = needed || n > 0
		ch <- prometheus.MustNewConstMetric(c.attention, prometheus.GaugeValue, float64(n), saga)
	}
	age := 0.0
	if needed {
		if since := c.oldestSince(); since > 0 {
			age = max(0, float64(c.o.cfg.Clock().UnixMilli()-int64(since))/1000)
		}
	}
	ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, age)
}

// oldestSince is when the attention that is oldest began, 0 = there is none.
func (c *censusCollector) oldestSince() sagas.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.cfg.Clock()
	if d := now.Sub(c.looked); !c.looked.IsZero() && d >= 0 && d < attentionFor {
		return c.since
	}
	c.looked, c.since = now, 0
	w := c.o.worker.Load()
	if w == nil {
		return 0
	}
	for _, t := range w.Tasks() {
		if view, ok := w.View(t.Task); ok {
			if since := oldestIn(view); since > 0 && (c.since == 0 || since < c.since) {
				c.since = since
			}
		}
	}
	return c.since
}

func oldestIn(view topology.View) (oldest sagas.Time) {
	var keys [][]byte
	err := view.ScanAttr(attrAttention, nil, func(key []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return len(keys) < attentionMax
	})
	if err != nil {
		return 0
	}
	// A store that goes away meanwhile has told what it could.
	_ = view.GetSorted(keys, func(_, value []byte) bool {
		r := Row{}
		r.fill(value)
		for _, a := range r.Attention {
			if oldest == 0 || a.Since < oldest {
				oldest = a.Since
			}
		}
		return true
	})
	return oldest
}
