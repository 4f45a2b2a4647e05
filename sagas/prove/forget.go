package prove

import (
	"slices"

	"github.com/amendsio/amends/sagas"
)

// onWire is what is on its way for one path.
type onWire struct {
	do     bool // a do, a question, or an answer to one
	asking bool // ... the command, so that the participant still has to answer it
	undo   bool // an undo or an answer to one
}

func (s *state) onWire(path string) onWire {
	var w onWire
	for i := range s.msgs {
		m := &s.msgs[i]
		if m.path != path {
			continue
		}
		if m.op == sagas.OpUndo {
			w.undo = true
		} else {
			w.do = true
			w.asking = w.asking || !m.reply
		}
	}
	return w
}

// forget sets to one value what can no longer matter in a state that was judged. What that is follows
// from what is on its way and from what can still be sent; see the reductions in doc.go.
func (x *explorer) forget(s *state) {
	inst := s.inst
	if x.opts.Plain || inst == nil {
		return
	}
	if inst.Phase != sagas.Running && s.used.cancels == s.used.answered && s.used.started {
		s.used.cancels, s.used.answered = 0, 0
		inst.Cancels = nil
	}
	if !inst.Phase.Active() && inst.Phase != sagas.Compensated && inst.Phase != sagas.Completed {
		return
	}
	f := forgetter{x: x, s: s, inst: inst,
		operators: int(s.used.operators) < x.opts.Operators,
		back:      inst.Phase == sagas.Compensating || inst.Phase == sagas.Compensated,
	}
	f.ended = f.back || inst.Phase == sagas.Completed
	for i := range inst.Steps {
		f.step(&inst.Steps[i])
	}
	if f.ended && !f.operators {
		f.instance()
	}
}

type forgetter struct {
	x         *explorer
	s         *state
	inst      *sagas.Instance
	operators bool            // an operator may still act
	back      bool            // the saga compensates, or has done so
	ended     bool            // nothing goes forward any more
	asks      bool            // a step that is out of the game had asked for a person
	alive     map[uint32]bool // frames with a step that is not out of the game
}

// step forgets how a step came to be what it is.
func (f *forgetter) step(st *sagas.StepState) {
	d := f.x.stepOf(st.Path)
	if d.Node != sagas.NodeCall {
		f.passive(st, d)
		return
	}
	b := f.s.find(st.Path)
	if b == nil {
		f.passive(st, d)
		return
	}
	w := f.s.onWire(st.Path)
	switch st.State {
	case sagas.StepDone, sagas.StepRefused, sagas.StepFailed, sagas.StepUnknown, sagas.StepSkipped, sagas.StepAbandoned:
	default:
		f.keep(st)
		return
	}
	if f.passed(st, d) {
		return
	}
	if w.do && !f.operators && f.x.opts.Faults == 0 {
		f.alike(st)
	}
	if w.do || f.operators && st.State != sagas.StepDone {
		f.keep(st)
	} else {
		f.doPart(st, b)
	}
	if !w.undo {
		f.undoPart(st, b, w)
	}
	if f.operators || w.do || w.undo {
		f.keep(st)
		return
	}
	switch {
	case st.Undo == sagas.UndoStopped && f.back:
		f.stopped(st, b)
		f.keep(st)
	case f.settled(st, d, b):
		f.dead(st, d, b)
	default:
		f.keep(st)
	}
}

// keep notes that a step is still in the game.
func (f *forgetter) keep(st *sagas.StepState) {
	if !f.ended || st.Frame == 0 {
		return
	}
	if f.alive == nil {
		f.alive = make(map[uint32]bool)
	}
	for id := st.Frame; id != 0 && !f.alive[id]; {
		f.alive[id] = true
		fr := frameOf(f.inst, id)
		if fr == nil {
			return
		}
		id = fr.In
	}
}

// passed takes an optional step that owes nothing out of the game once it was resolved, however that
// was, when no expression asks for it: nothing but its own state can come of what is on its way.
func (f *forgetter) passed(st *sagas.StepState, d *sagas.PlanStep) bool {
	if f.operators || d.Kind != sagas.Optional || owes(d) || st.Record.Set() || f.x.named[st.Node] || st.Undo != sagas.UndoNone || st.Timer.Due != 0 ||
		slices.ContainsFunc(f.inst.Attention, func(a sagas.Attention) bool { return a.Path == st.Path }) {
		return false
	}
	f.s.close(st.Path)
	f.s.msgs = slices.DeleteFunc(f.s.msgs, func(m message) bool { return m.path == st.Path })
	state := sagas.StepSkipped
	if f.back {
		state = sagas.StepAbandoned
	}
	*st = sagas.StepState{Path: st.Path, Node: st.Node, Frame: st.Frame, Kind: st.Kind, State: state}
	return true
}

