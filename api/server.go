package api

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// HeaderNode says which process answered.
const HeaderNode = "Amends-Node"

// How far an answer with ?stale may be behind: the state records that the copy lacks, and the
// milliseconds since it had all of them. Both are 0 when the owner answered.
const (
	HeaderLagRecords = "Amends-Lag-Records"
	HeaderLagMillis  = "Amends-Lag-Ms"
)

// HeaderPosition is where a request was written. Passed on as ?after= of a question about the same instance,
// the answer contains what became of it.
const HeaderPosition = "Amends-Position"

// Engine is what the API shows: an *orchestrator.Orchestrator.
type Engine interface {
	cluster.Local
	Definitions() []orchestrator.DefinitionInfo
	Act(context.Context, *protocol.Admin) (orchestrator.Position, error)
	Signal(context.Context, *protocol.Signal) (orchestrator.Position, error)
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
	// Client asks other processes. Default: that of package cluster.
	Client *http.Client
	// PeerSecret signs what processes ask one another. Default: none.
	PeerSecret []byte
	// Actions lets requests change instances. There is no login: whoever reaches the listener may then
	// do what an operator may.
	Actions bool
}

type server struct {
	engine Engine
	node   string
	log    *slog.Logger
	reader *cluster.Cluster
	acts   bool
	ready  readiness
}

// New makes the handler of one process.
func New(engine Engine, opts Options) http.Handler {
	s := &server{engine: engine, node: opts.Node, log: opts.Logger, acts: opts.Actions}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.reader = cluster.New(engine, cluster.Options{Client: opts.Client, Secret: opts.PeerSecret, Logger: s.log})
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
	mux.Handle(cluster.Prefix, s.reader.Handler())
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
