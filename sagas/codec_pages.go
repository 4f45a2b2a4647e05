package sagas

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Format 3 is that of an instance in pages: a head under the workflow ID, and records under keys that
// begin with it. The head is that of format 2, except that its frames and steps are those which lie in no
// page, that the input begins with 2*len or is 2*len+1 when it lies apart, and that before the steps it has
//
//	shelf  steps, frames, weight of all pages | 2*groups, plus 1 when there is a directory | groups
//	group  in | node | first frame | frames | runs of equal pages
//	run    pages | flags 1B | waiting, open, done, undone frames 1B each | due when its flag is set
//
// The others begin with the format and a zero, which no phase has:
//
//	page       frames | steps
//	input      the input
//	directory  hash of owner and key 4B | frame 4B, sorted; keys from which the frame follows are not in it
const (
	pageRough = 1 << iota
	pageWaits
	pageDue
	pageKnown = 1<<iota - 1
)

// PageKey is what comes behind the workflow ID in the key of a record that holds a part of an instance.
// It begins with a zero byte, which no workflow ID has.
type PageKey string

const (
	inputKey     PageKey = "\x00i"
	directoryKey PageKey = "\x00k"
)

// pageKey is the key of the page whose first frame this is.
func pageKey(frame uint32) PageKey {
	return PageKey(binary.BigEndian.AppendUint32([]byte{0, 'p'}, frame))
}

var pageStart = []byte{formatPaged, 0}

func (e *stateWriter) shelf(lay *layout) {
	e.uint(uint64(lay.held.steps))
	e.uint(uint64(lay.held.frames))
	e.uint(uint64(lay.held.weight))
	groups := uint64(len(lay.groups)) << 1
	if lay.directory {
		groups |= 1
	}
	e.uint(groups)
	for n := range lay.groups {
		g := &lay.groups[n]
		e.uint(uint64(g.in))
		e.uint(uint64(g.node))
		e.uint(uint64(g.first))
		e.uint(uint64(g.count))
		for a, b := 0, 0; a < len(g.pages); a = b {
			for b = a + 1; b < len(g.pages) && g.pages[b] == g.pages[a]; {
				b++
			}
			e.run(b-a, &g.pages[a])
		}
	}
}

func (e *stateWriter) run(pages int, p *pageInfo) {
	flags := byte(0)
	if p.rough {
		flags |= pageRough
	}
	if p.waits {
		flags |= pageWaits
	}
	if p.due != 0 {
		flags |= pageDue
	}
	e.uint(uint64(pages))
	e.b = append(e.b, flags, p.waiting, p.open, p.done, p.undone)
	if p.due != 0 {
		e.time(p.due)
	}
}

// framesOf writes the frames of one page, -1 = of the head.
func (e *stateWriter) framesOf(frames []Frame, pages []int32, page int32) {
	n := 0
	for _, p := range pages {
		if p == page {
			n++
		}
	}
	e.uint(uint64(n))
	for k, p := range pages {
		if p == page {
			e.frame(&frames[k])
		}
	}
}

// stepsOf writes the steps of one page, -1 = of the head.
func (e *stateWriter) stepsOf(steps []StepState, pages []int32, page int32) {
	n := 0
	for _, p := range pages {
		if p == page {
			n++
		}
	}
	e.uint(uint64(n))
	for k, p := range pages {
		if p == page {
			e.step(&steps[k])
		}
	}
}

func (d *stateReader) inputApart(i *Instance, sh *shelf) {
	n := d.uint()
	switch size := n >> 1; {
	case d.err != nil:
	case n&1 == 0 && size > uint64(len(d.s)-d.at):
		d.fail("an input of %d bytes", size)
	case n&1 == 0 && size > 0:
		d.take(int(size))
		i.Input = d.b[d.at-int(size) : d.at : d.at]
	case n&1 != 0 && (size == 0 || size > MaxRecordBytes):
		d.fail("an input of %d bytes", size)
	case n&1 != 0:
		sh.inputBytes = int(size)
	}
}

