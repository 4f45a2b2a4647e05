package prove

import (
	"strings"

	"github.com/amendsio/amends/sagas"
)

// read notes what the expressions may ask for that are looked at while a saga compensates: the inputs
// of undos and of questions. A node counts as asked for when its id stands anywhere in such an
// expression, whatever it means there; without a definition to look at, everything counts.
func (x *explorer) read(d *sagas.Definition) {
	var all strings.Builder
	if d != nil {
		expressions(d.Steps, &all)
	}
	words := wordsOf(all.String())
	x.readsInput = d == nil || words["input"]
	x.readsSignals = d == nil || words["signals"]
	x.reads = named(x.plan, d, all.String())
}

// named says of each node whether its id stands anywhere in a text.
func named(p *sagas.Plan, d *sagas.Definition, text string) []bool {
	words := wordsOf(text)
	out := make([]bool, len(p.Steps))
	for i := range p.Steps {
		id := p.Steps[i].Path
		out[i] = d == nil || words[id] || strings.Contains(id, "-") && strings.Contains(text, id)
	}
	return out
}

func wordsOf(text string) map[string]bool {
	words := make(map[string]bool)
	for _, w := range strings.FieldsFunc(text, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		words[w] = true
	}
	return words
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
