package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// censusAge is how old the numbers beside a definition may be.
const censusAge = 2 * time.Second

func (s *server) definitionRoutes() {
	const tag = "definitions"
	type definitionList struct {
		Definitions []orchestrator.DefinitionInfo `json:"definitions"`
	}
	add(s, route{id: "list-definitions", method: http.MethodGet, path: "/api/v1/definitions", tag: tag, role: Viewer, summary: "List published versions"},
		func(context.Context, *struct{}) (*answer[definitionList], error) {
			l := definitionList{s.engine.Definitions()}
			if l.Definitions == nil {
				l.Definitions = []orchestrator.DefinitionInfo{}
			}
			return &answer[definitionList]{l}, nil
		})
	type definitionDetail struct {
		orchestrator.DefinitionSource
		Instances []orchestrator.CensusRow `json:"instances" doc:"How many instances of this version there are, by status"`
		Missing   []int32                  `json:"missing,omitempty" doc:"Tasks that were not counted"`
	}
	add(s, route{id: "get-definition", method: http.MethodGet, path: "/api/v1/definitions/{type}/{version}", tag: tag, role: Viewer,
		summary: "Show a version and what runs on it", description: "Version 0 is the active one."},
		func(ctx context.Context, in *struct {
			Type    string `path:"type"`
			Version uint32 `path:"version"`
		}) (*answer[definitionDetail], error) {
			d, err := s.engine.Definition(in.Type, in.Version)
			if err != nil {
				return nil, err
			}
			census, err := s.desk.CensusWithin(ctx, censusAge)
			if err != nil {
				return nil, err
			}
			out := definitionDetail{DefinitionSource: d, Instances: []orchestrator.CensusRow{}, Missing: census.Missing}
			for _, r := range census.Rows {
				if r.Type == d.Type && r.Version == d.Version {
					out.Instances = append(out.Instances, r)
				}
			}
			return &answer[definitionDetail]{out}, nil
		})
	type definitionChanges struct {
		Changes []orchestrator.Change `json:"changes"`
	}
	add(s, route{id: "compare-definitions", method: http.MethodGet, path: "/api/v1/definitions/{type}/compare", tag: tag, role: Viewer, summary: "Compare two versions"},
		func(_ context.Context, in *struct {
			Type string `path:"type"`
			From uint32 `query:"from" required:"true"`
			To   uint32 `query:"to" doc:"Absent: the active one"`
		}) (*answer[definitionChanges], error) {
			c, err := s.engine.CompareDefinitions(in.Type, in.From, in.To)
			return &answer[definitionChanges]{definitionChanges{c}}, err
		})
	type publishedList struct {
		Published []orchestrator.Published `json:"published"`
	}
	add(s, route{id: "publish-definitions", method: http.MethodPost, path: "/api/v1/definitions", tag: tag, role: Deployer, summary: "Publish definitions",
		description: "All or none. A version that is published never changes."},
		func(ctx context.Context, in *struct {
			Body struct {
				Source   string `json:"source" doc:"YAML or JSON, several documents if you like"`
				Activate bool   `json:"activate,omitempty" doc:"New starts take these versions"`
			}
		}) (*answer[publishedList], error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			out, err := s.engine.Publish(ctx, "body", []byte(in.Body.Source), in.Body.Activate)
			return &answer[publishedList]{publishedList{out}}, err
		})
	type definitionActivated struct {
		Type    string `json:"type"`
		Version uint32 `json:"version"`
		Before  uint32 `json:"before" doc:"The version that was active, 0 for none"`
	}
	add(s, route{id: "activate-definition", method: http.MethodPost, path: "/api/v1/definitions/{type}/activate", tag: tag, role: Deployer,
		summary: "Make a version the one that new starts take", description: "Running instances stay on theirs."},
		func(ctx context.Context, in *struct {
			Type string `path:"type"`
			Body struct {
				Version uint32 `json:"version" minimum:"1"`
			}
		}) (*answer[definitionActivated], error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			before, err := s.engine.Activate(ctx, in.Type, in.Body.Version)
			return &answer[definitionActivated]{definitionActivated{in.Type, in.Body.Version, before}}, err
		})
}

// Task names an approval. Paths of steps hold slashes and brackets, so it is a body and not a path.
type Task struct {
	WorkflowID string `json:"workflowId" doc:"type/id of the instance"`
	Path       string `json:"path" doc:"Path of the approve step"`
}

