package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
)

// Streams ask again and again, so that they need no connection between processes that could break unnoticed. The
// id of an event says what was seen: Last-Event-ID leaves out what the client has.
const (
	instanceEvery = 500 * time.Millisecond
	overviewEvery = 2 * time.Second
	keepAlive     = 15 * time.Second
	streamMax     = 30 * time.Minute // then the client comes back, with what it has seen
)

// event is one message of a stream.
type event struct {
	id, name string
	data     any
}

// waitsFor says whether an error may pass by itself.
func waitsFor(err error) bool {
	return errors.Is(err, orchestrator.ErrNotFound) || errors.Is(err, orchestrator.ErrMoving) || errors.Is(err, orchestrator.ErrUnreachable)
}

func (s *server) streamRoutes() {
	const tag = "streams"
	s.stream(route{id: "instance-events", method: http.MethodGet, path: "/api/v1/instances/{type}/{id}/events", tag: tag, role: Viewer, stream: true,
		summary: "Changes of an instance as server-sent events", description: "Event instance: the instance, under its revision. Event gone: there is none."},
		func(ctx huma.Context) (time.Duration, func(context.Context) (event, error), error) {
			wid, err := Named{ctx.Param("type"), ctx.Param("id")}.workflowID()
			return instanceEvery, func(ctx context.Context) (event, error) {
				inst, err := s.desk.Get(ctx, wid, cluster.How{})
				if errors.Is(err, orchestrator.ErrNotFound) {
					return event{"gone", "gone", struct{}{}}, nil
				}
				return event{strconv.FormatUint(inst.View.Rev, 10) + "." + strconv.FormatUint(uint64(inst.View.Run), 10), "instance", inst.View}, err
			}, err
		},
		[]*huma.Param{{Name: "type", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}, {Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}})
	s.stream(route{id: "overview-events", method: http.MethodGet, path: "/api/v1/events", tag: tag, role: Viewer, stream: true,
		summary: "Changes of the overview as server-sent events", description: "Event census: instances by type, version and status."},
		func(huma.Context) (time.Duration, func(context.Context) (event, error), error) {
			return overviewEvery, func(ctx context.Context) (event, error) {
				c, err := s.desk.Census(ctx)
				if err != nil {
					return event{}, err
				}
				b, err := json.Marshal(c)
				sum := sha256.Sum256(b)
				return event{hex.EncodeToString(sum[:8]), "census", json.RawMessage(b)}, err
			}, nil
		}, nil)
}

// stream registers an event stream.
func (s *server) stream(r route, open func(huma.Context) (every time.Duration, next func(context.Context) (event, error), err error), params []*huma.Param) {
	op := r.operation(s)
	op.Parameters = append(params, &huma.Param{Name: "Last-Event-ID", In: "header", Schema: &huma.Schema{Type: "string"}})
	op.Responses = map[string]*huma.Response{"200": {Description: "Events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}}}
	s.api.OpenAPI().AddOperation(&op)
	s.api.Adapter().Handle(&op, s.api.Middlewares().Handler(op.Middlewares.Handler(func(ctx huma.Context) {
		req, w := requestOf(ctx)
		every, next, err := open(ctx)
		if err != nil {
			writeProblem(w, problemOf(err))
			return
		}
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
		default:
			writeProblem(w, problemOf(&orchestrator.Error{Code: orchestrator.CodeUnreachable, Class: errUnavailable, Cause: "too many event streams are open on this process", Fix: "Try again later, or another process."}))
			return
		}
		s.send(req, w, every, next)
	})))
}

// send sends what is new until the client leaves, or the process drains.
func (s *server) send(r *http.Request, w http.ResponseWriter, every time.Duration, next func(context.Context) (event, error)) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	seen := r.Header.Get("Last-Event-ID")
	ctx, cancel := context.WithTimeout(r.Context(), streamMax)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	fmt.Fprintf(w, "retry: %d\n\n", every.Milliseconds())
	said := time.Now()
	for {
		question, stop := context.WithTimeout(ctx, answerPatience)
		e, err := next(question)
		stop()
		switch {
		case err != nil && !waitsFor(err):
			return // the client comes back and hears why
		case err == nil && e.id != seen:
			data, err := json.Marshal(e.data)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", e.id, e.name, data); err != nil {
				return
			}
			seen, said = e.id, time.Now()
		case time.Since(said) >= keepAlive:
			if _, err := io.WriteString(w, ": still here\n\n"); err != nil {
				return
			}
			said = time.Now()
		}
		if rc.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.engine.Draining() {
			return // another process answers
		}
	}
}
