package sagas

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// world drives one instance through Step and holds every transition to what is true of all of them:
// purity, the state codec, the counters.
type world struct {
	t       testing.TB
	p       *Plan
	inst    *Instance
	now     Time
	effects []Effect // of the last event
	seq     uint64
	gate    Gate
}

const epoch = Time(1_700_000_000_000)

func newWorld(t testing.TB, p *Plan) *world {
	return &world{t: t, p: p, now: epoch}
}

// send feeds one event and returns its effects as text, one a line.
func (w *world) send(ev Event) string {
	w.t.Helper()
	var before []byte
	if w.inst != nil {
		before = w.inst.Append(nil)
	}
	next, effects := StepGated(w.p, w.inst, ev, w.now, w.gate)
	again, effects2 := StepGated(w.p, w.inst, ev, w.now, w.gate)
	if !reflect.DeepEqual(next, again) || !reflect.DeepEqual(effects, effects2) {
		w.t.Fatalf("%T: two calls with the same arguments differ", ev)
	}
	if w.inst != nil {
		if !bytes.Equal(before, w.inst.Append(nil)) {
			w.t.Fatalf("%T: Step changed the instance that it was given", ev)
		}
	}
	if next != nil {
		enc := next.Append(nil)
		dec, err := DecodeInstance(enc)
		if err != nil {
			w.t.Fatalf("%T: decode: %v", ev, err)
		}
		if !reflect.DeepEqual(dec, next) {
			w.t.Fatalf("%T: decode(encode(s)) differs:\n%+v\n%+v", ev, dec, next)
		}
		if next != w.inst && w.inst != nil && next.Rev != w.inst.Rev+1 {
			w.t.Fatalf("%T: rev %d after %d", ev, next.Rev, w.inst.Rev)
		}
		if bound := next.weight(); len(enc) > bound {
			w.t.Fatalf("%T: the record takes %d bytes, weight says at most %d", ev, len(enc), bound)
		}
		next = dec // state always goes through bytes, as it does in production
	}
	for _, e := range effects {
		if l, ok := e.(Lifecycle); ok && l.Seq != 0 {
			if l.Seq != w.seq+1 {
				w.t.Fatalf("%T: lifecycle seq %d after %d", ev, l.Seq, w.seq)
			}
			w.seq = l.Seq
		}
		if _, ok := e.(Ignored); ok && next != nil && !bytes.Equal(before, next.Append(nil)) {
			w.t.Fatalf("%T: ignored, yet the instance changed", ev)
		}
	}
	if next == nil {
		w.seq = 0
	}
	w.inst, w.effects = next, effects
	return describeEffects(effects)
}

// has fails unless the last event had an effect whose text contains each of the given parts.
func (w *world) has(wants ...string) {
	w.t.Helper()
	got := describeEffects(w.effects)
	for _, want := range wants {
		if !strings.Contains(got, want) {
			w.t.Fatalf("no %q in the effects:\n%s%s", want, got, w.state())
		}
	}
}

func (w *world) hasNot(wants ...string) {
	w.t.Helper()
	got := describeEffects(w.effects)
	for _, want := range wants {
		if strings.Contains(got, want) {
			w.t.Fatalf("unexpected %q in the effects:\n%s", want, got)
		}
	}
}

func (w *world) phase(want Phase) {
	w.t.Helper()
	if w.inst == nil || w.inst.Phase != want {
		w.t.Fatalf("phase: want %s%s", want, w.state())
	}
}

// steps compares the steps with "a DONE, b REFUSED/UNDO_NOOP".
func (w *world) steps(want string) {
	w.t.Helper()
	if got := stepsText(w.inst); got != want {
		w.t.Fatalf("steps:\n got %s\nwant %s\n%s", got, want, describeEffects(w.effects))
	}
}

func (w *world) attention(want string) {
	w.t.Helper()
	var got []string
	for _, a := range w.inst.Attention {
		got = append(got, a.String())
	}
	if s := strings.Join(got, ", "); s != want {
		w.t.Fatalf("attention: got %q, want %q", s, want)
	}
}

func (w *world) state() string {
	if w.inst == nil {
		return "\n(no instance)"
	}
	return fmt.Sprintf("\nphase %s: %s; attention %v", w.inst.Phase, stepsText(w.inst), w.inst.Attention)
}

// after moves the clock and lets the timers fire.
func (w *world) after(d time.Duration) string {
	w.t.Helper()
	w.now += Time(d.Milliseconds())
	return w.send(Timers{})
}

func (w *world) start() string { w.t.Helper(); return w.send(startEvent()) }

func startEvent() Start {
	return Start{WorkflowID: "pay/1", Type: "pay", Version: 1, Input: []byte(`{"n":1}`), IssuedAt: epoch, ReplyTo: "results"}
}

