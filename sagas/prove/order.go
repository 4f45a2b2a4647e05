package prove

import (
	"strings"

	"github.com/amendsio/amends/sagas"
)

// nodeOf is the plan index of a step by its path: ids are unique, and frames stand before the last
// slash. -1 = the plan has none.
func (x *explorer) nodeOf(path string) int {
	if i, found := x.nodes[path[strings.LastIndexByte(path, '/')+1:]]; found {
		return i
	}
	return -1
}

var noStep sagas.PlanStep

func (x *explorer) stepOf(path string) *sagas.PlanStep {
	if i := x.nodeOf(path); i >= 0 {
		return &x.plan.Steps[i]
	}
	return &noStep
}

// place is one level of the way from the saga down to a step.
type place struct {
	node   int
	lane   int    // the lane in which the next level is
	number uint32 // of the frame in which the next level is: item or round; 0 = none of its own
}

// wayTo is the way from the saga down to a step, the step last.
func (x *explorer) wayTo(inst *sagas.Instance, s *sagas.StepState) []place {
	var way []place
	node, frame := x.nodeOf(s.Path), s.Frame
	way = append(way, place{node: node})
	for {
		d := &x.plan.Steps[node]
		parent, lane := d.Parent, d.Lane
		if parent < 0 || parent == node {
			break
		}
		at := place{node: parent, lane: lane}
		if f := frameOf(inst, frame); f != nil && f.Node == parent {
			at.number = f.Number
			if at.number == 0 {
				at.number = f.ID
			}
			frame = f.In
		}
		way = append(way, at)
		node = parent
	}
	for i, j := 0, len(way)-1; i < j; i, j = i+1, j-1 {
		way[i], way[j] = way[j], way[i]
	}
	return way
}

func frameOf(inst *sagas.Instance, id uint32) *sagas.Frame {
	if id == 0 {
		return nil
	}
	for i := range inst.Frames {
		if inst.Frames[i].ID == id {
			return &inst.Frames[i]
		}
	}
	return nil
}

// turned says whether a step is in a frame that failed or lost, at whatever level, and in which state
// the outermost such frame is. 0 = it is in none.
func turned(inst *sagas.Instance, s *sagas.StepState) sagas.FrameState {
	var state sagas.FrameState
	for id := s.Frame; id != 0; {
		f := frameOf(inst, id)
		if f == nil {
			break
		}
		if f.State == sagas.FrameUndoing || f.State == sagas.FrameUndone {
			state = f.State
		}
		id = f.In
	}
	return state
}

// dependsOn says whether the step y depends on the step x, by what the definition says: an
// implementation of its own, so that it can disagree with the machine's.
func (x *explorer) dependsOn(inst *sagas.Instance, y, on *sagas.StepState) bool {
	if len(inst.Frames) == 0 && x.flat {
		return x.after[x.nodeOf(y.Path)][x.nodeOf(on.Path)]
	}
	a, b := x.wayTo(inst, y), x.wayTo(inst, on)
	for i := 0; i < len(a) && i < len(b); i++ {
		p, q := a[i], b[i]
		if p.node != q.node {
			return x.after[p.node][q.node]
		}
		if i == len(a)-1 || i == len(b)-1 {
			return false // one is the block around the other
		}
		d := &x.plan.Steps[p.node]
		if p.lane != q.lane {
			return d.Node == sagas.NodeScope && p.lane > q.lane // the catch lane comes after the body
		}
		if p.number != q.number {
			switch d.Node {
			case sagas.NodeEach:
				return d.Each.AtOnce == 1 && p.number > q.number
			case sagas.NodeRepeat, sagas.NodeScope:
				return p.number > q.number
			}
			return false
		}
	}
	return false
}

// closure computes which plan steps depend on which, within their lanes and over others, and takes in
// what undo.after adds.
func closure(p *sagas.Plan) [][]bool {
	n := len(p.Steps)
	after := make([][]bool, n)
	for i := range after {
		after[i] = make([]bool, n)
	}
	var mark func(i, d int)
	mark = func(i, d int) {
		if after[i][d] {
			return
		}
		after[i][d] = true
		for _, e := range p.Steps[d].Deps {
			mark(i, e)
		}
	}
	for i := range p.Steps {
		for _, d := range p.Steps[i].Deps {
			mark(i, d)
		}
	}
	for i := range p.Steps {
		if u := p.Steps[i].Undo; u != nil {
			for _, later := range u.After {
				after[later][i] = true
			}
		}
	}
	return after
}
