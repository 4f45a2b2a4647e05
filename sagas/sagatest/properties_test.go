package sagatest_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// defaultChecks is the number of random scenarios of each property when -rapid.checks does not say
// otherwise: the package then takes well under a minute on two cores. A nightly run gives more.
const defaultChecks = "600"

func TestMain(m *testing.M) {
	flag.Parse()
	given := os.Getenv("RAPID_CHECKS") != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", defaultChecks); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// encode is the bytes of an instance, nil for none.
func encode(inst *sagas.Instance) []byte {
	if inst == nil {
		return nil
	}
	return inst.Append(nil)
}

// whole lets instances be compared: those of these tests have no part that was not read.
var whole = cmpopts.IgnoreUnexported(sagas.Instance{})

// settled is the instance without its counters and clocks.
func settled(inst *sagas.Instance) []byte {
	if inst == nil {
		return nil
	}
	c := *inst
	c.Rev, c.Seq, c.LastNow = 0, 0, 0
	return c.Append(nil)
}

// effectsText is all of the effects, the same in every process.
func effectsText(effects []sagas.Effect) string {
	var b strings.Builder
	for _, e := range effects {
		if start, ok := e.(sagas.StartChild); ok {
			fmt.Fprintf(&b, "%#v ", *start.Start.Parent)
			start.Start.Parent = nil
			e = start
		}
		fmt.Fprintf(&b, "%#v\n", e)
	}
	return b.String()
}

func failf(t *rapid.T, s *scenario, format string, args ...any) {
	t.Helper()
	t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), describe(s.trace, s.plan))
}

// P1: purity. The same (plan, state, event, now) gives byte-equal (state', effects), whether the
// state was just computed or read back from its bytes; and the state that was given is not changed.
func TestP01_Purity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		var last []byte // the bytes of the previous After, taken when it was new
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			before := encode(r.Before)
			if !bytes.Equal(before, last) {
				failf(t, s, "Step changed the instance that it was given")
			}
			after, effects := encode(r.After), effectsText(r.Effects)
			last = after
			again, more := sagas.Step(s.w.Plan, r.Before, r.Event, r.Now)
			if !bytes.Equal(encode(again), after) || effectsText(more) != effects {
				failf(t, s, "the same call gave another answer")
			}
			if r.Before == nil {
				return
			}
			reloaded, err := sagas.DecodeInstance(before)
			if err != nil {
				failf(t, s, "decode: %v", err)
			}
			again, more = sagas.Step(s.w.Plan, reloaded, r.Event, r.Now)
			if !bytes.Equal(encode(again), after) || effectsText(more) != effects {
				failf(t, s, "the call gave another answer after a reload: %#v\ninstead of %s", more, effects)
			}
			if !bytes.Equal(encode(reloaded), before) {
				failf(t, s, "Step changed the instance that it was given")
			}
		})
		s.run(knobs{forgetful: true})
	})
}

// P2: idempotence. Applying any Start, Reply, Cancel, Admin or Timer twice emits no second command
// and leaves the state equal, counters aside.
func TestP02_Idempotence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			again, effects := sagas.Step(s.w.Plan, r.After, r.Event, r.Now)
			for _, e := range effects {
				if c, ok := e.(sagas.Command); ok {
					failf(t, s, "the same event a second time emits %s %s#%d", c.Op, c.Path, c.Attempt)
				}
			}
			if !bytes.Equal(settled(again), settled(r.After)) {
				failf(t, s, "the same event a second time changes the state:\n%s", cmp.Diff(r.After, again, whole))
			}
		})
		s.run(knobs{forgetful: true})
	})
}

