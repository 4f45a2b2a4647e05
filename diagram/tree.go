package diagram

import (
	"slices"

	"github.com/amendsio/amends/sagas"
)

// Diagram is what there is to be seen of one definition. It is immutable.
type Diagram struct {
	def  *sagas.Definition
	root *list
}

// New makes the picture of a definition. The definition should have passed ParseDefinition: of a
// cycle in after, for example, only a part is drawn.
func New(d *sagas.Definition) *Diagram {
	return &Diagram{def: d, root: newList(d.Steps, false)}
}

// list is one list of nodes.
type list struct {
	nodes []*node
	deps  [][]int // per node: the nodes of this list that it waits for, none of them twice
	col   []int   // per node: the longest way to it from the start of the list
	row   []int   // per node: the track that it stands on, 0 is the straight one
	cols  int
	rows  int
	undo  bool // something in it can be undone
	pivot int  // column of the first pivot that is a node of this very list, -1 = none
	ends  bool // nothing goes on behind it: its last node ends the saga
}

// node is one node, with the words that every output shows.
type node struct {
	def    *sagas.StepDef
	title  string // its id
	detail string // what it does
	pill   string // the kind, where it is not the usual one
	when   string // its condition, "" = always
	undo   string // the command that undoes it, "" = none
	lanes  []*lane
	final  bool // nothing behind it is undone, and neither is it
	inside bool // something in its lanes can be undone
	pivot  bool // it is a pivot
	past   bool // what goes on behind it is behind a pivot
	ends   bool // nothing goes on behind it
}

// lane is one list inside a node.
type lane struct {
	def   *sagas.LaneDef
	label string
	side  bool // taken instead of the usual way: catch and timeout
	list  *list
}

// block says whether the node is drawn as a box around its lanes. A call or a wait may have a lane
// for its timeout, and stays a step.
func (n *node) block() bool { return n.def.Node.Block() }

// newList builds the nodes of a list. final says that the point of no return is behind already.
func newList(steps []sagas.StepDef, final bool) *list {
	l := &list{pivot: -1}
	l.order(steps)
	past := make([]bool, len(steps)) // a pivot is before it
	for _, i := range l.byColumn() {
		f := final
		for _, d := range l.deps[i] {
			f = f || past[d]
		}
		n := newNode(&steps[i], f)
		l.nodes[i] = n
		past[i] = f || n.past
		if n.pivot && l.pivot < 0 {
			l.pivot = l.col[i]
		}
		l.undo = l.undo || n.canUndo()
	}
	if k := len(l.nodes); k > 0 {
		l.ends = l.rows == 1 && l.nodes[k-1].ends
	}
	return l
}

// canUndo says whether the node has a place on the way back.
func (n *node) canUndo() bool { return n.undo != "" || n.inside }

func newNode(s *sagas.StepDef, final bool) *node {
	n := &node{def: s, title: s.ID, detail: detailOf(s), pill: pillOf(s), when: s.When, final: final}
	n.pivot = s.Node == sagas.NodeCall && s.Kind == sagas.Pivot || s.Node == sagas.NodeSaga && s.Kind == sagas.Pivot
	if !final {
		n.undo = undoOf(s)
	}
	for i := range s.Lanes {
		def := &s.Lanes[i]
		ln := &lane{def: def, label: laneLabel(s, def), list: newList(def.Steps, final)}
		ln.side = def.Name == sagas.LaneCatch && s.Node == sagas.NodeScope || def.Name == sagas.LaneTimeout && !n.block()
		n.lanes = append(n.lanes, ln)
		n.inside = n.inside || ln.list.undo
	}
	n.past, n.ends = n.pivot, false
	switch s.Node {
	case sagas.NodeFail, sagas.NodeFinish, sagas.NodeContinue:
		n.ends = s.When == ""
	case sagas.NodeChoose: // every branch that goes on counts
		n.ends, n.past = s.When == "", s.When == ""
		for _, ln := range n.lanes {
			n.ends = n.ends && ln.list.ends
			n.past = n.past && (ln.list.ends || ln.list.past())
		}
	case sagas.NodeParallel, sagas.NodeEach, sagas.NodeRepeat, sagas.NodeScope:
		for _, ln := range n.lanes {
			n.past = n.past || !ln.side && s.When == "" && ln.list.past()
		}
	}
	return n
}

