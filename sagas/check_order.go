package sagas

// precedence answers which nodes of a plan come before which.
type precedence struct {
	plan   *Plan
	depth  []int      // how many nodes are around a node
	pos    []int      // its position in its lane
	before [][]uint64 // positions in its lane that it waits for, also over others
	work   *int       // steps of all climbs so far, for the tests of its bounds
}

func orderOf(p *Plan) precedence {
	o := precedence{p, make([]int, len(p.Steps)), make([]int, len(p.Steps)), make([][]uint64, len(p.Steps)), new(int)}
	size := map[[2]int]int{} // of each lane
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Parent >= 0 {
			o.depth[i] = o.depth[s.Parent] + 1
		}
		lane := [2]int{s.Parent, s.Lane}
		o.pos[i] = size[lane]
		size[lane]++
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		o.before[i] = make([]uint64, (size[[2]int{s.Parent, s.Lane}]+63)/64)
		for _, d := range s.Deps {
			for w, bits := range o.before[d] {
				o.before[i][w] |= bits
			}
			o.before[i][o.pos[d]/64] |= 1 << (o.pos[d] % 64)
		}
	}
	return o
}

// waitsFor says whether a waits for b; both are of one lane.
func (o *precedence) waitsFor(a, b int) bool { return o.before[a][o.pos[b]/64]&(1<<(o.pos[b]%64)) != 0 }

// relation says how one node stands to another.
type relation uint8

const (
	relSame   relation = iota
	relBefore          // it has ended when the other begins
	relAfter           // it begins when the other has ended
	relBeside          // neither
	relOther           // in another branch of a choose: one of them never runs
	relAround          // the other is inside it
	relInside          // it is inside the other
)

// meet climbs from two nodes to the innermost lane or node that they have in common, and gives the
// nodes there. When one is inside the other, both are the outer one.
func (o *precedence) meet(x, y int) (a, b int) {
	*o.work += 1 + o.depth[x] + o.depth[y]
	for o.depth[x] > o.depth[y] {
		x = o.plan.Steps[x].Parent
	}
	for o.depth[y] > o.depth[x] {
		y = o.plan.Steps[y].Parent
	}
	for x != y && o.plan.Steps[x].Parent != o.plan.Steps[y].Parent {
		x, y = o.plan.Steps[x].Parent, o.plan.Steps[y].Parent
	}
	return x, y
}

// of says how x stands to y.
func (o *precedence) of(x, y int) relation {
	if x == y {
		return relSame
	}
	a, b := o.meet(x, y)
	switch {
	case a == b && a == x:
		return relAround
	case a == b:
		return relInside
	}
	la, lb := o.plan.Steps[a].Lane, o.plan.Steps[b].Lane
	if la == lb {
		switch {
		case o.waitsFor(a, b):
			return relAfter
		case o.waitsFor(b, a):
			return relBefore
		}
		return relBeside
	}
	switch o.plan.Steps[o.plan.Steps[a].Parent].Node {
	case NodeChoose:
		return relOther
	case NodeScope: // the catch lane runs when the body is undone
		if la < lb {
			return relBefore
		}
		return relAfter
	}
	return relBeside
}

// inside says whether x is a part of the body of block, or block itself.
func (o *precedence) inside(x, block int) bool { return x >= block && x < o.plan.Steps[block].End }
