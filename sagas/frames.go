package sagas

// dynamic says whether the steps of the instance come and go with frames. Those of a flat one are
// the steps of its plan, one for one.
func (i *Instance) dynamic() bool { return i.Level > 1 }

// frame finds a frame by its number, nil for the saga itself and for one that is forgotten. Numbers
// grow in the order of creation.
func (i *Instance) frame(id uint32) *Frame {
	if id == 0 {
		return nil
	}
	at := i.frameAt(id)
	if at < 0 {
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

// seen is the step of a node as it is seen from a frame of the tree: that in the frame itself, else the
// newest inside it, else the same in the frame around it; never that of another item. -1 = there is none.
func (m *machine) seen(node int, frame int32) int {
	if !m.inst.dynamic() {
		return node
	}
	t := m.shape()
	for {
		if i := t.slot(frame, node, len(m.p.Steps)); i >= 0 {
			return int(i)
		}
		if fr := &t.frames[frame]; fr.end > fr.start {
			if m.inst.shelf.hasNode(m.p, node) {
				m.needInside(fr.start, fr.end)
			}
			for i := fr.end - 1; i >= fr.start; i-- {
				if m.inst.Steps[i].Node == node {
					return int(i)
				}
			}
		}
		if frame == 0 {
			return -1
		}
		f := m.frameOf(frame)
		if each := &m.p.Steps[f.Node]; each.Node == NodeEach && node > f.Node && node < each.End {
			return -1 // it did not run in this item, and what it did in others is not for this one
		}
		frame = t.frames[frame].in
	}
}
