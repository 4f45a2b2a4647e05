package flow

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/correlate"
)

// Metrics count what correlation does. A record that was tried again counts again.
type Metrics struct {
	delivered *prometheus.CounterVec
	letters   *prometheus.CounterVec
	ignored   *prometheus.CounterVec
}

// NewMetrics makes and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amends_correlation_delivered_total", Help: "Events brought to an instance, as a signal or a reply, by whether they were there before the wait.",
		}, []string{"as", "early"}),
		letters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amends_correlation_dead_letters_total", Help: "Records of the correlation topic, and early events, that became dead letters.",
		}, []string{"reason"}),
		ignored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "amends_correlation_ignored_total", Help: "Records that changed nothing; unmatched: an event without a time to wait that nobody waited for.",
		}, []string{"reason"}),
	}
	r.MustRegister(m.delivered, m.letters, m.ignored)
	return m
}

func (m *Metrics) deliver(f *correlate.Deliver) {
	as, early := "signal", "no"
	if f.Wait.Token != "" {
		as = "reply"
	}
	if f.Early {
		early = "yes"
	}
	m.delivered.WithLabelValues(as, early).Inc()
}
