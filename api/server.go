package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// HeaderNode says which process answered.
const HeaderNode = "Amends-Node"

// How far an answer with ?stale may be behind: the state records that the copy lacks, and the
// milliseconds since it had all of them. Both are 0 when the owner answered.
const (
	HeaderLagRecords = "Amends-Lag-Records"
	HeaderLagMillis  = "Amends-Lag-Ms"
)

// headerHop marks a request that one process makes of another: the other answers for itself only.
const headerHop = "Amends-Hop"

// Engine is what the API shows: an *orchestrator.Orchestrator.
type Engine interface {
	Get(ctx context.Context, workflowID string) (sagas.View, error)
	GetStale(ctx context.Context, workflowID string) (sagas.View, orchestrator.Lag, error)
	List(orchestrator.Filter) (orchestrator.Page, error)
	Owners(ctx context.Context) ([]string, error)
	Complete(orchestrator.Page) bool
	Definitions() []orchestrator.DefinitionInfo
	Act(context.Context, *protocol.Admin) error
	Signal(context.Context, *protocol.Signal) error
	Health
}

// Health is what the probes ask.
type Health interface {
	Ready() error
	Live() error
	Draining() bool
}

// Options of a handler.
type Options struct {
	Node   string              // this process, for HeaderNode
	Gather prometheus.Gatherer // nil: no /metrics
	Logger *slog.Logger        // nil: silent
	// Client asks other processes. Default: one with a timeout of 5 s.
	Client *http.Client
	// Actions lets requests change instances. There is no login: whoever reaches the listener may then
	// do what an operator may.
	Actions bool
}

// peerTimeout bounds the question to another process.
const peerTimeout = 5 * time.Second

type server struct {
	engine Engine
	node   string
	log    *slog.Logger
	client *http.Client
	acts   bool
	ready  readiness
}

// New makes the handler of one process.
func New(engine Engine, opts Options) http.Handler {
	s := &server{engine: engine, node: opts.Node, log: opts.Logger, client: opts.Client, acts: opts.Actions}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.client == nil {
		s.client = &http.Client{Timeout: peerTimeout}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	if opts.Gather != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Gather, promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /api/v1/instances", s.listInstances)
	mux.HandleFunc("GET /api/v1/instances/{type}/{id...}", s.getInstance)
	mux.HandleFunc("POST /api/v1/instances/{type}/{id...}", s.postInstance)
	mux.HandleFunc("GET /api/v1/definitions", s.listDefinitions)
	mux.HandleFunc("/", s.notFound)
	return s.wrap(mux)
}

// wrap sets what every answer carries.
func (s *server) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(HeaderNode, s.node)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		next.ServeHTTP(w, r)
	})
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, Problem{Type: "about:blank", Title: http.StatusText(http.StatusNotFound), Status: http.StatusNotFound,
		Code: orchestrator.CodeBadRequest, Detail: "there is nothing at " + r.Method + " " + r.URL.Path})
}
