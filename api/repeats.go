package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/amendsio/amends/orchestrator"
)

// repeats remembers the answers to requests with an Idempotency-Key, so that a request that is sent again gets the
// same answer. It is the memory of one process: on another one the key is the request ID of what is written, and
// the machine takes that once.
type repeats struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]*repeat
	order []string // oldest first
}

type repeat struct {
	request [sha256.Size]byte
	at      time.Time
	done    bool
	status  int
	header  http.Header
	body    []byte
	role    Role // that its operation needs; 0 = it came to no operation
}

// Limits of what is remembered.
const (
	maxRepeats    = 10_000
	maxRepeatBody = 16 << 10
	repeatFor     = 24 * time.Hour
)

func newRepeats(now func() time.Time) *repeats {
	return &repeats{now: now, known: map[string]*repeat{}}
}

// begin notes a request. first: nobody has made it; else what is known of it.
func (m *repeats) begin(key string, request [sha256.Size]byte) (r repeat, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if old := m.known[key]; old != nil && now.Sub(old.at) < repeatFor {
		return *old, false
	}
	for len(m.order) > 0 && (len(m.order) >= maxRepeats || m.known[m.order[0]] == nil || now.Sub(m.known[m.order[0]].at) >= repeatFor) {
		delete(m.known, m.order[0])
		m.order = m.order[1:]
	}
	m.known[key] = &repeat{request: request, at: now}
	m.order = append(m.order, key)
	return repeat{}, true
}

// end keeps an answer. One that says to try again is forgotten, and so is one that nobody will compare.
func (m *repeats) end(key string, rec *recorder) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.known[key]
	if r == nil {
		return
	}
	if rec == nil || rec.status >= 500 || rec.status == http.StatusUnauthorized || rec.status == http.StatusForbidden || rec.large {
		delete(m.known, key)
		return
	}
	r.done, r.status, r.header, r.body, r.role = true, rec.status, rec.Header().Clone(), rec.body.Bytes(), rec.role
}

// once answers requests that were made before.
func (s *server) once(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if key == "" || r.Method != http.MethodPost || r.URL.Query().Get("dryRun") == "true" {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			writeProblem(w, problemOf(invalid("the body cannot be read, or is larger than 1 MiB")))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		who := ""
		if p := PersonOf(r.Context()); p != nil {
			who = p.Name
		}
		h := sha256.New()
		for _, part := range [][]byte{[]byte(r.URL.Path), []byte(r.URL.RawQuery), []byte(r.Header.Get("If-Match")), body} {
			sum := sha256.Sum256(part)
			h.Write(sum[:])
		}
		request := [sha256.Size]byte(h.Sum(nil))
		key = who + "\x00" + key
		known, first := s.repeats.begin(key, request)
		switch {
		case first:
			rec := &recorder{ResponseWriter: w, status: http.StatusOK}
			defer func() {
				if p := recover(); p != nil {
					s.repeats.end(key, nil)
					panic(p)
				}
			}()
			next.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), roleKey{}, &rec.role)))
			s.repeats.end(key, rec)
		case known.request != request:
			writeProblem(w, problemOf(&orchestrator.Error{Code: orchestrator.CodeKeyReused, Class: errReused, Cause: "the Idempotency-Key was used for another request", Fix: "Use a new one for each request."}))
		case !known.done:
			writeProblem(w, problemOf(&orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict, Cause: "a request with this Idempotency-Key is being answered", Fix: "Wait for its answer."}))
		default:
			if known.role != 0 { // whoever has lost the role hears no more of it
				if err := s.may(r, route{role: known.role}); err != nil {
					writeProblem(w, problemOf(err))
					return
				}
			}
			for name, values := range known.header {
				w.Header()[name] = values
			}
			w.Header().Set(HeaderReplayed, "true")
			w.WriteHeader(known.status)
			_, _ = w.Write(known.body) // the client is gone: nobody to tell
		}
	})
}

// recorder keeps a copy of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	large  bool
	role   Role
}

type roleKey struct{}

// noteRole tells whoever keeps the answer which role the operation needs.
func noteRole(ctx context.Context, role Role) {
	if seen, ok := ctx.Value(roleKey{}).(*Role); ok {
		*seen = role
	}
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.large = r.large || r.body.Len()+len(b) > maxRepeatBody; !r.large {
		r.body.Write(b)
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
