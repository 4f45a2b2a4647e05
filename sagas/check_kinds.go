package sagas

import (
	"slices"
	"strings"
)

// flow is what runs after what in one run, and where a run ends early.
type flow struct {
	*outline
	order precedence
	ends  []bool // nothing that waits for the node ever runs
	out   []bool // the run ends behind the node, before its lane does
}

func flowOf(o *outline) flow {
	f := flow{o, orderOf(o.plan), make([]bool, len(o.defs)), make([]bool, len(o.defs))}
	for i := len(o.defs) - 1; i >= 0; i-- { // the body of a node comes behind it
		f.ends[i] = o.defs[i].When == "" && f.endsIf(i)
	}
	for i := len(o.defs) - 1; i >= 0; i-- { // what waits for a node comes behind it
		f.out[i] = f.ends[i] || slices.ContainsFunc(o.plan.Steps[i].Dependents, func(y int) bool { return f.out[y] })
	}
	return f
}

// endsIf says whether node i, when it runs, lets nothing behind it run.
func (f *flow) endsIf(i int) bool {
	lanes := f.plan.Steps[i].Lanes
	ended := 0
	for l := range lanes {
		if f.laneEnds(i, l) {
			ended++
		}
	}
	switch f.defs[i].Node {
	case NodeFail, NodeFinish, NodeContinue:
		return true
	case NodeParallel:
		return ended > 0
	case NodeChoose, NodeScope:
		return len(lanes) > 0 && ended == len(lanes)
	case NodeRepeat:
		return ended > 0
	}
	return false // an each may have no items, a wait may not time out, a race has other lanes
}

// laneEnds says whether a lane never comes to its end.
func (f *flow) laneEnds(i, lane int) bool {
	return slices.ContainsFunc(f.plan.Steps[i].Lanes[lane].Steps, func(x int) bool { return f.ends[x] })
}

// leaves says whether a run that passes through p ends before it leaves the lanes around p, up to the
// level of b, a node around p or p itself.
func (f *flow) leaves(p, b int) bool {
	for x := p; x != b; x = f.plan.Steps[x].Parent {
		if f.out[x] {
			return true
		}
	}
	return false
}

// follows says whether x can run when p has ended in the same run.
func (f *flow) follows(x, p int) bool {
	if f.order.of(x, p) != relAfter {
		return false
	}
	_, b := f.order.meet(x, p)
	return !f.leaves(p, b)
}

// always says whether p surely ran in every run that gets to the end of b, a node around p or p
// itself.
func (f *flow) always(p, b int) bool {
	for x := p; ; x = f.plan.Steps[x].Parent {
		if f.defs[x].When != "" {
			return false
		}
		if x == b {
			return true
		}
		s := &f.plan.Steps[x]
		switch f.defs[s.Parent].Node {
		case NodeChoose:
			if !f.otherLanesEnd(s.Parent, s.Lane) {
				return false
			}
		case NodeParallel, NodeRepeat:
		default:
			return false
		}
	}
}

// pivotNodes are the plan indexes of all pivots.
func (c *checker) pivotNodes() []int {
	var out []int
	for i, def := range c.defs {
		if def.Kind == Pivot {
			out = append(out, i)
		}
	}
	return out
}

// checkKind is about what owes an undo, and about undos that cannot be.
func (c *checker) checkKind(i int, path string) {
	s := c.defs[i]
	undone := s.Undo != nil || s.Saga != nil && s.Saga.Reversible
	// Beyond a pivot SG13 says it already.
	if _, beyond := c.beyondPivot(i); s.Kind == Compensatable && !undone && !beyond && strings.TrimSpace(s.Why) == "" {
		if s.Saga != nil {
			c.fault(path, "SG30", "Set reversible: true, or say why: it needs no undo.", "%s has an effect that must be undone when a later step fails, but the child is not reversible", s.ID)
		} else {
			c.fault(path, "SG10", "Add undo:, or undo: none with why:.", "%s has an effect that must be undone when a later step fails, but it has no undo", s.ID)
		}
	}
	if undone && (s.Kind == Pivot || s.Kind == Retriable || s.Kind == ReadOnly) {
		part, what := "/undo", "Take undo: out, or make the step compensatable."
		if s.Saga != nil {
			part, what = "/saga/reversible", "Take reversible: out, or make the step compensatable."
		}
		c.fault(path+part, "SG14", what, "%s is a %s step, so it is never undone", s.ID, s.Kind)
	}
	if s.Node == NodeCall && s.OnUnknown == UnknownCompensate && (s.Kind == Pivot || s.Kind == Retriable) {
		participant := c.d.Participants[c.plan.Steps[i].Participant]
		hint, offers := "Set onUnknown: attention.", ""
		if participant.Offers(OpInquire) {
			hint, offers = "Set onUnknown: inquire.", ", and "+c.plan.Steps[i].Participant+" offers inquire"
		}
		c.fault(path+"/onUnknown", "SG16", hint, "onUnknown is \"compensate\", but a %s step has no undo%s", s.Kind, offers)
	}
}

