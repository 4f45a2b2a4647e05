package bridge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/protocol"
)

// Metrics of a bridge.
//
//	amends_bridge_tries_total{destination,command,op,outcome}   requests, retries included
//	amends_bridge_try_duration_seconds{destination}
//	amends_bridge_replies_total{command,op,outcome}             commands that were answered
//	amends_bridge_calls{destination}                            under way or waiting
//	amends_bridge_breaker_open{destination}                     1 while the destination is left alone
//	amends_bridge_skipped_total{reason}                         commands with nobody to answer
type metrics struct {
	tries   *prometheus.CounterVec
	took    *prometheus.HistogramVec
	replies *prometheus.CounterVec
	load    *prometheus.GaugeVec
	open    *prometheus.GaugeVec
	skipped *prometheus.CounterVec
	all     []Metric
}

// Metric is one metric of a bridge, with the labels that vary and that which is constant.
type Metric struct {
	Name, Type, Help string
	Labels           []string
}

// Metrics lists what every bridge counts, in the order in which it is declared.
func Metrics() []Metric { return newMetrics("", nil).all }

func newMetrics(name string, reg prometheus.Registerer) *metrics {
	m := &metrics{}
	constant := prometheus.Labels{"bridge": name}
	declare := func(name, kind, help string, labels []string) string {
		name = "amends_bridge_" + name
		m.all = append(m.all, Metric{name, kind, help, append([]string{"bridge"}, labels...)})
		return name
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: declare(name, "counter", help, labels), Help: help, ConstLabels: constant}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: declare(name, "gauge", help, labels), Help: help, ConstLabels: constant}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: declare(name, "histogram", help, labels), Help: help, ConstLabels: constant,
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12)}, labels)
	}
	m.tries = counter("tries_total", "Requests that were made, retries included.", "destination", "command", "op", "outcome")
	m.took = histogram("try_duration_seconds", "How long requests took.", "destination")
	m.replies = counter("replies_total", "Commands that were answered.", "command", "op", "outcome")
	m.load = gauge("calls", "Calls that are under way or wait.", "destination")
	m.open = gauge("breaker_open", "1 while a destination is left alone.", "destination")
	m.skipped = counter("skipped_total", "Records of the command topic that were passed over.", "reason")
	if reg != nil {
		reg.MustRegister(m.tries, m.took, m.replies, m.load, m.open, m.skipped)
	}
	return m
}

func (m *metrics) tried(destination string, cmd protocol.Command, res result, took time.Duration) {
	m.tries.WithLabelValues(destination, cmd.Name, string(cmd.Op), string(res.Outcome)).Inc()
	m.took.WithLabelValues(destination).Observe(took.Seconds())
}

func (m *metrics) breaker(destination string, open bool) {
	value := 0.0
	if open {
		value = 1
	}
	m.open.WithLabelValues(destination).Set(value)
}