// P5: one key, one meaning. A key never appears with two different (path, op, round) or payloads;
// all attempts of one round share key and payload.
func TestP05_OneKeyOneMeaning(t *testing.T) {
	type meaning struct {
		run     uint32
		path    string
		op      sagas.Op
		round   uint32
		payload string
		fwd     string
	}
	rapid.Check(t, func(t *rapid.T) {
		s := newScenario(t, knobs{forgetful: true}, nil)
		s.run(knobs{forgetful: true})
		byKey := make(map[string]meaning)
		keyOf := make(map[meaning]string)
		highest := make(map[meaning]uint32)
		for _, c := range s.w.Sent() {
			m := meaning{run: c.Run, path: c.Path, op: c.Op, round: c.Round}
			if want := highest[m] + 1; c.Attempt != want {
				failf(t, s, "%s %s: attempt %d where %d is next", c.Op, c.Path, c.Attempt, want)
			}
			highest[m] = c.Attempt
			if key, ok := keyOf[m]; ok && key != c.Key {
				failf(t, s, "%s %s round %d: another key in attempt %d", c.Op, c.Path, c.Round, c.Attempt)
			}
			keyOf[m] = c.Key
			if want := sagas.IdempotencyKey("test", c.WorkflowID, c.Run, c.Path, c.Op, c.Round); c.Key != want {
				failf(t, s, "%s %s: key %s is not derived from its address", c.Op, c.Path, c.Key)
			}
			if canonical, err := sagas.CanonicalJSON(c.Payload); err != nil || !bytes.Equal(canonical, c.Payload) || c.Payload[0] != '{' {
				failf(t, s, "%s %s#%d: the payload %q is not a canonical JSON object", c.Op, c.Path, c.Attempt, c.Payload)
			}
			m.payload, m.fwd = string(c.Payload), c.ForwardKey
			if was, ok := byKey[c.Key]; ok && was != m {
				failf(t, s, "key %s means %+v and %+v", c.Key, was, m)
			}
			byKey[c.Key] = m
		}
		for _, c := range s.w.Sent() {
			if c.Op == sagas.OpDo {
				continue
			}
			if fwd, ok := byKey[c.ForwardKey]; !ok || fwd.op != sagas.OpDo || fwd.path != c.Path {
				failf(t, s, "%s %s: the forward key %q is not that of its do", c.Op, c.Path, c.ForwardKey)
			}
		}
	})
}

// P6: atomicity. COMPENSATED ⇒ with contract-abiding participants every executed effect is
// reversed exactly once. And what cannot be reversed did not happen.
func TestP06_Atomicity(t *testing.T) {
	var ends tally
	rapid.Check(t, func(t *rapid.T) {
		k := knobs{noClose: true}
		s := newScenario(t, k, nil)
		s.run(k)
		s.settle()
		inst := s.w.Instance()
		ends.add(inst)
		if inst == nil || inst.Phase != sagas.Compensated {
			return
		}
		for _, e := range s.w.Participants.Ledger() {
			step := &s.plan.Steps[nodeOf(s.plan, e.Path)]
			switch {
			case e.Run != inst.Run: // that of a run which went on as this one
			case step.Undo != nil && e.Executed != e.Reversed:
				failf(t, s, "compensated, but %s was executed %d and reversed %d times", e.Path, e.Executed, e.Reversed)
			case step.Undo == nil && (step.Kind == sagas.Pivot || step.Kind == sagas.Retriable) && e.Executed > 0:
				failf(t, s, "compensated, but %s took effect and has no undo", e.Path)
			}
		}
	})
	ends.require(t, sagas.Compensated)
}

// P7: COMPLETED ⇒ each mandatory non-skipped step executed exactly once, and nothing was reversed.
func TestP07_CompletedExactlyOnce(t *testing.T) {
	var ends tally
	rapid.Check(t, func(t *rapid.T) {
		k := knobs{noClose: true}
		s := newScenario(t, k, nil)
		s.run(k)
		s.settle()
		inst := s.w.Instance()
		ends.add(inst)
		if inst == nil || inst.Phase != sagas.Completed {
			return
		}
		executed, reversed := make(map[string]int), make(map[string]int)
		for _, e := range s.w.Participants.Ledger() {
			if e.Run == inst.Run {
				executed[e.Path] += e.Executed
				reversed[e.Path] += e.Reversed
			}
		}
		for path := range executed {
			forgotten := stepOf(inst, path) == nil && reversed[path] > 0 // a lost lane in a round that is over
			undone := forgotten || turnedFrame(inst, path) != 0
			switch step := &s.plan.Steps[nodeOf(s.plan, path)]; {
			case undone && step.Undo != nil && executed[path] != reversed[path]:
				failf(t, s, "completed, but %s, which was to be undone, was executed %d and reversed %d times", path, executed[path], reversed[path])
			case !undone && reversed[path] != 0:
				failf(t, s, "completed, but %s was reversed", path)
			case executed[path] > 1:
				failf(t, s, "%s was executed %d times", path, executed[path])
			}
		}
		for i := range inst.Steps {
			step, plan := &inst.Steps[i], &s.plan.Steps[inst.Steps[i].Node]
			if step.Kind == sagas.Optional || turnedFrame(inst, step.Path) != 0 || plan.OnReject && step.State == sagas.StepRefused {
				continue
			}
			switch {
			case step.State == sagas.StepSkipped:
				if executed[step.Path] != 0 {
					failf(t, s, "skipped, but %s was executed", step.Path)
				}
			case step.State == sagas.StepAbandoned && inst.FinishedAs != "" && executed[step.Path] == 0:
			case step.State != sagas.StepDone:
				failf(t, s, "completed, but %s is %s", step.Path, step.State)
			case plan.Node == sagas.NodeCall && executed[step.Path] != 1:
				failf(t, s, "completed, but %s was executed %d times", step.Path, executed[step.Path])
			}
		}
	})
	ends.require(t, sagas.Completed)
}

