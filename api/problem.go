package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/amendsio/amends/orchestrator"
)

// Problem is the body of an error, after RFC 9457.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"` // stable SG code
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

const contentProblem = "application/problem+json"

// problemOf maps the error classes of package orchestrator to HTTP.
func problemOf(err error) Problem {
	p := Problem{Type: "about:blank", Status: http.StatusInternalServerError, Code: orchestrator.CodeInternal}
	switch {
	case errors.Is(err, orchestrator.ErrNotFound):
		p.Status = http.StatusNotFound
	case errors.Is(err, orchestrator.ErrMoving), errors.Is(err, orchestrator.ErrUnreachable):
		p.Status = http.StatusServiceUnavailable
	case errors.Is(err, orchestrator.ErrInvalid):
		p.Status = http.StatusBadRequest
	case errors.Is(err, errForbidden):
		p.Status = http.StatusForbidden
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

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		s.log.Error("request failed", "path", r.URL.Path, "err", err)
	}
	writeProblem(w, p)
}

func writeProblem(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", contentProblem)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone: nobody to tell
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
