package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/amendsio/amends/sagas"
)

// Source is where the pages get everything from.
type Source interface {
	// As is the desk of whoever sent the request. The error is a *Problem, with status 401 when nobody
	// is known.
	As(r *http.Request) (Desk, error)
}

// Desk is what one person sees and may do. Every error should be a *Problem; any other is shown as an
// internal one. Implementations are safe for concurrent use.
type Desk interface {
	Session() Session
	Counts(ctx context.Context) (Counts, error) // for every page: it must be cheap

	Overview(ctx context.Context) (Overview, error)
	Instances(ctx context.Context, q InstanceQuery) (InstancePage, error)
	Instance(ctx context.Context, workflowID string) (Instance, error)
	Definitions(ctx context.Context) ([]DefinitionRow, error)
	// Definition is one saga. version 0 is the active one; against, when it is not 0, is compared with it.
	Definition(ctx context.Context, saga string, version, against uint32) (Definition, error)
	Attention(ctx context.Context) ([]AttentionGroup, error)
	Tasks(ctx context.Context) ([]Task, error)
	DeadLetters(ctx context.Context, class, cursor string) (DeadLetterPage, error)
	DeadLetter(ctx context.Context, id string) (DeadLetter, error)
	Batches(ctx context.Context) ([]Batch, error)
	Batch(ctx context.Context, id string) (Batch, error)
	Bindings(ctx context.Context) ([]Binding, error) // by key
	Cluster(ctx context.Context) (Cluster, error)
	Audit(ctx context.Context, cursor string) (AuditPage, error)

	// Preview says what Act would publish. It publishes nothing.
	Preview(ctx context.Context, a Action) (Preview, error)
	Act(ctx context.Context, a Action) error
	PreviewBulk(ctx context.Context, b BulkAction) (BulkPreview, error)
	ActBulk(ctx context.Context, b BulkAction) (batch string, err error)
	SteerBatch(ctx context.Context, id, verb string) error // pause, resume or stop
	Decide(ctx context.Context, d Decision) error
	Replay(ctx context.Context, r Replay) error
	Drop(ctx context.Context, id, reason string) error
	HoldBinding(ctx context.Context, key string, paused bool, reason string) error
	// ReplayBinding says what it did, or with DryRun would do.
	ReplayBinding(ctx context.Context, r BindingReplay) (BindingPreview, error)
	Activate(ctx context.Context, saga string, version uint32, reason string) error

	// Watch sends the id of each change until ctx ends. topic is "instance/<workflow ID>", or
	// all, cluster, tasks, batches, letters or bindings.
	// after is the last id that the reader has seen, empty = from now on.
	Watch(ctx context.Context, topic, after string) (<-chan string, error)
}

// What a session may do.
const (
	MayAct      = "act"      // operator actions, decisions, dead letters, batches
	MayActivate = "activate" // versions of definitions
)

// Session is who looks.
type Session struct {
	Actor string   // "" = nobody is known, there is no login
	Role  string   // viewer, operator, deployer or admin; "" = no login
	May   []string // of the constants above
}

// Can says whether the session may do it.
func (s Session) Can(what string) bool { return slices.Contains(s.May, what) }

// Problem is an error as people see it, after RFC 9457.
type Problem struct {
	Status int    // of HTTP
	Code   string // stable, e.g. SG31
	Title  string
	Detail string
	Hint   string // what to do
}

func (p *Problem) Error() string { return p.Code + " " + p.Title + ": " + p.Detail }

// Counts are the numbers beside the links.
type Counts struct{ Attention, Tasks, DeadLetters int }

// Overview is the first page.
type Overview struct {
	Active      int
	FinishedHr  int     // finished within the last hour; negative = not known
	Ended       int     // that are still readable
	Compensated float64 // share of those that ended compensated, 0 to 1; negative = not known
	OldestAge   int64   // ms; of an active instance
	Sagas       []SagaPulse
	Nodes       []Node
	Changes     []Change // the newest first
	Since       sagas.Time
	Until       sagas.Time
	Counted     sagas.Time // from when on all processes count, when that is within the window; 0 = all of it
	Unread      []string   // processes that did not answer
}

