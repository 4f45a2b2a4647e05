package correlate

import (
	"fmt"
	"strings"
	"testing"
)

const hourMs = int64(60 * 60 * 1000)

func wait(wid, path, group string) Wait {
	return Wait{Place: Place{WorkflowID: wid, Run: 1, Path: path}, Group: group, Signal: "event/air/1"}
}

// play steps through inputs, one ms apart, and writes what happened.
func play(t *testing.T, e *Entity, inputs ...Input) (*Entity, string) {
	t.Helper()
	var log []string
	for i, in := range inputs {
		var effects []Effect
		e, effects = Step(e, "air", "PNR", in, int64(i+1))
		for _, f := range effects {
			switch f := f.(type) {
			case Deliver:
				log = append(log, fmt.Sprintf("%s>%s/%s", f.Event.ID, f.Wait.WorkflowID, f.Wait.Path))
			case DeadLetter:
				log = append(log, f.Event.ID+"!"+f.Class)
			case Refused:
				log = append(log, "refused:"+f.Class)
			case Ignored:
				log = append(log, f.Reason)
			}
		}
	}
	return e, strings.Join(log, " ")
}

func event(id string, groups ...string) Event {
	return Event{ID: id, Payload: []byte(`{"status":"OK"}`), TTL: hourMs, Groups: groups}
}

