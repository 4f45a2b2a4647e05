package orchestrator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// handClock is moved by hand.
type handClock struct{ at time.Time }

func (c *handClock) now() time.Time { return c.at }

// beginning is a whole hour.
var beginning = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func window(c *handClock, part time.Duration, parts int) PulseQuestion {
	until := c.at.Truncate(time.Minute).Add(time.Minute)
	return PulseQuestion{From: until.Add(-part * time.Duration(parts)).UnixMilli(), Part: part.Milliseconds(), Parts: parts, Steps: true}
}

// TestPulse counts what commits, by minute, and forgets what is older than a day.
func TestPulse(t *testing.T) {
	c := &handClock{beginning}
	p := newPulse(c.now)
	counts := &tally{m: newMetrics(), pulse: p}
	h := counts.m.hooks(func(int32) *tally { return counts })
	run := func(end sagas.Kind, took time.Duration) {
		before := &sagas.Instance{Type: "pay", Version: 2, StartedAt: 1, Steps: []sagas.StepState{{Path: "auth", FirstSent: 1}}}
		at := 1 + sagas.Time(took.Milliseconds())
		counts.lifecycle(&sagas.Lifecycle{Kind: sagas.KindStarted, Type: "pay", Version: 2}, nil)
		counts.command(&sagas.Command{Address: sagas.Address{Op: sagas.OpDo, Path: "lines[x]/auth"}, Type: "pay", Version: 2})
		counts.command(&sagas.Command{Address: sagas.Address{Op: sagas.OpUndo, Path: "lines[x]/auth"}, Type: "pay", Version: 2})
		counts.lifecycle(&sagas.Lifecycle{Kind: sagas.KindStepDone, Type: "pay", Version: 2, Path: "auth", At: at}, before)
		counts.lifecycle(&sagas.Lifecycle{Kind: end, Type: "pay", Version: 2, At: at}, before)
	}
	run(sagas.KindCompleted, time.Second)
	h.Aborted(0, "retry", nil) // it runs again and would count twice
	run(sagas.KindCompleted, time.Second)
	counts.lifecycle(&sagas.Lifecycle{Kind: sagas.KindRejected, Type: "whatever a producer wrote"}, nil)
	h.Cycle(topology.CycleStats{})
	c.at = beginning.Add(90 * time.Minute)
	run(sagas.KindCompensated, 4*time.Second)
	counts.lifecycle(&sagas.Lifecycle{Kind: sagas.KindOperator, Type: "pay", WorkflowID: "pay/7", Detail: []sagas.KV{{Key: "action", Value: "close"}, {Key: "operator", Value: "mira"}}}, nil)
	counts.lifecycle(&sagas.Lifecycle{Kind: sagas.KindCancelAcked, Type: "pay", WorkflowID: "pay/8"}, nil) // by the machine
	counts.mark()                                                                                          // the record that follows comes again
	run(sagas.KindClosed, time.Second)
	h.Postponed(0)
	h.Cycle(topology.CycleStats{})

	a := p.answer(window(c, time.Hour, 3))
	if len(a.Sagas) != 1 || a.Sagas[0].Type != "pay" || a.Since != beginning.UnixMilli() || a.Cut {
		t.Fatalf("%+v", a)
	}
	want := []Ends{{}, {Started: 1, Completed: 1}, {Started: 1, Compensated: 1}}
	if got := a.Sagas[0].Parts; !slices.Equal(got, want) {
		t.Errorf("parts %+v, want %+v", got, want)
	}
	if m := a.Marks; len(m) != 2 || m[1] != (Mark{At: c.at.UnixMilli(), Kind: MarkPerson, N: 1, Type: "pay", Actor: "mira", Action: "close", WorkflowID: "pay/7"}) {
		t.Errorf("marks %+v", m)
	}
	if s := a.Steps; len(s) != 1 || s[0].Step != "auth" || s[0].Version != 2 || s[0].Sent != 2 || s[0].Done != 2 || len(s[0].Took) != 4 {
		t.Errorf("steps %+v", s)
	}
	if a := p.answer(PulseQuestion{From: window(c, time.Hour, 3).From, Part: hourMs, Parts: 3, Type: "refund", Steps: true}); len(a.Sagas)+len(a.Steps) != 0 {
		t.Errorf("of another saga: %+v", a)
	}
	c.at = beginning.Add(24*time.Hour + 30*time.Minute)
	run(sagas.KindCompleted, time.Second)
	h.Cycle(topology.CycleStats{})
	a = p.answer(window(c, 30*time.Minute, 48))
	var sum Ends
	for _, e := range a.Sagas[0].Parts {
		sum.Add(e)
	}
	if want := (Ends{Started: 2, Completed: 1, Compensated: 1}); sum != want {
		t.Errorf("after a day %+v, want %+v", sum, want)
	}
}

// TestPulseIsBounded: too many sagas and steps are not counted, and that is said.
func TestPulseIsBounded(t *testing.T) {
	p := newPulse((&handClock{beginning}).now)
	var beats []beat
	for i := range maxPulseSagas + 1 {
		beats = append(beats, beat{beatStarted, stepRef{typ: fmt.Sprint("s", i)}, -1})
	}
	p.take(beats[:maxPulseSagas], nil)
	if p.cut {
		t.Error("it is cut before its limit")
	}
	p.take(beats, nil)
	if n := len(p.answer(window(&handClock{beginning}, time.Hour, 1)).Sagas); n != maxPulseSagas || !p.cut {
		t.Errorf("%d sagas, cut %v", n, p.cut)
	}
	q := newPulse((&handClock{beginning}).now)
	beats = beats[:0]
	for i := range maxPulseSteps + 1 {
		beats = append(beats, beat{beatSent, stepRef{"s", 1, fmt.Sprint("step", i)}, -1})
	}
	if q.take(beats, nil); len(q.steps) != maxPulseSteps || !q.cut {
		t.Errorf("%d steps, cut %v", len(q.steps), q.cut)
	}
}

