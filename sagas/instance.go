package sagas

import (
	"encoding/hex"
	"slices"
)

// Instance is the whole state of one run of a saga, found by its workflow ID. The runtime stores it
// as one record. Step never changes an Instance that it was given: it returns a new one that may
// share byte slices with the old, so treat every slice as read-only.
//
// Invariants, beside those of the state tables in the comment of Step:
//   - Steps is in plan order and has one entry for each step of the plan, except in PARKED, VOID and
//     MARKER, where it is empty.
//   - Phase is terminal <=> EndedAt is set. Expires is set only in PARKED, VOID, MARKER and terminal phases.
//   - Seq and Rev never fall. Seq grows by one for each lifecycle fact, Rev by one for each Step that
//     changed the instance.
//   - LastNow never falls: the clock of an instance does not go back when its owner changes.
type Instance struct {
	WorkflowID string
	Type       string
	Version    uint32 // 0 = not known yet (PARKED, VOID)
	Digest     Digest // of the definition that this run is pinned to
	Run        uint32 // from 1

	Phase Phase
	Ended Phase // MARKER: the phase in which the run ended; otherwise 0
	Rev   uint64
	Seq   uint64 // of the last lifecycle fact

	StartID   string
	InputHash [32]byte // SHA-256 of the input of the start; outlives it in the MARKER and over continue
	Input     []byte   // canonical JSON object
	ReplyTo   string
	Answered  Phase // the end that ReplyTo was told, 0 = none
	Trace     string
	Tags      []KV // sorted by key

	IssuedAt  Time // of the start
	StartedAt Time // when the record came into being
	LastNow   Time // of the last change
	EndedAt   Time
	Deadline  Time  // absolute; 0 = none, or the commit point has been passed
	Expires   Time  // next housekeeping: end of PARKED, of VOID, of the retention, of the MARKER
	MarkerTTL int64 // ms that a MARKER outlives EndedAt; set when the run ends

	CancelRequested bool // a cancel waits for the pivot's outcome
	DeadlineHit     bool // the deadline passed while the pivot was in flight
	Cancels         []CancelRequest
	Cause           Cause // why it compensates

	Attention []Attention // sorted by path, then reason
	Residue   []string    // paths that may have effects which nobody takes back, in the order of the steps
	Output    []byte      // COMPLETED: canonical JSON

	Suspended  bool    // an operator stopped it: no command goes out until it is resumed
	Parent     *Parent // the instance whose step started this one; nil = none
	FinishedAs string  // code of the finish node that ended the run, "" = none
	Level      uint32  // feature level of the record; 0 = 1

	Steps       []StepState
	Frames      []Frame          // in the order of creation
	Frame       uint32           // number of the newest frame
	Signals     []BufferedSignal // not consumed yet, in the order of arrival
	Latest      []NamedValue     // newest signal of each name, sorted by name
	SeenSignals []uint64         // hashes of the newest signal IDs, oldest first
	AdminIDs    []string         // newest operator requests, oldest first

	shelf *shelf // what of it was not read; nil = nothing: the instance is whole
}

// Parent names the step that started a child instance.
type Parent struct {
	WorkflowID string
	Run        uint32
	Path       string
	Reversible bool // its obligations are kept after COMPLETED until the parent lets go of it
	Reversing  bool // the parent asked to undo it
	Released   bool // the parent has ended: the retention counts
}

// BufferedSignal is a signal that nothing consumed yet.
type BufferedSignal struct {
	Name    string
	ID      string
	Actor   string
	Payload []byte // canonical JSON
	At      Time
	Expires Time // 0 = with the instance
}

// NamedValue is a value with its name.
type NamedValue struct {
	Name  string
	Value []byte // canonical JSON
}

