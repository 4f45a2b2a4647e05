package sagas

import (
	"errors"
	"fmt"
	"strconv"
)

// openEach takes the list once. Every item gets its frame now, and its steps when its turn comes.
func (m *machine) openEach(i int) {
	d := m.plan(i).Each
	raw, err := d.In.one(&evaluation{scope: m.scopeAt(i)})
	var items [][]byte
	if err == nil {
		items, err = listItems(raw)
	}
	if limit := orCount(d.Max, DefaultMaxItems); err == nil && len(items) > limit {
		err = fmt.Errorf("%d items, at most %d are allowed", len(items), limit)
	}
	if err != nil {
		m.hold(i, ReasonExpr, "in: "+err.Error())
		return
	}
	frames := make([]Frame, len(items))
	seen := make(map[string]bool, len(items))
	for k, item := range items {
		f := Frame{Key: strconv.Itoa(k), Number: uint32(k + 1), Item: item}
		if d.Key != nil {
			s := m.seeIn(m.inst.Steps[i].Frame, Key{})
			s.as, s.item, s.index = d.As, item, uint32(k)
			if f.Key, err = d.Key.String(s); err == nil {
				err = checkItemKey(f.Key, seen)
			}
			if err != nil {
				m.hold(i, ReasonExpr, "key of item "+strconv.Itoa(k)+": "+err.Error())
				return
			}
			seen[f.Key] = true
		}
		frames[k] = f
	}
	if !m.room(i, frames...) {
		return
	}
	for _, f := range frames {
		m.addFrame(i, f, FrameWaiting)
	}
	m.enter(i, KV{"items", strconv.Itoa(len(items))})
}

var errNotList = errors.New("it is no list")

// listItems splits a canonical JSON list.
func listItems(raw []byte) ([][]byte, error) {
	if len(raw) < 2 || raw[0] != '[' {
		return nil, errNotList
	}
	var items [][]byte
	for at := 1; at < len(raw) && raw[at] != ']'; at++ { // skips the comma
		end := skipValue(raw, at)
		if end <= at || end >= len(raw) {
			return nil, errNotCanonical
		}
		items = append(items, raw[at:end:end])
		if at = end; raw[at] == ']' {
			break
		}
	}
	return items, nil
}

// checkItemKey: the key of an item is a part of paths, and so of idempotency keys and metrics.
func checkItemKey(key string, seen map[string]bool) error {
	if len(key) == 0 || len(key) > MaxNameBytes {
		return fmt.Errorf("%d bytes; a key has 1 to %d", len(key), MaxNameBytes)
	}
	for k := range len(key) {
		switch c := key[k]; {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9',
			c == '_', c == '.', c == ':', c == '@', c == '-':
		default:
			return fmt.Errorf("%q has a character other than A-Z a-z 0-9 _ . : @ -", key)
		}
	}
	if seen[key] {
		return fmt.Errorf("%q is the key of another item too", key)
	}
	return nil
}

func orCount(n uint32, def int) int {
	if n == 0 {
		return def
	}
	return int(n)
}

// each lets the open items go on and opens the next ones. An item that is being undone keeps its place
// among those in work.
func (m *machine) each(i int) {
	t, d := m.shape(), m.plan(i).Each
	away := m.shelved(i)
	busy, failed, count, settled := away.open, away.failed, away.count, away.settled
	var next []int32
	room := orCount(d.AtOnce, DefaultAtOnce)
	for k := t.steps[i].first; k != 0; k = t.frames[k].next {
		count++
		f, fr := m.frameOf(k), &t.frames[k]
		switch f.State {
		case FrameOpen:
			if m.list(fr.start, fr.end) {
				f = m.frameOf(k)
				f.State = FrameDone
				m.transitions++
				settled++
			} else {
				busy++
			}
			if m.moved {
				return
			}
		case FrameDone:
			settled++
		case FrameUndoing:
			failed++
			busy++
		case FrameUndone:
			failed++
			settled++
		case FrameWaiting:
			if len(next) < room && (away.waiting == 0 || f.ID < away.waiting) {
				next = append(next, k)
			}
		}
	}
	switch {
	case d.OnFailure == ItemTolerate && failed > int(d.Tolerate):
		m.failNode(i, codeItemsFailed, strconv.Itoa(failed)+" items failed")
	case settled == count:
		out := appendCount(appendCount(nil, "count", count), "failed", failed)
		m.finishNode(i, out, KV{"failed", strconv.Itoa(failed)}, KV{"items", strconv.Itoa(count)})
	case busy < room && (len(next) > 0 || away.waiting != 0) && !m.held && !m.ending() && !m.inst.Steps[i].Stuck:
		if away.waiting != 0 && len(next) < room-busy {
			panic(need{page: away.page})
		}
		next = next[:min(len(next), room-busy)]
		frames := m.inst.Frames[next[0]-1 : next[len(next)-1]] // they were created together
		if _, bytes := m.growth(i, frames); !m.roomFor(i, bytes) {
			return
		}
		for _, k := range next {
			m.frameOf(k).State = FrameOpen
		}
		m.createSteps(i, frames)
	}
}
