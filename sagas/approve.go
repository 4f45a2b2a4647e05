package sagas

import (
	"slices"
	"strconv"
	"strings"
)

// An approve node asks people: facts task-opened, task-reminded and task-decided carry the question to
// them, signals "decision/<path>" bring back what they say. Whether an actor has one of the roles is
// for the edge to check, where actors log in; the machine counts who decided and who may not.

// decisionPrefix and the path of the step make the name of the signals that decide it.
const decisionPrefix = "decision/"

// codeDeclined is the code of an approve node that somebody refused.
const codeDeclined = "DECLINED"

// openApprove opens the task and counts the decisions that came before.
func (m *machine) openApprove(i int) {
	s, d := &m.inst.Steps[i], m.plan(i).Approve
	m.openWait(i, d.Within, d.RemindEvery)
	m.fact(KindTaskOpened, s.Path, m.task(i)...)
	m.lookInBuffer(i)
}

// task is what a fact about an open task says.
func (m *machine) task(i int) []KV {
	d := m.plan(i).Approve
	return m.untilDetail(i, KV{"quorum", strconv.FormatUint(uint64(max(d.Quorum, 1)), 10)}, KV{"roles", strings.Join(d.Roles, ",")})
}

// remindPeople tells of a task that is still open.
func (m *machine) remindPeople(i int) {
	m.transitions++
	m.armWait(i, m.plan(i).Approve.RemindEvery)
	m.fact(KindTaskReminded, m.inst.Steps[i].Path, m.task(i)...)
}

// vote counts one decision: enough approvals resolve the node, one refusal fails it.
func (m *machine) vote(i int, sig *BufferedSignal) {
	s, d := &m.inst.Steps[i], m.plan(i).Approve
	decision, comment, ok := readDecision(sig.Payload)
	if why := m.mayNotVote(i, sig, ok); why != "" {
		m.signalFact(KindSignalDropped, s.Path, sig, KV{"why", why})
		return
	}
	m.signalFact(KindSignalUsed, s.Path, sig)
	approve := decision == "approve"
	s.Votes = append(slices.Clone(s.Votes), Vote{Actor: sig.Actor, Approve: approve, Comment: comment, At: m.now})
	m.fact(KindTaskDecided, s.Path, KV{"actor", clip(sig.Actor, maxCode)}, KV{"comment", comment}, KV{"decision", decision})
	if approve && len(s.Votes) < int(max(d.Quorum, 1)) {
		return
	}
	s.Output = appendDecision(decision, sig.Actor, comment)
	if approve {
		m.leafDone(i)
		return
	}
	m.leafFail(i, codeDeclined, comment)
}

// mayNotVote says why a decision does not count, "" when it does.
func (m *machine) mayNotVote(i int, sig *BufferedSignal, readable bool) string {
	s, d := &m.inst.Steps[i], m.plan(i).Approve
	switch {
	case !readable:
		return droppedDecision
	case sig.Actor == "":
		return droppedNoActor
	case slices.ContainsFunc(s.Votes, func(v Vote) bool { return v.Actor == sig.Actor }):
		return droppedVoted
	case d.Not == nil:
		return ""
	}
	if barred, err := actors(d.Not, m.scopeAt(i)); err != nil || slices.Contains(barred, sig.Actor) {
		return droppedFourEyes
	}
	return ""
}

// canJudge says whether it is known who may decide. If not, decisions stay in the buffer until a
// person has looked at the expression.
func (m *machine) canJudge(i int) bool {
	d := m.plan(i).Approve
	if d.Not == nil {
		return true
	}
	_, err := actors(d.Not, m.scopeAt(i))
	if err != nil {
		m.raise(m.inst.Steps[i].Path, ReasonExpr, "approve.not: "+err.Error())
	}
	return err == nil
}

// readDecision reads the payload {decision: approve or refuse, comment?}.
func readDecision(payload []byte) (decision, comment string, ok bool) {
	v, err := parseJSON(payload)
	o, isObject := v.(*object)
	if err != nil || !isObject {
		return "", "", false
	}
	for _, f := range o.fields {
		text, isText := f.val.(string)
		switch f.key {
		case "decision":
			decision = text
		case "comment":
			if !isText && f.val != nil {
				return "", "", false
			}
			comment = clip(text, maxMessage)
		}
	}
	return decision, comment, decision == "approve" || decision == "refuse"
}

// appendDecision is the output of an approve node, canonical JSON.
func appendDecision(decision, actor, comment string) []byte {
	b := appendString([]byte(`{"actor":`), clip(actor, maxCode))
	b = appendString(append(b, `,"comment":`...), comment)
	b = appendString(append(b, `,"decision":`...), decision)
	return append(b, '}')
}
