package prove_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/prove"
)

func compile(t *testing.T, src string) *sagas.Plan {
	t.Helper()
	def, err := sagas.ParseDefinition("saga.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := sagas.Compile(def)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func explore(t *testing.T, plan *sagas.Plan, opts prove.Options) *prove.Report {
	t.Helper()
	r, err := prove.Run(t.Context(), plan, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// saga is a definition of these steps, with participants that offer everything.
func saga(steps ...string) string {
	return "saga: small\nversion: 1\nparticipants: {a: {ops: [do, undo, inquire]}, b: {ops: [do, undo, inquire]}, c: {ops: [do, undo, inquire]}}\nsteps:\n" + strings.Join(steps, "\n") + "\n"
}

const (
	stepA   = "- {id: one, call: a.do, undo: {call: a.undo}}"
	stepB   = "- {id: two, call: b.do, undo: {call: b.undo}}"
	pivot   = "- {id: pivot, call: c.do, kind: pivot, onUnknown: inquire}"
	forward = "- {id: last, call: b.more, kind: retriable}"
)

// quiet runs have no doubled messages and no operators; brief ones have a single attempt of each as well.
var (
	quiet = prove.Options{Duplicates: -1, Operators: -1}
	brief = prove.Options{Duplicates: -1, Operators: -1, Attempts: 1}
)

func TestSmallSagas(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []string
		opts  prove.Options
	}{
		{"A", []string{stepA}, quiet},
		{"A doubled", []string{stepA}, prove.Options{Attempts: 1, Duplicates: 2, Operators: -1}},
		{"A with an operator", []string{stepA}, prove.Options{Attempts: 1, Duplicates: -1}},
		{"A B", []string{stepA, stepB}, brief},
		{"A pivot", []string{stepA, pivot}, brief},
		{"pivot last", []string{pivot, forward}, quiet},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := explore(t, compile(t, saga(c.steps...)), c.opts)
			t.Logf("%d states, %d transitions, depth %d, %v", r.States, r.Transitions, r.Depth, r.Elapsed)
			if !r.Proved() {
				t.Errorf("%s\n%s", r.Verdict(), story(r))
			}
		})
	}
}

func story(r *prove.Report) string {
	if r.Counterexample == nil {
		return ""
	}
	return strings.Join(r.Counterexample.Events, "\n")
}

// A step that only reads, sent once, has few enough runs to be counted by hand.
func TestCount(t *testing.T) {
	plan := compile(t, "saga: small\nversion: 1\nparticipants: {a: {ops: [do]}}\nsteps:\n- {id: one, call: a.look, kind: readonly}\n")
	r := explore(t, plan, prove.Options{Attempts: 1, Cancels: -1, Duplicates: -1, Operators: -1})
	// The root, and the step that was sent. It is answered ok: completed. It is answered rejected,
	// failed-fatal or failed-retriable: compensated, and all three are alike. Its time passes: compensated
	// too, with the do still on its way. Then that is taken: with ok the reply may be on its way beside an
	// end; without, or once that has arrived, nothing is left that would tell the end from the other.
	if r.States != 6 || r.Depth != 3 || !r.Proved() {
		t.Errorf("%d states, %d transitions, depth %d: %s", r.States, r.Transitions, r.Depth, r.Verdict())
	}
}

// The outcome does not depend on the number of workers, nor on the run.
func TestDeterminism(t *testing.T) {
	plan := compile(t, saga(stepA, stepB))
	var want string
	for _, workers := range []int{1, 2, 5} {
		for _, faults := range []prove.Fault{prove.NoTombstone} {
			r := explore(t, plan, prove.Options{Duplicates: -1, Operators: -1, Workers: workers, Faults: faults})
			got := fmt.Sprint(r.States, r.Transitions, r.Depth, r.Verdict(), r.Counterexample)
			if r.Counterexample != nil {
				got += r.Counterexample.Script
			}
			if want == "" {
				want = got
			}
			if r.Counterexample == nil || got != want {
				t.Errorf("%d workers:\n%s\ninstead of\n%s", workers, got, want)
			}
		}
	}
}