// SagaPulse is how one saga does.
type SagaPulse struct {
	Saga        string
	Version     uint32 // active
	Active      int
	Attention   int
	Finished    int // within the window of the overview, as far as it is counted
	Compensated int
	P50, P95    int64     // ms, start to end
	Pulse       []Segment // even parts of the window, the oldest first
}

// Segment is one part of a window.
type Segment struct{ Completed, Compensated, Attention int }

// Change is something that people did, or that happened to the cluster.
type Change struct {
	At   sagas.Time
	Kind string // deploy, definition, rebalance, breaker, operator
	Text string
	Link string // of a page, "" = none
}

// InstanceQuery is a search. Query is CEL over the attributes.
type InstanceQuery struct {
	Query  string
	Status string
	Saga   string
	Cursor string
	Limit  int
}

// InstanceRow is one line of the list.
type InstanceRow struct {
	WorkflowID string
	Saga       string
	ID         string
	Version    uint32
	Status     string
	Phase      string
	At         string // the step that it stands at
	Cause      string
	Tags       []sagas.TagView
	StartedAt  sagas.Time
	UpdatedAt  sagas.Time
	EndedAt    sagas.Time
	Due        sagas.Time
}

// InstancePage is a part of the list.
type InstancePage struct {
	Rows   []InstanceRow
	Next   string // cursor, "" = the end
	Count  int    // of all that match; -1 = not counted
	Exact  bool
	Sagas  []string // for the choice
	Fields []string // that a query may name
	TookMs int64
}

// Instance is everything of one instance.
type Instance struct {
	View       sagas.View
	Definition *sagas.Definition // nil = not known here
	Owner      Place
	Explain    Explanation
	Facts      []Fact // the oldest first
	FactsFrom  uint64 // first seq that is still there; 1 = all of them
	Messages   []Message
	Children   []Related
	Offers     []Offer
	TraceURL   string
}

// Place is where an instance lives.
type Place struct {
	Node      string
	Partition int32
}

// Explanation is why an instance does not move.
type Explanation struct {
	Sentence string
	Reason   string // for machines
	Facts    []NV
	Next     []Advice
	Timer    sagas.Time // next, 0 = none
	TimerFor string
}

// NV is a name and a value.
type NV struct{ Name, Value string }

// Advice is something that an operator can do.
type Advice struct {
	Text   string
	Action string // "" = nothing on this page
	Path   string
}

// Fact is one record of the lifecycle.
type Fact struct {
	Seq       uint64
	Rev       uint64
	At        sagas.Time
	Kind      string
	Path      string
	Phase     string
	Attention []string
	Cause     string
	Detail    []NV // sorted by name
	Source    *Position
}

// Position is a record in Kafka.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Message is a command, a reply or another record about an instance.
type Message struct {
	Dir      string // out or in
	What     string // do, undo, inquire, reply, signal, start, event
	Name     string // e.g. psp.authorise
	Path     string
	Attempt  uint32
	Outcome  string // of a reply
	Code     string
	Key      string
	At       sagas.Time
	Position *Position // nil = not known
	Schema   string
	Headers  []NV
	Body     json.RawMessage // masked already
	Bytes    int
	TraceURL string
}

// Related is a parent or a child.
type Related struct{ WorkflowID, Status, Path, How string }

// Offer is an action that makes sense now.
type Offer struct {
	Action  string
	Path    string
	Title   string
	Text    string
	Risky   bool
	Refused string // why it cannot be done; "" = it can
	Args    []Arg
}

// Arg is something that an action needs to know.
type Arg struct {
	Name    string
	Label   string
	Default string
	Choice  []string // nil = free text
	JSON    bool
	Must    bool
}

