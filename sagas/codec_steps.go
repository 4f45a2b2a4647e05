package sagas

// Fields of a step that are there only when they are not zero.
const (
	hasStuck = 1 << iota
	hasSeenDone
	hasPhantom
	hasFatal
	hasRound
	hasAsked
	hasUndoRound
	hasFirstSent
	hasAskedAt
	hasUndoSent
	hasTimer
	hasAlert
	hasFailure
	hasPayload
	hasQuestion
	hasOutput
	hasRecord
	hasSharedPayload // the undo record's payload is that of the do
	hasV1            = 1<<iota - 1
	hasLane          = hasV1 + 1
	hasUntil         = hasLane << 1
	hasChild         = hasLane << 2
	hasVotes         = hasLane << 3
	hasLease         = hasLane << 4
	hasBudget        = hasLane << 5
	hasV2            = hasLane<<6 - 1
)

func (e *stateWriter) step(s *StepState) {
	mask := uint64(0)
	set := func(cond bool, bit uint64) {
		if cond {
			mask |= bit
		}
	}
	t := &s.Timer
	shared := s.Record.Set() && len(s.Payload) > 0 && string(s.Payload) == string(s.Record.Payload)
	set(s.Stuck, hasStuck)
	set(s.SeenDone, hasSeenDone)
	set(s.Phantom, hasPhantom)
	set(s.Fatal, hasFatal)
	set(s.Round != 0 || s.Attempts != 0, hasRound)
	set(s.Asked != 0, hasAsked)
	set(s.UndoRound != 0 || s.UndoAttempts != 0, hasUndoRound)
	set(s.FirstSent != 0, hasFirstSent)
	set(s.AskedAt != 0, hasAskedAt)
	set(s.UndoSent != 0, hasUndoSent)
	set(*t != Timer{} || s.Gen != 0, hasTimer)
	set(s.Alert != 0, hasAlert)
	set(s.Code != "" || s.Message != "", hasFailure)
	set(len(s.Payload) > 0, hasPayload)
	set(len(s.Question) > 0, hasQuestion)
	set(len(s.Output) > 0, hasOutput)
	set(s.Record.Set(), hasRecord)
	set(shared, hasSharedPayload)
	if e.v2 {
		set(s.Lane != 0, hasLane)
		set(s.Until != 0, hasUntil)
		set(s.Child != "", hasChild)
		set(len(s.Votes) > 0, hasVotes)
		set(s.Lease != 0, hasLease)
		set(s.Spared != 0 || s.BudgetAt != 0, hasBudget)
	}

	e.text(s.Path)
	e.b = append(e.b, byte(s.Kind), byte(s.State), byte(s.Undo))
	if e.v2 {
		e.uint(uint64(s.Node))
		e.uint(uint64(s.Frame))
	}
	e.uint(mask)
	if mask&hasRound != 0 {
		e.uint(uint64(s.Round))
		e.uint(uint64(s.Attempts))
	}
	if mask&hasAsked != 0 {
		e.uint(uint64(s.Asked))
	}
	if mask&hasUndoRound != 0 {
		e.uint(uint64(s.UndoRound))
		e.uint(uint64(s.UndoAttempts))
	}
	if mask&hasFirstSent != 0 {
		e.time(s.FirstSent)
	}
	if mask&hasAskedAt != 0 {
		e.time(s.AskedAt)
	}
	if mask&hasUndoSent != 0 {
		e.time(s.UndoSent)
	}
	if mask&hasTimer != 0 {
		e.uint(uint64(s.Gen))
		e.byte(byte(t.Kind))
		if t.Kind != 0 {
			e.byte(byte(t.Op))
			e.uint(uint64(t.Round))
			e.uint(uint64(t.Attempt))
			e.uint(uint64(t.Gen))
			e.time(t.Due)
		}
	}
	if mask&hasAlert != 0 {
		e.time(s.Alert)
	}
	if mask&hasFailure != 0 {
		e.text(s.Code)
		e.text(s.Message)
	}
	if mask&hasPayload != 0 {
		e.bytes(s.Payload)
	}
	if mask&hasQuestion != 0 {
		e.bytes(s.Question)
	}
	if mask&hasOutput != 0 {
		e.bytes(s.Output)
	}
	if mask&hasRecord != 0 {
		e.text(s.Record.Participant)
		e.text(s.Record.Command)
		e.text(s.Record.Topic)
		e.raw(s.Record.ForwardKey[:])
		if !shared {
			e.bytes(s.Record.Payload)
		}
	}
	if mask > hasV1 {
		e.newer(s, mask)
	}
}

