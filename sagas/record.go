package sagas

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Record is a stored instance. A small one is one record under its workflow ID. One with many items is a
// head under its workflow ID and pages under keys of their own, of which an event reads and writes only
// those that it touches: what an event costs does not grow with the number of items.
//
//	rec, err := sagas.OpenRecord(value, read)                // nil when there is no record
//	before, next, effects, err := rec.Step(plan, event, now, nil)
//	value = rec.Write(nil, next, put)                        // unless next is before, or nil: rec.Drop(put)
//
// A nil Record stands for no instance. A Record is for one event and one goroutine.
type Record struct {
	inst  *Instance // whole, or the head with nothing beside it
	read  func(PageKey) ([]byte, error)
	owner []int // of each group: its step in the head
	pages []*pageContent
	apart []byte // the input, when it was read

	laid *Instance // what lay is the layout of
	lay  *layout
}

// OpenRecord reads the record under the workflow ID. read gives the record under the workflow ID
// followed by the key, from the same moment as b; nil when there is none. It is called until Write or Drop
// have returned. What it returns must not change meanwhile.
func OpenRecord(b []byte, read func(PageKey) ([]byte, error)) (*Record, error) {
	if len(b) == 0 || b[0] != formatPaged {
		inst, err := DecodeInstance(b)
		if err != nil {
			return nil, err
		}
		return &Record{inst: inst}, nil
	}
	if err := checkFormat(b, formatPaged); err != nil {
		return nil, err
	}
	d := stateReader{s: string(b), b: bytes.Clone(b), v2: true}
	r := &Record{inst: new(Instance), read: read}
	sh := new(shelf)
	due, flags := d.head(r.inst)
	d.body(r.inst, sh)
	d.end()
	if d.err != nil {
		return nil, d.err
	}
	r.inst.shelf = sh
	r.pages = make([]*pageContent, sh.pages)
	for k := range sh.groups {
		r.owner = append(r.owner, r.inst.owner(&sh.groups[k]))
		if r.owner[k] < 0 {
			d.fail("no step has the frames %d", sh.groups[k].first)
		}
	}
	if d.err == nil && (due != r.inst.NextDue() || (flags&flagAttention != 0) != (len(r.inst.Attention) > 0)) {
		d.fail("the head does not fit the body")
	}
	if d.err != nil {
		return nil, d.err
	}
	sh.input = r.input
	return r, nil
}

// KeepRecord is what OpenRecord would make of value, which Write has made of inst, without reading it: for
// who keeps it in memory until the next event. It shares inst, which nobody may change; any number of events
// may use it, one after the other. nil: inst lies in pages, and is to be read.
func KeepRecord(value []byte, inst *Instance) *Record {
	if len(value) == 0 || value[0] == formatPaged || inst.shelf != nil {
		return nil
	}
	return &Record{inst: inst}
}

// Head is the instance without the items that lie in pages: enough to choose the plan, not for Step.
// nil for no instance.
func (r *Record) Head() *Instance {
	if r == nil {
		return nil
	}
	return r.inst
}

// Instance reads all of the instance; nil for none.
func (r *Record) Instance() (*Instance, error) {
	if r == nil || r.inst.shelf == nil {
		return r.Head(), nil
	}
	for page := range r.pages {
		if err := r.load(page); err != nil {
			return nil, err
		}
	}
	whole := r.part(func(int) bool { return true })
	for k := 1; k < len(whole.Frames); k++ {
		if whole.Frames[k].ID <= whole.Frames[k-1].ID {
			return nil, fmt.Errorf("%w: frame %d is in two pages", ErrCorrupt, whole.Frames[k].ID)
		}
	}
	if r.inst.shelf.inputBytes > 0 {
		input, err := r.readInput()
		if err != nil {
			return nil, err
		}
		whole.Input = input
	}
	left := whole.shelf.hidden
	whole.shelf = nil
	if lay := whole.lay(); lay == nil || left != (pageSum{}) || !sameGroups(lay, r.inst.shelf, true) || lay.inputBytes != r.inst.shelf.inputBytes ||
		lay.directory != r.inst.shelf.directory {
		return nil, fmt.Errorf("%w: the head does not fit the pages", ErrCorrupt)
	}
	if whole.NextDue() != r.inst.NextDue() {
		return nil, fmt.Errorf("%w: the head does not know the first timer", ErrCorrupt)
	}
	return whole, nil
}

