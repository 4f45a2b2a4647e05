package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/topology"
)

// TestCorrelationStuck: a task of the correlation that is stuck, with nobody else to take it, is a reason to restart the
// process as one of the sagas is.
func TestCorrelationStuck(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.cfg.Tasks = 1 // and the events have one partition: the other tasks are those of the correlation
		topic := r.c.CreateTopic("air.events", 1, nil)
		r.apply(fmt.Sprintf("saga: seat\nversion: 1\ndeadline: 30d\nsteps:\n- {id: told, await: {topic: %s, match: =event.seat, equals: =input.value}}\n", topic))
		gate := make(chan struct{})
		r.cfg.Memory = 512 << 20
		r.cfg.Failpoint = func(name string, task int32) error {
			if name == topology.FailAdvance && task > 0 {
				<-gate
			}
			return nil
		}
		r.start()
		r.ready()
		if err := r.o.Live(); err != nil {
			t.Fatal(err)
		}
		for i := range 16 { // on any partition
			r.begin("seat", fmt.Sprint(i), map[string]any{"value": fmt.Sprint("seat ", i)})
		}
		r.until("the process is not live", time.Second, func() bool { return r.o.Live() != nil })
		if err := r.o.Live(); !strings.HasPrefix(err.Error(), "correlation: task ") {
			t.Error(err)
		}
		close(gate)
	})
}
