package sagas

import (
	"slices"
	"testing"
)

// blockWorld runs a definition with nodes.
func blockWorld(t testing.TB, src, input string) *world {
	t.Helper()
	d, err := ParseDefinition("test", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	p.Namespace = "test"
	w := newWorld(t, p)
	start := startEvent()
	start.WorkflowID, start.Type, start.Version = p.Type+"/1", p.Type, p.Version
	if start.Input, err = CanonicalJSON([]byte(input)); err != nil {
		t.Fatal(err)
	}
	w.send(start)
	return w
}

const tourSource = `
saga: tour
version: 1
participants: {svc: {ops: [do, undo]}}
steps:
- id: way
  choose:
  - {when: '=input.fast', do: [{id: fly, call: svc.fly, undo: {call: svc.unfly}}]}
  - else:
    - id: legs
      each: {in: '=input.legs', as: leg, key: '=leg', max: 3, onItemFailure: collect}
      do: [{id: seat, call: svc.seat, undo: {call: svc.unseat}}, {id: meal, call: svc.meal, undo: {call: svc.unmeal}}]
- {id: pay, call: svc.pay, kind: pivot, onUnknown: attention}
`

// The view says where in the tree a step stands, which frames there are, and what a frame that was
// turned round owes, also after the commit point.
func TestViewOfBlocks(t *testing.T) {
	w := blockWorld(t, tourSource, `{"fast":false,"legs":["x","y"]}`)
	w.reply("legs[x]/seat", OutcomeOK)
	w.reply("legs[y]/seat", OutcomeOK)
	w.reply("legs[x]/meal", OutcomeRejected, code("NONE"))
	v := w.inst.View(w.p)
	at := slices.IndexFunc(v.Steps, func(s StepView) bool { return s.Path == "legs[x]/seat" })
	if s := v.Steps[at]; s.Parent != "legs" || s.Node != "" || s.Participant != "svc" || s.Undo != "U_PENDING" {
		t.Errorf("%+v", s)
	}
	if s := v.Steps[0]; s.Node != "choose" || s.Taken != "else" || s.Parent != "" || s.Participant != "" {
		t.Errorf("%+v", s)
	}
	at = slices.IndexFunc(v.Steps, func(s StepView) bool { return s.Path == "legs" })
	if s := v.Steps[at]; s.Parent != "way" || s.Lane != "else" {
		t.Errorf("%+v", s)
	}
	want := []FrameView{{"legs", "x", "undoing", "legs[x]/meal: NONE"}, {"legs", "y", "open", ""}}
	if !slices.Equal(v.Frames, want) {
		t.Errorf("frames %+v", v.Frames)
	}
	if v := w.inst.View(nil); !slices.Equal(v.Frames, want) || v.Steps[0].Node != "" {
		t.Errorf("without the plan: %+v", v)
	}
	owed := Obligation{Path: "legs[x]/seat", State: "DONE", Undo: "U_PENDING"}
	if !slices.Contains(v.Obligations, owed) || len(v.Obligations) != 3 {
		t.Errorf("obligations %+v", v.Obligations)
	}
	w.reply("legs[y]/meal", OutcomeOK)
	w.reply("undo legs[x]/seat", OutcomeOK)
	w.reply("pay", OutcomeOK)
	w.phase(Completed)
}