func TestWhoGetsIt(t *testing.T) {
	one, two, other := wait("trip/1", "a", "trip"), wait("trip/2", "a", "trip"), wait("refund/9", "a", "refund")
	twice := wait("trip/1", "b", "trip")
	none := event("e", "trip")
	none.TTL = 0
	for name, c := range map[string]struct {
		inputs []Input
		want   string
	}{
		"after the wait":                   {[]Input{Subscribe{one}, event("e", "trip")}, "e>trip/1/a"},
		"before the wait":                  {[]Input{event("e", "trip"), Subscribe{one}}, "e>trip/1/a"},
		"everybody who waits":              {[]Input{Subscribe{one}, Subscribe{two}, event("e", "trip")}, "e>trip/1/a e>trip/2/a"},
		"early: the first of a group":      {[]Input{event("e", "trip"), Subscribe{one}, Subscribe{two}}, "e>trip/1/a"},
		"early: each group":                {[]Input{event("e", "refund", "trip"), Subscribe{one}, Subscribe{other}}, "e>trip/1/a e>refund/9/a"},
		"one waits, the other group later": {[]Input{Subscribe{one}, event("e", "refund", "trip"), Subscribe{other}}, "e>trip/1/a e>refund/9/a"},
		"an instance gets it once":         {[]Input{Subscribe{one}, Subscribe{twice}, event("e", "trip"), event("f", "trip")}, "e>trip/1/a f>trip/1/b"},
		"a wait gets one":                  {[]Input{Subscribe{one}, event("e", "trip"), event("f", "trip")}, "e>trip/1/a"},
		"and the next when it asks again":  {[]Input{Subscribe{one}, event("e", "trip"), event("f", "trip"), Subscribe{one}}, "e>trip/1/a f>trip/1/a"},
		"in the order of arrival":          {[]Input{event("e", "trip"), event("f", "trip"), Subscribe{one}, Subscribe{two}}, "e>trip/1/a f>trip/2/a"},
		"not who has gone":                 {[]Input{Subscribe{one}, Unsubscribe{one.Place}, event("e", "trip"), Subscribe{two}}, "e>trip/2/a"},
		"nobody, and no time":              {[]Input{none}, "unmatched"},
		"no time, but somebody":            {[]Input{Subscribe{one}, none, none}, "e>trip/1/a duplicate"},
		"repeated while parked":            {[]Input{event("e", "trip"), event("e", "trip")}, "duplicate"},
		"repeated after it was taken":      {[]Input{event("e", "trip"), Subscribe{one}, event("e", "trip")}, "e>trip/1/a duplicate"},
		"unsubscribed twice":               {[]Input{Unsubscribe{one.Place}}, "unknown-wait"},
		"subscribed twice":                 {[]Input{Subscribe{one}, Subscribe{one}}, "wait-is-there"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := play(t, nil, c.inputs...); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestReplies: a wait for replies goes on until its time, with the newest token.
func TestReplies(t *testing.T) {
	w := Wait{Place: Place{WorkflowID: "trip/1", Run: 1, Path: "pay", Op: "do"}, Token: "t1", Keep: true, Until: 100}
	later := w
	later.Token = "t2"
	e, got := play(t, nil, event("e", ""), Subscribe{w}, event("f", ""), Subscribe{later}, event("g", ""))
	if got != "e>trip/1/pay f>trip/1/pay g>trip/1/pay" || len(e.Waits) != 1 || e.Waits[0].Token != "t2" {
		t.Fatalf("got %s, waits %+v", got, e.Waits)
	}
	undo := w
	undo.Op, undo.Token = "undo", "u1"
	back := event("back", "")
	back.Answer.Op = "undo"
	if _, got := play(t, e, back, Subscribe{undo}, event("any", "")); got != "back>trip/1/pay any>trip/1/pay any>trip/1/pay" {
		t.Errorf("an answer to another operation: %s", got)
	}
	e, effects := Step(e, "air", "PNR", event("h", ""), 100)
	if len(effects) != 0 || len(e.Waits) != 0 || len(e.Parked) != 1 {
		t.Fatalf("after its time: %v %+v", effects, e)
	}
}

func TestExpired(t *testing.T) {
	e, _ := play(t, nil, event("e", "trip"))
	if due := e.Due(); due != hourMs+1 {
		t.Fatalf("due at %d", due)
	}
	if same, effects := Step(e, "air", "PNR", Tick{}, hourMs); same != e || len(effects) != 1 || effects[0] != (Ignored{reasonStale}) {
		t.Fatalf("before its time: %v", effects)
	}
	// The wait comes late, and no tick came before it.
	next, effects := Step(e, "air", "PNR", Subscribe{wait("trip/1", "a", "trip")}, hourMs+1)
	if d, ok := effects[0].(DeadLetter); len(effects) != 1 || !ok || d.Class != ClassExpired || d.Message != "nobody waited for it within 3600000 ms" {
		t.Fatalf("got %v", effects)
	}
	if len(next.Waits) != 1 || len(next.Parked) != 0 {
		t.Fatalf("left %+v", next)
	}
	// What is sent again from the dead letters is a new event.
	if _, effects := Step(next, "air", "PNR", event("e", "trip"), hourMs+2); len(effects) != 1 {
		t.Fatalf("sent again: %v", effects)
	} else if d := effects[0].(Deliver); d.Event.ID != "e" {
		t.Fatalf("sent again: %v", effects)
	}
}

func TestBounds(t *testing.T) {
	var e *Entity
	for i := range MaxParked {
		e, _ = Step(e, "air", "PNR", event(fmt.Sprint(i), "trip"), 1)
	}
	if _, got := play(t, e, event("more", "trip")); got != "more!"+ClassOverflow {
		t.Errorf("one event too many: %s", got)
	}
	big := event("big", "trip")
	big.Payload = make([]byte, MaxEventBytes+1)
	if e, got := play(t, nil, big); got != "refused:"+ClassTooLarge || e != nil {
		t.Errorf("an event that is too large: %s", got)
	}
	e = nil
	big.Payload = make([]byte, MaxEventBytes)
	for i := range MaxParkedBytes / MaxEventBytes {
		big.ID = fmt.Sprint(i)
		e, _ = Step(e, "air", "PNR", big, 1)
	}
	big.ID = "more"
	if _, got := play(t, e, big); got != "more!"+ClassOverflow {
		t.Errorf("too many bytes: %s", got)
	}
	e = nil
	for i := range MaxWaits {
		e, _ = Step(e, "air", "PNR", Subscribe{wait(fmt.Sprint("trip/", i), "a", "trip")}, 1)
	}
	if _, got := play(t, e, Subscribe{wait("trip/more", "a", "trip")}); got != "refused:"+ClassOverflow {
		t.Errorf("one wait too many: %s", got)
	}
	e = nil
	fat := wait("trip/1", "", "trip")
	for i := range MaxWaitBytes / MaxTextBytes {
		fat.Path = fmt.Sprintf("%0*d", MaxTextBytes, i)
		e, _ = Step(e, "air", "PNR", Subscribe{fat}, 1)
	}
	fat.Path = "more"
	if n := len(e.Waits); n >= MaxWaitBytes/MaxTextBytes || len(e.Append(nil)) > 2*MaxWaitBytes {
		t.Errorf("%d waits of %d bytes", n, len(e.Append(nil)))
	}
	e = nil
	for i := range 2 * MaxSeen {
		e, _ = Step(e, "air", "PNR", Subscribe{wait("trip/1", "a", "trip")}, 1)
		e, _ = Step(e, "air", "PNR", event(fmt.Sprint(i), "trip"), 1)
	}
	if len(e.Seen) != MaxSeen {
		t.Errorf("%d events are remembered", len(e.Seen))
	}
}

func TestStrangeInputs(t *testing.T) {
	long := strings.Repeat("x", MaxTextBytes+1)
	for name, in := range map[string]Input{
		"event without id":         Event{TTL: 1},
		"event with a long id":     Event{ID: long},
		"event of too many groups": Event{ID: "e", Groups: make([]string, MaxGroups+1)},
		"wait of nobody":           Subscribe{Wait{Signal: "s"}},
		"wait for nothing":         Subscribe{Wait{Place: Place{WorkflowID: "w", Run: 1}}},
		"wait for two things":      Subscribe{Wait{Place: Place{WorkflowID: "w", Run: 1}, Signal: "s", Token: "t"}},
		"end of nobody's wait":     Unsubscribe{},
	} {
		if e, effects := Step(nil, "n", "v", in, 1); e != nil || len(effects) != 1 || effects[0].(Refused).Class != ClassInvalid {
			t.Errorf("%s: %v", name, effects)
		}
	}
	e, _ := Step(nil, "n", "v", event("e"), 1)
	if same, effects := Step(e, "n", "w", event("e"), 1); same != e || effects[0].(Refused).Class != ClassMismatch {
		t.Errorf("another value under the same key: %v", effects)
	}
}

func TestStored(t *testing.T) {
	if e, err := Decode(nil); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if _, err := Decode([]byte(`{"f":2}`)); err != ErrNewerFormat {
		t.Errorf("a newer format: %v", err)
	}
	if _, err := Decode([]byte(`{`)); err == nil {
		t.Error("half a record was read")
	}
	if DueOf([]byte(`{`)) != 0 {
		t.Error("half a record is due")
	}
	if SignalID("a", "b", "c", "d") == SignalID("a", "b", "cd", "") {
		t.Error("ids of different signals are equal")
	}
}
