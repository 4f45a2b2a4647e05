package sagas

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rounds: the body of a repeat, and that of a scope which is tried anew. Each round is a frame, so its
// steps have paths and keys of their own: a new effect, never a retry of the old one.

// openScope begins the first round of the body.
func (m *machine) openScope(i int) {
	if !m.openRound(i, LaneDo, 1) {
		return
	}
	m.inst.Steps[i].Lane = 1
	m.enter(i)
}

// openRound opens a round, or the catch lane. It says whether there was room.
func (m *machine) openRound(i int, lane string, number uint32) bool {
	d := m.plan(i)
	f := Frame{Lane: slices.IndexFunc(d.Lanes, func(l PlanLane) bool { return l.Name == lane }), Key: lane, Number: number}
	if f.Lane < 0 { // a body that the plan does not have: nothing to do in it
		f.Lane = 0
	}
	if lane == LaneDo {
		f.Key = strconv.FormatUint(uint64(number), 10)
	}
	return m.openFrames(i, f)
}

// newest is the newest frame of step i in the tree, 0 = none.
func (m *machine) newest(i int) int32 {
	t := m.shape()
	newest := int32(0)
	for k := t.steps[i].first; k != 0; k = t.frames[k].next {
		newest = k
	}
	return newest
}

// scoped lets the newest round, or the catch lane, of a scope go on.
func (m *machine) scoped(i int) {
	k := m.newest(i)
	if k == 0 {
		m.nextRound(i)
		return
	}
	t := m.shape()
	fr := t.frames[k]
	switch m.frameOf(k).State {
	case FrameOpen:
		if !m.list(fr.start, fr.end) {
			return
		}
		f := m.frameOf(k)
		f.State = FrameDone
		rounds, caught := f.Number, ""
		if m.inst.Steps[i].Lane == 2 {
			rounds, caught = m.caughtBy(i)
		}
		out := appendCount(appendOutput(nil, "caught", appendString(nil, caught)), "rounds", int(rounds))
		m.finishNode(i, out, KV{"caught", caught}, KV{"rounds", strconv.FormatUint(uint64(rounds), 10)})
	case FrameUndone:
		if s := &m.inst.Steps[i]; !s.Stuck && s.Until == 0 && !m.held && !m.ending() {
			m.afterRound(i, m.frameOf(k))
		}
	}
}

// caughtBy is the number of rounds of the body that a scope had, and the code that its catch lane
// caught.
func (m *machine) caughtBy(i int) (rounds uint32, code string) {
	t := m.shape()
	for k := t.steps[i].first; k != 0; k = t.frames[k].next {
		if f := m.frameOf(k); f.isRound(m.p) {
			rounds, code = f.Number, f.Cause.Code
		}
	}
	return rounds, code
}

// afterRound follows a round of a scope that is out of debt: the next one, perhaps after a pause, or
// the catch lane.
func (m *machine) afterRound(i int, f *Frame) {
	d := m.plan(i).Scope
	if !d.retries(f) {
		if m.openRound(i, LaneCatch, 1) {
			m.inst.Steps[i].Lane = 2
			m.fact(KindEntered, m.inst.Steps[i].Path, KV{"lane", LaneCatch})
		}
		return
	}
	m.pause(i, pauseBefore(d.Wait, f.Number))
}

// retries says whether a failed round of the body is followed by another one.
func (d *ScopeDef) retries(f *Frame) bool {
	return f.Number < max(d.Rounds, 1) && catches(d.RetryOn, f.Cause.Code)
}

// catches says whether a list of codes has this one.
func catches(codes []string, code string) bool {
	return slices.Contains(codes, code) || slices.Contains(codes, "*")
}

// pauseBefore is the n-th pause, from 1; the last one repeats.
func pauseBefore(waits []time.Duration, n uint32) time.Duration {
	if len(waits) == 0 || n == 0 {
		return 0
	}
	return waits[min(int(n), len(waits))-1]
}

// pause waits before the next round, or begins it at once.
func (m *machine) pause(i int, wait time.Duration) {
	if wait <= 0 {
		m.nextRound(i)
		return
	}
	s := &m.inst.Steps[i]
	m.transitions++
	s.Until = after(m.now, wait)
	s.arm(TimerWait, 0, 0, 0, s.Until)
}

// nextRound begins the round after the newest one.
func (m *machine) nextRound(i int) {
	s := &m.inst.Steps[i]
	if m.ending() || s.Stuck {
		return
	}
	number := uint32(1)
	if k := m.newest(i); k != 0 {
		number = m.frameOf(k).Number + 1
	}
	if m.plan(i).Node == NodeRepeat {
		m.forget(i)
	}
	if m.openRound(i, LaneDo, number) {
		s = &m.inst.Steps[i]
		s.Until = 0
		s.disarm()
		m.fact(KindEntered, s.Path, KV{"round", strconv.FormatUint(uint64(number), 10)})
	}
}

// openRepeat begins the first round, or the wait before it.
func (m *machine) openRepeat(i int) {
	m.enter(i)
	m.inst.Steps[i].Lane = 1
	m.pause(i, pauseBefore(m.plan(i).Repeat.Wait, 1))
}

