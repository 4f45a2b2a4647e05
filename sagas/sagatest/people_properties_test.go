package sagatest_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
	"pgregory.net/rapid"
)

// crowd is a scenario with people in it: signals, decisions, operators, children, cancels and starts
// come at any time, in any order, and twice.
type crowd struct {
	*scenario
	open    []sagas.ChildDone // children that have not ended yet
	ended   []sagas.Event     // what they said, for repeats
	ids     int
	started sagas.Start

	used      map[string]int // signals by ID
	answered  map[string]int // cancels by request ID
	asked     map[string]bool
	runs      int // facts started
	continued int
	byHand    bool
}

// drawPeopleDefinition draws a definition with leaves and waits of all kinds.
func drawPeopleDefinition(t *rapid.T) string {
	var b strings.Builder
	b.WriteString("saga: crowd\nversion: 1\ndeadline: 10h\n")
	if rapid.IntRange(0, 4).Draw(t, "eager") == 0 {
		b.WriteString("onFailure: eager\n")
	}
	b.WriteString("participants:\n  svc: {ops: [do, undo, inquire], keyWindow: 2h}\nsteps:\n")
	timeout := func(id string) string {
		switch rapid.IntRange(0, 3).Draw(t, "on timeout") {
		case 0:
			return "onTimeout: continue"
		case 1:
			return fmt.Sprintf("onTimeout: {do: [{id: %sLate, emit: {topic: late, type: Late}}]}", id)
		}
		return "onTimeout: fail"
	}
	leaf := func(id string) string {
		switch rapid.IntRange(0, 9).Draw(t, "leaf") {
		case 0:
			return fmt.Sprintf("{id: %s, set: {n: '=input.n + 1'}}", id)
		case 1:
			return fmt.Sprintf("{id: %s, emit: {topic: events, type: Seen, with: {n: '=input.n'}}}", id)
		case 2:
			return fmt.Sprintf("{id: %s, await: {signal: go, when: '=event.n >= input.n', within: 30m, %s}, keep: [n]}", id, timeout(id))
		case 3:
			return fmt.Sprintf("{id: %s, await: {signal: stop, within: 1m, %s}}", id, timeout(id))
		case 4:
			return fmt.Sprintf("{id: %s, sleep: {for: 5m, wake: [go, up]}}", id)
		case 5:
			return fmt.Sprintf("{id: %s, approve: {roles: [r], not: '=[\"carl\"]', quorum: 2, within: 1h, remindEvery: 20m, %s}}", id, timeout(id))
		case 6:
			return fmt.Sprintf("{id: %s, saga: {type: kid, id: '=\"%s\"', input: {n: '=input.n'}, reversible: true}, keep: [no]}", id, id)
		case 7:
			return fmt.Sprintf("{id: %s, call: svc.%s, kind: optional}", id, id)
		}
		return fmt.Sprintf("{id: %s, call: svc.%s, attempt: 10s, within: 2m, onUnknown: %s, undo: {call: svc.undo}}", id, id,
			rapid.SampledFrom([]string{"compensate", "inquire", "attention"}).Draw(t, "unknown"))
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
		id := fmt.Sprintf("n%d", i)
		switch rapid.IntRange(0, 8).Draw(t, "node") {
		case 0:
			fmt.Fprintf(&b, "- id: %s\n  parallel:\n    a: [%s]\n    b: [%s, %s]\n", id, leaf(id+"a"), leaf(id+"b"), leaf(id+"c"))
		case 1:
			fmt.Fprintf(&b, "- id: %s\n  scope: {retry: {rounds: 2, on: [TIMEOUT, DECLINED]}, catch: {on: ['*'], do: [%s]}}\n  do: [%s, %s]\n", id, leaf(id+"a"), leaf(id+"b"), leaf(id+"c"))
		case 2:
			end := rapid.SampledFrom([]string{"fail: NO", "finish: EARLY"}).Draw(t, "end")
			if i == 0 && rapid.Bool().Draw(t, "go on") { // nothing is owed yet
				end = "continue: {input: {n: '=input.n + 1'}}"
			}
			fmt.Fprintf(&b, "- id: %s\n  choose:\n  - {when: '=input.n == 4', do: [{id: %sa, %s}]}\n  - {else: [%s]}\n", id, id, end, leaf(id+"b"))
		case 3:
			fmt.Fprintf(&b, "- id: %s\n  repeat: {rounds: 3, wait: [0s, 5m], wake: [up], until: '=signals.has(\"stop\")'}\n  do: [%s]\n", id, leaf(id+"a"))
		default:
			fmt.Fprintf(&b, "- %s\n", leaf(id))
		}
	}
	if rapid.Bool().Draw(t, "pivot") {
		b.WriteString("- {id: pivot, call: svc.pivot, kind: pivot, attempt: 10s, within: 1m, onUnknown: inquire}\n- {id: last, call: svc.last, kind: retriable}\n")
	}
	return b.String()
}

