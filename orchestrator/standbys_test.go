package orchestrator

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/amendsio/amends/topology"
)

// TestStandbyMetrics: a series for each standby, gone with it, and no age for one that was never up to date.
func TestStandbyMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	list := []topology.StandbyInfo{
		{Task: 3, Lag: topology.Lag{Records: 12, Age: 2 * time.Second}},
		{Task: 7, Lag: topology.Lag{Records: 5000, Age: math.MaxInt64}},
	}
	registry.MustRegister(newStandbyCollector(func() []topology.StandbyInfo { return list }))
	gather := func() string {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, f := range families {
			for _, m := range f.GetMetric() {
				b.WriteString(f.GetName() + "{" + m.GetLabel()[0].GetValue() + "} " + strings.TrimSpace(m.GetGauge().String()) + "\n")
			}
		}
		return b.String()
	}
	const want = `amends_standby_lag_records{3} value:12
amends_standby_lag_records{7} value:5000
amends_standby_lag_seconds{3} value:2
`
	if got := gather(); got != want {
		t.Errorf("have\n%s, want\n%s", got, want)
	}
	if list = nil; gather() != "" {
		t.Errorf("series without standbys:\n%s", gather())
	}
}
