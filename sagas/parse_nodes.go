package sagas

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/internal/nearest"
)

// commonFields belong to every node.
var commonFields = []string{"id", "when", "after", "why"}

// nodeFields are the fields of each kind of node, beside the common ones.
var nodeFields = [...][]string{
	NodeCall:     callFields,
	NodeParallel: {"parallel"},
	NodeChoose:   {"choose"},
	NodeEach:     {"each", "do"},
	NodeRace:     {"race", "lanes"},
	NodeScope:    {"scope", "do"},
	NodeRepeat:   {"repeat", "do"},
	NodeSaga:     {"saga", "kind", "keep"},
	NodeAwait:    {"await", "keep"},
	NodeSleep:    {"sleep"},
	NodeApprove:  {"approve"},
	NodeEmit:     {"emit"},
	NodeSet:      {"set"},
	NodeFail:     {"fail"},
	NodeFinish:   {"finish"},
	NodeContinue: {"continue"},
}

func (dec *decoder) steps(n *node) {
	s := n.child("steps")
	if s == nil || s.isList && len(s.items) == 0 {
		dec.fault(n.at, "SG01", "steps", "", "a saga needs at least one step")
		return
	}
	if !s.isList {
		dec.fault(s.at, "SG01", "steps", "Each step starts with a dash.", "steps must be a list, got %s", s.kind())
		return
	}
	dec.first = map[string]at{}
	dec.d.Steps = dec.list(s, "steps", 1)
}

// list reads a list of nodes; depth is that of the nodes in it. An empty list is nil.
func (dec *decoder) list(n *node, path string, depth int) []StepDef {
	if !n.isList {
		dec.fault(n.at, "SG01", path, "Each step starts with a dash.", "%s must be a list of steps, got %s", path[strings.LastIndexByte(path, '/')+1:], n.kind())
		return nil
	}
	if depth > MaxNodeDepth {
		dec.fault(n.at, "SG01", path, "", "steps are nested deeper than %d levels", MaxNodeDepth)
		return nil
	}
	var list []StepDef
	for i, x := range n.items {
		if dec.count++; dec.count > MaxSteps {
			if dec.count == MaxSteps+1 {
				dec.fault(x.at, "SG01", path, "", "more than %d steps", MaxSteps)
			}
			return list
		}
		if st, ok := dec.step(x, join(path, strconv.Itoa(i)), depth); ok {
			list = append(list, st)
		}
	}
	for i := range list {
		list[i].After = afterOf(list, i)
	}
	return list
}

// afterOf is the After of a node of a list, nil when it says what holds anyway: a node waits for the
// one before it.
func afterOf(list []StepDef, i int) []string {
	after := list[i].After
	if after == nil || i == 0 && len(after) == 0 || i > 0 && len(after) == 1 && after[0] == list[i-1].ID {
		return nil
	}
	return after
}

// step reads one node. path is its position; once its id is known, the id names it.
func (dec *decoder) step(n *node, path string, depth int) (st StepDef, ok bool) {
	if !n.isMap {
		dec.fault(n.at, "SG01", path, "", "a step must be a map, got %s", n.kind())
		return st, false
	}
	st.Kind = Compensatable
	path, idAt := dec.stepID(n, path, &st)
	kind, ok := dec.nodeKind(n, path)
	if !ok {
		return st, false
	}
	st.Node = kind
	dec.src.places[path] = idAt
	dec.fields(n, path, kind.String(), slices.Concat(commonFields[:1], nodeFields[kind], commonFields[1:]), nil)
	dec.src.places[path+"/id"] = idAt
	st.When = dec.expression(n.child("when"), path+"/when")
	if after := n.child("after"); after != nil {
		st.After = append([]string{}, dec.strings(after, path+"/after", "after")...)
		slices.Sort(st.After)
	}
	if why := n.child("why"); why != nil {
		st.Why, _ = dec.str(why, path+"/why", "why")
	}
	switch v := n.child(kind.String()); kind {
	case NodeCall:
		dec.callNode(n, path, &st)
	case NodeParallel:
		st.Lanes = dec.lanes(v, path+"/parallel", "parallel", depth)
	case NodeChoose:
		st.Lanes = dec.choose(v, path+"/choose", depth)
	case NodeEach:
		st.Each = dec.each(v, path+"/each")
		st.Lanes = dec.body(n, path, depth)
	case NodeRace:
		dec.race(n, v, path, &st, depth)
	case NodeScope:
		dec.scope(n, v, path, &st, depth)
	case NodeRepeat:
		st.Repeat = dec.repeat(v, path+"/repeat")
		st.Lanes = dec.body(n, path, depth)
	case NodeSaga:
		st.Kind = dec.kind(n.child("kind"), path)
		st.Keep = dec.keep(n.child("keep"), path+"/keep")
		st.Saga = dec.child(v, path+"/saga")
	case NodeAwait:
		st.Keep = dec.keep(n.child("keep"), path+"/keep")
		dec.await(v, path+"/await", &st, depth)
	case NodeSleep:
		st.Sleep = dec.sleep(v, path+"/sleep")
	case NodeApprove:
		dec.approve(v, path+"/approve", &st, depth)
	case NodeEmit:
		st.Emit = dec.emit(v, path+"/emit")
	case NodeSet:
		st.Set = dec.set(v, path+"/set")
	case NodeFail:
		st.Fail = dec.failNode(v, path+"/fail")
	case NodeFinish:
		st.Finish = &FinishDef{Code: dec.code(v, path+"/finish", "finish")}
	case NodeContinue:
		st.Continue = dec.continueNode(v, path+"/continue")
	}
	return st, true
}