// Participants that break their contract are found out, in a few hundred states.
func TestBrokenParticipants(t *testing.T) {
	for _, c := range []struct {
		fault    prove.Fault
		attempts int
		most     int
	}{
		{prove.NoTombstone, 2, 1000},
		{prove.NoRefusals, 2, 1000},
		{prove.NoDedupe, 2, 1000},
		{prove.NoNullCompensation, 2, 1000},
		{prove.HastyInquiry, 1, 1000},
		{prove.SuppressedOK, 2, 3000},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			r := explore(t, compile(t, saga("- {id: one, call: a.do, onUnknown: inquire, undo: {call: a.undo}}")), prove.Options{Operators: -1, Faults: c.fault, Attempts: c.attempts})
			if r.Counterexample == nil || r.States > c.most {
				t.Fatalf("%d states: %s", r.States, r.Verdict())
			}
			if got := r.Counterexample.Property; got != prove.Atomic && got != prove.Complete {
				t.Errorf("%s: %s", got, story(r))
			}
			t.Logf("%d states: %s\n%s", r.States, r.Verdict(), story(r))
		})
	}
}

type stepFunc = func(*sagas.Plan, *sagas.Instance, sagas.Event, sagas.Time) (*sagas.Instance, []sagas.Effect)

// brokenMachine is sagas.Step with one mistake.
type brokenMachine struct {
	name string
	step stepFunc
	want []prove.Property // what a proof may find
}

func brokenMachines() []brokenMachine {
	edit := func(change func(before, after *sagas.Instance, ev sagas.Event, effects []sagas.Effect) []sagas.Effect) stepFunc {
		return func(p *sagas.Plan, inst *sagas.Instance, ev sagas.Event, now sagas.Time) (*sagas.Instance, []sagas.Effect) {
			after, effects := sagas.Step(p, inst, ev, now)
			if after == nil || after == inst {
				return after, effects
			}
			c := *after
			c.Steps = slices.Clone(after.Steps)
			return &c, change(inst, &c, ev, slices.Clone(effects))
		}
	}
	reply := func(ev sagas.Event, op sagas.Op) (sagas.Reply, bool) {
		r, is := ev.(sagas.Reply)
		return r, is && r.Op == op
	}
	return []brokenMachine{
		{"an unknown outcome owes nothing", edit(func(_, after *sagas.Instance, _ sagas.Event, e []sagas.Effect) []sagas.Effect {
			if after.Phase == sagas.Compensating && after.Steps[0].State == sagas.StepUnknown && after.Steps[0].Undo == sagas.UndoPending {
				after.Steps[0].Undo, after.Steps[0].Timer = sagas.UndoNoop, sagas.Timer{}
				return nil
			}
			return e
		}), []prove.Property{prove.NoDebtLost}},
		{"a refused undo counts as undone", edit(func(_, after *sagas.Instance, ev sagas.Event, e []sagas.Effect) []sagas.Effect {
			if r, is := reply(ev, sagas.OpUndo); is && r.Outcome == sagas.OutcomeFailedFatal {
				for i := range after.Steps {
					if after.Steps[i].Undo == sagas.UndoStopped {
						after.Steps[i].Undo = sagas.UndoUndone
					}
				}
			}
			return e
		}), []prove.Property{prove.NoDebtLost}},
		{"the attempt is in the key", edit(func(_, _ *sagas.Instance, _ sagas.Event, e []sagas.Effect) []sagas.Effect {
			for i := range e {
				if c, is := e[i].(sagas.Command); is && c.Attempt > 1 {
					c.Key = sagas.IdempotencyKey("test", c.WorkflowID, c.Run, c.Path, c.Op, c.Round+c.Attempt)
					e[i] = c
				}
			}
			return e
		}), []prove.Property{prove.OneKey}},
		{"a cancel is not answered", edit(func(_, _ *sagas.Instance, ev sagas.Event, e []sagas.Effect) []sagas.Effect {
			return slices.DeleteFunc(e, func(e sagas.Effect) bool {
				l, is := e.(sagas.Lifecycle)
				return is && l.Kind == sagas.KindCancelAcked
			})
		}), []prove.Property{prove.OneAnswer}},
		{"an undo is not sent again", edit(func(_, after *sagas.Instance, ev sagas.Event, e []sagas.Effect) []sagas.Effect {
			for i := range after.Steps {
				if after.Steps[i].Undo == sagas.UndoBackoff {
					after.Steps[i].Timer = sagas.Timer{}
				}
			}
			return e
		}), []prove.Property{prove.Liveness}},
		{"an undo goes out for what was refused", func(p *sagas.Plan, inst *sagas.Instance, ev sagas.Event, now sagas.Time) (*sagas.Instance, []sagas.Effect) {
			if r, is := reply(ev, sagas.OpDo); is && r.Outcome == sagas.OutcomeRejected {
				r.Outcome = sagas.OutcomeFailedFatal
				ev = r
			}
			return sagas.Step(p, inst, ev, now)
		}, []prove.Property{prove.NoIdleUndo}},
		{"a panic", func(p *sagas.Plan, inst *sagas.Instance, ev sagas.Event, now sagas.Time) (*sagas.Instance, []sagas.Effect) {
			if _, is := ev.(sagas.Cancel); is && inst != nil {
				panic("cancelled")
			}
			return sagas.Step(p, inst, ev, now)
		}, []prove.Property{prove.Crash}},
	}
}