// P8: point of no return. After the pivot is DONE no undo of a step before it, ever, and none while
// it is in flight; no give-up on it: nothing but a definite refusal leads back from a pivot that was
// sent.
func TestP08_PointOfNoReturn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := knobs{plan: withPivot}
		var s *scenario
		o := (*oracle)(nil)
		s = newScenario(t, k, func(r sagatest.Record) {
			o.book(r)
			sent := false
			for path, a := range o.steps {
				sent = sent || s.plan.Steps[nodeOf(s.plan, path)].Kind == sagas.Pivot && a.attempts() > 0 && (!a.refused || a.executed)
			}
			if !sent {
				return
			}
			for _, c := range commands(r) {
				if c.Op == sagas.OpUndo && turnedFrame(r.After, c.Path) == 0 {
					failf(t, s, "undo of %s although the pivot was sent and not refused", c.Path)
				}
			}
			if r.After != nil && (r.After.Phase == sagas.Compensating || r.After.Phase == sagas.Compensated) {
				failf(t, s, "%s although the pivot was sent and not refused", r.After.Phase)
			}
		})
		o = newOracle(s.plan)
		s.run(k)
		s.settle()
	})
}

func withPivot(t *rapid.T) *sagas.Plan {
	return rapid.Custom(drawPlanIn).Filter(func(p *sagas.Plan) bool { return p.Pivot >= 0 }).Draw(t, "plan")
}

func drawPlanIn(t *rapid.T) *sagas.Plan { return drawPlan(t) }

// P9: order. undo(a) is emitted only when every debtor that depends on a is out of debt. A debtor
// that is still in flight drains first: its attempt may answer until its deadline, 30 s at most, unless
// the policy is eager. So does a itself. A frame that was turned round by itself looks at its own steps
// only.
func TestP09_OrderOfCompensation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		var o *oracle
		since := make(map[uint32]sagas.Time)   // when a frame was turned round, 0 = the saga
		open := make(map[string]sagas.Command) // latest do of a step that nobody has answered
		drains := make(map[string]sagas.Time)  // until when its answer is waited for
		s = newScenario(t, knobs{}, func(r sagatest.Record) {
			if rep, ok := r.Event.(sagas.Reply); ok {
				o.reply(rep)
				if c, sent := open[rep.Path]; sent && rep.Run == o.run && rep.Outcome != sagas.OutcomeProgress && rep.Outcome != sagas.OutcomeRunning {
					definite := rep.Outcome == sagas.OutcomeOK || rep.Outcome == sagas.OutcomeRejected || rep.Outcome == sagas.OutcomeExecuted || rep.Outcome == sagas.OutcomeNotExecuted ||
						rep.Outcome == sagas.OutcomeFailedFatal && rep.Effect == sagas.EffectNone
					if rep.Op == sagas.OpDo && rep.Attempt == c.Attempt || definite && rep.Op != sagas.OpUndo {
						delete(open, rep.Path)
					}
				}
			}
			if r.After == nil {
				return
			}
			if o.turnPage(r); r.Before != nil && r.Before.Run != r.After.Run {
				clear(open)
				clear(since)
			}
			now := r.After.LastNow
			if r.After.Phase == sagas.Compensating && (r.Before == nil || r.Before.Phase == sagas.Running) {
				since[0] = now
			}
			for i := range r.After.Frames {
				f := &r.After.Frames[i]
				if _, known := since[f.ID]; !known && (f.State == sagas.FrameUndoing || f.State == sagas.FrameUndone) {
					since[f.ID] = now
				}
			}
			clear(drains)
			for path, do := range open {
				until := do.Deadline
				for _, id := range append(framesOf(r.After, path), 0) {
					if at, turned := since[id]; turned {
						until = min(until, at+30_000)
					}
				}
				if beat := s.plan.Steps[nodeOf(s.plan, path)].Heartbeat; beat > 0 || s.plan.OnFailure == sagas.Eager {
					until = 0 // silence ends it early
				}
				drains[path] = until
			}
			for _, c := range commands(r) {
				switch c.Op {
				case sagas.OpDo:
					open[c.Path] = c
				case sagas.OpUndo:
					region := turnedFrame(r.After, c.Path)
					if now < drains[c.Path] {
						failf(t, s, "undo of %s while it may still answer", c.Path)
					}
					for path, a := range o.steps {
						if region != 0 && !slices.Contains(framesOf(r.After, path), region) || !dependsOn(s.plan, path, c.Path) {
							continue
						}
						if s.plan.Steps[nodeOf(s.plan, path)].Undo != nil && a.mayOwe() {
							failf(t, s, "undo of %s before %s, which depends on it, is out of debt", c.Path, path)
						}
						if now < drains[path] {
							failf(t, s, "undo of %s while %s may still answer", c.Path, path)
						}
					}
				}
				o.command(c)
			}
		})
		o = newOracle(s.plan)
		s.run(knobs{})
		s.settle()
	})
}