// repeat lets the newest round go on, asks whether another one is needed, and waits before it.
func (m *machine) repeat(i int) {
	d := m.plan(i).Repeat
	if s := &m.inst.Steps[i]; s.Until != 0 {
		if len(d.Wake) > 0 && m.takeSignal(i, d.Wake...) {
			m.nextRound(i)
		}
		return
	}
	k := m.newest(i)
	if k == 0 {
		m.nextRound(i)
		return
	}
	fr := m.shape().frames[k]
	if m.frameOf(k).State == FrameOpen {
		if !m.list(fr.start, fr.end) || m.unclear(fr.start, fr.end) {
			return
		}
		m.frameOf(k).State = FrameDone
		m.transitions++
	}
	if s := &m.inst.Steps[i]; s.Stuck || m.held || m.ending() {
		return
	}
	f := m.frameOf(k)
	done, err := d.Until.Bool(m.seeIn(f.ID, Key{}))
	if err != nil {
		m.hold(i, ReasonExpr, "until: "+err.Error())
		return
	}
	if done || f.Number >= max(d.Rounds, 1) {
		out := appendCount(nil, "rounds", int(f.Number))
		out = appendOutput(out, "satisfied", strconv.AppendBool(nil, done))
		m.finishNode(i, out, KV{"rounds", strconv.FormatUint(uint64(f.Number), 10)}, KV{"satisfied", strconv.FormatBool(done)})
		return
	}
	m.pause(i, pauseBefore(d.Wait, f.Number+1))
}

// unclear says whether a resolved round has a step that is in flight or being undone, as in a lane that
// lost a race, or one whose effect is not known though it may have to be undone: the round is not over
// before that is cleared up.
func (m *machine) unclear(from, to int32) bool {
	m.needInside(from, to)
	unclear := false
	for i := from; i < to; i++ {
		s := &m.inst.Steps[i]
		if m.inFlight(int(i)) || m.turned(int(i)) && m.inDebt(int(i)) {
			unclear = true
		} else if (s.State == StepUnknown || s.State == StepFailed) && m.owes(int(i)) && !s.Undo.settled() && !m.turned(int(i)) {
			m.raise(s.Path, ReasonUnknownOutcome, "the next round waits until it is known whether the step took effect")
			unclear = true
		}
	}
	return unclear
}

// forget drops the earlier rounds of a repeat that owe nothing and whose steps are all definite. So a
// loop without debts is bounded, however long it runs. REQUIRES: no round is open.
func (m *machine) forget(i int) {
	t, inst := m.shape(), m.inst
	m.needInside(int32(i), t.steps[i].end)
	lost := make([]bool, len(t.frames))
	some := false
	for k := t.steps[i].first; k != 0; k = t.frames[k].next {
		fr := t.frames[k]
		lost[k] = m.frameOf(k).State == FrameDone && m.forgettable(fr.start, fr.end)
		some = some || lost[k]
	}
	if !some {
		return
	}
	for k := 1; k < len(t.frames); k++ { // what is inside them comes later
		lost[k] = lost[k] || lost[t.frames[k].in]
	}
	steps, frames := inst.Steps[:0], inst.Frames[:0]
	for k := range inst.Steps {
		if !lost[t.steps[k].frame] {
			steps = append(steps, inst.Steps[k])
		}
	}
	for k := range inst.Frames {
		if !lost[k+1] {
			frames = append(frames, inst.Frames[k])
		}
	}
	clear(inst.Steps[len(steps):])
	clear(inst.Frames[len(frames):])
	inst.Steps, inst.Frames = steps, frames
	m.tree, m.moved = nil, true
}

// forgettable says whether nothing of these steps can matter any more.
func (m *machine) forgettable(from, to int32) bool {
	for k := from; k < to; k++ {
		i, s := int(k), &m.inst.Steps[k]
		switch {
		case m.inFlight(i), s.State == StepOpen, s.unpayable() && (s.Kind == Pivot || m.inst.Phase == Running):
			return false
		case s.Undo != UndoNone && s.Undo != UndoUndone, s.Undo == UndoNone && m.owes(i):
			return false
		}
	}
	if len(m.inst.Attention) > 0 {
		for k := from; k < to; k++ {
			path := m.inst.Steps[k].Path
			if slices.ContainsFunc(m.inst.Attention, func(a Attention) bool { return a.Path == path }) {
				return false
			}
		}
	}
	return true
}

// forgotten says whether path is that of a step in a round which forget dropped, and gives its plan
// index.
func (m *machine) forgotten(path string) (node int, ok bool) {
	id := path[strings.LastIndexByte(path, '/')+1:]
	if node = m.p.StepIndex(id); node < 0 || !m.inst.dynamic() {
		return 0, false
	}
	for at := 0; ; {
		open := strings.IndexByte(path[at:], '[')
		if open < 0 {
			return 0, false
		}
		open += at
		length := strings.IndexByte(path[open:], ']')
		if length < 0 {
			return 0, false
		}
		i := m.inst.StepIndex(path[:open])
		if i < 0 {
			return 0, false
		}
		number, err := strconv.ParseUint(path[open+1:open+length], 10, 32)
		if d := m.plan(i); d.Node == NodeRepeat && err == nil && number > 0 && node > m.inst.Steps[i].Node && node < d.End {
			newest, there := uint32(0), false
			t := m.shape()
			for k := t.steps[i].first; k != 0; k = t.frames[k].next {
				newest = m.frameOf(k).Number
				there = there || newest == uint32(number)
			}
			if !there {
				return node, uint32(number) < newest
			}
		}
		at = open + length
	}
}
