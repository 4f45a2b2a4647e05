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

// Obligation is a debt: an effect that may have to be undone. After the commit point nothing is.
type Obligation struct {
	Path  string `json:"path"`
	State string `json:"state"` // forward state
	Undo  string `json:"undo,omitempty"`
}

// View describes the instance. p may be nil when the definition is not known: then participants and
// keys are left out.
func (i *Instance) View(p *Plan) View {
	if p != nil && !pinned(i, p) {
		p = nil
	}
	v := View{
		WorkflowID: i.WorkflowID, Type: i.Type, Version: i.Version, Run: i.Run,
		Phase: i.Phase.String(), Status: i.Phase.String(),
		Residue: i.Residue, Cause: i.Cause.String(), CancelRequested: i.CancelRequested, DeadlineHit: i.DeadlineHit,
		StartID: i.StartID, StartedAt: i.StartedAt, UpdatedAt: i.LastNow, EndedAt: i.EndedAt, Deadline: i.Deadline,
		Due: i.NextDue(), ExpiresAt: i.Expires, Rev: i.Rev, Seq: i.Seq,
		Input: i.Input, Output: i.Output,
	}
	_, v.ID = SplitWorkflowID(i.WorkflowID)
	if i.Digest != (Digest{}) {
		v.Digest = i.Digest.String()
	}
	if i.Phase == Marker {
		v.EndedAs = i.Ended.String()
	}
	if i.Phase.Active() && i.NeedsAttention() {
		v.Status = StatusAttention
	}
	for _, t := range i.Tags {
		v.Tags = append(v.Tags, TagView(t))
	}
	for _, a := range i.Attention {
		v.Attention = append(v.Attention, AttentionView{Path: a.Path, Reason: string(a.Reason), Text: a.Text, Since: a.Since})
	}
	for k := range i.Steps {
		s := &i.Steps[k]
		sv := StepView{
			Path: s.Path, Kind: s.Kind.String(), State: s.State.String(), Attempts: s.Attempts, Asked: s.Asked,
			FirstSent: s.FirstSent, Due: s.Timer.Due, Undo: s.Undo.String(), UndoRound: s.UndoRound,
			UndoAttempts: s.UndoAttempts, UndoSent: s.UndoSent, Code: s.Code, Message: s.Message, Output: s.Output,
		}
		if p != nil {
			sv.Participant, sv.Command = p.Steps[s.Node].Participant, p.Steps[s.Node].Command
			if s.Round > 0 {
				sv.Key = IdempotencyKey(p.Namespace, i.WorkflowID, i.Run, s.Path, OpDo, s.Round)
			}
		}
		v.Steps = append(v.Steps, sv)
		if i.Phase != Finishing && (s.open() || i.Phase.Active() && s.Phantom && s.Undo == UndoNone && p != nil && p.Steps[s.Node].Undo != nil) {
			v.Obligations = append(v.Obligations, Obligation{Path: s.Path, State: s.State.String(), Undo: s.Undo.String()})
		}
	}
	return v
}

// StatusAttention is the status of an active instance that needs a person.
const StatusAttention = "attention"

// open says whether the step has, or may have, an effect that an undo would have to take back.
func (s *StepState) open() bool {
	if s.Undo != UndoNone {
		return !s.Undo.settled()
	}
	if !s.Record.Set() {
		return false
	}
	return s.inFlight() || s.mayHaveEffect() || (s.State == StepRefused && s.Attempts > 1)
}

// SplitWorkflowID cuts a workflow ID into the type and the id of the producer.
func SplitWorkflowID(wid string) (typ, id string) {
	typ, id, _ = strings.Cut(wid, "/")
	return typ, id
}