// Machines that are broken in one place are found out.
func TestBrokenMachines(t *testing.T) {
	for _, c := range brokenMachines() {
		t.Run(c.name, func(t *testing.T) {
			r := explore(t, compile(t, saga(stepA, stepB)), prove.Options{Operators: -1, Step: c.step})
			if r.Counterexample == nil {
				t.Fatalf("%d states: %s", r.States, r.Verdict())
			}
			if !slices.Contains(c.want, r.Counterexample.Property) {
				t.Errorf("%s, want %v:\n%s", r.Counterexample.Property, c.want, story(r))
			}
		})
	}
}

// Plans that no check would let through are found out when they run.
func TestBrokenPlans(t *testing.T) {
	for _, c := range []struct {
		name   string
		steps  []string
		damage func(*sagas.Plan)
		want   []prove.Property
	}{
		{"dependents are missing", []string{stepA, stepB}, func(p *sagas.Plan) { p.Steps[0].Dependents = nil }, []prove.Property{prove.Order}},
		{"a step waits for itself", []string{stepA}, func(p *sagas.Plan) { p.Steps[0].Deps = []int{0} }, []prove.Property{prove.Liveness}},
		{"steps wait for each other", []string{stepA, stepB}, func(p *sagas.Plan) {
			p.Steps[0].Deps, p.Steps[0].Dependents, p.Steps[1].Dependents = []int{1}, []int{1}, []int{0}
		}, []prove.Property{prove.Liveness}},
		{"the pivot is not known as one", []string{stepA, pivot}, func(p *sagas.Plan) { p.Pivot = -1 }, []prove.Property{prove.NoReturn, prove.Atomic, prove.Liveness}},
		{"undos wait for each other", []string{stepA, stepB}, func(p *sagas.Plan) {
			a, b := *p.Steps[0].Undo, *p.Steps[1].Undo
			a.After, b.After = []int{1}, []int{0}
			p.Steps[0].Undo, p.Steps[1].Undo = &a, &b
		}, []prove.Property{prove.Order, prove.Liveness}},
		{"two steps have one path", []string{stepA, stepB}, func(p *sagas.Plan) { p.Steps[1].Path = p.Steps[0].Path }, []prove.Property{prove.OneKey, prove.Early, prove.NoDebtLost}},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := compile(t, saga(c.steps...))
			plan.Steps = slices.Clone(plan.Steps)
			c.damage(plan)
			r := explore(t, plan, quiet)
			if r.Counterexample == nil {
				t.Fatalf("%d states: %s", r.States, r.Verdict())
			}
			if !slices.Contains(c.want, r.Counterexample.Property) {
				t.Errorf("%s, want %v:\n%s", r.Counterexample.Property, c.want, story(r))
			}
		})
	}
}

// The reductions leave the verdict as it is: an exploration without them finds the same.
func TestReductions(t *testing.T) {
	for _, c := range []struct {
		steps []string
		fault prove.Fault
	}{
		{[]string{stepA}, 0},
		{[]string{stepA}, prove.NoTombstone},
		{[]string{stepA}, prove.NoRefusals},
		{[]string{pivot}, 0},
	} {
		plan := compile(t, saga(c.steps...))
		a := explore(t, plan, prove.Options{Attempts: 1, Duplicates: -1, Operators: -1, Faults: c.fault, FullKeys: true})
		b := explore(t, plan, prove.Options{Attempts: 1, Duplicates: -1, Operators: -1, Faults: c.fault, FullKeys: true, Plain: true})
		t.Logf("%v %s: %d states reduced, %d plain", c.steps, c.fault, a.States, b.States)
		if b.Cut != "" || (a.Counterexample == nil) != (b.Counterexample == nil) || a.States >= b.States {
			t.Errorf("reduced: %s\nplain: %s", a.Verdict(), b.Verdict())
		}
		if a.Counterexample != nil && a.Counterexample.Property != b.Counterexample.Property {
			t.Errorf("reduced: %s\nplain: %s", a.Verdict(), b.Verdict())
		}
	}
}

