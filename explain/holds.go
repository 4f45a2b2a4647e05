package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// held is about what would be sent if its topic took it.
func (x *explainer) held() (list []blocker) {
	for _, w := range x.Instance.Waiting(x.Plan) {
		what := "what " + w.Path + " has to send"
		if w.Path == "" {
			what = "the result"
		}
		if b, shut := x.topicHolds(w.Path, w.Topic, what); shut {
			list = append(list, b)
		}
	}
	return list
}

// topicHolds says whether a topic takes nothing, and why.
func (x *explainer) topicHolds(path, topic, what string) (b blocker, shut bool) {
	b = blocker{rank: rankTopic, path: path, by: HeldByBreaker}
	c := x.command(path, 0)
	if c != nil && c.Topic != topic {
		c = nil
	}
	b.command = c
	i := slices.IndexFunc(x.Breakers, func(k Breaker) bool { return k.Topic == topic })
	if i < 0 {
		if c != nil && c.TopicState == TopicMissing {
			b.cause = CauseNoTopic
			b.sentence = fmt.Sprintf("Topic %s does not exist, so %s cannot be sent%s.", topic, what, x.deadline())
			b.act = func([]Action) []Action { return x.topicActions(path, topic, b.cause) }
			return b, true
		}
		return b, false
	}
	k := x.Breakers[i]
	b.since = k.Since
	switch {
	case k.State == "closed":
		b.cause, b.by = CauseLimited, HeldByPause
		b.sentence = fmt.Sprintf("Records to %s are held back by its rate or by the budget of repetitions, and so is %s%s.", topic, what, x.deadline())
		b.actions = append(b.actions, elsewhere("nothing: it is sent when its turn comes. If that takes too long, raise the limits of "+topic))
		return b, true
	case missingTopic(k.Reason) || c != nil && c.TopicState == TopicMissing:
		b.cause = CauseNoTopic
		b.sentence = fmt.Sprintf("Topic %s does not exist, so %s is held by the breaker (%s%s)%s.", topic, what, k.State, x.ago(k.Since), x.deadline())
	case Denied(k.Reason):
		b.cause = CauseACLMissing
		b.sentence = fmt.Sprintf("Kafka does not let this process write to %s (%s), so %s is held by the breaker (%s%s)%s.", topic, k.Reason, what, k.State, x.ago(k.Since), x.deadline())
	default:
		b.cause = CauseBreakerOpen
		b.sentence = fmt.Sprintf("Topic %s takes nothing (%s), so %s is held by the breaker (%s%s)%s.", topic, k.Reason, what, k.State, x.ago(k.Since), x.deadline())
	}
	b.act = func([]Action) []Action { return x.topicActions(path, topic, b.cause) }
	return b, true
}

func (x *explainer) topicActions(path, topic string, cause Cause) (list []Action) {
	after := "; what waits is sent by itself soon after"
	switch cause {
	case CauseNoTopic:
		list = append(list, Action{Do: "create the topic" + after, Command: "kafka-topics.sh --bootstrap-server BROKER --create --topic " + quote(topic)})
	case CauseACLMissing:
		list = append(list, Action{Do: "allow the principal of amends to write" + after,
			Command: "kafka-acls.sh --bootstrap-server BROKER --add --allow-principal User:PRINCIPAL --operation Write --operation Describe --topic " + quote(topic)})
	default:
		list = append(list, elsewhere("see to the brokers that lead "+topic+" (replicas in sync, disk, quotas)"+after))
	}
	if path != "" {
		list = x.admin(list, "", topic+" takes nothing", sagas.AdminCompensate)
	}
	return list
}

func missingTopic(reason string) bool {
	for _, code := range []string{"UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID", "INVALID_TOPIC_EXCEPTION", "SG102"} {
		if strings.Contains(reason, code) {
			return true
		}
	}
	return false
}

// Denied recognises Kafka's refusals for want of a right, in the text of an error.
func Denied(reason string) bool { return strings.Contains(reason, "_AUTHORIZATION_FAILED") }

// lease is about holds that lapsed before the commit point: nothing but turning round is left.
func (x *explainer) lease() (list []blocker) {
	if x.Instance.Phase != sagas.Running {
		return nil
	}
	pivot := ""
	for k := range x.Instance.Steps {
		s := &x.Instance.Steps[k]
		if s.Kind == sagas.Pivot && (s.State == sagas.StepIdle || s.State == sagas.StepReady) {
			pivot = s.Path
		}
	}
	if pivot == "" {
		return nil
	}
	for k := range x.Instance.Steps {
		s := &x.Instance.Steps[k]
		if s.Lease == 0 || s.Lease > x.Now || s.State != sagas.StepDone || s.Undo != sagas.UndoNone {
			continue
		}
		b := blocker{rank: rankLease, cause: CauseLeasePassed, by: HeldByLease, path: s.Path, since: s.Lease,
			sentence: fmt.Sprintf("The hold of %s lapsed %s ago, at %s, so %s will not be sent and the run can only turn round%s.",
				s.Path, span(int64(x.Now-s.Lease)), clock(s.Lease), pivot, x.deadline())}
		b.act = func([]Action) []Action {
			list := x.admin(nil, "", "the hold of "+s.Path+" has lapsed", sagas.AdminCompensate)
			return append(list, x.look("see what it still waits for", x.WorkflowID))
		}
		list = append(list, b)
	}
	return list
}

// suspended is about an instance that an operator stopped.
func (x *explainer) suspended() blocker {
	return blocker{rank: rankWhole, cause: CauseSuspended, by: HeldByPause,
		sentence: "An operator suspended it: answers are taken, and nothing is begun or sent until somebody resumes it" + x.deadline() + ".",
		actions: append(x.admin(nil, "", "looked at", sagas.AdminResume),
			x.look("see in the history who suspended it, and why", x.WorkflowID))}
}
