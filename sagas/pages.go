package sagas

import (
	"bytes"
	"strconv"
	"strings"
)

// Pages. An instance with many items would be written whole at every event. So the frames of an each
// with pagedItems items or more lie in pages of pageItems frames each, with all that is inside them, and
// a large input lies apart. What does not lie in pages is the head. Which part lies where follows from
// the instance alone, so there is still one encoding per instance; one without such frames is one record.
var (
	pagedItems = 64  // frames of one step from which on they lie in pages
	pageItems  = 8   // of them in a page
	inputApart = 512 // bytes from which on the input of an instance in pages lies apart
)

// group is the frames of one step that lie in pages. They were created together: their numbers, and
// those of their items, follow each other.
type group struct {
	in    uint32 // frame of the step
	node  int    // plan index of the step
	first uint32 // number of the first frame
	count int
	base  int // ordinal of its first page in the instance
	pages []pageInfo
}

// pageInfo is what the head knows of a page: all that matters of it to events that are not for it.
type pageInfo struct {
	waiting, open, done, undone uint8 // frames of the group in these states
	rough                       bool  // something in it may move at any event
	waits                       bool  // something in it may wait for a signal
	due                         Time  // its first timer
}

func (g *group) owns(id uint32) bool { return id >= g.first && id-g.first < uint32(g.count) }

// size is how many frames of the group page k has.
func (g *group) size(k int) int { return min(pageItems, g.count-k*pageItems) }

// frame is the number of the first frame of page k.
func (g *group) frame(k int) uint32 { return g.first + uint32(k*pageItems) }

// layout says which part of an instance lies where.
type layout struct {
	groups     []group
	pages      int
	framePage  []int32 // of each frame in memory: ordinal of its page, -1 = the head
	stepPage   []int32 // of each step in memory
	inputBytes int     // of an input that lies apart; 0 = it does not
	directory  bool    // some key does not tell its frame
	held       pageSum // in all pages
}

// pageSum is how much there is in pages.
type pageSum struct{ steps, frames, weight int }

// lay finds the layout; nil: the instance is one record.
func (i *Instance) lay() *layout {
	if !i.dynamic() || i.shelf == nil && len(i.Frames) < pagedItems {
		return nil
	}
	lay := &layout{}
	if i.shelf != nil {
		lay.groups = make([]group, len(i.shelf.groups))
		for k, g := range i.shelf.groups {
			g.pages = append([]pageInfo(nil), g.pages...)
			lay.groups[k] = g
		}
	}
	i.findGroups(lay)
	if len(lay.groups) == 0 {
		return nil
	}
	for k := range lay.groups {
		g := &lay.groups[k]
		g.base = lay.pages
		if g.pages == nil {
			g.pages = make([]pageInfo, (g.count+pageItems-1)/pageItems)
		}
		lay.pages += len(g.pages)
	}
	i.place(lay)
	switch {
	case i.shelf != nil:
		lay.inputBytes, lay.directory, lay.held = i.shelf.inputBytes, i.shelf.directory, i.shelf.hidden
	case len(i.Input) >= inputApart:
		lay.inputBytes = len(i.Input)
	}
	i.sumUp(lay)
	return lay
}

// findGroups finds the frames that lie in pages. The outermost of such steps counts.
func (i *Instance) findGroups(lay *layout) {
	frames := i.Frames
	for a, b := 0, 0; a < len(frames); a = b {
		f := &frames[a]
		for b = a + 1; b < len(frames) && frames[b].ID == frames[b-1].ID+1 && frames[b].Number == frames[b-1].Number+1 &&
			frames[b].In == f.In && frames[b].Node == f.Node; {
			b++
		}
		if b-a < pagedItems || f.Number != 1 || lay.inside(i, f.ID) {
			continue
		}
		g := group{in: f.In, node: f.Node, first: f.ID, count: b - a}
		if i.fits(&g, a, b) {
			lay.groups = append(lay.groups, g)
		}
	}
}

// inside says whether a frame lies in a group, or is one of it.
func (l *layout) inside(i *Instance, id uint32) bool {
	for f := i.frame(id); f != nil; f = i.frame(f.In) {
		for k := range l.groups {
			if l.groups[k].owns(f.ID) {
				return true
			}
		}
	}
	return false
}

// fits says whether frames a to b can be taken out and put back where they were: their steps follow the
// step that they belong to, in their order, and their paths say in which frame they are.
func (i *Instance) fits(g *group, a, b int) bool {
	for k := range i.Frames {
		if f := &i.Frames[k]; f.In == g.in && f.Node == g.node && (k < a || k >= b) {
			return false
		}
	}
	owner := i.owner(g)
	if owner < 0 {
		return false
	}
	prefix := i.Steps[owner].Path + "["
	last, ended := g.first, false
	for k := range i.Steps {
		top := uint32(0)
		for f := i.frame(i.Steps[k].Frame); f != nil; f = i.frame(f.In) {
			if g.owns(f.ID) {
				top = f.ID
				break
			}
		}
		switch {
		case top == 0:
			ended = ended || k > owner
			continue
		case k <= owner || ended || top < last:
			return false
		}
		last = top
		rest, ok := strings.CutPrefix(i.Steps[k].Path, prefix)
		if key := i.frame(top).Key; !ok || !strings.HasPrefix(rest, key) || !strings.HasPrefix(rest[len(key):], "]/") {
			return false
		}
	}
	return true
}

