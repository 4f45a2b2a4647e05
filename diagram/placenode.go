package diagram

// placeNode draws a node with its left border at x. y and back are its flow lines.
func (l *layout) placeNode(n *node, x, w, y, back int) {
	up := l.sizes[n].forward.up
	if n.when != "" {
		text := fontLabel.clip("if "+n.when, w)
		l.label(x+2, y-up+labelHeight-6, text, fontLabel, "amd-cond", false)
		up -= labelHeight
	}
	if n.block() {
		l.placeBlock(n, x, w, y-up, back)
		return
	}
	bw := w
	if len(n.lanes) > 0 {
		bw = min(w, max(stepWidth(n), undoBoxWidth(n)))
	}
	l.s.steps = append(l.s.steps, box{x: x, y: y - stepHeight/2, w: bw, h: stepHeight, node: n})
	if n.undo != "" {
		l.s.steps = append(l.s.steps, box{x: x, y: back - undoHeight/2, w: bw, h: undoHeight, node: n, undo: true})
	}
	l.placeTimeouts(n, x, w, bw, y, back)
}

func undoBoxWidth(n *node) int {
	if n.undo == "" {
		return 0
	}
	return undoWidth(n)
}

// placeTimeouts draws the lane of a timeout under its step. It comes back to the flow line behind it.
func (l *layout) placeTimeouts(n *node, x, w, bw, y, back int) {
	if len(n.lanes) == 0 {
		return
	}
	if bw < w {
		l.line("", false, point{x + bw, y}, point{x + w, y})
		if n.undo != "" {
			l.line("amd-back", true, point{x + w, back}, point{x + bw, back})
		}
	}
	below, belowBack := y+stepHeight/2, back
	if n.undo != "" {
		belowBack += undoHeight / 2
	}
	for _, ln := range n.lanes {
		s := l.sizes[ln.list]
		base := below + labelHeight + s.forward.up
		l.label(x+timeoutShift+8, below+labelHeight-5, fontLabel.clip(ln.label, w-timeoutShift-8), fontLabel, "amd-cond", false)
		backBase := belowBack + laneGap + s.back.up
		inner := x + timeoutShift + colGap
		l.line("amd-side", len(ln.list.nodes) > 0, point{x + timeoutShift, below}, point{x + timeoutShift, base}, point{inner, base})
		end := x + w - branchInset + 6
		turn := l.placeLane(ln.list, inner, s.w, base, backBase, inner, end-forkRound, "amd-side")
		if !ln.list.ends {
			l.line("", false, point{end - forkRound, base}, point{end, base}, point{end, y})
		}
		if ln.list.undo {
			l.line("amd-back", false, point{end, back}, point{end, backBase}, point{min(turn, end-forkRound), backBase})
			l.line("amd-back", true, point{inner, backBase}, point{x + timeoutShift, backBase}, point{x + timeoutShift, belowBack})
			belowBack = backBase + s.back.down
		}
		below = base + s.forward.down
	}
}

// placeLane draws the list of a lane between two points of its flow line.
func (l *layout) placeLane(li *list, x, w, y, back, from, to int, side string) int {
	return l.placeList(li, x, w, y, back, from, to, way{side: side})
}

// placeBlock draws a block with its top at y. back is its flow line on the way back.
func (l *layout) placeBlock(n *node, x, w, top, back int) {
	f := l.stack(n, false)
	l.s.blocks = append(l.s.blocks, box{x: x, y: top, w: w, h: f.height, node: n})
	mid := top + f.middle
	fork, join := x+branchInset, x+w-branchInset
	var b stacked
	backTop := 0
	if n.inside {
		b = l.stack(n, true)
		backTop = back - b.middle
		l.s.blocks = append(l.s.blocks, box{x: x, y: backTop, w: w, h: b.height, node: n, undo: true})
	}
	joined, undone := false, false
	for i, ln := range n.lanes {
		s := l.sizes[ln.list]
		base := top + f.base[i]
		inner := x + blockPad
		class := ""
		if ln.side {
			class = "amd-side"
		}
		if ln.label != "" {
			l.label(inner, top+f.label[i]+labelHeight-6, fontLabel.clip(ln.label, w-blockPad-12), fontLabel, laneClass(n), false)
		}
		backBase := 0
		if n.inside && b.base[i] >= 0 {
			backBase = backTop + b.base[i]
		}
		end := join - forkRound
		l.fork(class, x, mid, fork, base, inner, i == 0)
		turn := l.placeLane(ln.list, inner, s.w, base, backBase, inner, end, class)
		if !ln.list.ends {
			l.fork("", x+w, mid, join, base, end, !joined)
			joined = true
		}
		if n.inside && b.base[i] >= 0 {
			turn = min(turn, end)
			l.fork("amd-back", x+w, back, join, backBase, turn, !undone)
			l.fork("amd-back", x, back, fork, backBase, inner, !undone)
			undone = true
		}
	}
	if n.def.Repeat != nil && len(n.lanes) > 0 {
		y := top + f.height - loopBottom/2
		base := top + f.base[0]
		l.line("amd-loop", true, point{join, base}, point{join, y}, point{fork, y}, point{fork, base})
	}
}

// laneClass is how the label of a lane looks: a condition or a name.
func laneClass(n *node) string {
	if n.def.Race != nil || n.def.Node.String() == "parallel" {
		return "amd-name"
	}
	return "amd-cond"
}

// fork draws the line from the border of a block over its spine to a lane, or from a lane to the
// border. The part that all lanes share is drawn with the first of them only.
func (l *layout) fork(class string, border, mid, spine, base, inner int, first bool) {
	if mid == base {
		if border != inner {
			l.line(class, false, point{border, mid}, point{inner, mid})
		}
		return
	}
	shared := spine + forkRound*sign(border-spine)
	if first {
		l.line(class, false, point{border, mid}, point{shared, mid})
	}
	l.line(class, false, point{shared, mid}, point{spine, mid}, point{spine, base}, point{inner, base})
}
