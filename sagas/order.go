package sagas

// Order of compensation. Step y depends on step x when, in the innermost list that holds both, the one
// of y waits for the one of x, directly or over others. Beside that a later round depends on an
// earlier one, and a later item on an earlier one when they go one at a time. An undo waits until
// everything that depends on its step is out of debt. The walk computes that in one pass from the
// end: what lies below a step is known before the step is looked at.

// undoing is one such pass.
type undoing struct {
	m     *machine
	t     *tree
	below []int8 // of each step: 0 = not looked at, 1 = it and what depends on it in its list are out of debt, 2 = not
}

const (
	belowClear int8 = 1
	belowDebt  int8 = 2
)

// backwardTree is backward for an instance with frames.
func (m *machine) backwardTree() {
	m.needWhole()
	u := undoing{m: m, t: m.shape(), below: make([]int8, len(m.inst.Steps))}
	if !u.list(0, int32(len(m.inst.Steps)), false) && !m.inst.Suspended {
		m.compensated() // row 15
	}
}

// undoRoots lets every frame that was turned round by itself pay its debts, and says whether one still
// has some.
func (m *machine) undoRoots() bool {
	var u undoing
	open := false
	for k := range m.inst.Frames {
		if m.inst.Frames[k].State != FrameUndoing {
			continue
		}
		if u.t == nil {
			u = undoing{m: m, t: m.shape(), below: make([]int8, len(m.inst.Steps))}
		}
		open = u.frame(int32(k+1), false) || open
	}
	return open
}

// list pays the debts of the list that begins at from. waits: something that depends on all of it is
// still in debt. It says whether anything inside is in debt.
func (u *undoing) list(from, to int32, waits bool) (debt bool) {
	var small [64]int32
	steps := small[:0]
	for i := from; i < to; i = u.t.steps[i].end {
		steps = append(steps, i)
	}
	for k := len(steps) - 1; k >= 0; k-- {
		debt = u.step(steps[k], waits) || debt
	}
	return debt
}

// step looks at the steps that depend on step i, then at what is inside it, then at itself. It says
// whether i, what is inside it, or what depends on it in its list is in debt.
func (u *undoing) step(i int32, waits bool) bool {
	if u.below[i] != 0 {
		return u.below[i] == belowDebt
	}
	u.below[i] = belowClear // a cycle, which no checked definition has, must not hang
	m := u.m
	s, d := &m.inst.Steps[i], m.plan(int(i))
	after := false
	for _, node := range d.Dependents {
		if j := u.t.slot(u.t.steps[i].frame, node, len(m.p.Steps)); j >= 0 && u.step(j, waits) {
			after = true
		}
	}
	if d.Undo != nil {
		for _, node := range d.Undo.After {
			after = u.inDebt(node, u.t.steps[i].frame) || after
		}
	}
	debt := u.inside(i, waits || after)
	if s.Undo == UndoNone && !m.inFlight(int(i)) && m.owes(int(i)) { // row q
		s.Undo = UndoOwed
		m.transitions++
	}
	if s.Undo == UndoOwed && !s.Stuck && !waits && !after && !debt && !m.inst.Suspended && m.mayUndo(int(i), SendFirst) { // row r
		m.sendFirstUndo(int(i))
	}
	if m.inDebt(int(i)) {
		debt = true
		if s.Undo == UndoNone && !m.inFlight(int(i)) {
			m.raise(s.Path, ReasonNoUndo, "the step took effect, or may have, and has no undo")
		}
	}
	if after || debt {
		u.below[i] = belowDebt
	}
	return after || debt
}

// inside pays the debts of the body of step i and says whether it has some.
func (u *undoing) inside(i int32, waits bool) (debt bool) {
	ts, d := &u.t.steps[i], u.m.plan(int(i))
	if ts.end == i+1 {
		return false
	}
	if ts.first == 0 { // lanes in the frame of the step itself: independent of each other
		for j := ts.end - 1; j > i; j-- {
			if u.t.steps[j].parent == i {
				debt = u.step(j, waits) || debt
			}
		}
		return debt
	}
	chain := d.Node != NodeRace && (d.Node != NodeEach || d.Each.AtOnce == 1)
	var small [64]int32
	frames := small[:0]
	for k := ts.first; k != 0; k = u.t.frames[k].next {
		frames = append(frames, k)
	}
	for k := len(frames) - 1; k >= 0; k-- {
		later := chain && debt
		debt = u.frame(frames[k], waits || later) || debt
	}
	return debt
}

// frame pays the debts of one frame. One that was turned round by itself waits for nothing outside.
func (u *undoing) frame(k int32, waits bool) (debt bool) {
	f, fr := u.m.frameOf(k), &u.t.frames[k]
	debt = u.list(fr.start, fr.end, waits && !f.turned())
	switch {
	case f.State == FrameUndoing && !debt:
		f.State = FrameUndone
		u.m.transitions++
	case f.State == FrameUndone && debt:
		f.State = FrameUndoing
		u.m.transitions++
	}
	return debt
}

// inDebt says whether a node, as it is seen from a frame, or what is inside it, goes backward too and is
// in debt: the step of the frame, else all that are inside it, else the same in the frame around it.
func (u *undoing) inDebt(node int, frame int32) bool {
	m, t := u.m, u.t
	for {
		if i := t.slot(frame, node, len(m.p.Steps)); i >= 0 {
			return u.owed(i)
		}
		if m.inst.shelf.hasNode(m.p, node) {
			m.needInside(t.frames[frame].start, t.frames[frame].end)
		}
		found := false
		for i := t.frames[frame].start; i < t.frames[frame].end; i++ {
			if m.inst.Steps[i].Node == node {
				found = true
				if u.owed(i) {
					return true
				}
			}
		}
		if found || frame == 0 {
			return false
		}
		frame = t.frames[frame].in
	}
}

// owed says whether step i, or one inside it, goes backward and is in debt.
func (u *undoing) owed(i int32) bool {
	for j := i; j < u.t.steps[i].end; j++ {
		if u.m.turned(int(j)) && u.m.inDebt(int(j)) {
			return true
		}
	}
	return false
}
