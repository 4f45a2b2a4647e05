package sagas

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// situation brings an instance to a reason for attention and names an action that settles it.
type situation struct {
	reason Reason
	action Admin
	build  func(t *testing.T) *world
}

// stuckPlan has what is needed to get stuck in every way: a step with an undo, a pivot, a step that has
// to happen.
func stuckPlan() *Plan { return planOf("a", "p!", "r+") }

func atPivot(t *testing.T, p *Plan) *world {
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	return w
}

func afterPivot(t *testing.T, p *Plan) *world {
	w := atPivot(t, p)
	w.reply("p", OutcomeOK)
	return w
}

// undoing is in COMPENSATING with the undo of a in flight.
func undoing2(t *testing.T, p *Plan) *world {
	w := atPivot(t, p)
	w.reply("p", OutcomeRejected)
	return w
}

// mapping makes an object of expressions: key, text, key, text, ..., sorted by key.
func mapping(t *testing.T, fields ...string) *Mapping {
	t.Helper()
	root := &mapNode{fields: []mapField{}}
	for k := 0; k < len(fields); k += 2 {
		root.fields = append(root.fields, mapField{append(appendString(nil, fields[k]), ':'), &mapNode{expr: mustExpr(t, fields[k+1], wantJSON)}})
	}
	return &Mapping{root}
}

func held(t *testing.T) *world {
	p := stuckPlan()
	p.Steps[0].With = mapping(t, "x", "input.missing")
	w := newWorld(t, p)
	w.start()
	return w
}

func heldUndo(t *testing.T) *world {
	p := stuckPlan()
	p.Steps[0].With = mapping(t, "x", "step.a.?late.orValue(input.missing)")
	w := newWorld(t, p)
	w.start()
	w.send(Cancel{WorkflowID: "pay/1", RequestID: "c"})
	// A participant read an aborted transaction: the step was never sent here, but it took effect.
	w.send(Reply{Address: Address{Run: 1, Path: "a", Op: OpDo, Round: 1, Attempt: 1}, Outcome: OutcomeOK})
	return w
}

func tooLarge(t *testing.T) *world {
	p := stuckPlan()
	p.Steps[0].With = mapping(t, "x", "input.big", "y", "input.big")
	w := newWorld(t, p)
	ev := startEvent()
	ev.Input = []byte(`{"big":"` + strings.Repeat("x", 200<<10) + `"}`)
	w.send(ev)
	return w
}

// largeUndo sends what was recorded with the do, because undo.with has grown too large since.
func largeUndo(t *testing.T) *world {
	p := stuckPlan()
	p.Steps[0].Keep = []string{"big"}
	var fields []string
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		fields = append(fields, key, "step.a.?big")
	}
	p.Steps[0].Undo.With = mapping(t, fields...)
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK, output(`{"big":"`+strings.Repeat("x", 60<<10)+`"}`))
	w.reply("p", OutcomeRejected)
	return w
}

func pivotUnknown(t *testing.T) *world {
	w := atPivot(t, stuckPlan())
	w.reply("p", OutcomeFailedFatal)
	return w
}

func budgetSpent(t *testing.T) *world {
	w := afterPivot(t, stuckPlan())
	for range 3 {
		for w.inst.Steps[2].State == StepPending {
			w.after(10 * time.Second)
		}
		if w.inst.NeedsAttention() {
			return w
		}
		w.now = w.inst.NextDue()
		w.send(Timers{})
	}
	return w
}

func slow(t *testing.T) *world {
	p := stuckPlan()
	p.Steps[1].AlertAfter = 11 * time.Second
	p.Steps[1].Within = time.Hour
	w := atPivot(t, p)
	w.reply("p", OutcomeFailedRetriable, retryIn(20*time.Second))
	w.after(11 * time.Second)
	return w
}

func refused(t *testing.T) *world {
	w := afterPivot(t, stuckPlan())
	w.reply("r", OutcomeRejected)
	return w
}

func undoStopped(t *testing.T) *world {
	w := undoing2(t, stuckPlan())
	w.reply("undo a", OutcomeFailedFatal)
	return w
}

func undoSlow(t *testing.T) *world {
	w := undoing2(t, stuckPlan())
	for !w.inst.NeedsAttention() {
		w.now = w.inst.NextDue()
		w.send(Timers{})
	}
	for w.inst.Steps[0].Undo != UndoBackoff {
		w.now = w.inst.NextDue()
		w.send(Timers{})
	}
	return w
}

