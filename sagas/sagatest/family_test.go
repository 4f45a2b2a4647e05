package sagatest_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"pgregory.net/rapid"
)

// family is a parent and its children, each a record of its own, with a wire between them that keeps
// the order of what one tells the other and nothing else.
type family struct {
	t       *rapid.T
	plans   map[string]*sagas.Plan // by type
	insts   map[string]*sagas.Instance
	wires   map[string][]sagas.Event // by sender and receiver
	to      map[string]string        // receiver of a wire
	now     sagas.Time
	refuse  bool // participants may refuse a do
	log     []string
	started map[string]int
}

const parentText = `
saga: parent
version: 1
deadline: 2h
participants: {svc: {ops: [do, undo]}}
steps:
- {id: before, call: svc.before, undo: {call: svc.unbefore}}
- id: both
  parallel:
    a: [{id: one, saga: {type: kid, id: '="one"', input: {n: 1}, reversible: true}}]
    b: [{id: two, saga: {type: kid, id: '="two"', input: {n: 2}, reversible: true}, kind: %s}]
- {id: after, call: svc.after, undo: {call: svc.unafter}}
`

const kidText = `
saga: kid
version: 1
participants: {svc: {ops: [do, undo]}}
steps:
- {id: x, call: svc.x, undo: {call: svc.unx}}
- {id: y, call: svc.y, undo: {call: svc.uny}}
`

func newFamily(t *rapid.T) *family {
	f := &family{t: t, insts: map[string]*sagas.Instance{}, wires: map[string][]sagas.Event{}, to: map[string]string{}, now: 1_767_225_600_000, started: map[string]int{}}
	f.plans = map[string]*sagas.Plan{
		"parent": compile(t, fmt.Sprintf(parentText, rapid.SampledFrom([]string{"compensatable", "optional"}).Draw(t, "kind"))),
		"kid":    compile(t, kidText),
	}
	return f
}

func (f *family) send(from, to string, ev sagas.Event) {
	key := from + " > " + to
	f.wires[key] = append(f.wires[key], ev)
	f.to[key] = to
}

func (f *family) feed(wid string, ev sagas.Event) {
	typ, _ := sagas.SplitWorkflowID(wid)
	next, effects := sagas.Step(f.plans[typ], f.insts[wid], ev, f.now)
	f.insts[wid] = next
	f.log = append(f.log, fmt.Sprintf("%s %T", wid, ev))
	for _, e := range effects {
		switch e := e.(type) {
		case sagas.Command:
			r := sagas.Reply{Address: e.Address, Outcome: sagas.OutcomeOK}
			if e.Op == sagas.OpDo && f.refuse && rapid.IntRange(0, 9).Draw(f.t, "refuse") == 0 {
				r.Outcome = sagas.OutcomeRejected
			}
			f.send("svc "+wid, wid, r)
		case sagas.StartChild:
			f.send(wid, e.Start.WorkflowID, e.Start)
		case sagas.TellChild:
			f.send(wid, e.WorkflowID, e.Event)
		case sagas.TellParent:
			f.send(wid, e.WorkflowID, e.Done)
		case sagas.Lifecycle:
			f.log = append(f.log, fmt.Sprintf("  %s %s %s", wid, e.Kind, e.Path))
			if e.Kind == sagas.KindStarted {
				f.started[wid]++
			}
		}
	}
}

// deliver lets the next message of some wire arrive, and says whether there was one.
func (f *family) deliver() bool {
	var open []string
	for _, key := range slices.Sorted(maps.Keys(f.wires)) {
		if len(f.wires[key]) > 0 {
			open = append(open, key)
		}
	}
	if len(open) == 0 {
		return false
	}
	key := rapid.SampledFrom(open).Draw(f.t, "wire")
	ev := f.wires[key][0]
	f.wires[key] = f.wires[key][1:]
	f.feed(f.to[key], ev)
	return true
}

func (f *family) failf(format string, args ...any) {
	f.t.Helper()
	for _, line := range f.log {
		f.t.Log(line)
	}
	f.t.Fatalf(format, args...)
}

// tick lets time pass to the next timer of an instance that has not ended.
func (f *family) tick() bool {
	due, who := sagas.Time(0), ""
	for _, wid := range slices.Sorted(maps.Keys(f.insts)) {
		if inst := f.insts[wid]; inst != nil && inst.Phase.Active() {
			if at := inst.NextDue(); at != 0 && (due == 0 || at < due) {
				due, who = at, wid
			}
		}
	}
	if who == "" {
		return false
	}
	f.now = max(f.now, due)
	f.feed(who, sagas.Timers{})
	return true
}

// TestFamily: however the messages between a parent and its children interleave, all come to an end that
// fits together. What the parent takes back its children take back; what it keeps they keep and are
// let go of; nobody starts twice.
func TestFamily(t *testing.T) {
	ends := map[sagas.Phase]int{}
	rapid.Check(t, func(t *rapid.T) {
		f := newFamily(t)
		f.refuse = rapid.Bool().Draw(t, "refusals")
		f.feed("parent/1", sagas.Start{WorkflowID: "parent/1", Type: "parent", Version: 1, Input: []byte("{}"), IssuedAt: f.now})
		for range rapid.IntRange(0, 40).Draw(t, "acts") {
			switch rapid.SampledFrom([]string{"deliver", "deliver", "deliver", "deliver", "deliver", "deliver", "cancel", "cancel kid", "time"}).Draw(t, "act") {
			case "deliver":
				f.deliver()
			case "cancel":
				if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
					f.feed("parent/1", sagas.Cancel{WorkflowID: "parent/1", RequestID: "c"})
				}
			case "cancel kid":
				if rapid.IntRange(0, 5).Draw(t, "really") == 0 {
					f.feed("kid/one", sagas.Cancel{WorkflowID: "kid/one", RequestID: "k"})
				}
			case "time":
				f.now += sagas.Time(time.Second.Milliseconds())
			}
		}
		for k := 0; f.deliver() || k < 50 && f.tick(); k++ {
		}
		parent := f.insts["parent/1"]
		if !parent.Phase.Terminal() {
			f.failf("the parent is %s: %v", parent.Phase, parent.Attention)
		}
		ends[parent.Phase]++
		for _, name := range []string{"one", "two"} {
			wid := "kid/" + name
			kid, step := f.insts[wid], parent.Steps[parent.StepIndex(name)]
			if f.started[wid] > 1 {
				f.failf("%s started %d times", wid, f.started[wid])
			}
			if kid == nil || kid.Phase == sagas.Void {
				continue
			}
			switch {
			case !kid.Phase.Terminal():
				f.failf("%s is %s", wid, kid.Phase)
			case parent.Phase == sagas.Compensated && kid.Phase == sagas.Completed:
				f.failf("the parent took everything back, %s did not", wid)
			case parent.Phase == sagas.Completed && step.State == sagas.StepDone && kid.Phase != sagas.Completed:
				f.failf("the parent completed, %s is %s", wid, kid.Phase)
			case kid.Expires == 0:
				f.failf("%s is kept for ever", wid)
			}
		}
	})
	t.Logf("ends: %v", ends)
	if n := ends[sagas.Completed] + ends[sagas.Compensated]; n >= 100 && (ends[sagas.Completed] == 0 || ends[sagas.Compensated] == 0) {
		t.Error("one of the ends never came")
	}
}
