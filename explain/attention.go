package explain

import (
	"fmt"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// attended says what each reason for attention means here. Reasons that are not listed were set by the
// runtime when it gave up on a timer or a record.
var attended = map[sagas.Reason]struct {
	cause Cause
	note  bool // the instance goes on all the same, or retries do
	text  string
}{
	sagas.ReasonExpr:           {cause: CauseExpression, text: "an expression of the definition failed"},
	sagas.ReasonTooLarge:       {cause: CauseExpression, text: "what has to be sent or kept is too large"},
	sagas.ReasonOutput:         {cause: CauseExpression, note: true, text: "the step is done, but its output could not be kept"},
	sagas.ReasonUnknownOutcome: {cause: CauseUnknownOutcome, text: "whether it took effect is not known, and no rule may decide it"},
	sagas.ReasonBudgetSpent:    {cause: CauseAttention, note: true, text: "its attempts are used up; it is tried on slowly"},
	sagas.ReasonSlow:           {cause: CauseAttention, note: true, text: "it takes longer than it should"},
	sagas.ReasonRefused:        {cause: CauseContract, text: "the participant refused a step that may not be refused"},
	sagas.ReasonContradiction:  {cause: CauseContract, note: true, text: "two definite answers to one key contradict each other"},
	sagas.ReasonPhantom:        {cause: CauseContract, note: true, text: "a command was answered that was never sent"},
	sagas.ReasonDeadline:       {cause: CauseAttention, note: true, text: "the deadline passed while the commit point was in flight"},
	sagas.ReasonUndoSlow:       {cause: CauseUndoFailing, note: true, text: "its undo takes longer than it should"},
	sagas.ReasonUndoFailed:     {cause: CauseUndoFailing, text: "nothing more is tried"},
	sagas.ReasonUndoNoop:       {cause: CauseUndoFailing, text: "nothing more is tried"},
	sagas.ReasonKeyWindow:      {cause: CauseUnknownOutcome, text: "the participant may have forgotten its key: another command could act twice"},
	sagas.ReasonNoUndo:         {cause: CauseUndoFailing, text: "it may have an effect, and there is no undo for it"},
	sagas.ReasonLateEffect:     {cause: CauseContract, text: "it took effect after it was counted as without effect"},
	sagas.ReasonTwice:          {cause: CauseContract, note: true, text: "an earlier key took effect beside the fresh one"},
	sagas.ReasonLivelock:       {cause: CausePoison, text: "one event caused too many transitions: a fault of amends"},
	sagas.ReasonChildClosed:    {cause: CauseChildClosed, text: "an operator closed its child: what that left behind is not known here"},
	sagas.ReasonSignals:        {cause: CauseSignalsFull, note: true, text: "its buffer of signals is full: further ones go to the dead letters"},
}

// attention lists what asks for a person.
func (x *explainer) attention() (list []blocker) {
	for _, a := range x.Instance.Attention {
		what, known := attended[a.Reason]
		if !known {
			list = append(list, x.poison(a))
			continue
		}
		b := blocker{rank: rankPerson, cause: what.cause, by: HeldByPerson, path: a.Path, reason: a.Reason, since: a.Since}
		switch {
		case what.note && x.Instance.Phase.Active():
			b.rank = rankNoWait // steps say what it waits for
		case what.cause == CauseUndoFailing || a.Reason == sagas.ReasonKeyWindow && x.owes(a.Path):
			b.rank, b.cause = rankUndo, CauseUndoFailing
		}
		subject := a.Path
		if subject == "" {
			subject = "The instance"
		}
		text := ""
		if a.Text != "" && !strings.Contains(what.text, a.Text) {
			text = ": " + strings.TrimRight(a.Text, ".")
		}
		b.sentence = fmt.Sprintf("%s needs a person (%s%s): %s%s%s.", subject, a.Reason, x.ago(a.Since), what.text, text, x.deadline())
		b.act = func([]Action) []Action {
			list := x.admin(nil, a.Path, "looked at", a.Reason.Helps()...)
			if x.Instance.Phase.Active() {
				list = x.admin(list, "", "given up", sagas.AdminClose)
			}
			if len(list) == 0 {
				list = append(list, x.look("see what became of it", x.WorkflowID))
			}
			return list
		}
		list = append(list, b)
	}
	return list
}

// owes says whether the step of path is on its way back.
func (x *explainer) owes(path string) bool {
	k := x.Instance.StepIndex(path)
	return k >= 0 && x.Instance.Steps[k].Undo != sagas.UndoNone
}

// poison is about an instance that the runtime set aside: its timer could not be worked.
func (x *explainer) poison(a sagas.Attention) blocker {
	next := x.Instance.NextDue()
	b := blocker{rank: rankWhole, cause: CausePoison, by: HeldByPerson, path: a.Path, reason: a.Reason, since: a.Since, next: next, letter: x.DeadLetter,
		sentence: fmt.Sprintf("It was set aside (%s%s): %s%s.", a.Reason, x.ago(a.Since), strings.TrimRight(a.Text, "."), x.until("it is tried again", next))}
	b.actions = []Action{elsewhere("read the log of the process that owns it for this workflow ID, cure the fault there, and wait until it is tried again")}
	b.actions = x.admin(b.actions, "", "it cannot go on", sagas.AdminCompensate, sagas.AdminClose)
	return b
}
