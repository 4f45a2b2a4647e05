package prove

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/amendsio/amends/sagas"
)

// moveKind is a sort of thing that can happen next.
type moveKind uint8

const (
	moveStart    moveKind = iota + 1
	moveDeliver           // a reply arrives
	moveTake              // a participant takes a command, and its reply arrives at once
	moveTakeOnly          // a participant takes a command, and its reply stays on its way
	moveTime              // the next timers fire
	moveDeadline          // the deadline of the saga passes
	moveCancel
	moveOperate // an operator acts
	moveSignal  // a signal comes
)

// move is one thing that can happen in a state.
type move struct {
	kind   moveKind
	at     int    // index of the message, or of the input
	choice choice // of the participant
	twice  bool   // the message is delivered, and stays on its way once more
}

// fair says whether the move comes by itself: people and chance are no reason to expect an end.
func (m move) fair() bool {
	switch m.kind {
	case moveStart, moveDeliver, moveTake, moveTakeOnly, moveTime:
		return !m.twice
	}
	return false
}

// successors lists what can happen in a state, always in the same order.
func (x *explorer) successors(s *state) []move {
	var out []move
	inst := s.inst
	if !s.used.started && (inst == nil || inst.Phase == sagas.Void) {
		for i := range x.inputs {
			out = append(out, move{kind: moveStart, at: i})
			if inst != nil {
				break // it is refused, whatever the input
			}
		}
	}
	if inst == nil {
		if !s.used.started && int(s.used.cancels) < x.opts.Cancels {
			out = append(out, move{kind: moveCancel})
		}
		return out
	}
	if inst.Run > 1 {
		return nil // the next run begins as the first did
	}
	twice := int(s.used.doubled) < x.opts.Duplicates
	for i := range s.msgs {
		m := &s.msgs[i]
		if i > 0 && s.msgs[i-1] == *m {
			continue
		}
		twice := twice && !m.again
		if m.reply {
			out = append(out, move{kind: moveDeliver, at: i})
			if twice {
				out = append(out, move{kind: moveDeliver, at: i, twice: true})
			}
			continue
		}
		only := x.opts.Plain || inst.Phase.Terminal() || x.rivals(s, i)
		for _, c := range x.choices(s, m) {
			if !x.opts.Plain {
				out = append(out, move{kind: moveTake, at: i, choice: c})
			}
			if only {
				out = append(out, move{kind: moveTakeOnly, at: i, choice: c})
			}
			if twice {
				if !x.opts.Plain {
					out = append(out, move{kind: moveTake, at: i, choice: c, twice: true})
				}
				out = append(out, move{kind: moveTakeOnly, at: i, choice: c, twice: true})
			}
		}
	}
	if inst.Phase.Active() {
		if due := x.nextDue(s); due != 0 {
			out = append(out, move{kind: moveTime})
		}
		if inst.Phase == sagas.Running && inst.Deadline != 0 {
			out = append(out, move{kind: moveDeadline})
		}
	}
	for i := range x.actions(s) {
		out = append(out, move{kind: moveOperate, at: i})
	}
	for i := range x.arriving(s) {
		out = append(out, move{kind: moveSignal, at: i})
	}
	if int(s.used.cancels) < x.opts.Cancels {
		out = append(out, move{kind: moveCancel})
	}
	return out
}

// rivals says whether another command to the same rows of the participant is on its way.
func (x *explorer) rivals(s *state, i int) bool {
	for k := range s.msgs {
		if k != i && !s.msgs[k].reply && s.msgs[k].path == s.msgs[i].path {
			return true
		}
	}
	return false
}

// nextDue is the moment at which the next timer of a step fires, 0 = there is none, or time has to
// wait: at the bound of attempts what is on its way arrives before the timer that would send more.
func (x *explorer) nextDue(s *state) sagas.Time {
	var due sagas.Time
	steps := s.inst.Steps
	for i := range steps {
		for _, t := range []sagas.Time{steps[i].Timer.Due, steps[i].Alert} {
			if t != 0 && (due == 0 || t < due) {
				due = t
			}
		}
	}
	if due == 0 {
		return 0
	}
	limit := uint32(x.opts.Attempts)
	for i := range steps {
		t := &steps[i].Timer
		if t.Due == 0 || t.Due > due || t.Kind != sagas.TimerAnswer || t.Attempt < limit {
			continue
		}
		if t.Op == sagas.OpDo && x.stepOf(steps[i].Path).Kind != sagas.Retriable {
			continue // its budget ends it
		}
		for k := range s.msgs {
			if m := &s.msgs[k]; m.path == steps[i].Path && m.op == t.Op && m.round == t.Round && m.attempt == t.Attempt {
				return 0
			}
		}
	}
	return max(due, base)
}