// sameGroups says whether the pages are the same; with all, also what the head says of them.
func sameGroups(lay *layout, sh *shelf, all bool) bool {
	return slices.EqualFunc(lay.groups, sh.groups, func(a, b group) bool {
		return a.in == b.in && a.node == b.node && a.first == b.first && a.count == b.count && (!all || slices.Equal(a.pages, b.pages))
	})
}

// Step is StepGated for a stored instance; gate may be nil. It gives the instance before the event as well: next
// is the same pointer when the event changed nothing. Both may be a part of the instance, which has the
// steps that the event was about. An error is that of read, or ErrCorrupt, or ErrNewerFormat.
func (r *Record) Step(p *Plan, ev Event, now Time, gate Gate) (before, next *Instance, effects []Effect, err error) {
	if r == nil || r.inst.shelf == nil {
		before = r.Head()
		next, effects = StepGated(p, before, ev, now, gate)
		return before, next, effects, nil
	}
	answers := answers{gate: gate}
	wanted, part, err := r.touched(p, ev, now)
	for part && err == nil {
		for page, want := range wanted {
			if want && err == nil {
				err = r.load(page)
			}
		}
		if err != nil {
			break
		}
		before = r.part(func(page int) bool { return wanted[page] })
		var lacks *need
		next, effects, lacks, err = stepPart(p, before, ev, now, answers.replay())
		if lacks == nil && err == nil && next != before && next != nil && next.shelf != nil {
			if r.laid, r.lay = next, next.lay(); !sameGroups(r.lay, r.inst.shelf, false) { // something else has grown
				lacks = &need{whole: true}
			}
		}
		if lacks == nil {
			return before, next, effects, err
		}
		if part = !lacks.whole && !wanted[lacks.page]; part {
			wanted[lacks.page] = true
		}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if before, err = r.Instance(); err != nil {
		return nil, nil, nil, err
	}
	next, effects = StepGated(p, before, ev, now, answers.replay())
	return before, next, effects, nil
}

// answers are those of a gate. A yes counts as sent, so an event that begins anew asks no question twice:
// with more of the instance it asks the same, in the same order, and then more.
type answers struct {
	gate  Gate
	given []answer
}

type answer struct {
	topic string
	what  Sending
	yes   bool
}

func (a *answers) replay() Gate {
	if a.gate == nil {
		return nil
	}
	at := 0
	return func(topic string, what Sending) bool {
		if at == len(a.given) {
			a.given = append(a.given, answer{topic, what, a.gate(topic, what)})
		}
		at++
		return a.given[at-1].yes
	}
}

// stepPart is Step on a part of an instance. lacks says what was missing.
func stepPart(p *Plan, part *Instance, ev Event, now Time, gate Gate) (next *Instance, effects []Effect, lacks *need, err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case need:
			next, effects, lacks = nil, nil, &v
		case unread:
			next, effects, err = nil, nil, v.err
		default:
			panic(v)
		}
	}()
	next, effects = StepGated(p, part, ev, now, gate)
	return next, effects, nil, nil
}

// unread is how a part of an instance that cannot be read ends a Step.
type unread struct{ err error }

// touched says which pages an event needs at least; false: all of them.
func (r *Record) touched(p *Plan, ev Event, now Time) (wanted []bool, part bool, err error) {
	inst, sh := r.inst, r.inst.shelf
	if p == nil || inst.Phase != Running && inst.Phase != Finishing || inst.Suspended || inst.FinishedAs != "" || !pinned(inst, p) {
		return nil, false, nil
	}
	for k := range sh.groups {
		g := &sh.groups[k]
		if p.Steps[g.node].Node != NodeEach || inst.inTurned(r.owner[k]) {
			return nil, false, nil
		}
	}
	wanted = make([]bool, sh.pages)
	sh.each(func(g *group, k int, page *pageInfo) bool {
		wanted[g.base+k] = page.rough
		return true
	})
	switch ev := ev.(type) {
	case Reply:
		part, err = r.pageOf(ev.Path, wanted)
	case Timers:
		part = true
		sh.each(func(g *group, k int, page *pageInfo) bool {
			if page.due != 0 && page.due <= max(now, inst.LastNow) {
				wanted[g.base+k] = true
			}
			return true
		})
	case Signal:
		part = true
		sh.each(func(g *group, k int, page *pageInfo) bool {
			if page.waits {
				wanted[g.base+k] = true
			}
			return true
		})
	}
	if !part || err != nil {
		return nil, false, err
	}
	for k := range sh.groups { // whatever ends may make room for the next item
		g := &sh.groups[k]
		if next := slices.IndexFunc(g.pages, func(p pageInfo) bool { return p.waiting > 0 }); next >= 0 && slices.Contains(wanted[g.base:g.base+len(g.pages)], true) {
			wanted[g.base+next] = true
		}
	}
	return wanted, true, nil
}