// past says whether a pivot surely ran when the list has gone through.
func (l *list) past() bool {
	return slices.ContainsFunc(l.nodes, func(n *node) bool { return n.past })
}

// order finds the columns and the tracks of the nodes. A list without after is a chain: one track.
//
// Each node holds its track from its column up to the column before the last node that waits for it,
// and a node takes the track of one that it waits for when that ends there. So a line never runs
// through a node that it does not belong to.
func (l *list) order(steps []sagas.StepDef) {
	n := len(steps)
	l.nodes = make([]*node, n)
	l.deps, l.col, l.row = make([][]int, n), make([]int, n), make([]int, n)
	at := map[string]int{}
	for i := range steps {
		if _, twice := at[steps[i].ID]; !twice {
			at[steps[i].ID] = i
		}
	}
	for i := range steps {
		if steps[i].After == nil {
			if i > 0 {
				l.deps[i] = []int{i - 1}
			}
			continue
		}
		for _, id := range steps[i].After {
			if d, ok := at[id]; ok && d != i && !slices.Contains(l.deps[i], d) {
				l.deps[i] = append(l.deps[i], d)
			}
		}
	}
	for range n { // the longest way has at most n nodes; a cycle stops here too
		moved := false
		for i := range steps {
			for _, d := range l.deps[i] {
				if l.col[i] <= l.col[d] && l.col[d]+1 < n {
					l.col[i], moved = l.col[d]+1, true
				}
			}
		}
		if !moved {
			break
		}
	}
	for i := range steps {
		l.deps[i] = slices.DeleteFunc(l.deps[i], func(d int) bool { return l.col[d] >= l.col[i] })
		l.cols = max(l.cols, l.col[i]+1)
	}
	l.tracks()
}

func (l *list) tracks() {
	until := make([]int, len(l.nodes)) // last column that the node's own line runs through
	for i := range until {
		until[i] = -1
	}
	for i, deps := range l.deps {
		for _, d := range deps {
			until[d] = max(until[d], l.col[i]-1)
		}
	}
	for i := range until {
		if until[i] < 0 {
			until[i] = l.cols // goes on to the end of the list
		}
	}
	type cell struct{ row, col int }
	taken := map[cell]bool{}
	free := func(row, from, to int) bool {
		for c := from; c <= to; c++ {
			if taken[cell{row, c}] {
				return false
			}
		}
		return true
	}
	for _, i := range l.byColumn() {
		row := -1
		for _, d := range l.deps[i] {
			if free(l.row[d], l.col[i], until[i]) {
				row = l.row[d]
				break
			}
		}
		if row < 0 {
			for row = 0; !free(row, l.col[i], until[i]); row++ {
			}
		}
		l.row[i] = row
		l.rows = max(l.rows, row+1)
		for c := l.col[i]; c <= until[i]; c++ {
			taken[cell{row, c}] = true
		}
	}
}

// byColumn are the nodes from left to right, in a column as they are written.
func (l *list) byColumn() []int {
	order := make([]int, len(l.nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return l.col[a] - l.col[b] })
	return order
}

// heads are the nodes that wait for no other of the list.
func (l *list) heads() []int {
	var out []int
	for i := range l.nodes {
		if len(l.deps[i]) == 0 {
			out = append(out, i)
		}
	}
	return out
}

// tails are the nodes that no other of the list waits for.
func (l *list) tails() []int {
	waited := make([]bool, len(l.nodes))
	for _, deps := range l.deps {
		for _, d := range deps {
			waited[d] = true
		}
	}
	var out []int
	for i := range l.nodes {
		if !waited[i] {
			out = append(out, i)
		}
	}
	return out
}

// walk visits all nodes, each before its lanes.
func (l *list) walk(visit func(*node)) {
	for _, n := range l.nodes {
		visit(n)
		for _, ln := range n.lanes {
			ln.list.walk(visit)
		}
	}
}