// Frame is one run of a body that has steps of its own: an item of each, a round of repeat or scope,
// a lane of race, the catch lane of a scope, the timeout lane of an await. The steps of the saga
// itself and of the lanes of parallel and choose live in the frame around them; frame 0 is the saga.
type Frame struct {
	ID     uint32 // from 1
	In     uint32 // the frame in which the node stands
	Node   int    // plan index of the node
	Lane   int    // index of its lane
	Key    string // each: of the item; repeat and scope: the round; race, catch and timeout: the lane
	Number uint32 // of the item or round, from 1
	State  FrameState
	Item   []byte // each: the item, canonical JSON
	Cause  Cause  // why it failed
}

// FrameState is where a frame stands.
type FrameState uint8

const (
	FrameWaiting FrameState = iota + 1 // an item that waits for its turn
	FrameOpen                          // its steps go forward
	FrameDone                          // every step is resolved
	FrameUndoing                       // it failed or lost, and pays its debts
	FrameUndone                        // it failed or lost, and owes nothing
)

// StepState is what an instance knows of one node of its plan, in one frame. Steps is sorted so that
// a node comes before its body and after the nodes that it depends on.
type StepState struct {
	Path  string // prefix of the frame and id, unique in the run
	Node  int    // plan index
	Frame uint32
	Kind  StepKind
	State StepStatus // forward
	Lane  int        // choose: 1 + the lane taken; scope: 1 while the body runs, 2 in the catch lane; 0 = undecided
	Until Time       // await, approve, sleep, waits of repeat and scope: absolute end; 0 = none
	Child string     // saga: workflow ID of the child
	Votes []Vote     // approve
	Lease Time       // when the effect lapses by itself; 0 = never
	Undo  UndoStatus // backward; 0 = nothing owed yet

	Stuck    bool // READY or Owed and not to be sent without a person (attention says why)
	SeenDone bool // some reply said that the do took effect
	Phantom  bool // ... and it was not caused by a command that this record knows of
	Fatal    bool // the latest do was answered failed-fatal: another attempt is useless

	Round    uint32 // of the do; 0 = never sent
	Attempts uint32 // do commands emitted in Round
	Asked    uint32 // inquire commands emitted in Round

	UndoRound    uint32 // 0 = no undo sent
	UndoAttempts uint32 // undo commands emitted in UndoRound

	Spared   uint32 // do commands of Round that do not count any more: an operator renewed the budget
	BudgetAt Time   // from when within counts; 0 = FirstSent

	FirstSent Time // first do of Round: within and the key window count from here
	AskedAt   Time // first question of the present series: Inquire.For counts from here
	UndoSent  Time // first undo of UndoRound: its key window counts from here

	Gen   uint32 // of the timer armed last
	Timer Timer  // drives State or Undo; Due 0 = not armed
	Alert Time   // when to ask for attention because the step takes long; 0 = not armed

	Code     string // of the last reply that was not a success
	Message  string
	Payload  []byte // of the do while it is not resolved: every attempt of a round is byte-identical
	Question []byte // of the inquiries of Round; nil = Payload
	Output   []byte // kept fields and progress handles, canonical JSON; nil = none
	Record   UndoRecord
}

// Vote is one decision of an approve node.
type Vote struct {
	Actor   string
	Approve bool
	Comment string
	At      Time
}

// UndoRecord is all that an undo needs, taken when the do is sent, so that a lost or changed
// definition never loses an undo. The zero value says that there is none.
type UndoRecord struct {
	Participant string
	Command     string
	Topic       string
	ForwardKey  Key
	Payload     []byte // inputs of the undo; once an undo round began, exactly what that round sends
}

// Set says whether there is a record.
func (r *UndoRecord) Set() bool { return !r.ForwardKey.IsZero() }

// Timer is one armed timer. It fires only for the step state that it was armed for: operation,
// round, attempt and generation have to match.
type Timer struct {
	Kind    TimerKind
	Op      Op
	Round   uint32
	Attempt uint32
	Gen     uint32
	Due     Time
}

// TimerKind says what a step's timer waits for.
type TimerKind uint8

const (
	TimerAnswer TimerKind = iota + 1 // the answer to a command that is in flight
	TimerPause                       // the moment of the next command
	TimerWait                        // the end of an await, approve or sleep, or of the wait before a round
	TimerRemind                      // the next reminder of an approve
)

