package diagram

// Measures in pixels.
const (
	margin       = 32
	colGap       = 30 // between two columns of a list, with the arrow in it
	pivotGap     = 48 // behind a pivot, with the line in it
	trackStep    = 8  // between the bends of lines that come from different tracks
	rowGap       = 16 // between two tracks
	laneGap      = 14 // between two lanes of a block
	stepHeight   = 46
	undoHeight   = 38
	stepMin      = 104
	stepMax      = 268
	headerMax    = 420
	boxPad       = 10
	iconSize     = 26 // the tile with the icon
	iconGap      = 9
	blockPad     = 32 // left and right in a block, with the fork in it
	blockTop     = 34 // the header of a block
	blockBottom  = 14
	loopBottom   = 30 // of a repeat, with the arrow back in it
	labelHeight  = 18 // a line of text over a lane or a node
	lineHeight   = 9  // half of an empty lane
	undoTop      = 24 // the header of a block on the way back
	laneMin      = 56 // an empty lane
	bandGap      = 48 // between the way forward and the way back
	endRadius    = 9
	timeoutShift = 28 // the lane of a timeout leaves its step this far from the left
	branchInset  = 18 // from the border of a block to its fork
	forkRound    = 10 // room for the round corner of a fork
)

// point is a corner of a line.
type point struct{ x, y int }

// line is a polyline of horizontal and vertical parts; corners are drawn round.
type line struct {
	pts   []point
	class string
	arrow bool // at its end
}

// box is a rectangle with what it stands for.
type box struct {
	x, y, w, h int
	node       *node
	undo       bool
}

// label is a text with its place. The text is clipped already.
type label struct {
	x, y   int // y is the base line
	text   string
	font   font
	class  string // beside that of the font
	middle bool   // x is the middle, not the start
}

// scene is a finished layout. Blocks come before what is in them.
type scene struct {
	w, h   int
	blocks []box
	steps  []box
	lines  []line
	labels []label
	marks  []mark
	ends   []end
	bands  []band
}

// mark is a vertical line: the point of no return.
type mark struct{ x, y1, y2 int }

// end is a round terminal.
type end struct {
	x, y int
	kind string // start, done, turn, undone
}

// band is the ground of the way back.
type band struct{ x, y, w, h int }

// extent is how far something reaches above and below its flow line.
type extent struct{ up, down int }

func (e extent) height() int { return e.up + e.down }

func (e extent) around(o extent) extent { return extent{max(e.up, o.up), max(e.down, o.down)} }

// size is the space of a list or a node: one width for both ways, and the extents of each.
type size struct {
	w       int
	forward extent
	back    extent
}

// layout makes the scene. It measures from the inside out and places from the outside in.
type layout struct {
	sizes map[any]size // of *node, *list and *lane
	s     scene
}

func (d *Diagram) layout(title bool) *scene {
	l := &layout{sizes: map[any]size{}}
	root := l.measureList(d.root)
	x := margin + 2*endRadius + colGap
	top := margin
	if title {
		top += 40
	}
	if d.root.pivot >= 0 {
		top += labelHeight
	}
	forward := top + max(root.forward.up, endRadius)
	bottom := forward + max(root.forward.down, endRadius+labelHeight)
	back := 0
	if d.root.undo {
		back = bottom + bandGap + max(root.back.up, endRadius)
		bottom = back + max(root.back.down, endRadius+labelHeight) + 10
	}
	w := root.w
	right := x + w + colGap + endRadius
	startX := margin + endRadius
	l.s.ends = append(l.s.ends, end{startX, forward, "start"})
	l.label(startX, forward+endRadius+16, "start", fontLabel, "amd-mute", true)
	if !d.root.ends {
		l.s.ends = append(l.s.ends, end{right, forward, "done"})
		l.label(right, forward+endRadius+16, "completed", fontLabel, "amd-mute", true)
	}
	turn := l.placeList(d.root, x, w, forward, back, startX+endRadius, right-endRadius, way{into: true})
	if d.root.pivot >= 0 {
		m := &l.s.marks[0] // the outermost one was placed first
		m.y1, m.y2 = top-6, bottom-6
		l.label(m.x, top-labelHeight+6, "point of no return", fontLabel, "amd-pivot-ink", true)
	}
	if d.root.undo {
		l.turnRound(turn, startX, back, bottom, root)
	}
	l.s.w = right + 40 + margin
	l.s.h = bottom + margin
	return &l.s
}

// turnRound draws the two ends of the way back.
func (l *layout) turnRound(turn, startX, back, bottom int, root size) {
	up := max(root.back.up, endRadius)
	y := back - up - 30
	l.s.bands = append(l.s.bands, band{margin - 20, y, turn - margin + 20, bottom - y})
	l.label(margin-8, y+18, "on failure, cancel or deadline: undo, last first", fontLabel, "amd-undo-ink", false)
	l.s.ends = append(l.s.ends, end{startX, back, "undone"})
	l.label(startX, back+endRadius+16, "undone", fontLabel, "amd-undo-ink", true)
}

// way says how a list is tied to what is around it.
type way struct {
	into bool   // the line that leaves it ends in an arrow
	side string // class of the first line, "" = the usual
}