// Action is what an operator wants.
type Action struct {
	WorkflowID string
	Action     string
	Path       string
	Args       map[string]string
	Reason     string
	ExpectRev  uint64
	RequestID  string
}

// Preview is what an action would publish.
type Preview struct {
	Rev      uint64
	Commands []Planned
	Effects  []string // changes that are no record
	Warnings []string
}

// Planned is one record that would be published.
type Planned struct {
	Op        string
	Name      string
	Topic     string
	Partition int32 // -1 = not known
	Path      string
	Key       string
	Attempt   uint32
	Payload   json.RawMessage
}

// DefinitionRow is one saga of the list.
type DefinitionRow struct {
	Saga     string
	Active   uint32
	Owner    string
	Versions []VersionRow // the newest first
}

// VersionRow is one version.
type VersionRow struct {
	Version   uint32
	Digest    string
	InFlight  int
	Attention int
	Active    bool
	Loaded    int // nodes that have it
	Nodes     int
	Since     sagas.Time
}

// Definition is one saga with what is known of its runs.
type Definition struct {
	Row     DefinitionRow
	Version uint32
	Def     *sagas.Definition
	Source  string     // YAML
	Heat    []StepHeat // in the order of the definition
	Counted sagas.Time // from when on Heat counts; 0 = not known
	Unread  []string   // processes that did not answer
	Stands  []Stand
	// StandsAtLeast: there are too many to look at all.
	StandsAtLeast bool
	Against       uint32
	Diff          []DiffLine
}

// StepHeat is how a step does. Times are ms.
type StepHeat struct {
	Step      string
	Done      int
	Refused   int
	Failed    int // without a definite answer
	Undone    int
	P50, P95  int64
	AttemptsX float64 // mean
}

// Stand is how many instances of a version stand at a step.
type Stand struct {
	Version uint32
	Step    string
	Count   int
}

// DiffLine is a line of a comparison. Op is ' ', '+' or '-'.
type DiffLine struct {
	Op   byte
	Text string
}

// AttentionGroup is instances that need a person for the same cause.
type AttentionGroup struct {
	ID      string
	Saga    string
	Step    string
	Reason  string
	Code    string // of the participant
	Text    string
	Undo    bool // an undo failed: the first class
	Count   int
	First   sagas.Time
	Last    sagas.Time
	Trend   []int // per even part of the time between
	Sample  []string
	Helps   []Offer
	Query   string
	Runbook string
	Owner   string
}

// BulkAction is an action on all that match.
type BulkAction struct {
	Group     string // of attention, or ""
	Query     string
	Action    string
	Path      string
	Args      map[string]string
	Reason    string
	Rate      int // per second
	Expect    int // how many the reader saw
	RequestID string
}

// BulkPreview is what a bulk action would do.
type BulkPreview struct {
	Count  int
	Sample []BulkItem // the first ten
	Refuse int        // of the sample: would be refused
}

// BulkItem is one instance of a bulk action.
type BulkItem struct {
	WorkflowID string
	Path       string
	Commands   []Planned
	Refused    string
	State      string // of a batch: waiting, done, refused, failed
}

// Batch is a bulk action at work.
type Batch struct {
	ID      string
	Action  string
	Query   string
	Reason  string
	Actor   string
	State   string // running, paused, stopped, done
	Count   int
	Done    int
	Refused int
	Rate    int
	Started sagas.Time
	Ended   sagas.Time
	Items   []BulkItem
}

// Task is a decision that people owe.
type Task struct {
	WorkflowID string
	Path       string
	Saga       string
	Title      string
	Roles      []string
	Not        []string
	Quorum     uint32
	Votes      []sagas.VoteView
	Opened     sagas.Time
	Due        sagas.Time
	Claimed    string
	Facts      []NV
	Mine       string // why the reader may not decide; "" = may
}

// Decision is one vote, or a claim.
type Decision struct {
	WorkflowID string
	Path       string
	Verb       string // approve, refuse, claim or release
	Comment    string
	RequestID  string
}

