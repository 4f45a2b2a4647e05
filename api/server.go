package api

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// Headers of answers.
const (
	// HeaderNode says which process answered.
	HeaderNode = "Saga-Node"
	// HeaderPosition is where a request was written. Passed on as ?after= of a question about the same instance,
	// the answer contains what became of it.
	HeaderPosition = "Saga-Position"
	// How far an answer with ?stale may be behind: the state records that the copy lacks, and the milliseconds
	// since it had all of them. Both are 0 when the owner answered.
	HeaderLagRecords = "Saga-Lag-Records"
	HeaderLagMillis  = "Saga-Lag-Ms"
	// HeaderReplayed says that an answer is that of an earlier request with the same Idempotency-Key.
	HeaderReplayed = "Idempotency-Replayed"
)

// Limits of requests.
const (
	maxBody        = 1 << 20
	bodyPatience   = 15 * time.Second // for the body of a request to arrive
	answerPatience = 30 * time.Second // for everything but waits and streams
)

// Engine is what the API shows: an *orchestrator.Orchestrator.
type Engine interface {
	cluster.Local
	Health
	orchestrator.BatchKeeper

	Act(context.Context, *protocol.Admin) (orchestrator.Position, error)
	Signal(context.Context, *protocol.Signal) (orchestrator.Position, error)
	Start(context.Context, *protocol.Start) (orchestrator.Position, error)
	Cancel(context.Context, *protocol.Cancel) (orchestrator.Position, error)

	Definitions() []orchestrator.DefinitionInfo
	Definition(typ string, version uint32) (orchestrator.DefinitionSource, error)
	CompareDefinitions(typ string, from, to uint32) ([]orchestrator.Change, error)
	Publish(ctx context.Context, file string, src []byte, activate bool) ([]orchestrator.Published, error)
	Activate(ctx context.Context, typ string, version uint32) (before uint32, err error)

	Claim(ctx context.Context, workflowID, path, by string, take, release bool) error
	Letters(ctx context.Context, q orchestrator.LetterQuery) (orchestrator.Letters, error)
	Letter(ctx context.Context, offset int64) (orchestrator.Letter, error)
	Replay(ctx context.Context, offset int64, r orchestrator.Replay) (orchestrator.Replayed, error)
	Drop(ctx context.Context, offset int64, by, reason string) error
	Bindings(ctx context.Context) ([]orchestrator.BindingInfo, error)
	HoldBinding(ctx context.Context, key string, paused bool, by, reason string) (orchestrator.BindingInfo, error)
	ReplayBinding(ctx context.Context, key string, from, to int64, dry bool, by, reason string) (bindings.Reread, error)
	Audit(ctx context.Context, from, to int64, limit int) (orchestrator.Audit, error)
}

// Health is what the probes ask.
type Health interface {
	Ready() error
	Live() error
	Draining() bool
}

// Options of a handler.
type Options struct {
	Node string // this process, for HeaderNode
	// Namespace is that of the engine, for descriptions.
	Namespace string
	Gather    prometheus.Gatherer // nil: no /metrics
	Meter     prometheus.Registerer
	Logger    *slog.Logger // nil: silent
	// Client asks other processes. Default: that of package cluster.
	Client *http.Client
	// PeerSecret signs what processes ask one another. Default: none.
	PeerSecret []byte
	// Auth says who may do what. nil: whoever reaches the listener may do everything that Actions allows.
	Auth *Auth
	// Actions lets requests change instances and definitions.
	Actions bool
	// Streams is the most event streams that are open at a time. Default: 200.
	Streams int
}

type server struct {
	engine  Engine
	opts    Options
	log     *slog.Logger
	desk    *cluster.Cluster
	api     huma.API
	ready   readiness
	repeats *repeats
	streams chan struct{}
	meter   *meter
}

// Handler is the HTTP interface of one process.
type Handler struct {
	http.Handler
	// Desk is what the handler asks: for pages that show the same.
	Desk *cluster.Cluster

	s *server
}

// New makes the handler of one process.
func New(engine Engine, opts Options) *Handler {
	s := &server{engine: engine, opts: opts, log: opts.Logger, repeats: newRepeats(time.Now), meter: newMeter(opts.Meter)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if opts.Streams == 0 {
		opts.Streams = 200
	}
	s.streams = make(chan struct{}, opts.Streams)
	s.desk = cluster.New(engine, cluster.Options{Client: opts.Client, Secret: opts.PeerSecret, Logger: s.log})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	if opts.Gather != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Gather, promhttp.HandlerOpts{}))
	}
	mux.Handle(cluster.Prefix, s.desk.Handler())
	s.api = humago.New(mux, config())
	s.routes()
	mux.HandleFunc("GET /docs", s.docs)
	mux.HandleFunc("/", s.notFound)
	return &Handler{Handler: s.wrap(mux), Desk: s.desk, s: s}
}

// OpenAPI is the description of the API.
func (h *Handler) OpenAPI() *huma.OpenAPI { return h.s.api.OpenAPI() }

// RunBatches works on bulk actions until ctx ends. One call per process.
func (h *Handler) RunBatches(ctx context.Context) { h.s.engine.RunBatches(ctx, h.s.desk) }

func config() huma.Config {
	c := huma.DefaultConfig("amends", "1")
	c.Info.Description = "Sagas on Kafka: instances, definitions, tasks, dead letters, bulk actions, cluster. Any process answers for any instance."
	c.CreateHooks = nil // no links to schemas in answers
	c.SchemasPath, c.DocsPath = "", ""
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string {
		name := huma.DefaultSchemaNamer(t, hint)
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if strings.HasSuffix(t.PkgPath(), "/explain") && !strings.HasPrefix(name, "Explan") {
			return "Explained" + name // its words are those of other packages, too
		}
		return name
	})
	c.RejectUnknownQueryParameters = true
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A static token, or a token of the OIDC issuer. Not needed on a listener without authentication, which is on loopback."},
	}
	return c
}

// wrap sets what every answer carries, and bounds every request.
func (s *server) wrap(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problemOf(&orchestrator.Error{Code: orchestrator.CodeForbidden, Class: errForbidden, Cause: "the request comes from a page of another origin"}))
	}))
	inner := sameOrigin.Handler(s.authenticate(s.once(next)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set(HeaderNode, s.opts.Node)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			// Not all servers have deadlines to set; the real one has.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
		}
		joinID(r)
		s.meter.measure(w, r, inner)
	})
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, &Problem{Type: "about:blank", Title: http.StatusText(http.StatusNotFound), Status: http.StatusNotFound,
		Code: orchestrator.CodeBadRequest, Detail: "there is nothing at " + r.Method + " " + r.URL.Path})
}
