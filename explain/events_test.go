package explain

import (
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
)

// TestAwaitOfEvent: who waits for an event says for which, of which topic.
func TestAwaitOfEvent(t *testing.T) {
	def, err := sagas.ParseDefinition("t.yaml", []byte(`
saga: trip
version: 1
steps:
- {id: confirmed, await: {topic: air.events, match: =event.pnr, equals: =input.pnr, within: 24h, onTimeout: continue}}
`))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := sagas.Compile(def)
	if err != nil {
		t.Fatal(err)
	}
	w := sagatest.New(plan)
	w.Start("1", []byte(`{"pnr":"PNR 1"}`))
	e := Explain(Input{Instance: w.Instance(), Plan: plan, Now: w.Now()})
	if want := `confirmed waits for an event of topic air.events with match value "PNR 1"`; e.Cause != CauseSignal || !strings.Contains(e.Sentence, want) {
		t.Errorf("cause %s: %s", e.Cause, e.Sentence)
	}
	name := sagas.AwaitedSignal(&plan.Steps[0], &w.Instance().Steps[0])
	found := false
	for _, a := range e.Actions {
		found = found || strings.Contains(a.Command, name)
	}
	if !found {
		t.Errorf("no action sends the signal %s: %+v", name, e.Actions)
	}
}
