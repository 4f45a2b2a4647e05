package prove

import (
	"fmt"
	"slices"

	"github.com/amendsio/amends/sagas"
)

// signal is one that may come from outside.
type signal struct {
	name    string
	payload []byte
	actor   string
}

// people decide on tasks, one after the other.
var people = []string{"ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"}

// known lists the signals that the plan names, but for decisions: those carry the path of a step.
func (x *explorer) known() []signal {
	var out []signal
	add := func(name string, payload []byte) {
		if !slices.ContainsFunc(out, func(s signal) bool { return s.name == name && string(s.payload) == string(payload) }) {
			out = append(out, signal{name: name, payload: payload})
		}
	}
	for i := range x.plan.Steps {
		s := &x.plan.Steps[i]
		var wake []string
		switch {
		case s.Await != nil && s.Await.Route != "": // its signal is known when it is open
		case s.Await != nil:
			for _, p := range x.payloads[i] {
				add(s.Await.Signal, p)
			}
			if len(x.payloads[i]) == 0 {
				add(s.Await.Signal, []byte("{}"))
			}
		case s.Sleep != nil:
			wake = s.Sleep.Wake
		case s.Repeat != nil:
			wake = s.Repeat.Wake
		}
		for _, name := range wake {
			add(name, []byte("{}"))
		}
	}
	for _, name := range x.asked {
		add(name, []byte("{}"))
	}
	return out
}

// arriving lists the signals that may come in a state: those that an open node waits for, and while
// the budget lasts also those that nobody waits for.
func (x *explorer) arriving(s *state) []signal {
	inst := s.inst
	if inst.Phase != sagas.Running && inst.Phase != sagas.Finishing {
		return nil
	}
	var out []signal
	waited := make(map[string]bool)
	for i := range inst.Steps {
		st := &inst.Steps[i]
		if st.State != sagas.StepOpen || st.Lane != 0 && x.stepOf(st.Path).Node != sagas.NodeRepeat {
			continue
		}
		switch d := x.stepOf(st.Path); {
		case d.Await != nil && d.Await.Route != "": // an event comes when somebody waits; what is early waits elsewhere
			for _, p := range x.payloads[st.Node] {
				out = append(out, signal{name: sagas.AwaitedSignal(d, st), payload: p})
			}
		case d.Await != nil:
			waited[d.Await.Signal] = true
		case d.Sleep != nil:
			for _, name := range d.Sleep.Wake {
				waited[name] = true
			}
		case d.Repeat != nil && st.Until != 0:
			for _, name := range d.Repeat.Wake {
				waited[name] = true
			}
		case d.Approve != nil && len(st.Votes) < len(people):
			actor := people[len(st.Votes)]
			for _, decision := range []string{"approve", "refuse"} {
				out = append(out, signal{"decision/" + st.Path, fmt.Appendf(nil, `{"decision":"%s"}`, decision), actor})
			}
		}
	}
	for _, sig := range x.signals {
		if waited[sig.name] || int(s.used.signals) < x.opts.Signals {
			out = append(out, sig)
		}
	}
	return out
}

// signal lets a signal come. One that is only buffered counts against the budget; nil = it is spent.
func (x *explorer) signal(s, next *state, sig signal) (*state, *violation) {
	after, v := x.feed(s, next, sagas.Signal{WorkflowID: x.wid, Name: sig.name, Actor: sig.actor, Payload: sig.payload, IssuedAt: base}, base)
	if v == nil && after.inst != nil && len(after.inst.Signals) > len(s.inst.Signals) {
		if int(s.used.signals) >= x.opts.Signals {
			return nil, nil
		}
		after.used.signals++
	}
	return after, v
}

// childChoices is how a child may end: its start as a do, and its reversal as an undo.
func (x *explorer) childChoices(b *books, m *message) []choice {
	if r := b.row(m.op, m.round); r != nil && r.kept.outcome != 0 {
		return []choice{{answer: r.kept}}
	}
	if m.op == sagas.OpUndo {
		return []choice{{answer: answer{outcome: ok}}}
	}
	var out []choice
	outputs := x.outputs(m.path)
	for i := range max(len(outputs), 1) {
		a := answer{outcome: ok}
		if len(outputs) > 0 {
			a.output = uint8(i + 1)
		}
		out = append(out, choice{answer: a, executes: true})
	}
	for _, code := range x.codes[x.nodeOf(m.path)] {
		out = append(out, choice{answer: answer{outcome: rejected, code: code}})
	}
	return out
}

// childDone is the event that tells of a child's end.
func (x *explorer) childDone(s *state, m *message) sagas.ChildDone {
	ev := sagas.ChildDone{Run: s.inst.Run, Path: m.path, Phase: sagas.Compensated, Code: m.answer.code}
	if i := s.inst.StepIndex(m.path); i >= 0 {
		ev.Child = s.inst.Steps[i].Child
	}
	if m.op == sagas.OpDo && m.answer.outcome == ok {
		ev.Phase = sagas.Completed
		if m.answer.output > 0 {
			ev.Output = x.outputs(m.path)[m.answer.output-1]
		}
	}
	return ev
}

// bookChild notes that a child was started or told to reverse.
func (x *explorer) bookChild(s *state, after *sagas.Instance, e sagas.Effect) *violation {
	switch e := e.(type) {
	case sagas.StartChild:
		path := e.Start.Parent.Path
		b := s.open(path)
		b.round, b.sent, b.ever = 1, 1, 1
		s.put(message{path: path, op: sagas.OpDo, round: 1, attempt: 1, child: true})
	case sagas.TellChild:
		r, is := e.Event.(sagas.Reverse)
		if !is || after == nil {
			return nil
		}
		i := after.StepIndex(r.Path)
		if i < 0 {
			return violated(NoDebtLost, "%s is to be reversed, which the instance does not have", r.Path)
		}
		b := s.open(r.Path)
		if v := x.undoAllowed(s, after, &sagas.Command{Address: sagas.Address{Path: r.Path}}, b); v != nil {
			return v
		}
		st := &after.Steps[i]
		b.tried, b.undoRnd, b.undoSent = true, max(st.UndoRound, 1), max(st.UndoAttempts, 1)
		s.put(message{path: r.Path, op: sagas.OpUndo, round: b.undoRnd, attempt: b.undoSent, forward: 1, child: true})
	}
	return nil
}

// owes says whether an effect of the node has to be taken back.
func owes(d *sagas.PlanStep) bool {
	return d.Undo != nil || d.Saga != nil && d.Saga.Reversible
}
