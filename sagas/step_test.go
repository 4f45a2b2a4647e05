package sagas

import (
	"testing"
	"time"
)

func TestHappyPath(t *testing.T) {
	p := planOf("a", "p!", "r+")
	p.Steps[0].Keep = []string{"id"}
	w := newWorld(t, p)
	w.start()
	w.has("fact started", "command do a round 1 attempt 1 {}", "fact step-sent a")
	w.hasNot("command do p")
	w.reply("a", OutcomeOK, output(`{"id":"x","more":1}`))
	w.has("fact step-done a", "command do p")
	if got := string(w.inst.Steps[0].Output); got != `{"id":"x"}` {
		t.Fatalf("kept %s", got)
	}
	w.reply("p", OutcomeOK)
	w.has("fact committed p", "command do r")
	w.phase(Finishing)
	w.reply("r", OutcomeOK)
	w.has("fact completed", "result results completed {}")
	w.phase(Completed)
	if w.inst.NextDue() != w.inst.Expires {
		t.Fatal("a completed instance waits for nothing but its retention")
	}
	w.reply("r", OutcomeOK)
	w.has("ignored duplicate")
}

func TestRow2Parked(t *testing.T) {
	p := planOf("a")
	w := newWorld(t, nil)
	w.start()
	w.phase(Parked)
	w.has("fact parked")
	w.start()
	w.has("fact duplicate status=parked")
	w.send(DefLoaded{})
	w.has("ignored unknown-definition")
	w.p = planOf("a")
	w.p.Version = 2
	w.send(DefLoaded{})
	w.has("ignored unknown-definition")
	w.p = p
	w.send(DefLoaded{})
	w.phase(Running)
	w.has("fact started", "command do a")
	w.send(DefLoaded{})
	w.has("ignored stale")
}

func TestRow2Expires(t *testing.T) {
	w := newWorld(t, nil)
	w.start()
	w.after(parkedMax - time.Second)
	w.has("ignored stale")
	w.after(time.Second)
	w.has("fact rejected code=UNKNOWN_DEFINITION", "deadletter UNKNOWN_DEFINITION")
	if w.inst != nil {
		t.Fatal("the record should be gone")
	}
	letter := w.effects[len(w.effects)-1].(DeadLetter)
	if letter.Parked == nil || string(letter.Parked.Input) != `{"n":1}` {
		t.Fatalf("the letter lost the start: %+v", letter.Parked)
	}
}

func TestRow3(t *testing.T) {
	old := startEvent()
	old.IssuedAt = epoch - Time((31 * 24 * time.Hour).Milliseconds())
	list := startEvent()
	list.Input = []byte(`[]`)
	large := startEvent()
	large.Input = append([]byte(`{"x":"`), make([]byte, MaxInputBytes)...)
	anonymous := startEvent()
	anonymous.WorkflowID = ""
	for name, c := range map[string]struct {
		ev   Start
		want string
	}{
		"stale": {old, "STALE_START"}, "list": {list, "INVALID_INPUT"}, "large": {large, "INVALID_INPUT"}, "anonymous": {anonymous, "INVALID_INPUT"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, planOf("a"))
			w.send(c.ev)
			w.has("fact rejected code="+c.want, "deadletter "+c.want)
			if w.inst != nil {
				t.Fatal("stored")
			}
		})
	}
}

func TestRow4Void(t *testing.T) {
	w := newWorld(t, planOf("a"))
	w.send(Cancel{WorkflowID: "pay/1", RequestID: "c1"})
	w.phase(Void)
	w.has("fact voided", "fact cancel-acked requestId=c1 status=void")
	w.send(Cancel{WorkflowID: "pay/1", RequestID: "c1"})
	w.has("ignored duplicate")
	w.start()
	w.has("fact rejected code=CANCELLED_BEFORE_START")
	w.hasNot("command")
	w.start()
	w.has("fact rejected code=CANCELLED_BEFORE_START")
	w.after(voidDefault)
	w.has("fact expired to=none")
	if w.inst != nil {
		t.Fatal("the record should be gone")
	}
}

