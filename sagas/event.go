package sagas

// Time is a moment in milliseconds since the Unix epoch, UTC. Zero means "none".
type Time int64

// Outcome is what a participant answered. The strings are those on the wire (header saga-outcome).
type Outcome string

const (
	OutcomeOK              Outcome = "ok"               // done; also when replayed from the inbox
	OutcomeRejected        Outcome = "rejected"         // a business no: nothing remains, every redelivery hears the same
	OutcomeFailedRetriable Outcome = "failed-retriable" // try again with the same key
	OutcomeFailedFatal     Outcome = "failed-fatal"     // a retry is useless
	OutcomeProgress        Outcome = "progress"         // still working
	OutcomeExecuted        Outcome = "executed"         // to inquire: the do took effect
	OutcomeNotExecuted     Outcome = "not-executed"     // to inquire: the do did not and will not take effect
	OutcomeRunning         Outcome = "running"          // to inquire: undecided
	// OutcomeBadReply is not on the wire: the envelope was readable, the payload was not. It counts
	// as failed-retriable with code BAD_REPLY and effect unknown.
	OutcomeBadReply Outcome = "bad-reply"
)

// Certainty is the effect a reply states beside its outcome (header saga-effect). Empty means the
// default of the outcome.
type Certainty string

const (
	EffectDefault Certainty = ""
	EffectNone    Certainty = "none"
	EffectDone    Certainty = "done"
	EffectUnknown Certainty = "unknown"
)

// Op is the operation of a command.
type Op uint8

const (
	OpDo      Op = 1
	OpUndo    Op = 2
	OpInquire Op = 3
)

func (o Op) String() string {
	switch o {
	case OpDo:
		return "do"
	case OpUndo:
		return "undo"
	case OpInquire:
		return "inquire"
	}
	return "invalid"
}

// Address names one attempt of one operation: the part of a token that the machine itself needs.
type Address struct {
	Run     uint32
	Path    string // step path, e.g. "auth"
	Op      Op
	Round   uint32 // from 1
	Attempt uint32 // from 1 per (path, op, round)
}

// Event is one input of Step: exactly one of the types below.
type Event interface{ event() }

// Start asks for a new instance.
type Start struct {
	WorkflowID string // <type>/<id>, unique in the namespace
	Type       string
	Version    uint32 // the version the runtime resolved (explicit, or the active one); 0 = none known
	StartID    string // optional producer's id of this start, for duplicates
	Input      []byte // canonical JSON object
	IssuedAt   Time   // when the producer issued it (record timestamp if it did not say)
	ReplyTo    string // optional topic for the result
	Tags       map[string]string
	Trace      string  // W3C traceparent of the trigger, kept as a link
	Parent     *Parent // the step that started it as a child; nil = none
	Unfit      string  // why the input is no value of the Avro record that the definition names; "" = it is one, or that is not known
	OrSignal   *Signal // what the start is when the workflow ID has an instance already; nil = a duplicate or a conflict
}

// Reply is a participant's answer to the command at Address.
type Reply struct {
	Address
	Outcome    Outcome
	Effect     Certainty
	Code       string
	Message    string
	RetryAfter int64  // ms; 0 = none
	Noop       bool   // undo: nothing had to be undone
	Replayed   bool   // answered from the inbox
	Output     []byte // JSON, may be nil
	Handle     []byte // progress: JSON object merged into the output so that an undo can use it
}

// Timers tells that time has passed: every armed timer of the instance due at or before now fires,
// in order of due time, then of plan order. Timers that are not due are left alone, so a stale or
// doubled tick changes nothing.
type Timers struct{}

// Cancel asks to compensate, or before the start forbids it.
type Cancel struct {
	WorkflowID string
	RequestID  string
	Reason     string
	Actor      string
	VoidTTL    int64 // ms a VOID instance is kept when no start came; 0 = default
}

// AdminAction is an operator's verb.
type AdminAction string

// The actions. All need an active instance but resolve and waive, which also answer for what came to
// light after the end. Path is a step path where it says so.
const (
	AdminClose       AdminAction = "close"         // end the run; paths that may have effects become residue
	AdminRetry       AdminAction = "retry"         // Path: budget reset, same key; also an undo that stopped
	AdminRetryNewKey AdminAction = "retry-new-key" // Path: next round with a fresh key; it may execute twice
	AdminResolve     AdminAction = "resolve"       // Path, Effect done or none, Output: the operator knows what became of it
	AdminWaive       AdminAction = "waive"         // Path: give up one debt; it becomes residue
	AdminSkip        AdminAction = "skip"          // Path, Output: go on as if it were done
	AdminCompensate  AdminAction = "compensate"    // turn round; only before the commit point
	AdminSuspend     AdminAction = "suspend"       // send nothing until resumed; replies are taken
	AdminResume      AdminAction = "resume"
	AdminExtend      AdminAction = "extend" // By: the deadline, or with Path the wait or within of a step
	AdminSignal      AdminAction = "signal" // Signal: deliver a signal as the operator
)

// Admin is one operator action. A repeated RequestID changes nothing.
type Admin struct {
	Action    AdminAction
	Path      string
	RequestID string
	Operator  string
	Reason    string
	ExpectRev uint64    // revision that the operator saw; 0 = not checked
	Effect    Certainty // resolve: done or none
	Output    []byte    // resolve done, skip: JSON object; nil = {}
	By        int64     // extend: ms
	Signal    *Signal   // signal
}

// Signal is a message to an instance, from outside or from people.
type Signal struct {
	WorkflowID string
	Name       string
	ID         string // for duplicates
	Actor      string
	Payload    []byte // JSON; nil = null
	IssuedAt   Time
	TTL        int64 // ms that it waits for a start, or to be consumed; 0 = refused without an instance
}

// ChildDone tells a parent that its child has ended.
type ChildDone struct {
	Run     uint32 // of the parent
	Path    string // step of the parent
	Child   string // workflow ID
	Phase   Phase  // COMPLETED, COMPENSATED, CLOSED; 0 = the start was rejected
	Code    string // why it did not complete
	Message string
	Output  []byte
}

// Reverse asks a COMPLETED reversible child to compensate.
type Reverse struct {
	WorkflowID string // of the child
	Parent     string // workflow ID
	Run        uint32
	Path       string
}

// ParentClosed lets go of a reversible child: its retention begins.
type ParentClosed struct {
	WorkflowID string // of the child
	Parent     string
	Run        uint32
	Path       string
}

// DefLoaded tells a PARKED instance that its definition may be known now (the plan given to Step).
type DefLoaded struct{}

func (Start) event()        {}
func (Reply) event()        {}
func (Timers) event()       {}
func (Cancel) event()       {}
func (Admin) event()        {}
func (DefLoaded) event()    {}
func (Signal) event()       {}
func (ChildDone) event()    {}
func (Reverse) event()      {}
func (ParentClosed) event() {}
