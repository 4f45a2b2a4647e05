package explain

import (
	"cmp"
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// Cause is why an instance does not move. The list is closed; docs/explain.md has each with its way on.
type Cause string

const (
	CauseEnded       Cause = "ended"        // the run is over
	CauseMoving      Cause = "moving"       // nothing holds it: what comes next is under way
	CauseNotFound    Cause = "not-found"    // there is no such instance
	CauseBeforeStart Cause = "before-start" // only signals, or a cancel that came before the start

	CauseSuspended      Cause = "suspended"       // an operator stopped it
	CauseUnknownVersion Cause = "unknown-version" // its definition is not published, or this process cannot use it
	CausePoison         Cause = "poison"          // a record or a timer of it was set aside, or answers cannot be read
	CauseLeasePassed    Cause = "lease-passed"    // a hold has lapsed before the commit point: it can only turn round

	CauseUndoFailing    Cause = "undo-failing"    // the participant does not undo
	CauseUnknownOutcome Cause = "unknown-outcome" // nobody but a person can find out what a command did
	CauseContract       Cause = "contract-broken" // answers that contradict each other or the definition
	CauseExpression     Cause = "expression"      // an expression of the definition failed, or made too much
	CauseSignalsFull    Cause = "signals-full"    // the buffer of signals is full
	CauseChildClosed    Cause = "child-closed"    // an operator closed a child
	CauseAttention      Cause = "attention"       // another reason that asks for a person

	CauseNoTopic     Cause = "no-topic"     // the topic does not exist
	CauseACLMissing  Cause = "acl-missing"  // Kafka refuses this process the topic
	CauseBreakerOpen Cause = "breaker-open" // the topic takes nothing now
	CauseLimited     Cause = "limited"      // held back by a rate or a budget of repetitions

	CauseParticipantDown    Cause = "participant-down"      // nobody has ever read its topic, or it went away with the command
	CauseNoMembers          Cause = "group-without-members" // its group exists, and nobody is in it
	CauseLag                Cause = "lag"                   // its group works through what came before the command
	CauseParticipantSilent  Cause = "participant-silent"    // it has read the command and did not answer
	CauseParticipantFailing Cause = "participant-failing"   // it answers that it cannot do it now
	CauseParticipantAsked   Cause = "no-answer"             // it did not answer, and what it has read is not known

	CauseApproval Cause = "approval-pending" // a person has to decide
	CauseSignal   Cause = "awaiting-signal"  // a signal has to come
	CauseSleeping Cause = "sleeping"         // a time that the definition names has to come
	CauseChild    Cause = "child-running"    // another instance has to end
)

// Causes lists every cause.
func Causes() []Cause {
	return []Cause{CauseEnded, CauseMoving, CauseNotFound, CauseBeforeStart, CauseSuspended, CauseUnknownVersion, CausePoison,
		CauseLeasePassed, CauseUndoFailing, CauseUnknownOutcome, CauseContract, CauseExpression, CauseSignalsFull,
		CauseChildClosed, CauseAttention, CauseNoTopic, CauseACLMissing, CauseBreakerOpen, CauseLimited,
		CauseParticipantDown, CauseNoMembers, CauseLag, CauseParticipantSilent, CauseParticipantFailing, CauseParticipantAsked,
		CauseApproval, CauseSignal, CauseSleeping, CauseChild}
}

// Holder is who or what has to act before the instance can go on.
type Holder string

const (
	HeldByNobody      Holder = ""
	HeldByBreaker     Holder = "breaker"
	HeldByPause       Holder = "pause" // of an operator, of a rate, before the next attempt
	HeldByLease       Holder = "lease"
	HeldByPerson      Holder = "person"
	HeldByParticipant Holder = "participant"
	HeldByDefinition  Holder = "definition"
	HeldByTime        Holder = "time"
	HeldBySignal      Holder = "signal"
	HeldByChild       Holder = "child"
)

// Breaker is a topic of others that this process does not write to now, or holds back from.
type Breaker struct {
	Topic  string
	State  string // closed, open or half-open
	Reason string // why it is not closed
	Since  sagas.Time
}

// Definition is what this process knows of the definition of the instance, when it has no plan.
type Definition struct {
	Published bool   // the version is in the definitions topic
	Fault     string // why this process does not use it; "" = it does
	Active    uint32 // active version of the type, 0 = none
}

// Input is all that Explain goes by.
type Input struct {
	Instance   *sagas.Instance // nil = there is none; WorkflowID says which
	WorkflowID string          // needed only without an instance
	Plan       *sagas.Plan     // nil = this process cannot use the definition
	Now        sagas.Time
	Definition Definition
	Breakers   []Breaker
	Commands   []Command   // what was gathered for Asks
	DeadLetter *DeadLetter // newest dead letter of the workflow ID, when there is no instance or it asks for it
	Unknown    []string    // facts that could not be had
}

// Explanation is the answer. Times are milliseconds since the Unix epoch; zero values are left out.
type Explanation struct {
	WorkflowID string     `json:"workflowId"`
	Phase      string     `json:"phase,omitempty"`
	Rev        uint64     `json:"rev,omitempty"`
	At         sagas.Time `json:"at"` // when this was found

	// Sentence is the whole answer for a person.
	Sentence string `json:"sentence"`
	Cause    Cause  `json:"cause"`
	HeldBy   Holder `json:"heldBy,omitempty"`
	Path     string `json:"path,omitempty"` // step that it is about; empty = the instance itself
	// Reason is the machine's reason for attention, when there is one.
	Reason   string     `json:"reason,omitempty"`
	Since    sagas.Time `json:"since,omitempty"`
	Next     sagas.Time `json:"next,omitempty"`     // when the engine acts by itself
	Deadline sagas.Time `json:"deadline,omitempty"` // of the instance

	Command    *Command    `json:"command,omitempty"`
	DeadLetter *DeadLetter `json:"deadLetter,omitempty"`
	// Also lists what else holds the instance, the weightiest first; at most MaxAlso.
	Also    []Also   `json:"also,omitempty"`
	Unknown []string `json:"unknown,omitempty"`
	// Actions are what an operator can do next, the best first. Never empty unless nothing holds it.
	Actions []Action `json:"actions,omitempty"`
}

// MaxAlso bounds the further causes that an explanation lists.
const MaxAlso = 16

// Also is another cause of the same instance.
type Also struct {
	Cause    Cause  `json:"cause"`
	Path     string `json:"path,omitempty"`
	Sentence string `json:"sentence"`
}

// blocker is one thing that holds an instance.
type blocker struct {
	rank     int // lower = dealt with first
	cause    Cause
	by       Holder
	path     string
	reason   sagas.Reason
	since    sagas.Time
	next     sagas.Time
	sentence string
	command  *Command
	letter   *DeadLetter
	actions  []Action
	// act adds what has to be tried on the instance; asked for the first blocker only, because an instance
	// may have thousands.
	act func([]Action) []Action
}

// The order in which causes are to be dealt with.
const (
	rankWhole    = iota // holds everything: suspended, no definition, poison
	rankUndo            // an effect that should be gone
	rankPerson          // a machine that has stopped and waits for a person
	rankLease           // goes the wrong way
	rankTopic           // nothing can be sent
	rankAnswer          // something was sent and is not answered
	rankDecision        // a person, a signal, a child, a time
	rankNoWait          // nothing is wrong
)

// Explain says why the instance does not move.
func Explain(in Input) Explanation {
	e := Explanation{WorkflowID: in.WorkflowID, At: in.Now, Unknown: in.Unknown}
	x := &explainer{Input: in}
	if i := in.Instance; i != nil {
		e.WorkflowID, e.Phase, e.Rev, e.Deadline = i.WorkflowID, i.Phase.String(), i.Rev, i.Deadline
		x.WorkflowID = i.WorkflowID
	}
	list := x.blockers()
	slices.SortStableFunc(list, func(a, b blocker) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(cmp.Or(a.since, in.Now), cmp.Or(b.since, in.Now)), strings.Compare(a.path, b.path))
	})
	first := list[0]
	e.Cause, e.HeldBy, e.Path, e.Reason = first.cause, first.by, first.path, string(first.reason)
	e.Since, e.Next, e.Sentence = first.since, first.next, first.sentence
	e.Command, e.DeadLetter, e.Actions = first.command, first.letter, first.actions
	if first.act != nil {
		e.Actions = first.act(first.actions)
	}
	for _, b := range list[1:min(len(list), 1+MaxAlso)] {
		e.Also = append(e.Also, Also{Cause: b.cause, Path: b.path, Sentence: b.sentence})
	}
	for _, c := range in.Commands {
		e.Unknown = append(e.Unknown, c.Unknown...)
	}
	slices.Sort(e.Unknown)
	e.Unknown = slices.Compact(e.Unknown)
	return e
}

// explainer is the work of one Explain.
type explainer struct{ Input }

// blockers lists what holds the instance; never empty.
func (x *explainer) blockers() []blocker {
	i := x.Instance
	if i == nil {
		return []blocker{x.missing()}
	}
	switch i.Phase {
	case sagas.Parked:
		return []blocker{x.parked()}
	case sagas.Void, sagas.Mailbox:
		return []blocker{x.beforeStart()}
	}
	var list []blocker
	if !i.Phase.Active() {
		list = append(list, x.ended())
	}
	list = append(list, x.attention()...)
	if i.Phase.Active() {
		if i.Suspended {
			list = append(list, x.suspended())
		}
		if x.Plan == nil {
			list = append(list, x.withoutPlan())
		} else {
			list = append(list, x.lease()...)
			list = append(list, x.steps()...)
		}
	}
	list = append(list, x.held()...)
	if len(list) == 0 {
		list = append(list, x.moving())
	}
	return list
}
