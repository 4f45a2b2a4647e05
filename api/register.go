package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	adapter "github.com/danielgtaylor/huma/v2/adapters/humago"
)

// extensionRole names, in the OpenAPI document, the role that an operation needs.
const extensionRole = "x-amends-role"

// route describes one operation.
type route struct {
	id, method, path, tag string
	summary, description  string
	role                  Role
	status                int  // of success; 0 = 200
	long                  bool // it may take longer than other requests
	stream                bool // its answer is an event stream
}

func (r route) operation(s *server) huma.Operation {
	op := huma.Operation{OperationID: r.id, Method: r.method, Path: r.path, Tags: []string{r.tag}, Summary: r.summary, Description: r.description,
		DefaultStatus: r.status, MaxBodyBytes: maxBody, Security: []map[string][]string{{"bearer": {}}},
		Extensions:  map[string]any{extensionRole: r.role.String()},
		Middlewares: huma.Middlewares{s.guard(r)}}
	op.Errors = append(op.Errors, 400, 401, 403, 404, 409, 503)
	if r.method == http.MethodPost {
		op.Errors = append(op.Errors, 412, 422)
	}
	return op
}

// guard lets in who has the role, and bounds the time.
func (s *server) guard(r route) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		req, w := requestOf(ctx)
		note(req.Context(), r.path)
		noteRole(req.Context(), r.role)
		if err := s.may(req, r); err != nil {
			writeProblem(w, problemOf(err))
			return
		}
		if !r.long && !r.stream {
			bounded, cancel := context.WithTimeout(ctx.Context(), answerPatience)
			defer cancel()
			ctx = huma.WithContext(ctx, bounded)
		}
		next(ctx)
	}
}

// add registers an operation.
func add[I, O any](s *server, r route, fn func(context.Context, *I) (*O, error)) {
	huma.Register(s.api, r.operation(s), func(ctx context.Context, in *I) (*O, error) {
		out, err := fn(ctx, in)
		var made huma.StatusError
		switch {
		case errors.As(err, &made):
			return nil, err
		case err != nil:
			return nil, s.fail(r.id, err)
		}
		return out, nil
	})
}

// answer is an answer that is only a body.
type answer[T any] struct{ Body T }

func etagOf(rev uint64) string { return `"` + strconv.FormatUint(rev, 10) + `"` }

// requestOf gives the request and the writer of a huma context.
func requestOf(ctx huma.Context) (*http.Request, http.ResponseWriter) { return adapter.Unwrap(ctx) }

type patternKey struct{}

func withPattern(ctx context.Context, seen *string) context.Context {
	return context.WithValue(ctx, patternKey{}, seen)
}

// note tells the meter which route a request took.
func note(ctx context.Context, path string) {
	if seen, ok := ctx.Value(patternKey{}).(*string); ok {
		*seen = path
	}
}

// routes registers all operations.
func (s *server) routes() {
	s.instanceRoutes()
	s.actionRoutes()
	s.definitionRoutes()
	s.asyncapiRoutes()
	s.taskRoutes()
	s.letterRoutes()
	s.bindingRoutes()
	s.batchRoutes()
	s.clusterRoutes()
	s.pulseRoutes()
	s.streamRoutes()
	s.meRoutes()
}
