package sagas

import "strconv"

// forward admits and sends what may go now, and ends the saga when every step is resolved.
func (m *machine) forward() {
	if m.inst.Suspended {
		return
	}
	if m.inst.Phase == Running && m.failed() >= 0 {
		return // row 8 waits for the pivot: no new do meanwhile
	}
	open := 0
	for i := range m.inst.Steps {
		s := &m.inst.Steps[i]
		if s.State == StepIdle && m.depsResolved(i) {
			m.admit(i)
		}
		if s.State == StepReady && !s.Stuck {
			m.begin(i)
		}
		if !m.resolved(i) {
			open++
			m.checkCommitted(i)
		}
	}
	if open == 0 {
		m.complete() // row 14
	}
}

// checkCommitted asks for a person where a step fails beside or after the pivot, which a checked
// definition rules out: there is no way back any more.
func (m *machine) checkCommitted(i int) {
	if m.inst.Phase != Finishing || !m.fails(i) {
		return
	}
	reason := ReasonUnknownOutcome
	if m.inst.Steps[i].State == StepRefused {
		reason = ReasonRefused
	}
	m.raise(m.inst.Steps[i].Path, reason, "the step failed after the commit point")
}

func (m *machine) depsResolved(i int) bool {
	if !m.inst.dynamic() { // its steps are where the plan has them
		for _, d := range m.plan(i).Deps {
			if !m.resolved(d) {
				return false
			}
		}
		return true
	}
	t := m.shape()
	for _, d := range m.plan(i).Deps {
		if j := t.slot(t.steps[i].frame, d, len(m.p.Steps)); j >= 0 && !m.resolved(int(j)) {
			return false
		}
	}
	return true
}

// admit is row a.
func (m *machine) admit(i int) {
	s := &m.inst.Steps[i]
	m.transitions++
	if when := m.plan(i).When; when != nil {
		ok, err := when.Bool(m.scopeAt(i))
		if err != nil {
			s.State = StepReady
			m.hold(i, ReasonExpr, "when: "+err.Error())
			return
		}
		if !ok {
			s.State = StepSkipped
			m.skipBody(i)
			m.fact(KindStepSkipped, s.Path)
			return
		}
	}
	s.State = StepReady
}

// begin lets step i do what its node is for.
func (m *machine) begin(i int) {
	if !m.mayBegin(i) {
		return
	}
	switch node := m.plan(i).Node; {
	case node == NodeCall:
		m.sendFirst(i)
	case node.Block():
		m.openBlock(i)
	default:
		m.openLeaf(i)
	}
}

// hold keeps a step from being sent until a person acts.
func (m *machine) hold(i int, reason Reason, text string) {
	s := &m.inst.Steps[i]
	s.Stuck = true
	m.raise(s.Path, reason, text)
}

// sendFirst is row b: the inputs are fixed and the undo record is taken before anything goes out.
func (m *machine) sendFirst(i int) {
	if !m.leaseHolds(i) {
		return
	}
	s, d := &m.inst.Steps[i], m.plan(i)
	round := s.Round + 1 // another one than the first when an operator chose a fresh key
	key := m.key(i, OpDo, round)
	payload, err := m.render(i, d.With, key)
	if err != nil {
		m.hold(i, ReasonExpr, "with: "+err.Error())
		return
	}
	record, err := m.undoRecord(i, key, payload)
	if err != nil {
		m.hold(i, ReasonExpr, "undo.with: "+err.Error())
		return
	}
	if len(m.p.Correlates) > 0 {
		if _, err := m.replyValue(&Command{Participant: d.Participant, Key: key.String(), Payload: payload}); err != nil {
			m.hold(i, ReasonExpr, "correlate.equals: "+err.Error())
			return
		}
	}
	size := len(payload) + len(record.Payload)
	if len(payload) > MaxPayloadBytes || len(record.Payload) > MaxPayloadBytes || m.inst.weight()+size > maxForwardBytes {
		m.hold(i, ReasonTooLarge, "the command takes "+strconv.Itoa(len(payload))+" bytes, its undo "+strconv.Itoa(len(record.Payload)))
		return
	}
	s.Round, s.FirstSent = round, m.now
	s.Payload = payload
	s.Record = record
	if d.AlertAfter > 0 {
		s.Alert = after(m.now, d.AlertAfter)
	}
	m.sendDo(i, key)
}

