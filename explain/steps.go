package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// patience is how long a command may be on its way before somebody holds it, in ms.
const patience = 5_000

// steps lists what the steps of a running instance wait for.
func (x *explainer) steps() (list []blocker) {
	for k := range x.Instance.Steps {
		s := &x.Instance.Steps[k]
		if s.Stuck {
			continue // attention says why
		}
		if a, sent := askOf(x.Instance, x.Plan, s); sent && s.Timer != (sagas.Timer{}) {
			list = append(list, x.inFlight(s, a))
			continue
		}
		if s.State == sagas.StepOpen && s.Undo == sagas.UndoNone {
			if b, waits := x.open(s); waits {
				list = append(list, b)
			}
		}
		if s.Child != "" && (s.Undo == sagas.UndoPending || s.Undo == sagas.UndoBackoff) {
			list = append(list, blocker{rank: rankAnswer, cause: CauseChild, by: HeldByChild, path: s.Path, since: s.UndoSent, next: s.Timer.Due,
				sentence: fmt.Sprintf("%s has asked its child %s to go back, and waits until it has%s.", s.Path, s.Child, x.ago(s.UndoSent)),
				actions:  []Action{explainIt(s.Child)},
				act: func(list []Action) []Action {
					return x.admin(list, s.Path, "settled by hand", sagas.AdminResolve, sagas.AdminWaive)
				}})
		}
	}
	return list
}

// reasonOf is the reason for attention that a step has, the first of those given.
func (x *explainer) reasonOf(path string, reasons ...sagas.Reason) sagas.Reason {
	for _, a := range x.Instance.Attention {
		if a.Path == path && slices.Contains(reasons, a.Reason) {
			return a.Reason
		}
	}
	return ""
}

// inFlight is about a command that was sent and is not answered.
func (x *explainer) inFlight(s *sagas.StepState, a Ask) blocker {
	d := &x.Plan.Steps[s.Node]
	c := x.command(s.Path, a.Op)
	b := blocker{rank: rankAnswer, by: HeldByParticipant, path: s.Path, since: a.From, next: s.Timer.Due, command: c,
		reason: x.reasonOf(s.Path, sagas.ReasonSlow, sagas.ReasonBudgetSpent, sagas.ReasonUndoSlow, sagas.ReasonDeadline)}
	name := d.Command
	if a.Op == sagas.OpUndo {
		name = s.Record.Command
	}
	what := fmt.Sprintf("%s of step %s", name, s.Path)
	if a.Op != sagas.OpDo {
		what = fmt.Sprintf("the %v %s of step %s", a.Op, name, s.Path)
	}
	waits := s.Timer.Kind == sagas.TimerPause
	next := "without an answer it is sent again"
	if waits {
		next = "the next attempt is"
		b.by = HeldByPause
	}
	attempts := plural(int64(a.Attempt), "attempt")
	tail := x.until(next, s.Timer.Due) + x.deadline() + "."

	if held, shut := x.topicHolds(s.Path, a.Topic, what); shut {
		held.since, held.reason, held.command = b.since, b.reason, c
		return held
	}
	cause, clause := c.verdict()
	// Who has answered once is there, even if no group shows it.
	down := cause == CauseNoMembers || cause == CauseLag || cause == CauseNoTopic || cause == CauseParticipantDown && !(s.Code != "" && c.Group == "")
	if x.Now-a.From < patience && a.Attempt <= 1 && !waits && cause != CauseParticipantDown && cause != CauseNoMembers && cause != CauseNoTopic {
		b.rank, b.cause, b.by = rankNoWait, CauseMoving, HeldByNobody
		b.sentence = fmt.Sprintf("%s was sent to %s %s ago and is on its way%s", what, a.Participant, span(int64(x.Now-a.From)), tail)
		return b
	}
	b.cause = cause
	if clause != "" {
		clause = ": " + clause
	}
	if cause == CauseParticipantDown && !down {
		b.cause, clause = CauseParticipantAsked, ": its command is at "+c.place()
	}
	switch {
	case s.Code == sagas.ClassBadReply && !down:
		b.rank, b.cause = rankWhole, CausePoison
		b.sentence = fmt.Sprintf("%s answers %s with records that cannot be read%s; they are among the dead letters (%s)%s",
			a.Participant, what, said("", s.Message), attempts, tail)
		b.letter = x.DeadLetter
	case a.Op == sagas.OpUndo && !down && (s.Code != "" || a.Attempt > 1):
		b.rank, b.cause = rankUndo, CauseUndoFailing
		answer := "does not answer"
		if s.Code != "" {
			answer = "answers" + said(s.Code, s.Message)
		}
		b.sentence = fmt.Sprintf("The effect of %s has to be undone, and %s %s to %s (%s%s)%s%s", s.Path, a.Participant, answer, name, attempts, x.ago(a.From), clause, tail)
	case s.Code != "" && waits && !down:
		b.cause = CauseParticipantFailing
		b.sentence = fmt.Sprintf("%s answered %s with%s (%s%s)%s%s", a.Participant, what, said(s.Code, s.Message), attempts, x.ago(a.From), clause, tail)
	default:
		b.sentence = fmt.Sprintf("%s has not answered %s (%s%s)%s%s", a.Participant, what, attempts, x.ago(a.From), clause, tail)
	}
	b.act = func([]Action) []Action { return x.remedies(s, a, b.cause) }
	return b
}