func TestCancelParked(t *testing.T) {
	w := newWorld(t, nil)
	w.start()
	w.send(Cancel{WorkflowID: "pay/1", RequestID: "c1"})
	w.phase(Void)
	w.has("fact rejected code=CANCELLED_BEFORE_START", "fact cancel-acked")
}

func TestRows6And7(t *testing.T) {
	other := startEvent()
	other.Input = []byte(`{"n":2}`)
	named := startEvent()
	named.StartID = "s1"
	renamed := other
	renamed.StartID = "s1"
	w := newWorld(t, planOf("a"))
	w.send(named)
	w.start()
	w.has("fact duplicate status=running")
	w.send(renamed)
	w.has("fact duplicate")
	w.send(other)
	w.has("fact conflict", "deadletter CONFLICT")
	w.hasNot("command")
	w.reply("a", OutcomeOK)
	w.after(DefaultStateRetention)
	w.phase(Marker)
	w.has("fact expired to=marker")
	w.start()
	w.has("fact duplicate status=completed")
	w.send(other)
	w.has("fact conflict status=completed", "deadletter CONFLICT")
	if n := len(w.inst.Append(nil)); n > 160 {
		t.Fatalf("a marker takes %d bytes", n)
	}
	w.reply0("a", OutcomeOK)
	w.has("ignored unknown-instance", "deadletter ORPHAN_REPLY")
	w.after(DefaultMarkerRetention)
	if w.inst != nil {
		t.Fatal("the marker should be gone")
	}
	w.start()
	w.has("fact rejected code=STALE_START")
}

// A producer's clock that is ahead must not open a gap between the end of the marker and the age at
// which its start is refused.
func TestMarkerOutlivesItsStart(t *testing.T) {
	for _, ahead := range []Time{0, Time((48 * time.Hour).Milliseconds())} {
		w := newWorld(t, planOf("a"))
		start := startEvent()
		start.IssuedAt = epoch + ahead
		w.send(start)
		w.reply("a", OutcomeOK)
		for w.inst != nil {
			w.now = w.inst.NextDue()
			w.send(Timers{})
		}
		w.send(start)
		w.has("fact rejected code=STALE_START")
	}
}

// reply0 answers a step of an instance that has forgotten its steps.
func (w *world) reply0(path string, outcome Outcome) {
	w.t.Helper()
	w.send(Reply{Address: Address{Run: 1, Path: path, Op: OpDo, Round: 1, Attempt: 1}, Outcome: outcome})
}

