package orchestrator

import (
	"testing"

	"github.com/amendsio/amends/topology"
)

// TestKeyRecords: what processes of the first release cannot read is not written while they may take over.
func TestKeyRecords(t *testing.T) {
	for _, c := range []struct {
		level     uint32
		set, want int
	}{{0, 0, 0}, {levelFirst, 0, 0}, {levelFull, 0, keyRecords}, {levelFull, -1, 0}, {levelFull, 7, 7}} {
		o := &Orchestrator{cfg: Config{Limits: topology.Limits{KeyRecords: c.set}}, definitions: &definitions{}}
		o.definitions.current.Store(&catalog{level: c.level})
		if got := o.limits().KeyRecords; got != c.want {
			t.Errorf("level %d, set to %d: %d, want %d", c.level, c.set, got, c.want)
		}
	}
}