func (l *layout) measureList(li *list) size {
	if s, ok := l.sizes[li]; ok {
		return s
	}
	s := size{forward: extent{lineHeight, lineHeight}}
	if len(li.nodes) == 0 {
		s.w = laneMin
	}
	for i := range li.nodes {
		l.measureNode(li.nodes[i])
	}
	for c := range li.cols {
		s.w += l.colWidth(li, c)
		if c+1 < li.cols {
			s.w += l.gapAfter(li, c)
		}
	}
	s.w += leadIn(li)
	switch last := li.cols - 1; {
	case li.rows > 1:
		s.w += l.gapAfter(li, last) // the tracks come together
	case li.pivot == last && last >= 0:
		s.w += pivotGap - colGap // the line stands behind it
	}
	y, back := 0, 0
	for r := range li.rows {
		f, b := l.rowExtents(li, r)
		if r == 0 {
			s.forward, s.back = f, b
			continue
		}
		y += l.rowBelow(li, r, false)
		back += l.rowBelow(li, r, true)
		s.forward.down = max(s.forward.down, y+f.down)
		s.back.down = max(s.back.down, back+b.down)
	}
	l.sizes[li] = s
	return s
}

// leadIn is the room before the first column, where the line to the list divides.
func leadIn(li *list) int {
	if li.rows > 1 {
		return colGap
	}
	return 0
}

// rowBelow is how far the flow line of row r is below that of row r-1.
func (l *layout) rowBelow(li *list, r int, back bool) int {
	f0, b0 := l.rowExtents(li, r-1)
	f1, b1 := l.rowExtents(li, r)
	if back {
		return b0.down + rowGap + b1.up
	}
	return f0.down + rowGap + f1.up
}

func (l *layout) rowExtents(li *list, r int) (forward, back extent) {
	for i, n := range li.nodes {
		if li.row[i] == r {
			s := l.measureNode(n)
			forward, back = forward.around(s.forward), back.around(s.back)
		}
	}
	return forward, back
}

func (l *layout) colWidth(li *list, c int) int {
	w := 0
	for i, n := range li.nodes {
		if li.col[i] == c {
			w = max(w, l.measureNode(n).w)
		}
	}
	return w
}

func (l *layout) gapAfter(li *list, c int) int {
	gap := colGap
	if c == li.pivot {
		gap = pivotGap
	}
	if li.rows > 1 {
		gap += trackStep * li.rows
	}
	return gap
}

func (l *layout) measureNode(n *node) size {
	if s, ok := l.sizes[n]; ok {
		return s
	}
	var s size
	if n.block() {
		s = l.measureBlock(n)
	} else {
		s = l.measureStep(n)
	}
	if n.when != "" {
		s.forward.up += labelHeight
	}
	l.sizes[n] = s
	return s
}

func (l *layout) measureStep(n *node) size {
	s := size{w: stepWidth(n), forward: extent{stepHeight / 2, stepHeight / 2}}
	if n.undo != "" {
		s.w = max(s.w, undoWidth(n))
		s.back = extent{undoHeight / 2, undoHeight / 2}
	}
	boxW := s.w
	for _, ln := range n.lanes { // a timeout
		inner := l.measureList(ln.list)
		s.w = max(s.w, boxW+branchInset+forkRound, timeoutShift+colGap+inner.w+branchInset+forkRound)
		s.forward.down += labelHeight + inner.forward.height()
		if ln.list.undo {
			s.back.down += laneGap + inner.back.height()
		}
	}
	return s
}

func stepWidth(n *node) int {
	first := fontTitle.width(n.title)
	if n.pill != "" {
		first += iconGap + pillWidth(n.pill)
	}
	w := boxPad + iconSize + iconGap + max(first, fontDetail.width(n.detail)) + boxPad
	return min(max(w, stepMin), max(stepMax, boxPad+iconSize+iconGap+fontTitle.width("mmmmmmmm")+pillWidth(n.pill)+boxPad))
}

func undoWidth(n *node) int {
	w := boxPad + iconSize + max(fontDetail.width(n.undo), fontLabel.width("undoes "+n.title)) + boxPad
	return min(max(w, stepMin), stepMax)
}

func pillWidth(s string) int {
	if s == "" {
		return 0
	}
	return fontPill.width(s) + 12
}

// measureBlock stacks the lanes under the header. The flow line of the block is in the middle of the
// flow lines of its lanes.
func (l *layout) measureBlock(n *node) size {
	f := l.stack(n, false)
	s := size{w: max(f.inner+2*blockPad, min(headerWidth(n), headerMax)), forward: extent{f.middle, f.height - f.middle}}
	if n.inside {
		b := l.stack(n, true)
		s.back = extent{b.middle, b.height - b.middle}
	}
	return s
}

func headerWidth(n *node) int {
	w := boxPad + iconSize + iconGap + fontTitle.width(n.title) + iconGap + pillWidth(n.pill) + boxPad
	if n.detail != "" {
		w += iconGap + fontDetail.width(n.detail)
	}
	return w
}

// stacked says where the lanes of a block are, from its top.
type stacked struct {
	base   []int // flow line of each lane; -1 = the lane is not there
	label  []int // top of its label
	inner  int   // widest lane
	middle int   // flow line of the block
	height int
}

func (l *layout) stack(n *node, back bool) stacked {
	var st stacked
	y := blockTop
	if back {
		y = undoTop
	}
	first, last := -1, -1
	for _, ln := range n.lanes {
		s := l.measureList(ln.list)
		st.inner = max(st.inner, s.w, min(fontLabel.width(ln.label), stepMax))
		ext := s.forward
		if back {
			ext = s.back
		}
		if back && !ln.list.undo {
			st.base, st.label = append(st.base, -1), append(st.label, y)
			continue
		}
		if first >= 0 {
			y += laneGap
		}
		st.label = append(st.label, y)
		if ln.label != "" && !back {
			y += labelHeight
		}
		base := y + ext.up
		st.base = append(st.base, base)
		if first < 0 {
			first = base
		}
		if !ln.side || back {
			last = base
		}
		y = base + ext.down
	}
	if first < 0 {
		first = y
	}
	if last < 0 {
		last = first
	}
	st.middle = (first + last) / 2
	st.height = y + blockBottom
	if n.def.Repeat != nil && !back {
		st.height = y + loopBottom
	}
	return st
}
