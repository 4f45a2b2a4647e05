package sagas

import "time"

// StepKind says what a failure of the step means for the saga.
type StepKind uint8

const (
	Compensatable StepKind = iota + 1 // owes an undo once sent
	Pivot                             // the point of no return; at most one
	Retriable                         // after the pivot: forward only
	Optional                          // its failure is recorded, the flow goes on
	ReadOnly                          // owes nothing
)

// OnUnknown is the rule for a step whose budget is spent without a definite answer.
type OnUnknown uint8

const (
	UnknownCompensate OnUnknown = iota + 1 // count as UNKNOWN; a compensatable step is undone
	UnknownInquire                         // ask the participant
	UnknownAttention                       // a person decides
)

// Retry says when a step is sent again. Every attempt of a round has the same key.
type Retry struct {
	Attempts     uint32        // most attempts of one round; 0 = as many as within allows
	Backoff      time.Duration // before the second attempt
	BackoffMax   time.Duration // cap of the growing backoff
	Factor       float64       // growth per attempt, >= 1
	Jitter       float64       // share of the backoff that the hash may take away, 0..1
	NonRetryable []string      // codes of failed-retriable replies that end the retries
}

// Undo is the compensation of a step. Nil on the step means that it owes none.
type Undo struct {
	Participant string
	Command     string
	Topic       string
	With        *Mapping // nil = the inputs of the do
	Attempt     time.Duration
	Retry       Retry         // Attempts is ignored: an undo is never given up
	AlertAfter  time.Duration // attention when it takes longer; retries go on
	After       []int         // plan indexes whose debts must be settled first, beside the dependents
}

// Inquire asks what became of a do.
type Inquire struct {
	Command string        // default: the command of the do
	With    *Mapping      // nil = the inputs of the do
	Every   time.Duration // pause between two questions
	For     time.Duration // after that: the rule for unknown
	Attempt time.Duration // how long one question waits for its answer
}

// PlanStep is one node of a plan. The steps of its body follow it directly, up to End.
type PlanStep struct {
	Path        string   // id; the path of a step of an instance puts the frames before it
	Kind        StepKind // of a call and of a saga node; Compensatable in others has no meaning
	Node        NodeKind
	Parent      int        // plan index of the node whose body it is in, -1 = none
	Lane        int        // index of its lane in Parent
	End         int        // plan index after the last step of its body; its own index + 1 without one
	Lanes       []PlanLane // of nodes that have some
	Deps        []int      // plan indexes in the same lane that must be resolved first
	Dependents  []int      // plan indexes in the same lane that wait for this one
	Participant string
	Command     string
	Topic       string
	When        *Expr    // nil = always
	With        *Mapping // nil = {}
	Keep        []string // output fields that later expressions use; others are dropped
	Attempt     time.Duration
	Within      time.Duration // all attempts of a round; 0 = no limit
	Retry       Retry
	OnUnknown   OnUnknown
	Inquire     *Inquire      // nil = not offered
	Undo        *Undo         // nil = owes none
	KeyWindow   time.Duration // how long the participant remembers a key; 0 = for ever
	AlertAfter  time.Duration // attention when the step takes longer; 0 = never
	OnReject    bool          // a refusal is no failure: the flow goes on
	Lease       *Expr         // evaluated when the step is done: when its hold lapses; nil = never
	Heartbeat   time.Duration // 0 = none

	Each     *EachPlan
	Race     *RaceDef
	Scope    *ScopeDef
	Repeat   *RepeatPlan
	Saga     *SagaPlan
	Await    *AwaitPlan
	Sleep    *SleepPlan
	Approve  *ApprovePlan
	Emit     *EmitPlan
	Set      *Mapping
	Fail     *FailDef
	Finish   *FinishDef
	Continue *Mapping // input of the next run
}

// PlanLane is a lane of a node: the plan steps whose Parent and Lane point to it.
type PlanLane struct {
	Name  string
	When  *Expr // choose; nil = always
	Steps []int // plan indexes of its own steps, not of those inside them
}

// EachPlan is a compiled EachDef.
type EachPlan struct {
	EachDef
	In, Key *Expr
}

// RepeatPlan is a compiled RepeatDef.
type RepeatPlan struct {
	RepeatDef
	Until *Expr
}

// SagaPlan is a compiled SagaDef.
type SagaPlan struct {
	SagaDef
	ID    *Expr
	Input *Mapping
}

// AwaitPlan is a compiled AwaitDef.
type AwaitPlan struct {
	AwaitDef
	When   *Expr  // nil = every signal; of events, those that the route lets through
	Route  string // name of the route that brings the events; "" = an await of a signal
	Equals *Expr  // of events: the value
}

// SleepPlan is a compiled SleepDef.
type SleepPlan struct {
	SleepDef
	Until *Expr
}

// ApprovePlan is a compiled ApproveDef.
type ApprovePlan struct {
	ApproveDef
	Not *Expr
}

// EmitPlan is a compiled EmitDef.
type EmitPlan struct {
	EmitDef
	Key  *Expr
	With *Mapping
}

// Plan is a compiled definition: its nodes in plan order, with their expressions compiled. Plan order
// is a topological order that is stable for one digest: a node, then its lanes; lists as they are
// written, but what an `after` points forward to comes first. A Plan is immutable and safe for
// concurrent use.
type Plan struct {
	Namespace       string // set by the runtime after Compile; part of every idempotency key
	Type            string
	Version         uint32
	Digest          Digest
	Steps           []PlanStep
	Pivot           int                       // plan index of the pivot, -1 = none
	ID              *Expr                     // the id part of the workflow ID from the input; nil = the start must carry one
	Input           *InputRule                // nil = any JSON object
	Deadline        time.Duration             // 0 = none
	Output          *Mapping                  // nil = {}
	Retention       time.Duration             // full state after the end
	MarkerRetention time.Duration             // id marker after the end; older starts are refused
	Tags            *Mapping                  // nil = those of the start alone
	OnFailure       FailurePolicy             // 0 = Drain
	Reuse           ReusePolicy               // 0 = ReuseNever
	Requires        uint32                    // feature level; 0 = 1
	Bindings        []BindingPlan             // events that start or signal instances
	Routes          []Route                   // events that come to instances by a value
	Correlates      map[string]*CorrelatePlan // participants that answer by events
	Definition      *Definition

	plain   bool     // instances need no more than level 1, though the definition does
	private *Private // nil = nothing is personal
}

// StepIndex returns the plan index of path, or -1.
func (p *Plan) StepIndex(path string) int {
	for i := range p.Steps {
		if p.Steps[i].Path == path {
			return i
		}
	}
	return -1
}

// level is the feature level of the instances of the plan; 0 = 1.
func (p *Plan) level() uint32 {
	level := min(p.Requires, instanceLevel)
	if p.plain {
		level = 1
	}
	for i := range p.Steps {
		if p.Steps[i].Node != NodeCall {
			level = max(level, 2)
		}
	}
	if level < 2 {
		return 0
	}
	return level
}