// stepID reads the id of a node and gives the path of its findings and its place. A doubled id is
// dropped: one id, one step, and references mean the first.
func (dec *decoder) stepID(n *node, path string, st *StepDef) (string, at) {
	id := n.child("id")
	if id == nil {
		dec.fault(n.at, "SG01", path, "Add id:, it names the step in expressions and in the history.", "id is missing")
		return path, n.at
	}
	s, ok := dec.str(id, path+"/id", "id")
	if !ok {
		return path, n.at
	}
	if why := stepName.check(s); why != "" {
		dec.fault(id.at, "SG03", path+"/id", "", "%s", why)
		return path, id.at
	}
	if p, dup := dec.first[s]; dup {
		dec.fault(id.at, "SG02", "steps/"+s, "", "id %q is already used at line %d", s, p.line)
		return path, id.at
	}
	dec.first[s] = id.at
	st.ID = s
	return "steps/" + s, id.at
}

// nodeKind is the one field that says what the node is.
func (dec *decoder) nodeKind(n *node, path string) (NodeKind, bool) {
	kind, found := NodeCall, false
	for _, e := range n.entries {
		i := slices.Index(nodeNames[:], e.key)
		if i < 0 {
			continue
		}
		if found {
			dec.fault(e.at, "SG01", path, "Make them two steps.", "a step cannot be both %s and %s", kind, e.key)
			return kind, false
		}
		kind, found = NodeKind(i), true
	}
	return kind, true
}

// body reads the lane that each, scope and repeat run.
func (dec *decoder) body(n *node, path string, depth int) []LaneDef {
	do := n.child("do")
	if do == nil {
		dec.fault(n.at, "SG01", path, "Add do: with a list of steps.", "do is missing")
		return nil
	}
	return []LaneDef{{Name: LaneDo, Steps: dec.list(do, path+"/do", depth+1)}}
}

// required is a field that must be there.
func (dec *decoder) required(n *node, path, key, hint string) *node {
	v := n.child(key)
	if v == nil {
		dec.fault(n.at, "SG01", path, hint, "%s is missing", key)
	}
	return v
}

// integer reads an optional whole number.
func (dec *decoder) integer(n *node, path, key string, def, low, high uint32) uint32 {
	v := n.child(key)
	if v == nil {
		return def
	}
	i, ok := v.scalar.(int64)
	if !ok || i < int64(low) || i > int64(high) {
		dec.fault(v.at, "SG01", join(path, key), "", "%s must be an integer from %d to %d", key, low, high)
		return def
	}
	return uint32(i)
}

// choice reads an optional word; names[0] stands for none. def is returned without one.
func (dec *decoder) choice(n *node, path, what string, names []string, def int) int {
	if n == nil {
		return def
	}
	s, ok := dec.str(n, path, what)
	if !ok {
		return def
	}
	if i := slices.Index(names, s); i > 0 {
		return i
	}
	hint := "Use one of " + strings.Join(names[1:], ", ") + "."
	if near := nearest.Name(s, names[1:]); near != "" {
		hint = fmt.Sprintf("Did you mean %q?", near)
	}
	dec.fault(n.at, "SG01", path, hint, "%q is not a value of %s", s, what)
	return def
}
