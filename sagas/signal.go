package sagas

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signals. Each one is looked at by the open waits in the order of the steps; the first that wants it
// consumes it. Otherwise it is buffered, and a wait that opens later takes the first match, in the
// order of arrival. Before the start they wait in MAILBOX. The newest payload of each name stays
// readable as signals.last, consumed or not.

// Classes of dead letters about signals.
const (
	ClassUnmatchedSignal = "UNMATCHED_SIGNAL" // nobody waits for it, or its time was over first
	ClassSignalOverflow  = "SIGNAL_OVERFLOW"  // the buffer is full
)

// Details of signal-dropped.
const (
	droppedFull     = "FULL"
	droppedExpired  = "EXPIRED"
	droppedEnded    = "ENDED"     // the run ended first
	droppedVoid     = "CANCELLED" // a cancel before the start
	droppedFourEyes = "FOUR_EYES" // the actor may not decide on this
	droppedVoted    = "VOTED"     // the actor has decided already
	droppedNoActor  = "NO_ACTOR"
	droppedDecision = "BAD_DECISION"
)

// signal handles a signal from outside: row 5 and the waits of a run.
func (m *machine) signal(ev *Signal) string {
	payload, reason := m.takesSignal(ev)
	switch reason {
	case "":
		m.deliver(ev, payload)
	case ignoredBadRequest:
		m.deadLetter(ClassInvalidInput, "the signal has no name, or its payload is no JSON of at most "+strconv.Itoa(maxSignalBytes)+" bytes")
	case ignoredNoInstance:
		m.deadLetter(ClassUnmatchedSignal, "no instance "+clip(ev.WorkflowID, maxMessage)+", and the signal has no time to wait for one")
	case ignoredNotActive:
		m.deadLetter(ClassUnmatchedSignal, "the instance is "+m.status())
	case ignoredUnknownDefinition:
		m.deadLetter(ClassUnknownDefinition, "the definition of "+m.inst.WorkflowID+" is not known here")
	}
	return reason
}

// signalAs handles a signal that an operator sends.
func (m *machine) signalAs(ev *Admin) string {
	if ev.Signal == nil {
		return ignoredBadRequest
	}
	sig := *ev.Signal
	if m.inst != nil {
		sig.WorkflowID = m.inst.WorkflowID
	}
	if sig.Actor == "" {
		sig.Actor = ev.Operator
	}
	if sig.ID == "" && ev.RequestID != "" {
		sig.ID = "operator/" + ev.RequestID
	}
	payload, reason := m.takesSignal(&sig)
	if reason != "" {
		return reason
	}
	if m.inst == nil {
		m.openMailbox(&sig)
	}
	m.operated(ev, KV{"name", sig.Name})
	m.deliver(&sig, payload)
	return ""
}

// takesSignal says whether a signal is taken at all, and gives its payload in canonical form.
func (m *machine) takesSignal(ev *Signal) (payload []byte, refused string) {
	payload = []byte("null")
	if len(ev.Payload) > 0 {
		var err error
		if payload, err = CanonicalJSON(ev.Payload); err != nil {
			return nil, ignoredBadRequest
		}
	}
	size := len(ev.Name) + len(ev.ID) + len(ev.Actor) + len(payload)
	if ev.Name == "" || len(ev.Name) > maxSignalName || size > maxSignalBytes {
		return nil, ignoredBadRequest
	}
	inst := m.inst
	switch {
	case inst == nil:
		if ev.WorkflowID == "" || len(ev.WorkflowID) > maxStartBytes {
			return nil, ignoredBadRequest
		}
		if ev.TTL <= 0 {
			return nil, ignoredNoInstance
		}
		return payload, ""
	case ev.ID != "" && slices.Contains(inst.SeenSignals, signalHash(ev.ID)):
		return nil, ignoredDuplicate
	case inst.Phase == Mailbox && ev.TTL <= 0:
		return nil, ignoredNoInstance
	case inst.Phase == Mailbox || inst.Phase == Parked:
		return payload, ""
	case !inst.Phase.Active():
		return nil, ignoredNotActive
	case m.p == nil:
		return nil, ignoredUnknownDefinition
	}
	return payload, ""
}

