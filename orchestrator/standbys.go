package orchestrator

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/topology"
)

// Standbys describes the copies of other processes' tasks that this process keeps warm.
func (o *Orchestrator) Standbys() []topology.StandbyInfo {
	if w := o.worker.Load(); w != nil {
		return w.Standbys()
	}
	return nil
}

// standbyLag and standbyAge are among Metrics.
var (
	standbyLag = Metric{Name: "amends_standby_lag_records", Type: "gauge", Labels: []string{"partition"},
		Help: "Changelog offsets that a standby of this process lacks."}
	standbyAge = Metric{Name: "amends_standby_lag_seconds", Type: "gauge", Labels: []string{"partition"},
		Help: "Time since a standby of this process had all that was committed."}
)

func (m Metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil) }

// standbyCollector asks the standbys when somebody looks. One that goes takes its series with it, and
// one that was never up to date has no age.
type standbyCollector struct {
	list     func() []topology.StandbyInfo
	lag, age *prometheus.Desc
}

func newStandbyCollector(list func() []topology.StandbyInfo) *standbyCollector {
	return &standbyCollector{list: list, lag: standbyLag.desc(), age: standbyAge.desc()}
}

func (c *standbyCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.lag
	ch <- c.age
}

func (c *standbyCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.list() {
		partition := taskLabel(s.Task)
		ch <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, float64(s.Lag.Records), partition)
		if s.Lag.Known() {
			ch <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, s.Lag.Age.Seconds(), partition)
		}
	}
}
