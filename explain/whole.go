package explain

import (
	"fmt"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// DeadLetter is a record that was set aside.
type DeadLetter struct {
	Topic     string `json:"topic"` // where it lies
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Source    string `json:"source"` // <topic>[<partition>]@<offset> where it came from
	Class     string `json:"class"`
	Message   string `json:"message,omitempty"`
}

func (d *DeadLetter) place() string { return fmt.Sprintf("%s[%d]@%d", d.Topic, d.Partition, d.Offset) }

// missing is about a workflow ID without an instance.
func (x *explainer) missing() blocker {
	if d := x.DeadLetter; d != nil {
		return blocker{cause: CausePoison, by: HeldByPerson, letter: d,
			sentence: fmt.Sprintf("There is no instance %s: its record %s was set aside as %s (%s) and is at %s.", x.WorkflowID, d.Source, d.Class, d.Message, d.place()),
			actions:  []Action{elsewhere("correct what the dead letter names, and write the record to its topic again")}}
	}
	return blocker{rank: rankNoWait, cause: CauseNotFound,
		sentence: fmt.Sprintf("There is no instance %s: it was never started, or its retention has ended.", x.WorkflowID),
		actions:  []Action{elsewhere("look for its start on the intake topic: the key of the record is the workflow ID")}}
}

// ended is about a run that is over.
func (x *explainer) ended() blocker {
	i := x.Instance
	s := fmt.Sprintf("The run is over: %v%s", i.Phase, x.ago(i.EndedAt))
	if i.Phase == sagas.Marker {
		s = fmt.Sprintf("The run is over: %v%s; only a marker of it is kept", i.Ended, x.ago(i.EndedAt))
	}
	if cause := i.Cause.String(); cause != "" {
		s += " (" + cause + ")"
	}
	b := blocker{rank: rankNoWait, cause: CauseEnded, since: i.EndedAt, next: i.Expires}
	if len(i.Residue) > 0 {
		s += "; these may have effects that nobody takes back: " + strings.Join(i.Residue, ", ")
		b.actions = append(b.actions, elsewhere("settle the residue by hand, with the participants"))
	}
	b.sentence = s + "."
	return b
}

// beforeStart is about a workflow ID that something came for, but no start.
func (x *explainer) beforeStart() blocker {
	i := x.Instance
	b := blocker{cause: CauseBeforeStart, by: HeldBySignal, since: i.StartedAt, next: i.Expires}
	if i.Phase == sagas.Void {
		b.sentence = "It was cancelled before it was started: a start that still comes is refused" + x.until("that is forgotten", i.Expires) + "."
		b.actions = []Action{elsewhere("start it under another id, if it is wanted after all")}
		return b
	}
	b.sentence = fmt.Sprintf("It was not started yet: %s for it%s.", waitsText(len(i.Signals)), x.until("the first is set aside", i.NextDue()))
	typ, id := sagas.SplitWorkflowID(i.WorkflowID)
	b.actions = []Action{{Do: "start it", Command: "amends start " + quote(typ) + " --id " + quote(id)}}
	return b
}

func waitsText(signals int) string {
	if signals == 1 {
		return "1 signal waits"
	}
	return fmt.Sprintf("%d signals wait", signals)
}

// parked is about a start whose definition this process does not have, or may not use yet.
func (x *explainer) parked() blocker {
	i := x.Instance
	b := x.definition(x.until("it is set aside", i.Expires))
	b.since, b.next = i.StartedAt, i.Expires
	return b
}

// withoutPlan is about a run whose definition this process cannot use any more.
func (x *explainer) withoutPlan() blocker {
	b := x.definition("")
	b.since = x.Instance.LastNow
	b.actions = x.admin(b.actions, "", "its definition is gone", sagas.AdminClose)
	return b
}

// definition says what is wrong with the definition of the instance.
func (x *explainer) definition(tail string) blocker {
	i, d := x.Instance, x.Definition
	ref := fmt.Sprintf("%s@%d", i.Type, i.Version)
	if i.Version == 0 {
		ref = i.Type
	}
	b := blocker{rank: rankWhole, cause: CauseUnknownVersion, by: HeldByDefinition}
	apply := Action{Do: "publish it: what waits goes on by itself", Command: "amends apply FILE"}
	switch {
	case !d.Published && i.Version == 0:
		b.sentence = fmt.Sprintf("No version of %s is active, so the start waits%s.", ref, tail)
		b.actions = []Action{apply, {Do: "or see what is published", Command: "amends def list"}}
	case !d.Published:
		b.sentence = fmt.Sprintf("Version %s is not published, so it waits%s.", ref, tail)
		b.actions = []Action{apply, {Do: "or see what is published", Command: "amends def list"}}
	case missingTopic(d.Fault):
		b.cause = CauseNoTopic
		b.sentence = fmt.Sprintf("Version %s is published, but a topic that it sends to does not exist: %s%s.", ref, strings.TrimRight(d.Fault, "."), tail)
		b.actions = []Action{elsewhere("create the topic; it is looked for every 10 seconds, and what waits goes on by itself")}
	case Denied(d.Fault):
		b.cause = CauseACLMissing
		b.sentence = fmt.Sprintf("Version %s is published, but Kafka does not let this process see a topic that it sends to: %s%s.", ref, strings.TrimRight(d.Fault, "."), tail)
		b.actions = []Action{elsewhere("allow the principal of amends Describe and Write on the topic; what waits goes on by itself")}
	case d.Fault != "":
		b.sentence = fmt.Sprintf("Version %s is published, but this process cannot use it: %s%s.", ref, strings.TrimRight(d.Fault, "."), tail)
		b.actions = []Action{elsewhere("upgrade the processes, or raise the feature level when all are upgraded (amends level)")}
	default:
		b.sentence = fmt.Sprintf("Version %s is published with another content than the one that the run began with%s.", ref, tail)
		b.actions = []Action{elsewhere("restore the definitions topic: a published version never changes")}
	}
	return b
}

// moving is about an instance that nothing holds.
func (x *explainer) moving() blocker {
	i := x.Instance
	return blocker{rank: rankNoWait, cause: CauseMoving, since: i.LastNow, next: i.NextDue(),
		sentence: fmt.Sprintf("Nothing holds it: it is %v, and its last change was %s ago%s.", i.Phase, span(int64(x.Now-i.LastNow)), x.until("it is looked at", i.NextDue()))}
}
