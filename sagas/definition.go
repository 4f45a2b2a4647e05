package sagas

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// Definition is a saga as its authors wrote it, with every default filled in. ParseDefinition makes
// it from YAML or JSON; docs/definition.md explains each field. Treat it as read-only: plans and
// digests are made from it.
type Definition struct {
	Saga         string
	Version      uint32
	Input        *InputDecl // nil = any JSON object
	ID           string     // expression without its "=", empty = the start must carry an id
	Deadline     time.Duration
	Participants map[string]Participant
	Steps        []StepDef
	Output       []byte // JSON tree (see Mapping), nil = {}
	Retention    RetentionDef
	Tags         []byte        // JSON tree of texts that lists can search, nil = {}
	OnFailure    FailurePolicy // 0 = Drain
	Reuse        ReusePolicy   // 0 = ReuseNever
	Requires     uint32        // feature level that every process needs; 0 = 1
	On           []BindingDef  // events that start or signal instances
	PII          []string      // values that are personal, such as input.card.number; sorted. See Private

	src *source // where it was written; nil for a definition made in Go
}

// InputDecl says what a start must carry: either the name of an Avro record, which is kept and not
// checked here, or a few properties.
type InputDecl struct {
	Name       string
	Required   []string          // sorted
	Properties map[string]string // name -> string, integer, number, boolean, object, array
}

// Participant is a service that executes commands.
type Participant struct {
	Ops       []string      // of do, undo, inquire; sorted in this order
	KeyWindow time.Duration // how long it remembers an idempotency key; 0 = for ever
	Topic     string        // default cmd.<name>
	Format    string        // of its commands: FormatAvro; "" = JSON
	Schema    *SchemaDef    // with FormatAvro; nil = what the registry keeps for the topic
	Correlate *CorrelateDef // how it answers by events; nil = it echoes the token
}

// Offers says whether the participant answers op.
func (p Participant) Offers(op Op) bool {
	for _, o := range p.Ops {
		if o == op.String() {
			return true
		}
	}
	return false
}

// StepDef is one node of a definition. ID, Node, When, After, Why and Lanes belong to every kind; the
// pointer of its kind is set for the others; the rest is for calls.
type StepDef struct {
	ID    string
	Node  NodeKind
	After []string  // nodes of the same list that must be resolved first; nil = the one before
	Lanes []LaneDef // of nodes that have some

	Each     *EachDef
	Race     *RaceDef
	Scope    *ScopeDef
	Repeat   *RepeatDef
	Saga     *SagaDef
	Await    *AwaitDef
	Sleep    *SleepDef
	Approve  *ApproveDef
	Emit     *EmitDef
	Set      []byte // JSON tree
	Fail     *FailDef
	Finish   *FinishDef
	Continue *ContinueDef

	OnReject   bool          // onReject: continue; a refusal is no failure
	Lease      string        // expression over the output: when the hold lapses by itself; "" = never
	Heartbeat  time.Duration // a sign of life is due this often within an attempt; 0 = none
	Call       string        // participant.command
	Kind       StepKind
	With       []byte // JSON tree (see Mapping), nil = {}
	Keep       []string
	When       string // expression without its "=", empty = always
	Attempt    time.Duration
	Within     time.Duration // 0 = no limit
	Retry      Retry
	OnUnknown  OnUnknown
	Inquire    *InquireDef // set when OnUnknown is inquire
	Undo       *UndoDef    // nil = none
	Why        string      // why there is no undo
	AlertAfter time.Duration
}

// UndoDef is the compensation of a step.
type UndoDef struct {
	Call       string
	With       []byte // JSON tree, nil = the inputs of the do
	Attempt    time.Duration
	Retry      Retry // Attempts is always 0: an undo is never given up
	AlertAfter time.Duration
	After      []string // ids of nodes that must be out of debt first; sorted. None inside a frame that the step is not in
}

// InquireDef asks what became of a do.
type InquireDef struct {
	Call    string
	With    []byte // JSON tree, nil = the inputs of the do
	Every   time.Duration
	For     time.Duration
	Attempt time.Duration
}

// RetentionDef says how long an ended instance is kept.
type RetentionDef struct {
	State  time.Duration // full state
	Marker time.Duration // only the id, so that a redelivered start does not run twice
}

// Defaults. Every one of them is written out in the canonical form, so a published definition keeps
// its meaning when a later release changes a default.
const (
	DefaultAttempt           = 10 * time.Second
	DefaultWithin            = 2 * time.Minute // all kinds but retriable, which has no limit
	DefaultBackoff           = 500 * time.Millisecond
	DefaultBackoffMax        = time.Minute
	DefaultFactor            = 2.0
	DefaultJitter            = 0.2
	DefaultInquireEvery      = 5 * time.Second
	DefaultInquireFor        = 10 * time.Minute
	DefaultUndoAlert         = 15 * time.Minute
	DefaultRetriableAlert    = time.Hour // other kinds end by themselves and raise no alert
	DefaultStateRetention    = 7 * 24 * time.Hour
	DefaultMarkerRetention   = 30 * 24 * time.Hour
	DefaultCommandTopicStart = "cmd."
)

// Limits of one definition.
const (
	MaxDefinitionBytes = 512 << 10 // source text, and also its canonical form
	MaxSteps           = 500
	MaxParticipants    = 200
	MaxExpressions     = 5000
	MaxNameBytes       = 64
	MaxDuration        = 10 * 366 * 24 * time.Hour
)

// environmentVersion names what expressions may use and what it means. It is part of the digest.
const environmentVersion = "cel/1"

// Digest identifies the content of a definition: the SHA-256 of the expression environment and the
// canonical JSON.
type Digest [32]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Ref is "type@version".
func (d *Definition) Ref() string { return d.Saga + "@" + strconv.FormatUint(uint64(d.Version), 10) }

// Warnings are findings of ParseDefinition that do not refuse the definition: what may be right, and
// what an earlier release let pass.
func (d *Definition) Warnings() Findings {
	if d.src == nil {
		return nil
	}
	return d.src.warnings
}

// Digest of the definition. Two texts that mean the same have the same digest.
func (d *Definition) Digest() Digest {
	h := sha256.New()
	h.Write([]byte(environmentVersion))
	h.Write([]byte{'\n'})
	h.Write(d.Canonical())
	return Digest(h.Sum(nil))
}
