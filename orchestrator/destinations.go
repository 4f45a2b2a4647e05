package orchestrator

import (
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Destinations describes the topics of others that take no records from this process now, or that
// instances of this process wait for.
func (o *Orchestrator) Destinations() []topology.DestinationInfo {
	if w := o.worker.Load(); w != nil {
		return w.Destinations()
	}
	return nil
}

// waiting says what an instance waits for, and why. What its state would send next waits only when
// the topic is known to hold things back.
func waiting(next []sagas.Waits, known []topology.DestinationInfo) (list []sagas.WaitView) {
	for _, n := range next {
		i := slices.IndexFunc(known, func(d topology.DestinationInfo) bool { return d.Topic == n.Topic })
		if i < 0 {
			continue
		}
		d := known[i]
		reason := "held back by the limits of topic " + d.Topic
		if d.State != topology.DestinationClosed {
			reason = fmt.Sprintf("held by the breaker (%v): topic %s takes nothing: %s", d.State, d.Topic, d.Reason)
		}
		list = append(list, sagas.WaitView{Path: n.Path, Topic: n.Topic, Reason: reason, Since: sagas.Time(d.Since)})
	}
	return list
}

// destinationCollector shows the breakers that are not closed. A topic that flows has no series: topics
// for results are named by producers.
type destinationCollector struct{ o *Orchestrator }

// Among Metrics.
var (
	destinationOpen = Metric{Name: "amends_destination_open", Type: "gauge", Labels: []string{"topic"},
		Help: "1 while the breaker of a topic of others is open, 0.5 while it is half-open."}
	destinationWaiting = Metric{Name: "amends_destination_waiting", Type: "gauge", Labels: []string{"topic"},
		Help: "Instances in the stores of this process that wait for a topic of others."}

	breakerDesc, waitingDesc = destinationOpen.desc(), destinationWaiting.desc()
)

func (c *destinationCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- breakerDesc
	ch <- waitingDesc
}

func (c *destinationCollector) Collect(ch chan<- prometheus.Metric) {
	for _, d := range c.o.Destinations() {
		open := map[topology.DestinationState]float64{topology.DestinationOpen: 1, topology.DestinationHalfOpen: 0.5}[d.State]
		ch <- prometheus.MustNewConstMetric(breakerDesc, prometheus.GaugeValue, open, d.Topic)
		ch <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(d.Waiting), d.Topic)
	}
}