// remedies are what helps against a participant that does not answer, the cure before the way round.
func (x *explainer) remedies(s *sagas.StepState, a Ask, cause Cause) (list []Action) {
	group := "its consumer group"
	if c := x.command(s.Path, a.Op); c != nil && c.Group != "" {
		group = "group " + c.Group
	}
	why := a.Participant + " was repaired"
	switch cause {
	case CauseParticipantDown, CauseNoMembers:
		list = append(list, elsewhere(fmt.Sprintf("start %s: the command waits on %s and is answered when it comes", a.Participant, a.Topic)))
	case CauseLag:
		list = append(list, elsewhere(fmt.Sprintf("wait, or give %s more members: up to one for each partition of %s", group, a.Topic)))
	case CauseNoTopic:
		list = append(list, elsewhere("create topic "+a.Topic+" again; what was on it is gone, and is sent again by itself"))
	case CausePoison:
		list = append(list, elsewhere(fmt.Sprintf("read the dead letters of %s and correct the answers of %s", x.WorkflowID, a.Participant)))
	case CauseParticipantFailing, CauseUndoFailing:
		list = append(list, elsewhere(fmt.Sprintf("find out from %s what the answer means and cure it; attempts go on by themselves", a.Participant)))
	default:
		list = append(list, elsewhere(fmt.Sprintf("look at the log of %s for %s: it has the command, or cannot see it", a.Participant, x.WorkflowID)))
	}
	if cause != CauseLag {
		list = x.admin(list, s.Path, why, sagas.AdminRetry)
	}
	list = x.admin(list, s.Path, a.Participant+" is slow", sagas.AdminExtend)
	list = x.admin(list, s.Path, "asked "+a.Participant, sagas.AdminResolve)
	if a.Op == sagas.OpUndo {
		return x.admin(list, s.Path, "settled by hand", sagas.AdminWaive)
	}
	list = x.admin(list, "", a.Participant+" does not answer", sagas.AdminCompensate)
	return list
}

// deadline is the end of the whole instance, in a clause.
func (x *explainer) deadline() string {
	if d := x.Instance.Deadline; d != 0 && x.Instance.Phase == sagas.Running {
		return x.until("the saga's deadline is", d)
	}
	return ""
}

// explainIt asks the same of another instance.
func explainIt(workflowID string) Action {
	return Action{Do: "see why " + workflowID + " does not end", Command: "amends explain " + quote(workflowID)}
}

