package sagas

// Effect is one thing the runtime has to do in the same transaction that stores the next instance:
// exactly one of the types below. State itself and timers are not effects: the runtime stores the
// instance that Step returned (nil = delete the record) and derives the timer index from it.
type Effect interface{ effect() }

// Command is to be published to a participant's command topic.
type Command struct {
	Address
	WorkflowID  string
	Type        string
	Version     uint32
	Participant string
	Topic       string // cmd.<participant> unless the definition says otherwise
	Name        string // command name, e.g. "authorise" of psp.authorise
	Key         string // idempotency key (saga-key): the same for every attempt of a (path, op, round)
	ForwardKey  string // undo and inquire: the key of the do
	Deadline    Time   // do only: the participant refuses the command after it
	Payload     []byte // canonical JSON
	Trace       string // traceparent of this attempt
}

// Lifecycle is one fact about an instance for the lifecycle topic. Seq is
// gapless per workflow ID from the first record of the instance to its deletion; 0 = a fact about a
// workflow ID that has no record (a rejected start).
type Lifecycle struct {
	WorkflowID string
	Type       string
	Version    uint32
	Run        uint32
	Seq        uint64
	Rev        uint64
	At         Time
	Kind       Kind
	Path       string
	Phase      Phase
	Attention  []string
	Cause      string
	Detail     []KV // sorted by key
}

// KV is one detail of a lifecycle record.
type KV struct{ Key, Value string }

// Kind names a lifecycle fact. Past tense; the list is part of the public protocol.
type Kind string

const (
	KindStarted           Kind = "started"
	KindRejected          Kind = "rejected"
	KindDuplicate         Kind = "duplicate"
	KindConflict          Kind = "conflict"
	KindParked            Kind = "parked"
	KindVoided            Kind = "voided"
	KindStepSent          Kind = "step-sent"
	KindStepDone          Kind = "step-done"
	KindStepRejected      Kind = "step-rejected"
	KindStepFailed        Kind = "step-failed"
	KindStepUnknown       Kind = "step-unknown"
	KindStepSkipped       Kind = "step-skipped"
	KindInquired          Kind = "inquired"
	KindCommitted         Kind = "committed"
	KindCancelRequested   Kind = "cancel-requested"
	KindCancelRefused     Kind = "cancel-refused"
	KindCancelAcked       Kind = "cancel-acked"
	KindDeadlineHit       Kind = "deadline-hit"
	KindCompensating      Kind = "compensating"
	KindUndoSent          Kind = "undo-sent"
	KindStepUndone        Kind = "step-undone"
	KindAttention         Kind = "attention"
	KindAttentionCleared  Kind = "attention-cleared"
	KindContractViolation Kind = "contract-violation"
	KindLateEffect        Kind = "late-effect"
	KindPhantom           Kind = "phantom"
	KindReopened          Kind = "reopened"
	KindCompleted         Kind = "completed"
	KindCompensated       Kind = "compensated"
	KindClosed            Kind = "closed"
	KindExpired           Kind = "expired"

	KindEntered       Kind = "entered"        // a block, wait or round began; detail says what of it
	KindResolved      Kind = "resolved"       // a block, wait or other node that is not a call ended well
	KindCaught        Kind = "caught"         // a scope, item or race took a failure upon itself
	KindTimedOut      Kind = "timed-out"      // the time of a wait is over
	KindTaskOpened    Kind = "task-opened"    // people are asked for a decision
	KindTaskReminded  Kind = "task-reminded"  // ... again
	KindTaskDecided   Kind = "task-decided"   // one of them decided
	KindSignalled     Kind = "signalled"      // a signal was taken into the buffer
	KindSignalUsed    Kind = "signal-used"    // a node consumed a signal
	KindSignalDropped Kind = "signal-dropped" // the buffer is full, or its time is over
	KindOperator      Kind = "operator"       // an operator acted; detail has action, operator, reason
	KindContinued     Kind = "continued"      // the run ended and the next one begins
	KindChildStarted  Kind = "child-started"
	KindChildEnded    Kind = "child-ended"
	KindEmitted       Kind = "emitted" // a domain event was published
)

// DeadLetter asks the runtime to send the input record of this event, byte for byte, to the
// dead-letter topic with this class and reason.
type DeadLetter struct {
	Class   string // e.g. UNKNOWN_DEFINITION, INVALID_INPUT, STALE_START, CONFLICT, ORPHAN_REPLY
	Message string
	// Parked is set when the letter is a start that waited in PARKED: the event of this Step is then
	// not its record, and the runtime encodes the start anew.
	Parked *Start
	// Signal is set when the letter is a signal that was buffered: the runtime encodes it anew.
	Signal *Signal
}

// Result answers a start that named ReplyTo, once the instance ended.
type Result struct {
	Topic      string
	WorkflowID string
	Run        uint32
	Phase      Phase
	Cause      string
	Output     []byte // canonical JSON, COMPLETED only
}

// StartChild asks for a child instance: a start record to the intake, keyed by its workflow ID. Start
// has Parent set and StartID derived from it, so that it starts once.
type StartChild struct{ Start Start }

// TellParent answers the step that started this instance: a ChildDone record to the intake, keyed by
// the parent's workflow ID.
type TellParent struct {
	WorkflowID string // of the parent
	Done       ChildDone
}

// TellChild sends a Reverse, or a ParentClosed, to a reversible child, keyed by its workflow ID, or
// cancels a child that has not ended.
type TellChild struct {
	WorkflowID string // of the child
	Event      Event  // Reverse, ParentClosed or Cancel
}

// Emit is a domain event to be published as it is.
type Emit struct {
	Topic   string
	Key     string
	Type    string // CloudEvents type
	ID      string // CloudEvents id, the same for every attempt: derived from workflow ID, run and path
	Source  string // CloudEvents source: the workflow ID
	At      Time
	Payload []byte // canonical JSON
}

// Subscribe asks for events: the next one of a route that has the value becomes a signal of the name
// Signal, or, when Reply is set, every one until Until becomes a reply to the command at that address.
// The same again renews it.
type Subscribe struct {
	Route, Value string
	WorkflowID   string
	Run          uint32
	Path         string
	Group        string // saga type; "" for replies
	Signal       string
	Reply        *Address
	Until        Time // of replies
}

// Unsubscribe takes the subscription of an await back.
type Unsubscribe struct {
	Route, Value string
	WorkflowID   string
	Run          uint32
	Path         string
}

// Ignored says that the event had no effect and why, for the counters.
// The reasons of refused operator actions are listed in step.go.
type Ignored struct{ Reason string } // duplicate, stale, phantom, unknown-instance, unknown-path, unknown-definition, wrong-run, revision, not-active

func (Command) effect()     {}
func (Lifecycle) effect()   {}
func (DeadLetter) effect()  {}
func (Result) effect()      {}
func (Ignored) effect()     {}
func (StartChild) effect()  {}
func (TellParent) effect()  {}
func (TellChild) effect()   {}
func (Emit) effect()        {}
func (Subscribe) effect()   {}
func (Unsubscribe) effect() {}
