package sagas

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestResolveEqualsTheReply is P25: what an operator asserts with resolve moves the instance as the
// answer that would have said so, beside the fact that a person acted.
func TestResolveEqualsTheReply(t *testing.T) {
	inquiring := func(t *testing.T) *world {
		p := stuckPlan()
		offer(p, "p", UnknownInquire)
		w := atPivot(t, p)
		w.spend("p")
		return w
	}
	pending := func(t *testing.T) *world { return atPivot(t, stuckPlan()) }
	backoff := func(t *testing.T) *world {
		w := pending(t)
		w.reply("p", OutcomeFailedRetriable)
		return w
	}
	undoPending := func(t *testing.T) *world { return undoing2(t, stuckPlan()) }
	for _, c := range []struct {
		name   string
		build  func(*testing.T) *world
		path   string
		effect Certainty
		reply  Reply
	}{
		{"pending done", pending, "p", EffectDone, Reply{Outcome: OutcomeOK}},
		{"pending none", pending, "p", EffectNone, Reply{Outcome: OutcomeRejected, Code: codeResolved, Message: "why"}},
		{"backoff done", backoff, "p", EffectDone, Reply{Outcome: OutcomeOK}},
		{"backoff none", backoff, "p", EffectNone, Reply{Outcome: OutcomeRejected, Code: codeResolved, Message: "why"}},
		{"unknown done", pivotUnknown, "p", EffectDone, Reply{Outcome: OutcomeOK}},
		{"unknown none", pivotUnknown, "p", EffectNone, Reply{Outcome: OutcomeRejected, Code: codeResolved, Message: "why"}},
		{"inquiring done", inquiring, "p", EffectDone, Reply{Outcome: OutcomeOK}},
		{"inquiring none", inquiring, "p", EffectNone, Reply{Outcome: OutcomeRejected, Code: codeResolved, Message: "why"}},
		{"undo pending", undoPending, "a", EffectNone, Reply{Address: Address{Op: OpUndo}, Outcome: OutcomeOK}},
		{"undo stopped", undoStopped, "a", EffectNone, Reply{Address: Address{Op: OpUndo}, Outcome: OutcomeOK}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := c.build(t)
			s := w.inst.Steps[w.inst.StepIndex(c.path)]
			r := c.reply
			r.Run, r.Path = w.inst.Run, c.path
			if r.Op == OpUndo {
				r.Round, r.Attempt = s.UndoRound, s.UndoAttempts
			} else {
				r.Op, r.Round, r.Attempt = OpDo, s.Round, s.Attempts
			}
			byReply, effects := Step(w.p, w.inst, r, w.now)
			byHand, more := Step(w.p, w.inst, Admin{Action: AdminResolve, Path: c.path, Effect: c.effect, Operator: "op", Reason: "why"}, w.now)
			byReply.Seq++ // the fact operator
			if !reflect.DeepEqual(byReply, byHand) {
				t.Fatalf("resolve:\n%+v\nreply:\n%+v", byHand, byReply)
			}
			want, got := describeEffects(effects), describeEffects(more[1:])
			if want != got {
				t.Fatalf("resolve:\n%s\nreply:\n%s", got, want)
			}
		})
	}
}

