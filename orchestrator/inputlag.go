package orchestrator

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/amendsio/amends/topology"
)

// consumerLag is among Metrics.
var consumerLag = Metric{Name: "amends_consumer_lag_records", Type: "gauge", Labels: []string{"topic"},
	Help: "Records of an input topic behind the positions of the tasks of this process, as of at most 10 s ago. The marker of a transaction at the end counts as one."}

const (
	lagFor      = 10 * time.Second // how long the ends of the topics are remembered
	lagPatience = time.Second      // of a scrape with the brokers
)

// lagCollector asks for the ends of the input topics when somebody looks, so that a process that nobody scrapes
// asks nothing. The positions are those of the last commit of each task.
type lagCollector struct {
	o    *Orchestrator
	desc *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	ends  kadm.ListedOffsets // nil: not known
}

func newLagCollector(o *Orchestrator) *lagCollector {
	return &lagCollector{o: o, desc: consumerLag.desc()}
}

func (c *lagCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c *lagCollector) Collect(ch chan<- prometheus.Metric) {
	tasks, ends := c.o.Tasks(), c.current()
	if ends == nil {
		return // no number is better than a wrong one
	}
	lag := map[string]int64{}
	for _, t := range tasks {
		if t.State != topology.TaskRunning {
			continue
		}
		for _, in := range t.Inputs {
			if end, ok := ends.Lookup(in.Topic, in.Partition); ok && end.Err == nil {
				lag[in.Topic] += max(0, end.Offset-in.Next)
			}
		}
	}
	for topic, n := range lag {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), topic)
	}
}

// current are the ends of what is committed, nil when the brokers do not tell.
func (c *lagCollector) current() kadm.ListedOffsets {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.o.sender.Load()
	if cl == nil {
		return nil
	}
	now := c.o.cfg.Clock()
	if d := now.Sub(c.asked); !c.asked.IsZero() && d >= 0 && d < lagFor {
		return c.ends
	}
	c.asked, c.ends = now, nil
	ctx, cancel := context.WithTimeout(context.Background(), lagPatience)
	defer cancel()
	if ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, c.o.topics.Control, c.o.topics.Replies, c.o.topics.Intake); err == nil {
		c.ends = ends
	}
	return c.ends
}
