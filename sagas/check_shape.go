package sagas

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/internal/nearest"
)

// checkShape is about nodes that are empty or that no run reaches, and about sizes.
func (c *checker) checkShape() {
	c.checkList(c.d.Steps, c.roots())
	weights := make([]int, len(c.defs))
	for i := len(c.defs) - 1; i >= 0; i-- {
		c.checkEmpty(i)
		c.checkBranches(i)
		weights[i] = c.weight(i, weights)
		for l := range c.defs[i].Lanes {
			c.checkList(c.defs[i].Lanes[l].Steps, c.plan.Steps[i].Lanes[l].Steps)
		}
	}
	total, largest := 0, -1
	for _, i := range c.roots() {
		total += weights[i]
	}
	for i := range c.defs {
		if c.defs[i].Each != nil && (largest < 0 || weights[i] > weights[largest]) {
			largest = i
		}
	}
	if total > MaxPaths && largest >= 0 && weights[largest] <= MaxPaths {
		c.fault(c.paths[largest]+"/each/max", "SG27", "Lower max.", "the saga may have %d steps with all items, the limit is %d", total, MaxPaths)
	}
}

// roots are the plan indexes of the list of the saga.
func (c *checker) roots() []int {
	var out []int
	for i := 0; i < len(c.defs); i = c.plan.Steps[i].End {
		out = append(out, i)
	}
	return out
}

// checkEmpty reports a node without anything to do, and a race that nobody can win.
func (c *checker) checkEmpty(i int) {
	s, path := c.defs[i], c.paths[i]
	empty := slices.IndexFunc(s.Lanes, func(l LaneDef) bool { return len(l.Steps) == 0 })
	name := ""
	if empty >= 0 {
		name = s.Lanes[empty].Name
	}
	if !c.whole(path) {
		return // it could not be read as it is written
	}
	switch s.Node {
	case NodeParallel, NodeRace:
		lanes := "/parallel"
		if s.Node == NodeRace {
			lanes = "/lanes"
		}
		switch {
		case len(s.Lanes) < 2:
			c.fault(path+lanes, "SG05", "Add another lane, or write its steps as they are.", "a %s needs at least two lanes", s.Node)
		case empty >= 0:
			c.fault(path+lanes+"/"+name, "SG05", "Take the lane out.", "lane %s is empty", name)
		case s.Race != nil && int(s.Race.First) > len(s.Lanes):
			c.fault(path+"/race/first", "SG01", "", "first is %d, but there are %d lanes", s.Race.First, len(s.Lanes))
		}
	case NodeChoose:
		if len(s.Lanes) == 1 {
			c.fault(path+"/choose", "SG05", "Add a branch with when: before it.", "choose has no branch but else")
		}
	case NodeEach, NodeScope, NodeRepeat:
		if empty >= 0 && name == LaneDo {
			c.fault(path+"/do", "SG05", "Add a step, or take it out.", "the body of %s is empty", s.ID)
		}
	case NodeAwait, NodeApprove:
		if empty >= 0 {
			c.fault(path+"/"+s.Node.String()+"/onTimeout", "SG05", "Write onTimeout: continue.", "the list of steps for the timeout is empty")
		}
	}
}

// whole says whether nothing at or below path is in the report already.
func (c *checker) whole(path string) bool {
	return !slices.ContainsFunc(c.r.found, func(f Finding) bool {
		return f.Path == path || strings.HasPrefix(f.Path, path+"/")
	})
}

// checkBranches reports conditions that always have the same answer.
func (c *checker) checkBranches(i int) {
	s, path := c.defs[i], c.paths[i]
	if value, known := c.plan.Steps[i].When.constant(); known && !value {
		c.warn(path+"/when", "SG05", "", "no run gets here, because the condition of %s is always false", s.ID)
	}
	if s.Node != NodeChoose {
		return
	}
	winner := -1
	for l := range s.Lanes {
		lane := &s.Lanes[l]
		at := path + "/choose/" + strconv.Itoa(l+1)
		if winner >= 0 {
			if lane.Name != LaneElse || len(lane.Steps) > 0 {
				c.fault(at, "SG05", "", "no run gets here, because branch %s (\"=%s\") always wins", s.Lanes[winner].Name, s.Lanes[winner].When)
			}
			continue
		}
		switch value, known := c.plan.Steps[i].Lanes[l].When.constant(); {
		case known && value:
			winner = l
		case known:
			c.fault(at+"/when", "SG05", "", "no run gets here, because the condition (\"=%s\") is always false", lane.When)
		}
	}
}

