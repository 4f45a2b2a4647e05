package sagas

import "time"

// NodeKind says what a node of a definition does. The zero kind is a call.
type NodeKind uint8

const (
	NodeCall     NodeKind = iota
	NodeParallel          // all lanes; resolved when all of them are
	NodeChoose            // the first lane whose condition holds
	NodeEach              // the body once for each item of a list
	NodeRace              // the first n lanes that get through win
	NodeScope             // a save-point: retry or catch
	NodeRepeat            // a bounded loop
	NodeSaga              // a child instance
	NodeAwait             // a signal
	NodeSleep             // a time
	NodeApprove           // a decision of people
	NodeEmit              // a domain event
	NodeSet               // named values
	NodeFail              // ends the saga in a business failure
	NodeFinish            // ends the saga early in success
	NodeContinue          // goes on as the next run of the same workflow ID
)

var nodeNames = [...]string{"call", "parallel", "choose", "each", "race", "scope", "repeat", "saga", "await", "sleep", "approve", "emit", "set", "fail", "finish", "continue"}

// String is the field of a definition that names the node.
func (k NodeKind) String() string {
	if int(k) < len(nodeNames) {
		return nodeNames[k]
	}
	return "invalid"
}

// Block says whether the node has a body that runs as a part of it. An await, an approve and a call
// have none, though the first two may have a lane for their timeout.
func (k NodeKind) Block() bool { return k >= NodeParallel && k <= NodeRepeat }

// LaneDef is one list of nodes inside a node: a branch of parallel, choose or race, or the body of
// each, scope and repeat (named "do"), of a scope's catch ("catch") and of a timeout ("timeout").
type LaneDef struct {
	Name  string // parallel and race: the author's; choose: its position from 1, "else" for the last
	When  string // choose: expression without its "="; "" in the else lane
	Steps []StepDef
}

// Names of lanes that are not the author's.
const (
	LaneDo      = "do"
	LaneCatch   = "catch"
	LaneTimeout = "timeout"
	LaneElse    = "else"
)

// ItemFailure says what the failure of one item means for an each.
type ItemFailure uint8

const (
	ItemFails    ItemFailure = iota + 1 // the saga fails (default)
	ItemCollect                         // the item is undone and noted; the others go on
	ItemTolerate                        // as collect, but more than EachDef.Tolerate of them fail the saga
)

// EachDef runs a body for each item of a list that is taken once, on entry.
type EachDef struct {
	In        string // expression: the list
	As        string // name of the item in expressions of the body; default DefaultItemName
	Key       string // expression: unique key of an item; a text of 1 to 64 bytes of [A-Za-z0-9_.:@-]
	AtOnce    uint32 // most items in work; default DefaultAtOnce
	Max       uint32 // most items; more is attention EXPR; default DefaultMaxItems
	OnFailure ItemFailure
	Tolerate  uint32
}

// RaceDef lets the lanes run against each other. The first First lanes that resolve win; the steps
// of the others are undone in the background.
type RaceDef struct{ First uint32 }

// ScopeDef is a save-point: on one of the codes only the steps inside are undone, then the body runs
// anew (Retry) or the catch lane runs (Catch). "*" is every code. Both may be there: catch is for
// what the rounds of retry did not cure.
type ScopeDef struct {
	Rounds  uint32   // most rounds of the body; 1 = no retry
	RetryOn []string // sorted
	Wait    []time.Duration
	CatchOn []string // sorted; nil = no catch lane
}

// RepeatDef runs the body in rounds until the condition holds, which is asked after each round.
type RepeatDef struct {
	Rounds uint32          // most rounds
	Wait   []time.Duration // before round 1, 2, ...; the last one also before all later ones; nil = none
	Wake   []string        // signals that end a wait early; sorted
	Until  string          // expression
}

// SagaDef starts a child instance and waits for its end.
type SagaDef struct {
	Type       string
	Version    uint32 // 0 = the active one when the child starts
	ID         string // expression: id part of the child's workflow ID
	Input      []byte // JSON tree (see Mapping), nil = {}
	Reversible bool   // the parent may undo the child after it completed
}

// TimeoutRule says what the end of a wait means.
type TimeoutRule uint8

const (
	TimeoutFail     TimeoutRule = iota + 1 // the node fails with TIMEOUT (default)
	TimeoutContinue                        // the node is resolved without output
	TimeoutLane                            // the lane "timeout" runs, then the node is resolved
)

// AwaitDef waits for a signal, or for an event of a topic with a value: then Topic, Match and Equals are
// set in place of Signal.
type AwaitDef struct {
	Signal    string
	Topic     string
	Match     string        // expression over the event: its value
	Equals    string        // expression: the value that is waited for
	TTL       time.Duration // how long an event waits that is there before the await; 0 = not at all
	When      string        // expression over the payload, named event; "" = the first one
	Within    time.Duration
	OnTimeout TimeoutRule
}

// SleepDef waits for a time; exactly one of For and Until is set.
type SleepDef struct {
	For   time.Duration
	Until string   // expression: RFC 3339 text, timestamp, or ms since the epoch
	Wake  []string // signals that end the sleep early; sorted
}

// ApproveDef waits until people have decided: a signal "decision/<path>" per decision.
type ApproveDef struct {
	Roles       []string // sorted; not empty
	Not         string   // expression: list of actors who may not decide; "" = none
	Quorum      uint32   // approvals that are needed; one refusal is enough to refuse
	Within      time.Duration
	RemindEvery time.Duration
	OnTimeout   TimeoutRule
}

// EmitDef publishes a domain event in the transaction that reaches the node.
type EmitDef struct {
	Topic string
	Type  string
	Key   string // expression; "" = the workflow ID
	With  []byte // JSON tree, nil = {}
}

// FailDef ends the saga, or what a scope around it catches, with a business failure.
type FailDef struct {
	Code    string
	Message string
}

// FinishDef ends the saga early in success, with a code that the result carries.
type FinishDef struct{ Code string }

// ContinueDef goes on as the next run, with a new input. Signals not consumed yet go along.
type ContinueDef struct{ Input []byte }

// FailurePolicy says what becomes of work in flight when the saga turns round.
type FailurePolicy uint8

const (
	Drain FailurePolicy = iota + 1 // attempts in flight may answer for a while (default)
	Eager                          // undo at once
)

// ReusePolicy says whether a start with another input may begin the next run of a workflow ID.
type ReusePolicy uint8

const (
	ReuseNever       ReusePolicy = iota + 1 // conflict (default)
	ReuseAfterFailed                        // after COMPENSATED, CLOSED
	ReuseAlways                             // after any end
)

// Defaults and limits of nodes.
const (
	DefaultAtOnce   = 8
	DefaultMaxItems = 200
	DefaultItemName = "item"
	MaxItems        = 1000
	MaxRounds       = 1_000_000 // of repeat
	MaxScopeRounds  = 100
	MaxNodeDepth    = 16
	MaxLanes        = 64
)
