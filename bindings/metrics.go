package bindings

import "github.com/prometheus/client_golang/prometheus"

// metrics count what was committed, and say how far this process is behind.
type metrics struct {
	records *prometheus.CounterVec
	lag     *prometheus.GaugeVec
}

var resultNames = [...]string{passed: "passed", matched: "matched", dead: "dead"}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "amends_binding_records_total",
			Help: "Records of other topics that a binding has read: passed over, matched, or dead letters."}, []string{"binding", "topic", "result"}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "amends_binding_lag_records",
			Help: "Records behind the position of a binding, on the partitions that this process reads."}, []string{"binding", "topic"}),
	}
	if reg != nil {
		reg.MustRegister(m.records, m.lag)
	}
	return m
}

func (m *metrics) begin(key, topic string) {
	for _, what := range []result{passed, matched, dead} {
		m.records.WithLabelValues(key, topic, resultNames[what])
	}
	m.lag.WithLabelValues(key, topic)
}

func (m *metrics) count(key, topic string, what result, n int) {
	m.records.WithLabelValues(key, topic, resultNames[what]).Add(float64(n))
}

// end takes back what this process says of a lag that others have now.
func (m *metrics) end(key, topic string) { m.lag.DeleteLabelValues(key, topic) }