// undoRecord takes what an undo of step i will need. The zero record: it owes none.
func (m *machine) undoRecord(i int, forward Key, payload []byte) (UndoRecord, error) {
	u := m.plan(i).Undo
	if u == nil {
		return UndoRecord{}, nil
	}
	r := UndoRecord{Participant: u.Participant, Command: u.Command, Topic: u.Topic, ForwardKey: forward, Payload: payload}
	if u.With != nil {
		var err error
		r.Payload, err = m.render(i, u.With, m.key(i, OpUndo, 1))
		if err != nil {
			return UndoRecord{}, err
		}
	}
	return r, nil
}

// render evaluates a mapping of step i, or of the saga itself when i is -1; nil means an empty object.
func (m *machine) render(i int, with *Mapping, key Key) ([]byte, error) {
	if with == nil {
		return emptyObject, nil
	}
	return with.JSON(m.see(i, key))
}

var emptyObject = []byte("{}")

// sendDo emits the next attempt of the round.
func (m *machine) sendDo(i int, key Key) {
	s, d := &m.inst.Steps[i], m.plan(i)
	m.transitions++
	if s.Attempts > 0 && !m.may(commandTopic(d.Topic, d.Participant), s.Path, SendAgain) {
		s.State = StepBackoff
		s.Until = 0
		s.Timer = Timer{}
		return
	}
	s.Attempts++
	s.Fatal = false
	s.State = StepPending
	due := m.attemptRoom(i)
	s.Until = 0
	if d.Heartbeat > 0 {
		s.Until = due
	}
	s.arm(TimerAnswer, OpDo, s.Round, s.Attempts, m.silenceEnd(i, due))
	m.command(i, Address{Run: m.inst.Run, Path: s.Path, Op: OpDo, Round: s.Round, Attempt: s.Attempts},
		key, Key{}, d.Participant, d.Command, d.Topic, due, s.Payload)
	m.fact(KindStepSent, s.Path, KV{"attempt", strconv.FormatUint(uint64(s.Attempts), 10)})
}

// attemptEnd is when an attempt that begins, or gives a sign of life, now has to be answered.
func (m *machine) attemptEnd(i int) Time {
	due := after(m.now, orDefault(m.plan(i).Attempt, DefaultAttempt))
	if end := m.withinEnd(i); end > 0 && (end > m.now || m.inst.Steps[i].Kind != Retriable) {
		due = min(due, end)
	}
	return due
}

// silenceEnd is when silence ends an attempt that may last until end: without heartbeats the end itself.
func (m *machine) silenceEnd(i int, end Time) Time {
	if d := m.plan(i); d.Heartbeat > 0 {
		return min(end, after(m.now, d.Heartbeat))
	}
	return end
}

// withinEnd is the end of all attempts of the round; 0 = none.
func (m *machine) withinEnd(i int) Time {
	if d := m.plan(i).Within; d > 0 {
		s := &m.inst.Steps[i]
		return after(max(s.FirstSent, s.BudgetAt), d)
	}
	return 0
}

// retryDo is row e: the present attempt gave no answer, or one that allows another try.
func (m *machine) retryDo(i int, code string, retryAfter int64) {
	s, d := &m.inst.Steps[i], m.plan(i)
	m.transitions++
	if m.turned(i) { // row p: draining means no retries
		m.giveUp(i, StepUnknown)
		return
	}
	pause := backoff(&d.Retry, s.Attempts-s.Spared, jitterSeed(m.inst.WorkflowID, s.Path, OpDo, s.Round, s.Attempts))
	pause = max(pause, min(retryAfter, retryAfterMax.Milliseconds()))
	at := afterMillis(m.now, pause)
	end := m.withinEnd(i)
	spent := (d.Retry.Attempts > 0 && s.Attempts-s.Spared >= d.Retry.Attempts) || (end > 0 && at >= end) || contains(d.Retry.NonRetryable, code)
	if spent {
		if s.Kind != Retriable {
			m.budgetSpent(i)
			return
		}
		// It has to happen: go on, but slowly, and let somebody know.
		m.raise(s.Path, ReasonBudgetSpent, "the retries go on")
		at = afterMillis(m.now, max(pause, millis(orDefault(d.Retry.BackoffMax, DefaultBackoffMax))))
	}
	s.State = StepBackoff
	s.Until = 0
	s.arm(TimerPause, OpDo, s.Round, s.Attempts, at)
}