// P4: no early step. The first do of a step is emitted only after everything it depends on is
// resolved, and never more items of an each are in work than its atOnce.
func TestP04_NoEarlyStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			if r.After == nil {
				return
			}
			for _, c := range commands(r) {
				if c.Op != sagas.OpDo || c.Attempt > 1 {
					continue
				}
				for i := range r.After.Steps {
					step := &r.After.Steps[i]
					if !dependsOn(s.plan, c.Path, step.Path) || turnedFrame(r.After, step.Path) != 0 {
						continue
					}
					switch step.State {
					case sagas.StepDone, sagas.StepSkipped:
					case sagas.StepRefused, sagas.StepFailed, sagas.StepUnknown:
						if plan := &s.plan.Steps[step.Node]; step.Kind != sagas.Optional && !plan.OnReject {
							failf(t, s, "%s begins though %s, on which it depends, failed", c.Path, step.Path)
						}
					default:
						failf(t, s, "%s begins though %s, on which it depends, is %s", c.Path, step.Path, step.State)
					}
				}
			}
			for i := range r.After.Frames {
				f := &r.After.Frames[i]
				each := s.plan.Steps[f.Node].Each
				if each == nil {
					continue
				}
				atWork := 0
				for k := range r.After.Frames {
					if g := &r.After.Frames[k]; g.Node == f.Node && g.In == f.In && (g.State == sagas.FrameOpen || g.State == sagas.FrameUndoing) {
						atWork++
					}
				}
				late := 0 // frames whose undo came up again after they had made room
				for k := range r.After.Frames {
					if g := &r.After.Frames[k]; g.Node == f.Node && g.In == f.In && g.State == sagas.FrameUndoing {
						late++
					}
				}
				if atWork-late > int(each.AtOnce) {
					failf(t, s, "%d items are in work", atWork)
				}
			}
		})
		s.run(knobs{forgetful: true})
		s.settle()
	})
}

// P20: bounds. Every state fits a record, and no event makes the machine run on and on.
func TestP20_Bounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		s = newScenario(t, knobs{plan: drawBlockPlan, forgetful: true}, func(r sagatest.Record) {
			if r.After == nil {
				return
			}
			if n := len(encode(r.After)); n > sagas.MaxRecordBytes || len(r.After.Steps) > sagas.MaxPaths || len(r.After.Frames) > sagas.MaxFrames {
				failf(t, s, "%d bytes, %d steps, %d frames", n, len(r.After.Steps), len(r.After.Frames))
			}
			for _, a := range r.After.Attention {
				if a.Reason == sagas.ReasonLivelock || a.Reason == sagas.ReasonExpr {
					failf(t, s, "attention %s", a)
				}
			}
		})
		s.run(knobs{forgetful: true})
		s.settle()
	})
}

