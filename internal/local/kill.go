package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/orchestrator"
)

// MaxLoad bounds the instances that a kill is watched under.
const MaxLoad = 10_000

// Killed tells what became of a kill.
type Killed struct {
	Node  string        `json:"node"`
	Tasks int           `json:"tasks"` // that it had
	To    []string      `json:"to"`    // nodes that took them over
	Moved time.Duration `json:"moved"` // until every task ran again

	// Of the load, when there was one.
	Load        int           `json:"load,omitempty"`
	Completed   int           `json:"completed,omitempty"`
	Compensated int           `json:"compensated,omitempty"`
	Took        time.Duration `json:"took,omitempty"` // from the first start to the last end
	// Faults are disagreements between the participants' books and the sagas. None means that each of
	// their effects happened once, and what was to be undone is undone.
	Faults []string `json:"faults,omitempty"`
}

// ErrNoSuchNode is the fault of a caller who names a node that is not there, or is dead already.
var ErrNoSuchNode = errors.New("no such node")

// KillNode kills a node as kill -9 would, and waits until the others run its tasks. With load it starts that
// many instances of the sample, one in ten of which the bank refuses, kills the node when a third of them
// is started, waits for the end of all, and compares the participants' books with how they ended.
func (c *Cluster) KillNode(ctx context.Context, name string, load int) (k Killed, err error) {
	if load < 0 || load > MaxLoad {
		return k, fmt.Errorf("load %d: want 0 to %d", load, MaxLoad)
	}
	i := slices.IndexFunc(c.Nodes, func(n *Node) bool { return n.Name == name })
	switch {
	case load > 0 && c.Shop == nil:
		return k, errors.New("a load needs the participants of the sample")
	case i < 0:
		return k, fmt.Errorf("%w: %q; there are 1 to %d", ErrNoSuchNode, name, len(c.Nodes))
	case c.Nodes[i].Dead():
		return k, fmt.Errorf("%w: node %s is dead already", ErrNoSuchNode, name)
	case c.alive() == 1:
		return k, fmt.Errorf("%w: node %s is the last one", ErrNoSuchNode, name)
	}
	victim := c.Nodes[i]
	if load == 0 {
		err = c.kill(ctx, victim, &k)
		return k, err
	}
	producer, err := client.New(client.Config{Namespace: c.cfg.Namespace, Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}})
	if err != nil {
		return k, err
	}
	defer producer.Close()
	k.Load = load
	run, began := c.loads.Add(1), time.Now()
	ids := make([]string, load)
	killed := make(chan error, 1)
	for i := range ids {
		if i == load/3 {
			go func() { killed <- c.kill(ctx, victim, &k) }()
		}
		id, amount := fmt.Sprintf("load-%d-%d-%d", began.Unix(), run, i), int64(1000+i)
		if i%10 == 9 {
			amount = CaptureLimit
		}
		if err := producer.Start(ctx, client.Start{Type: "card-payment", ID: id, Input: map[string]int64{"amount": amount}}); err != nil {
			return k, err
		}
		ids[i] = "card-payment/" + id
	}
	if err := <-killed; err != nil {
		return k, err
	}
	ends, err := c.ends(ctx, ids)
	if err != nil {
		return k, err
	}
	k.Took = time.Since(began)
	for _, phase := range ends {
		switch phase {
		case "completed":
			k.Completed++
		case "compensated":
			k.Compensated++
		}
	}
	k.Faults = c.Shop.Audit(ends)
	return k, nil
}

// kill ends one node and fills k with what became of its tasks.
func (c *Cluster) kill(ctx context.Context, victim *Node, k *Killed) error {
	before := map[string]int{}
	for _, n := range c.Nodes {
		before[n.Name] = n.Tasks()
	}
	k.Node, k.Tasks = victim.Name, before[victim.Name]
	victim.Kill()
	began := time.Now()
	if err := c.await(ctx); err != nil {
		return err
	}
	k.Moved = time.Since(began)
	for _, n := range c.Nodes {
		if !n.Dead() && n.Tasks() > before[n.Name] {
			k.To = append(k.To, n.Name)
		}
	}
	return nil
}

// ends waits until all instances have ended: workflow ID to phase.
func (c *Cluster) ends(ctx context.Context, ids []string) (map[string]string, error) {
	ended := map[string]string{}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, id := range ids {
			if ended[id] != "" {
				continue
			}
			v, err := c.View(ctx, id)
			switch {
			case err == nil && v.EndedAt != 0:
				ended[id] = v.Phase
			case err == nil, errors.Is(err, orchestrator.ErrNotFound), errors.Is(err, orchestrator.ErrMoving):
			case ctx.Err() == nil:
				return ended, err
			}
		}
		if len(ended) == len(ids) {
			return ended, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ended, fmt.Errorf("%d of %d instances have ended: %w", len(ended), len(ids), ctx.Err())
		}
	}
}

func (c *Cluster) alive() int {
	n := 0
	for _, node := range c.Nodes {
		if !node.Dead() {
			n++
		}
	}
	return n
}