// apply lets one thing happen.
func (x *explorer) apply(s *state, m move) (*state, *violation) {
	next := s.clone()
	switch m.kind {
	case moveStart:
		next.used.started = true
		input := x.inputs[m.at]
		return x.feed(s, next, sagas.Start{WorkflowID: x.wid, Type: x.plan.Type, Version: x.plan.Version, Input: input, IssuedAt: base}, base)
	case moveDeliver:
		return x.deliver(s, next, next.pick(m))
	case moveTake, moveTakeOnly:
		msg := next.pick(m)
		next.moved = msg.path
		reply := x.handle(next, msg, m.choice)
		if m.kind == moveTake {
			return x.deliver(s, next, reply)
		}
		next.put(reply)
		if s.inst != nil { // arrive changes what it brings into its normal form
			own := *s.inst
			own.Steps = slices.Clone(own.Steps)
			next.inst = &own
		}
		return x.arrive(next, s)
	case moveTime:
		due := x.nextDue(s)
		after, v := x.feed(s, next, sagas.Timers{}, due)
		if v == nil && after.inst == nil {
			return after, v
		}
		if v == nil && x.same(after.inst, s.inst) {
			v = violated(Stale, "a timer that is due changes nothing")
		}
		return after, v
	case moveDeadline:
		due := *s.inst
		due.Deadline = base
		at := *s
		at.inst = &due
		return x.feed(&at, next, sagas.Timers{}, base)
	case moveCancel:
		next.used.cancels++
		return x.feed(s, next, sagas.Cancel{WorkflowID: x.wid, RequestID: fmt.Sprintf("cancel-%d", next.used.cancels)}, base)
	case moveSignal:
		return x.signal(s, next, x.arriving(s)[m.at])
	case moveOperate:
		return x.operate(s, next, x.actions(s)[m.at])
	}
	return next, nil
}

// pick takes the message of a move off the wire, and leaves its second delivery there when it comes
// twice.
func (s *state) pick(m move) message {
	msg := s.msgs[m.at]
	s.take(m.at)
	if m.twice {
		again := msg
		again.again = true
		s.put(again)
		s.used.doubled++
	}
	msg.again = false
	return msg
}

// deliver gives the machine a reply.
func (x *explorer) deliver(s, next *state, m message) (*state, *violation) {
	next.moved = m.path
	next.bookReply(&m)
	return x.feed(s, next, x.event(s, &m), base)
}

// event is the reply that a message carries.
func (x *explorer) event(s *state, m *message) sagas.Event {
	if m.child {
		return x.childDone(s, m)
	}
	r := sagas.Reply{
		Address: sagas.Address{Run: s.inst.Run, Path: m.path, Op: m.op, Round: m.round, Attempt: m.attempt},
		Outcome: outcomes[m.answer.outcome],
		Effect:  effects[m.answer.effect],
		Code:    m.answer.code,
		Noop:    m.answer.noop,
	}
	if m.answer.output > 0 {
		r.Output = x.outputs(m.path)[m.answer.output-1]
	}
	return r
}

// feed gives the machine one event and books what comes of it.
func (x *explorer) feed(s, next *state, ev sagas.Event, now sagas.Time) (*state, *violation) {
	after, effects, broke := x.run(s.inst, ev, now)
	if broke != nil {
		return next, broke
	}
	next.inst = after
	continued := s.inst != nil && after != nil && s.inst.Phase.Active() && after.Run > s.inst.Run
	for _, e := range effects {
		switch e := e.(type) {
		case sagas.Command:
			if continued && e.Run == after.Run {
				continue
			}
			if v := x.bookCommand(next, s.inst, after, &e); v != nil {
				next.inst = x.normal(after, s.inst)
				return next, v
			}
		case sagas.StartChild, sagas.TellChild:
			if v := x.bookChild(next, after, e); v != nil {
				next.inst = x.normal(after, s.inst)
				return next, v
			}
		case sagas.Lifecycle:
			if v := x.judgeFact(&e); v != nil {
				next.inst = x.normal(after, s.inst)
				return next, v
			}
			if e.Kind == sagas.KindCancelAcked || e.Kind == sagas.KindCancelRefused {
				next.used.answered++
			}
		}
	}
	if continued {
		v := x.judgeContinued(next, s.inst)
		return ended(after), v
	}
	next.inst = x.normal(after, s.inst)
	return x.arrive(next, s)
}

// ended is the state after a run that goes on as the next one. That begins as the first did, with
// other values, so nothing is asked of it; what belongs to the run before was judged.
func ended(after *sagas.Instance) *state {
	return &state{inst: &sagas.Instance{WorkflowID: after.WorkflowID, Type: after.Type, Version: after.Version, Run: 2, Phase: sagas.Running, Rev: 1, Seq: 1, LastNow: base}, used: used{started: true}}
}

// arrive judges a state that was just reached from another one and brings it into its normal form.
func (x *explorer) arrive(s, from *state) (*state, *violation) {
	x.follow(s)
	x.settle(s, from)
	x.subsume(s)
	v := x.judge(s)
	x.forget(s)
	return s, v
}

// run calls the machine. A panic is a finding, not the end of the exploration.
func (x *explorer) run(inst *sagas.Instance, ev sagas.Event, now sagas.Time) (after *sagas.Instance, effects []sagas.Effect, broke *violation) {
	defer func() {
		if p := recover(); p != nil {
			broke = violated(Crash, "the machine breaks: %v", p)
		}
	}()
	after, effects = x.opts.Step(x.plan, inst, ev, now)
	return after, effects, nil
}