// constant is the value of a condition that reads nothing.
func (e *Expr) constant() (value, known bool) {
	if e == nil || e.refs.newer || e.refs.input || e.refs.now || e.refs.key || len(e.refs.steps) > 0 {
		return false, false
	}
	value, err := e.Bool(InputOnly("{}"))
	return value, err == nil
}

// checkList reports what is wrong with the order of one list: unknown names and cycles in after, and
// nodes behind an end.
func (c *checker) checkList(list []StepDef, nodes []int) {
	at := map[string]int{}
	for k := range list {
		if list[k].ID != "" {
			at[list[k].ID] = k
		}
	}
	edges := make([][]int, len(list))
	for k := range list {
		if list[k].After == nil && k > 0 {
			edges[k] = []int{k - 1}
		}
		for _, id := range list[k].After {
			if j, ok := at[id]; ok {
				edges[k] = append(edges[k], j)
			} else {
				c.unknownAfter(c.paths[c.index[list[k].ID]]+"/after", id, slices.Sorted(mapKeys(at)))
			}
		}
	}
	if cycle := findCycle(edges); cycle != nil {
		var ids []string
		for _, k := range cycle {
			ids = append(ids, list[k].ID)
		}
		c.fault("steps/"+ids[0]+"/after", "SG06", "", "cycle: %s", strings.Join(ids, " → "))
		return
	}
	for _, i := range nodes {
		if k := slices.IndexFunc(nodes, func(e int) bool { return c.ends[e] && c.order.waitsFor(i, e) }); k >= 0 {
			c.fault(c.paths[i], "SG05", "Take it out, or let "+c.defs[nodes[k]].ID+" depend on a condition.", "no run gets here, because %s always ends %s before it", c.defs[nodes[k]].ID, c.whatEnds(i))
			return // what follows is unreachable for the same reason
		}
	}
}

// whatEnds names what a node that ends everything behind it ends.
func (c *checker) whatEnds(i int) string {
	if s := c.around(i, NodeScope); s >= 0 {
		return "the saga or the body of " + c.defs[s].ID
	}
	return "the saga"
}

