package diagram

// placeList draws a list whose first column starts at x, with its flow lines at y (forward) and back.
// from and to are where the lines to and from it begin and end. It returns where the way back of the
// list starts: its right end.
func (l *layout) placeList(li *list, x, w, y, back, from, to int, wy way) (turn int) {
	if len(li.nodes) == 0 {
		l.line(wy.side, wy.into, point{from, y}, point{to, y})
		return to
	}
	left := make([]int, li.cols+1) // of each column, and of what follows the last
	right := make([]int, li.cols)
	at := x + leadIn(li)
	for c := range li.cols {
		left[c] = at
		right[c] = at + l.colWidth(li, c)
		at = right[c] + l.gapAfter(li, c)
	}
	left[li.cols] = at
	rowY, rowBack := make([]int, li.rows), make([]int, li.rows)
	rowY[0], rowBack[0] = y, back
	for r := 1; r < li.rows; r++ {
		rowY[r] = rowY[r-1] + l.rowBelow(li, r, false)
		rowBack[r] = rowBack[r-1] + l.rowBelow(li, r, true)
	}
	// The way back begins behind the last column that has a part in it.
	turn = to
	last, final := -1, false
	for i, n := range li.nodes {
		if n.final {
			final = true
		} else {
			last = max(last, li.col[i])
		}
	}
	if (final || last == li.pivot) && last >= 0 {
		turn = min(turn, right[last]+l.gapAfter(li, last)/2)
	}
	if li.pivot >= 0 {
		x := right[li.pivot] + l.gapAfter(li, li.pivot)/2
		l.s.marks = append(l.s.marks, mark{x, y - stepHeight/2, y + stepHeight/2})
	}
	nx := make([]int, len(li.nodes))
	for i, n := range li.nodes {
		s := l.sizes[n]
		c := li.col[i]
		nx[i] = left[c] + (right[c]-left[c]-s.w)/2
		l.placeNode(n, nx[i], s.w, rowY[li.row[i]], rowBack[li.row[i]])
	}
	l.forwardLines(li, nx, left, rowY, from, to, wy)
	if li.undo {
		l.backLines(li, nx, left, right, rowBack, from, turn)
	}
	return turn
}

func (l *layout) forwardLines(li *list, nx, left, rowY []int, from, to int, wy way) {
	y := rowY[0]
	for _, i := range li.heads() {
		l.route(wy.side, true, from, y, nx[i], rowY[li.row[i]], left[0]-colGap/2)
	}
	for i, deps := range li.deps {
		for _, d := range deps {
			l.route("", true, l.rightOf(li.nodes[d], nx[d]), rowY[li.row[d]], nx[i], rowY[li.row[i]], l.bend(li, d, left[li.col[i]]))
		}
	}
	if li.ends {
		return
	}
	for _, i := range li.tails() {
		l.route("", wy.into && li.row[i] == 0, l.rightOf(li.nodes[i], nx[i]), rowY[li.row[i]], to, y, min(left[li.cols], to)-colGap/2)
	}
}

// rightOf is where the line that leaves a node begins.
func (l *layout) rightOf(n *node, x int) int { return x + l.sizes[n].w }

// backLines draws the way back: the lines of the way forward turned round, through the nodes that
// have no undo.
func (l *layout) backLines(li *list, nx, left, right, rowBack []int, from, turn int) {
	y := rowBack[0]
	part := func(i int) bool { return !li.nodes[i].final }
	open := make([]bool, len(li.nodes)) // somebody that has a part in it waits for the node
	for i, deps := range li.deps {
		if !part(i) {
			continue
		}
		for _, d := range deps {
			open[d] = true
			l.routeBack(li.nodes[d].canUndo(), nx[i], rowBack[li.row[i]], l.rightOf(li.nodes[d], nx[d]), rowBack[li.row[d]], l.bend(li, d, left[li.col[i]]))
		}
	}
	for i, n := range li.nodes {
		if !part(i) {
			continue
		}
		if !n.canUndo() { // straight through
			l.line("amd-back", false, point{nx[i] + l.sizes[n].w, rowBack[li.row[i]]}, point{nx[i], rowBack[li.row[i]]})
		}
		if !open[i] {
			bend := max(right[li.col[i]]+colGap, turn) - colGap/2
			if l.blockedBack(li, i) {
				l.routePast(li, i, rowBack, turn, y, l.rightOf(n, nx[i]), bend, left[li.col[i]+1])
			} else {
				l.routeBack(n.canUndo(), turn, y, l.rightOf(n, nx[i]), rowBack[li.row[i]], bend)
			}
		}
		if len(li.deps[i]) == 0 {
			l.routeBack(true, nx[i], rowBack[li.row[i]], from, y, left[0]-colGap/2)
		}
	}
}

// blockedBack says that others with a part in the way back stand in the track of node i, behind it. On the
// way forward only the nodes that wait for i come behind it; here these may have no part.
func (l *layout) blockedBack(li *list, i int) bool {
	for j, n := range li.nodes {
		if !n.final && li.row[j] == li.row[i] && li.col[j] > li.col[i] {
			return true
		}
	}
	return false
}

// routePast draws the way back from (x1, y1) to the right end x2 of node i between two tracks, past what
// stands in the track of the node. next is the left end of the column behind it.
func (l *layout) routePast(li *list, i int, rowBack []int, x1, y1, x2, bend, next int) {
	r := max(li.row[i], 1) // the node of the first track is reached from below
	_, ext := l.rowExtents(li, r)
	between := rowBack[r] - ext.up - rowGap/2
	y2 := rowBack[li.row[i]]
	far := min(max(bend, x2+6), x1-2)
	near := max(l.bend(li, i, next), x2+6)
	l.line("amd-back", li.nodes[i].canUndo(), point{x1, y1}, point{far, y1}, point{far, between}, point{near, between}, point{near, y2}, point{x2, y2})
}

// bend is where the lines that leave node d change their height on the way to a column. Each track
// has a place of its own, so that lines of different nodes do not run in one.
func (l *layout) bend(li *list, d, column int) int {
	if li.rows == 1 {
		return column - colGap/2
	}
	return column - colGap/2 - trackStep*(li.rows-1-li.row[d])
}

// route draws a line from (x1, y1) to (x2, y2) that changes its height at bend.
func (l *layout) route(class string, arrow bool, x1, y1, x2, y2, bend int) {
	if y1 == y2 {
		l.line(class, arrow, point{x1, y1}, point{x2, y2})
		return
	}
	m := max(min(bend, x2-6), x1+2)
	l.line(class, arrow, point{x1, y1}, point{m, y1}, point{m, y2}, point{x2, y2})
}

// routeBack is route from right to left.
func (l *layout) routeBack(arrow bool, x1, y1, x2, y2, bend int) {
	if y1 == y2 {
		l.line("amd-back", arrow, point{x1, y1}, point{x2, y2})
		return
	}
	m := min(max(bend, x2+6), x1-2)
	l.line("amd-back", arrow, point{x1, y1}, point{m, y1}, point{m, y2}, point{x2, y2})
}

func (l *layout) line(class string, arrow bool, pts ...point) {
	l.s.lines = append(l.s.lines, line{pts: pts, class: class, arrow: arrow})
}

func (l *layout) label(x, y int, text string, f font, class string, middle bool) {
	l.s.labels = append(l.s.labels, label{x, y, text, f, class, middle})
}
