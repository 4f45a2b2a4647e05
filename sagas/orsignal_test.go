package sagas

import (
	"slices"
	"testing"
)

// TestStartOrSignal: a start that may be a signal starts what is not there, and is a signal to what is.
// The very same event again is neither.
func TestStartOrSignal(t *testing.T) {
	d, err := ParseDefinition("t", []byte(`
saga: t
version: 1
deadline: 1d
reuse: afterFailed
steps:
  - {id: one, await: {signal: note}, keep: [n]}
  - {id: two, await: {signal: note}, keep: [n]}
`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	event := func(id, n string) Start {
		return Start{WorkflowID: "t/1", Type: "t", Version: 1, StartID: id, Input: []byte(`{"same":true}`), IssuedAt: 1000,
			OrSignal: &Signal{WorkflowID: "t/1", Name: "note", ID: "note:" + id, Payload: []byte(`{"n":` + n + `}`), TTL: 1000}}
	}
	inst, _ := Step(p, nil, event("e1", "1"), 1000)
	if inst == nil || inst.Phase != Running || inst.StartID != "e1" {
		t.Fatalf("not started: %+v", inst)
	}
	first := inst.Rev
	again, effects := Step(p, inst, event("e1", "1"), 1001)
	if !has(effects, KindDuplicate) || again.Phase != Running || len(again.Signals) > 0 {
		t.Errorf("the same event again: %v", effects)
	}
	inst, _ = Step(p, again, event("e2", "2"), 1002) // the input is that of the start: an event is no less one for it
	if s := inst.Steps[0]; s.State.String() != "DONE" || string(s.Output) != `{"n":2}` || inst.Rev == first {
		t.Fatalf("the second event: %v %s", s.State, s.Output)
	}
	same, effects := Step(p, inst, event("e2", "2"), 1003)
	if same.Phase != Running || same.Steps[1].State.String() == "DONE" {
		t.Errorf("the second event again: %v", effects)
	}
	inst, _ = Step(p, inst, event("e3", "3"), 1004)
	if inst.Phase != Completed {
		t.Fatalf("phase %s", inst.Phase)
	}
	// An instance that has ended takes no signal: the event becomes a dead letter and is not lost.
	_, effects = Step(p, inst, event("e4", "4"), 1005)
	if !slices.ContainsFunc(effects, func(e Effect) bool { l, ok := e.(DeadLetter); return ok && l.Class == ClassUnmatchedSignal }) {
		t.Errorf("after the end: %v", effects)
	}
	void, _ := Step(p, nil, Cancel{WorkflowID: "t/1", RequestID: "r", Reason: "no"}, 1000)
	refused, effects := Step(p, void, event("e1", "1"), 1001)
	if refused.Phase != Void || !has(effects, KindRejected) {
		t.Errorf("after a cancel: %s %v", refused.Phase, effects)
	}
}

func has(effects []Effect, kind Kind) bool {
	return slices.ContainsFunc(effects, func(e Effect) bool { l, ok := e.(Lifecycle); return ok && l.Kind == kind })
}