// signalHash is how an instance remembers a signal ID.
func signalHash(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// openMailbox makes the record that keeps signals until the start.
func (m *machine) openMailbox(ev *Signal) {
	typ, _ := SplitWorkflowID(ev.WorkflowID)
	m.inst = &Instance{WorkflowID: ev.WorkflowID, Type: typ, Run: 1, Rev: 1, Phase: Mailbox, StartedAt: m.now, LastNow: m.now}
}

// deliver takes a signal that takesSignal let through.
func (m *machine) deliver(ev *Signal, payload []byte) {
	if m.inst == nil {
		m.openMailbox(ev)
	}
	inst := m.inst
	m.came = ev.Name
	sig := BufferedSignal{Name: ev.Name, ID: ev.ID, Actor: ev.Actor, Payload: payload, At: m.now}
	if ev.TTL > 0 {
		sig.Expires = afterMillis(m.now, min(ev.TTL, mailboxMax.Milliseconds()))
	}
	taker := -1
	if inst.Phase == Running || inst.Phase == Finishing {
		taker = m.taker(&sig)
	}
	if taker < 0 && m.full(&sig) {
		m.signalFact(KindSignalDropped, "", &sig, KV{"why", droppedFull})
		m.deadLetter(ClassSignalOverflow, "the buffer of "+inst.WorkflowID+" is full")
		if inst.Phase.Active() {
			m.raise("", ReasonSignals, "signals went to the dead letters")
		}
		return
	}
	if ev.ID != "" {
		seen := inst.SeenSignals
		if len(seen) >= maxSeenSignals {
			seen = seen[len(seen)-maxSeenSignals+1:]
		}
		inst.SeenSignals = append(slices.Clone(seen), signalHash(ev.ID))
	}
	m.signalFact(KindSignalled, "", &sig)
	if !strings.HasPrefix(sig.Name, decisionPrefix) && !strings.HasPrefix(sig.Name, eventSignalPrefix) { // no expression asks for those
		m.remind(&sig)
	}
	if taker < 0 {
		inst.Signals = append(slices.Clone(inst.Signals), sig)
		return
	}
	m.take(taker, &sig)
	m.advance()
}

// full says whether the buffer has no room for the signal.
func (m *machine) full(sig *BufferedSignal) bool {
	inst := m.inst
	if len(inst.Signals) >= maxSignals {
		return true
	}
	size := sig.size()
	for k := range inst.Signals {
		size += inst.Signals[k].size()
	}
	return size > maxSignalBytes || inst.weight()+2*sig.size() > maxForwardBytes
}

func (b *BufferedSignal) size() int { return len(b.Name) + len(b.ID) + len(b.Actor) + len(b.Payload) }

// remind keeps the newest payload of a name, within the limits.
func (m *machine) remind(sig *BufferedSignal) {
	inst := m.inst
	at, found := slices.BinarySearchFunc(inst.Latest, sig.Name, func(v NamedValue, name string) int { return strings.Compare(v.Name, name) })
	size := len(sig.Name) + len(sig.Payload)
	for k := range inst.Latest {
		if !found || k != at {
			size += len(inst.Latest[k].Name) + len(inst.Latest[k].Value)
		}
	}
	latest := slices.Clone(inst.Latest)
	switch {
	case size > maxSignalBytes || (!found && len(latest) >= maxLatest):
		if inst.Phase.Active() {
			m.raise("", ReasonSignals, "signals.last keeps at most "+strconv.Itoa(maxLatest)+" names and "+strconv.Itoa(maxSignalBytes)+" bytes: "+clip(sig.Name, maxSignalName))
		}
		if found { // an older value would be a lie
			inst.Latest = slices.Delete(latest, at, at+1)
		}
		return
	case found:
		latest[at].Value = sig.Payload
	default:
		latest = slices.Insert(latest, at, NamedValue{Name: sig.Name, Value: sig.Payload})
	}
	inst.Latest = latest
}

// taker is the first open wait that wants the signal, -1 = none.
func (m *machine) taker(sig *BufferedSignal) int {
	for i := range m.inst.Steps {
		if m.inst.Steps[i].State == StepOpen && m.wants(i, sig) {
			return i
		}
	}
	return -1
}

// wants says whether the open step i waits for the signal.
func (m *machine) wants(i int, sig *BufferedSignal) bool {
	s, d := &m.inst.Steps[i], m.plan(i)
	if s.Lane != 0 && !d.Node.Block() { // the lane of its timeout runs
		return false
	}
	switch d.Node {
	case NodeAwait:
		return m.awaitSignal(i) == sig.Name && m.awaitMatches(i, sig)
	case NodeSleep:
		return contains(d.Sleep.Wake, sig.Name)
	case NodeApprove:
		return sig.Name == decisionPrefix+s.Path && m.canJudge(i)
	}
	return m.blockWants(i, sig.Name)
}

// take lets step i consume a signal that it wants.
func (m *machine) take(i int, sig *BufferedSignal) {
	s, d := &m.inst.Steps[i], m.plan(i)
	m.transitions++
	if d.Node == NodeApprove { // whether it counts remains to be seen
		m.vote(i, sig)
		return
	}
	m.signalFact(KindSignalUsed, s.Path, sig)
	switch d.Node {
	case NodeAwait:
		m.awaited(i, sig)
	case NodeSleep:
		m.slept(i, true)
	default:
		s.disarmTimer()
		m.blockTimer(i)
	}
}

// lookInBuffer lets step i, which has just begun to wait, consume what came before. It says whether
// something was taken.
func (m *machine) lookInBuffer(i int) bool {
	took := false
	for k := 0; k < len(m.inst.Signals); {
		sig := m.inst.Signals[k]
		if m.inst.Steps[i].State != StepOpen || !m.wants(i, &sig) {
			k++
			continue
		}
		sig = m.unbuffer(k)
		m.take(i, &sig)
		took = true
		if m.plan(i).Node != NodeApprove {
			break // everything else takes one
		}
	}
	return took
}

// signalFact is a fact about a signal.
func (m *machine) signalFact(kind Kind, path string, sig *BufferedSignal, more ...KV) {
	detail := append(more, KV{"name", sig.Name})
	if sig.ID != "" {
		detail = append(detail, KV{"signalId", clip(sig.ID, maxRequestID)})
	}
	if sig.Actor != "" {
		detail = append(detail, KV{"actor", clip(sig.Actor, maxCode)})
	}
	m.fact(kind, path, detail...)
}

// expireSignals drops what nothing consumed in its time: row 5. A mailbox without signals goes.
func (m *machine) expireSignals() {
	inst := m.inst
	kept := make([]BufferedSignal, 0, len(inst.Signals))
	var over []BufferedSignal
	for _, sig := range inst.Signals {
		if sig.Expires != 0 && sig.Expires <= m.now {
			over = append(over, sig)
		} else {
			kept = append(kept, sig)
		}
	}
	inst.Signals = kept
	if len(kept) == 0 {
		inst.Signals = nil
	}
	m.unmatched(over, droppedExpired)
	for k := range over { // it may be sent again from the dead letters
		hash := signalHash(over[k].ID)
		if at := slices.Index(inst.SeenSignals, hash); at >= 0 && over[k].ID != "" {
			inst.SeenSignals = slices.Delete(slices.Clone(inst.SeenSignals), at, at+1)
		}
	}
	if len(inst.SeenSignals) == 0 {
		inst.SeenSignals = nil
	}
	if inst.Phase == Mailbox && inst.Signals == nil {
		m.fact(KindExpired, "", KV{"to", "none"})
		m.dropped = true
	}
}

// unmatched sends signals to the dead letters.
func (m *machine) unmatched(list []BufferedSignal, why string) {
	for k := range list {
		sig := &list[k]
		m.signalFact(KindSignalDropped, "", sig, KV{"why", why})
		m.effects = append(m.effects, DeadLetter{Class: ClassUnmatchedSignal, Message: "nothing consumed the signal " + clip(sig.Name, maxSignalName) + ": " + why,
			Signal: &Signal{WorkflowID: m.inst.WorkflowID, Name: sig.Name, ID: sig.ID, Actor: sig.Actor, Payload: sig.Payload, IssuedAt: sig.At}})
	}
}

// signalsDue is when the first buffered signal expires; 0 = none does.
func (i *Instance) signalsDue() Time {
	var due Time
	for k := range i.Signals {
		due = earlier(due, i.Signals[k].Expires)
	}
	return due
}

// dropSignals lets go of what was not consumed when a run ends. That is no fault: a signal may come
// just in case.
func (m *machine) dropSignals() {
	list := m.inst.Signals
	m.inst.Signals = nil
	for k := range list {
		m.signalFact(KindSignalDropped, "", &list[k], KV{"why", droppedEnded})
	}
}

const (
	maxSignals     = 100                 // buffered in an instance
	maxSignalBytes = 64 << 10            // of all buffered signals, and of signals.last
	maxSignalName  = 2048                // bytes; that of a decision has the path of its step
	maxSeenSignals = 256                 // signal IDs that an instance remembers
	maxLatest      = 32                  // names of signals.last
	mailboxMax     = 30 * 24 * time.Hour // a signal waits at most this long
)

// blockWants says whether a block that waits before a round ends its wait because of the signal.
func (m *machine) blockWants(i int, name string) bool {
	s, d := &m.inst.Steps[i], m.plan(i)
	return d.Node == NodeRepeat && s.Until != 0 && !s.Stuck && !m.ending() && contains(d.Repeat.Wake, name)
}

// takeSignal consumes the first buffered signal of one of these names for step i, and says whether
// there was one.
func (m *machine) takeSignal(i int, names ...string) bool {
	at := slices.IndexFunc(m.inst.Signals, func(b BufferedSignal) bool { return contains(names, b.Name) })
	if at < 0 {
		return false
	}
	sig := m.unbuffer(at)
	m.transitions++
	m.signalFact(KindSignalUsed, m.inst.Steps[i].Path, &sig)
	return true
}

// unbuffer takes a signal out of the buffer.
func (m *machine) unbuffer(at int) BufferedSignal {
	sig := m.inst.Signals[at]
	m.inst.Signals = slices.Delete(slices.Clone(m.inst.Signals), at, at+1)
	if len(m.inst.Signals) == 0 {
		m.inst.Signals = nil
	}
	m.settle("", ReasonSignals)
	return sig
}
