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
	Frames          []FrameView     `json:"frames,omitempty"`
	Obligations     []Obligation    `json:"obligations,omitempty"`
	Residue         []string        `json:"residue,omitempty"`
	Waiting         []WaitView      `json:"waiting,omitempty"` // what is not sent because its topic takes nothing now; filled in by the runtime
	Cause           string          `json:"cause,omitempty"`
	CancelRequested bool            `json:"cancelRequested,omitempty"`
	Suspended       bool            `json:"suspended,omitempty"`
	Parent          string          `json:"parent,omitempty"` // workflow ID of the instance that started it
	DeadlineHit     bool            `json:"deadlineHit,omitempty"`
	FinishedAs      string          `json:"finishedAs,omitempty"` // code of the finish node that ended the run
	Signals         []SignalView    `json:"signals,omitempty"`    // that nothing consumed yet, in the order of arrival
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

// WaitView is something that would be sent if its topic took it.
type WaitView struct {
	Path   string `json:"path,omitempty"` // of the step; empty = the result
	Topic  string `json:"topic"`
	Reason string `json:"reason"`
	Since  Time   `json:"since"`
}

// SignalView is one buffered signal, without its payload.
type SignalView struct {
	Name    string `json:"name"`
	ID      string `json:"id,omitempty"`
	Actor   string `json:"actor,omitempty"`
	At      Time   `json:"at"`
	Expires Time   `json:"expires,omitempty"`
}

// FrameView is an item, a round or a lane that has steps of its own.
type FrameView struct {
	Path  string `json:"path"` // of the node that it belongs to
	Key   string `json:"key"`  // of the item, the number of the round, the name of the lane
	State string `json:"state"`
	Cause string `json:"cause,omitempty"` // why it was turned round
}

// StepView is one node of the definition, in one frame. Parent and Lane say where in the tree it stands.
type StepView struct {
	Path         string          `json:"path"`
	Node         string          `json:"node,omitempty"`   // what it is, when it is no call
	Parent       string          `json:"parent,omitempty"` // path of the node whose body it is in
	Lane         string          `json:"lane,omitempty"`   // of the parent, when that has more than one
	Taken        string          `json:"taken,omitempty"`  // choose: the lane that it took
	Until        Time            `json:"until,omitempty"`  // end of a wait
	Child        string          `json:"child,omitempty"`  // workflow ID of the child that it started
	Lease        Time            `json:"lease,omitempty"`  // when the effect lapses by itself
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

	Roles  []string   `json:"roles,omitempty"`  // approve: who may decide
	Quorum uint32     `json:"quorum,omitempty"` // approve: approvals that are needed
	Votes  []VoteView `json:"votes,omitempty"`  // approve
}

// VoteView is one decision of a person.
type VoteView struct {
	Actor    string `json:"actor"`
	Decision string `json:"decision"` // approve or refuse
	Comment  string `json:"comment,omitempty"`
	At       Time   `json:"at"`
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
	v.Suspended = i.Suspended
	v.FinishedAs = i.FinishedAs
	for k := range i.Signals {
		s := &i.Signals[k]
		v.Signals = append(v.Signals, SignalView{Name: s.Name, ID: s.ID, Actor: s.Actor, At: s.At, Expires: s.Expires})
	}
	if i.Parent != nil {
		v.Parent = i.Parent.WorkflowID
	}
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
	var t *tree
	if p != nil && i.dynamic() {
		t = buildTree(p, i)
	}
	for k := range i.Frames {
		v.Frames = append(v.Frames, i.viewFrame(t, k))
	}
	for k := range i.Steps {
		s := &i.Steps[k]
		sv := StepView{
			Path: s.Path, Kind: s.Kind.String(), State: s.State.String(), Attempts: s.Attempts, Asked: s.Asked,
			FirstSent: s.FirstSent, Due: s.Timer.Due, Undo: s.Undo.String(), UndoRound: s.UndoRound,
			UndoAttempts: s.UndoAttempts, UndoSent: s.UndoSent, Code: s.Code, Message: s.Message, Output: s.Output,
			Until: s.Until, Child: s.Child, Lease: s.Lease,
		}
		if t != nil {
			sv.place(p, i, t, k)
		}
		if p != nil {
			sv.Participant, sv.Command = p.Steps[s.Node].Participant, p.Steps[s.Node].Command
			if s.Round > 0 {
				sv.Key = IdempotencyKey(p.Namespace, i.WorkflowID, i.Run, s.Path, OpDo, s.Round)
			}
		}
		v.Steps = append(v.Steps, sv)
		if (i.Phase != Finishing || i.inTurned(k)) && (s.open() || i.owesChild(p, s) || i.Phase.Active() && s.Phantom && s.Undo == UndoNone && p != nil && p.Steps[s.Node].Undo != nil) {
			v.Obligations = append(v.Obligations, Obligation{Path: s.Path, State: s.State.String(), Undo: s.Undo.String()})
		}
	}
	return v
}

// owesChild says whether a child of the step may have to go back.
func (i *Instance) owesChild(p *Plan, s *StepState) bool {
	if s.Child == "" || p == nil || s.Undo != UndoNone || !(i.Phase.Active() || i.Phase == Completed && i.kept()) {
		return false
	}
	return s.State == StepOpen || s.State == StepDone && p.Steps[s.Node].Saga.Reversible
}

// place fills in where the step stands, and what it is.
func (v *StepView) place(p *Plan, i *Instance, t *tree, k int) {
	s, d := &i.Steps[k], &p.Steps[i.Steps[k].Node]
	if d.Node != NodeCall {
		v.Node = d.Node.String()
		v.Participant, v.Command = "", ""
	}
	if d.Approve != nil {
		v.Roles, v.Quorum = d.Approve.Roles, max(d.Approve.Quorum, 1)
		for _, vote := range s.Votes {
			vv := VoteView{Actor: vote.Actor, Decision: "refuse", Comment: vote.Comment, At: vote.At}
			if vote.Approve {
				vv.Decision = "approve"
			}
			v.Votes = append(v.Votes, vv)
		}
	}
	if d.Node == NodeChoose && s.Lane > 0 && s.Lane <= len(d.Lanes) {
		v.Taken = d.Lanes[s.Lane-1].Name
	}
	if up := t.steps[k].parent; up >= 0 {
		v.Parent = i.Steps[up].Path
		if lanes := p.Steps[d.Parent].Lanes; len(lanes) > 1 {
			v.Lane = lanes[d.Lane].Name
		}
	}
}

var frameNames = [...]string{"", "waiting", "open", "done", "undoing", "undone"}

func (s FrameState) String() string {
	if int(s) < len(frameNames) {
		return frameNames[s]
	}
	return "invalid"
}

func (i *Instance) viewFrame(t *tree, k int) FrameView {
	f := &i.Frames[k]
	v := FrameView{Key: f.Key, State: f.State.String(), Cause: f.Cause.String()}
	for n := range i.Steps {
		if t != nil {
			n = int(t.frames[k+1].owner)
		}
		if s := &i.Steps[n]; s.Node == f.Node && s.Frame == f.In {
			v.Path = s.Path
			break
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