func drawPeoplePlan(t *rapid.T) *sagas.Plan {
	return compile(t, drawPeopleDefinition(t))
}

func newCrowd(t *rapid.T) *crowd {
	c := &crowd{used: map[string]int{}, answered: map[string]int{}, asked: map[string]bool{}}
	plan := drawPeoplePlan
	if rapid.IntRange(0, 3).Draw(t, "any plan") == 0 {
		plan = drawPlan
	}
	c.scenario = newScenario(t, knobs{plan: plan}, c.check)
	c.started = sagas.Start{
		WorkflowID: c.plan.Type + "/x", Type: c.plan.Type, Version: c.plan.Version, Input: drawInput(t, c.plan), IssuedAt: c.w.Now(), StartID: "first",
	}
	if rapid.IntRange(0, 3).Draw(t, "a child") == 0 {
		c.started.Parent = &sagas.Parent{WorkflowID: "parent/1", Run: 1, Path: "kid", Reversible: rapid.Bool().Draw(t, "reversible")}
	}
	return c
}

// check holds every transition to what is true of all of them.
func (c *crowd) check(r sagatest.Record) {
	t, s := c.t, c.scenario
	for _, e := range r.Effects {
		switch e := e.(type) {
		case sagas.Lifecycle:
			detail := func(key string) string {
				i := slices.IndexFunc(e.Detail, func(kv sagas.KV) bool { return kv.Key == key })
				if i < 0 {
					return ""
				}
				return e.Detail[i].Value
			}
			switch e.Kind {
			case sagas.KindStarted:
				c.runs++
			case sagas.KindContinued:
				c.continued++
			case sagas.KindSignalUsed: // P19: consumed at most once
				if id := detail("signalId"); id != "" {
					if c.used[id]++; c.used[id] > 1 {
						failf(t, s, "signal %s was consumed twice", id)
					}
				}
			case sagas.KindCancelAcked, sagas.KindCancelRefused: // P14: answered at most once
				id := detail("requestId")
				if c.answered[id]++; c.answered[id] > 1 {
					failf(t, s, "cancel %s was answered twice", id)
				}
			}
		case sagas.Command: // suspended instances send nothing
			if r.After.Suspended {
				failf(t, s, "%s %s while suspended", e.Op, e.Path)
			}
		case sagas.StartChild:
			p := e.Start.Parent
			c.open = append(c.open, sagas.ChildDone{Run: p.Run, Path: p.Path, Child: e.Start.WorkflowID})
		case sagas.TellChild:
			switch ev := e.Event.(type) {
			case sagas.Reverse:
				c.open = append(c.open, sagas.ChildDone{Run: ev.Run, Path: ev.Path, Child: e.WorkflowID, Phase: sagas.Compensated})
			}
		}
	}
	if c.runs > 1+c.continued { // P15
		failf(t, s, "%d runs of one start", c.runs)
	}
	inst := r.After
	if inst == nil {
		return
	}
	c.checkChild(r)
	for i := range inst.Steps { // P17: more than one re-undo only by hand
		if !c.byHand && inst.Steps[i].UndoRound > 2 {
			failf(t, s, "%s: undo round %d", inst.Steps[i].Path, inst.Steps[i].UndoRound)
		}
	}
	if r.Before != nil && c.ids%4 == 0 { // P22: another definition of the same name and version never moves it
		other := *s.plan
		other.Digest[0]++
		if inst.Phase.Active() {
			for _, ev := range []sagas.Event{sagas.Timers{}, sagas.Cancel{RequestID: "other"}, sagas.Signal{WorkflowID: inst.WorkflowID, Name: "go"}, sagas.Admin{Action: sagas.AdminCompensate}} {
				after, effects := sagas.Step(&other, inst, ev, inst.LastNow)
				if after != inst || len(effects) == 0 {
					failf(t, s, "%T moved it under another definition", ev)
				}
			}
		}
	}
	if admin, ok := r.Event.(sagas.Admin); ok { // P25
		refused := slices.ContainsFunc(r.Effects, func(e sagas.Effect) bool { _, is := e.(sagas.Ignored); return is })
		if refused && r.Before != inst {
			failf(t, s, "%s was refused and changed something", admin.Action)
		}
		again, _ := sagas.Step(s.w.Plan, inst, admin, r.Now)
		if !refused && again != inst {
			failf(t, s, "%s, replayed, changes something", admin.Action)
		}
	}
	if inst.Phase.Active() && !inst.Suspended && len(inst.Attention) == 0 && !moves(inst) { // P12
		failf(t, s, "active, and nothing will ever move it")
	}
}

