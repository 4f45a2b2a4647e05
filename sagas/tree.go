package sagas

// tree is the shape of a dynamic instance, derived from its steps and frames in one pass over them.
// It holds indexes only, so it is right until a step or frame comes or goes.
type tree struct {
	steps  []treeStep
	frames []treeFrame // frames[k+1] is that of Instance.Frames[k]; frames[0] is the saga
	slots  []int32     // of each frame with steps: step of each plan index of its body, -1 = none
}

type treeStep struct {
	parent int32 // step whose body it is in, -1 = none
	end    int32 // index after its body, frames included
	frame  int32 // index in tree.frames
	first  int32 // its first frame, index in tree.frames; 0 = none
}

type treeFrame struct {
	owner      int32 // step whose frame it is, -1 for the saga
	in         int32 // frame around it, index in tree.frames
	next       int32 // next frame of the same step, 0 = none
	start, end int32 // its steps with all that is inside them; equal when it has none
	base, lo   int32 // the slot of plan index n is base+n-lo
}

// framed says whether the bodies of a node run in frames of their own.
func framed(k NodeKind) bool { return k != NodeParallel && k != NodeChoose }

// shape gives the tree of the instance; REQUIRES: it is dynamic.
func (m *machine) shape() *tree {
	if m.tree == nil {
		m.tree = buildTree(m.p, m.inst)
	}
	return m.tree
}

// buildTree derives the tree, nil when steps and frames do not fit the plan.
func buildTree(p *Plan, inst *Instance) *tree {
	t := &tree{steps: make([]treeStep, len(inst.Steps)), frames: make([]treeFrame, len(inst.Frames)+1)}
	t.frames[0].owner = -1
	for k := range t.frames {
		t.frames[k].base = -1
	}
	last, lastID, slots := int32(0), uint32(0), int32(0)
	for i := range inst.Steps {
		s := &inst.Steps[i]
		if s.Frame != lastID {
			if last = inst.frameAt(s.Frame) + 1; last < 0 {
				return nil
			}
			lastID = s.Frame
		}
		t.steps[i] = treeStep{parent: -1, end: int32(i + 1), frame: last}
		fr := &t.frames[last]
		if fr.base < 0 {
			lo, n := 0, len(p.Steps)
			if last > 0 {
				if lo, n = p.bodyRange(&inst.Frames[last-1]); n < 0 {
					return nil
				}
			}
			fr.base, fr.lo = slots, int32(lo)
			slots += int32(n)
		}
	}
	t.slots = make([]int32, slots)
	for k := range t.slots {
		t.slots[k] = -1
	}
	for i := range inst.Steps {
		fr := &t.frames[t.steps[i].frame]
		lo, n := int(fr.lo), len(p.Steps)
		if k := t.steps[i].frame; k > 0 {
			_, n = p.bodyRange(&inst.Frames[k-1])
		}
		node := inst.Steps[i].Node - lo
		if node < 0 || node >= n {
			return nil
		}
		t.slots[int(fr.base)+node] = int32(i)
	}
	for k := range inst.Frames {
		f, fr := &inst.Frames[k], &t.frames[k+1]
		fr.in = inst.frameAt(f.In) + 1
		if f.Node >= len(p.Steps) {
			return nil
		}
		if fr.owner = t.slot(fr.in, f.Node, len(p.Steps)); fr.owner < 0 {
			return nil
		}
	}
	for k := len(t.frames) - 1; k > 0; k-- {
		owner := &t.steps[t.frames[k].owner]
		t.frames[k].next, owner.first = owner.first, int32(k)
	}
	for i := range inst.Steps {
		s := &t.steps[i]
		parent := p.Steps[inst.Steps[i].Node].Parent
		switch {
		case parent < 0:
		case framed(p.Steps[parent].Node):
			s.parent = t.frames[s.frame].owner
		default:
			s.parent = t.slot(s.frame, parent, len(p.Steps))
		}
		if parent >= 0 && (s.parent < 0 || int(s.parent) >= i) {
			return nil
		}
	}
	for i := len(t.steps) - 1; i >= 0; i-- {
		if up := t.steps[i].parent; up >= 0 {
			t.steps[up].end = max(t.steps[up].end, t.steps[i].end)
		}
		fr := &t.frames[t.steps[i].frame]
		fr.start = int32(i)
		fr.end = max(fr.end, t.steps[i].end)
	}
	return t
}

// slot is the step of a node in a frame, -1 = there is none.
func (t *tree) slot(frame int32, node, nodes int) int32 {
	fr := &t.frames[frame]
	at := node - int(fr.lo)
	if fr.base < 0 || at < 0 || at >= nodes || int(fr.base)+at >= len(t.slots) {
		return -1
	}
	i := t.slots[int(fr.base)+at]
	if i >= 0 && t.steps[i].frame != frame {
		return -1 // a slot of the frame behind
	}
	return i
}

// bodyRange is where the plan has the body of a frame: its first index and how many there are, -1 when
// there is no such body.
func (p *Plan) bodyRange(f *Frame) (lo, n int) {
	if f.Node >= len(p.Steps) || f.Lane >= len(p.Steps[f.Node].Lanes) {
		return 0, -1
	}
	return p.laneRange(f.Node, f.Lane)
}

// laneRange is where the plan has the steps of a lane, those inside them included.
func (p *Plan) laneRange(node, lane int) (lo, n int) {
	steps := p.Steps[node].Lanes[lane].Steps
	if len(steps) == 0 {
		return node + 1, 0
	}
	return steps[0], p.Steps[steps[len(steps)-1]].End - steps[0]
}

// frameAt is the index of a frame in Frames, -1 for the saga; less for one that is forgotten.
func (i *Instance) frameAt(id uint32) int32 {
	if id == 0 {
		return -1
	}
	lo, hi := 0, len(i.Frames)
	for lo < hi {
		mid := (lo + hi) / 2
		if i.Frames[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(i.Frames) || i.Frames[lo].ID != id {
		return -2
	}
	return int32(lo)
}

// lanePart is the part of an unframed node's body that is in the lane: its steps follow each other.
func (m *machine) lanePart(i, lane int) (from, to int32) {
	t, p := m.shape(), m.p
	steps := m.plan(i).Lanes[lane].Steps
	if len(steps) == 0 {
		return 0, 0
	}
	frame := t.steps[i].frame
	from = t.slot(frame, steps[0], len(p.Steps))
	last := t.slot(frame, steps[len(steps)-1], len(p.Steps))
	if from < 0 || last < 0 {
		return 0, 0
	}
	return from, t.steps[last].end
}

// frameOf is frame k of the tree in the instance. REQUIRES: k > 0.
func (m *machine) frameOf(k int32) *Frame { return &m.inst.Frames[k-1] }
