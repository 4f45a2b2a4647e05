package sagatest

import (
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// Coverage tells what scripts have made the nodes of definitions do. The zero value is empty.
type Coverage struct{ plans map[string]*covered }

// covered is the coverage of one definition.
type covered struct {
	plan  *sagas.Plan
	nodes []NodeCoverage
}

// NodeCoverage is what became of one node, over all its items and rounds and all runs.
type NodeCoverage struct {
	ID      string
	Node    sagas.NodeKind
	Depth   int  // 0 = a step of the saga itself
	Undoes  bool // it has something to undo
	Ran     bool // it was sent, or began
	Refused bool // it failed: refused, failed, unknown
	Undone  bool
	Skipped bool
	Lanes   []LaneCoverage // of choose
}

// LaneCoverage is one branch of a choose.
type LaneCoverage struct {
	Name  string
	Taken bool
}

// of returns the coverage of a plan and makes it when there is none.
func (c *Coverage) of(p *sagas.Plan) *covered {
	ref := p.Type + "@" + uitoa(p.Version)
	if d := c.plans[ref]; d != nil && d.plan.Digest == p.Digest {
		return d
	}
	if c.plans == nil {
		c.plans = make(map[string]*covered)
	}
	d := &covered{plan: p, nodes: make([]NodeCoverage, len(p.Steps))}
	for i := range p.Steps {
		s := &p.Steps[i]
		n := &d.nodes[i]
		n.ID, n.Node, n.Undoes = s.Path, s.Node, s.Undo != nil || s.Saga != nil && s.Saga.Reversible
		if s.Parent >= 0 && s.Parent < i {
			n.Depth = d.nodes[s.Parent].Depth + 1
		}
		if s.Node == sagas.NodeChoose {
			for _, lane := range s.Lanes {
				n.Lanes = append(n.Lanes, LaneCoverage{Name: lane.Name})
			}
		}
	}
	c.plans[ref] = d
	return d
}

// note takes in what an event has led to.
func (c *Coverage) note(p *sagas.Plan, inst *sagas.Instance) {
	if p == nil || inst == nil || inst.Type != p.Type || inst.Digest != p.Digest {
		return
	}
	d := c.of(p)
	for i := range inst.Steps {
		s := &inst.Steps[i]
		k := p.StepIndex(s.Path[strings.LastIndexByte(s.Path, '/')+1:])
		if k < 0 {
			continue
		}
		n := &d.nodes[k]
		switch s.State {
		case sagas.StepDone, sagas.StepOpen:
			n.Ran = true
		case sagas.StepSkipped:
			n.Skipped = true
		case sagas.StepRefused, sagas.StepFailed, sagas.StepUnknown:
			n.Refused = true
		}
		n.Ran = n.Ran || s.Round > 0
		n.Undone = n.Undone || s.Undo == sagas.UndoUndone || s.Undo == sagas.UndoNoop
		if n.Node == sagas.NodeChoose && s.Lane > 0 && s.Lane <= len(n.Lanes) {
			n.Lanes[s.Lane-1].Taken = true
		}
	}
}

// Merge adds what other scripts have covered.
func (c *Coverage) Merge(other *Coverage) {
	for _, d := range other.plans {
		to := c.of(d.plan)
		for i := range d.nodes {
			from, n := &d.nodes[i], &to.nodes[i]
			n.Ran, n.Refused, n.Undone, n.Skipped = n.Ran || from.Ran, n.Refused || from.Refused, n.Undone || from.Undone, n.Skipped || from.Skipped
			for k := range from.Lanes {
				n.Lanes[k].Taken = n.Lanes[k].Taken || from.Lanes[k].Taken
			}
		}
	}
}

// Definitions lists the definitions that scripts have run, as type@version, sorted.
func (c *Coverage) Definitions() []string {
	var refs []string
	for ref := range c.plans {
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	return refs
}

// Nodes lists the nodes of a definition in the order of the definition.
func (c *Coverage) Nodes(ref string) []NodeCoverage {
	if d := c.plans[ref]; d != nil {
		return d.nodes
	}
	return nil
}