// checkChild: a child tells every end of it, and keeps its debts after COMPLETED until it is let go of.
func (c *crowd) checkChild(r sagatest.Record) {
	inst := r.After
	if inst.Parent == nil || !inst.Phase.Terminal() || r.Before != nil && r.Before.Phase.Terminal() {
		return
	}
	told := slices.ContainsFunc(r.Effects, func(e sagas.Effect) bool {
		tell, is := e.(sagas.TellParent)
		return is && tell.WorkflowID == inst.Parent.WorkflowID && tell.Done.Phase == inst.Phase
	})
	if !told {
		failf(c.t, c.scenario, "the parent does not hear of %s", inst.Phase)
	}
	keeps := inst.Phase == sagas.Completed && inst.Parent.Reversible && !inst.Parent.Released
	if keeps != (inst.Expires == 0) {
		failf(c.t, c.scenario, "%s, expires at %d", inst.Phase, inst.Expires)
	}
}

// moves says whether something is to come: a timer, or a wait without an end.
func moves(inst *sagas.Instance) bool {
	for i := range inst.Steps {
		step := &inst.Steps[i]
		if step.Timer.Due != 0 || step.State == sagas.StepOpen && step.Child != "" {
			return true
		}
	}
	return inst.Deadline != 0
}

func (c *crowd) id(kind string) string {
	c.ids++
	return fmt.Sprintf("%s%d", kind, c.ids)
}

