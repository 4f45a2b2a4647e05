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
}

// Inquire asks what became of a do.
type Inquire struct {
	Command string        // default: the command of the do
	With    *Mapping      // nil = the inputs of the do
	Every   time.Duration // pause between two questions
	For     time.Duration // after that: the rule for unknown
	Attempt time.Duration // how long one question waits for its answer
}

// PlanStep is one call of a plan.
type PlanStep struct {
	Path        string
	Kind        StepKind
	Deps        []int // plan indexes of the steps that must be resolved first
	Dependents  []int // plan indexes of the steps that wait for this one
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
}

// Plan is a compiled definition: a DAG of calls in plan order (a topological order that is stable
// for one digest), with its expressions compiled. A Plan is immutable and safe for concurrent use.
type Plan struct {
	Namespace       string // set by the runtime after Compile; part of every idempotency key
	Type            string
	Version         uint32
	Digest          Digest
	Steps           []PlanStep
	Pivot           int           // plan index of the pivot, -1 = none
	ID              *Expr         // the id part of the workflow ID from the input; nil = the start must carry one
	Input           *InputRule    // nil = any JSON object
	Deadline        time.Duration // 0 = none
	Output          *Mapping      // nil = {}
	Retention       time.Duration // full state after the end
	MarkerRetention time.Duration // id marker after the end; older starts are refused
	Definition      *Definition
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
