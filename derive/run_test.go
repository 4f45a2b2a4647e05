package derive

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/topology"
)

// TestRun derives on a cluster, with a crash at every point of a commit in turn: each record comes out
// once.
func TestRun(t *testing.T) {
	t.Run("bubble", func(t *testing.T) { kafkatest.Bubble(t, derived) })
	t.Run("cluster", func(t *testing.T) { derived(t, kafkatest.New(t)) })
}

func derived(t *testing.T, c *kafkatest.Cluster) {
	ns := c.Namespace()
	wide := c.CreateTopic(ns+".wide", 4, nil)
	st := parse(t, fmt.Sprintf(`
derive: %[1]s.stage
from: {topic: %[1]s.wide}
to:
  - {topic: %[1]s.even, where: '=input.n %% 2 == 0', key: '=input.id', value: {n: '=input.n'}}
  - {topic: %[1]s.all, value: {id: '=input.id'}}
`, ns))
	const each = 30
	sent := 0
	produce := func() {
		var recs []*kgo.Record
		for range each {
			// A backlog: what is derived from it keeps its time.
			recs = append(recs, &kgo.Record{Topic: wide, Timestamp: time.Now().Add(-time.Hour), Key: fmt.Appendf(nil, "k%d", sent%7), Value: fmt.Appendf(nil, `{"id":"r%d","n":%d}`, sent, sent)})
			sent++
		}
		recs = append(recs, &kgo.Record{Topic: wide, Value: []byte("not JSON")})
		c.Produce(recs...)
	}
	run := func(point string) (stop func() error) {
		r, err := New(Config{Stage: st, Client: c.Opts(), CreateTopics: true, Tasks: 2, Registerer: prometheus.NewRegistry(), Runtime: func(cfg *topology.Config) {
			cfg.InstanceID = "one" // so that the group does not wait for a process that crashed
			cfg.CacheBytes = 1 << 20
			cfg.Timing.Session, cfg.Timing.Heartbeat, cfg.Timing.Backoff = 6*time.Second, 200*time.Millisecond, 10*time.Millisecond
			if !c.IsReal() {
				cfg.Timing.FetchMaxWait = 10 * time.Minute
			}
			cfg.Failpoint = func(name string, _ int32) error {
				if name == point {
					return topology.ErrCrash
				}
				return nil
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		if point != "" {
			err := <-ended
			cancel()
			if !errors.Is(err, topology.ErrCrash) {
				t.Fatalf("ended with %v, want the crash at %s", err, point)
			}
		}
		return func() error {
			cancel()
			return <-ended
		}
	}
	rounds := 0
	for _, point := range []string{topology.FailFlush, topology.FailEnded, topology.FailApply} {
		produce()
		rounds++
		run(point)
	}
	produce()
	rounds++
	stop := run("")
	c.Consume(ns+".all", sent)
	c.Consume(ns+".stage.dead", rounds)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, rec := range c.ReadAll(ns + ".all") {
		seen[string(rec.Value)]++
	}
	for i := range sent {
		if n := seen[fmt.Sprintf(`{"id":"r%d"}`, i)]; n != 1 {
			t.Errorf("r%d came out %d times", i, n)
		}
	}
	if n := len(c.ReadAll(ns + ".even")); n != sent/2 {
		t.Errorf("%d even records, want %d", n, sent/2)
	}
	if n := len(c.ReadAll(ns + ".stage.dead")); n != rounds {
		t.Errorf("%d dead letters, want %d", n, rounds)
	}
}
