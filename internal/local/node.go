package local

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
	"github.com/amendsio/amends/web"
	pages "github.com/amendsio/amends/web/desk"
)

// NodeConfig says how to run one node.
type NodeConfig struct {
	Name      string // shown to people
	Brokers   []string
	Namespace string
	DataDir   string
	Listen    string // address of the API; port 0 takes a free one
	Timing    topology.Timing
	Clock     func() time.Time // default: the machine's
	Codec     schema.Codec     // nil = values are JSON
	Logger    *slog.Logger
}

// Node is one amends process without the process: the runtime and its API.
type Node struct {
	Name string
	Addr string // host:port of the API

	orchestrator *orchestrator.Orchestrator
	server       *http.Server
	dead         atomic.Bool
	cancel       context.CancelFunc
	leave        context.CancelFunc // ends the work on bulk actions
	done         chan struct{}
	err          error // of Run; read after done
}

// StartNode starts a node. It works until Stop or Kill.
func StartNode(cfg NodeConfig) (*Node, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", cfg.Name, err)
	}
	n := &Node{Name: cfg.Name, Addr: l.Addr().String(), done: make(chan struct{})}
	n.orchestrator, err = orchestrator.New(orchestrator.Config{
		Namespace:    cfg.Namespace,
		Brokers:      cfg.Brokers,
		DataDir:      cfg.DataDir,
		Advertise:    n.Addr,
		CreateTopics: true,
		Timing:       cfg.Timing,
		Clock:        cfg.Clock,
		Codec:        cfg.Codec,
		// A fetch that the embedded broker cuts short says nothing of aborted transactions, so that their
		// records would be read. No fetch on a developer's machine is that large.
		Limits:    topology.Limits{FetchBytes: 64 << 20},
		Logger:    cfg.Logger,
		Failpoint: n.failpoint,
	})
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("node %s: %w", cfg.Name, err)
	}
	handler := api.New(n.orchestrator, api.Options{Node: n.Addr, Namespace: cfg.Namespace, Gather: n.orchestrator.Gatherer(), Meter: n.orchestrator.Registerer(), Logger: cfg.Logger, Actions: true})
	n.server = &http.Server{
		Handler: pages.Beside(handler,
			pages.Options{Actions: true, Partition: n.orchestrator.TaskOf, Draining: n.orchestrator.Draining}, web.Options{Namespace: cfg.Namespace, Environment: "local", Colour: "green", Node: n.Addr, Version: orchestrator.Version}),
		ReadHeaderTimeout: 5 * time.Second,
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	var batches context.Context
	batches, n.leave = context.WithCancel(ctx)
	go n.server.Serve(l)
	go handler.RunBatches(batches)
	go func() {
		defer close(n.done)
		n.err = n.orchestrator.Run(ctx)
		n.server.Close()
	}()
	return n, nil
}

// failpoint is how a kill reaches the tasks: at the next point of the walk they end on the spot,
// with whatever they had in hand.
func (n *Node) failpoint(string, int32) error {
	if n.dead.Load() {
		return topology.ErrCrash
	}
	return nil
}

// Kill ends the node as kill -9 would: nothing is finished, nobody is told.
func (n *Node) Kill() {
	n.dead.Store(true)
	n.server.Close()
	n.leave()
	n.orchestrator.Crash() // an idle task comes to no point of the walk by itself
}

// Dead says whether the node was killed.
func (n *Node) Dead() bool { return n.dead.Load() }

// Stop finishes the work in hand, hands the partitions over and waits for the end.
func (n *Node) Stop() error {
	n.cancel()
	<-n.done
	if n.dead.Load() {
		return nil
	}
	return n.err
}

// Tasks returns how many tasks the node runs.
func (n *Node) Tasks() int {
	running := 0
	for _, t := range n.orchestrator.Tasks() {
		if t.State == topology.TaskRunning {
			running++
		}
	}
	return running
}

// Ready returns nil when the node serves.
func (n *Node) Ready() error {
	select {
	case <-n.done:
		return fmt.Errorf("node %s has ended: %w", n.Name, n.err)
	default:
		return n.orchestrator.Ready()
	}
}

// Orchestrator is the runtime of the node.
func (n *Node) Orchestrator() *orchestrator.Orchestrator { return n.orchestrator }
