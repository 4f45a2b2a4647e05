package sagasgen_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagasgen"
	"github.com/amendsio/amends/sagas/sagatest"
)

// run is one life of a drawn definition: participants, people, children and signals answer as drawn,
// and in the end all of them do.
type run struct {
	t        *rapid.T
	w        *sagatest.World
	src      string
	log      []string
	children []sagas.StartChild // that have not ended
	started  map[string]bool    // start IDs of all children
	due      []sagas.Event      // what children tell
	signals  int
	waits    map[string]string // who has subscribed to what, by step: what the effects said
}

func (r *run) draw(what string, n int) int { return rapid.IntRange(0, n-1).Draw(r.t, what) }

func (r *run) failf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s\n%s\n%s", fmt.Sprintf(format, args...), r.src, strings.Join(r.log, "\n"))
}

// observe looks at each event: what must hold always.
func (r *run) observe(rec sagatest.Record) {
	r.log = append(r.log, fmt.Sprintf("%T %+v", rec.Event, rec.Event))
	for _, e := range rec.Effects {
		switch e := e.(type) {
		case sagas.StartChild:
			if !r.started[e.Start.StartID] {
				r.started[e.Start.StartID] = true
				r.children = append(r.children, e)
			}
		case sagas.TellChild:
			r.tellChild(e)
		case sagas.Subscribe:
			r.waits[fmt.Sprint(e.Run, e.Path)] = e.Route + "=" + e.Value
		case sagas.Unsubscribe:
			key := fmt.Sprint(e.Run, e.Path)
			if r.waits[key] != e.Route+"="+e.Value {
				r.failf("%s takes back %s=%s and has %q", e.Path, e.Route, e.Value, r.waits[key])
			}
			delete(r.waits, key)
		case sagas.Lifecycle:
			r.log = append(r.log, fmt.Sprintf("   %s %s %s %v", e.Kind, e.Path, e.Cause, e.Detail))
		}
	}
	r.subscribed(rec.After)
	if rec.After == nil {
		return
	}
	for _, a := range rec.After.Attention {
		if a.Reason == sagas.ReasonExpr || a.Reason == sagas.ReasonLivelock {
			r.failf("attention %s of %s: %s", a.Reason, a.Path, a.Text)
		}
	}
	back, err := sagas.DecodeInstance(rec.After.Append(nil))
	if err != nil {
		r.failf("the instance does not read back: %v", err)
	}
	if string(back.Append(nil)) != string(rec.After.Append(nil)) {
		r.failf("the instance reads back as another one")
	}
}

// subscribed compares who waits for an event with what the effects said: whatever ends a wait takes its
// subscription back, and nothing else does.
func (r *run) subscribed(inst *sagas.Instance) {
	n := 0
	if inst != nil && inst.Phase.Active() {
		for i := range inst.Steps {
			s := &inst.Steps[i]
			d := &r.w.Plan.Steps[s.Node]
			if d.Await == nil || d.Await.Route == "" || sagas.AwaitedSignal(d, s) == "" {
				continue
			}
			n++
			route, value, _ := sagas.AwaitedValue(s)
			if got := r.waits[fmt.Sprint(inst.Run, s.Path)]; got != route+"="+value {
				r.failf("%s waits for %s=%s and has subscribed to %q", s.Path, route, value, got)
			}
		}
	}
	if n != len(r.waits) {
		r.failf("%d steps wait, and these have subscribed: %v", n, r.waits)
	}
}

func (r *run) tellChild(e sagas.TellChild) {
	parent := func(run uint32, path string) sagas.ChildDone {
		return sagas.ChildDone{Run: run, Path: path, Child: e.WorkflowID, Phase: sagas.Compensated, Code: "UNDONE"}
	}
	switch ev := e.Event.(type) {
	case sagas.Cancel:
		if i := slices.IndexFunc(r.children, func(c sagas.StartChild) bool { return c.Start.WorkflowID == e.WorkflowID }); i >= 0 {
			p := r.children[i].Start.Parent
			r.children = slices.Delete(r.children, i, i+1)
			r.due = append(r.due, parent(p.Run, p.Path))
		}
	case sagas.Reverse:
		r.due = append(r.due, parent(ev.Run, ev.Path))
	}
}

