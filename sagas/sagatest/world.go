package sagatest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/amendsio/amends/sagas"
)

// Epoch is the time at which every world begins: 2026-01-01T00:00:00Z.
const Epoch sagas.Time = 1_767_225_600_000

// World runs one workflow ID against virtual participants in virtual time. It is not safe for
// concurrent use.
//
// With Auto set, each command goes to Participants and each reply comes back, through Faults. With
// Auto unset, commands are only recorded and the test feeds the replies itself.
type World struct {
	Plan         *sagas.Plan // nil = the definition is unknown to this node
	Participants Participants
	Auto         func(sagas.Command) bool // nil = no command is carried to the participants
	Faults       Faults

	// Observe sees each event, and what came of it, right after it was fed.
	Observe func(Record)

	now  sagas.Time
	inst *sagas.Instance
	last map[opKey]sagas.Command // latest command of each path and operation
	sent []sagas.Command         // every command, in order of emission
	wire []parcel
	seq  int
	err  error
}

type opKey struct {
	path string
	op   sagas.Op
}

// Record is one event and what came of it.
type Record struct {
	Event   sagas.Event
	Now     sagas.Time
	Before  *sagas.Instance // nil = none
	After   *sagas.Instance // nil = none
	Effects []sagas.Effect
}

// Faults decides what happens to a delivery. Nil functions are a perfect wire.
type Faults struct {
	Command func(sagas.Command) Fate
	Reply   func(sagas.Reply) Fate
}

// Fate is what becomes of one delivery. The zero value delivers once, at once.
type Fate struct {
	Lost   bool
	Delay  time.Duration
	Copies int           // further deliveries
	Spread time.Duration // between two copies
}

// parcel is a thing on its way: exactly one of its three contents.
type parcel struct {
	due     sagas.Time
	seq     int
	command *sagas.Command
	reply   *sagas.Reply
	finish  *sagas.Command // the participant's work on it ends
}

// New makes a world for one workflow ID of plan, at Epoch, with Auto unset.
func New(plan *sagas.Plan) *World {
	if plan != nil && plan.Namespace == "" {
		named := *plan
		named.Namespace = "test"
		plan = &named
	}
	return &World{Plan: plan, now: Epoch, last: make(map[opKey]sagas.Command)}
}

// Now is the world's time.
func (w *World) Now() sagas.Time { return w.now }

// Instance is the present instance, nil = none.
func (w *World) Instance() *sagas.Instance { return w.inst }

// View is the present instance as operators see it; the zero View when there is none.
func (w *World) View() sagas.View {
	if w.inst == nil {
		return sagas.View{}
	}
	return w.inst.View(w.Plan)
}

// Sent lists every command the saga emitted so far.
func (w *World) Sent() []sagas.Command { return w.sent }

// Last returns the latest command of a path and operation.
func (w *World) Last(path string, op sagas.Op) (sagas.Command, bool) {
	c, ok := w.last[opKey{path, op}]
	return c, ok
}

// Feed gives the saga one event at the present time and carries out the effects.
func (w *World) Feed(ev sagas.Event) []sagas.Effect { return w.FeedAt(ev, w.now) }

// FeedAt is Feed with another clock, as after a fault of the clock or a change of owner.
func (w *World) FeedAt(ev sagas.Event, now sagas.Time) []sagas.Effect {
	before := w.inst
	after, effects := sagas.Step(w.Plan, before, ev, now)
	w.inst = after
	for _, e := range effects {
		if c, ok := e.(sagas.Command); ok {
			w.last[opKey{c.Path, c.Op}] = c
			w.sent = append(w.sent, c)
			if w.Auto != nil && w.Auto(c) {
				w.post(c)
			}
		}
	}
	if w.Observe != nil {
		w.Observe(Record{Event: ev, Now: now, Before: before, After: after, Effects: effects})
	}
	return effects
}

// Start feeds a start of the world's plan under id with this input (nil = {}).
func (w *World) Start(id string, input []byte) []sagas.Effect {
	if input == nil {
		input = []byte("{}")
	}
	ev := sagas.Start{Input: input, IssuedAt: w.now}
	if w.Plan != nil {
		ev.Type, ev.Version = w.Plan.Type, w.Plan.Version
	}
	ev.WorkflowID = ev.Type + "/" + id
	return w.Feed(ev)
}

// Crash drops the instance from memory and reads it back from its bytes.
func (w *World) Crash() error {
	if w.inst == nil {
		return nil
	}
	b := w.inst.Append(nil)
	back, err := sagas.DecodeInstance(b)
	if err != nil {
		return fmt.Errorf("decode the instance: %w", err)
	}
	if again := back.Append(nil); !bytes.Equal(b, again) {
		return errors.New("the instance reads back as another one")
	}
	w.inst = back
	return nil
}

