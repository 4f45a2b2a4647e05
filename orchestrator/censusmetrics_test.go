package orchestrator_test

import (
	"testing"
	"time"

	"github.com/amendsio/amends/protocol"
)

// TestCensusMetrics: the gauges follow what the instances do, and say how long somebody has been needed.
func TestCensusMetrics(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.people.on("do", "capture", func(protocol.Command, []byte, int) *answer { return silence() })
		r.running()
		gauge := func(name string) (sum float64, found bool) {
			families, err := r.o.Gatherer().Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == name {
					for _, m := range f.GetMetric() {
						sum, found = sum+m.GetGauge().GetValue(), true
					}
				}
			}
			return sum, found
		}
		if n, found := gauge("amends_instances_attention_oldest_seconds"); n != 0 || !found {
			t.Errorf("nobody is needed: %v %t", n, found)
		}
		r.begin("order", "1", map[string]any{"amount": 1})
		r.until("the instance is counted", time.Second, func() bool { n, _ := gauge("amends_instances_active"); return n == 1 })
		if n, found := gauge("amends_timers_pending"); n != 1 || !found {
			t.Errorf("%v active instances with a timer, want the one", n)
		}
		if n, found := gauge("amends_instances_attention"); n != 0 || !found {
			t.Errorf("it needs nobody yet: %v %t", n, found)
		}
		r.until("it needs a person", 5*time.Second, func() bool { n, _ := gauge("amends_instances_attention"); return n == 1 })
		time.Sleep(2 * time.Minute)
		if n, _ := gauge("amends_instances_attention_oldest_seconds"); n < 100 || n > 200 {
			t.Errorf("the oldest waits for %v s, want about two minutes", n)
		}
		r.until("all that was read is committed", time.Minute, func() bool { n, found := gauge("amends_consumer_lag_records"); return found && n == 0 })
	})
}
