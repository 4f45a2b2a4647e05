package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// Accepted answers a request that was written to Kafka, or with dryRun what it would do. What became of it is in
// the lifecycle, under the request ID.
type Accepted struct {
	WorkflowID string                `json:"workflowId"`
	RequestID  string                `json:"requestId,omitempty"`
	Position   string                `json:"position,omitempty" doc:"Where it was written: pass it on as ?after= to see what became of it"`
	Preview    *orchestrator.Preview `json:"preview,omitempty" doc:"With dryRun: what would be published. Nothing was written"`
}

type accepted struct {
	Status   int
	Position string `header:"Saga-Position"`
	Body     Accepted
}

// Changing are the parameters of every request that writes.
type Changing struct {
	DryRun bool   `query:"dryRun" doc:"Say what would be published, and write nothing"`
	Key    string `header:"Idempotency-Key" maxLength:"128" doc:"Names this request. The machine takes a name once, whichever process it reaches"`
}

// requestID is that of the body, the header, or a new one.
func (c Changing) requestID(given string) string {
	switch {
	case given != "":
		return given
	case c.Key != "":
		return c.Key
	}
	return rand.Text()
}

// Action is the body of an operator action.
type Action struct {
	Action    string                     `json:"action,omitempty" doc:"What to do, where the path does not say it" example:"retry"`
	Path      string                     `json:"path,omitempty" doc:"The step, for actions on one"`
	Args      map[string]json.RawMessage `json:"args,omitempty" doc:"effect and output of resolve, output of skip, byMs of extend, name and payload of signal"`
	Operator  string                     `json:"operator,omitempty" doc:"Who acts. With authentication it is whom the token names"`
	Approver  string                     `json:"approver,omitempty"`
	Reason    string                     `json:"reason,omitempty" doc:"Why; kept in the lifecycle"`
	ExpectRev uint64                     `json:"expectRev,omitempty" doc:"The revision that was looked at; else 409"`
	RequestID string                     `json:"requestId,omitempty"`
}

// Signal is the body of a signal.
type Signal struct {
	Name     string          `json:"name,omitempty"`
	SignalID string          `json:"signalId,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	TTL      string          `json:"ttl,omitempty" example:"1h"`
	Actor    string          `json:"actor,omitempty"`
	IssuedAt string          `json:"issuedAt,omitempty"`
}

// Start is the body of a start.
type Start struct {
	Type    string            `json:"type,omitempty"`
	ID      string            `json:"id,omitempty" doc:"Absent: the definition makes it"`
	Version uint32            `json:"version,omitempty" doc:"Absent: the active one"`
	StartID string            `json:"startId,omitempty" doc:"Names this start; the same twice starts once"`
	Input   json.RawMessage   `json:"input,omitempty"`
	ReplyTo string            `json:"replyTo,omitempty" doc:"Topic for the result"`
	Tags    map[string]string `json:"tags,omitempty"`
}

// Cancel is the body of a cancel.
type Cancel struct {
	RequestID string `json:"requestId,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Actor     string `json:"actor,omitempty"`
	VoidTTLMs int64  `json:"voidTtlMs,omitempty" doc:"How long it forbids a start that has not come"`
}

func (s *server) actionRoutes() {
	const tag = "actions"
	add(s, route{id: "start-instance", method: http.MethodPost, path: "/api/v1/instances", tag: tag, role: Operator, status: http.StatusAccepted, summary: "Start an instance"}, s.start)
	add(s, route{id: "act", method: http.MethodPost, path: "/api/v1/instances/{type}/{id}/actions", tag: tag, role: Operator, status: http.StatusAccepted,
		summary: "Do something to an instance", description: "The body names the action. See docs/protocol.md for what each needs, and when it is allowed."},
		func(ctx context.Context, in *struct {
			Named
			Changing
			IfMatch string `header:"If-Match" doc:"ETag of the instance that was looked at; else 412"`
			Body    Action
		}) (*accepted, error) {
			return s.act(ctx, in.Named, in.Changing, in.IfMatch, in.Body)
		})
	add(s, route{id: "act-verb", method: http.MethodPost, path: "/api/v1/instances/{type}/{id}/actions/{verb}", tag: tag, role: Operator, status: http.StatusAccepted,
		summary: "Do something to an instance", description: "The path names the action."},
		func(ctx context.Context, in *struct {
			Named
			Changing
			Verb    string `path:"verb" enum:"retry,retry-new-key,resolve,waive,skip,compensate,close,suspend,resume,extend,migrate,signal"`
			IfMatch string `header:"If-Match" doc:"ETag of the instance that was looked at; else 412"`
			Body    Action
		}) (*accepted, error) {
			if in.Body.Action != "" && in.Body.Action != in.Verb {
				return nil, invalid("action is given by the path of the request")
			}
			in.Body.Action = in.Verb
			return s.act(ctx, in.Named, in.Changing, in.IfMatch, in.Body)
		})
	add(s, route{id: "signal", method: http.MethodPost, path: "/api/v1/instances/{type}/{id}/signals", tag: tag, role: Operator, status: http.StatusAccepted, summary: "Send a signal to an instance"}, s.signal)
	add(s, route{id: "cancel", method: http.MethodPost, path: "/api/v1/instances/{type}/{id}/cancel", tag: tag, role: Operator, status: http.StatusAccepted, summary: "Ask to compensate an instance"}, s.cancel)
}

// mayChange refuses on a process without actions.
func (s *server) mayChange() error {
	if !s.opts.Actions {
		return &orchestrator.Error{Code: orchestrator.CodeForbidden, Class: errForbidden, Cause: "this process takes no actions over HTTP",
			Fix: "Use the command line, which writes to the control topic, or allow it with --api-actions on."}
	}
	return nil
}

