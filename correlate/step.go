package correlate

import (
	"fmt"
	"slices"
)

// Input is one thing that happens to an entity: Subscribe, Unsubscribe, Event or Tick.
type Input interface{ input() }

// Subscribe begins a wait, or renews the one at the same place.
type Subscribe struct{ Wait Wait }

// Unsubscribe ends a wait, whatever the reason.
type Unsubscribe struct{ Place Place }

// Tick says that time has passed.
type Tick struct{}

func (Subscribe) input()   {}
func (Unsubscribe) input() {}
func (Event) input()       {}
func (Tick) input()        {}

// Effect is one thing that the runtime has to do in the transaction that keeps the entity.
type Effect interface{ effect() }

// Deliver brings an event to somebody who waits: a signal, or a reply.
type Deliver struct {
	Wait  Wait
	Event Event
	Early bool // the event was there before the wait
}

// DeadLetter sets an event aside.
type DeadLetter struct {
	Class   string
	Message string
	Event   Event
}

// Refused says that the input had to be left out, with the class of the dead letter that its record becomes.
type Refused struct{ Class, Message string }

// Ignored says that the input changed nothing, or that an event was dropped on its author's word.
type Ignored struct{ Reason string }

func (Deliver) effect()    {}
func (DeadLetter) effect() {}
func (Refused) effect()    {}
func (Ignored) effect()    {}

// Classes of dead letters.
const (
	ClassExpired  = "EXPIRED"        // nobody waited for the event in its time
	ClassOverflow = "OVERFLOW"       // too much waits for this value
	ClassTooLarge = "TOO_LARGE"      // the event is too large for a signal
	ClassInvalid  = "INVALID_INPUT"  // a text is missing or too long
	ClassMismatch = "KEY_OF_ANOTHER" // the record has the key of another value
	reasonSeen    = "duplicate"      // the event was there already
	reasonAlone   = "unmatched"      // nobody waits, and the event has no time
	reasonUnknown = "unknown-wait"   // there is no such wait
	reasonStale   = "nothing-is-due" //
	reasonSame    = "wait-is-there"  //
	overWaits     = "more than %d waits, or %d bytes of them, for one value"
	overParked    = "more than %d early events, or %d bytes of them, for one value"
	nobodyWaited  = "nobody waited for it within %d ms"
	tooLarge      = "the event has %d bytes, the limit is %d"
	missingText   = "a text that is needed is missing, or one is longer than %d bytes"
	otherValue    = "the entity of this key has another name or value"
	tooManyGroups = "more than %d groups"
)

// Step takes one input to the entity of (name, value). e is nil when there is none, and so is the result
// when nothing is left to remember. now is in ms since 1970 and must not fall. e is never changed.
func Step(e *Entity, name, value string, in Input, now int64) (*Entity, []Effect) {
	s := stepper{now: now}
	if e == nil {
		s.e = Entity{Name: name, Value: value}
	} else {
		s.e = *e
		s.e.Waits, s.e.Parked, s.e.Seen = slices.Clone(e.Waits), slices.Clone(e.Parked), slices.Clone(e.Seen)
	}
	if why := s.fits(name, value, in); why != nil {
		return e, []Effect{*why}
	}
	s.expire()
	switch in := in.(type) {
	case Subscribe:
		s.subscribe(in.Wait)
	case Unsubscribe:
		s.unsubscribe(in.Place)
	case Event:
		s.event(in)
	case Tick:
		if !s.moved {
			s.ignored(reasonStale)
		}
	}
	if !s.moved {
		return e, s.effects
	}
	if len(s.e.Waits)+len(s.e.Parked)+len(s.e.Seen) == 0 {
		return nil, s.effects
	}
	return &s.e, s.effects
}

// stepper is the work of one Step.
type stepper struct {
	e       Entity
	now     int64
	moved   bool
	effects []Effect
}

func (s *stepper) ignored(reason string) { s.effects = append(s.effects, Ignored{reason}) }

// fits says what is wrong with an input, before anything of it is kept.
func (s *stepper) fits(name, value string, in Input) *Refused {
	if s.e.Name != name || s.e.Value != value {
		return &Refused{ClassMismatch, otherValue}
	}
	short := func(texts ...string) bool {
		return !slices.ContainsFunc(texts, func(t string) bool { return len(t) > MaxTextBytes })
	}
	ok := name != "" && short(name) && len(value) <= MaxValueBytes
	switch in := in.(type) {
	case Subscribe:
		w := &in.Wait
		ok = ok && w.WorkflowID != "" && w.Run > 0 && (w.Signal != "") != (w.Token != "") && short(w.WorkflowID, w.Path, w.Op, w.Group, w.Signal, w.Token)
	case Unsubscribe:
		ok = ok && in.Place.WorkflowID != "" && short(in.Place.WorkflowID, in.Place.Path, in.Place.Op)
	case Event:
		ok = ok && in.ID != "" && short(in.ID, in.Source, in.Binding, in.Answer.Op, in.Answer.Outcome, in.Answer.Effect, in.Answer.Code) && short(in.Groups...)
		if len(in.Groups) > MaxGroups {
			return &Refused{ClassInvalid, fmt.Sprintf(tooManyGroups, MaxGroups)}
		}
		if len(in.Payload) > MaxEventBytes {
			return &Refused{ClassTooLarge, fmt.Sprintf(tooLarge, len(in.Payload), MaxEventBytes)}
		}
	}
	if !ok {
		return &Refused{ClassInvalid, fmt.Sprintf(missingText, MaxTextBytes)}
	}
	return nil
}

