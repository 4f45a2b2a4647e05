package sagas

import "strconv"

// openRace lets all lanes begin.
func (m *machine) openRace(i int) {
	d := m.plan(i)
	frames := make([]Frame, len(d.Lanes))
	for k := range d.Lanes {
		frames[k] = Frame{Lane: k, Key: d.Lanes[k].Name, Number: uint32(k + 1)}
	}
	if m.openFrames(i, frames...) {
		m.enter(i)
	}
}

// race: the first lanes whose steps are all resolved win, by the order of processing. What the others
// did is undone in the background, and what follows the race does not wait for that.
func (m *machine) race(i int) {
	t, first := m.shape(), max(int(m.plan(i).Race.First), 1)
	won, running := 0, 0
	for k := t.steps[i].first; k != 0; k = t.frames[k].next {
		f, fr := m.frameOf(k), &t.frames[k]
		if f.State == FrameOpen && won < first && m.list(fr.start, fr.end) {
			m.frameOf(k).State = FrameDone
			m.transitions++
		}
		if m.moved {
			return
		}
		switch m.frameOf(k).State {
		case FrameDone:
			won++
		case FrameOpen:
			running++
		}
	}
	switch {
	case won >= first:
		winners := []byte{'['}
		for k := t.steps[i].first; k != 0; k = t.frames[k].next {
			switch f := m.frameOf(k); f.State {
			case FrameDone:
				if len(winners) > 1 {
					winners = append(winners, ',')
				}
				winners = appendString(winners, f.Key)
			case FrameOpen:
				m.turn(k, Cause{})
			}
		}
		m.finishNode(i, appendOutput(nil, "winners", append(winners, ']')), KV{"winners", strconv.Itoa(won)})
	case won+running < first:
		s := &m.inst.Steps[i]
		m.failNode(i, s.Code, s.Message)
	}
}