// act lets somebody outside do something. It says whether there was anything to do.
func (r *run) act(eager bool) bool {
	inst := r.w.Instance()
	if inst == nil || !inst.Phase.Active() {
		return false
	}
	if len(r.due) > 0 && (eager || r.draw("tell", 2) == 0) {
		ev := r.due[0]
		r.due = r.due[1:]
		r.w.Feed(ev)
		return true
	}
	if len(r.children) > 0 && (eager || r.draw("child ends", 2) == 0) {
		c := r.children[0]
		r.children = r.children[1:]
		done := sagas.ChildDone{Run: c.Start.Parent.Run, Path: c.Start.Parent.Path, Child: c.Start.WorkflowID, Phase: sagas.Completed, Output: []byte(`{"v":1}`)}
		if r.draw("child fails", 3) == 2 {
			done.Phase, done.Code, done.Output = sagas.Compensated, "CHILD", nil
		}
		r.w.Feed(done)
		return true
	}
	for _, s := range inst.Steps {
		if s.State != sagas.StepOpen {
			continue
		}
		if name := sagas.AwaitedSignal(&r.w.Plan.Steps[s.Node], &s); r.signals <= 20 && strings.HasPrefix(name, "event/") && r.draw("event comes", 2) == 0 {
			r.signals++
			r.w.Feed(sagas.Signal{WorkflowID: inst.WorkflowID, Name: name, ID: fmt.Sprint("s", r.signals), Payload: []byte(`{"v":2}`)})
			return true
		}
		switch node := r.w.Plan.Steps[s.Node].Node; node {
		case sagas.NodeApprove:
			r.signals++
			decision := []string{"approve", "approve", "refuse"}[r.draw("decision", 3)]
			r.w.Feed(sagas.Signal{WorkflowID: inst.WorkflowID, Name: "decision/" + s.Path, ID: fmt.Sprint("s", r.signals), Actor: fmt.Sprint("a", r.signals), Payload: []byte(`{"decision":"` + decision + `"}`)})
			return true
		case sagas.NodeAwait, sagas.NodeSleep, sagas.NodeRepeat:
			if r.signals > 20 {
				break
			}
			r.signals++
			r.w.Feed(sagas.Signal{WorkflowID: inst.WorkflowID, Name: []string{"go", "stop"}[r.draw("signal", 2)], ID: fmt.Sprint("s", r.signals), Payload: []byte(`{"v":2}`)})
			return true
		}
	}
	return false
}

// TestDrawnDefinitionsRun lets drawn definitions of every node live. No expression fails (P24), no
// event loops, every instance reads back from its bytes (P21), everything ends (P12), and what was
// compensated is reversed with the participants (P6).
func TestDrawnDefinitionsRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &run{t: t, started: map[string]bool{}, waits: map[string]string{}, src: drawn(t, sagasgen.Options{})}
		def, err := sagas.ParseDefinition("drawn", []byte(r.src))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		r.w = sagatest.New(plan)
		r.w.Auto = func(sagas.Command) bool { return true }
		r.w.Observe = r.observe
		patience := 30
		r.w.Participants.Behaviour = func(c sagas.Command) sagatest.Answer {
			if patience--; patience < 0 || c.Op != sagas.OpDo {
				return sagatest.OK()
			}
			switch r.draw("answer", 8) {
			case 4:
				return sagatest.Reject("SOME")
			case 5:
				return sagatest.Retriable("BUSY")
			case 6:
				return sagatest.Silent()
			case 7:
				return sagatest.Fatal("BROKEN", r.draw("executed", 2) == 1)
			}
			return sagatest.OK()
		}
		input := []string{`{}`, `{"n":1}`, `{"n":1,"flag":true}`, `{"flag":false,"list":[{"k":"x"}]}`, `{"list":[]}`}[r.draw("input", 5)]
		r.w.Start("x", []byte(input))
		for range 40 {
			if r.draw("who", 3) == 0 {
				r.act(false)
			} else if !r.w.Step() {
				break
			}
			if r.draw("cancel", 60) == 59 {
				r.w.Feed(sagas.Cancel{WorkflowID: r.w.Plan.Type + "/x", RequestID: "c"})
			}
		}
		for range 3000 {
			inst := r.w.Instance()
			if inst == nil || sagatest.Terminal(inst) || len(inst.Attention) > 0 {
				break
			}
			if !r.act(true) && !r.w.Step() {
				break
			}
		}
		if err := r.w.Err(); err != nil {
			r.failf("%v", err)
		}
		r.end()
	})
}

// end looks at the end.
func (r *run) end() {
	inst := r.w.Instance()
	if inst == nil {
		return // the retention has passed
	}
	if inst.Phase.Active() && len(inst.Attention) == 0 {
		r.failf("everybody answered and it is still %s", inst.Phase)
	}
	if inst.Phase != sagas.Compensated {
		return
	}
	// What is on its way may still undo what was late.
	r.w.Advance(time.Hour)
	if inst = r.w.Instance(); inst == nil || inst.Phase != sagas.Compensated || len(inst.Attention) > 0 {
		return
	}
	for _, e := range r.w.Participants.Ledger() {
		id := e.Path[strings.LastIndexByte(e.Path, '/')+1:]
		node := r.w.Plan.StepIndex(id)
		if node < 0 || e.Run != inst.Run {
			continue
		}
		if s := &r.w.Plan.Steps[node]; s.Undo != nil && e.Executed != e.Reversed {
			r.failf("%s round %d was executed %d times and reversed %d times", e.Path, e.Round, e.Executed, e.Reversed)
		}
	}
}