// shelf reads what a head says of its pages. Nothing of them is there yet.
func (d *stateReader) shelf(i *Instance, sh *shelf) {
	sh.hidden = pageSum{steps: d.small(MaxPaths), frames: d.small(MaxFrames), weight: d.small(2 * MaxRecordBytes)}
	n := d.small(2*MaxFrames + 1)
	sh.directory = n&1 != 0
	if n >>= 1; d.err == nil && n == 0 {
		d.fail("a head without pages")
	}
	frames := 0
	for range n {
		g := group{in: d.uint32(), node: d.index(), first: d.uint32(), base: sh.pages}
		g.count = d.small(MaxFrames)
		if frames += g.count; d.err == nil && (g.count == 0 || g.first == 0 || frames > sh.hidden.frames ||
			uint64(g.first)+uint64(g.count) > uint64(i.Frame)+1 || g.in != 0 && i.frame(g.in) == nil) {
			d.fail("frames %d of step %d", g.first, g.node)
		}
		if d.err != nil {
			return
		}
		g.pages = make([]pageInfo, 0, (g.count+pageItems-1)/pageItems)
		for d.err == nil && len(g.pages) < cap(g.pages) {
			d.run(&g)
		}
		sh.pages += len(g.pages)
		sh.groups = append(sh.groups, g)
	}
	sh.there = make([]bool, sh.pages)
}

func (d *stateReader) run(g *group) {
	n := d.small(cap(g.pages) - len(g.pages))
	b := d.take(5)
	if d.err != nil {
		return
	}
	p := pageInfo{rough: b[0]&pageRough != 0, waits: b[0]&pageWaits != 0, waiting: b[1], open: b[2], done: b[3], undone: b[4]}
	if b[0]&pageDue != 0 {
		p.due = d.time()
	}
	again := len(g.pages) > 0 && g.pages[len(g.pages)-1] == p
	if n == 0 || again || b[0]&^pageKnown != 0 || (b[0]&pageDue != 0) != (p.due != 0) {
		d.fail("a run of %d pages, flags %#x", n, b[0])
	}
	for range n {
		g.pages = append(g.pages, p)
	}
}

// small reads a number that is at most most.
func (d *stateReader) small(most int) int {
	n := d.uint()
	if n > uint64(most) {
		d.fail("number %d, at most %d is possible", n, most)
		return 0
	}
	return int(n)
}

// pageContent is a page that was read.
type pageContent struct {
	frames []Frame
	steps  []StepState
	sum    pageSum
	raw    []byte
}

// readPage reads page k of the group. It keeps raw.
func readPage(head *Instance, g *group, k int, raw []byte) (*pageContent, error) {
	if err := checkPage(raw); err != nil {
		return nil, err
	}
	d := stateReader{s: string(raw), b: bytes.Clone(raw), at: len(pageStart), base: head.StartedAt, v2: true}
	part := Instance{Frame: head.Frame} // frames of the page only: so nothing in it can be anywhere else
	n := d.count(9)
	for k := 0; k < n && d.err == nil; k++ {
		f := d.frame(&part)
		if d.err == nil && (g.owns(f.ID) != (f.In == g.in && f.Node == g.node) || !g.owns(f.ID) && part.frame(f.In) == nil) {
			d.fail("frame %d is not of this page", f.ID)
		}
		part.Frames = append(part.Frames, f)
	}
	for j := range g.size(k) {
		if d.err == nil && (j >= len(part.Frames) || part.Frames[j].ID != g.frame(k)+uint32(j)) {
			d.fail("frame %d is missing", g.frame(k)+uint32(j))
		}
	}
	d.steps(&part)
	d.end()
	for k := range part.Steps {
		if d.err == nil && part.Steps[k].Frame == 0 {
			d.fail("step %s is not of this page", part.Steps[k].Path)
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	c := &pageContent{frames: part.Frames, steps: part.Steps, raw: raw, sum: pageSum{steps: len(part.Steps), frames: len(part.Frames)}}
	for k := range c.frames {
		c.sum.weight += c.frames[k].weight()
	}
	for k := range c.steps {
		c.sum.weight += c.steps[k].weight(sameBytes) + c.steps[k].weightV2()
	}
	return c, nil
}

func checkPage(b []byte) error {
	switch {
	case len(b) < len(pageStart) || b[1] != 0 || b[0] < formatPaged:
		return fmt.Errorf("%w: it is no page", ErrCorrupt)
	case b[0] > formatPaged:
		return fmt.Errorf("%w: format %d of a page, known up to %d", ErrNewerFormat, b[0], formatPaged)
	case len(b) > MaxRecordBytes:
		return fmt.Errorf("%w: a page of %d bytes, at most %d are allowed", ErrCorrupt, len(b), MaxRecordBytes)
	}
	return nil
}
