package sagas

import (
	"slices"
	"strings"
)

// fact appends one lifecycle record. Seq counts on for as long as the instance has a record; a fact
// about a workflow ID that has none (a rejected start) has Seq 0 and stands outside the count.
func (m *machine) fact(kind Kind, path string, detail ...KV) {
	inst := m.inst
	inst.Seq++
	slices.SortStableFunc(detail, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	l := Lifecycle{
		WorkflowID: inst.WorkflowID,
		Type:       inst.Type,
		Version:    inst.Version,
		Run:        inst.Run,
		Seq:        inst.Seq,
		Rev:        inst.Rev,
		At:         m.now,
		Kind:       kind,
		Path:       path,
		Phase:      inst.Phase,
		Cause:      inst.Cause.String(),
		Detail:     detail,
	}
	if len(inst.Attention) > 0 {
		l.Attention = make([]string, len(inst.Attention))
		for i, a := range inst.Attention {
			l.Attention[i] = a.String()
		}
	}
	m.effects = append(m.effects, l)
}

// deadLetter asks for the input record of this event to be kept.
func (m *machine) deadLetter(class, message string) {
	m.effects = append(m.effects, DeadLetter{Class: class, Message: m.clean(message)})
}

// clean takes personal values out of a text that comes from outside, before it is kept: what participants
// write about a refusal goes into the state, the lifecycle, alerts and traces.
func (m *machine) clean(text string) string {
	if text == "" || m.p.Private() == nil {
		return text
	}
	return m.p.private.Words(m.inst).Text(text)
}

// command emits one command. REQUIRES: the state of the step already counts this attempt.
func (m *machine) command(i int, a Address, key, forward Key, participant, name, topic string, deadline Time, payload []byte) {
	c := Command{
		Address:     a,
		WorkflowID:  m.inst.WorkflowID,
		Type:        m.inst.Type,
		Version:     m.inst.Version,
		Participant: participant,
		Topic:       commandTopic(topic, participant),
		Name:        name,
		Key:         key.String(),
		Deadline:    deadline,
		Payload:     payload,
		Trace:       traceparent(m.p.Namespace, m.inst.WorkflowID, m.inst.Run, key, a.Attempt),
	}
	if a.Op != OpDo {
		c.ForwardKey = forward.String()
	}
	if len(m.p.Correlates) > 0 { // before the command: an answer cannot come first
		m.expectReply(i, &c)
	}
	m.effects = append(m.effects, c)
}

// key is the idempotency key of an operation of step i.
func (m *machine) key(i int, op Op, round uint32) Key {
	return idempotencyKey(m.p.Namespace, m.inst.WorkflowID, m.inst.Run, m.inst.Steps[i].Path, op, round)
}

// result answers the start's ReplyTo, once for each way in which the run ended.
func (m *machine) result() {
	inst := m.inst
	if inst.ReplyTo == "" || inst.Answered == inst.Phase {
		return
	}
	if !m.may(inst.ReplyTo, "", SendResult) {
		return
	}
	inst.Answered = inst.Phase
	r := Result{Topic: inst.ReplyTo, WorkflowID: inst.WorkflowID, Run: inst.Run, Phase: inst.Phase, Cause: inst.Cause.String()}
	if inst.Phase == Completed {
		r.Output = inst.Output
	}
	m.effects = append(m.effects, r)
}
