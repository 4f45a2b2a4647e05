package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
)

// Config of a local cluster.
type Config struct {
	Namespace  string   // required
	Brokers    []string // of a cluster that is there; empty: an embedded broker
	BrokerAddr string   // of the embedded broker, host:port; port 0 takes a free one
	APIAddr    string   // of the first node; the others take the ports that follow, or free ones after port 0
	Nodes      int
	DataDir    string // empty: a directory that goes with the cluster, and a broker in memory
	Timing     topology.Timing
	Logger     *slog.Logger

	// Codec reads and writes values that are not JSON, for nodes of these brokers. nil = values are JSON.
	Codec func(brokers []string) (schema.Codec, error)
}

// Cluster is a broker, nodes and, when it was opened, the sample's participants.
type Cluster struct {
	Broker  *Broker // nil when the brokers are elsewhere
	Brokers []string
	Nodes   []*Node
	Shop    *Shop
	Clock   *Clock
	cfg     Config
	temp    string
	loads   atomic.Uint64 // of kills under load, for their ids
}

// Start starts broker and nodes, publishes defs and waits until every task has an owner.
func Start(ctx context.Context, cfg Config, defs []*sagas.Definition) (c *Cluster, err error) {
	c = &Cluster{cfg: cfg}
	defer func() {
		if err != nil {
			c.Close()
			c = nil
		}
	}()
	brokerDir, clockFile, dir := "", "", cfg.DataDir
	if dir == "" {
		if c.temp, err = os.MkdirTemp("", "amends-"); err != nil {
			return c, err
		}
		dir = c.temp
	} else {
		brokerDir, clockFile = filepath.Join(dir, "broker"), filepath.Join(dir, "clock-offset")
	}
	if c.Clock, err = newClock(clockFile); err != nil {
		return c, err
	}
	c.Brokers = cfg.Brokers
	if len(c.Brokers) == 0 {
		if c.Broker, err = StartBroker(cfg.BrokerAddr, brokerDir); err != nil {
			return c, err
		}
		c.Brokers = []string{c.Broker.Addr}
	}
	if _, err = orchestrator.Apply(ctx, orchestrator.Config{
		Namespace: cfg.Namespace, Brokers: c.Brokers, CreateTopics: true, Logger: cfg.Logger,
	}, defs); err != nil {
		return c, err
	}
	var codec schema.Codec
	if cfg.Codec != nil {
		if codec, err = cfg.Codec(c.Brokers); err != nil {
			return c, err
		}
	}
	for i := range cfg.Nodes {
		listen, err := portAfter(cfg.APIAddr, i)
		if err != nil {
			return c, err
		}
		n, err := StartNode(NodeConfig{
			Name: strconv.Itoa(i + 1), Brokers: c.Brokers, Namespace: cfg.Namespace, Listen: listen,
			DataDir: filepath.Join(dir, "node-"+strconv.Itoa(i+1)), Timing: cfg.Timing, Clock: c.Clock.Now, Codec: codec, Logger: cfg.Logger,
		})
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c, c.await(ctx)
}

// OpenShop starts the participants of the card-payment sample.
func (c *Cluster) OpenShop() error {
	c.Shop = NewShop(c.Brokers, c.cfg.Logger)
	return c.Shop.OpenAll()
}

// View reads an instance from whichever node owns it.
func (c *Cluster) View(ctx context.Context, workflowID string) (sagas.View, error) {
	var last error = orchestrator.ErrMoving
	for _, n := range c.Nodes {
		if n.Dead() {
			continue
		}
		v, err := n.orchestrator.Get(ctx, workflowID)
		var moved *orchestrator.MovedError
		if errors.As(err, &moved) {
			continue
		}
		if err == nil || errors.Is(err, orchestrator.ErrNotFound) {
			return v, err
		}
		last = err
	}
	return sagas.View{}, last
}

// await returns when every node that lives is ready and all tasks run.
func (c *Cluster) await(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var waiting error
		for _, n := range c.Nodes {
			if !n.Dead() {
				waiting = errors.Join(waiting, n.Ready())
			}
		}
		if owned, all := c.Tasks(); waiting == nil && owned == all && all > 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the nodes are not ready: %w", errors.Join(waiting, ctx.Err()))
		}
	}
}

// Advance sets the clock of all nodes forward and has every task look at it: what was due in between is due
// now, in its order. Participants and the broker keep the time of the machine.
func (c *Cluster) Advance(by time.Duration) error {
	if err := c.Clock.advance(by); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if !n.Dead() {
			n.orchestrator.LookAgain()
		}
	}
	return nil
}

// Tasks returns how many tasks run, and how many there are.
func (c *Cluster) Tasks() (owned, all int) {
	for _, n := range c.Nodes {
		if !n.Dead() {
			owned += n.Tasks()
		}
	}
	return owned, protocol.DefaultPartitions
}

// Close stops everything, in the order in which a shop closes: participants, nodes, broker.
func (c *Cluster) Close() error {
	var faults error
	if c.Shop != nil {
		c.Shop.CloseAll()
	}
	for _, n := range c.Nodes {
		faults = errors.Join(faults, n.Stop())
	}
	if c.Broker != nil {
		c.Broker.Close()
	}
	if c.temp != "" {
		faults = errors.Join(faults, os.RemoveAll(c.temp))
	}
	return faults
}

// portAfter adds i to the port of addr; port 0 stays.
func portAfter(addr string, i int) (string, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Errorf("address %q: bad port", addr)
	}
	if port != 0 {
		port += i
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}