// reply answers the latest command of an operation: "a", "undo a", "inquire a".
func (w *world) reply(what string, outcome Outcome, with ...func(*Reply)) string {
	w.t.Helper()
	op, path := OpDo, what
	if o, p, ok := strings.Cut(what, " "); ok {
		path = p
		op = OpUndo
		if o == "inquire" {
			op = OpInquire
		}
	}
	i := w.inst.StepIndex(path)
	if i < 0 {
		w.t.Fatalf("no step %q", path)
	}
	s := &w.inst.Steps[i]
	r := Reply{Address: Address{Run: w.inst.Run, Path: path, Op: op}, Outcome: outcome}
	switch op {
	case OpDo:
		r.Round, r.Attempt = s.Round, s.Attempts
	case OpUndo:
		r.Round, r.Attempt = s.UndoRound, s.UndoAttempts
	case OpInquire:
		r.Round, r.Attempt = s.Round, s.Asked
	}
	for _, f := range with {
		f(&r)
	}
	return w.send(r)
}

func noop(r *Reply) { r.Noop = true }
func attempt(n uint32) func(*Reply) {
	return func(r *Reply) { r.Round, r.Attempt = 1, n }
}
func output(s string) func(*Reply)    { return func(r *Reply) { r.Output = []byte(s) } }
func handle(s string) func(*Reply)    { return func(r *Reply) { r.Handle = []byte(s) } }
func effect(c Certainty) func(*Reply) { return func(r *Reply) { r.Effect = c } }
func code(c string) func(*Reply)      { return func(r *Reply) { r.Code = c } }
func retryIn(d time.Duration) func(*Reply) {
	return func(r *Reply) { r.RetryAfter = d.Milliseconds() }
}

func stepsText(inst *Instance) string {
	var out []string
	for i := range inst.Steps {
		s := &inst.Steps[i]
		text := s.Path + " " + s.State.String()
		if s.Undo != UndoNone {
			text += "/" + s.Undo.String()
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func describeEffects(effects []Effect) string {
	var b strings.Builder
	for _, e := range effects {
		switch e := e.(type) {
		case Command:
			fmt.Fprintf(&b, "command %s %s round %d attempt %d %s\n", e.Op, e.Path, e.Round, e.Attempt, e.Payload)
		case Lifecycle:
			fmt.Fprintf(&b, "fact %s", e.Kind)
			if e.Path != "" {
				fmt.Fprintf(&b, " %s", e.Path)
			}
			for _, kv := range e.Detail {
				fmt.Fprintf(&b, " %s=%s", kv.Key, kv.Value)
			}
			b.WriteByte('\n')
		case DeadLetter:
			fmt.Fprintf(&b, "deadletter %s\n", e.Class)
		case Result:
			fmt.Fprintf(&b, "result %s %s %s\n", e.Topic, e.Phase, e.Output)
		case Waits:
			fmt.Fprintf(&b, "waits %s %s\n", e.Topic, e.Path)
		case Ignored:
			fmt.Fprintf(&b, "ignored %s\n", e.Reason)
		}
	}
	return b.String()
}

// planOf builds a sequence of steps. Each word is a path with marks: "!" pivot, "+" retriable, "?"
// optional, "=" read-only, none compensatable with an undo.
func planOf(words ...string) *Plan {
	p := &Plan{Namespace: "test", Type: "pay", Version: 1, Pivot: -1, Deadline: time.Hour}
	for i, w := range words {
		s := PlanStep{
			Kind: Compensatable, Parent: -1, End: i + 1, Path: strings.TrimRight(w, "!+?="), Participant: "svc", Command: "run",
			Attempt: 10 * time.Second, Within: 2 * time.Minute,
			Retry: Retry{Attempts: 3, Backoff: time.Second, BackoffMax: 8 * time.Second, Factor: 2},
		}
		switch w[len(w)-1] {
		case '!':
			s.Kind, p.Pivot = Pivot, i
		case '+':
			s.Kind, s.Within = Retriable, 0
		case '?':
			s.Kind = Optional
		case '=':
			s.Kind = ReadOnly
		default:
			s.Undo = &Undo{Participant: "svc", Command: "revert", Attempt: 10 * time.Second,
				Retry: Retry{Backoff: time.Second, BackoffMax: time.Minute, Factor: 2}, AlertAfter: time.Hour}
		}
		if i > 0 {
			s.Deps = []int{i - 1}
			p.Steps[i-1].Dependents = []int{i}
		}
		p.Steps = append(p.Steps, s)
	}
	return p
}

// offer lets a step be inquired.
func offer(p *Plan, path string, rule OnUnknown) {
	s := &p.Steps[p.StepIndex(path)]
	s.OnUnknown = rule
	s.Inquire = &Inquire{Command: "status", Every: 5 * time.Second, For: time.Minute, Attempt: 5 * time.Second}
}

// spend lets the attempts of a step time out until its budget is spent.
func (w *world) spend(path string) {
	w.t.Helper()
	for range 50 {
		s := w.inst.Steps[w.inst.StepIndex(path)]
		if s.State != StepPending && s.State != StepBackoff {
			return
		}
		w.now = max(w.now, w.inst.NextDue())
		w.send(Timers{})
	}
	w.t.Fatalf("%s does not end%s", path, w.state())
}
