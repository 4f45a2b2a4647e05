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
	"time"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Config of a local cluster.
type Config struct {
	Namespace  string // required
	BrokerAddr string // host:port; port 0 takes a free one
	APIAddr    string // of the first node; the others take the ports that follow, or free ones after port 0
	Nodes      int
	DataDir    string // empty: a directory that goes with the cluster, and a broker in memory
	Timing     topology.Timing
	Logger     *slog.Logger
}

// Cluster is a broker, nodes and the sample's participants.
type Cluster struct {
	Broker *Broker
	Nodes  []*Node
	Shop   *Shop
	cfg    Config
	temp   string
}

// Start starts everything, publishes defs and waits until every task has an owner.
func Start(ctx context.Context, cfg Config, defs []*sagas.Definition) (c *Cluster, err error) {
	c = &Cluster{cfg: cfg}
	defer func() {
		if err != nil {
			c.Close()
			c = nil
		}
	}()
	brokerDir, dir := "", cfg.DataDir
	if dir == "" {
		if c.temp, err = os.MkdirTemp("", "amends-"); err != nil {
			return c, err
		}
		dir = c.temp
	} else {
		brokerDir = filepath.Join(dir, "broker")
	}
	if c.Broker, err = StartBroker(cfg.BrokerAddr, brokerDir); err != nil {
		return c, err
	}
	brokers := []string{c.Broker.Addr}
	if _, err = orchestrator.Apply(ctx, orchestrator.Config{
		Namespace: cfg.Namespace, Brokers: brokers, CreateTopics: true, Logger: cfg.Logger,
	}, defs); err != nil {
		return c, err
	}
	for i := range cfg.Nodes {
		listen, err := portAfter(cfg.APIAddr, i)
		if err != nil {
			return c, err
		}
		n, err := StartNode(NodeConfig{
			Name: strconv.Itoa(i + 1), Brokers: brokers, Namespace: cfg.Namespace, Listen: listen,
			DataDir: filepath.Join(dir, "node-"+strconv.Itoa(i+1)), Timing: cfg.Timing, Logger: cfg.Logger,
		})
		if err != nil {
			return c, err
		}
		c.Nodes = append(c.Nodes, n)
	}
	c.Shop = NewShop(brokers, cfg.Logger)
	if err = c.Shop.OpenAll(); err != nil {
		return c, err
	}
	return c, c.await(ctx)
}

// await returns when every node is ready and all tasks run.
func (c *Cluster) await(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var waiting error
		for _, n := range c.Nodes {
			waiting = errors.Join(waiting, n.Ready())
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