func undoNoop(t *testing.T) *world {
	w := undoing2(t, stuckPlan())
	w.reply("undo a", OutcomeOK, noop)
	w.reply("undo a", OutcomeOK, noop)
	return w
}

func undoWindow(t *testing.T) *world {
	p := stuckPlan()
	p.Steps[0].KeyWindow = time.Minute
	w := undoing2(t, p)
	for w.inst.Steps[0].Undo != UndoStopped {
		w.now = w.inst.NextDue()
		w.send(Timers{})
	}
	return w
}

func missed(t *testing.T) *world {
	p := stuckPlan()
	offer(p, "r", UnknownInquire)
	p.Steps[2].KeyWindow = time.Minute
	w := afterPivot(t, p)
	for w.inst.Steps[2].State != StepInquiring {
		w.now = w.inst.NextDue()
		w.send(Timers{})
	}
	w.reply("inquire r", OutcomeNotExecuted)
	return w
}

func noUndo(t *testing.T) *world {
	w := undoing2(t, stuckPlan())
	w.reply("p", OutcomeOK) // a contract violation: it was refused
	return w
}

func lateEffect(t *testing.T) *world {
	p := planOf("a", "o?")
	p.Steps[1].Undo = p.Steps[0].Undo
	w := atPivot(t, p)
	w.reply("o", OutcomeFailedFatal)
	w.send(Reply{Address: Address{Run: 1, Path: "o", Op: OpDo, Round: 1, Attempt: 1}, Outcome: OutcomeOK})
	return w
}

func contradicted(t *testing.T) *world {
	w := afterPivot(t, stuckPlan())
	w.reply("r", OutcomeRejected)
	w.send(Admin{Action: AdminRetryNewKey, Path: "r", Operator: "op"})
	w.reply("r", OutcomeRejected)
	w.reply("r", OutcomeOK)
	return w
}

func phantomUndo(t *testing.T) *world {
	w := atPivot(t, stuckPlan())
	w.send(Reply{Address: Address{Run: 1, Path: "a", Op: OpUndo, Round: 1, Attempt: 1}, Outcome: OutcomeOK})
	return w
}

func badOutput(t *testing.T) *world {
	p := stuckPlan()
	p.Steps[0].Keep = []string{"id"}
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK, output(`[1]`))
	return w
}

func deadlinePassed(t *testing.T) *world {
	p := stuckPlan()
	p.Deadline = time.Minute
	w := atPivot(t, p)
	w.reply("p", OutcomeFailedFatal)
	w.after(time.Minute)
	return w
}

func twice(t *testing.T) *world {
	w := pivotUnknown(t)
	w.send(Admin{Action: AdminRetryNewKey, Path: "p", Operator: "op"})
	w.send(Reply{Address: Address{Run: 1, Path: "p", Op: OpDo, Round: 1, Attempt: 1}, Outcome: OutcomeOK})
	return w
}

func childPlan(t *testing.T) *Plan {
	p := planOf("a", "c", "z")
	p.Steps[1].Node = NodeSaga
	p.Steps[1].Undo = nil
	p.Steps[1].Saga = &SagaPlan{SagaDef: SagaDef{Type: "kid", Reversible: true}, ID: mustExpr(t, "input.n", wantString)}
	return p
}

func childClosed(t *testing.T) *world {
	w := atPivot(t, childPlan(t))
	w.send(ChildDone{Run: 1, Path: "c", Child: "kid/1", Phase: Closed})
	return w
}

func signalsFull(t *testing.T) *world {
	w := newWorld(t, stuckPlan())
	w.start()
	for k := range maxSignals + 1 {
		w.send(Signal{WorkflowID: "pay/1", Name: "s", ID: strings.Repeat("i", k+1)})
	}
	return w
}

func livelock(t *testing.T) *world {
	w := newWorld(t, stuckPlan())
	w.start()
	// No definition leads here: the reason reports a bug of the machine.
	inst := *w.inst
	inst.Attention = []Attention{{Reason: ReasonLivelock, Since: w.now}}
	w.inst = &inst
	return w
}

func badResult(t *testing.T) *world {
	p := planOf("a")
	p.Output = mapping(t, "x", "input.missing")
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	return w
}

func largeResult(t *testing.T) *world {
	p := planOf("a")
	p.Output = mapping(t, "x", "input.big", "y", "input.big")
	w := newWorld(t, p)
	ev := startEvent()
	ev.Input = []byte(`{"big":"` + strings.Repeat("x", 200<<10) + `"}`)
	w.send(ev)
	w.reply("a", OutcomeOK)
	return w
}

