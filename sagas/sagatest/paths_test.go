package sagatest_test

import (
	"testing"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
	"pgregory.net/rapid"
)

// An instance of plain calls goes through the machine's short way, one with other nodes through the
// tree of frames. On a plan that both can run they do the same: same effects, same steps, same timers.
func TestFlatAndTreeAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		var asTree *sagas.Plan
		var inst *sagas.Instance
		k := knobs{forgetful: true, plan: drawFlatPlan}
		s = newScenario(t, k, func(r sagatest.Record) {
			var effects []sagas.Effect
			inst, effects = sagas.Step(asTree, inst, r.Event, r.Now)
			if got, want := effectsText(effects), effectsText(r.Effects); got != want {
				failf(t, s, "as a tree it does\n%s", got)
			}
			if (inst == nil) != (r.After == nil) {
				failf(t, s, "one of them has a record")
			}
			if inst == nil {
				return
			}
			same := *inst
			same.Level = 0
			if string(encode(&same)) != string(encode(r.After)) {
				failf(t, s, "as a tree it is %v", inst.View(asTree))
			}
		})
		tree := *s.plan
		tree.Requires = 2
		asTree = &tree
		s.run(k)
		s.settle()
	})
}

func drawFlatPlan(t *rapid.T) *sagas.Plan {
	if rapid.Bool().Draw(t, "sequence") {
		return drawCompiledPlan(t)
	}
	return drawGraphPlan(t)
}