// open is about a node that waits: a person, a signal, a time, a child.
func (x *explainer) open(s *sagas.StepState) (b blocker, waits bool) {
	d := &x.Plan.Steps[s.Node]
	b = blocker{rank: rankDecision, path: s.Path, next: s.Until}
	wid := quote(x.WorkflowID)
	switch d.Node {
	case sagas.NodeApprove:
		b.cause, b.by = CauseApproval, HeldByPerson
		yes := 0
		for _, v := range s.Votes {
			if v.Approve {
				yes++
			}
			b.since = max(b.since, v.At)
		}
		quorum := max(d.Approve.Quorum, 1)
		b.sentence = fmt.Sprintf("%s waits for a person of %s to decide: %d of %s%s%s.", s.Path, strings.Join(d.Approve.Roles, " or "),
			yes, plural(int64(quorum), "approval"), x.until("it times out", s.Until), x.deadline())
		b.actions = append(b.actions,
			Action{Do: s.Path + ": approve it", Command: "amends approve " + wid + " " + quote(s.Path), Path: s.Path},
			Action{Do: s.Path + ": refuse it", Command: "amends refuse " + wid + " " + quote(s.Path), Path: s.Path})
	case sagas.NodeAwait:
		b.cause, b.by = CauseSignal, HeldBySignal
		unfit, name := "", sagas.AwaitedSignal(d, s)
		for k := range x.Instance.Signals {
			if x.Instance.Signals[k].Name == name {
				unfit = ", and those that came do not meet its condition"
			}
		}
		if d.Await.Route != "" {
			_, value, _ := sagas.AwaitedValue(s)
			b.sentence = fmt.Sprintf("%s waits for an event of topic %s with match value %q%s%s%s.", s.Path, d.Await.Topic, value, unfit, x.until("it times out", s.Until), x.deadline())
			b.actions = append(b.actions, Action{Do: "send the event as a signal, when it has happened and was not published", Command: "amends signal " + wid + " " + quote(name), Path: s.Path})
			break
		}
		b.sentence = fmt.Sprintf("%s waits for the signal %s%s%s%s.", s.Path, d.Await.Signal, unfit, x.until("it times out", s.Until), x.deadline())
		b.actions = append(b.actions, Action{Do: "send the signal, when what it stands for has happened", Command: "amends signal " + wid + " " + quote(d.Await.Signal), Path: s.Path})
	case sagas.NodeSleep, sagas.NodeScope, sagas.NodeRepeat:
		if s.Until == 0 {
			return b, false // its body runs
		}
		b.cause, b.by = CauseSleeping, HeldByTime
		b.sentence = fmt.Sprintf("%s waits for a time, as its definition says%s%s.", s.Path, x.until("it goes on", s.Until), x.deadline())
		if d.Sleep != nil {
			for _, name := range d.Sleep.Wake {
				b.actions = append(b.actions, Action{Do: "end the wait early", Command: "amends signal " + wid + " " + quote(name), Path: s.Path})
			}
		}
		b.actions = append(b.actions, elsewhere("nothing: it goes on by itself"))
	case sagas.NodeSaga:
		if s.Child == "" {
			return b, false
		}
		b.cause, b.by = CauseChild, HeldByChild
		b.sentence = fmt.Sprintf("%s waits for its child %s to end%s.", s.Path, s.Child, x.deadline())
		b.actions = append(b.actions, explainIt(s.Child))
	default:
		return b, false
	}
	b.act = func(list []Action) []Action {
		list = x.admin(list, s.Path, "more time", sagas.AdminExtend)
		if d.Node != sagas.NodeSaga {
			list = x.admin(list, s.Path, "decided by hand", sagas.AdminSkip)
		}
		return x.admin(list, "", "not wanted any more", sagas.AdminCompensate)
	}
	return b, true
}