// act2 is one random act of people.
func (c *crowd) act2() {
	t := c.t
	inst := c.w.Instance()
	wid := c.started.WorkflowID
	switch rapid.SampledFrom([]string{"signal", "signal", "decide", "decide", "admin", "admin", "child", "child", "cancel", "start", "old child", "parent", "close"}).Draw(t, "people") {
	case "signal":
		c.feed(sagas.Signal{
			WorkflowID: wid, Name: rapid.SampledFrom([]string{"go", "stop", "up", "other"}).Draw(t, "name"), ID: c.id("s"),
			Payload: fmt.Appendf(nil, `{"n":%d}`, rapid.IntRange(0, 5).Draw(t, "event n")), TTL: rapid.SampledFrom([]int64{0, 1000, 600_000}).Draw(t, "ttl"),
		})
	case "decide":
		if path := openStep(inst, func(s *sagas.StepState) bool {
			return s.Path != "" && s.State == sagas.StepOpen && c.plan.Steps[s.Node].Node == sagas.NodeApprove
		}, t); path != "" {
			c.feed(sagas.Signal{
				WorkflowID: wid, Name: "decision/" + path, ID: c.id("d"), Actor: rapid.SampledFrom([]string{"ann", "bob", "carl", ""}).Draw(t, "actor"),
				Payload: []byte(rapid.SampledFrom([]string{`{"decision":"approve"}`, `{"decision":"approve"}`, `{"decision":"approve"}`, `{"decision":"refuse"}`, `7`}).Draw(t, "decision")),
			})
		}
	case "admin":
		c.admin(inst)
	case "child":
		if n := len(c.open); n > 0 {
			k := rapid.IntRange(0, n-1).Draw(t, "which child")
			ev := c.open[k]
			c.open = slices.Delete(c.open, k, k+1)
			if ev.Phase == 0 {
				ev.Phase = rapid.SampledFrom([]sagas.Phase{sagas.Completed, sagas.Completed, sagas.Completed, sagas.Compensated, sagas.Closed, 0}).Draw(t, "end")
				ev.Output = []byte(`{"no":"S1"}`)
			}
			c.ended = append(c.ended, ev)
			c.feed(ev)
		}
	case "old child":
		if n := len(c.ended); n > 0 {
			c.feed(c.ended[rapid.IntRange(0, n-1).Draw(t, "which old child")])
		}
	case "cancel":
		if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
			id := rapid.SampledFrom([]string{"c1", "c2"}).Draw(t, "cancel id")
			c.asked[id] = true
			c.feed(sagas.Cancel{WorkflowID: wid, RequestID: id})
		}
	case "parent":
		if p := c.started.Parent; p != nil {
			var ev sagas.Event = sagas.Reverse{WorkflowID: wid, Parent: p.WorkflowID, Run: p.Run, Path: p.Path}
			if rapid.IntRange(0, 2).Draw(t, "lets go") == 0 {
				ev = sagas.ParentClosed{WorkflowID: wid, Parent: p.WorkflowID, Run: p.Run, Path: p.Path}
			}
			c.feed(ev)
		}
	case "close":
		if rapid.IntRange(0, 9).Draw(t, "really close") == 0 {
			c.feed(sagas.Admin{Action: sagas.AdminClose, Operator: "op", RequestID: c.id("r")})
		}
	case "start":
		ev := c.started
		if rapid.Bool().Draw(t, "another input") {
			ev.Input, ev.StartID = []byte(`{"n":77}`), "second"
		}
		if inst != nil || c.runs == 0 {
			c.feed(ev)
		}
	}
}

func openStep(inst *sagas.Instance, want func(*sagas.StepState) bool, t *rapid.T) string {
	var paths []string
	if inst != nil {
		for i := range inst.Steps {
			if want(&inst.Steps[i]) {
				paths = append(paths, inst.Steps[i].Path)
			}
		}
	}
	if len(paths) == 0 {
		return ""
	}
	return rapid.SampledFrom(paths).Draw(t, "path")
}

var actions = []sagas.AdminAction{
	sagas.AdminRetry, sagas.AdminRetry, sagas.AdminRetryNewKey, sagas.AdminResolve, sagas.AdminResolve, sagas.AdminWaive, sagas.AdminSkip,
	sagas.AdminCompensate, sagas.AdminSuspend, sagas.AdminResume, sagas.AdminResume, sagas.AdminExtend, sagas.AdminSignal,
}

func (c *crowd) admin(inst *sagas.Instance) {
	t := c.t
	c.byHand = true
	ev := sagas.Admin{
		Action: rapid.SampledFrom(actions).Draw(t, "action"), RequestID: c.id("r"), Operator: "op", Reason: "test", By: 60_000,
		Effect: rapid.SampledFrom([]sagas.Certainty{sagas.EffectDone, sagas.EffectNone}).Draw(t, "effect"),
	}
	ev.Path = openStep(inst, func(*sagas.StepState) bool { return true }, t)
	if inst != nil && len(inst.Attention) > 0 && rapid.Bool().Draw(t, "for attention") {
		a := rapid.SampledFrom(inst.Attention).Draw(t, "attention")
		ev.Path = a.Path
	}
	switch ev.Action {
	case sagas.AdminCompensate, sagas.AdminSuspend, sagas.AdminResume:
		ev.Path = ""
	case sagas.AdminSignal:
		ev.Path, ev.Signal = "", &sagas.Signal{WorkflowID: c.started.WorkflowID, Name: "go", Payload: []byte(`{"n":9}`)}
	case sagas.AdminRetry, sagas.AdminResolve, sagas.AdminSkip, sagas.AdminWaive, sagas.AdminRetryNewKey, sagas.AdminExtend:
	}
	c.feed(ev)
}

