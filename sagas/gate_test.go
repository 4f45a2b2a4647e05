package sagas

import (
	"slices"
	"testing"
	"time"
)

// shut makes a gate that keeps these topics closed.
func shut(topics ...string) Gate {
	return func(topic string, _ Sending) bool { return !slices.Contains(topics, topic) }
}

// apart gives the steps of a plan participants of their own: topic cmd.<path>.
func apart(p *Plan) *Plan {
	for i := range p.Steps {
		p.Steps[i].Participant = p.Steps[i].Path
		if u := p.Steps[i].Undo; u != nil {
			u.Participant = p.Steps[i].Path
		}
	}
	return p
}

func TestFirstCommandWaitsWithoutAClock(t *testing.T) {
	w := newWorld(t, apart(planOf("a", "b", "p!")))
	w.gate = shut("cmd.b")
	w.start()
	w.reply("a", OutcomeOK)
	w.has("waits cmd.b b")
	w.hasNot("command do b", "step-sent b")
	w.steps("a DONE, b READY, p IDLE")
	if due := w.inst.NextDue(); due != w.inst.Deadline {
		t.Fatalf("something runs beside the deadline of the saga: %d, deadline %d", due, w.inst.Deadline)
	}
	w.after(50 * time.Minute) // far beyond attempt and within
	w.steps("a DONE, b READY, p IDLE")
	w.gate = nil
	w.send(Released{Topic: "cmd.b"})
	w.has("command do b round 1 attempt 1", "fact step-sent b attempt=1")
	if s := w.inst.Steps[1]; s.FirstSent != w.now || s.Timer.Due != w.now+10_000 {
		t.Fatalf("the clock does not begin with the sending: %+v", s)
	}
	w.send(Released{Topic: "cmd.b"})
	w.has("ignored stale")
}

func TestWaitingStepIsAbandonedWithoutUndo(t *testing.T) {
	for _, end := range []struct {
		name string
		ev   Event
		wait time.Duration
	}{{"cancel", Cancel{WorkflowID: "pay/1", RequestID: "c"}, 0}, {"deadline", Timers{}, time.Hour}} {
		w := newWorld(t, apart(planOf("a", "b", "p!")))
		w.gate = shut("cmd.b")
		w.start()
		w.reply("a", OutcomeOK)
		w.now += Time(end.wait.Milliseconds())
		w.send(end.ev)
		w.steps("a DONE/U_PENDING, b ABANDONED, p ABANDONED")
		w.reply("undo a", OutcomeOK)
		w.phase(Compensated)
	}
}

func TestAnotherAttemptWaits(t *testing.T) {
	p := apart(planOf("a", "p!"))
	p.Steps[0].Within = 5 * time.Minute
	w := newWorld(t, p)
	w.start()
	w.gate = shut("cmd.a")
	w.after(10 * time.Second) // no answer: pause
	w.after(20 * time.Second) // the pause is over
	w.has("waits cmd.a a")
	w.steps("a BACKOFF, p IDLE")
	if due := w.inst.NextDue(); due != w.inst.Deadline {
		t.Fatalf("a held attempt has a clock: %d", due)
	}
	w.gate = nil
	w.send(Released{Topic: "cmd.a"})
	w.has("command do a round 1 attempt 2")

	// Its budget goes on while it waits: the first attempt may have taken effect.
	w = newWorld(t, p)
	w.start()
	w.gate = shut("cmd.a")
	w.after(10 * time.Second)
	w.after(20 * time.Second)
	w.gate = nil
	w.now += Time((5 * time.Minute).Milliseconds())
	w.send(Released{Topic: "cmd.a"})
	w.has("step-unknown a")
}

func TestUndoWaits(t *testing.T) {
	w := newWorld(t, apart(planOf("a", "b", "p!")))
	w.start()
	w.reply("a", OutcomeOK)
	w.gate = shut("cmd.a")
	w.reply("b", OutcomeRejected)
	w.has("waits cmd.a a")
	w.steps("a DONE/OWED, b REFUSED, p ABANDONED")
	w.phase(Compensating)
	w.gate = nil
	w.send(Released{Topic: "cmd.a"})
	w.has("command undo a round 1 attempt 1")
	w.gate = shut("cmd.a")
	w.after(10 * time.Second)
	w.after(time.Minute)
	w.steps("a DONE/U_BACKOFF, b REFUSED, p ABANDONED")
	w.gate = nil
	w.send(Released{Topic: "cmd.a"})
	w.has("command undo a round 1 attempt 2")
	w.reply("undo a", OutcomeOK)
	w.phase(Compensated)
}

func TestQuestionWaits(t *testing.T) {
	p := apart(planOf("p!"))
	offer(p, "p", UnknownInquire)
	w := newWorld(t, p)
	w.start()
	w.gate = func(_ string, what Sending) bool { return what == SendFirst }
	for range 20 {
		if w.inst.Steps[0].State == StepInquiring {
			break
		}
		if due := w.inst.NextDue(); due < w.inst.Deadline {
			w.now = max(w.now, due)
			w.send(Timers{})
			continue
		}
		w.now += 60_000
		w.gate = nil
		w.send(Released{Topic: "cmd.p"})
		w.gate = func(string, Sending) bool { return false }
	}
	if w.inst.Steps[0].State != StepInquiring {
		t.Fatalf("never asked: %s", w.state())
	}
	asked := w.inst.Steps[0].Asked
	w.gate = shut("cmd.p")
	for range 3 {
		w.now = max(w.now+1000, min(w.inst.NextDue(), w.inst.Deadline-1))
		w.send(Timers{})
	}
	if s := w.inst.Steps[0]; s.Timer != (Timer{}) {
		t.Fatalf("a held question has a clock: %+v", s.Timer)
	}
	w.gate = nil
	w.send(Released{Topic: "cmd.p"})
	if s := w.inst.Steps[0]; s.Asked <= asked {
		t.Fatalf("asked %d times, before %d\n%s", s.Asked, asked, describeEffects(w.effects))
	}
}

func TestResultWaits(t *testing.T) {
	w := newWorld(t, apart(planOf("a", "p!")))
	w.gate = shut("results")
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("p", OutcomeOK)
	w.phase(Completed)
	w.has("waits results")
	w.hasNot("result results")
	if list := w.inst.Waiting(w.p); len(list) != 1 || list[0].Topic != "results" {
		t.Fatalf("waits for %v", list)
	}
	w.gate = nil
	w.send(Released{Topic: "results"})
	w.has("result results completed")
	w.send(Released{Topic: "results"})
	w.has("ignored stale")
}

func TestWaitingNamesTheTopic(t *testing.T) {
	w := newWorld(t, apart(planOf("a", "b", "p!")))
	w.gate = shut("cmd.a")
	w.start()
	if list := w.inst.Waiting(w.p); len(list) != 1 || list[0] != (Waits{Topic: "cmd.a", Path: "a"}) {
		t.Fatalf("waits for %v", list)
	}
	w.gate = nil
	w.send(Released{Topic: "cmd.a"})
	if list := w.inst.Waiting(w.p); len(list) != 0 {
		t.Fatalf("waits for %v", list)
	}
}
