package orchestrator

import "github.com/prometheus/client_golang/prometheus"

// storeBytes is among Metrics.
var storeBytes = Metric{Name: "amends_store_bytes", Type: "gauge", Labels: []string{"partition"},
	Help: "Bytes on disk of the store of a task of this process."}

// storeBytesCollector asks the stores when somebody looks. A task that goes takes its series with it.
type storeBytesCollector struct {
	o    *Orchestrator
	desc *prometheus.Desc
}

func newStoreBytesCollector(o *Orchestrator) *storeBytesCollector {
	return &storeBytesCollector{o, storeBytes.desc()}
}

func (c *storeBytesCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c *storeBytesCollector) Collect(ch chan<- prometheus.Metric) {
	w := c.o.worker.Load()
	if w == nil {
		return
	}
	for _, t := range w.Tasks() {
		if view, ok := w.View(t.Task); ok {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(view.Metrics().DiskBytes), taskLabel(t.Task))
		}
	}
}