// newer writes the fields that format 1 does not have.
func (e *stateWriter) newer(s *StepState, mask uint64) {
	if mask&hasLane != 0 {
		e.uint(uint64(s.Lane))
	}
	if mask&hasUntil != 0 {
		e.time(s.Until)
	}
	if mask&hasChild != 0 {
		e.text(s.Child)
	}
	if mask&hasVotes != 0 {
		e.uint(uint64(len(s.Votes)))
		for k := range s.Votes {
			v := &s.Votes[k]
			e.text(v.Actor)
			e.bool(v.Approve)
			e.text(v.Comment)
			e.time(v.At)
		}
	}
	if mask&hasLease != 0 {
		e.time(s.Lease)
	}
	if mask&hasBudget != 0 {
		e.uint(uint64(s.Spared))
		e.time(s.BudgetAt)
	}
}

func (d *stateReader) steps(i *Instance) {
	n := d.count(5)
	if n > MaxPaths {
		d.fail("%d steps", n)
		return
	}
	if n > 0 {
		i.Steps = make([]StepState, n)
		for k := range i.Steps {
			d.step(i, k)
		}
	}
}

func (d *stateReader) step(i *Instance, k int) {
	s := &i.Steps[k]
	s.Path = d.text()
	s.Kind = StepKind(d.enum(byte(ReadOnly)))
	s.State = StepStatus(d.enum(d.most(byte(StepAbandoned), byte(StepOpen))))
	s.Undo = UndoStatus(d.enum(byte(UndoWaived)))
	s.Node = k
	known := uint64(hasV1)
	if d.v2 {
		s.Node, s.Frame = d.index(), d.uint32()
		if known = hasV2; d.err == nil && s.Frame != 0 && i.frame(s.Frame) == nil {
			d.fail("step %s is in no frame", s.Path)
		}
	}
	mask := d.uint()
	if s.Kind == 0 || s.State == 0 || mask&^known != 0 {
		d.fail("step kind %d, state %d, fields %#x", s.Kind, s.State, mask)
	}
	if d.err != nil {
		return
	}
	s.Stuck = mask&hasStuck != 0
	s.SeenDone = mask&hasSeenDone != 0
	s.Phantom = mask&hasPhantom != 0
	s.Fatal = mask&hasFatal != 0
	if mask&hasRound != 0 {
		s.Round, s.Attempts = d.uint32(), d.uint32()
	}
	if mask&hasAsked != 0 {
		s.Asked = d.uint32()
	}
	if mask&hasUndoRound != 0 {
		s.UndoRound, s.UndoAttempts = d.uint32(), d.uint32()
	}
	if mask&hasFirstSent != 0 {
		s.FirstSent = d.time()
	}
	if mask&hasAskedAt != 0 {
		s.AskedAt = d.time()
	}
	if mask&hasUndoSent != 0 {
		s.UndoSent = d.time()
	}
	if mask&hasTimer != 0 {
		s.Gen = d.uint32()
		if s.Timer.Kind = TimerKind(d.enum(d.most(byte(TimerPause), byte(TimerRemind)))); s.Timer.Kind != 0 {
			s.Timer.Op = Op(d.enum(byte(OpInquire)))
			s.Timer.Round, s.Timer.Attempt, s.Timer.Gen = d.uint32(), d.uint32(), d.uint32()
			s.Timer.Due = d.time()
		}
	}
	if mask&hasAlert != 0 {
		s.Alert = d.time()
	}
	if mask&hasFailure != 0 {
		s.Code, s.Message = d.text(), d.text()
	}
	if mask&hasPayload != 0 {
		s.Payload = d.bytes()
	}
	if mask&hasQuestion != 0 {
		s.Question = d.bytes()
	}
	if mask&hasOutput != 0 {
		s.Output = d.bytes()
	}
	if mask&hasRecord != 0 {
		s.Record.Participant, s.Record.Command, s.Record.Topic = d.text(), d.text(), d.text()
		copy(s.Record.ForwardKey[:], d.take(len(s.Record.ForwardKey)))
		if mask&hasSharedPayload != 0 {
			s.Record.Payload = s.Payload
		} else {
			s.Record.Payload = d.bytes()
		}
	}
	if mask > hasV1 {
		d.newer(s, mask)
	}
	d.canonical(s, mask)
}