func TestRow8Compensates(t *testing.T) {
	w := newWorld(t, planOf("a", "b", "c", "p!"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeOK)
	w.reply("c", OutcomeRejected, code("NO_STOCK"))
	w.phase(Compensating)
	w.has("fact compensating c", "command undo b round 1 attempt 1")
	w.hasNot("command undo a", "command undo c")
	w.steps("a DONE/OWED, b DONE/U_PENDING, c REFUSED, p ABANDONED")
	w.reply("undo b", OutcomeOK)
	w.has("fact step-undone b", "command undo a")
	w.reply("undo a", OutcomeOK)
	w.has("fact compensated c", "result results compensated")
	w.phase(Compensated)
	if got := w.inst.Cause.String(); got != "c: NO_STOCK" {
		t.Fatalf("cause %q", got)
	}
}

func TestRow9CancelAndDeadline(t *testing.T) {
	w := newWorld(t, planOf("a", "b", "p!"))
	w.start()
	w.reply("a", OutcomeOK)
	w.send(Cancel{RequestID: "c1", Reason: "customer"})
	w.has("fact cancel-acked", "fact compensating")
	w.phase(Compensating)
	w.send(Cancel{RequestID: "c1"})
	w.has("ignored duplicate")
	w.send(Cancel{RequestID: "c2"}) // row 16
	w.has("fact cancel-acked open=2 requestId=c2 status=compensating")
	w.hasNot("command undo a") // b is in flight and depends on it
	w.reply("b", OutcomeOK)
	w.has("command undo b")

	w = newWorld(t, planOf("a", "p!"))
	w.p.Deadline = 5 * time.Second
	w.start()
	w.after(5 * time.Second)
	w.has("fact deadline-hit", "fact compensating")
	w.phase(Compensating)
	w.steps("a PENDING, p ABANDONED")

	// another timer is older than the deadline, but the clock is past both
	w = newWorld(t, planOf("a", "p!"))
	w.p.Deadline = 15 * time.Second
	w.start()
	w.after(10 * time.Second)
	w.steps("a BACKOFF, p IDLE")
	w.after(time.Minute)
	w.has("fact deadline-hit", "command undo a")
	w.hasNot("command do")

	// the reply is taken before the timer: no do goes out after the deadline all the same
	w = newWorld(t, planOf("a", "p!"))
	w.p.Deadline = 5 * time.Second
	w.start()
	w.now += 6_000
	w.reply("a", OutcomeOK)
	w.has("fact deadline-hit", "command undo a")
	w.steps("a DONE/U_PENDING, p ABANDONED")
}

func TestRows10To12(t *testing.T) {
	for name, c := range map[string]struct {
		outcome Outcome
		phase   Phase
		want    string
	}{
		"done":    {OutcomeOK, Finishing, "fact cancel-refused reason=COMMITTED requestId=c1"},
		"refused": {OutcomeRejected, Compensating, "fact cancel-acked requestId=c1 status=compensating"},
	} {
		t.Run(name, func(t *testing.T) {
			p := planOf("a", "p!", "r+")
			p.Steps[1].Attempt, p.Steps[1].Within = 2*time.Hour, 3*time.Hour
			w := newWorld(t, p)
			w.start()
			w.reply("a", OutcomeOK)
			w.send(Cancel{RequestID: "c1"})
			w.has("fact cancel-requested")
			w.hasNot("cancel-acked", "cancel-refused")
			w.phase(Running)
			w.after(time.Hour)
			w.has("fact deadline-hit")
			w.attention("DEADLINE")
			w.phase(Running)
			w.reply("p", c.outcome)
			w.has(c.want)
			w.phase(c.phase)
			w.attention("")
			if c.phase == Finishing {
				w.send(Cancel{RequestID: "c2"}) // row 13
				w.has("fact cancel-refused reason=COMMITTED requestId=c2")
			}
		})
	}
}

func TestPivotUnknownFreezes(t *testing.T) {
	w := newWorld(t, planOf("a", "p!", "r+"))
	w.start()
	w.reply("a", OutcomeOK)
	w.spend("p")
	w.steps("a DONE, p UNKNOWN, r IDLE")
	w.phase(Running)
	w.attention("UNKNOWN_OUTCOME p")
	w.after(24 * time.Hour)
	w.phase(Running)
	w.hasNot("command")
	w.reply("p", OutcomeOK, attempt(1))
	w.phase(Finishing)
	w.attention("")
}

func TestPivotInquires(t *testing.T) {
	p := planOf("a", "p!")
	offer(p, "p", UnknownInquire)
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	w.spend("p")
	w.steps("a DONE, p INQUIRING")
	w.has("command inquire p round 1 attempt 1")
	w.reply("inquire p", OutcomeRunning)
	w.after(5 * time.Second)
	w.has("command inquire p round 1 attempt 2")
	for range 30 {
		w.after(5 * time.Second)
	}
	w.phase(Running)
	w.attention("UNKNOWN_OUTCOME p")
	w.steps("a DONE, p INQUIRING") // it keeps asking
	w.reply("inquire p", OutcomeExecuted)
	w.phase(Completed)

	w = newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	w.spend("p")
	w.reply("inquire p", OutcomeNotExecuted)
	w.phase(Compensating)
	w.steps("a DONE/U_PENDING, p REFUSED")
}

func TestDrain(t *testing.T) {
	p := planOf("a", "b", "c", "d")
	for i := range p.Steps { // four steps side by side
		p.Steps[i].Deps, p.Steps[i].Dependents = nil, nil
		p.Steps[i].Attempt = time.Minute
	}
	w := newWorld(t, p)
	w.start()
	w.reply("b", OutcomeFailedRetriable)
	w.reply("a", OutcomeRejected)
	w.has("fact step-unknown b", "command undo b")
	w.steps("a REFUSED, b UNKNOWN/U_PENDING, c PENDING, d PENDING")
	w.reply("c", OutcomeOK)
	w.has("command undo c")
	w.after(29 * time.Second)
	w.hasNot("step-unknown")
	w.after(time.Second)
	w.has("fact step-unknown d", "command undo d")
	w.reply("undo d", OutcomeOK, noop)
	w.reply("undo c", OutcomeOK)
	w.reply("undo b", OutcomeOK)
	w.phase(Compensated)
	w.steps("a REFUSED, b UNKNOWN/UNDONE, c DONE/UNDONE, d UNKNOWN/UNDO_NOOP")
}

func TestOrderOverSkipped(t *testing.T) {
	p := planOf("a", "b", "c", "d")
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeOK)
	w.reply("c", OutcomeOK)
	// b owes nothing here: a still has to wait for c
	w.inst.Steps[1].State, w.inst.Steps[1].SeenDone, w.inst.Steps[1].Record = StepSkipped, false, UndoRecord{}
	w.reply("d", OutcomeRejected)
	w.steps("a DONE/OWED, b SKIPPED, c DONE/U_PENDING, d REFUSED")
	w.reply("undo c", OutcomeOK)
	w.has("command undo a")
}

