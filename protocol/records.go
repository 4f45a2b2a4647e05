package protocol

// Start asks for a new instance.
type Start struct {
	Type      string
	ID        string // id part of the workflow ID; "" = the definition computes it from the input
	IDFromKey bool   // ID was taken from the record key, the value had none
	Version   uint32 // 0 = the active one
	StartID   string // producer's id of this start, for duplicates
	Input     []byte // JSON object
	NotBefore int64  // ms; 0 = at once
	ReplyTo   string // topic for the result; "" = none
	Parent    *Parent
	Tags      map[string]string
	IssuedAt  int64 // ms; 0 = the record's timestamp
	Causation *Source
	Trace     string  // W3C traceparent of the trigger
	OrSignal  *Signal // what it is when there is such an instance already; nil = a start and nothing else. JSON only
}

// WorkflowID returns <type>/<id>, or "" while the id is not known.
func (s *Start) WorkflowID() string { return workflowID(s.Type, s.ID) }

// Parent is the step of another instance that waits for this one.
type Parent struct {
	WorkflowID string
	Run        uint32
	Path       string
	Reversible bool // the parent may undo it after it completed
}

// Source is the place of a record.
type Source struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Signal is a message to an instance.
type Signal struct {
	Type, ID    string
	IDFromKey   bool
	Name        string
	SignalID    string
	Payload     []byte // JSON; nil = null
	ContentType string // empty or JSON
	Actor       string // who sends it, as far as the producer says
	TTL         int64  // ms that it waits for a start, or to be consumed; 0 = it needs an instance
	IssuedAt    int64  // ms; 0 = the record's timestamp
}

// WorkflowID returns <type>/<id>.
func (s *Signal) WorkflowID() string { return workflowID(s.Type, s.ID) }

// Cancel asks to compensate an instance, or forbids one that has not started.
type Cancel struct {
	Type, ID  string
	IDFromKey bool
	RequestID string
	Reason    string
	Actor     string
	VoidTTL   int64 // ms that a cancel without an instance forbids the start; 0 = the default
}

// WorkflowID returns <type>/<id>.
func (c *Cancel) WorkflowID() string { return workflowID(c.Type, c.ID) }

// Action is an operator's verb.
type Action string

const (
	ActionRetry       Action = "retry"
	ActionRetryNewKey Action = "retry-new-key"
	ActionResolve     Action = "resolve"
	ActionWaive       Action = "waive"
	ActionSkip        Action = "skip"
	ActionCompensate  Action = "compensate"
	ActionClose       Action = "close"
	ActionSuspend     Action = "suspend"
	ActionResume      Action = "resume"
	ActionExtend      Action = "extend"
	ActionMigrate     Action = "migrate"
	ActionSignal      Action = "signal"
)

var actions = []Action{ActionRetry, ActionRetryNewKey, ActionResolve, ActionWaive, ActionSkip, ActionCompensate,
	ActionClose, ActionSuspend, ActionResume, ActionExtend, ActionMigrate, ActionSignal}

// Names of the arguments of operator actions.
const (
	ArgEffect   = "effect"   // resolve: done or none
	ArgOutput   = "output"   // resolve done, skip: JSON object
	ArgBy       = "byMs"     // extend: ms
	ArgName     = "name"     // signal
	ArgSignalID = "signalId" // signal
	ArgPayload  = "payload"  // signal: JSON
)

// Admin is one operator action.
type Admin struct {
	Type, ID  string
	IDFromKey bool
	RequestID string
	Action    Action
	Path      string
	Args      map[string]string
	Operator  string
	Approver  string
	Reason    string
	ExpectRev uint64 // 0 = not checked
}

// WorkflowID returns <type>/<id>.
func (a *Admin) WorkflowID() string { return workflowID(a.Type, a.ID) }

// End is how a child ended.
type End string

const (
	EndRejected    End = "rejected" // it never began
	EndCompleted   End = "completed"
	EndCompensated End = "compensated"
	EndClosed      End = "closed"
)

var ends = []End{EndRejected, EndCompleted, EndCompensated, EndClosed}

// ChildDone tells the step of a parent how its child ended. Type and ID are those of the parent.
type ChildDone struct {
	Type, ID string
	Run      uint32 // of the parent
	Path     string // step of the parent
	Child    string // workflow ID
	End      End
	Code     string
	Message  string
	Output   []byte // JSON object; nil = none
}

// WorkflowID returns <type>/<id> of the parent.
func (d *ChildDone) WorkflowID() string { return workflowID(d.Type, d.ID) }

// Kin is what a parent says to a child: Type and ID are those of the child.
type Kin struct {
	Type, ID string
	Parent   string // workflow ID
	Run      uint32 // of the parent
	Path     string // step of the parent
}

// Reverse asks a completed reversible child to compensate.
type Reverse Kin

// WorkflowID returns <type>/<id> of the child.
func (r *Reverse) WorkflowID() string { return workflowID(r.Type, r.ID) }

// ParentClosed lets go of a reversible child.
type ParentClosed Kin

// WorkflowID returns <type>/<id> of the child.
func (r *ParentClosed) WorkflowID() string { return workflowID(r.Type, r.ID) }

func workflowID(typ, id string) string {
	if id == "" {
		return ""
	}
	return typ + "/" + id
}

// CommandRecord is a command as one Avro record, for bridges that cannot carry headers.
type CommandRecord struct {
	Token          string
	WorkflowID     string
	Type           string
	Path           string
	Op             Op
	Name           string
	Key            string
	ForwardKey     string
	Attempt        uint32
	Round          uint32
	Deadline       int64
	ReplyTo        string
	ReplyPartition int32
	Payload        []byte
	Schema         string
	Trace          string
}

// ReplyRecord is a reply as one Avro record, for bridges that cannot carry headers.
type ReplyRecord struct {
	Token      string
	Outcome    Outcome
	Effect     Effect // "" = the default of the outcome
	Code       string
	Message    string
	RetryAfter int64
	Noop       bool
	Replayed   bool
	Handle     map[string]string
	Payload    []byte
}