// play is the random part.
func (c *crowd) play() {
	t := c.t
	if rapid.IntRange(0, 2).Draw(t, "early people") == 0 {
		for range rapid.IntRange(0, 4).Draw(t, "before") {
			c.act2()
		}
	}
	c.feed(c.started)
	for range rapid.IntRange(0, 50).Draw(t, "acts") {
		if rapid.Bool().Draw(t, "people act") {
			c.act2()
		} else {
			c.act(rapid.SampledFrom([]string{"arrive", "arrive", "arrive", "any", "time", "time", "pause", "crash", "tick", "again"}).Draw(t, "act"))
		}
	}
}

// settleAll is the fair part: everybody answers, decides and sends what is waited for, and an operator does
// what the table of reasons says. Whatever happened before, the instance comes to its end.
func (c *crowd) settleAll() {
	c.calm = true
	c.byHand = true
	for round := range 400 {
		inst := c.w.Instance()
		if sagatest.Terminal(inst) && c.w.InFlight() == 0 {
			return
		}
		if inst != nil && inst.Suspended {
			c.feed(sagas.Admin{Action: sagas.AdminResume, Operator: "op", RequestID: c.id("r")})
			continue
		}
		open := c.open
		c.open = nil
		for _, ev := range open {
			if ev.Phase == 0 {
				ev.Phase = sagas.Completed
			}
			c.feed(ev)
		}
		if inst = c.w.Instance(); inst != nil && len(inst.Attention) > 0 && inst.Phase.Active() {
			c.help(inst, round)
		}
		if c.w.InFlight() == 0 {
			if due, armed := c.w.NextTimer(); !armed && c.w.Instance() != nil && len(c.w.Instance().Attention) == 0 && len(c.open) == 0 && !sagatest.Terminal(c.w.Instance()) {
				failf(c.t, c.scenario, "nothing will ever move it (%d)", due)
			}
		}
		if !c.w.Step() && len(c.open) == 0 && c.w.Instance() != nil && len(c.w.Instance().Attention) == 0 && !sagatest.Terminal(c.w.Instance()) {
			failf(c.t, c.scenario, "stuck without attention")
		}
		if err := c.w.Err(); err != nil {
			c.t.Fatalf("%v", err)
		}
	}
	if inst := c.w.Instance(); !sagatest.Terminal(inst) {
		failf(c.t, c.scenario, "everybody helped and it is still %s", inst.Phase)
	}
}

// help does what the table says about the reasons that are open. The later the round, the less it hopes
// for retries.
func (c *crowd) help(inst *sagas.Instance, round int) {
	for _, a := range inst.Attention {
		inst = c.w.Instance()
		if inst == nil || !inst.Phase.Active() || !slices.Contains(inst.Attention, a) {
			continue // what helped against another one helped against this, too
		}
		helpful := a.Reason.Helps()
		taken := false
		for k := range helpful {
			action := helpful[(k+round/20)%len(helpful)]
			ev := sagas.Admin{Action: action, Path: a.Path, Operator: "op", RequestID: c.id("r"), By: 60_000, Effect: sagas.EffectNone}
			if inst.Phase == sagas.Finishing || a.Reason == sagas.ReasonOutput || a.Reason == sagas.ReasonContradiction && inst.Phase != sagas.Compensating {
				ev.Effect = sagas.EffectDone
			}
			if a.Reason == sagas.ReasonDeadline && action == sagas.AdminResolve {
				continue
			}
			effects := c.feed(ev)
			if !slices.ContainsFunc(effects, func(e sagas.Effect) bool { _, is := e.(sagas.Ignored); return is }) {
				taken = true
				break
			}
		}
		if !taken && blocking(inst, a) {
			failf(c.t, c.scenario, "nothing helps against %s", a)
		}
	}
}