func TestRefusedAfterRetryOwes(t *testing.T) {
	w := newWorld(t, planOf("a"))
	w.start()
	w.reply("a", OutcomeFailedRetriable)
	w.after(2 * time.Second)
	w.has("command do a round 1 attempt 2")
	w.reply("a", OutcomeRejected)
	w.has("command undo a")
	w.reply("undo a", OutcomeOK, noop)
	w.phase(Compensated)
}

func TestRetryBudget(t *testing.T) {
	w := newWorld(t, planOf("a"))
	w.start()
	key := w.effects[1].(Command)
	w.reply("a", OutcomeFailedRetriable, retryIn(30*time.Second))
	w.after(29 * time.Second)
	w.has("ignored stale")
	w.after(time.Second)
	second := w.effects[0].(Command)
	if second.Key != key.Key || second.Attempt != 2 || second.Trace == key.Trace || second.Trace[:36] != key.Trace[:36] {
		t.Fatalf("attempt 2: %+v after %+v", second, key)
	}
	w.reply("a", OutcomeFailedRetriable, attempt(1))
	w.has("ignored stale")
	w.reply("a", OutcomeFailedRetriable, retryIn(time.Hour)) // over within: spent
	w.has("fact step-unknown a")
	w.phase(Compensating)
}

func TestNonRetryable(t *testing.T) {
	p := planOf("a")
	p.Steps[0].Retry.NonRetryable = []string{"GONE"}
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeFailedRetriable, code("GONE"))
	w.has("fact step-unknown a", "command undo a")
}

func TestFatal(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeFailedFatal)
	w.steps("a DONE/OWED, b FAILED/U_PENDING")

	w = newWorld(t, planOf("a", "b"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeFailedFatal, effect(EffectNone))
	w.steps("a DONE/U_PENDING, b REFUSED")

	p := planOf("a")
	offer(p, "a", UnknownInquire)
	w = newWorld(t, p)
	w.start()
	w.reply("a", OutcomeFailedFatal)
	w.steps("a INQUIRING")
	w.reply("inquire a", OutcomeExecuted)
	w.phase(Completed)
}

