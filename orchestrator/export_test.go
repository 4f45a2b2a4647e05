package orchestrator

import "github.com/amendsio/amends/topology"

// Worker gives tests the runtime.
func (o *Orchestrator) Worker() *topology.Worker { return o.worker.Load() }