func (s *server) taskRoutes() {
	const tag = "tasks"
	add(s, route{id: "list-tasks", method: http.MethodGet, path: "/api/v1/tasks", tag: tag, role: Viewer, summary: "Decisions that wait for people", description: "The most urgent first."},
		func(ctx context.Context, in *struct {
			Partial bool `query:"partial"`
		}) (*answer[cluster.Approvals], error) {
			a, err := s.desk.Approvals(ctx, in.Partial)
			return &answer[cluster.Approvals]{a}, err
		})
	type taskClaim struct {
		WorkflowID string `json:"workflowId"`
		Path       string `json:"path"`
		By         string `json:"by,omitempty"`
	}
	add(s, route{id: "claim-task", method: http.MethodPost, path: "/api/v1/tasks/claim", tag: tag, role: Operator, summary: "Say who looks after a decision",
		description: "It stops nobody from deciding; it tells the others that somebody is at it."},
		func(ctx context.Context, in *struct {
			Body struct {
				Task
				By      string `json:"by,omitempty"`
				Take    bool   `json:"take,omitempty" doc:"Take it over from somebody else"`
				Release bool   `json:"release,omitempty"`
			}
		}) (*answer[taskClaim], error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			by, err := actor(ctx, "by", in.Body.By)
			if err != nil {
				return nil, err
			}
			if !in.Body.Release {
				if err := s.openTask(ctx, in.Body.Task); err != nil {
					return nil, err
				}
			}
			if err := s.engine.Claim(ctx, in.Body.WorkflowID, in.Body.Path, by, in.Body.Take, in.Body.Release); err != nil {
				return nil, err
			}
			out := taskClaim{WorkflowID: in.Body.WorkflowID, Path: in.Body.Path, By: by}
			if in.Body.Release {
				out.By = ""
			}
			return &answer[taskClaim]{out}, nil
		})
	add(s, route{id: "decide-task", method: http.MethodPost, path: "/api/v1/tasks/decide", tag: tag, role: Operator, status: http.StatusAccepted, summary: "Approve or refuse",
		description: "A person decides once, and who may not decide is not counted: the definition's rules hold, such as that nobody approves what they asked for."},
		func(ctx context.Context, in *struct {
			Changing
			Body struct {
				Task
				Decision string `json:"decision" enum:"approve,refuse"`
				Comment  string `json:"comment,omitempty" maxLength:"500"`
				By       string `json:"by,omitempty"`
			}
		}) (*accepted, error) {
			if err := s.openTask(ctx, in.Body.Task); err != nil {
				return nil, err
			}
			payload, err := json.Marshal(map[string]string{"decision": in.Body.Decision, "comment": in.Body.Comment})
			if err != nil {
				return nil, err
			}
			args := map[string]json.RawMessage{}
			args[protocol.ArgName], _ = json.Marshal(protocol.DecisionPrefix + in.Body.Path) // strings always have JSON
			args[protocol.ArgPayload] = payload
			reason := in.Body.Comment
			if reason == "" {
				reason = in.Body.Decision
			}
			typ, id := sagas.SplitWorkflowID(in.Body.WorkflowID)
			return s.act(ctx, Named{typ, id}, in.Changing, "", Action{Action: string(protocol.ActionSignal), Args: args, Operator: in.Body.By, Reason: reason})
		})
}

// openTask wants the approval to be open.
func (s *server) openTask(ctx context.Context, t Task) error {
	typ, id := sagas.SplitWorkflowID(t.WorkflowID)
	wid, err := Named{typ, id}.workflowID()
	if err != nil {
		return err
	}
	inst, err := s.desk.Get(ctx, wid, cluster.How{})
	if err != nil {
		return err
	}
	for _, step := range inst.View.Steps {
		if step.Path == t.Path && step.Node == sagas.NodeApprove.String() && step.State == sagas.StepOpen.String() {
			return nil
		}
	}
	return &orchestrator.Error{Code: orchestrator.CodeNotFound, Class: orchestrator.ErrNotFound, Cause: wid + " has no open task " + t.Path}
}