// owner is the index of the step to which the group belongs, -1 = none.
func (i *Instance) owner(g *group) int {
	for k := range i.Steps {
		if s := &i.Steps[k]; s.Node == g.node && s.Frame == g.in {
			return k
		}
	}
	return -1
}

// place finds the page of each frame and step in memory.
func (i *Instance) place(lay *layout) {
	lay.framePage = make([]int32, len(i.Frames))
	for k := range i.Frames {
		f := &i.Frames[k]
		lay.framePage[k] = -1
		if at := i.frameAt(f.In); at >= 0 {
			lay.framePage[k] = lay.framePage[at]
		}
		for n := range lay.groups {
			if g := &lay.groups[n]; g.owns(f.ID) {
				lay.framePage[k] = int32(g.base + int(f.ID-g.first)/pageItems)
			}
		}
	}
	lay.stepPage = make([]int32, len(i.Steps))
	last, page := uint32(0), int32(-1)
	for k := range i.Steps {
		if id := i.Steps[k].Frame; id != last {
			last, page = id, -1
			if at := i.frameAt(id); at >= 0 {
				page = lay.framePage[at]
			}
		}
		lay.stepPage[k] = page
	}
}

// sumUp describes the pages that are in memory.
func (i *Instance) sumUp(lay *layout) {
	for n := range lay.groups {
		g := &lay.groups[n]
		for k := range g.pages {
			if i.shelf.has(g.base + k) {
				g.pages[k] = pageInfo{}
			}
		}
	}
	var over []bool // of each frame: it, or one around it in its page, is UNDONE
	for k := range i.Frames {
		page := lay.framePage[k]
		if over == nil {
			over = make([]bool, len(i.Frames))
		}
		if page < 0 {
			continue
		}
		f := &i.Frames[k]
		lay.held.frames++
		lay.held.weight += f.weight()
		g, info := lay.info(int(page))
		info.rough = info.rough || f.State == FrameUndoing
		if at := i.frameAt(f.In); at >= 0 && over[at] {
			over[k] = true
			continue
		}
		over[k] = f.State == FrameUndone
		if !g.owns(f.ID) {
			continue
		}
		lay.directory = lay.directory || !plainKey(f.Key, f.Number)
		switch f.State {
		case FrameWaiting:
			info.waiting++
		case FrameOpen:
			info.open++
		case FrameDone:
			info.done++
		case FrameUndone:
			info.undone++
		}
	}
	for k := range i.Steps {
		page := lay.stepPage[k]
		if page < 0 {
			continue
		}
		s := &i.Steps[k]
		lay.held.steps++
		lay.held.weight += s.weight(bytes.Equal) + s.weightV2()
		_, info := lay.info(int(page))
		info.due = earlier(info.due, i.stepDue(s))
		if at := i.frameAt(s.Frame); over[at] {
			continue // it was given up and owes nothing: only an answer can move it
		}
		info.rough = info.rough || s.rough()
		info.waits = info.waits || s.State == StepOpen
	}
}

// info finds a page by its ordinal.
func (l *layout) info(page int) (*group, *pageInfo) {
	n := len(l.groups) - 1
	for page < l.groups[n].base {
		n--
	}
	return &l.groups[n], &l.groups[n].pages[page-l.groups[n].base]
}

// rough says whether the step may move, or matter, at an event that is not for it. Everything else is at
// rest: it waits for an answer, a timer or a signal, or has come to its end.
func (s *StepState) rough() bool {
	if s.Stuck || s.Undo != UndoNone || s.Kind == Pivot {
		return true
	}
	switch s.State {
	case StepIdle, StepPending, StepDone, StepSkipped, StepOpen:
		return false
	case StepBackoff, StepInquiring:
		return s.Timer == Timer{} // it waits for a topic to open
	case StepRefused, StepFailed, StepUnknown:
		return s.Kind != Optional
	}
	return true
}

// plainKey says whether the key of an item is a number from which that of its frame follows.
func plainKey(key string, number uint32) bool {
	n, ok := keyNumber(key)
	return ok && (n == number || n+1 == number)
}

// keyNumber reads a decimal number in its only form.
func keyNumber(key string) (uint32, bool) {
	n, err := strconv.ParseUint(key, 10, 31)
	return uint32(n), err == nil && strconv.FormatUint(n, 10) == key
}

// keyHash is how the directory names a frame of a step: by the beginning of the paths in it.
func keyHash(owner, key string) uint32 {
	h := uint32(2166136261)
	for k := range len(owner) {
		h = (h ^ uint32(owner[k])) * 16777619
	}
	h = (h ^ '[') * 16777619
	for k := range len(key) {
		h = (h ^ uint32(key[k])) * 16777619
	}
	return h
}