// expire ends what is over: first, so that nothing is delivered after its time.
func (s *stepper) expire() {
	waits, seen := len(s.e.Waits), len(s.e.Seen)
	s.e.Waits = slices.DeleteFunc(s.e.Waits, func(w Wait) bool { return w.Until != 0 && w.Until <= s.now })
	s.e.Parked = slices.DeleteFunc(s.e.Parked, func(p Parked) bool {
		if p.Expires > s.now {
			return false
		}
		s.moved = true
		if len(p.Met) == 0 { // it may be sent again: it does not count as seen
			s.effects = append(s.effects, DeadLetter{ClassExpired, fmt.Sprintf(nobodyWaited, p.TTL), p.Event})
		} else {
			s.remember(&p.Event)
		}
		return true
	})
	s.e.Seen = slices.DeleteFunc(s.e.Seen, func(x Seen) bool { return x.Until <= s.now })
	s.moved = s.moved || len(s.e.Waits) < waits || len(s.e.Seen) < seen
}

// remember notes that an event was taken.
func (s *stepper) remember(ev *Event) {
	s.moved = true
	if len(s.e.Seen) >= MaxSeen {
		s.e.Seen = slices.Delete(s.e.Seen, 0, len(s.e.Seen)-MaxSeen+1)
	}
	s.e.Seen = append(s.e.Seen, Seen{hash(ev.ID), s.now + max(ev.TTL, seenLeast)})
}

func (s *stepper) known(id string) bool {
	h := hash(id)
	return slices.ContainsFunc(s.e.Seen, func(x Seen) bool { return x.Hash == h }) ||
		slices.ContainsFunc(s.e.Parked, func(p Parked) bool { return p.ID == id })
}

func (s *stepper) deliver(w Wait, ev *Event, early bool) {
	s.moved = true
	s.effects = append(s.effects, Deliver{Wait: w, Event: *ev, Early: early})
}

// find is the position of a place, and whether somebody waits there.
func (s *stepper) find(p Place) (int, bool) {
	return slices.BinarySearchFunc(s.e.Waits, p, func(w Wait, p Place) int { return w.compare(p) })
}

// subscribe gives the wait what is parked for its group, else keeps it.
func (s *stepper) subscribe(w Wait) {
	if w.Until != 0 && w.Until <= s.now {
		s.ignored(reasonStale)
		return
	}
	for i := 0; i < len(s.e.Parked); i++ {
		p := &s.e.Parked[i]
		if p.met(w.Group) || !p.suits(&w) {
			continue
		}
		ev := p.Event
		p.Met = append(slices.Clip(p.Met), w.Group)
		if p.over() {
			s.e.Parked = slices.Delete(s.e.Parked, i, i+1)
			s.remember(&ev)
			i--
		}
		s.deliver(w, &ev, true)
		if !w.Keep {
			s.drop(w.Place) // it may have waited here already
			return
		}
	}
	at, there := s.find(w.Place)
	switch {
	case there && s.e.Waits[at] == w:
		s.ignored(reasonSame)
	case there:
		s.e.Waits[at], s.moved = w, true
	case s.crowded(&w):
		s.effects = append(s.effects, Refused{ClassOverflow, fmt.Sprintf(overWaits, MaxWaits, MaxWaitBytes)})
	default:
		s.e.Waits, s.moved = slices.Insert(s.e.Waits, at, w), true
	}
}

// crowded says whether there is no room for another wait.
func (s *stepper) crowded(w *Wait) bool {
	size := w.size()
	for i := range s.e.Waits {
		size += s.e.Waits[i].size()
	}
	return len(s.e.Waits) >= MaxWaits || size > MaxWaitBytes
}

func (s *stepper) drop(p Place) bool {
	at, there := s.find(p)
	if there {
		s.e.Waits, s.moved = slices.Delete(s.e.Waits, at, at+1), true
	}
	return there
}

func (s *stepper) unsubscribe(p Place) {
	if !s.drop(p) {
		s.ignored(reasonUnknown)
	}
}

// event goes to everybody who waits, and is parked for the groups that have nobody.
func (s *stepper) event(ev Event) {
	if s.known(ev.ID) {
		s.ignored(reasonSeen)
		return
	}
	p := Parked{Event: ev}
	last := Place{}
	s.e.Waits = slices.DeleteFunc(s.e.Waits, func(w Wait) bool {
		if !ev.suits(&w) || !w.Keep && w.WorkflowID == last.WorkflowID { // an instance gets it once
			return false
		}
		s.deliver(w, &ev, false)
		if !p.met(w.Group) {
			p.Met = append(p.Met, w.Group)
		}
		if w.Keep {
			return false
		}
		last = w.Place
		return true
	})
	switch {
	case len(p.Met) > 0 && p.over():
		s.remember(&ev)
	case ev.TTL <= 0 && len(p.Met) > 0:
		s.remember(&ev)
	case ev.TTL <= 0:
		s.ignored(reasonAlone)
	case s.full(&ev) && len(p.Met) > 0: // somebody has it: the others are late
		s.remember(&ev)
	case s.full(&ev):
		s.effects = append(s.effects, DeadLetter{ClassOverflow, fmt.Sprintf(overParked, MaxParked, MaxParkedBytes), ev})
	default:
		p.Expires = s.now + min(ev.TTL, MaxTTL.Milliseconds())
		s.e.Parked, s.moved = append(s.e.Parked, p), true
	}
}

// full says whether there is no room for another early event.
func (s *stepper) full(ev *Event) bool {
	size := ev.size()
	for i := range s.e.Parked {
		size += s.e.Parked[i].size()
	}
	return len(s.e.Parked) >= MaxParked || size > MaxParkedBytes
}