func TestInquiryEndsUnknown(t *testing.T) {
	p := planOf("a")
	offer(p, "a", UnknownInquire)
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeFailedFatal)
	for w.inst.Steps[0].State == StepInquiring {
		w.after(5 * time.Second)
	}
	w.steps("a UNKNOWN/U_PENDING")
	w.reply("a", OutcomeOK) // late: the effect is known now
	w.steps("a DONE/U_PENDING")
	w.reply("undo a", OutcomeOK)
	w.phase(Compensated)
}

func TestKeyWindowForward(t *testing.T) {
	p := planOf("r+")
	p.Steps[0].KeyWindow = time.Minute
	w := newWorld(t, p)
	w.start()
	for range 60 {
		w.after(10 * time.Second)
	}
	w.steps("r UNKNOWN")
	w.attention("UNKNOWN_OUTCOME r")

	offer(p, "r", UnknownInquire)
	w = newWorld(t, p)
	w.start()
	for range 30 {
		w.after(10 * time.Second)
	}
	w.steps("r INQUIRING")
	w.reply("inquire r", OutcomeNotExecuted)
	w.steps("r REFUSED")
	w.attention("KEY_WINDOW r")
	w.phase(Running)

	// after a fatal answer another attempt is useless: no loop of do and inquire
	w = newWorld(t, p)
	w.start()
	w.reply("r", OutcomeFailedFatal)
	w.steps("r INQUIRING")
	w.reply("inquire r", OutcomeNotExecuted)
	w.steps("r REFUSED")
	w.attention("REFUSED r")
}

func TestRetriable(t *testing.T) {
	w := newWorld(t, planOf("p!", "r+"))
	w.start()
	w.reply("p", OutcomeOK)
	for range 20 {
		w.after(30 * time.Second)
	}
	w.attention("BUDGET_SPENT r")
	w.phase(Finishing)
	if w.inst.Steps[1].Attempts < 10 {
		t.Fatalf("only %d attempts", w.inst.Steps[1].Attempts)
	}
	w.reply("r", OutcomeRejected)
	w.has("fact contract-violation r")
	w.phase(Finishing)
	w.attention("REFUSED r")
	w.send(Admin{Action: AdminClose, Operator: "op", Reason: "by hand"})
	w.phase(Closed)
	w.has("residue=p", "result results closed")
}

func TestOptionalGoesOn(t *testing.T) {
	p := planOf("a", "o?", "b")
	p.Steps[1].Undo = p.Steps[0].Undo
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	w.spend("o")
	w.steps("a DONE, o UNKNOWN, b PENDING")
	w.reply("b", OutcomeRejected)
	w.steps("a DONE/OWED, o UNKNOWN/U_PENDING, b REFUSED")
}

func TestReadOnlyOwesNothing(t *testing.T) {
	w := newWorld(t, planOf("q=", "a"))
	w.start()
	w.reply("q", OutcomeOK)
	w.reply("a", OutcomeRejected)
	w.phase(Compensated)
}

func TestProgress(t *testing.T) {
	w := newWorld(t, planOf("a"))
	w.start()
	w.after(9 * time.Second)
	w.reply("a", OutcomeProgress, handle(`{"ref":"h1"}`))
	w.after(9 * time.Second)
	w.has("ignored stale")
	w.after(time.Second)
	w.steps("a BACKOFF")
	if got := string(w.inst.Steps[0].Output); got != `{"ref":"h1"}` {
		t.Fatalf("handle %s", got)
	}
	// a heartbeat never goes past within
	w = newWorld(t, planOf("a"))
	w.start()
	for range 40 {
		w.now += 5_000
		if w.inst.Steps[0].State != StepPending {
			break
		}
		w.reply("a", OutcomeProgress)
		w.send(Timers{})
	}
	if w.inst.Steps[0].State != StepUnknown || w.now > epoch+125_000 {
		t.Fatalf("at %d s%s", (w.now-epoch)/1000, w.state())
	}
}