// P10: no forgotten debt. In every reachable state an emitted `do` without a definite no-effect is a
// step in a forward state, or OWED and on its way back, or listed as residue.
func TestP10_NoForgottenDebt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		var o *oracle
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			o.book(r)
			if r.After == nil || len(r.After.Steps) == 0 {
				return
			}
			for path, a := range o.steps {
				plan, step := &s.plan.Steps[nodeOf(s.plan, path)], stepOf(r.After, path)
				if plan.Undo == nil {
					// Nobody owes an undo of it, but a saga that counts as compensated left nothing behind.
					if r.After.Phase == sagas.Compensated && (plan.Kind == sagas.Pivot || plan.Kind == sagas.Retriable) && a.debt() {
						failf(t, s, "%s may have an effect that cannot be undone, but the saga is compensated", path)
					}
					continue
				}
				if step == nil {
					if a.debt() && a.attempts() > 0 {
						failf(t, s, "%s may have an effect, but is forgotten", path)
					}
					continue
				}
				if a.attempts() > 0 && step.Round == 0 {
					failf(t, s, "%s was sent, but the instance does not know", path)
				}
				if !a.debt() {
					continue
				}
				if problem := forgotten(r.After, step, plan.OnReject && step.State == sagas.StepRefused); problem != "" {
					failf(t, s, "%s may have an effect, but %s", path, problem)
				}
			}
		})
		o = newOracle(s.plan)
		s.run(knobs{forgetful: true})
		s.settle()
	})
}

// forgotten says what is wrong with a step that is in debt, "" = it is on the books. passed: the flow goes
// on past its refusal.
func forgotten(inst *sagas.Instance, step *sagas.StepState, passed bool) string {
	if slices.Contains(inst.Residue, step.Path) {
		return "" // an operator took it on
	}
	listed := slices.ContainsFunc(inst.Attention, func(a sagas.Attention) bool { return a.Path == step.Path })
	forward := false
	switch step.State {
	case sagas.StepPending, sagas.StepBackoff, sagas.StepInquiring, sagas.StepDone, sagas.StepFailed, sagas.StepUnknown:
		forward = true
	}
	backward := false
	switch step.Undo {
	case sagas.UndoOwed, sagas.UndoPending, sagas.UndoBackoff, sagas.UndoInquiring, sagas.UndoStopped:
		backward = true
	}
	phase := inst.Phase
	if phase.Active() && turnedFrame(inst, step.Path) != 0 {
		phase = sagas.Compensating
	}
	switch phase {
	case sagas.Completed:
		// What was open at the end of a run is history. A mandatory step cannot be among it (P7); an
		// optional one can, and one whose refusal the flow passes, when its participant contradicted itself.
		if !forward && step.Kind != sagas.Optional && !passed {
			return "it is " + step.State.String()
		}
	case sagas.Running, sagas.Finishing:
		if !forward && !listed {
			return "it is " + step.State.String()
		}
	case sagas.Compensating:
		settling := step.State == sagas.StepPending || step.State == sagas.StepInquiring
		if !backward && !settling && !listed {
			return fmt.Sprintf("the saga compensates and it is %s %s", step.State, step.Undo)
		}
	case sagas.Compensated:
		if !listed {
			return "the saga is compensated"
		}
	case sagas.Closed:
		return "the saga is closed and does not list it as residue"
	}
	return ""
}

// P11: a step that was REFUSED after exactly one attempt is never undone; a step that was never sent
// is never undone. (An undo that was on its way when the refusal came goes on: it finds nothing.)
func TestP11_NothingToUndo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		var o *oracle
		s = newScenario(t, knobs{}, func(r sagatest.Record) {
			o.book(r)
			for _, c := range commands(r) {
				if c.Op != sagas.OpUndo {
					continue
				}
				switch a := o.of(c.Path); {
				case a.attempts() == 0:
					failf(t, s, "undo of %s, which was never sent", c.Path)
				case a.refused && a.onlyOne && !a.tooLate && !a.executed:
					failf(t, s, "undo of %s, whose only attempt was refused", c.Path)
				}
			}
		})
		o = newOracle(s.plan)
		s.run(knobs{})
		s.settle()
	})
}

// P12: liveness. With fair timers and participants that eventually answer, every instance reaches a
// terminal phase or attention; an active state always has an armed timer, an in-flight command, an
// open wait or attention. (Every wait and every command in flight has a timer, so the timer is what
// this asks for. The saga's own deadline does not count.)
func TestP12_Liveness(t *testing.T) {
	var ends tally
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			if r.After == nil || !r.After.Phase.Active() || len(r.After.Attention) > 0 {
				return
			}
			for i := range r.After.Steps {
				if step := &r.After.Steps[i]; step.Timer.Due != 0 || step.Child != "" && step.State == sagas.StepOpen {
					return
				}
			}
			failf(t, s, "active, and nothing will ever move it")
		})
		s.run(knobs{forgetful: true})
		s.settle()
		inst := s.w.Instance()
		ends.add(inst)
		if !sagatest.Terminal(inst) && len(inst.Attention) == 0 {
			failf(t, s, "everybody answered and it is still %s", inst.Phase)
		}
	})
	ends.require(t, sagas.Completed, sagas.Compensated, sagas.Closed)
}