// TestSpread keeps times to a tenth, and lets those of two half days ago go.
func TestSpread(t *testing.T) {
	for ms := int64(1); ms < 40*86400_000; ms = ms*5/4 + 1 {
		if got := BucketMs(bucketOf(ms)); float64(got) < 0.88*float64(ms)-1 || float64(got) > 1.12*float64(ms)+1 {
			t.Errorf("%d ms is told as %d ms", ms, got)
		}
	}
	if bucketOf(0) != 0 || BucketMs(0) != 0 || bucketOf(1<<62) != spreadBuckets-1 {
		t.Error("the ends")
	}
	var s spread
	s.add(0, 10)
	s.add(0, -1)
	s.add(halfDayMs, 10)
	for _, c := range []struct {
		now  int64
		want Spread
	}{
		{halfDayMs, Spread{uint32(bucketOf(10)), 2}}, {2 * halfDayMs, Spread{uint32(bucketOf(10)), 1}}, {3 * halfDayMs, nil},
	} {
		if got := s.counts(c.now); !slices.Equal(got, c.want) {
			t.Errorf("at %d: %v, want %v", c.now, got, c.want)
		}
	}
	s.add(5*halfDayMs, 10)
	if got := s.counts(5 * halfDayMs); !slices.Equal(got, Spread{uint32(bucketOf(10)), 1}) {
		t.Errorf("after a rest: %v", got)
	}
}

// TestMarks: what belongs together is one mark, and there are never too many.
func TestMarks(t *testing.T) {
	c := &handClock{beginning}
	p := newPulse(c.now)
	h := p.hooks()
	h.Rebalance([]int32{1, 2}, nil)
	c.at = c.at.Add(3 * time.Second)
	h.Rebalance([]int32{3}, []int32{7})
	h.Destination(topology.DestinationInfo{Topic: "cmd.psp", State: topology.DestinationOpen})
	h.Destination(topology.DestinationInfo{Topic: "cmd.psp", State: topology.DestinationHalfOpen})
	c.at = c.at.Add(time.Minute)
	h.Destination(topology.DestinationInfo{Topic: "cmd.psp", State: topology.DestinationClosed})
	h.Rebalance([]int32{9}, nil)
	var got []string
	for _, m := range p.answer(window(c, time.Hour, 1)).Marks {
		got = append(got, fmt.Sprintf("%s %d %s %ds", m.Kind, m.N, m.Topic, (m.At-beginning.UnixMilli())/1000))
	}
	if want := []string{"started 0  0s", "gained 3  3s", "lost 1  3s", "blocked 0 cmd.psp 3s", "flows 0 cmd.psp 63s", "gained 1  63s"}; !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	acts := []Mark{{Kind: MarkPerson, Actor: "mira", Action: "retry", WorkflowID: "pay/1", N: 1}, {Kind: MarkPerson, Actor: "mira", Action: "retry", WorkflowID: "pay/2", N: 1},
		{Kind: MarkPerson, Actor: "jo", Action: "retry", WorkflowID: "pay/3", N: 1}}
	p.take(nil, acts)
	if n := len(p.marks); p.marks[n-2].N != 2 || p.marks[n-2].WorkflowID != "" || p.marks[n-1].Actor != "jo" || p.marks[n-1].WorkflowID != "pay/3" {
		t.Errorf("people: %+v", p.marks[n-2:])
	}
	for range maxMarks {
		c.at = c.at.Add(time.Minute)
		h.Rebalance([]int32{1}, nil)
	}
	if len(p.marks) != maxMarks || p.marks[0].Kind == MarkStarted {
		t.Errorf("%d marks, the first is %+v", len(p.marks), p.marks[0])
	}
}

// TestPlacesOf: an instance stands at what is under way, and in a block at what is inside.
func TestPlacesOf(t *testing.T) {
	for want, steps := range map[string][]sagas.StepState{
		"ship":        {{Path: "auth", State: sagas.StepDone}, {Path: "ship", State: sagas.StepPending}, {Path: "mail", State: sagas.StepIdle}},
		"pick":        {{Path: "lines", State: sagas.StepOpen}, {Path: "lines[a]/pick", State: sagas.StepBackoff}, {Path: "lines[b]/pick", State: sagas.StepPending}},
		"lines":       {{Path: "lines", State: sagas.StepOpen}}, // its items lie in pages
		"sign":        {{Path: "sign", State: sagas.StepOpen}},
		"auth":        {{Path: "auth", State: sagas.StepDone, Undo: sagas.UndoPending}, {Path: "ship", State: sagas.StepRefused}},
		"left, right": {{Path: "left", State: sagas.StepInquiring}, {Path: "right", State: sagas.StepUnknown}},
		"":            {{Path: "auth", State: sagas.StepDone}},
	} {
		if got := strings.Join(placesOf(&sagas.Instance{Steps: steps}), ", "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	n := map[Stand]int64{}
	inst := &sagas.Instance{WorkflowID: "pay/1", Type: "pay", Version: 3, Phase: sagas.Running}
	standsOf(inst.Append(nil), n)
	inst.Phase = sagas.Completed
	standsOf(inst.Append(nil), n)
	standsOf([]byte("not a record"), n)
	if len(n) != 1 || n[Stand{Version: 3}] != 1 {
		t.Errorf("%v", n)
	}
}