// intake is a body with what the path says, checked as a record of the intake topic is.
func intake[T any](kind, typ, id string, body any) (msg T, err error) {
	value, err := record(kind, typ, id, body)
	if err != nil {
		return msg, invalid("the body is not a record that can be taken")
	}
	got, err := protocol.DecodeIntake(nil, value, nil)
	if err != nil {
		return msg, refused(err)
	}
	msg, ok := got.(T)
	if !ok {
		return msg, invalid("not a " + kind)
	}
	return msg, nil
}

// record is the JSON form of a record of an input topic: a body with what the path says.
func record(kind, typ, id string, body any) ([]byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"kind": kind, "type": typ, "id": id} {
		if value != "" {
			fields[name], _ = json.Marshal(value) // a string always has JSON
		}
	}
	return json.Marshal(fields)
}

func (s *server) act(ctx context.Context, n Named, c Changing, ifMatch string, body Action) (*accepted, error) {
	wid, err := n.workflowID()
	if err == nil {
		err = s.mayChange()
	}
	if err == nil {
		body.Operator, err = actor(ctx, "operator", body.Operator)
	}
	if err != nil {
		return nil, err
	}
	precondition := false
	if ifMatch != "" && ifMatch != "*" {
		rev, err := strconv.ParseUint(strings.Trim(ifMatch, `"`), 10, 63)
		if err != nil {
			return nil, invalid("If-Match is not the revision of an instance")
		}
		precondition, body.ExpectRev = true, rev
	}
	body.RequestID = c.requestID(body.RequestID)
	value, err := record("admin", n.Type, n.ID, body)
	if err != nil {
		return nil, invalid("the body is not a record that can be taken")
	}
	msg, err := protocol.DecodeControl(nil, value, nil)
	if err != nil {
		return nil, refused(err)
	}
	a, ok := msg.(*protocol.Admin)
	if !ok {
		return nil, invalid("not an action")
	}
	// Whoever has an old picture hears it now. The owner checks it again when it acts.
	inst, err := s.desk.Get(ctx, wid, cluster.How{})
	switch {
	case errors.Is(err, orchestrator.ErrMoving) && !c.DryRun:
	case err != nil:
		return nil, err
	case a.ExpectRev != 0 && a.ExpectRev != inst.View.Rev:
		class := orchestrator.ErrConflict
		if precondition {
			class = errPrecond
		}
		return nil, &orchestrator.Error{Code: orchestrator.CodeConflict, Class: class,
			Cause: "the instance is at revision " + strconv.FormatUint(inst.View.Rev, 10) + ", not " + strconv.FormatUint(a.ExpectRev, 10), Fix: "Look at it again."}
	}
	return s.write(ctx, c, wid, a.RequestID, a, func() (orchestrator.Position, error) { return s.engine.Act(ctx, a) })
}

// write writes a record, or previews it.
func (s *server) write(ctx context.Context, c Changing, wid, requestID string, msg any, write func() (orchestrator.Position, error)) (*accepted, error) {
	if c.DryRun {
		p, err := s.desk.Preview(ctx, msg)
		if err != nil {
			return nil, err
		}
		return &accepted{Status: http.StatusOK, Body: Accepted{WorkflowID: p.WorkflowID, RequestID: requestID, Preview: &p}}, nil
	}
	at, err := write()
	if err != nil {
		return nil, err
	}
	return &accepted{Status: http.StatusAccepted, Position: at.String(), Body: Accepted{WorkflowID: wid, RequestID: requestID, Position: at.String()}}, nil
}

func (s *server) signal(ctx context.Context, in *struct {
	Named
	Changing
	Body Signal
}) (*accepted, error) {
	wid, err := in.workflowID()
	if err == nil {
		err = s.mayChange()
	}
	if err == nil {
		in.Body.Actor, err = actorOr(ctx, "actor", in.Body.Actor)
	}
	if err != nil {
		return nil, err
	}
	in.Body.SignalID = in.requestID(in.Body.SignalID)
	sig, err := intake[*protocol.Signal]("signal", in.Type, in.ID, in.Body)
	if err != nil {
		return nil, err
	}
	return s.write(ctx, in.Changing, wid, sig.SignalID, sig, func() (orchestrator.Position, error) { return s.engine.Signal(ctx, sig) })
}

func (s *server) cancel(ctx context.Context, in *struct {
	Named
	Changing
	Body Cancel
}) (*accepted, error) {
	wid, err := in.workflowID()
	if err == nil {
		err = s.mayChange()
	}
	if err == nil {
		in.Body.Actor, err = actorOr(ctx, "actor", in.Body.Actor)
	}
	if err != nil {
		return nil, err
	}
	in.Body.RequestID = in.requestID(in.Body.RequestID)
	c, err := intake[*protocol.Cancel]("cancel", in.Type, in.ID, in.Body)
	if err != nil {
		return nil, err
	}
	return s.write(ctx, in.Changing, wid, c.RequestID, c, func() (orchestrator.Position, error) { return s.engine.Cancel(ctx, c) })
}

func (s *server) start(ctx context.Context, in *struct {
	Changing
	Body Start
}) (*accepted, error) {
	if err := s.mayChange(); err != nil {
		return nil, err
	}
	in.Body.StartID = in.requestID(in.Body.StartID)
	start, err := intake[*protocol.Start]("start", in.Body.Type, in.Body.ID, in.Body)
	if err != nil {
		return nil, err
	}
	p, err := s.engine.Propose(start) // which knows the id when the definition makes it
	if err != nil {
		return nil, err
	}
	return s.write(ctx, in.Changing, p.WorkflowID, start.StartID, start, func() (orchestrator.Position, error) { return s.engine.Start(ctx, start) })
}