// A refused action changes nothing and says why.
func TestRefusedActions(t *testing.T) {
	for _, c := range []struct {
		build  func(*testing.T) *world
		action Admin
		why    string
	}{
		{pivotUnknown, Admin{Action: AdminRetry, Path: "p", ExpectRev: 1}, "revision"},
		{pivotUnknown, Admin{Action: AdminRetry, Path: "x"}, "unknown-path"},
		{pivotUnknown, Admin{Action: AdminRetry}, "not-applicable"},
		{pivotUnknown, Admin{Action: AdminWaive}, "unknown-path"},
		{pivotUnknown, Admin{Action: AdminCompensate}, "pivot-in-flight"},
		{pivotUnknown, Admin{Action: AdminResume}, "duplicate"},
		{pivotUnknown, Admin{Action: AdminResolve, Path: "p"}, "bad-request"},
		{pivotUnknown, Admin{Action: AdminSkip, Path: "p", Output: []byte("[]")}, "bad-request"},
		{pivotUnknown, Admin{Action: AdminSkip, Path: "p", Output: []byte(`{"x":"` + strings.Repeat("y", MaxOutputBytes) + `"}`)}, "bad-request"},
		{pivotUnknown, Admin{Action: AdminExtend, By: 0}, "bad-request"},
		{pivotUnknown, Admin{Action: AdminSignal}, "bad-request"},
		{pivotUnknown, Admin{Action: "dance"}, "unknown-event"},
		{pivotUnknown, Admin{Action: AdminRetry, Path: "a"}, "not-applicable"},
		{pivotUnknown, Admin{Action: AdminRetry, Path: "r"}, "not-applicable"},
		{pivotUnknown, Admin{Action: AdminSkip, Path: "r"}, "not-applicable"},
		{pivotUnknown, Admin{Action: AdminWaive, Path: "a"}, "no-debt"},
		{undoStopped, Admin{Action: AdminCompensate}, "duplicate"},
		{undoStopped, Admin{Action: AdminSkip, Path: "a"}, "not-applicable"},
		{undoStopped, Admin{Action: AdminResolve, Path: "a", Effect: EffectDone}, "not-applicable"},
		{undoWindow, Admin{Action: AdminRetry, Path: "a"}, "key-window"},
		{refused, Admin{Action: AdminRetry, Path: "r"}, "not-applicable"},
		{refused, Admin{Action: AdminResolve, Path: "r", Effect: EffectDone}, "not-applicable"},
		{refused, Admin{Action: AdminCompensate}, "committed"},
		{lateEffect, Admin{Action: AdminRetry, Path: "o"}, "not-active"},
		{childClosed, Admin{Action: AdminRetryNewKey, Path: "c"}, "not-applicable"},
	} {
		w := c.build(t)
		before := w.inst.Append(nil)
		c.action.Operator, c.action.RequestID = "op", "r"
		w.send(c.action)
		if got := describeEffects(w.effects); got != "ignored "+c.why+"\n" {
			t.Errorf("%s %s: got %q, want %s", c.action.Action, c.action.Path, got, c.why)
		}
		if !slices.Equal(before, w.inst.Append(nil)) {
			t.Errorf("%s %s: refused, yet something changed", c.action.Action, c.action.Path)
		}
	}
}

// A retry of a question whose key window has passed asks again at once.
func TestRetryAsksAgain(t *testing.T) {
	p := stuckPlan()
	offer(p, "p", UnknownInquire)
	p.Steps[1].KeyWindow = time.Minute
	w := atPivot(t, p)
	w.spend("p")
	w.now += Time(time.Hour.Milliseconds())
	w.reply("inquire p", OutcomeRunning)
	w.has("fact attention p reason=UNKNOWN_OUTCOME")
	w.send(Admin{Action: AdminRetry, Path: "p", Operator: "op"})
	w.has("fact operator p", "fact attention-cleared p", "command inquire p")
	w.hasNot("command do p")
}

// Only the newest requests are remembered.
func TestAdminRequestsAreBounded(t *testing.T) {
	w := pivotUnknown(t)
	for k := range 2 * maxAdminIDs {
		action := AdminSuspend
		if k%2 == 1 {
			action = AdminResume
		}
		w.send(Admin{Action: action, Operator: "op", RequestID: fmt.Sprint(k)})
		w.has("fact operator")
	}
	if n := len(w.inst.AdminIDs); n != maxAdminIDs {
		t.Fatalf("%d requests are remembered", n)
	}
	w.send(Admin{Action: AdminSuspend, Operator: "op", RequestID: strings.Repeat("long", 100)})
	w.send(Admin{Action: AdminResume, Operator: "op", RequestID: strings.Repeat("long", 100)})
	w.has("ignored duplicate")
}

// A suspended instance sends nothing, whatever comes.
func TestSuspendedSendsNothing(t *testing.T) {
	p := stuckPlan()
	offer(p, "p", UnknownInquire)
	w := atPivot(t, p)
	w.send(Admin{Action: AdminSuspend, Operator: "op"})
	for range 40 {
		if w.inst.NextDue() == 0 {
			break
		}
		w.now = max(w.now, w.inst.NextDue())
		w.send(Timers{})
		w.hasNot("command")
		if due := w.inst.NextDue(); due != 0 && due <= w.now {
			t.Fatal("a timer that stands still is due")
		}
	}
	w.reply("p", OutcomeRejected)
	w.phase(Compensating)
	w.hasNot("command")
	w.send(Admin{Action: AdminResume, Operator: "op"})
	w.has("command undo a")
}

