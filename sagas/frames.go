package sagas

import "slices"

// dynamic says whether the steps of the instance come and go with frames. Those of a flat one are
// the steps of its plan, one for one.
func (i *Instance) dynamic() bool { return i.Level > 1 }

// frame finds a frame by its number, nil for the saga itself and for one that is forgotten. Numbers
// grow in the order of creation.
func (i *Instance) frame(id uint32) *Frame {
	if id == 0 {
		return nil
	}
	at, found := slices.BinarySearchFunc(i.Frames, id, func(f Frame, id uint32) int {
		switch {
		case f.ID < id:
			return -1
		case f.ID > id:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &i.Frames[at]
}

// isRound says whether the frame is a round of a repeat, or of the body of a scope.
func (f *Frame) isRound(p *Plan) bool {
	switch d := &p.Steps[f.Node]; d.Node {
	case NodeRepeat:
		return true
	case NodeScope:
		return d.Lanes[f.Lane].Name == LaneDo
	}
	return false
}

// resolve finds the step of a node as it is seen from a frame: that in the frame itself, else the
// newest inside it, else the same in the frame around it. -1 = there is none.
func (i *Instance) resolve(node int, from uint32) int {
	if !i.dynamic() {
		return node
	}
	for {
		newest := -1
		for k := range i.Steps {
			s := &i.Steps[k]
			if s.Node != node {
				continue
			}
			if s.Frame == from {
				return k
			}
			if i.inside(s.Frame, from) {
				newest = k
			}
		}
		if newest >= 0 {
			return newest
		}
		f := i.frame(from)
		if f == nil {
			return -1
		}
		from = f.In
	}
}

// inside says whether frame id lies within the frame around, at any depth.
func (i *Instance) inside(id, around uint32) bool {
	for around != id {
		f := i.frame(id)
		if f == nil {
			return around == 0
		}
		id = f.In
	}
	return true
}