// P13: a stale timer, an old attempt (non-definite), a wrong run, an unknown path: the state is
// unchanged.
func TestP13_StaleEventsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			inst := r.After
			if inst == nil || len(inst.Steps) == 0 || len(s.trace)%3 != 1 { // many events for each state
				return
			}
			var events []sagas.Event
			for i := range inst.Steps {
				step := &inst.Steps[i]
				for _, op := range []sagas.Op{sagas.OpDo, sagas.OpUndo, sagas.OpInquire} {
					for _, outcome := range []sagas.Outcome{sagas.OutcomeOK, sagas.OutcomeRejected, sagas.OutcomeFailedRetriable, sagas.OutcomeFailedFatal, sagas.OutcomeProgress} {
						events = append(events, sagas.Reply{Address: sagas.Address{Run: inst.Run + 1, Path: step.Path, Op: op, Round: 1, Attempt: 1}, Outcome: outcome})
					}
				}
				for attempt := uint32(1); attempt < step.Attempts; attempt++ {
					for _, outcome := range []sagas.Outcome{sagas.OutcomeFailedRetriable, sagas.OutcomeProgress} {
						events = append(events, sagas.Reply{Address: sagas.Address{Run: inst.Run, Path: step.Path, Op: sagas.OpDo, Round: step.Round, Attempt: attempt}, Outcome: outcome, RetryAfter: 1000})
					}
				}
				for attempt := uint32(1); attempt < step.UndoAttempts; attempt++ {
					for _, outcome := range []sagas.Outcome{sagas.OutcomeFailedRetriable, sagas.OutcomeProgress} {
						events = append(events, sagas.Reply{Address: sagas.Address{Run: inst.Run, Path: step.Path, Op: sagas.OpUndo, Round: step.UndoRound, Attempt: attempt}, Outcome: outcome})
					}
				}
			}
			events = append(events, sagas.Reply{Address: sagas.Address{Run: inst.Run, Path: "nowhere", Op: sagas.OpDo, Round: 1, Attempt: 1}, Outcome: sagas.OutcomeOK})
			if due := inst.NextDue(); due == 0 || due > inst.LastNow {
				events = append(events, sagas.Timers{})
			}
			before := encode(inst)
			for _, ev := range events {
				after, effects := sagas.Step(s.w.Plan, inst, ev, inst.LastNow)
				if !bytes.Equal(encode(after), before) {
					failf(t, s, "a stale event changes the state: %#v\n%s", ev, cmp.Diff(inst, after, whole))
				}
				for _, e := range effects {
					switch e.(type) {
					case sagas.Command, sagas.Lifecycle, sagas.Result:
						failf(t, s, "a stale event has an effect: %#v\n%#v", ev, e)
					}
				}
			}
			// A timer that comes early leaves every timer that is not due alone.
			if due := inst.NextDue(); due > inst.LastNow+1 {
				after, _ := sagas.Step(s.w.Plan, inst, sagas.Timers{}, due-1)
				if !bytes.Equal(encode(after), before) {
					failf(t, s, "a timer fired before it was due")
				}
			}
		})
		s.run(knobs{forgetful: true})
	})
}