// alike takes every do on its way, and every answer to one, for the first attempt. The step will not be
// sent again, so only a definite answer counts, to whichever attempt.
func (f *forgetter) alike(st *sagas.StepState) {
	if st.State == sagas.StepSkipped || st.State == sagas.StepAbandoned {
		return
	}
	changed := false
	for i := range f.s.msgs {
		if m := &f.s.msgs[i]; m.path == st.Path && m.op == sagas.OpDo && m.round == st.Round && m.attempt > 1 && !m.again && !m.child {
			m.attempt, changed = 1, true
		}
	}
	if changed {
		slices.SortFunc(f.s.msgs, compareMessages)
	}
}

// doPart forgets attempts and answers of a do that was settled, or given up for good, while nothing
// about it is on its way: no attempt will follow, so nobody asks for their number, and the participant
// will not be asked again, so of its row only what took effect and was reversed counts.
func (f *forgetter) doPart(st *sagas.StepState, b *books) {
	attempts := uint32(1)
	if st.State == sagas.StepRefused && st.Undo == sagas.UndoNone && st.Attempts > 1 {
		attempts = 2 // owes
	}
	if st.Attempts > 0 {
		st.Attempts, b.sent = attempts, attempts
	}
	if st.Undo != sagas.UndoInquiring {
		st.Asked, b.asked = 0, 0
	}
	b.ever = min(b.ever, 1)
	if st.State == sagas.StepDone && !b.refused {
		b.onlyOne, b.tooLate = false, false
	}
	for i := range b.rows {
		r := &b.rows[i]
		if r.op != sagas.OpDo || r.kept == (answer{}) && !r.tomb && r.executed+r.reversed > 0 {
			continue
		}
		w := b.write(r.op, r.round)
		output := w.kept.output
		w.kept, w.tomb = answer{}, false
		if st.State != sagas.StepDone && !f.back && w.executed > 0 {
			w.kept.output = output // a question may still ask for it
		}
	}
	if f.x.opts.Faults&NoNullCompensation == 0 { // that fault tells a row without effect from no row
		b.drop(func(r *row) bool { return r.op == sagas.OpDo && r.executed+r.reversed == 0 })
	}
}

// undoPart forgets the rows of undos that will not be asked for again, and how often an undo was sent
// that is settled.
func (f *forgetter) undoPart(st *sagas.StepState, b *books, w onWire) {
	over := false
	switch st.Undo {
	case sagas.UndoUndone, sagas.UndoNoop:
		over = true
	case sagas.UndoStopped:
		over = !f.operators
	}
	b.drop(func(r *row) bool {
		return r.op == sagas.OpUndo && (over || r.round < st.UndoRound || r.round == st.UndoRound && st.Undo == sagas.UndoOwed)
	})
	if !over || st.UndoRound == 0 {
		return
	}
	st.UndoAttempts, b.undoSent = 1, 1
	if !w.do {
		st.UndoRound, b.undoRnd = 1, 1
	}
}

// stopped forgets all of a debt that only a person could settle, while none can act any more: the saga
// never ends, and the debt stays on its books.
func (f *forgetter) stopped(st *sagas.StepState, b *books) {
	*b = books{path: b.path, round: 1, sent: 1, ever: 1, undoRnd: 1, undoSent: 1, tried: true}
	if !f.x.reads[st.Node] {
		st.State, st.Output = sagas.StepUnknown, nil
	}
	st.SeenDone, st.Phantom, st.Fatal, st.Code = false, false, false, ""
	st.Round, st.Attempts, st.Asked, st.UndoRound, st.UndoAttempts = 1, 1, 0, 1, 1
	st.FirstSent, st.UndoSent, st.AskedAt = base, base, 0
	st.Gen, st.Alert, st.Lease = 1, 0, 0
	st.Payload, st.Question = nil, nil
	f.quiet(st.Path)
}

// settled says whether a step owes nothing, by the instance, the books and the participant.
func (f *forgetter) settled(st *sagas.StepState, d *sagas.PlanStep, b *books) bool {
	if b.waived || st.Timer.Due != 0 || st.Stuck || slices.Contains(f.inst.Residue, st.Path) {
		return false
	}
	did, back := b.total()
	switch st.Undo {
	case sagas.UndoUndone, sagas.UndoNoop:
		return did == back && !b.mayOwe()
	case sagas.UndoNone:
		if st.State == sagas.StepRefused && st.Attempts == 1 && !st.SeenDone && !b.done {
			return f.ended && did == back && !b.mayOwe()
		}
		return f.ended && !owes(d) && !st.Record.Set() && d.Kind != sagas.Pivot && d.Kind != sagas.Retriable
	}
	return false
}

