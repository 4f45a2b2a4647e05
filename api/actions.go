package api

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// Accepted answers a request that was written to Kafka. What became of it is in the lifecycle, under
// the request ID.
type Accepted struct {
	WorkflowID string `json:"workflowId"`
	RequestID  string `json:"requestId"`
	Position   string `json:"position,omitempty"` // where it was written, for ?after=
}

// postInstance takes POST .../{type}/{id}/actions and .../{id}/signals. An id may hold slashes, so the
// last part of the path is the verb.
func (s *server) postInstance(w http.ResponseWriter, r *http.Request) {
	id, verb, _ := cutLast(r.PathValue("id"))
	typ := r.PathValue("type")
	err := s.mayPost(r)
	switch {
	case verb != "actions" && verb != "signals":
		s.notFound(w, r)
		return
	case err != nil:
	case id == "" || len(typ)+1+len(id) > maxWorkflowID:
		err = invalid("a workflow ID is <type>/<id> of at most " + strconv.Itoa(maxWorkflowID) + " bytes")
	case verb == "actions":
		err = s.act(w, r, typ, id)
	default:
		err = s.signal(w, r, typ, id)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

func cutLast(path string) (before, last string, found bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// mayPost refuses what must not change anything: a process without actions, and requests that a web
// page of somebody else makes in the browser of a person who can reach us.
func (s *server) mayPost(r *http.Request) error {
	if !s.acts {
		return &orchestrator.Error{Code: orchestrator.CodeForbidden, Class: errForbidden, Cause: "this process takes no actions over HTTP",
			Fix: "Use the command line, which writes to the control topic, or allow it with --api-actions on."}
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return &orchestrator.Error{Code: orchestrator.CodeForbidden, Class: errForbidden, Cause: "the request comes from a page of another origin"}
		}
	}
	// A form of another page cannot send this type without asking first, and nobody answers that.
	if content, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || content != protocol.ContentJSON {
		return invalid("want Content-Type: " + protocol.ContentJSON)
	}
	return nil
}

// errForbidden is the class of what this process does not do for anybody.
var errForbidden = errors.New("forbidden")

// act takes an operator action: the body is the JSON form of the control topic without kind, type and id.
func (s *server) act(w http.ResponseWriter, r *http.Request, typ, id string) error {
	value, err := recordOf(r, "admin", typ, id, "requestId")
	if err != nil {
		return err
	}
	msg, err := protocol.DecodeControl(nil, value, nil)
	if err != nil {
		return refused(err)
	}
	a, ok := msg.(*protocol.Admin)
	if !ok {
		return invalid("not an action")
	}
	// Whoever has an old picture hears it now. The owner checks it again when it acts.
	inst, err := s.reader.Get(r.Context(), a.WorkflowID(), cluster.How{})
	switch {
	case errors.Is(err, orchestrator.ErrMoving):
	case err != nil:
		return err
	case a.ExpectRev != 0 && a.ExpectRev != inst.View.Rev:
		return &orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict,
			Cause: "the instance is at revision " + strconv.FormatUint(inst.View.Rev, 10) + ", not " + strconv.FormatUint(a.ExpectRev, 10), Fix: "Look at it again."}
	}
	at, err := s.engine.Act(r.Context(), a)
	if err != nil {
		return err
	}
	accept(w, Accepted{a.WorkflowID(), a.RequestID, at.String()})
	return nil
}

// signal takes a signal: the body is the JSON form of the intake topic without kind, type and id.
func (s *server) signal(w http.ResponseWriter, r *http.Request, typ, id string) error {
	value, err := recordOf(r, "signal", typ, id, "signalId")
	if err != nil {
		return err
	}
	msg, err := protocol.DecodeIntake(nil, value, nil)
	if err != nil {
		return refused(err)
	}
	sig, ok := msg.(*protocol.Signal)
	if !ok {
		return invalid("not a signal")
	}
	at, err := s.engine.Signal(r.Context(), sig)
	if err != nil {
		return err
	}
	accept(w, Accepted{sig.WorkflowID(), sig.SignalID, at.String()})
	return nil
}

// recordOf makes the record of a body: kind, type and id are those of the request, the request ID is
// the body's, else that of the header Idempotency-Key, else a new one. If-Match is the revision.
func recordOf(r *http.Request, kind, typ, id, requestField string) ([]byte, error) {
	body, err := io.ReadAll(r.Body) // bounded by wrap
	if err != nil {
		return nil, invalid("the body cannot be read, or is larger than 1 MiB")
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return nil, invalid("the body is not a JSON object")
	}
	text := func(s string) json.RawMessage {
		b, _ := json.Marshal(s) // a string always has JSON
		return b
	}
	for name, value := range map[string]string{"kind": kind, "type": typ, "id": id} {
		if _, there := fields[name]; there {
			return nil, invalid(name + " is given by the path of the request")
		}
		fields[name] = text(value)
	}
	if _, there := fields[requestField]; !there {
		request := r.Header.Get("Idempotency-Key")
		if request == "" {
			request = rand.Text()
		}
		fields[requestField] = text(request)
	}
	if match := r.Header.Get("If-Match"); match != "" && kind == "admin" {
		rev, err := strconv.ParseUint(strings.Trim(match, `"`), 10, 63)
		if err != nil {
			return nil, invalid("If-Match is not the revision of an instance")
		}
		fields["expectRev"] = json.RawMessage(strconv.FormatUint(rev, 10))
	}
	return json.Marshal(fields)
}

// refused turns a fault of the body into a problem.
func refused(err error) error {
	var e *protocol.Error
	if !errors.As(err, &e) {
		return invalid("the body is not a record that can be taken")
	}
	cause := e.Text
	if e.Field != "" {
		cause = e.Field + ": " + cause
	}
	return &orchestrator.Error{Code: orchestrator.CodeBadRequest, Class: orchestrator.ErrInvalid, Cause: cause, Fix: e.Hint}
}

func accept(w http.ResponseWriter, v Accepted) {
	w.Header().Set("Content-Type", "application/json")
	if v.Position != "" {
		w.Header().Set(HeaderPosition, v.Position)
	}
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(v) // the client is gone: nobody to tell
}
