package orchestrator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/protocol"
)

// TestNinetyDays: the carrier answers after 90 days of silence and is asked again all the time; the
// process restarts half-way. In virtual time the whole stack goes through it in seconds.
func TestNinetyDays(t *testing.T) {
	if testing.Short() {
		t.Skip("make test runs it; under the race detector (-short) virtual months take minutes")
	}
	virtual(t, func(t *testing.T, r *rig) {
		r.unhurried()
		r.cfg.InstanceID = "a"
		r.cfg.Partitions = 1
		src, topics := r.orderSaga()
		src = strings.Replace(src, `    kind: retriable
`, `    kind: retriable
    attempt: 12h
    retry:
      backoff: 12h
      max: 24h
`, 1)
		begun := time.Now()
		r.people.on("do", "create", func(protocol.Command, []byte, int) *answer {
			if time.Since(begun) < 90*24*time.Hour {
				return silence()
			}
			return ok(`{"tracking":"t"}`)
		})
		r.apply(src)
		r.people.serve(topics...)
		r.start()
		r.ready()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.ends(wid, "finishing", time.Second)
		time.Sleep(45 * 24 * time.Hour)
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.ready()
		v := r.ends(wid, "completed", 12*time.Hour)
		if took := time.Since(begun); took < 90*24*time.Hour {
			t.Errorf("completed after %v", took)
		}
		if v.Steps[3].Attempts < 60 {
			t.Errorf("%d attempts", v.Steps[3].Attempts)
		}
	})
}