// blocking says whether the reason is about something that does not go on by itself.
func blocking(inst *sagas.Instance, a sagas.Attention) bool {
	i := inst.StepIndex(a.Path)
	if i < 0 {
		return a.Reason != sagas.ReasonDeadline
	}
	switch s := &inst.Steps[i]; s.State {
	case sagas.StepDone, sagas.StepSkipped, sagas.StepAbandoned:
		return s.Undo == sagas.UndoStopped
	case sagas.StepRefused, sagas.StepUnknown, sagas.StepFailed:
		return inst.Phase != sagas.Compensating || s.Undo == sagas.UndoStopped
	}
	return inst.Steps[i].Timer.Due == 0
}

// P14, P15, P17, P19, P22, P25 and P12 with people in it; see check. And whatever people did, the
// table of reasons leads every instance to its end.
func TestPeople(t *testing.T) {
	var ends tally
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t)
		c.play()
		c.settleAll()
		ends.add(c.w.Instance())
		for id := range c.asked { // P14: exactly one answer
			if c.answered[id] != 1 && c.runs > 0 && sagatest.Terminal(c.w.Instance()) {
				failf(t, c.scenario, "cancel %s got %d answers", id, c.answered[id])
			}
		}
	})
	ends.require(t, sagas.Completed, sagas.Compensated, sagas.Closed)
}

// TestPeople_Purity is P1 and P21 for the same scenarios: Step gives the same for the same, never changes
// what it was given, and every state reads back as it was written.
func TestPeople_Purity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t)
		var last *sagas.Instance
		var lastBytes []byte
		watch := c.watch
		c.watch = func(r sagatest.Record) {
			watch(r)
			if last != nil && !bytes.Equal(lastBytes, encode(last)) {
				failf(t, c.scenario, "an instance that was given away was changed")
			}
			last = r.After
			if r.After == nil {
				return
			}
			lastBytes = encode(r.After)
			back, err := sagas.DecodeInstance(lastBytes)
			if err != nil {
				failf(t, c.scenario, "decode: %v", err)
			}
			if !bytes.Equal(encode(back), lastBytes) {
				failf(t, c.scenario, "other bytes come back")
			}
			again, effects := sagas.Step(c.w.Plan, r.Before, r.Event, r.Now)
			if again == nil || !bytes.Equal(encode(again), lastBytes) || len(effects) != len(r.Effects) {
				failf(t, c.scenario, "two calls with the same arguments differ")
			}
		}
		c.play()
	})
}

// P16: a late success in the retention reopens the run or asks for attention; after it the reply is a
// dead letter, never silence.
func TestP16_LateSuccess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScenario(t, knobs{}, nil)
		s.run(knobs{})
		s.settle()
		inst := s.w.Instance()
		if inst == nil || !inst.Phase.Terminal() {
			return
		}
		for _, c := range s.w.Sent() {
			i := inst.StepIndex(c.Path)
			if c.Op != sagas.OpDo || i < 0 {
				continue
			}
			step := &inst.Steps[i]
			owed := step.Undo != sagas.UndoUndone && !step.SeenDone && step.State != sagas.StepDone && s.plan.Steps[step.Node].Undo != nil
			late := sagas.Reply{Address: c.Address, Outcome: sagas.OutcomeOK}
			after, effects := sagas.Step(s.w.Plan, inst, late, inst.LastNow)
			heard := after.Phase == sagas.Compensating || len(after.Attention) > 0
			if c.Run != inst.Run { // of a run that has continued
				heard = orphaned(effects)
			}
			if owed && step.Round == c.Round && !heard {
				failf(t, s, "%s took effect late, and nobody hears of it: %v", c.Path, effects)
			}
			marker, _ := sagas.Step(s.w.Plan, inst, sagas.Timers{}, inst.Expires)
			_, effects = sagas.Step(s.w.Plan, marker, late, inst.Expires)
			if !orphaned(effects) {
				failf(t, s, "%s took effect after the retention, and nobody hears of it", c.Path)
			}
		}
	})
}

func orphaned(effects []sagas.Effect) bool {
	return slices.ContainsFunc(effects, func(e sagas.Effect) bool {
		letter, is := e.(sagas.DeadLetter)
		return is && letter.Class == sagas.ClassOrphanReply
	})
}
