package sagas

import (
	"encoding/json"
	"strings"
)

// View is an instance as the API and the command line show it. Times are milliseconds since the
// Unix epoch; zero values are left out.
type View struct {
	WorkflowID      string          `json:"workflowId"`
	Type            string          `json:"type"`
	ID              string          `json:"id"`
	Version         uint32          `json:"version,omitempty"`
	Digest          string          `json:"digest,omitempty"`
	Run             uint32          `json:"run"`
	Phase           string          `json:"phase"`
	Status          string          `json:"status"` // the phase, or "attention" while an active instance needs a person
	EndedAs         string          `json:"endedAs,omitempty"`
	Attention       []AttentionView `json:"attention,omitempty"`
	Steps           []StepView      `json:"steps,omitempty"`
	Obligations     []Obligation    `json:"obligations,omitempty"`
	Residue         []string        `json:"residue,omitempty"`
	Cause           string          `json:"cause,omitempty"`
	CancelRequested bool            `json:"cancelRequested,omitempty"`
	DeadlineHit     bool            `json:"deadlineHit,omitempty"`
	StartID         string          `json:"startId,omitempty"`
	StartedAt       Time            `json:"startedAt,omitempty"`
	UpdatedAt       Time            `json:"updatedAt,omitempty"`
	EndedAt         Time            `json:"endedAt,omitempty"`
	Deadline        Time            `json:"deadline,omitempty"`
	Due             Time            `json:"due,omitempty"` // when the engine looks at it by itself next
	ExpiresAt       Time            `json:"expiresAt,omitempty"`
	Rev             uint64          `json:"rev"`
	Seq             uint64          `json:"seq"`
	Tags            []TagView       `json:"tags,omitempty"`
	Input           json.RawMessage `json:"input,omitempty"`
	Output          json.RawMessage `json:"output,omitempty"`
}

// TagView is one tag.
type TagView struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// AttentionView is one reason to look at the instance.
type AttentionView struct {
	Path   string `json:"path,omitempty"` // empty = the instance itself
	Reason string `json:"reason"`
	Text   string `json:"text,omitempty"`
	Since  Time   `json:"since"`
}

// StepView is one step.
type StepView struct {
	Path         string          `json:"path"`
	Kind         string          `json:"kind"`
	Participant  string          `json:"participant,omitempty"`
	Command      string          `json:"command,omitempty"`
	State        string          `json:"state"`
	Attempts     uint32          `json:"attempts"`
	Asked        uint32          `json:"asked,omitempty"`
	Key          string          `json:"key,omitempty"`
	FirstSent    Time            `json:"firstSent,omitempty"`
	Due          Time            `json:"due,omitempty"`
	Undo         string          `json:"undo,omitempty"`
	UndoRound    uint32          `json:"undoRound,omitempty"`
	UndoAttempts uint32          `json:"undoAttempts,omitempty"`
	UndoSent     Time            `json:"undoSent,omitempty"`
	Code         string          `json:"code,omitempty"`
	Message      string          `json:"message,omitempty"`
	Output       json.RawMessage `json:"output,omitempty"`
}

// Obligation is a debt: an effect that may have to be undone.
type Obligation struct {
	Path  string `json:"path"`
	State string `json:"state"` // forward state
	Undo  string `json:"undo,omitempty"`
}

// View describes the instance. p may be nil when the definition is not known: then participants and
// keys are left out.
func (i *Instance) View(p *Plan) View {
	panic("sagas: not yet")
}

// SplitWorkflowID cuts a workflow ID into the type and the id of the producer.
func SplitWorkflowID(wid string) (typ, id string) {
	typ, id, _ = strings.Cut(wid, "/")
	return typ, id
}