// checkPivots is about the place of everything else around the points of no return.
func (c *checker) checkPivots() {
	for k, p := range c.pivots {
		for _, q := range c.pivots[:k] {
			if c.follows(p, q) || c.follows(q, p) || c.order.of(p, q) == relBeside {
				c.fault(c.paths[p], "SG12", "A run has one point of no return. Make one of them compensatable or retriable.",
					"%s is a second pivot, the first is %s at line %d", c.defs[p].ID, c.defs[q].ID, c.d.src.place(c.paths[q]).line)
				break
			}
		}
		if x := c.around(p, NodeEach, NodeRace, NodeScope, NodeRepeat); x >= 0 {
			c.fault(c.paths[p], "SG15", "Move the pivot out of it.", "pivot %s is inside the %s %s, which may undo it or run it again", c.defs[p].ID, c.defs[x].Node, c.defs[x].ID)
		}
	}
	for i := range c.defs {
		c.checkPlace(i)
	}
}

// beyondPivot finds a pivot that node i comes after or runs beside, and says whether it is so and
// nothing around i catches its failure. The pivot is -1 when there is none.
func (c *checker) beyondPivot(i int) (pivot int, unprotected bool) {
	for _, p := range c.pivots {
		if p == i || !c.follows(i, p) && c.order.of(i, p) != relBeside {
			continue
		}
		a, _ := c.order.meet(i, p)
		return p, !c.caught(i, a)
	}
	return -1, false
}

// caught says whether a failure of node i stays inside the node a around it.
func (c *checker) caught(i, a int) bool {
	for x := i; x != a; x = c.plan.Steps[x].Parent {
		p := c.defs[c.plan.Steps[x].Parent]
		if p.Scope != nil && c.laneOf(x) == LaneDo && slices.Contains(p.Scope.CatchOn, "*") || p.Each != nil && p.Each.OnFailure == ItemCollect {
			return true
		}
	}
	return false
}

// checkPlace reports a node that must not stand where it does: before, beside or after a pivot.
func (c *checker) checkPlace(i int) {
	s, path := c.defs[i], c.paths[i]
	if s.Kind == Retriable && (s.Node == NodeCall || s.Node == NodeSaga) {
		for _, p := range c.pivots {
			if c.follows(p, i) || c.order.of(p, i) == relBeside {
				c.fault(path, "SG13", "Move it after "+c.defs[p].ID+", or make it compensatable with an undo.",
					"%s is retriable but comes before pivot %s, so a later failure would leave its effect behind", s.ID, c.defs[p].ID)
				break
			}
		}
	}
	p, unprotected := c.beyondPivot(i)
	if p < 0 {
		return
	}
	if s.Node == NodeRace {
		c.fault(path, "SG15", "Move it before "+c.defs[p].ID+".", "%s comes after pivot %s, but the lanes that lose a race must be undone", s.ID, c.defs[p].ID)
		return
	}
	if !unprotected {
		return
	}
	where := "comes after"
	if c.order.of(i, p) == relBeside {
		where = "runs beside"
	}
	switch {
	case (s.Node == NodeCall || s.Node == NodeSaga) && s.Kind == Compensatable:
		c.fault(path, "SG13", "Set kind: retriable or optional, or move it before "+c.defs[p].ID+".",
			"%s %s pivot %s, so it cannot be rolled back", s.ID, where, c.defs[p].ID)
	case (s.Node == NodeCall || s.Node == NodeSaga) && s.Kind == ReadOnly && where == "runs beside":
		c.fault(path, "SG13", "Set kind: optional, or move it before "+c.defs[p].ID+".",
			"%s runs beside pivot %s, so when it fails it may be too late to roll back", s.ID, c.defs[p].ID)
	case s.Node == NodeFail, s.Node == NodeApprove, s.Node == NodeAwait && s.Await.OnTimeout == TimeoutFail && s.Await.Within > 0:
		hint := "Move it before " + c.defs[p].ID + "."
		if s.Node == NodeAwait {
			hint = "Set onTimeout: continue or a list of steps, or move it before " + c.defs[p].ID + "."
		}
		c.fault(path, "SG13", hint, "%s %s pivot %s and can fail, but nothing can be rolled back there", s.ID, where, c.defs[p].ID)
	}
}

// around is the innermost node of one of the kinds around node i, -1 = none.
func (f *flow) around(i int, kinds ...NodeKind) int {
	for p := f.plan.Steps[i].Parent; p >= 0; p = f.plan.Steps[p].Parent {
		if slices.Contains(kinds, f.defs[p].Node) {
			return p
		}
	}
	return -1
}