// resendDo is row h.
func (m *machine) resendDo(i int) {
	s, d := &m.inst.Steps[i], m.plan(i)
	if m.checkDeadline(); m.turned(i) {
		return // it has drained this step
	}
	if d.KeyWindow > 0 && m.now >= after(s.FirstSent, d.KeyWindow) {
		m.outOfWindow(i)
		return
	}
	if end := m.withinEnd(i); s.Kind != Retriable && end > 0 && m.now >= end {
		m.budgetSpent(i)
		return
	}
	m.sendDo(i, m.key(i, OpDo, s.Round))
}

// outOfWindow: the participant may have forgotten the key, so another attempt could be another effect.
func (m *machine) outOfWindow(i int) {
	if m.plan(i).Inquire != nil {
		m.inquire(i)
		return
	}
	m.giveUp(i, StepUnknown)
}

// budgetSpent ends the attempts of a step without an answer.
func (m *machine) budgetSpent(i int) {
	if m.mayInquire(i) {
		m.inquire(i)
		return
	}
	m.giveUp(i, StepUnknown)
}

// giveUp ends a step in UNKNOWN or FAILED: its effect is not known.
func (m *machine) giveUp(i int, state StepStatus) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = state
	s.Until = 0
	s.disarm()
	if m.inst.Phase == Compensating || !m.frozen(i) { // else a person may send it again
		m.dropPayload(i)
	}
	kind := KindStepUnknown
	if state == StepFailed {
		kind = KindStepFailed
	}
	m.fact(kind, s.Path, KV{"code", s.Code})
	m.settle(s.Path, ReasonSlow, ReasonBudgetSpent)
	if !m.turned(i) && m.frozen(i) {
		m.raise(s.Path, ReasonUnknownOutcome, "whether the step took effect is not known")
	}
}

// succeed is row c: DONE, from whatever open state and whatever attempt.
func (m *machine) succeed(i int, output []byte) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepDone
	s.SeenDone = true
	s.Stuck, s.Fatal = false, false
	s.Until = 0
	s.Code, s.Message = "", ""
	if s.Undo == UndoNone {
		s.disarm()
	}
	m.keep(i, output)
	m.takeLease(i)
	m.dropPayload(i)
	m.fact(KindStepDone, s.Path, KV{"attempt", strconv.FormatUint(uint64(s.Attempts), 10)})
	m.settle(s.Path, ReasonSlow, ReasonBudgetSpent, ReasonUnknownOutcome, ReasonKeyWindow)
}

// refuse is row d: REFUSED, definitely without effect.
func (m *machine) refuse(i int, code, message string) {
	s := &m.inst.Steps[i]
	m.transitions++
	s.State = StepRefused
	s.Until = 0
	s.Code, s.Message = clip(m.clean(code), maxCode), clip(m.clean(message), maxMessage)
	if s.Undo == UndoNone {
		s.disarm()
	}
	m.dropPayload(i)
	m.fact(KindStepRejected, s.Path, KV{"code", s.Code}, KV{"message", s.Message})
	m.settle(s.Path, ReasonSlow, ReasonBudgetSpent, ReasonUnknownOutcome)
	if !s.SeenDone {
		m.settle(s.Path, ReasonNoUndo)
	}
	if s.Kind == Retriable && m.inst.Phase.Active() && !m.turned(i) {
		m.fact(KindContractViolation, s.Path, KV{"code", s.Code})
		m.raise(s.Path, ReasonRefused, "a retriable step may not be refused")
	}
	if s.SeenDone {
		m.contradicted(i, StepRefused.String()+" after ok")
	}
}

// keep merges the kept fields of an output into what the step has, within the limits.
func (m *machine) keep(i int, output []byte) {
	s, d := &m.inst.Steps[i], m.plan(i)
	if len(output) == 0 || len(d.Keep) == 0 {
		return
	}
	kept, err := KeepFields(output, d.Keep)
	if err == nil {
		kept, err = m.merge(s.Output, kept)
	}
	if err != nil {
		m.raise(s.Path, ReasonOutput, "output: "+err.Error())
		return
	}
	s.Output = kept
}

// dropPayload forgets the inputs of a resolved do, unless an inquiry during the undo may need them.
func (m *machine) dropPayload(i int) {
	s, d := &m.inst.Steps[i], m.plan(i)
	if d.Inquire != nil && d.KeyWindow > 0 && m.owes(i) && !s.Undo.settled() {
		return
	}
	s.Payload, s.Question = nil, nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
