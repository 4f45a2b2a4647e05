package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// Problem is the body of an error, after RFC 9457.
type Problem struct {
	Type   string  `json:"type" doc:"Always about:blank: the code says what it is" example:"about:blank"`
	Title  string  `json:"title" doc:"The status in words"`
	Status int     `json:"status" doc:"The HTTP status"`
	Code   string  `json:"code" doc:"Stable SG code" example:"SG201"`
	Detail string  `json:"detail,omitempty" doc:"What is the matter, in one sentence"`
	Hint   string  `json:"hint,omitempty" doc:"What to do about it"`
	Errors []Fault `json:"errors,omitempty" doc:"What is wrong with the request, all at once"`
}

// Fault is one thing that is wrong with a request.
type Fault struct {
	Where string `json:"where,omitempty" doc:"Path of the value, such as body.reason"`
	Text  string `json:"text"`
}

// Error makes a Problem an error.
func (p *Problem) Error() string { return p.Code + " " + p.Detail }

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is for huma.
func (p *Problem) ContentType(string) string { return contentProblem }

const contentProblem = "application/problem+json"

func init() {
	// huma has one hook for all errors that it finds itself. They are faults of the request.
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		p := &Problem{Type: "about:blank", Status: status, Code: orchestrator.CodeBadRequest, Detail: msg}
		if status == http.StatusUnprocessableEntity {
			p.Status = http.StatusBadRequest // 422 is for a key that was used for another request
		}
		if status >= 500 {
			p.Code = orchestrator.CodeInternal
		}
		for _, err := range errs {
			var d huma.ErrorDetailer
			switch {
			case err == nil:
			case errors.As(err, &d):
				p.Errors = append(p.Errors, Fault{d.ErrorDetail().Location, d.ErrorDetail().Message})
			default:
				p.Errors = append(p.Errors, Fault{Text: err.Error()})
			}
		}
		if len(p.Errors) > 0 {
			f := p.Errors[0]
			p.Detail = strings.TrimPrefix(f.Where+": "+f.Text, ": ")
		}
		p.Title = http.StatusText(p.Status)
		return p
	}
}

// Classes of errors that only the API has.
var (
	errForbidden   = errors.New("forbidden")
	errUnknown     = errors.New("not authenticated")
	errPrecond     = errors.New("precondition failed")
	errReused      = errors.New("key used for another request")
	errUnavailable = errors.New("unavailable")
)

// problemOf maps the error classes to HTTP.
func problemOf(err error) *Problem {
	p := &Problem{Type: "about:blank", Status: http.StatusInternalServerError, Code: orchestrator.CodeInternal}
	switch {
	case errors.Is(err, orchestrator.ErrNotFound):
		p.Status = http.StatusNotFound
	case errors.Is(err, orchestrator.ErrMoving), errors.Is(err, orchestrator.ErrUnreachable), errors.Is(err, errUnavailable):
		p.Status = http.StatusServiceUnavailable
	case errors.Is(err, orchestrator.ErrInvalid):
		p.Status = http.StatusBadRequest
	case errors.Is(err, errForbidden):
		p.Status = http.StatusForbidden
	case errors.Is(err, errUnknown):
		p.Status = http.StatusUnauthorized
	case errors.Is(err, errPrecond):
		p.Status = http.StatusPreconditionFailed
	case errors.Is(err, errReused):
		p.Status = http.StatusUnprocessableEntity
	case errors.Is(err, orchestrator.ErrConflict):
		p.Status = http.StatusConflict
	}
	var known *orchestrator.Error
	if errors.As(err, &known) {
		// What lies beneath stays in the log: it may name hosts and files.
		p.Code, p.Detail, p.Hint = known.Code, known.Cause, known.Fix
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// retryAfter is what a client should wait while a partition moves, in seconds: the smallest that the
// header can say.
const retryAfter = "1"

// fail turns an error of a handler into what huma writes.
func (s *server) fail(op string, err error) error {
	p := problemOf(err)
	switch p.Status {
	case http.StatusInternalServerError:
		s.log.Error("request failed", "operation", op, "err", err)
	case http.StatusServiceUnavailable:
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {retryAfter}})
	}
	return p
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", contentProblem)
	switch p.Status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone: nobody to tell
}

func invalid(cause string) error {
	return &orchestrator.Error{Code: orchestrator.CodeBadRequest, Class: orchestrator.ErrInvalid, Cause: cause}
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
