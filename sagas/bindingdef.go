package sagas

import "time"

// BindingAction is what an event does.
type BindingAction uint8

const (
	BindStart         BindingAction = iota + 1 // starts an instance
	BindSignal                                 // is a signal to one
	BindStartOrSignal                          // starts the instance, or is a signal to the one that is there
)

var bindingActionNames = []string{"", BindStart: "start", BindSignal: "signal", BindStartOrSignal: "startOrSignal"}

// String is the name of the action in a definition.
func (a BindingAction) String() string { return nameAt(bindingActionNames, int(a)) }

// Starts says whether the action may start an instance.
func (a BindingAction) Starts() bool { return a == BindStart || a == BindStartOrSignal }

// Signals says whether the action may be a signal.
func (a BindingAction) Signals() bool { return a == BindSignal || a == BindStartOrSignal }

// BindingOrigin says where a binding begins in a topic that it has not read before.
type BindingOrigin uint8

const (
	FromLatest   BindingOrigin = iota + 1 // with what is written after the definition became active
	FromEarliest                          // with the oldest record that is there
)

var bindingOriginNames = []string{"", FromLatest: "latest", FromEarliest: "earliest"}

// String is the name of the origin in a definition.
func (o BindingOrigin) String() string { return nameAt(bindingOriginNames, int(o)) }

// BindingDef lets events of a topic of others start or signal instances. Name is unique in the
// definition and names the binding's position: a binding of the next version with the same name goes
// on where this one stopped.
type BindingDef struct {
	Name    string
	Topic   string
	When    string // expression without its "="; "" = every event
	ID      string // expression: the id part of the workflow ID; "" = the id of the definition over the input
	Action  BindingAction
	Signal  string // name of the signal; of actions that signal
	Input   []byte // JSON tree, nil = the event; of actions that start
	Payload []byte // JSON tree, nil = the event; of actions that signal
	Dedupe  string // expression: what makes two records one event; "" = CloudEvents id, or the position
	From    BindingOrigin
	TTL     time.Duration // how long a signal may wait: for its instance, and then to be used; 0 = no wait for one, and no end in one
}

// DefaultBindingTTL is the TTL of a binding that does not say it, MaxBindingTTL the longest.
const (
	DefaultBindingTTL = 24 * time.Hour
	MaxBindingTTL     = mailboxMax
)

// MaxBindings bounds the bindings of one definition.
const MaxBindings = 32

// BindingPlan is a binding with its expressions compiled. It is immutable.
type BindingPlan struct {
	BindingDef
	When    *Expr    // nil = every event
	ID      *Expr    // nil = Plan.ID over the input
	Input   *Mapping // nil = the event
	Payload *Mapping // nil = the event
	Dedupe  *Expr    // nil = CloudEvents id, or the position
}