var situations = []situation{
	{ReasonExpr, Admin{Action: AdminSkip, Path: "a"}, held},
	{ReasonExpr, Admin{Action: AdminRetry, Path: "a"}, held},
	{ReasonExpr, Admin{Action: AdminSkip}, badResult},
	{ReasonExpr, Admin{Action: AdminResolve, Path: "a", Effect: EffectNone}, heldUndo},
	{ReasonExpr, Admin{Action: AdminWaive, Path: "a"}, heldUndo},
	{ReasonTooLarge, Admin{Action: AdminSkip, Path: "a"}, tooLarge},
	{ReasonTooLarge, Admin{Action: AdminRetry, Path: "a"}, tooLarge},
	{ReasonTooLarge, Admin{Action: AdminSkip}, largeResult},
	{ReasonTooLarge, Admin{Action: AdminResolve, Path: "a", Effect: EffectNone}, largeUndo},
	{ReasonTooLarge, Admin{Action: AdminWaive, Path: "a"}, largeUndo},
	{ReasonOutput, Admin{Action: AdminResolve, Path: "a", Effect: EffectDone, Output: []byte(`{"id":"x"}`)}, badOutput},
	{ReasonUnknownOutcome, Admin{Action: AdminRetry, Path: "p"}, pivotUnknown},
	{ReasonUnknownOutcome, Admin{Action: AdminRetryNewKey, Path: "p"}, pivotUnknown},
	{ReasonUnknownOutcome, Admin{Action: AdminResolve, Path: "p", Effect: EffectDone}, pivotUnknown},
	{ReasonUnknownOutcome, Admin{Action: AdminResolve, Path: "p", Effect: EffectNone}, pivotUnknown},
	{ReasonUnknownOutcome, Admin{Action: AdminSkip, Path: "p"}, pivotUnknown},
	{ReasonBudgetSpent, Admin{Action: AdminRetry, Path: "r"}, budgetSpent},
	{ReasonBudgetSpent, Admin{Action: AdminRetryNewKey, Path: "r"}, budgetSpent},
	{ReasonBudgetSpent, Admin{Action: AdminResolve, Path: "r", Effect: EffectDone}, budgetSpent},
	{ReasonBudgetSpent, Admin{Action: AdminSkip, Path: "r"}, budgetSpent},
	{ReasonSlow, Admin{Action: AdminRetry, Path: "p"}, slow},
	{ReasonSlow, Admin{Action: AdminRetryNewKey, Path: "p"}, slow},
	{ReasonSlow, Admin{Action: AdminResolve, Path: "p", Effect: EffectDone}, slow},
	{ReasonSlow, Admin{Action: AdminSkip, Path: "p"}, slow},
	{ReasonSlow, Admin{Action: AdminExtend, Path: "p", By: 1000}, slow},
	{ReasonRefused, Admin{Action: AdminRetryNewKey, Path: "r"}, refused},
	{ReasonRefused, Admin{Action: AdminSkip, Path: "r"}, refused},
	{ReasonContradiction, Admin{Action: AdminResolve, Path: "r", Effect: EffectDone}, contradicted},
	{ReasonContradiction, Admin{Action: AdminResolve, Path: "r", Effect: EffectNone}, contradicted},
	{ReasonPhantom, Admin{Action: AdminResolve, Path: "a", Effect: EffectDone}, phantomUndo},
	{ReasonPhantom, Admin{Action: AdminResolve, Path: "a", Effect: EffectNone}, phantomUndo},
	{ReasonDeadline, Admin{Action: AdminExtend, By: 1000}, deadlinePassed},
	{ReasonDeadline, Admin{Action: AdminResolve, Path: "p", Effect: EffectDone}, deadlinePassed},
	{ReasonDeadline, Admin{Action: AdminResolve, Path: "p", Effect: EffectNone}, deadlinePassed},
	{ReasonUndoSlow, Admin{Action: AdminRetry, Path: "a"}, undoSlow},
	{ReasonUndoSlow, Admin{Action: AdminRetryNewKey, Path: "a"}, undoSlow},
	{ReasonUndoSlow, Admin{Action: AdminResolve, Path: "a", Effect: EffectNone}, undoSlow},
	{ReasonUndoSlow, Admin{Action: AdminWaive, Path: "a"}, undoSlow},
	{ReasonUndoFailed, Admin{Action: AdminRetry, Path: "a"}, undoStopped},
	{ReasonUndoFailed, Admin{Action: AdminRetryNewKey, Path: "a"}, undoStopped},
	{ReasonUndoFailed, Admin{Action: AdminResolve, Path: "a", Effect: EffectNone}, undoStopped},
	{ReasonUndoFailed, Admin{Action: AdminWaive, Path: "a"}, undoStopped},
	{ReasonUndoNoop, Admin{Action: AdminRetry, Path: "a"}, undoNoop},
	{ReasonUndoNoop, Admin{Action: AdminRetryNewKey, Path: "a"}, undoNoop},
	{ReasonUndoNoop, Admin{Action: AdminResolve, Path: "a", Effect: EffectNone}, undoNoop},
	{ReasonUndoNoop, Admin{Action: AdminWaive, Path: "a"}, undoNoop},
	{ReasonKeyWindow, Admin{Action: AdminRetryNewKey, Path: "a"}, undoWindow},
	{ReasonKeyWindow, Admin{Action: AdminResolve, Path: "a", Effect: EffectNone}, undoWindow},
	{ReasonKeyWindow, Admin{Action: AdminWaive, Path: "a"}, undoWindow},
	{ReasonKeyWindow, Admin{Action: AdminRetryNewKey, Path: "r"}, missed},
	{ReasonKeyWindow, Admin{Action: AdminSkip, Path: "r"}, missed},
	{ReasonNoUndo, Admin{Action: AdminResolve, Path: "p", Effect: EffectNone}, noUndo},
	{ReasonNoUndo, Admin{Action: AdminWaive, Path: "p"}, noUndo},
	{ReasonLateEffect, Admin{Action: AdminResolve, Path: "o", Effect: EffectNone}, lateEffect},
	{ReasonLateEffect, Admin{Action: AdminWaive, Path: "o"}, lateEffect},
	{ReasonTwice, Admin{Action: AdminResolve, Path: "p", Effect: EffectNone}, twice},
	{ReasonTwice, Admin{Action: AdminWaive, Path: "p"}, twice},
	{ReasonLivelock, Admin{Action: AdminRetry}, livelock},
	{ReasonChildClosed, Admin{Action: AdminResolve, Path: "c", Effect: EffectDone}, childClosed},
	{ReasonChildClosed, Admin{Action: AdminResolve, Path: "c", Effect: EffectNone}, childClosed},
	{ReasonChildClosed, Admin{Action: AdminWaive, Path: "c"}, childClosed},
	{ReasonChildClosed, Admin{Action: AdminSkip, Path: "c"}, childClosed},
	{ReasonSignals, Admin{Action: AdminRetry}, signalsFull},
}