// settle drops what can only be ignored: replies that the machine takes without a change, and
// commands that their participant answers from its inbox with such a reply.
//
// What was on its way in the state before is settled there, so only a path of which something has
// changed since is looked at.
func (x *explorer) settle(s, from *state) {
	if x.opts.Plain || s.inst == nil {
		return
	}
	path, news := "", false
	for i := 0; i < len(s.msgs); {
		m := s.msgs[i]
		if i == 0 || m.path != path {
			path, news = m.path, s.news(from, m.path)
		}
		if !news {
			i++
			continue
		}
		if !m.reply {
			reply, inert := x.inert(s, m)
			if !inert {
				i++
				continue
			}
			m = reply
		}
		if !x.ignores(s, &m) {
			i++
			continue
		}
		if s.msgs[i].reply {
			s.bookReply(&m)
		}
		if s.msgs[i].again {
			s.used.doubled-- // it made no difference
		}
		s.take(i)
	}
}

// subsume drops commands whose every outcome another message on its way has too: of several attempts
// of one round all but the newest, for one key has one outcome, whichever attempt brings it; and a
// command that its participant would answer from its inbox as it has answered already, while that
// answer is on its way.
func (x *explorer) subsume(s *state) {
	if x.opts.Plain || x.opts.Faults != 0 {
		return // a participant that breaks its contract may tell attempts apart
	}
	for i := 0; i < len(s.msgs); {
		if m := &s.msgs[i]; m.reply || m.again || m.child || !s.subsumed(m) {
			i++
			continue
		}
		s.take(i)
		i = 0
		slices.SortFunc(s.msgs, compareMessages)
	}
}

func (s *state) subsumed(m *message) bool {
	for k := range s.msgs {
		o := &s.msgs[k]
		if o.path != m.path || o.op != m.op || o.round != m.round || o.again {
			continue
		}
		if !o.reply && o.attempt > m.attempt {
			return true
		}
		if !o.reply || m.op == sagas.OpInquire || o.answer.outcome != ok && o.answer.outcome != rejected {
			continue
		}
		if b := s.find(m.path); b != nil {
			if r := b.row(m.op, m.round); r != nil && r.kept.outcome == o.answer.outcome {
				o.attempt = max(o.attempt, m.attempt) // the newest attempt has its answer
				return true
			}
		}
	}
	return false
}

// news says whether anything about a path is not what it was in an earlier state, as far as it decides
// what the machine and the participant make of a message.
func (s *state) news(from *state, path string) bool {
	a, b := from.inst, s.inst
	if s.moved == path || a == nil || a.Phase != b.Phase || a.Run != b.Run || len(a.Frames) != len(b.Frames) || len(a.Attention) != len(b.Attention) {
		return true
	}
	for i := range a.Attention {
		if a.Attention[i].Path != b.Attention[i].Path || a.Attention[i].Reason != b.Attention[i].Reason {
			return true
		}
	}
	for i := range a.Frames {
		if a.Frames[i].ID != b.Frames[i].ID || a.Frames[i].State != b.Frames[i].State {
			return true
		}
	}
	i, k := a.StepIndex(path), b.StepIndex(path)
	if i < 0 || k < 0 {
		return true
	}
	x, y := &a.Steps[i], &b.Steps[k]
	if x.State != y.State || x.Undo != y.Undo || x.SeenDone != y.SeenDone || x.Phantom != y.Phantom || x.Fatal != y.Fatal || x.Stuck != y.Stuck ||
		x.Round != y.Round || x.Attempts != y.Attempts || x.Asked != y.Asked || x.UndoRound != y.UndoRound || x.UndoAttempts != y.UndoAttempts ||
		x.Timer.Kind != y.Timer.Kind || x.Child != y.Child {
		return true
	}
	v, w := from.find(path), s.find(path)
	return v == nil || w == nil || v.round != w.round || v.sent != w.sent || v.asked != w.asked || v.undoRnd != w.undoRnd || v.undoSent != w.undoSent ||
		!slices.Equal(v.rows, w.rows)
}

// ignores says whether the machine takes a reply without a change.
func (x *explorer) ignores(s *state, m *message) bool {
	after, effects, broke := x.run(s.inst, x.event(s, m), base)
	if broke != nil || len(effects) != 1 {
		return false
	}
	if _, is := effects[0].(sagas.Ignored); !is {
		return false
	}
	return x.same(after, s.inst)
}

func (x *explorer) same(a, b *sagas.Instance) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	return bytes.Equal(a.Append(nil), b.Append(nil))
}

// waits says whether a node of the instance waits for people or for the world.
func (x *explorer) waits(s *state) bool {
	for i := range s.inst.Steps {
		st := &s.inst.Steps[i]
		if st.State != sagas.StepOpen {
			continue
		}
		switch x.stepOf(st.Path).Node {
		case sagas.NodeAwait, sagas.NodeApprove, sagas.NodeSaga:
			return true
		}
	}
	return false
}
