package correlate

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// books are what must hold, kept apart from the entity: a list of all events, with what became of them.
type books struct {
	e    *Entity
	now  int64
	log  map[string]*fate
	open map[Place]Wait
}

type fate struct {
	ev      Event
	came    int64
	groups  map[string]int // deliveries by group
	waiting int            // who waited when it came
	byWid   map[string]int // deliveries by instance
	dead    string
	dropped bool
}

func (b *books) step(t *rapid.T, in Input) []Effect {
	t.Helper()
	before := b.bytes()
	var kept []byte
	if b.e != nil {
		kept = b.e.Append(nil)
	}
	next, effects := Step(b.e, "air.events/1", "PNR", in, b.now)
	if b.e != nil && !bytes.Equal(kept, b.e.Append(nil)) {
		t.Fatalf("Step changed the entity that it was given")
	}
	again, effects2 := Step(b.e, "air.events/1", "PNR", in, b.now)
	if fmt.Sprint(effects) != fmt.Sprint(effects2) || !bytes.Equal((&books{e: next}).bytes(), (&books{e: again}).bytes()) {
		t.Fatalf("the same step gave something else")
	}
	b.e = next
	for _, f := range effects {
		switch f := f.(type) {
		case Deliver:
			x := b.log[f.Event.ID]
			if x.dead != "" || x.dropped {
				t.Fatalf("event %s was delivered after it was %s", f.Event.ID, x.dead)
			}
			if x.ev.TTL > 0 && b.now >= x.came+x.ev.TTL || x.ev.TTL == 0 && b.now != x.came {
				t.Fatalf("event %s was delivered at %d, after its time", f.Event.ID, b.now)
			}
			if !bytes.Equal(f.Event.Payload, x.ev.Payload) {
				t.Fatalf("event %s changed on the way", f.Event.ID)
			}
			x.groups[f.Wait.Group]++
			if x.byWid[f.Wait.WorkflowID]++; x.byWid[f.Wait.WorkflowID] > 1 && !f.Wait.Keep {
				t.Fatalf("event %s went twice to %s", f.Event.ID, f.Wait.WorkflowID)
			}
			w, waits := b.open[f.Wait.Place]
			if sub, isSub := in.(Subscribe); !waits && !(isSub && sub.Wait.Place == f.Wait.Place) {
				t.Fatalf("event %s went to %v, who does not wait", f.Event.ID, w.Place)
			}
			if !f.Wait.Keep {
				delete(b.open, f.Wait.Place)
			}
		case DeadLetter:
			x := b.log[f.Event.ID]
			if len(x.groups) > 0 || x.dead != "" {
				t.Fatalf("event %s became a dead letter %s after %v %s", f.Event.ID, f.Class, x.groups, x.dead)
			}
			if f.Class == ClassExpired && b.now < x.came+x.ev.TTL {
				t.Fatalf("event %s expired early", f.Event.ID)
			}
			x.dead = f.Class
		case Ignored:
			if ev, ok := in.(Event); ok && f.Reason == reasonAlone {
				b.log[ev.ID].dropped = true
			}
		case Refused:
			t.Fatalf("refused: %v", f)
		}
	}
	if len(effects) == 1 {
		if i, ok := effects[0].(Ignored); ok && i.Reason == reasonSeen && before != nil && !bytes.Equal(before, b.bytes()) {
			if _, isEvent := in.(Event); isEvent && b.e != nil && b.e.Due() == 0 {
				t.Fatalf("a repeated event changed the entity")
			}
		}
	}
	b.check(t)
	return effects
}

func (b *books) bytes() []byte {
	if b.e == nil {
		return nil
	}
	return b.e.Append(nil)
}

// check compares the entity with the books, and with what it reads back from its bytes.
func (b *books) check(t *rapid.T) {
	t.Helper()
	back, err := Decode(b.bytes())
	if err != nil || !bytes.Equal((&books{e: back}).bytes(), b.bytes()) || back.Due() != b.e.Due() || b.e != nil && DueOf(b.bytes()) != b.e.Due() {
		t.Fatalf("an entity does not come back from its bytes: %v", err)
	}
	if b.e == nil {
		return
	}
	if !slices.IsSortedFunc(b.e.Waits, func(x, y Wait) int { return x.compare(y.Place) }) {
		t.Fatalf("the waits are not sorted")
	}
	for _, w := range b.e.Waits {
		if _, ok := b.open[w.Place]; !ok {
			t.Fatalf("%v waits and should not", w.Place)
		}
	}
}