func TestOlderAttempts(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.spend0("a")
	w.steps("a BACKOFF, b IDLE")
	w.reply("a", OutcomeOK, attempt(1))
	w.steps("a DONE, b PENDING")
}

// spend0 lets the attempt in flight time out.
func (w *world) spend0(path string) {
	w.t.Helper()
	w.now = w.inst.Steps[w.inst.StepIndex(path)].Timer.Due
	w.send(Timers{})
}

func TestUndoNeverGivesUp(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeRejected)
	for range 300 {
		w.after(30 * time.Second)
	}
	w.attention("UNDO_SLOW a")
	w.phase(Compensating)
	s := w.inst.Steps[0]
	if s.UndoAttempts < 100 || (s.Undo != UndoPending && s.Undo != UndoBackoff) {
		t.Fatalf("attempts %d%s", s.UndoAttempts, w.state())
	}
	w.reply("undo a", OutcomeOK)
	w.attention("")
	w.phase(Compensated)
}

func TestUndoFatalStops(t *testing.T) {
	w := newWorld(t, planOf("a", "b", "c"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeOK)
	w.reply("c", OutcomeRejected)
	w.reply("undo b", OutcomeFailedFatal)
	w.attention("UNDO_FAILED b")
	w.steps("a DONE/OWED, b DONE/U_STOPPED, c REFUSED")
	w.after(time.Hour)
	w.hasNot("command")
	w.reply("undo b", OutcomeOK) // after all
	w.has("command undo a")
	w.attention("")
}

func TestUndoKeyWindow(t *testing.T) {
	p := planOf("a", "b")
	p.Steps[0].KeyWindow = time.Minute
	w := newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeRejected)
	for range 30 {
		w.after(10 * time.Second)
	}
	w.steps("a DONE/U_STOPPED, b REFUSED")
	w.attention("KEY_WINDOW a")

	offer(p, "a", UnknownInquire)
	w = newWorld(t, p)
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeRejected)
	for w.inst.Steps[0].Undo != UndoInquiring {
		w.now = w.inst.NextDue()
		w.send(Timers{})
	}
	w.has("command inquire a round 1 attempt 1 {}")
	w.reply("inquire a", OutcomeExecuted)
	w.has("command undo a")
	for w.inst.Steps[0].Undo != UndoInquiring {
		w.now = w.inst.NextDue()
		w.send(Timers{})
	}
	w.reply("inquire a", OutcomeNotExecuted)
	w.phase(Compensated)
}

// An answer about the standing of an effect that comes twice changes nothing the second time.
func TestStandingTwice(t *testing.T) {
	for outcome, want := range map[Outcome]string{OutcomeExecuted: "a DONE/U_PENDING", OutcomeNotExecuted: "a UNKNOWN/UNDO_NOOP"} {
		p := planOf("a")
		p.Steps[0].KeyWindow = time.Minute
		offer(p, "a", UnknownCompensate)
		w := newWorld(t, p)
		w.start()
		w.spend("a")
		for w.inst.Steps[0].Undo != UndoInquiring {
			w.now = w.inst.NextDue()
			w.send(Timers{})
		}
		w.reply("inquire a", outcome)
		w.steps(want)
		w.reply("inquire a", outcome)
		w.has("ignored")
		w.steps(want)
	}
}

func TestNoopThenDone(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeRejected)
	w.reply("undo a", OutcomeOK, noop)
	w.has("command undo a round 2 attempt 1")
	w.reply("undo a", OutcomeOK, noop)
	w.attention("UNDO_NOOP a")
	w.phase(Compensating)
	w.reply("undo a", OutcomeOK, noop)
	w.has("ignored duplicate")
}

func TestLateOKAfterNoop(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.p.Steps[1].Deps, w.p.Steps[0].Dependents = nil, nil
	w.start()
	w.reply("a", OutcomeFailedFatal)
	w.reply("undo a", OutcomeOK, noop)
	w.steps("a FAILED/UNDO_NOOP, b PENDING")
	w.reply("a", OutcomeOK, attempt(1))
	w.has("command undo a round 2 attempt 1")
	w.steps("a DONE/U_PENDING, b PENDING")
}

