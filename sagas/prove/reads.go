package prove

import (
	"strings"

	"github.com/amendsio/amends/sagas"
)

// read notes what the expressions may ask for that are looked at while a saga compensates: the inputs
// of undos and of questions. A node counts as asked for when its id stands anywhere in such an
// expression, whatever it means there; without a definition to look at, everything counts.
func (x *explorer) read(d *sagas.Definition) {
	x.reads = make([]bool, len(x.plan.Steps))
	var all strings.Builder
	words := make(map[string]bool)
	if d != nil {
		expressions(d.Steps, &all)
		for _, w := range strings.FieldsFunc(all.String(), func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			words[w] = true
		}
	}
	x.readsInput = d == nil || words["input"]
	x.readsSignals = d == nil || words["signals"]
	for i := range x.plan.Steps {
		id := x.plan.Steps[i].Path
		x.reads[i] = d == nil || words[id] || strings.Contains(id, "-") && strings.Contains(all.String(), id)
	}
}

// expressions gathers the inputs of all undos and questions.
func expressions(steps []sagas.StepDef, all *strings.Builder) {
	for i := range steps {
		s := &steps[i]
		if s.Undo != nil {
			all.Write(s.Undo.With)
			all.WriteByte(' ')
		}
		if s.Inquire != nil {
			all.Write(s.Inquire.With)
			all.WriteByte(' ')
		}
		for k := range s.Lanes {
			expressions(s.Lanes[k].Steps, all)
		}
	}
}