// end lets all time pass and asks what became of each event.
func (b *books) end(t *rapid.T) {
	for range 1000 {
		due := b.e.Due()
		if due == 0 {
			break
		}
		b.now = max(b.now, due)
		b.step(t, Tick{})
	}
	if b.e != nil && (len(b.e.Parked) > 0 || len(b.e.Seen) > 0) {
		t.Fatalf("something is left at the end of time: %+v", b.e)
	}
	for id, x := range b.log {
		delivered := len(x.groups) > 0
		ends := 0
		for _, is := range []bool{delivered, x.dead != "", x.dropped} {
			if is {
				ends++
			}
		}
		if ends != 1 {
			t.Errorf("event %s: delivered %v, dead %q, dropped %v: want one of them", id, x.groups, x.dead, x.dropped)
		}
		if x.dropped && x.ev.TTL > 0 {
			t.Errorf("event %s had time to wait and was dropped", id)
		}
		if x.waiting > 0 && !delivered {
			t.Errorf("event %s came while %d waited, and nobody got it", id, x.waiting)
		}
	}
}

// TestEveryOrder: whatever order events, waits, ends of waits, repetitions and time come in, each event is
// delivered, or becomes one dead letter with its reason, or is dropped on its author's word: never two of
// these and never none.
func TestEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &books{now: 1000, log: map[string]*fate{}, open: map[Place]Wait{}}
		wids := []string{"trip/1", "trip/2", "refund/1"}
		groups := map[string]string{"trip/1": "trip", "trip/2": "trip", "refund/1": "refund"}
		n := rapid.IntRange(1, 40).Draw(t, "inputs")
		for range n {
			b.now += rapid.SampledFrom([]int64{0, 0, 1, 50, 1000}).Draw(t, "pause")
			wid := rapid.SampledFrom(wids).Draw(t, "wid")
			place := Place{WorkflowID: wid, Run: 1, Path: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "path")}
			switch rapid.SampledFrom([]string{"event", "event", "again", "subscribe", "subscribe", "unsubscribe", "tick"}).Draw(t, "kind") {
			case "event":
				ev := Event{ID: fmt.Sprint("e", len(b.log)), Payload: []byte(fmt.Sprintf(`{"n":%d}`, len(b.log))), Source: "air.events/0/7",
					TTL:    rapid.SampledFrom([]int64{0, 1, 60, 5000}).Draw(t, "ttl"),
					Groups: rapid.SampledFrom([][]string{nil, {"trip"}, {"refund", "trip"}}).Draw(t, "groups")}
				b.log[ev.ID] = &fate{ev: ev, came: b.now, groups: map[string]int{}, byWid: map[string]int{}, waiting: len(b.open)}
				b.step(t, ev)
			case "again":
				if len(b.log) == 0 {
					continue
				}
				x := b.log[fmt.Sprint("e", rapid.IntRange(0, len(b.log)-1).Draw(t, "which"))]
				if x.dead != "" || x.dropped || b.now >= x.came+seenLeast || len(x.groups) == 0 && b.now >= x.came+x.ev.TTL { // then it is a new one
					continue
				}
				for _, f := range b.step(t, x.ev) {
					if d, ok := f.(Deliver); ok && d.Event.ID == x.ev.ID {
						t.Fatalf("event %s was taken again", x.ev.ID)
					}
				}
			case "subscribe":
				w := Wait{Place: place, Group: groups[wid], Signal: "event/x"}
				b.open[place] = w
				b.step(t, Subscribe{w})
			case "unsubscribe":
				delete(b.open, place)
				b.step(t, Unsubscribe{place})
			case "tick":
				b.step(t, Tick{})
			}
			if waits := 0; b.e != nil {
				waits = len(b.e.Waits)
				if waits != len(b.open) {
					t.Fatalf("%d wait, want %d", waits, len(b.open))
				}
			} else if len(b.open) > 0 {
				t.Fatalf("%d waits are forgotten", len(b.open))
			}
		}
		b.end(t)
	})
}

// TestTwoOrders: for one event and one wait it makes no difference which comes first, nor what is repeated,
// as long as they come within the event's time.
func TestTwoOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ev := Event{ID: "e", Payload: []byte(`{}`), TTL: 1000, Groups: []string{"trip"}}
		w := Wait{Place: Place{WorkflowID: "trip/1", Run: 1, Path: "a"}, Group: "trip", Signal: "s"}
		inputs := rapid.Permutation([]Input{ev, ev, Event(ev), Subscribe{w}}).Draw(t, "order")
		var e *Entity
		got := 0
		now := int64(1)
		for _, in := range inputs {
			now += rapid.Int64Range(0, 300).Draw(t, "pause")
			var effects []Effect
			e, effects = Step(e, "n", "v", in, now)
			for _, f := range effects {
				if _, ok := f.(Deliver); ok {
					got++
				}
			}
		}
		if got != 1 {
			t.Fatalf("delivered %d times, want once", got)
		}
	})
}
