package sagas

import (
	"slices"
	"strconv"
	"strings"
)

// Errors of a block whose failure is its own.
const codeItemsFailed = "ITEMS_FAILED" // more items failed than the each tolerates

// forwardTree is forward for an instance with frames: it walks the open parts of the tree in plan
// order. Whatever makes steps come or go ends the walk, and the next pass begins anew.
func (m *machine) forwardTree() {
	m.moved = false
	if m.inst.Suspended {
		m.undoRoots() // sends nothing
		return
	}
	done := m.list(0, int32(len(m.inst.Steps)))
	if m.moved {
		return
	}
	undoing := m.undoRoots()
	if m.ending() {
		done = !m.working()
	}
	if done && !undoing {
		m.complete() // row 14
	}
}

// list lets the steps of one list go on and says whether all of them are resolved.
func (m *machine) list(from, to int32) (resolved bool) {
	resolved = true
	t := m.shape()
	for i := from; i < to && !m.moved; i = t.steps[i].end {
		resolved = m.goOn(int(i)) && resolved
	}
	return resolved && !m.moved
}

// goOn lets step i, and what is inside it, go on, and says whether it is resolved.
func (m *machine) goOn(i int) bool {
	s := &m.inst.Steps[i]
	if !m.held {
		if s.State == StepIdle && !m.ending() && m.depsResolved(i) {
			m.admit(i)
		}
		if s.State == StepReady && !s.Stuck && (s.Round > 0 || !m.ending()) { // a person may send again what was sent
			m.begin(i)
		}
	}
	if s := &m.inst.Steps[i]; s.State == StepOpen && !m.moved {
		m.block(i)
	}
	if m.moved {
		return false
	}
	return m.resolved(i)
}

// openBlock begins a node with a body. What makes it impossible holds it READY, before anything inside
// it began.
func (m *machine) openBlock(i int) {
	switch m.plan(i).Node {
	case NodeParallel:
		m.enter(i)
	case NodeChoose:
		m.choose(i)
	case NodeEach:
		m.openEach(i)
	case NodeRace:
		m.openRace(i)
	case NodeScope:
		m.openScope(i)
	case NodeRepeat:
		m.openRepeat(i)
	}
}

// block lets the body of an OPEN node go on.
func (m *machine) block(i int) {
	switch m.plan(i).Node {
	case NodeParallel, NodeChoose:
		m.lanes(i)
	case NodeEach:
		m.each(i)
	case NodeRace:
		m.race(i)
	case NodeScope:
		m.scoped(i)
	case NodeRepeat:
		m.repeat(i)
	default:
		m.timeoutLane(i)
	}
}

// blockTimer ends a wait between two rounds.
func (m *machine) blockTimer(i int) {
	m.inst.Steps[i].Until = 0
	if k := m.newest(i); k != 0 && m.frameOf(k).State == FrameUndoing {
		return // a late effect came to light: once that is paid the pause begins anew
	}
	m.nextRound(i)
}

// enter makes step i OPEN.
func (m *machine) enter(i int, detail ...KV) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepOpen
	m.fact(KindEntered, s.Path, append(detail, KV{"node", m.plan(i).Node.String()})...)
}

// finishNode ends an OPEN node well. output is canonical JSON or nil.
func (m *machine) finishNode(i int, output []byte, detail ...KV) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepDone
	s.Until = 0
	s.Stuck = false
	s.disarm()
	s.Code, s.Message = "", ""
	if output != nil {
		s.Output = output
	}
	m.fact(KindResolved, s.Path, append(detail, KV{"node", m.plan(i).Node.String()})...)
	m.settle(s.Path, ReasonExpr, ReasonTooLarge)
}

// failNode ends an OPEN node badly. It has no effect of its own.
func (m *machine) failNode(i int, code, message string) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepRefused
	s.Until = 0
	s.Stuck = false
	s.disarm()
	s.Code, s.Message = clip(m.clean(code), maxCode), clip(m.clean(message), maxMessage)
	m.fact(KindStepRejected, s.Path, KV{"code", s.Code}, KV{"message", s.Message})
	m.settle(s.Path, ReasonExpr, ReasonTooLarge)
}