func (s *server) letterRoutes() {
	const tag = "dead letters"
	add(s, route{id: "list-dead-letters", method: http.MethodGet, path: "/api/v1/dlq", tag: tag, role: Viewer, summary: "Records that were set aside", description: "Newest first."},
		func(ctx context.Context, in *struct {
			State   string `query:"state" enum:"open,replayed,dropped"`
			Binding string `query:"binding" maxLength:"300" doc:"type/name of the binding that set them aside"`
			Before  int64  `query:"before" minimum:"0" doc:"next of the page before"`
			Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		}) (*answer[orchestrator.Letters], error) {
			l, err := s.engine.Letters(ctx, orchestrator.LetterQuery{State: in.State, Binding: in.Binding, Before: in.Before, Limit: in.Limit})
			return &answer[orchestrator.Letters]{l}, err
		})
	add(s, route{id: "get-dead-letter", method: http.MethodGet, path: "/api/v1/dlq/{offset}", tag: tag, role: Viewer, summary: "Show one"},
		func(ctx context.Context, in *struct {
			Offset int64 `path:"offset" minimum:"0"`
		}) (*answer[orchestrator.Letter], error) {
			l, err := s.engine.Letter(ctx, in.Offset)
			return &answer[orchestrator.Letter]{l}, err
		})
	type handled struct {
		Status int
		Body   orchestrator.Replayed
	}
	add(s, route{id: "replay-dead-letter", method: http.MethodPost, path: "/api/v1/dlq/{offset}/replay", tag: tag, role: Operator, status: http.StatusAccepted,
		summary: "Write it to its topic again, edited if need be", description: "It is checked as its topic would check it. With dryRun nothing is written."},
		func(ctx context.Context, in *struct {
			Changing
			Offset int64 `path:"offset" minimum:"0"`
			Body   struct {
				Value  json.RawMessage `json:"value,omitempty" doc:"Another value, as JSON"`
				Bytes  string          `json:"bytes,omitempty" doc:"Another value, as base64"`
				By     string          `json:"by,omitempty"`
				Reason string          `json:"reason" minLength:"1" maxLength:"500"`
				Again  bool            `json:"again,omitempty" doc:"Also when it was replayed or dropped before"`
			}
		}) (*handled, error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			by, err := actor(ctx, "by", in.Body.By)
			if err != nil {
				return nil, err
			}
			value := []byte(in.Body.Value)
			if in.Body.Bytes != "" {
				if value != nil {
					return nil, invalid("value and bytes exclude each other")
				}
				if value, err = base64.StdEncoding.DecodeString(in.Body.Bytes); err != nil {
					return nil, invalid("bytes is not base64")
				}
			}
			r, err := s.engine.Replay(ctx, in.Offset, orchestrator.Replay{Value: value, By: by, Reason: in.Body.Reason, DryRun: in.DryRun, Again: in.Body.Again})
			out := &handled{Status: http.StatusAccepted, Body: r}
			if in.DryRun {
				out.Status = http.StatusOK
			}
			return out, err
		})
	add(s, route{id: "drop-dead-letter", method: http.MethodPost, path: "/api/v1/dlq/{offset}/drop", tag: tag, role: Operator, summary: "Note that it needs nothing more",
		description: "The record stays in its topic until its retention ends."},
		func(ctx context.Context, in *struct {
			Offset int64 `path:"offset" minimum:"0"`
			Body   struct {
				By     string `json:"by,omitempty"`
				Reason string `json:"reason" minLength:"1" maxLength:"500"`
			}
		}) (*answer[orchestrator.Letter], error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			by, err := actor(ctx, "by", in.Body.By)
			if err == nil {
				err = s.engine.Drop(ctx, in.Offset, by, in.Body.Reason)
			}
			if err != nil {
				return nil, err
			}
			l, err := s.engine.Letter(ctx, in.Offset)
			return &answer[orchestrator.Letter]{l}, err
		})
}

// BatchRequest is the body of a bulk action.
type BatchRequest struct {
	ID     string                     `json:"id,omitempty" maxLength:"64" doc:"Absent: the Idempotency-Key, or a new one"`
	Query  string                     `json:"query,omitempty"`
	Status string                     `json:"status,omitempty"`
	Type   string                     `json:"type,omitempty"`
	Action string                     `json:"action"`
	Path   string                     `json:"path,omitempty"`
	Args   map[string]json.RawMessage `json:"args,omitempty"`
	Reason string                     `json:"reason" minLength:"1"`
	Rate   int                        `json:"rate,omitempty" minimum:"1" maximum:"500" doc:"Instances per second, 50 if absent"`
	Expect *int64                     `json:"expect,omitempty" doc:"The number that was seen in the preview; 409 when it is another"`

	Operator string `json:"operator,omitempty"`
}

