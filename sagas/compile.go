package sagas

import (
	"slices"
	"strconv"
	"strings"
)

// Compile turns a definition into a plan: a DAG of nodes with compiled expressions. The error is
// Findings. A definition that was made in Go and not by ParseDefinition is checked here in full.
func Compile(d *Definition) (*Plan, error) {
	if d.src == nil {
		parsed, err := ParseDefinition("", d.Canonical())
		if err != nil {
			return nil, err
		}
		d = parsed
	}
	r := &report{file: d.src.report.file, lines: d.src.report.lines}
	plan := checkDefinition(r, d)
	if err := r.found.asError(); err != nil {
		return nil, err
	}
	return plan, nil
}

// outline is the tree of a definition in plan order, beside its plan.
type outline struct {
	d     *Definition
	plan  *Plan
	defs  []*StepDef
	paths []string       // of findings: steps/<id>, or the position of a node without id
	index map[string]int // id -> plan index
}

// outlineOf fills in all of a plan but its expressions.
func outlineOf(d *Definition) *outline {
	p := &Plan{
		Type:            d.Saga,
		Version:         d.Version,
		Pivot:           -1,
		Deadline:        d.Deadline,
		Retention:       d.Retention.State,
		MarkerRetention: d.Retention.Marker,
		OnFailure:       max(d.OnFailure, Drain),
		Reuse:           max(d.Reuse, ReuseNever),
		Definition:      d,
	}
	if d.Input != nil {
		p.Input = &InputRule{*d.Input}
	}
	o := &outline{d: d, plan: p, index: map[string]int{}}
	o.list(d.Steps, -1, 0, "steps")
	for i, def := range o.defs {
		if def.Undo != nil {
			p.Steps[i].Undo.After = o.indexes(def.Undo.After)
		}
		if def.Kind == Pivot && p.Pivot < 0 {
			p.Pivot = i
		}
	}
	return o
}

// list appends the nodes of one list with everything inside them and gives their plan indexes, in
// the order of the plan.
func (o *outline) list(list []StepDef, parent, lane int, path string) []int {
	at := make([]int, len(list)) // position in the list -> plan index
	var own []int
	byID := map[string]int{}
	for k := range list {
		byID[list[k].ID] = k
	}
	waits := make([][]int, len(list)) // positions that a position waits for
	for k := range list {
		if after := list[k].After; after != nil {
			for _, id := range after {
				if j, ok := byID[id]; ok && id != "" && j != k {
					waits[k] = append(waits[k], j)
				}
			}
		} else if k > 0 {
			waits[k] = []int{k - 1}
		}
	}
	for _, k := range topological(waits) {
		at[k] = o.node(&list[k], parent, lane, join(path, strconv.Itoa(k)))
		own = append(own, at[k])
	}
	for k := range list {
		for _, j := range waits[k] {
			if at[j] < at[k] { // else it is part of a cycle, which is reported
				o.plan.Steps[at[k]].Deps = append(o.plan.Steps[at[k]].Deps, at[j])
			}
		}
		slices.Sort(o.plan.Steps[at[k]].Deps)
	}
	for _, i := range own {
		for _, j := range o.plan.Steps[i].Deps {
			o.plan.Steps[j].Dependents = append(o.plan.Steps[j].Dependents, i)
		}
	}
	return own
}

// topological orders positions so that each comes after those that it waits for, and otherwise as
// they are written. Positions of a cycle keep the written order.
func topological(waits [][]int) []int {
	order := make([]int, 0, len(waits))
	state := make([]uint8, len(waits)) // 1 = being placed, 2 = placed
	var place func(k int)
	place = func(k int) {
		if state[k] != 0 {
			return
		}
		state[k] = 1
		for _, j := range waits[k] {
			place(j)
		}
		state[k] = 2
		order = append(order, k)
	}
	for k := range waits {
		place(k)
	}
	return order
}