// Jump moves the clock and fires nothing.
func (w *World) Jump(d time.Duration) { w.now += sagas.Time(d.Milliseconds()) }

// NextTimer is the earliest armed timer.
func (w *World) NextTimer() (sagas.Time, bool) {
	if w.inst == nil {
		return 0, false
	}
	due := w.inst.NextDue()
	return due, due != 0
}

// Advance lets d pass: what is on its way arrives and timers fire, each at its own time.
func (w *World) Advance(d time.Duration) {
	end := w.now + sagas.Time(d.Milliseconds())
	for w.next(end) {
	}
	w.now = end
}

// Run lets time pass until done says so, nothing is left to happen, or limit has passed. It reports
// whether done said so.
func (w *World) Run(limit time.Duration, done func() bool) bool {
	end := w.now + sagas.Time(limit.Milliseconds())
	for !done() {
		if !w.next(end) {
			return false
		}
	}
	return true
}

// Step lets the next thing happen, whenever it is due. It reports false when nothing is left.
func (w *World) Step() bool { return w.next(math.MaxInt64) }

// Err tells why time stands still: a timer that fired stays armed. It is a bug of the saga machine.
func (w *World) Err() error { return w.err }

// next lets the next thing happen that is due by end. What is on its way comes before a timer of
// the same moment.
func (w *World) next(end sagas.Time) bool {
	if w.err != nil {
		return false
	}
	i := w.head()
	timer, armed := w.NextTimer()
	switch {
	case i >= 0 && w.wire[i].due <= end && (!armed || w.wire[i].due <= timer):
		w.now = max(w.now, w.wire[i].due)
		w.deliver(i)
		return true
	case armed && timer <= end:
		w.now = max(w.now, timer)
		w.Feed(sagas.Timers{})
		if again, ok := w.NextTimer(); ok && again <= timer && w.Plan == nil {
			return false // without its definition an active instance keeps still
		} else if ok && again <= timer {
			w.err = fmt.Errorf("a timer due at %s is still armed after it fired", since(again, Epoch))
			return false
		}
		return true
	}
	return false
}

// head is the index of the parcel that arrives first, -1 = none.
func (w *World) head() int {
	best := -1
	for i := range w.wire {
		if best < 0 || w.wire[i].due < w.wire[best].due || w.wire[i].due == w.wire[best].due && w.wire[i].seq < w.wire[best].seq {
			best = i
		}
	}
	return best
}

// InFlight is the number of things on their way: commands, replies, and work in progress.
func (w *World) InFlight() int { return len(w.wire) }

// Deliver lets the i-th thing on its way arrive now, whatever is due before it: this is how a test
// reorders.
func (w *World) Deliver(i int) { w.deliver(i) }

func (w *World) deliver(i int) {
	p := w.wire[i]
	w.wire = slices.Delete(w.wire, i, i+1)
	switch {
	case p.command != nil:
		reply, until := w.Participants.Handle(*p.command, w.now)
		if until != 0 {
			c := *p.command
			w.put(parcel{due: until, finish: &c})
		}
		w.postReply(reply)
	case p.finish != nil:
		w.postReply(w.Participants.Finish(*p.finish))
	case p.reply != nil:
		w.Feed(*p.reply)
	}
}

func (w *World) post(c sagas.Command) {
	var f Fate
	if w.Faults.Command != nil {
		f = w.Faults.Command(c)
	}
	w.send(f, parcel{command: &c})
}

func (w *World) postReply(r *sagas.Reply) {
	if r == nil {
		return
	}
	var f Fate
	if w.Faults.Reply != nil {
		f = w.Faults.Reply(*r)
	}
	w.send(f, parcel{reply: r})
}

func (w *World) send(f Fate, p parcel) {
	if f.Lost {
		return
	}
	for n := 0; n <= f.Copies; n++ {
		p.due = w.now + sagas.Time((f.Delay + time.Duration(n)*f.Spread).Milliseconds())
		w.put(p)
	}
}

func (w *World) put(p parcel) {
	w.seq++
	p.seq = w.seq
	w.wire = append(w.wire, p)
}

// Terminal says whether the instance has ended, whatever is left of it.
func Terminal(inst *sagas.Instance) bool {
	if inst == nil {
		return true
	}
	return !inst.Phase.Active() && inst.Phase != sagas.Parked && inst.Phase != sagas.Mailbox
}