func TestRow17Close(t *testing.T) {
	w := newWorld(t, planOf("a", "b", "q=", "c"))
	w.start()
	w.reply("a", OutcomeOK)
	rev := w.inst.Rev
	w.send(Admin{Action: AdminClose, Operator: "op", ExpectRev: rev - 1})
	w.has("ignored revision")
	w.send(Admin{Action: AdminClose, Operator: "op", ExpectRev: rev})
	w.phase(Closed)
	w.has("fact closed operator=op", "residue=a,b")
	w.steps("a DONE/WAIVED, b UNKNOWN/WAIVED, q ABANDONED, c ABANDONED")
	w.send(Admin{Action: AdminClose, Operator: "op"})
	w.has("ignored duplicate")
	w.reply("a", OutcomeOK)
	w.has("ignored duplicate")
	w.reply("b", OutcomeOK) // row 19
	w.has("fact late-effect b", "fact reopened b", "command undo b")
	w.phase(Compensating)
	w.reply("undo b", OutcomeOK)
	w.phase(Closed) // a is still residue
	w.steps("a DONE/WAIVED, b DONE/UNDONE, q ABANDONED, c ABANDONED")
}

func TestRow17WithoutPlan(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.p = nil
	w.send(Admin{Action: AdminClose, Operator: "op"})
	w.phase(Closed)
	w.has("residue=a")
}

func TestRow19Reopens(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.spend("a")
	w.reply("undo a", OutcomeOK, noop)
	w.phase(Compensated)
	w.reply("a", OutcomeOK, attempt(2))
	w.has("fact late-effect a", "fact reopened a", "command undo a round 2 attempt 1")
	w.phase(Compensating)
	w.reply("a", OutcomeOK, attempt(2))
	w.has("ignored duplicate")
	w.reply("undo a", OutcomeOK)
	w.phase(Compensated)
	w.hasNot("result") // it was answered
	w.reply("a", OutcomeOK, attempt(1))
	w.has("ignored duplicate")
}