// node appends one node and its body.
func (o *outline) node(s *StepDef, parent, lane int, path string) int {
	i := len(o.defs)
	if s.ID != "" {
		path = "steps/" + s.ID
		o.index[s.ID] = i
	}
	o.defs = append(o.defs, s)
	o.paths = append(o.paths, path)
	o.plan.Steps = append(o.plan.Steps, PlanStep{
		Path:     s.ID,
		Kind:     s.Kind,
		Node:     s.Node,
		Parent:   parent,
		Lane:     lane,
		Keep:     s.Keep,
		Race:     s.Race,
		Scope:    s.Scope,
		Fail:     s.Fail,
		Finish:   s.Finish,
		OnReject: s.OnReject,
	})
	o.plan.Steps[i].kindPart(s)
	if s.Node == NodeCall {
		o.plan.Steps[i].callPart(s, o.d)
	}
	var lanes []PlanLane
	for l := range s.Lanes {
		steps := o.list(s.Lanes[l].Steps, i, l, o.lanePath(s, path, l))
		lanes = append(lanes, PlanLane{Name: s.Lanes[l].Name, Steps: steps})
	}
	o.plan.Steps[i].Lanes = lanes
	o.plan.Steps[i].End = len(o.defs)
	return i
}

// lanePath is where a lane of a node is written.
func (o *outline) lanePath(s *StepDef, path string, lane int) string {
	name := s.Lanes[lane].Name
	switch s.Node {
	case NodeParallel:
		return path + "/parallel/" + name
	case NodeRace:
		return path + "/lanes/" + name
	case NodeChoose:
		if name == LaneElse {
			return path + "/choose/" + strconv.Itoa(len(s.Lanes)) + "/else"
		}
		return path + "/choose/" + name + "/do"
	case NodeScope:
		if name == LaneCatch {
			return path + "/scope/catch/do"
		}
	case NodeAwait, NodeApprove:
		return path + "/" + s.Node.String() + "/onTimeout/do"
	}
	return path + "/do"
}

// indexes are the plan indexes of ids, sorted, without those that do not exist.
func (o *outline) indexes(ids []string) []int {
	var out []int
	for _, id := range ids {
		if i, ok := o.index[id]; ok {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

// kindPart fills in what a node other than a call has, without its expressions.
func (ps *PlanStep) kindPart(s *StepDef) {
	switch {
	case s.Each != nil:
		ps.Each = &EachPlan{EachDef: *s.Each}
	case s.Repeat != nil:
		ps.Repeat = &RepeatPlan{RepeatDef: *s.Repeat}
	case s.Saga != nil:
		ps.Saga = &SagaPlan{SagaDef: *s.Saga}
	case s.Await != nil:
		ps.Await = &AwaitPlan{AwaitDef: *s.Await}
	case s.Sleep != nil:
		ps.Sleep = &SleepPlan{SleepDef: *s.Sleep}
	case s.Approve != nil:
		ps.Approve = &ApprovePlan{ApproveDef: *s.Approve}
	case s.Emit != nil:
		ps.Emit = &EmitPlan{EmitDef: *s.Emit}
	}
}

// callPart fills in what a call has, without its expressions.
func (ps *PlanStep) callPart(s *StepDef, d *Definition) {
	participant, command, _ := strings.Cut(s.Call, ".")
	ps.Participant = participant
	ps.Command = command
	ps.Topic = d.Participants[participant].Topic
	ps.Attempt = s.Attempt
	ps.Within = s.Within
	ps.Retry = s.Retry
	ps.OnUnknown = s.OnUnknown
	ps.KeyWindow = d.Participants[participant].KeyWindow
	ps.AlertAfter = s.AlertAfter
	ps.Heartbeat = s.Heartbeat
	if q := s.Inquire; q != nil {
		_, asked, _ := strings.Cut(q.Call, ".")
		ps.Inquire = &Inquire{Command: asked, Every: q.Every, For: q.For, Attempt: q.Attempt}
	}
	if u := s.Undo; u != nil {
		undoer, undo, _ := strings.Cut(u.Call, ".")
		ps.Undo = &Undo{
			Participant: undoer,
			Command:     undo,
			Topic:       d.Participants[undoer].Topic,
			Attempt:     u.Attempt,
			Retry:       u.Retry,
			AlertAfter:  u.AlertAfter,
		}
	}
}
