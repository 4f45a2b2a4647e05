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
	Trace     string // W3C traceparent of the trigger
}

// WorkflowID returns <type>/<id>, or "" while the id is not known.
func (s *Start) WorkflowID() string { return workflowID(s.Type, s.ID) }

// Parent is the step of another instance that waits for this one.
type Parent struct {
	WorkflowID string
	Run        uint32
	Path       string
}

// Source is the place of a record.
type Source struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Signal is a message to a running instance.
type Signal struct {
	Type, ID    string
	Name        string
	SignalID    string
	Payload     []byte
	ContentType string
	Actor       string
	TTL         int64 // ms; 0 = the default
	IssuedAt    int64 // ms; 0 = the record's timestamp
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