// TestAttentionCanBeSettled builds a situation for every reason and every action that Helps names, and
// shows that the action is taken and settles the reason. A retry whose cause is still there may raise
// it again at once, but not before it was cleared.
func TestAttentionCanBeSettled(t *testing.T) {
	done := make(map[Reason][]AdminAction)
	for _, c := range situations {
		done[c.reason] = append(done[c.reason], c.action.Action)
		t.Run(string(c.reason)+"/"+string(c.action.Action)+" "+c.action.Path, func(t *testing.T) {
			w := c.build(t)
			open := func() bool {
				return w.inst != nil && slices.ContainsFunc(w.inst.Attention, func(a Attention) bool { return a.Reason == c.reason })
			}
			if !open() {
				t.Fatalf("the situation has no %s%s", c.reason, w.state())
			}
			c.action.Operator, c.action.RequestID = "op", "req-1"
			w.send(c.action)
			w.has("fact operator")
			w.hasNot("ignored")
			if open() && !strings.Contains(describeEffects(w.effects), "fact attention-cleared") {
				t.Fatalf("%s is still open%s\n%s", c.reason, w.state(), describeEffects(w.effects))
			}
			w.send(c.action)
			w.has("ignored duplicate")
		})
	}
	for reason := range helps {
		for _, a := range reason.Helps() {
			if !slices.Contains(done[reason], a) {
				t.Errorf("no situation shows that %s helps against %s", a, reason)
			}
		}
		for _, a := range done[reason] {
			if !slices.Contains(reason.Helps(), a) {
				t.Errorf("%s helps against %s, but Helps does not say so", a, reason)
			}
		}
	}
}

// Every active instance can be closed, whatever it is stuck with.
func TestEverythingCanBeClosed(t *testing.T) {
	for _, c := range situations {
		w := c.build(t)
		if !w.inst.Phase.Active() {
			continue
		}
		w.p = nil
		w.send(Admin{Action: AdminClose, Operator: "op"})
		w.phase(Closed)
	}
}