// P18: budgets. attempts, within, deadline and keyWindow are never exceeded by an automatic command.
// And no participant is hammered: a step sends few commands at one moment.
func TestP18_Budgets(t *testing.T) {
	type series struct {
		first sagas.Time
		count uint32
	}
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		dos, undos := make(map[string]series), make(map[string]series)
		moments, burst := make(map[string]sagas.Time), make(map[string]int)
		late := make(map[string]bool) // paths of which a do was read too late
		var started sagas.Time
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			if r.After == nil {
				return
			}
			if r.Before == nil || r.Before.Run != r.After.Run || r.Before.StartedAt != r.After.StartedAt {
				started = r.After.LastNow
				clear(dos)
				clear(undos)
			}
			now := r.After.LastNow
			if reply, ok := r.Event.(sagas.Reply); ok && reply.Op == sagas.OpDo && reply.Code == "EXPIRED" {
				late[reply.Path] = true
			}
			for _, c := range commands(r) {
				if moments[c.Path] != now {
					moments[c.Path], burst[c.Path] = now, 0
				}
				if burst[c.Path]++; burst[c.Path] > 4 { // a do, its inquiry, an undo and its second round
					failf(t, s, "%s: %d commands at one moment", c.Path, burst[c.Path])
				}
				step := &s.plan.Steps[nodeOf(s.plan, c.Path)]
				switch c.Op {
				case sagas.OpDo:
					n := dos[c.Path]
					if n.count == 0 {
						n.first = now
					}
					n.count++
					dos[c.Path] = n
					since := sagatest.Duration(now - n.first)
					if limit := step.Retry.Attempts; limit > 0 && n.count > limit && step.Kind != sagas.Retriable {
						failf(t, s, "%s: attempt %d of %d", c.Path, n.count, limit)
					}
					if step.Within > 0 && since > step.Within && step.Kind != sagas.Retriable {
						failf(t, s, "%s: attempt %d comes %v after the first, within is %v", c.Path, n.count, since, step.Within)
					}
					if step.KeyWindow > 0 && since > step.KeyWindow {
						failf(t, s, "%s: attempt %d comes %v after the first, the key window is %v", c.Path, n.count, since, step.KeyWindow)
					}
					longest := sagas.Time(step.Attempt.Milliseconds())
					if late[c.Path] { // the queue was longer than an attempt: this one may last as long as the step has tried
						longest = max(longest, min(now-n.first, sagas.Time(time.Hour.Milliseconds())))
					}
					if c.Deadline != 0 && c.Deadline > now+longest {
						failf(t, s, "%s: the deadline is later than the attempt lasts", c.Path)
					}
					if turned(r, c) {
						failf(t, s, "%s: a do while the saga compensates", c.Path)
					}
					if r.Before != nil && turnedFrame(r.Before, c.Path) != 0 {
						failf(t, s, "%s: a do while what is around it is undone", c.Path)
					}
					pivotSent := false
					if s.plan.Pivot >= 0 {
						pivot := stepOf(r.Before, s.plan.Steps[s.plan.Pivot].Path)
						pivotSent = pivot != nil && pivot.Round > 0
					}
					if s.plan.Deadline > 0 && !pivotSent && now >= started+sagas.Time(s.plan.Deadline.Milliseconds()) {
						failf(t, s, "%s: a do after the deadline of the saga", c.Path)
					}
				case sagas.OpUndo:
					id := fmt.Sprintf("%s/%d", c.Path, c.Round)
					n := undos[id]
					if n.count == 0 {
						n.first = now
					}
					n.count++
					undos[id] = n
					if since := sagatest.Duration(now - n.first); step.KeyWindow > 0 && since > step.KeyWindow && step.Inquire == nil {
						failf(t, s, "%s: undo attempt %d comes %v after the first, the key window is %v", c.Path, n.count, since, step.KeyWindow)
					}
				}
			}
		})
		s.run(knobs{forgetful: true})
		s.settle()
	})
}

// turned says whether the saga was compensating before it emitted c.
func turned(r sagatest.Record, c sagas.Command) bool {
	if r.Before != nil && r.Before.Phase == sagas.Compensating {
		return true
	}
	for _, e := range r.Effects {
		switch e := e.(type) {
		case sagas.Lifecycle:
			if e.Kind == sagas.KindCompensating {
				return true
			}
		case sagas.Command:
			if e.Address == c.Address {
				return false
			}
		}
	}
	return false
}

// P21: codec. decode(encode(s)) = s for every reachable state; a record of a later format is
// refused; damage is refused and never panics.
func TestP21_Codec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			if r.After == nil {
				return
			}
			b := encode(r.After)
			back, err := sagas.DecodeInstance(b)
			if err != nil {
				failf(t, s, "decode: %v", err)
			}
			if len(s.trace)%8 == 0 { // slow, and most states resemble their neighbours
				if diff := cmp.Diff(r.After, back, cmpopts.EquateEmpty(), whole); diff != "" {
					failf(t, s, "another instance comes back:\n%s", diff)
				}
			}
			if !bytes.Equal(encode(back), b) {
				failf(t, s, "other bytes come back")
			}
			sum, err := sagas.Summarise(b)
			if err != nil {
				failf(t, s, "summarise: %v", err)
			}
			want := sagas.Summary{
				WorkflowID: back.WorkflowID, Type: back.Type, Version: back.Version, Run: back.Run, Phase: back.Phase, Attention: back.NeedsAttention(),
				Due: back.NextDue(), StartedAt: back.StartedAt, UpdatedAt: back.LastNow, Rev: back.Rev,
			}
			if sum != want {
				failf(t, s, "summary: %s", cmp.Diff(want, sum))
			}
		})
		s.run(knobs{forgetful: true})
		inst := s.w.Instance()
		if inst == nil {
			return
		}
		b := encode(inst)
		newer := slices.Clone(b)
		newer[0] = 4
		if _, err := sagas.DecodeInstance(newer); !errors.Is(err, sagas.ErrNewerFormat) {
			failf(t, s, "a newer format: %v", err)
		}
		if _, err := sagas.Summarise(newer); !errors.Is(err, sagas.ErrNewerFormat) {
			failf(t, s, "a newer format: %v", err)
		}
		if _, err := sagas.DecodeInstance(append(slices.Clone(b), 0)); !errors.Is(err, sagas.ErrCorrupt) {
			failf(t, s, "a trailing byte: %v", err)
		}
		if _, err := sagas.DecodeInstance(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); !errors.Is(err, sagas.ErrCorrupt) {
			failf(t, s, "a cut record: %v", err)
		}
		damaged := slices.Clone(b)
		damaged[rapid.IntRange(1, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		if odd, err := sagas.DecodeInstance(damaged); err == nil {
			odd.Append(nil) // must not panic
		}
	})
}