// pageOf finds the page of a path. A path in no page needs none; false: the path is not known.
func (r *Record) pageOf(path string, wanted []bool) (found bool, err error) {
	for n := range r.inst.shelf.groups {
		g := &r.inst.shelf.groups[n]
		owner := r.inst.Steps[r.owner[n]].Path
		rest, ok := strings.CutPrefix(path, owner+"[")
		if !ok {
			continue
		}
		key, _, ok := strings.Cut(rest, "]")
		if !ok {
			return false, nil
		}
		ids, err := r.framesOf(g, owner, key)
		if err != nil {
			return false, err
		}
		for _, id := range ids {
			page := int(id-g.first) / pageItems
			if err := r.load(g.base + page); err != nil {
				return false, err
			}
			if slices.ContainsFunc(r.pages[g.base+page].steps, func(s StepState) bool { return s.Path == path }) {
				wanted[g.base+page] = true
				return true, nil
			}
		}
		return false, nil
	}
	return r.inst.StepIndex(path) >= 0, nil
}

// framesOf gives the frames of the group that may have this key.
func (r *Record) framesOf(g *group, owner, key string) (ids []uint32, err error) {
	if n, ok := keyNumber(key); ok { // item numbers count from 1, keys that are numbers from 0 or 1
		for _, at := range []uint32{n, n - 1} {
			if id := g.first + at; at < uint32(g.count) {
				ids = append(ids, id)
			}
		}
	}
	if !r.inst.shelf.directory {
		return ids, nil
	}
	raw, err := r.read(directoryKey)
	if err == nil {
		err = checkPage(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	d := raw[len(pageStart):]
	hash, n := keyHash(owner, key), len(d)/8
	lo, hi := 0, n
	for lo < hi {
		if mid := (lo + hi) / 2; binary.BigEndian.Uint32(d[8*mid:]) < hash {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for ; lo < n && binary.BigEndian.Uint32(d[8*lo:]) == hash; lo++ {
		if id := binary.BigEndian.Uint32(d[8*lo+4:]); g.owns(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// directory is what framesOf looks at, nil when no frame is in it. REQUIRES: the instance is whole.
func (i *Instance) directory(lay *layout) []byte {
	var entries []uint64
	for n := range lay.groups {
		g := &lay.groups[n]
		owner := i.Steps[i.owner(g)].Path
		for k := range i.Frames {
			if f := &i.Frames[k]; g.owns(f.ID) && !plainKey(f.Key, f.Number) {
				entries = append(entries, uint64(keyHash(owner, f.Key))<<32|uint64(f.ID))
			}
		}
	}
	slices.Sort(entries)
	out := bytes.Clone(pageStart)
	for _, e := range entries {
		out = binary.BigEndian.AppendUint64(out, e)
	}
	return out
}

// load reads a page.
func (r *Record) load(page int) error {
	if r.pages[page] != nil {
		return nil
	}
	sh := r.inst.shelf
	n := len(sh.groups) - 1
	for page < sh.groups[n].base {
		n--
	}
	g := &sh.groups[n]
	raw, err := r.read(pageKey(g.frame(page - g.base)))
	if err != nil {
		return err
	}
	c, err := readPage(r.inst, g, page-g.base, raw)
	if err != nil {
		return fmt.Errorf("page %d of step %s: %w", page-g.base, r.inst.Steps[r.owner[n]].Path, err)
	}
	r.pages[page] = c
	return nil
}

// part is the instance with these pages, which were loaded.
func (r *Record) part(wanted func(page int) bool) *Instance {
	out, sh := *r.inst, *r.inst.shelf
	sh.there = make([]bool, sh.pages)
	frames, steps := len(out.Frames), len(out.Steps)
	for page, c := range r.pages {
		if c != nil && wanted(page) {
			sh.there[page] = true
			frames, steps = frames+c.sum.frames, steps+c.sum.steps
			sh.hidden.frames -= c.sum.frames
			sh.hidden.steps -= c.sum.steps
			sh.hidden.weight -= c.sum.weight
		}
	}
	out.Frames = append(make([]Frame, 0, frames), out.Frames...)
	out.Steps = make([]StepState, 0, steps)
	for k := range r.inst.Steps {
		out.Steps = append(out.Steps, r.inst.Steps[k])
		for n, owner := range r.owner {
			if owner != k {
				continue
			}
			for page := range sh.groups[n].pages {
				if page += sh.groups[n].base; sh.there[page] {
					out.Frames = append(out.Frames, r.pages[page].frames...)
					out.Steps = append(out.Steps, r.pages[page].steps...)
				}
			}
		}
	}
	slices.SortFunc(out.Frames, func(a, b Frame) int { return int(int64(a.ID) - int64(b.ID)) })
	out.shelf = &sh
	return &out
}

// input is the input of an instance whose input lies apart.
func (r *Record) input() []byte {
	input, err := r.readInput()
	if err != nil {
		panic(unread{err})
	}
	return input
}

func (r *Record) readInput() ([]byte, error) {
	if r.apart == nil {
		raw, err := r.read(inputKey)
		if err != nil {
			return nil, err
		}
		if err := checkPage(raw); err != nil {
			return nil, fmt.Errorf("input: %w", err)
		}
		if len(raw) != len(pageStart)+r.inst.shelf.inputBytes {
			return nil, fmt.Errorf("%w: an input of %d bytes", ErrCorrupt, len(raw)-len(pageStart))
		}
		r.apart = bytes.Clone(raw[len(pageStart):])
	}
	return r.apart, nil
}

// Write appends the record that next has under its workflow ID to dst, and calls put for each record
// beside it that changed; a nil value deletes it. What put is given is valid during the call. next is what
// Step gave, or an instance that is whole.
func (r *Record) Write(dst []byte, next *Instance, put func(PageKey, []byte)) []byte {
	lay := next.lay()
	if r != nil && r.laid == next {
		lay = r.lay
	}
	r.dropBut(lay, put)
	e := stateWriter{b: dst, base: next.StartedAt, v2: lay != nil || next.needsV2()}
	e.instance(next, lay)
	if lay == nil {
		return e.b
	}
	page := stateWriter{base: next.StartedAt, v2: true}
	for n := range lay.groups {
		g := &lay.groups[n]
		for k := range g.pages {
			if !next.shelf.has(g.base + k) {
				continue
			}
			page.b = append(page.b[:0], pageStart...)
			page.framesOf(next.Frames, lay.framePage, int32(g.base+k))
			page.stepsOf(next.Steps, lay.stepPage, int32(g.base+k))
			if !r.keeps(g.frame(k), page.b) {
				put(pageKey(g.frame(k)), page.b)
			}
		}
	}
	if next.shelf != nil { // neither input nor directory can be others
		return e.b
	}
	old := r.shelf()
	if lay.inputBytes > 0 && !(old != nil && old.inputBytes > 0 && bytes.Equal(r.apart, next.Input)) {
		put(inputKey, append(bytes.Clone(pageStart), next.Input...))
	}
	if lay.directory && !(old != nil && old.directory && sameGroups(lay, old, false) && next.Run == r.inst.Run) {
		put(directoryKey, next.directory(lay))
	}
	return e.b
}

// Drop calls put for each record beside the one under the workflow ID: the instance is gone.
func (r *Record) Drop(put func(PageKey, []byte)) { r.dropBut(nil, put) }

// dropBut deletes what lay does not have.
func (r *Record) dropBut(lay *layout, put func(PageKey, []byte)) {
	old := r.shelf()
	if old == nil {
		return
	}
	has := func(frame uint32) bool {
		if lay != nil {
			for n := range lay.groups {
				if g := &lay.groups[n]; g.owns(frame) && (frame-g.first)%uint32(pageItems) == 0 {
					return true
				}
			}
		}
		return false
	}
	for n := range old.groups {
		for k := range old.groups[n].pages {
			if frame := old.groups[n].frame(k); !has(frame) {
				put(pageKey(frame), nil)
			}
		}
	}
	if old.inputBytes > 0 && (lay == nil || lay.inputBytes == 0) {
		put(inputKey, nil)
	}
	if old.directory && (lay == nil || !lay.directory) {
		put(directoryKey, nil)
	}
}

// shelf is what the stored head says of its pages, nil when there are none.
func (r *Record) shelf() *shelf {
	if r == nil {
		return nil
	}
	return r.inst.shelf
}

// keeps says whether the page that begins with this frame is stored already, byte for byte.
func (r *Record) keeps(frame uint32, page []byte) bool {
	if old := r.shelf(); old != nil {
		for n := range old.groups {
			if g := &old.groups[n]; g.owns(frame) && (frame-g.first)%uint32(pageItems) == 0 {
				c := r.pages[g.base+int(frame-g.first)/pageItems]
				return c != nil && bytes.Equal(c.raw, page)
			}
		}
	}
	return false
}