func TestContradictions(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("a", OutcomeRejected)
	w.has("fact contract-violation a")
	w.attention("CONTRADICTION a")
	w.reply("a", OutcomeRejected)
	w.has("ignored duplicate")
	w.phase(Running)

	// a refused pivot that took effect after all: nothing before it may be undone any more
	w = newWorld(t, planOf("a", "b", "p!"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeOK)
	w.reply("p", OutcomeRejected)
	w.steps("a DONE/OWED, b DONE/U_PENDING, p REFUSED")
	w.reply("p", OutcomeOK)
	w.attention("CONTRADICTION p, NO_UNDO p")
	w.reply("undo b", OutcomeOK)
	w.hasNot("command undo a")
	w.phase(Compensating)
}

func TestPhantoms(t *testing.T) {
	w := newWorld(t, planOf("a", "b", "c"))
	w.start()
	w.reply("c", OutcomeRejected, attempt(1))
	w.has("ignored phantom")
	w.reply("c", OutcomeOK, attempt(1))
	w.has("fact phantom c")
	w.reply("c", OutcomeOK, attempt(1))
	w.has("ignored duplicate")
	w.reply("a", OutcomeRejected)
	w.steps("a REFUSED, b ABANDONED, c ABANDONED/U_PENDING")
	if c := lastCommand(w.effects); c.ForwardKey != IdempotencyKey("test", "pay/1", 1, "c", OpDo, 1) {
		t.Fatalf("forward key %s", c.ForwardKey)
	}
	w.reply("undo c", OutcomeOK)
	w.phase(Compensated)

	w = newWorld(t, planOf("a", "b"))
	w.start()
	w.reply("a", OutcomeOK)
	w.reply("undo a", OutcomeOK, attempt(1))
	w.attention("PHANTOM a")
}

func lastCommand(effects []Effect) (c Command) {
	for _, e := range effects {
		if x, ok := e.(Command); ok {
			c = x
		}
	}
	return c
}

func TestStrangers(t *testing.T) {
	w := newWorld(t, planOf("a"))
	w.reply0("a", OutcomeOK)
	w.has("ignored unknown-instance", "deadletter ORPHAN_REPLY")
	w.reply0("a", OutcomeRejected)
	w.hasNot("deadletter")
	w.start()
	w.reply0("zzz", OutcomeRejected)
	w.has("ignored unknown-path")
	w.reply("a", OutcomeOK, func(r *Reply) { r.Run = 9 })
	w.has("ignored wrong-run", "deadletter ORPHAN_REPLY")
	w.reply("a", OutcomeBadReply)
	w.has("deadletter BAD_REPLY")
	w.steps("a BACKOFF")
}

func TestUnknownDefinition(t *testing.T) {
	w := newWorld(t, planOf("a"))
	w.start()
	for name, p := range map[string]*Plan{"none": nil, "another digest": {Type: "pay", Version: 1, Digest: Digest{1}}} {
		t.Run(name, func(t *testing.T) {
			w.t, w.p = t, p
			w.reply("a", OutcomeOK)
			w.has("ignored unknown-definition", "deadletter UNKNOWN_DEFINITION")
			w.after(time.Hour)
			w.has("ignored unknown-definition")
			w.send(Cancel{RequestID: "c"})
			w.has("ignored unknown-definition")
			w.hasNot("deadletter")
			w.start()
			w.has("fact duplicate")
		})
	}
}

func TestClockNeverFalls(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	w.now = epoch - 1_000_000
	w.reply("a", OutcomeOK)
	if w.inst.LastNow != epoch || w.inst.Steps[1].FirstSent != epoch {
		t.Fatalf("time went back to %d", w.inst.LastNow)
	}
}

func TestAlertAfter(t *testing.T) {
	p := planOf("p!", "r+")
	p.Steps[1].AlertAfter = 2 * time.Hour
	p.Steps[1].Retry.Attempts = 0
	w := newWorld(t, p)
	w.start()
	w.reply("p", OutcomeOK)
	for range 125 {
		w.after(time.Minute)
	}
	w.attention("SLOW r")
	w.reply("r", OutcomeOK)
	w.has("fact attention-cleared r reason=SLOW")
	w.phase(Completed)
}

// A debt ends with certainty, not with the answer to the undo.
func TestNoEffectEndsTheDebt(t *testing.T) {
	w := newWorld(t, planOf("a"))
	w.start()
	w.reply("a", OutcomeFailedFatal)
	w.steps("a FAILED/U_PENDING")
	w.reply("a", OutcomeRejected, code("SUPPRESSED"))
	w.steps("a REFUSED/UNDO_NOOP")
	w.phase(Compensated)
	w.reply("undo a", OutcomeOK, noop)
	w.has("ignored duplicate")
}

// A retriable step has no undo. When the saga turns round before its outcome is known, somebody has to
// find out; it is not forgotten.
func TestUnknownWithoutUndo(t *testing.T) {
	w := newWorld(t, planOf("a", "r+"))
	w.start()
	w.reply("a", OutcomeOK)
	w.send(Cancel{RequestID: "c"})
	w.after(10 * time.Second)
	w.steps("a DONE/OWED, r UNKNOWN")
	w.attention("NO_UNDO r")
	w.phase(Compensating)
	w.reply("r", OutcomeRejected)
	w.attention("")
	w.reply("undo a", OutcomeOK)
	w.phase(Compensated)
}

func TestPayloadOfARound(t *testing.T) {
	w := newWorld(t, planOf("a", "b"))
	w.start()
	first := lastCommand(w.effects)
	w.spend0("a")
	w.spend0("a")
	if again := lastCommand(w.effects); string(again.Payload) != string(first.Payload) || again.Key != first.Key || again.Attempt != 2 {
		t.Fatalf("%+v", again)
	}
}