// newer reads the fields that format 1 does not have.
func (d *stateReader) newer(s *StepState, mask uint64) {
	if mask&hasLane != 0 {
		s.Lane = d.index()
	}
	if mask&hasUntil != 0 {
		s.Until = d.time()
	}
	if mask&hasChild != 0 {
		s.Child = d.text()
	}
	if mask&hasVotes != 0 {
		if n := d.count(4); n > 0 {
			s.Votes = make([]Vote, n)
			for k := range s.Votes {
				s.Votes[k] = Vote{Actor: d.text(), Approve: d.enum(1) != 0, Comment: d.text(), At: d.time()}
			}
		}
	}
	if mask&hasLease != 0 {
		s.Lease = d.time()
	}
	if mask&hasBudget != 0 {
		s.Spared, s.BudgetAt = d.uint32(), d.time()
	}
	if mask&hasLane != 0 && s.Lane == 0 || mask&hasUntil != 0 && s.Until == 0 || mask&hasChild != 0 && s.Child == "" ||
		mask&hasVotes != 0 && len(s.Votes) == 0 || mask&hasLease != 0 && s.Lease == 0 ||
		mask&hasBudget != 0 && s.Spared == 0 && s.BudgetAt == 0 {
		d.fail("step %s is not in its shortest form", s.Path)
	}
}

// canonical refuses a field that is there though it is zero: there is one encoding per instance.
func (d *stateReader) canonical(s *StepState, mask uint64) {
	shared := s.Record.Set() && len(s.Payload) > 0 && string(s.Payload) == string(s.Record.Payload)
	empty := mask&hasRound != 0 && s.Round == 0 && s.Attempts == 0 ||
		mask&hasAsked != 0 && s.Asked == 0 ||
		mask&hasUndoRound != 0 && s.UndoRound == 0 && s.UndoAttempts == 0 ||
		mask&hasFirstSent != 0 && s.FirstSent == 0 ||
		mask&hasAskedAt != 0 && s.AskedAt == 0 ||
		mask&hasUndoSent != 0 && s.UndoSent == 0 ||
		mask&hasTimer != 0 && s.Gen == 0 && s.Timer == Timer{} ||
		mask&hasAlert != 0 && s.Alert == 0 ||
		mask&hasFailure != 0 && s.Code == "" && s.Message == "" ||
		mask&hasPayload != 0 && len(s.Payload) == 0 ||
		mask&hasQuestion != 0 && len(s.Question) == 0 ||
		mask&hasOutput != 0 && len(s.Output) == 0 ||
		mask&hasRecord != 0 && !s.Record.Set() ||
		(mask&hasSharedPayload != 0) != shared
	if d.err == nil && empty {
		d.fail("step %s is not in its shortest form", s.Path)
	}
}
