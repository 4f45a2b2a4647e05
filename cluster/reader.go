package cluster

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
)

// Reader answers questions about a namespace. Errors are *orchestrator.Error values, to be asked for their
// class with errors.Is: ErrNotFound, ErrInvalid, ErrMoving, ErrUnreachable.
type Reader interface {
	// Get shows one instance.
	Get(ctx context.Context, workflowID string, how How) (Instance, error)
	// List shows the instances that match, a page at a time.
	List(ctx context.Context, q Query) (Page, error)
	// Count counts them.
	Count(ctx context.Context, q Query) (Tally, error)
	// Census counts all instances by type, version and status.
	Census(ctx context.Context) (Census, error)
	// Nodes describes the processes and where the tasks are.
	Nodes(ctx context.Context) (Nodes, error)
	// Pulse is how sagas and steps did over time.
	Pulse(ctx context.Context, w Window) (Pulse, error)
	// Stands says at which steps the running instances of a type are.
	Stands(ctx context.Context, typ string) (Stands, error)
}

// Local is one process: an *orchestrator.Orchestrator.
type Local interface {
	Advertise() string
	TaskOf(workflowID string) int32
	Routes(ctx context.Context) ([]orchestrator.Route, error)
	Peers(ctx context.Context) []string

	Get(ctx context.Context, workflowID string) (sagas.View, error)
	GetStale(ctx context.Context, workflowID string) (sagas.View, orchestrator.Lag, error)
	Await(ctx context.Context, workflowID string, at orchestrator.Position) error
	Find(ctx context.Context, q *query.Query, after string, limit int) (orchestrator.Part, error)
	Count(ctx context.Context, q *query.Query) (orchestrator.Tally, error)
	Census() (orchestrator.Census, error)
	Node() orchestrator.Node
	Pulse(q orchestrator.PulseQuestion) (orchestrator.Pulse, error)
	Stands(ctx context.Context, typ string) (orchestrator.Stands, error)

	Propose(msg any) (orchestrator.Proposal, error)
	Preview(ctx context.Context, p orchestrator.Proposal) (orchestrator.Preview, error)
	Approvals(ctx context.Context) (orchestrator.Approvals, error)
	Explain(ctx context.Context, workflowID string) (explain.Explanation, error)
	History(ctx context.Context, workflowID string, v sagas.View, after uint64) (orchestrator.History, error)
	Messages(ctx context.Context, workflowID string, v sagas.View) (orchestrator.Messages, error)
}

// Options of a Cluster.
type Options struct {
	// Client asks other processes. Default: one with a timeout of 8 s.
	Client *http.Client
	// Secret signs what processes ask one another; all of them need the same. Default: none, which is for
	// listeners that only this machine can reach.
	Secret []byte
	Logger *slog.Logger     // nil: silent
	Clock  func() time.Time // nil: time.Now
}

// peerTimeout bounds the question to another process. It is above the wait for a position.
const peerTimeout = orchestrator.MaxAwait + 3*time.Second

// Cluster is the Reader of one process.
type Cluster struct {
	local Local
	peers peers
	log   *slog.Logger
	now   func() time.Time

	lastCensus struct {
		sync.Mutex
		at     time.Time
		census Census
	}
}

var _ Desk = (*Cluster)(nil)

// New makes the Reader of a process.
func New(local Local, o Options) *Cluster {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: peerTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Cluster{local: local, log: o.Logger, now: o.Clock, peers: peers{client: o.Client, secret: o.Secret, now: o.Clock}}
}