func mapKeys[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (c *checker) unknownAfter(path, id string, known []string) {
	hint := ""
	if near := nearest.Name(id, known); near != "" {
		hint = fmt.Sprintf("Did you mean %q?", near)
	} else if _, elsewhere := c.index[id]; elsewhere {
		hint = "after: orders the steps of one list; wait for the block around " + id + "."
	}
	c.fault(path, "SG07", hint, "there is no step %q in this list", id)
}

// findCycle gives the vertices of a cycle, the first one again at the end; nil when there is none.
func findCycle(edges [][]int) []int {
	state := make([]uint8, len(edges)) // 1 = on the current path, 2 = in no cycle
	var path, cycle []int
	var visit func(v int) bool
	visit = func(v int) bool {
		state[v] = 1
		path = append(path, v)
		for _, w := range edges[v] {
			if state[w] == 1 {
				cycle = append(slices.Clone(path[slices.Index(path, w):]), w)
				return true
			}
			if state[w] == 0 && visit(w) {
				return true
			}
		}
		state[v] = 2
		path = path[:len(path)-1]
		return false
	}
	for v := range edges {
		if state[v] == 0 && visit(v) {
			return cycle
		}
	}
	return nil
}

// weight is the most steps that node i can have at a time, going by the weights of its body, and
// reports an each or a repeat that could have more than an instance holds. It saturates.
func (c *checker) weight(i int, weights []int) int {
	s, w, owing := c.defs[i], 1, 0
	body := 0
	for l := range s.Lanes {
		for _, x := range c.plan.Steps[i].Lanes[l].Steps {
			body += weights[x]
		}
	}
	for x := i + 1; x < c.plan.Steps[i].End; x++ {
		if c.owes(x) {
			owing++
		}
	}
	switch {
	case s.Each != nil:
		w += body * int(s.Each.Max)
		if w > MaxPaths && body <= MaxPaths {
			c.fault(c.paths[i]+"/each/max", "SG27", "Lower max, or start a child saga for each part of the list.",
				"%d items of %s have %d steps, the limit is %d", s.Each.Max, plural(body, "step"), w-1, MaxPaths)
		}
	case s.Repeat != nil && owing > 0 && int(s.Repeat.Rounds)*owing > MaxPaths:
		c.fault(c.paths[i]+"/repeat/rounds", "SG28", "Lower rounds, or take the step that owes out of it.",
			"%d rounds can leave %s to undo, the limit is %d", s.Repeat.Rounds, plural(int(s.Repeat.Rounds)*owing, "effect"), MaxPaths)
		w += body
	default:
		w += body
	}
	return min(w, 1<<40)
}

// owes says whether node i can leave something to undo.
func (c *checker) owes(i int) bool {
	s := c.defs[i]
	return s.Undo != nil || s.Saga != nil && s.Saga.Reversible
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkUndoOrder checks the edges of undo.after.
func (c *checker) checkUndoOrder() {
	// The vertices are two for each node i: 2i is "undoing in it may begin", 2i+1 "it is out of debt".
	// An edge says what waits for what.
	edges := make([][]int, 2*len(c.defs))
	for i := range c.defs {
		s := &c.plan.Steps[i]
		edges[2*i+1] = append(edges[2*i+1], 2*i)
		for _, d := range s.Dependents {
			edges[2*i] = append(edges[2*i], 2*d+1)
		}
		if s.Parent >= 0 {
			edges[2*i] = append(edges[2*i], 2*s.Parent)
			edges[2*s.Parent+1] = append(edges[2*s.Parent+1], 2*i+1)
		}
	}
	any := false
	for i, def := range c.defs {
		if def.Undo == nil {
			continue
		}
		for k, id := range def.Undo.After {
			if j, ok := c.undoTarget(i, id, c.paths[i]+"/undo/after/"+strconv.Itoa(k)); ok {
				edges[2*i] = append(edges[2*i], 2*j+1)
				any = true
			}
		}
	}
	if !any {
		return
	}
	cycle := findCycle(edges)
	if cycle == nil {
		return
	}
	var ids []string
	for _, v := range cycle {
		if id := c.defs[v/2].ID; len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	if len(ids) == 1 {
		ids = append(ids, ids[0])
	}
	first := slices.IndexFunc(cycle, func(v int) bool { def := c.defs[v/2]; return def.Undo != nil && len(def.Undo.After) > 0 })
	c.fault(c.paths[cycle[max(first, 0)]/2]+"/undo/after", "SG06", "The undo of a step waits for all that depend on it anyway.", "cycle of undos: %s", strings.Join(ids, " → "))
}

// undoTarget is the node that undo.after of node i names.
func (c *checker) undoTarget(i int, id, path string) (int, bool) {
	j, ok := c.index[id]
	if !ok {
		hint := ""
		if near := nearest.Name(id, c.names); near != "" {
			hint = fmt.Sprintf("Did you mean %q?", near)
		}
		c.fault(path, "SG07", hint, "there is no step %q", id)
		return -1, false
	}
	for p := c.plan.Steps[j].Parent; p >= 0; p = c.plan.Steps[p].Parent {
		switch c.defs[p].Node {
		case NodeParallel, NodeChoose:
			continue
		}
		if !c.order.inside(i, p) {
			c.fault(path, "SG07", "Name "+c.defs[p].ID+".", "%s is inside %s, where it can run more than once or not at all", id, c.defs[p].ID)
			return -1, false
		}
	}
	return j, true
}