// dead takes a step out of the game that owes nothing and of which nothing is on its way: in a saga
// that compensates it is as if it had never been sent.
func (f *forgetter) dead(st *sagas.StepState, d *sagas.PlanStep, b *books) {
	if f.back && !f.x.reads[st.Node] {
		f.s.close(st.Path)
		*st = sagas.StepState{Path: st.Path, Node: st.Node, Frame: st.Frame, Kind: st.Kind, State: sagas.StepAbandoned}
		f.quiet(st.Path)
		return
	}
	if !owes(d) || st.Undo == sagas.UndoNone {
		return
	}
	*b = books{path: b.path, ever: 2, refused: true, undone: true}
	st.SeenDone, st.Phantom, st.Code, st.Fatal = false, false, "", false
	st.Undo = sagas.UndoUndone
	st.Round, st.Attempts, st.Asked, st.UndoRound, st.UndoAttempts = 1, 1, 0, 1, 1
	st.FirstSent, st.UndoSent, st.AskedAt, st.Gen = base, base, 0, 1
	st.Record = sagas.UndoRecord{}
}

// passive forgets what became of a node without effect, once nothing goes forward any more.
func (f *forgetter) passive(st *sagas.StepState, d *sagas.PlanStep) {
	if !f.back {
		return
	}
	if st.State == sagas.StepOpen || st.Child != "" || st.Undo != sagas.UndoNone || st.Timer.Due != 0 || st.Stuck || st.SeenDone {
		f.keep(st)
		return
	}
	switch st.State {
	case sagas.StepDone, sagas.StepFailed, sagas.StepUnknown:
		if d.Kind == sagas.Pivot || d.Kind == sagas.Retriable || owes(d) {
			f.keep(st)
			return
		}
	case sagas.StepRefused, sagas.StepSkipped, sagas.StepAbandoned:
	default:
		f.keep(st)
		return
	}
	if f.x.reads[st.Node] {
		return
	}
	*st = sagas.StepState{Path: st.Path, Node: st.Node, Frame: st.Frame, Kind: st.Kind, State: sagas.StepAbandoned}
}

// quiet takes back that a step asks for a person whom nobody sends: that somebody is asked is kept.
func (f *forgetter) quiet(path string) {
	if f.operators {
		return
	}
	n := len(f.inst.Attention)
	f.inst.Attention = slices.DeleteFunc(slices.Clone(f.inst.Attention), func(a sagas.Attention) bool { return a.Path == path })
	f.asks = f.asks || len(f.inst.Attention) < n
}

// instance forgets what only a saga that goes forward asks for.
func (f *forgetter) instance() {
	inst := f.inst
	if !f.back {
		inst.Output = nil
	}
	if f.asks && !slices.ContainsFunc(inst.Attention, func(a sagas.Attention) bool { return a.Path == "" }) {
		inst.Attention = slices.Insert(inst.Attention, 0, sagas.Attention{Reason: sagas.ReasonUndoFailed, Since: base})
	}
	if len(inst.Attention) == 0 {
		inst.Attention = nil
	}
	inst.CancelRequested, inst.DeadlineHit, inst.FinishedAs = false, false, ""
	inst.Tags, inst.InputHash, inst.Signals = nil, [32]byte{}, nil
	f.s.used.signals = 0
	if !f.x.readsInput {
		inst.Input = []byte("{}")
	}
	if !f.x.readsSignals {
		inst.Latest = nil
	}
	for i := range inst.Steps {
		st := &inst.Steps[i]
		st.Lease = 0
		if !f.x.reads[st.Node] {
			st.Output = nil
		}
	}
	if len(inst.Frames) == 0 {
		return
	}
	inst.Frames = slices.Clone(inst.Frames)
	for i := range inst.Frames {
		fr := &inst.Frames[i]
		fr.Cause = sagas.Cause{}
		if f.back && !f.alive[fr.ID] {
			fr.State = sagas.FrameUndone
		}
	}
}

// close throws the books of a path away.
func (s *state) close(path string) {
	s.steps = slices.DeleteFunc(s.steps, func(b books) bool { return b.path == path })
}

// drop throws rows away.
func (b *books) drop(which func(*row) bool) {
	for i := range b.rows {
		if which(&b.rows[i]) {
			b.rows = slices.Clone(b.rows)
			b.rows = slices.DeleteFunc(b.rows, func(r row) bool { return which(&r) })
			return
		}
	}
}