// P23: the lifecycle seq of a workflow ID is gapless, and the facts tell the phase, the attention and
// what became of each step.
func TestP23_LifecycleSeqIsGapless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s *scenario
		var last uint64
		s = newScenario(t, knobs{forgetful: true}, func(r sagatest.Record) {
			for _, e := range r.Effects {
				l, ok := e.(sagas.Lifecycle)
				if !ok {
					continue
				}
				if r.Before == nil && r.After == nil {
					continue // a rejected start of a workflow ID that has no record
				}
				if l.Seq != last+1 {
					failf(t, s, "%s has seq %d after %d", l.Kind, l.Seq, last)
				}
				last = l.Seq
			}
			if r.After == nil {
				last = 0
				return
			}
			if r.After.Seq != last {
				failf(t, s, "the instance says seq %d, the facts %d", r.After.Seq, last)
			}
			if problem := untold(r); problem != "" {
				failf(t, s, "%s, and no fact tells it", problem)
			}
		})
		s.run(knobs{forgetful: true})
	})
}

// untold is a change of an instance that none of the facts beside it tells, "" = there is none.
func untold(r sagatest.Record) string {
	var last *sagas.Lifecycle
	told := make(map[string]bool)
	for _, e := range r.Effects {
		if l, ok := e.(sagas.Lifecycle); ok {
			told[l.Path] = true
			last = &l
		}
	}
	attention := func(inst *sagas.Instance) (out []string) {
		for _, a := range inst.Attention {
			out = append(out, a.String())
		}
		return out
	}
	switch {
	case last != nil && last.Phase != r.After.Phase:
		return "the phase is " + r.After.Phase.String()
	case last != nil && !slices.Equal(last.Attention, attention(r.After)):
		return fmt.Sprintf("attention is %v", r.After.Attention)
	case last == nil && r.Before != nil && (r.Before.Phase != r.After.Phase || !slices.Equal(attention(r.Before), attention(r.After))):
		return "phase or attention changed"
	}
	if r.After.Phase == sagas.Closed {
		return "" // one fact has the residue
	}
	for i := range r.After.Steps {
		step := &r.After.Steps[i]
		before := stepOf(r.Before, step.Path)
		if before == nil || r.Before.Run != r.After.Run {
			before = &sagas.StepState{}
		}
		if told[step.Path] {
			continue
		}
		switch step.State {
		case sagas.StepDone, sagas.StepRefused, sagas.StepFailed, sagas.StepUnknown:
			if before.State != step.State {
				return step.Path + " is " + step.State.String()
			}
		}
		switch step.Undo {
		case sagas.UndoUndone, sagas.UndoNoop, sagas.UndoStopped:
			if before.Undo != step.Undo {
				return step.Path + " is " + step.Undo.String()
			}
		}
	}
	return ""
}

// tally counts how scenarios ended, so that a property about an end cannot pass because no scenario
// came to it.
type tally map[sagas.Phase]int

func (c *tally) add(inst *sagas.Instance) {
	if *c == nil {
		*c = make(tally)
	}
	if inst != nil {
		(*c)[inst.Phase]++
	}
}

// require is only asked of runs that are long enough to be sure of it.
func (c tally) require(t *testing.T, phases ...sagas.Phase) {
	t.Helper()
	total := 0
	for _, n := range c {
		total += n
	}
	t.Logf("ends: %v", map[sagas.Phase]int(c))
	for _, p := range phases {
		if total >= 300 && c[p] == 0 {
			t.Errorf("no scenario ended %s", p)
		}
	}
}
