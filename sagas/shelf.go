package sagas

// shelf is what was not read of an instance in pages: the machine then works on a part of it. That part
// always has the head, and every page that the event or the time can move. What remains on the shelf is
// at rest, and the machine needs only the counts that the head has of it. Where it needs more, it says
// so (see need), and the event begins anew with more of the instance.
type shelf struct {
	groups     []group
	pages      int
	there      []bool  // of each page: it is in the instance
	hidden     pageSum // in the pages that are not
	inputBytes int     // of an input that lies apart; 0 = it is in the instance
	input      func() []byte
	directory  bool
}

// need is how the machine asks for more of an instance than it was given.
type need struct {
	whole bool
	page  int // ordinal
}

// wants whole instances where everything has to be looked at.
func (m *machine) needWhole() {
	if m.inst.shelf.missing() {
		panic(need{whole: true})
	}
}

// needInside asks for the whole instance when items that belong to one of the steps from to to are on the
// shelf. A page has all that is inside its items, so this is never so for steps in a page.
func (m *machine) needInside(from, to int32) {
	m.inst.shelf.each(func(g *group, _ int, _ *pageInfo) bool {
		if owner := m.shape().slot(m.inst.frameAt(g.in)+1, g.node, len(m.p.Steps)); owner >= from && owner < to {
			panic(need{whole: true})
		}
		return true
	})
}

// waitsForPivot says whether a failure keeps everything from going on: then what is on the shelf may not be
// at rest.
func (m *machine) waitsForPivot() bool {
	for i := range m.inst.Steps {
		if m.fails(i) && !m.turned(i) {
			return true
		}
	}
	return false
}

// input is the canonical JSON of the input, read when it lies apart.
func (i *Instance) input() []byte {
	if i.shelf != nil && i.shelf.inputBytes > 0 {
		return i.shelf.input()
	}
	return i.Input
}

// missing says whether a page is on the shelf.
func (s *shelf) missing() bool { return s != nil && s.hidden.frames > 0 }

// has says whether the instance has a page.
func (s *shelf) has(page int) bool { return s == nil || page >= len(s.there) || s.there[page] }

// due is the first timer on the shelf.
func (s *shelf) due() (due Time) {
	if s != nil {
		s.each(func(_ *group, _ int, p *pageInfo) bool {
			due = earlier(due, p.due)
			return true
		})
	}
	return due
}

// each visits the pages on the shelf, in order, until fn says false.
func (s *shelf) each(fn func(g *group, k int, p *pageInfo) bool) {
	if !s.missing() {
		return
	}
	for n := range s.groups {
		g := &s.groups[n]
		for k := range g.pages {
			if !s.there[g.base+k] && !fn(g, k, &g.pages[k]) {
				return
			}
		}
	}
}

// shelved is how the items of a step stand that are on the shelf.
type shelved struct {
	count, open, settled, failed int
	waiting                      uint32 // number of the first frame of the first page with items that wait; 0 = none
	page                         int    // ordinal of that page
}

// shelved counts the items of step i that are on the shelf.
func (m *machine) shelved(i int) (out shelved) {
	s := &m.inst.Steps[i]
	m.inst.shelf.each(func(g *group, k int, p *pageInfo) bool {
		if g.node != s.Node || g.in != s.Frame {
			return true
		}
		out.count += g.size(k)
		out.open += int(p.open)
		out.settled += int(p.done) + int(p.undone)
		out.failed += int(p.undone)
		if p.waiting > 0 && out.waiting == 0 {
			out.waiting, out.page = g.frame(k), g.base+k
		}
		return true
	})
	return out
}

// stepsToCome counts the steps that items on the shelf have when their turn comes.
func (s *shelf) stepsToCome(p *Plan) (steps int) {
	s.each(func(g *group, _ int, page *pageInfo) bool {
		if page.waiting > 0 {
			steps += int(page.waiting) * p.stepsOf(p.laneRange(g.node, 0))
		}
		return true
	})
	return steps
}

// hasNode says whether a node is inside a step whose items are on the shelf.
func (s *shelf) hasNode(p *Plan, node int) (inside bool) {
	s.each(func(g *group, _ int, _ *pageInfo) bool {
		inside = node > g.node && node < p.Steps[g.node].End
		return !inside
	})
	return inside
}