// The buffer of signals is bounded in number and in bytes, and every ID counts once.
func TestSignalCaps(t *testing.T) {
	w := newWorld(t, stuckPlan())
	w.start()
	big := Signal{WorkflowID: "pay/1", Name: "s", ID: "big", Payload: []byte(`"` + strings.Repeat("x", 60<<10) + `"`)}
	w.send(big)
	w.has("fact signalled")
	big.ID = "bigger"
	w.send(big)
	w.has("fact signal-dropped name=s signalId=bigger why=FULL", "deadletter SIGNAL_OVERFLOW", "fact attention")
	w.send(big) // it was not taken, so it may come again from the dead letters
	w.has("fact signal-dropped name=s signalId=bigger why=FULL")
	huge := Signal{WorkflowID: "pay/1", Name: "s", ID: "h", Payload: []byte(`"` + strings.Repeat("x", 70<<10) + `"`)}
	w.send(huge)
	w.has("ignored bad-request", "deadletter INVALID_INPUT")

	w = newWorld(t, stuckPlan())
	for k := range maxLatest + 1 {
		w.send(Signal{WorkflowID: "pay/1", Name: fmt.Sprint("name", k), TTL: 1000})
	}
	if len(w.inst.Latest) != maxLatest || len(w.inst.Signals) != maxLatest+1 {
		t.Fatalf("%d names, %d signals", len(w.inst.Latest), len(w.inst.Signals))
	}
	w.phase(Mailbox)
	for k := range 2 * maxSignals {
		w.send(Signal{WorkflowID: "pay/1", Name: "n", ID: fmt.Sprint("id", k), TTL: 1000})
	}
	if len(w.inst.Signals) != maxSignals {
		t.Fatalf("%d signals", len(w.inst.Signals))
	}
	w.start()
	w.has("fact started")
	if len(w.inst.Signals) != maxSignals {
		t.Fatal("the start lost signals")
	}
	w.after(time.Second)
	if len(w.inst.Signals) != 0 {
		t.Fatal("their time is over")
	}
}

// Only the newest signal IDs are remembered.
func TestSignalIDsAreBounded(t *testing.T) {
	p := planOf("a", "s", "z")
	p.Steps[1] = PlanStep{Path: "s", Kind: Compensatable, Parent: -1, End: 2, Node: NodeApprove, Approve: &ApprovePlan{ApproveDef: ApproveDef{Quorum: 1}}, Deps: []int{0}, Dependents: []int{2}}
	w := atPivot(t, p)
	for k := range 2 * maxSeenSignals { // decisions of nobody are taken, and dropped
		w.send(Signal{WorkflowID: "pay/1", Name: "decision/s", ID: fmt.Sprint(k), Payload: []byte(`{"decision":"approve"}`)})
		w.has("why=NO_ACTOR")
	}
	if len(w.inst.SeenSignals) != maxSeenSignals || len(w.inst.Signals) != 0 {
		t.Fatalf("%d IDs, %d signals", len(w.inst.SeenSignals), len(w.inst.Signals))
	}
	w.send(Signal{WorkflowID: "pay/1", Name: "decision/s", ID: fmt.Sprint(maxSeenSignals), Payload: []byte(`{"decision":"approve"}`)})
	w.has("ignored duplicate")
}

// An instance that has nothing of all this pays nothing for it.
func TestFlatInstancesStayFlat(t *testing.T) {
	w := newWorld(t, stuckPlan())
	w.start()
	w.reply("a", OutcomeOK)
	if enc := w.inst.Append(nil); enc[0] != formatV1 {
		t.Fatalf("format %d", enc[0])
	}
}

// The view of an instance shows what it waits for and what its children may have to take back.
func TestViewOfPeople(t *testing.T) {
	w := atPivot(t, childPlan(t))
	w.send(Signal{WorkflowID: "pay/1", Name: "go", ID: "s1", Actor: "ann"})
	w.send(Admin{Action: AdminSuspend, Operator: "op"})
	v := w.inst.View(w.p)
	if !v.Suspended || len(v.Signals) != 1 || v.Signals[0].Name != "go" || v.Steps[1].Child != "kid/1" {
		t.Fatalf("%+v", v)
	}
	owed := func() string {
		var paths []string
		for _, o := range w.inst.View(w.p).Obligations {
			paths = append(paths, o.Path+" "+o.State)
		}
		return strings.Join(paths, ", ")
	}
	if got := owed(); got != "a DONE, c OPEN" {
		t.Fatalf("owes %s", got)
	}
	w.send(ChildDone{Run: 1, Path: "c", Child: "kid/1", Phase: Completed})
	if got := owed(); got != "a DONE, c DONE" {
		t.Fatalf("owes %s", got)
	}
	w.send(Admin{Action: AdminResume, Operator: "op"})
	w.reply("z", OutcomeOK)
	w.phase(Completed)
	if got := owed(); got != "" {
		t.Fatalf("owes %s", got)
	}
}