func (s *server) batchRoutes() {
	const tag = "bulk actions"
	type batchList struct {
		Batches []orchestrator.Batch `json:"batches"`
	}
	add(s, route{id: "list-batches", method: http.MethodGet, path: "/api/v1/batches", tag: tag, role: Viewer, summary: "Bulk actions, newest first"},
		func(context.Context, *struct{}) (*answer[batchList], error) {
			return &answer[batchList]{batchList{s.engine.Batches()}}, nil
		})
	add(s, route{id: "get-batch", method: http.MethodGet, path: "/api/v1/batches/{id}", tag: tag, role: Viewer, summary: "Progress of a bulk action"},
		func(_ context.Context, in *struct {
			ID string `path:"id"`
		}) (*answer[orchestrator.Batch], error) {
			b, err := s.engine.Batch(in.ID)
			return &answer[orchestrator.Batch]{b}, err
		})
	type batchAnswer struct {
		Batch   *orchestrator.Batch   `json:"batch,omitempty"`
		Preview *cluster.BatchPreview `json:"preview,omitempty" doc:"With dryRun: how many match, and what it would do to the first ten"`
	}
	type created struct {
		Status int
		Body   batchAnswer
	}
	add(s, route{id: "create-batch", method: http.MethodPost, path: "/api/v1/batches", tag: tag, role: Operator, status: http.StatusAccepted,
		summary: "Do something to all instances that match", description: "It goes on when processes come and go. An instance whose state does not allow the action is left alone."},
		func(ctx context.Context, in *struct {
			Changing
			Body BatchRequest
		}) (*created, error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			operator, err := actor(ctx, "operator", in.Body.Operator)
			if err != nil {
				return nil, err
			}
			b := orchestrator.Batch{ID: in.Body.ID, CEL: in.Body.Query, Status: in.Body.Status, Type: in.Body.Type, Action: in.Body.Action, Path: in.Body.Path,
				Operator: operator, Reason: in.Body.Reason, Rate: in.Body.Rate}
			if b.ID == "" {
				b.ID = in.Key
			}
			for name, value := range in.Body.Args {
				if b.Args == nil {
					b.Args = map[string]string{}
				}
				var text string
				if json.Unmarshal(value, &text) != nil || name == protocol.ArgOutput || name == protocol.ArgPayload {
					text = string(value)
				}
				b.Args[name] = text
			}
			if in.DryRun {
				p, err := s.desk.PreviewBatch(ctx, b)
				return &created{http.StatusOK, batchAnswer{Preview: &p}}, err
			}
			n, err := s.desk.Count(ctx, cluster.Query{CEL: b.CEL, Status: b.Status, Type: b.Type})
			if err != nil {
				return nil, err
			}
			if in.Body.Expect != nil && *in.Body.Expect != n.N {
				return nil, &orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict, Cause: "another number of instances matches by now", Fix: "Preview it again."}
			}
			b.Total = n.N
			b, err = s.engine.CreateBatch(ctx, b)
			return &created{http.StatusAccepted, batchAnswer{Batch: &b}}, err
		})
	add(s, route{id: "steer-batch", method: http.MethodPost, path: "/api/v1/batches/{id}", tag: tag, role: Operator, summary: "Pause, resume or cancel a bulk action, or change its rate"},
		func(ctx context.Context, in *struct {
			ID   string `path:"id"`
			Body struct {
				State string `json:"state,omitempty" enum:"running,paused,cancelled"`
				Rate  int    `json:"rate,omitempty" minimum:"1" maximum:"500"`
				By    string `json:"by,omitempty"`
			}
		}) (*answer[orchestrator.Batch], error) {
			if err := s.mayChange(); err != nil {
				return nil, err
			}
			by, err := actor(ctx, "by", in.Body.By)
			if err != nil {
				return nil, err
			}
			b, err := s.engine.Steer(ctx, in.ID, in.Body.State, in.Body.Rate, by)
			return &answer[orchestrator.Batch]{b}, err
		})
}

func (s *server) clusterRoutes() {
	const tag = "cluster"
	add(s, route{id: "nodes", method: http.MethodGet, path: "/api/v1/nodes", tag: tag, role: Viewer, summary: "Processes, tasks, copies and destinations",
		description: "Where each task is and how its restore gets on, how far copies are behind, which topics of others take nothing, which release each process is."},
		func(ctx context.Context, _ *struct{}) (*answer[cluster.Nodes], error) {
			n, err := s.desk.Nodes(ctx)
			return &answer[cluster.Nodes]{n}, err
		})
	add(s, route{id: "audit", method: http.MethodGet, path: "/api/v1/audit", tag: tag, role: Viewer, summary: "What people did", description: "From the lifecycle, newest first."},
		func(ctx context.Context, in *struct {
			Since string `query:"since" doc:"How far back, such as 24h" default:"24h"`
			Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
		}) (*answer[orchestrator.Audit], error) {
			d, err := time.ParseDuration(in.Since)
			if err != nil || d <= 0 {
				return nil, invalid("since is not a duration")
			}
			a, err := s.engine.Audit(ctx, time.Now().Add(-d).UnixMilli(), 0, in.Limit)
			return &answer[orchestrator.Audit]{a}, err
		})
}
