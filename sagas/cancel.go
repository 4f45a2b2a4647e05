package sagas

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

// cancel handles rows 4, 9, 10, 13 and 16. Every request ID gets exactly one of cancel-acked and
// cancel-refused, at once or (row 10) when the pivot's outcome is known.
func (m *machine) cancel(ev *Cancel) string {
	id := ev.RequestID
	if len(id) > maxRequestID {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])
	}
	if m.inst == nil && (ev.WorkflowID == "" || len(ev.WorkflowID) > maxStartBytes) {
		return ignoredUnknownInstance
	}
	if m.inst == nil { // row 4
		m.void(ev)
		m.answerCancel(id, KindCancelAcked, KV{"status", Void.String()})
		return ""
	}
	inst := m.inst
	if inst.Phase.Active() && m.p == nil {
		return ignoredUnknownDefinition
	}
	if slices.ContainsFunc(inst.Cancels, func(c CancelRequest) bool { return c.ID == id }) {
		return ignoredDuplicate
	}
	switch inst.Phase {
	case Mailbox: // row 4
		m.becomeVoid(ev)
		m.answerCancel(id, KindCancelAcked, KV{"status", Void.String()})
	case Parked: // row 4: the start has not begun, and now it never will
		m.fact(KindRejected, "", KV{"code", codeCancelled})
		m.rejectChild(&Start{WorkflowID: inst.WorkflowID, Parent: inst.Parent}, codeCancelled, "")
		m.becomeVoid(ev)
		m.answerCancel(id, KindCancelAcked, KV{"status", Void.String()})
	case Running:
		if m.pivotInFlight() { // row 10
			if !m.remember(id, true) {
				m.fact(KindCancelRefused, "", KV{"reason", "TOO_MANY"}, KV{"requestId", id})
				return ""
			}
			inst.CancelRequested = true
			m.fact(KindCancelRequested, "", KV{"actor", clip(ev.Actor, maxCode)}, KV{"reason", clip(ev.Reason, maxMessage)}, KV{"requestId", id})
			return ""
		}
		m.answerCancel(id, KindCancelAcked, asked(ev, KV{"status", Compensating.String()})...) // row 9
		m.compensate(Cause{Kind: CauseCancel, Message: clip(ev.Reason, maxMessage)})
		m.advance()
	case Compensating: // row 16
		m.answerCancel(id, KindCancelAcked, asked(ev, KV{"open", strconv.Itoa(m.openDebts())}, KV{"status", inst.Phase.String()})...)
	case Finishing: // row 13
		m.answerCancel(id, KindCancelRefused, KV{"reason", "COMMITTED"})
	default:
		m.cancelEnded(id)
	}
	return ""
}

// cancelEnded answers a cancel that comes after the end, or repeats one that came before the start.
func (m *machine) cancelEnded(id string) {
	ended := m.inst.Phase
	if ended == Marker {
		ended = m.inst.Ended
	}
	switch ended {
	case Completed:
		m.answerCancel(id, KindCancelRefused, KV{"reason", "COMMITTED"})
	case Closed:
		m.answerCancel(id, KindCancelRefused, KV{"reason", "CLOSED"})
	default: // COMPENSATED, VOID: what was asked for is so
		m.answerCancel(id, KindCancelAcked, KV{"status", ended.String()})
	}
}

// void makes the record that forbids a later start.
func (m *machine) void(ev *Cancel) {
	typ, _ := SplitWorkflowID(ev.WorkflowID)
	m.inst = &Instance{WorkflowID: ev.WorkflowID, Type: typ, Run: 1, Rev: 1, StartedAt: m.now, LastNow: m.now}
	m.becomeVoid(ev)
}

func (m *machine) becomeVoid(ev *Cancel) {
	inst := m.inst
	keep := min(ev.VoidTTL, voidMax.Milliseconds())
	if keep <= 0 {
		keep = voidDefault.Milliseconds()
	}
	inst.Phase = Void
	inst.Expires = afterMillis(m.now, keep)
	inst.Input, inst.Tags, inst.ReplyTo, inst.Trace, inst.Parent = nil, nil, "", "", nil
	box := inst.Signals
	inst.Signals, inst.Latest, inst.SeenSignals = nil, nil, nil
	m.unmatched(box, droppedVoid)
	m.fact(KindVoided, "", KV{"actor", clip(ev.Actor, maxCode)}, KV{"reason", clip(ev.Reason, maxMessage)},
		KV{"ttl", (time.Duration(keep) * time.Millisecond).String()})
}

// asked adds who asked for a cancel that is taken at once, and why: no other fact says it.
func asked(ev *Cancel, detail ...KV) []KV {
	if ev.Actor != "" {
		detail = append(detail, KV{"actor", clip(ev.Actor, maxCode)})
	}
	if ev.Reason != "" {
		detail = append(detail, KV{"reason", clip(ev.Reason, maxMessage)})
	}
	return detail
}

// answerCancel answers one request for good.
func (m *machine) answerCancel(id string, kind Kind, detail ...KV) {
	m.remember(id, false)
	m.fact(kind, "", append(detail, KV{"requestId", id})...)
}

// remember keeps a request ID; the oldest answered one makes room. It says whether it could: one that
// still waits is never forgotten.
func (m *machine) remember(id string, pending bool) bool {
	c := slices.Clone(m.inst.Cancels)
	if len(c) >= maxCancels {
		at := slices.IndexFunc(c, func(c CancelRequest) bool { return !c.Pending })
		if at < 0 {
			return false
		}
		c = slices.Delete(c, at, at+1)
	}
	m.inst.Cancels = append(c, CancelRequest{ID: id, Pending: pending})
	return true
}

// settleCancels answers the cancels that waited for the pivot (rows 11, 12 and 17).
func (m *machine) settleCancels(kind Kind, detail KV) {
	m.inst.CancelRequested = false
	if !slices.ContainsFunc(m.inst.Cancels, func(c CancelRequest) bool { return c.Pending }) {
		return
	}
	m.inst.Cancels = slices.Clone(m.inst.Cancels)
	for i := range m.inst.Cancels {
		if c := &m.inst.Cancels[i]; c.Pending {
			c.Pending = false
			m.fact(kind, "", detail, KV{"requestId", c.ID})
		}
	}
}
