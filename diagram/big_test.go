package diagram

import (
	"fmt"
	"testing"

	"github.com/amendsio/amends/sagas"
)

// TestLargest draws the largest definitions there can be: long, wide, deep, and with many lines.
func TestLargest(t *testing.T) {
	n := 0
	node := func() sagas.StepDef {
		n++
		return call(fmt.Sprintf("s%d", n), "svc.do", sagas.Compensatable, "svc.undo")
	}
	some := func(count int) []sagas.StepDef {
		var out []sagas.StepDef
		for range count {
			out = append(out, node())
		}
		return out
	}
	wide := func() sagas.StepDef {
		s := sagas.StepDef{ID: fmt.Sprintf("wide%d", n), Node: sagas.NodeParallel}
		for i := range sagas.MaxLanes {
			s.Lanes = append(s.Lanes, sagas.LaneDef{Name: fmt.Sprintf("l%d", i), Steps: some(3)})
		}
		return s
	}
	deep := node()
	for i := range sagas.MaxNodeDepth - 1 {
		deep = sagas.StepDef{ID: fmt.Sprintf("deep%d", i), Node: sagas.NodeScope, Scope: &sagas.ScopeDef{Rounds: 2}, Lanes: []sagas.LaneDef{
			{Name: sagas.LaneDo, Steps: []sagas.StepDef{node(), deep}}, {Name: sagas.LaneCatch, Steps: some(1)},
		}}
	}
	tangled := some(sagas.MaxSteps)
	for i := range tangled {
		tangled[i].After = []string{}
		for j := 1; j <= 8 && j*j <= i; j++ {
			tangled[i].After = append(tangled[i].After, tangled[i-j*j].ID)
		}
	}
	for name, def := range map[string][]sagas.StepDef{
		"long": some(sagas.MaxSteps), "wide": {wide(), wide()}, "deep": {deep}, "tangled": tangled,
	} {
		d := New(&sagas.Definition{Saga: name, Version: 1, Steps: def})
		if faults := inspect(d.layout(true)); len(faults) > 0 {
			t.Errorf("%s: %d faults, the first: %s", name, len(faults), faults[0])
		}
		if out := d.SVG(Options{}); len(out) > 4<<20 {
			t.Errorf("%s: the SVG has %d bytes", name, len(out))
		}
		if out := d.Mermaid() + d.DOT() + d.Text(TextOptions{}); len(out) > 2<<20 {
			t.Errorf("%s: the texts have %d bytes", name, len(out))
		}
	}
}