// choose takes the first lane whose condition holds, for good. What is in the others is SKIPPED,
// without a fact for each.
func (m *machine) choose(i int) {
	d := m.plan(i)
	taken := -1
	for k := range d.Lanes {
		if d.Lanes[k].When != nil {
			ok, err := d.Lanes[k].When.Bool(m.scopeAt(i))
			if err != nil {
				m.hold(i, ReasonExpr, "choose: "+err.Error())
				return
			}
			if !ok {
				continue
			}
		}
		taken = k
		break
	}
	branch := ""
	if taken >= 0 {
		branch = d.Lanes[taken].Name
	}
	m.inst.Steps[i].Lane = taken + 1
	m.inst.Steps[i].Output = appendOutput(nil, "branch", appendString(nil, branch))
	m.enter(i, KV{"branch", branch})
	for k := range d.Lanes {
		if k == taken {
			continue
		}
		from, to := m.lanePart(i, k)
		for j := from; j < to; j++ {
			m.inst.Steps[j].State = StepSkipped
		}
	}
}

// skipBody marks what is inside a skipped node; frames it has none yet.
func (m *machine) skipBody(i int) {
	if !m.inst.dynamic() {
		return
	}
	for j := int32(i + 1); j < m.shape().steps[i].end; j++ {
		m.inst.Steps[j].State = StepSkipped
	}
}

// lanes is parallel and choose: resolved when everything inside is.
func (m *machine) lanes(i int) {
	if m.list(int32(i+1), m.shape().steps[i].end) {
		m.finishNode(i, nil)
	}
}

// timeoutLane runs what an await or approve does when its time is over.
func (m *machine) timeoutLane(i int) {
	t := m.shape()
	k := t.steps[i].first
	if k == 0 {
		return // it waits
	}
	fr := t.frames[k]
	if m.list(fr.start, fr.end) {
		m.frameOf(k).State = FrameDone
		m.finishNode(i, nil, KV{"lane", LaneTimeout})
	}
}

// openTimeoutLane opens the lane "timeout" of an OPEN node. When everything in it is resolved the node
// is DONE. It says whether there was room for it; if not, the step is held.
func (m *machine) openTimeoutLane(i int) bool {
	d := m.plan(i)
	lane := slices.IndexFunc(d.Lanes, func(l PlanLane) bool { return l.Name == LaneTimeout })
	if lane < 0 {
		return false
	}
	return m.openFrames(i, Frame{Lane: lane, Key: LaneTimeout, Number: 1})
}

// openFrames adds frames of step i and creates their steps: behind all that is inside it. It says
// whether there was room; if not, the step is held and nothing is changed.
func (m *machine) openFrames(i int, frames ...Frame) bool {
	if !m.room(i, frames...) {
		return false
	}
	first := len(m.inst.Frames)
	for _, f := range frames {
		m.addFrame(i, f, FrameOpen)
	}
	m.createSteps(i, m.inst.Frames[first:])
	return true
}

// room says whether the instance may grow by these frames with their steps; if not, step i is held. The
// steps of items that wait for their turn count as if they were there.
func (m *machine) room(i int, frames ...Frame) bool {
	inst := m.inst
	steps, bytes := m.growth(i, frames)
	steps += inst.shelf.stepsToCome(m.p)
	there, known := len(inst.Steps), len(inst.Frames)
	if inst.shelf != nil {
		there, known = there+inst.shelf.hidden.steps, known+inst.shelf.hidden.frames
	}
	for k := range inst.Frames {
		if f := &inst.Frames[k]; f.State == FrameWaiting {
			lo, n := m.p.bodyRange(f)
			steps += m.p.stepsOf(lo, n)
		}
	}
	switch {
	case there+steps > MaxPaths:
		m.hold(i, ReasonTooLarge, strconv.Itoa(there+steps)+" steps, at most "+strconv.Itoa(MaxPaths)+" are allowed")
		return false
	case known+len(frames) > MaxFrames:
		m.hold(i, ReasonTooLarge, strconv.Itoa(known+len(frames))+" frames, at most "+strconv.Itoa(MaxFrames)+" are allowed")
		return false
	}
	return m.roomFor(i, bytes)
}

// roomFor says whether the record may grow by so many bytes; if not, step i is held.
func (m *machine) roomFor(i, bytes int) bool {
	if m.inst.weight()+bytes > maxForwardBytes {
		m.hold(i, ReasonTooLarge, "the record would be over its limit")
		return false
	}
	return true
}

