package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/amendsio/amends/orchestrator"
)

// Nodes describes the processes and where the tasks are.
type Nodes struct {
	Nodes []orchestrator.Node  `json:"nodes"` // by address
	Tasks []orchestrator.Route `json:"tasks"` // by number
}

// Nodes asks every process of the group. One that does not answer is in the list, as unreachable.
func (c *Cluster) Nodes(ctx context.Context) (Nodes, error) {
	routes, err := c.local.Routes(ctx)
	if err != nil {
		return Nodes{}, err
	}
	others := c.local.Peers(ctx)
	out := Nodes{Nodes: make([]orchestrator.Node, len(others)+1), Tasks: routes}
	var asked sync.WaitGroup
	for i, address := range others {
		asked.Go(func() {
			if err := c.peers.ask(ctx, address, opNode, struct{}{}, &out.Nodes[i]); err != nil {
				c.log.Warn("a process of the group does not answer", "address", address, "err", err)
				out.Nodes[i] = orchestrator.Node{Unreachable: true}
			}
			out.Nodes[i].Address = address
		})
	}
	out.Nodes[len(others)] = c.local.Node()
	asked.Wait()
	slices.SortFunc(out.Nodes, func(a, b orchestrator.Node) int { return cmp.Compare(a.Address, b.Address) })
	return out, ctx.Err()
}