// Key is an idempotency key; its text is a UUID.
type Key [16]byte

// IsZero says whether the key is not set.
func (k Key) IsZero() bool { return k == Key{} }

func (k Key) String() string {
	var b [36]byte
	hex.Encode(b[0:8], k[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], k[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], k[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], k[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], k[10:16])
	return string(b[:])
}

// CancelRequest is a cancel that was answered, or waits for the pivot. The newest are kept, so that
// a repeated request is not answered twice.
type CancelRequest struct {
	ID      string
	Pending bool
}

// Cause says why an instance compensates.
type Cause struct {
	Kind    CauseKind
	Path    string // CauseStep: the step that failed
	Code    string // CauseStep: its code, or its state when the participant gave none
	Message string
}

// CauseKind is the sort of a cause.
type CauseKind uint8

const (
	CauseStep CauseKind = iota + 1
	CauseCancel
	CauseDeadline
	CauseLateEffect // reopened after the end
	CauseOperator   // an operator asked for it
	CauseParent     // the parent undoes its child
)

// String returns the cause as lifecycle records and results carry it.
func (c Cause) String() string {
	switch c.Kind {
	case CauseStep:
		return c.Path + ": " + c.Code
	case CauseCancel:
		return "cancel"
	case CauseDeadline:
		return "deadline"
	case CauseLateEffect:
		return "late effect: " + c.Path
	case CauseOperator:
		return "operator"
	case CauseParent:
		return "parent"
	}
	return ""
}

// Attention is a reason why a person should look at the instance.
type Attention struct {
	Path   string // "" = the instance itself
	Reason Reason
	Since  Time
	Text   string
}

func (a Attention) String() string {
	if a.Path == "" {
		return string(a.Reason)
	}
	return string(a.Reason) + " " + a.Path
}

// Reason is why a path needs attention.
type Reason string

const (
	ReasonExpr           Reason = "EXPR"            // an expression failed; nothing was sent because of it
	ReasonTooLarge       Reason = "TOO_LARGE"       // a payload is over its limit; it was not sent
	ReasonOutput         Reason = "OUTPUT"          // the step is done, but its output could not be kept
	ReasonUnknownOutcome Reason = "UNKNOWN_OUTCOME" // whether the step took effect is not known, and no rule may decide it
	ReasonBudgetSpent    Reason = "BUDGET_SPENT"    // a retriable step used its attempts; retries go on slowly
	ReasonSlow           Reason = "SLOW"            // longer than alertAfter; retries go on
	ReasonRefused        Reason = "REFUSED"         // a step that may not fail was refused: a broken contract
	ReasonContradiction  Reason = "CONTRADICTION"   // two definite answers for one key that disagree
	ReasonPhantom        Reason = "PHANTOM"         // an undo that was never sent is said to have happened
	ReasonDeadline       Reason = "DEADLINE"        // passed while the pivot was in flight
	ReasonUndoSlow       Reason = "UNDO_SLOW"       // longer than the undo's alertAfter; retries go on
	ReasonUndoFailed     Reason = "UNDO_FAILED"     // the participant cannot undo; retries have stopped
	ReasonUndoNoop       Reason = "UNDO_NOOP"       // done, yet twice "nothing to undo"; retries have stopped
	ReasonKeyWindow      Reason = "KEY_WINDOW"      // the key may be forgotten: another undo could pay twice
	ReasonNoUndo         Reason = "NO_UNDO"         // an effect that no undo can take back
	ReasonLateEffect     Reason = "LATE_EFFECT"     // took effect after it was counted as without effect
	ReasonTwice          Reason = "TWICE"           // an earlier key took effect beside the fresh one that an operator chose
	ReasonLivelock       Reason = "LIVELOCK"        // one event caused too many transitions: a bug
	ReasonChildClosed    Reason = "CHILD_CLOSED"    // a child was closed by an operator: its effects are not known here
	ReasonSignals        Reason = "SIGNALS"         // a buffer of signals is full; signals went to the dead letters
)