// growth is what these frames of step i add: their steps, and at most so many bytes.
func (m *machine) growth(i int, frames []Frame) (steps, bytes int) {
	s := &m.inst.Steps[i]
	for k := range frames {
		lo, n := m.p.laneRange(s.Node, frames[k].Lane)
		for node := lo; node < lo+n; node = m.p.next(node) {
			steps++
			bytes += stepWeight + len(s.Path) + len(frames[k].Key) + len(m.p.Steps[node].Path)
		}
		bytes += frameWeight + len(frames[k].Key) + len(frames[k].Item)
	}
	return steps, bytes
}

// stepsOf counts the steps that a body has when it opens.
func (p *Plan) stepsOf(lo, n int) int {
	steps := 0
	for node := lo; node < lo+n; node = p.next(node) {
		steps++
	}
	return steps
}

// next is the plan index after a node that lies in the same frame: frames inside it come later.
func (p *Plan) next(node int) int {
	if d := &p.Steps[node]; framed(d.Node) {
		return d.End
	}
	return node + 1
}

// addFrame appends a frame of step i.
func (m *machine) addFrame(i int, f Frame, state FrameState) {
	inst := m.inst
	inst.Frame++
	f.ID, f.In, f.Node, f.State = inst.Frame, inst.Steps[i].Frame, inst.Steps[i].Node, state
	inst.Frames = append(inst.Frames, f)
	m.tree = nil
}

// createSteps inserts the steps of frames of step i behind its body.
func (m *machine) createSteps(i int, frames []Frame) {
	var steps []StepState
	for k := range frames {
		f := &frames[k]
		prefix := m.prefix(i, f)
		lo, n := m.p.bodyRange(f)
		for node := lo; node < lo+n; node = m.p.next(node) {
			steps = append(steps, newStep(m.p, node, f.ID, prefix+m.p.Steps[node].Path))
		}
	}
	m.transitions++
	m.moved = true
	if len(steps) == 0 {
		m.tree = nil
		return
	}
	t := m.tree
	if t == nil {
		t = buildTree(m.p, m.inst)
	}
	m.inst.Steps = slices.Insert(m.inst.Steps, int(t.steps[i].end), steps...)
	m.tree = nil
}

// prefix is what stands before the ids in a frame of step i.
func (m *machine) prefix(i int, f *Frame) string {
	path := m.inst.Steps[i].Path
	d := m.plan(i)
	if d.Node == NodeEach || f.isRound(m.p) {
		return path + "[" + f.Key + "]/"
	}
	return strings.TrimSuffix(path, d.Path)
}

// newStep is a step that waits for its turn.
func newStep(p *Plan, node int, frame uint32, path string) StepState {
	kind := p.Steps[node].Kind
	if kind == 0 {
		kind = Compensatable
	}
	return StepState{Path: path, Node: node, Frame: frame, Kind: kind, State: StepIdle}
}

// ending says whether the saga ends early: nothing new begins, and what is in flight may resolve.
func (m *machine) ending() bool { return m.inst.FinishedAs != "" }

// stopWaits abandons everything that waits for something else than a participant, because the saga ends
// early. A child that was told to stop still counts as in flight.
func (m *machine) stopWaits() {
	m.needWhole()
	for i := range m.inst.Steps {
		if m.inst.Steps[i].State == StepOpen && m.inFlight(i) && !m.turned(i) {
			m.abandonLeaf(i)
		}
	}
}

// working says whether anything that was sent is not resolved yet, in the parts that go forward: it is in
// flight, or its unknown outcome waits for a person.
func (m *machine) working() bool {
	m.needWhole()
	for i := range m.inst.Steps {
		s := &m.inst.Steps[i]
		if (m.inFlight(i) || (s.Round > 0 || s.Child != "") && !m.resolved(i)) && !m.turned(i) {
			return true
		}
	}
	return false
}

// appendOutput appends a field to the canonical JSON object of a node's output; the fields have to come
// sorted.
func appendOutput(obj []byte, name string, value []byte) []byte {
	if obj == nil {
		obj = append(make([]byte, 0, 32), '{')
	} else {
		obj[len(obj)-1] = ','
	}
	obj = append(appendString(obj, name), ':')
	obj = append(obj, value...)
	return append(obj, '}')
}

func appendCount(obj []byte, name string, n int) []byte {
	return appendOutput(obj, name, strconv.AppendInt(nil, int64(n), 10))
}