// DeadLetterRow is one record that was set aside.
type DeadLetterRow struct {
	ID         string // of this entry
	Class      string
	Message    string
	WorkflowID string
	Origin     Position
	At         sagas.Time
	Bytes      int
	Node       string
}

// DeadLetterPage is a part of the list.
type DeadLetterPage struct {
	Rows    []DeadLetterRow
	Classes []ClassCount
	Next    string
	Partial bool     // not all of them could be read
	Unread  []string // what could not be read at all, and why
}

// ClassCount is how many letters a class has.
type ClassCount struct {
	Class string
	Count int
}

// DeadLetter is one record with its content.
type DeadLetter struct {
	DeadLetterRow
	Stage      string
	Format     string // json, avro or unknown
	Schema     string
	Key        string
	Headers    []NV
	Decoded    string // as text that can be edited; "" = it cannot
	Raw        []byte // the first KiB
	Explain    string // what the class means
	Editable   bool
	ReplayTo   string
	SettledAs  string // replayed or dropped, "" = open
	SettledBy  string
	SettledFor string
}

// Replay sends a letter to its topic again.
type Replay struct {
	ID        string
	Value     string // edited; "" = as it is
	Reason    string
	RequestID string
	DryRun    bool
}

// Binding is a topic of others that starts or signals a saga.
type Binding struct {
	Key     string // <saga>/<name>
	Saga    string // "" = of no one saga
	Version uint32
	Topic   string
	Action  string // start, signal, startOrSignal or correlate
	Signal  string
	When    string // condition
	From    string // where it began
	Group   string
	Lag     int64 // records behind its position; -1 = not known
	Problem string
	Paused  bool
	By      string // who paused it, or let it go on, last; with the reason and the time
	Reason  string
	At      sagas.Time
}

// BindingReplay says what part of a topic is read again. Times are as a form has them, UTC; an empty To is now.
type BindingReplay struct {
	Key       string
	From, To  string
	Reason    string
	RequestID string
	DryRun    bool
}

// BindingPreview is what reading again did, or would do.
type BindingPreview struct {
	Records, Matched, Dead, Written int
	Reasons                         []string
}

// Cluster is who runs what.
type Cluster struct {
	Nodes        []Node
	Tasks        []TaskRow
	Destinations []Destination
	Rollout      []RolloutRow
	Level        uint32
	Supports     uint32 // the least that every process supports
}

// Node is one process.
type Node struct {
	Name    string
	Address string
	Version string
	State   string // ready, restoring, draining, joining, gone
	Since   sagas.Time
	Tasks   int
	Standby int
	Level   uint32
	Self    bool
}

// TaskRow is one partition.
type TaskRow struct {
	Task     int32
	Owner    string
	State    string  // running, restoring, draining, unowned
	Restored float64 // 0 to 1
	LeftMs   int64
	Left     int64 // records
	Lag      int64 // input records
	Bytes    int64
	Active   int
	Standbys []Standby
}

// Standby is a warm copy.
type Standby struct {
	Node  string
	Lag   int64 // records
	AgeMs int64
}

// Destination is a topic of others.
type Destination struct {
	Topic   string
	State   string // open, closed, probing
	Reason  string
	Since   sagas.Time
	Waiting int
	Rate    float64
}

// RolloutRow is how far a process is in a rolling restart.
type RolloutRow struct {
	Node    string
	Version string
	Steps   []string // done, now or next, for drain, hand over, restore, ready
	Lag     int64
}

// AuditRow is something that a person did.
type AuditRow struct {
	At         sagas.Time
	Actor      string
	Action     string
	WorkflowID string
	Path       string
	Reason     string
	RequestID  string
	Before     string
	After      string
	Position   *Position
}

// AuditPage is a part of the audit, the newest first.
type AuditPage struct {
	Rows []AuditRow
	Next string
}