// Phase is where an instance stands. See the first table of Step.
type Phase uint8

const (
	Running Phase = iota + 1
	Finishing
	Compensating
	Completed
	Compensated
	Closed
	Parked
	Void
	Marker
	Mailbox // no run yet, only signals that wait for it
)

var phaseNames = [...]string{"invalid", "running", "finishing", "compensating", "completed", "compensated", "closed", "parked", "void", "marker", "mailbox"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return phaseNames[0]
}

// Active says whether the instance still has work before it.
func (p Phase) Active() bool { return p == Running || p == Finishing || p == Compensating }

// Terminal says whether the run has ended and its full state is kept.
func (p Phase) Terminal() bool { return p == Completed || p == Compensated || p == Closed }

// StepStatus is the forward state of a step. See the second table of Step.
type StepStatus uint8

const (
	StepIdle StepStatus = iota + 1
	StepReady
	StepPending
	StepBackoff
	StepInquiring
	StepDone
	StepRefused   // definitely without effect
	StepFailed    // fatal, effect unknown
	StepUnknown   // budget spent, no answer
	StepSkipped   // its condition was false
	StepAbandoned // never sent
	StepOpen      // a block whose body runs, or a node that waits
)

var stepNames = [...]string{"INVALID", "IDLE", "READY", "PENDING", "BACKOFF", "INQUIRING", "DONE", "REFUSED", "FAILED", "UNKNOWN", "SKIPPED", "ABANDONED", "OPEN"}

func (s StepStatus) String() string {
	if int(s) < len(stepNames) {
		return stepNames[s]
	}
	return stepNames[0]
}

// UndoStatus is the backward state of a step. See the second table of Step.
type UndoStatus uint8

const (
	UndoNone      UndoStatus = iota
	UndoOwed                 // waits for the steps that depend on it
	UndoPending              // an undo is in flight
	UndoBackoff              // waits for the next attempt
	UndoInquiring            // the key window has passed: asks whether the effect still stands
	UndoStopped              // automatic retries have ended; attention says why
	UndoUndone
	UndoNoop   // nothing had to be undone
	UndoWaived // an operator took it on: residue
)

var undoNames = [...]string{"", "OWED", "U_PENDING", "U_BACKOFF", "U_INQUIRING", "U_STOPPED", "UNDONE", "UNDO_NOOP", "WAIVED"}

func (u UndoStatus) String() string {
	if int(u) < len(undoNames) {
		return undoNames[u]
	}
	return "INVALID"
}

// DefinitionRef names the definition that the instance is pinned to. In PARKED it is the one it
// waits for; version 0 = none was known.
func (i *Instance) DefinitionRef() (typ string, version uint32, digest Digest) {
	return i.Type, i.Version, i.Digest
}

// StepIndex returns the index of path in Steps, or -1.
func (i *Instance) StepIndex(path string) int {
	return slices.IndexFunc(i.Steps, func(s StepState) bool { return s.Path == path })
}

// NeedsAttention says whether a person should look at the instance. What was open when a run ended
// is history; what comes up afterwards (a late effect after COMPLETED) counts.
func (i *Instance) NeedsAttention() bool { return len(i.Attention) > 0 }

// NextDue returns the earliest moment at which Timers has something to do; 0 = never. The store
// keeps one timer per instance, and this is it.
func (i *Instance) NextDue() Time {
	due := earlier(earlier(i.Deadline, i.Expires), i.signalsDue())
	due = earlier(due, i.shelf.due())
	for k := range i.Steps {
		due = earlier(due, i.stepDue(&i.Steps[k]))
	}
	return due
}

// stepDue is when a timer of the step fires; 0 = none is armed.
func (i *Instance) stepDue(s *StepState) Time {
	if i.still(&s.Timer) {
		return s.Alert
	}
	return earlier(s.Timer.Due, s.Alert)
}

func earlier(a, b Time) Time {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