// Every kind of block is explored: its frames, its waits and its children.
func TestBlocks(t *testing.T) {
	for name, steps := range map[string]string{
		"choose": `- {id: ask, call: a.ask, kind: readonly, keep: [score]}
- id: verdict
  choose:
  - {when: '=step.ask.score >= 90', do: [{id: deny, fail: RISK}]}
  - {else: [{id: one, call: a.do, undo: {call: a.undo}}]}`,
		"each": `- id: lines
  each: {in: '=input.lines', as: line, key: '=line.sku', atOnce: 1}
  do: [{id: one, call: a.do, with: {sku: '=line.sku'}, undo: {call: a.undo}}]`,
		"scope": `- id: price
  scope: {retry: {rounds: 2, on: [STALE]}}
  do: [{id: one, call: a.do, undo: {call: a.undo}}]`,
		"repeat": `- id: collect
  repeat: {rounds: 2, wait: [0s, 1d], wake: [card], until: '=round.one.state == "DONE"'}
  do: [{id: one, call: a.do, onReject: continue, undo: {call: a.undo}}]`,
		"waits": `- {id: desk, approve: {roles: [boss], quorum: 2, within: 24h, onTimeout: fail}}
- {id: paid, await: {signal: paid, when: '=event.status == "OK"', within: 1h, onTimeout: continue}}
- {id: night, sleep: {for: 8h, wake: [up]}}`,
		"child": `- {id: kid, saga: {type: other, id: '=input.id', input: {}, reversible: true}}
- {id: one, call: a.do, undo: {call: a.undo}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := explore(t, compile(t, saga(steps)), brief)
			if !r.Proved() || r.States < 15 {
				t.Errorf("%d states: %s\n%s", r.States, r.Verdict(), story(r))
			}
			values := fmt.Sprint(r.Values)
			switch {
			case name == "choose" && !strings.Contains(values, "[89 90]"),
				name == "waits" && !strings.Contains(values, "OK"),
				name == "each" && !strings.Contains(string(r.Inputs[0]), `{"sku":"x1"},{"sku":"x2"}`):
				t.Errorf("values %s, inputs %s", values, r.Inputs)
			}
		})
	}
}

// A run that goes on as the next one is judged as one that completed, although its record is gone.
func TestContinue(t *testing.T) {
	src := func(step string) string { return saga(step, pivot, "- {id: next, continue: {input: {}}}") }
	r := explore(t, compile(t, src(stepA)), prove.Options{Attempts: 1, Duplicates: -1, Operators: -1})
	if !r.Proved() || r.States < 30 {
		t.Errorf("%d states: %s\n%s", r.States, r.Verdict(), story(r))
	}
	// This machine takes silence for success, and says so only in the record that continue leaves behind.
	silence := func(p *sagas.Plan, inst *sagas.Instance, ev sagas.Event, now sagas.Time) (*sagas.Instance, []sagas.Effect) {
		if _, is := ev.(sagas.Timers); is && inst != nil && inst.Phase == sagas.Running {
			for i := range inst.Steps {
				s := &inst.Steps[i]
				if s.Kind == sagas.Pivot && s.State == sagas.StepPending && s.Timer.Due <= now {
					ev = sagas.Reply{Address: sagas.Address{Run: inst.Run, Path: s.Path, Op: sagas.OpDo, Round: s.Round, Attempt: s.Attempts}, Outcome: sagas.OutcomeOK}
				}
			}
		}
		return sagas.Step(p, inst, ev, now)
	}
	r = explore(t, compile(t, src(stepA)), prove.Options{Attempts: 1, Duplicates: -1, Operators: -1, Step: silence})
	if r.Counterexample == nil || r.Counterexample.Property != prove.NoDebtLost {
		t.Errorf("%d states: %s\n%s", r.States, r.Verdict(), story(r))
	}
}

// A participant that says ok to a command behind its undo, and has no questions to contradict it, loses
// nothing: the undo goes out once more, and then a person is asked. With questions it does harm: the
// saga takes the ok of what was refused by the question for an effect (TestBrokenParticipants).
func TestSuppressedOK(t *testing.T) {
	plan := compile(t, "saga: small\nversion: 1\nparticipants: {a: {ops: [do, undo]}}\nsteps:\n"+stepA+"\n")
	keeps := explore(t, plan, prove.Options{Attempts: 1, Duplicates: -1, Operators: -1})
	breaks := explore(t, plan, prove.Options{Attempts: 1, Duplicates: -1, Operators: -1, Faults: prove.SuppressedOK})
	t.Logf("%d states, with the fault %d", keeps.States, breaks.States)
	if !keeps.Proved() || !breaks.Proved() {
		t.Errorf("%s; with the fault %s\n%s", keeps.Verdict(), breaks.Verdict(), story(breaks))
	}
	if breaks.States <= keeps.States {
		t.Errorf("%d states with the fault, %d without: it makes no difference", breaks.States, keeps.States)
	}
}
