package sagasgen

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/amendsio/amends/sagas"
)

// MaxNodes is the most nodes of a drawn definition.
const MaxNodes = 12

// Draw gives a number from 0 to n-1. what says what it is for.
type Draw func(what string, n int) int

// Options narrow what is drawn. The zero value draws everything.
type Options struct {
	Kinds []sagas.NodeKind // nodes beside calls; nil = all
	Nodes int              // most nodes; 0 = MaxNodes
}

// Definition draws the text of a valid definition, as JSON. It is of level 1 when only plain calls were
// drawn.
func Definition(draw Draw, o Options) string {
	g := &gen{draw: draw, kinds: o.Kinds, left: MaxNodes}
	if o.Kinds == nil {
		for k := sagas.NodeParallel; k <= sagas.NodeContinue; k++ {
			g.kinds = append(g.kinds, k)
		}
	}
	if o.Nodes > 0 {
		g.left = min(o.Nodes, MaxNodes)
	}
	return string(g.definition())
}

// tree is a JSON object. Its text has the keys in order.
type tree map[string]any

type gen struct {
	draw  Draw
	kinds []sagas.NodeKind
	left  int // nodes that may still be drawn
	named int // ids given so far
}

// phase says what may stand in a place.
type phase uint8

const (
	before  phase = iota // a pivot comes later: what fails is undone
	after                // a pivot came before: nothing may fail
	without              // the saga has no pivot
)

// place is where nodes are drawn.
type place struct {
	phase phase
	depth int
	items []string // names of the items around it
	round bool     // inside a round
	race  bool     // inside a race or an each: the run must not end here
	seen  []string // expressions that surely have a value here
}

func (g *gen) definition() []byte {
	d := tree{"saga": "drawn", "version": 1, "participants": tree{
		"svc": tree{"ops": []string{"do", "undo", "inquire"}}, "psp": tree{"ops": []string{"do", "undo"}, "keyWindow": "1d"}}}
	if g.chance("deadline", 3) {
		d["deadline"] = []string{"1d", "10m"}[g.draw("deadline of", 2)]
	}
	if len(g.kinds) > 0 && g.chance("policies", 4) {
		d["onFailure"] = []string{"drain", "eager"}[g.draw("onFailure", 2)]
		d["reuse"] = []string{"never", "afterFailed", "always"}[g.draw("reuse", 3)]
		d["tags"] = tree{"shop": "=input.?shop.orValue(\"web\")"}
	}
	p := place{phase: without}
	pivot := g.draw("pivot", 3) > 0
	if pivot {
		p.phase = before
		g.left-- // the pivot itself
	}
	steps := g.list(&p, 5)
	if pivot {
		g.left++
		steps = append(steps, g.pivot(&p))
		p.phase = after
		steps = append(steps, g.some(&p, 0, 3)...)
		if g.left > 0 && g.may(sagas.NodeContinue) && g.sure(steps) && g.chance("continue", 4) {
			next := g.node(&p)
			next["continue"] = tree{"input": tree{"n": "=input.?n.orValue(0) + 1"}}
			next["when"] = "=input.?n.orValue(0) < 1"
			steps = append(steps, next)
		}
	}
	if len(steps) == 0 {
		steps = append(steps, g.call(&p))
	}
	d["steps"] = steps
	d["output"] = tree{"n": "=input.?n.orValue(0)"}
	out, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		panic("sagasgen: " + err.Error()) // a tree of maps, lists, texts and numbers
	}
	return out
}

// chance is true once in n draws, and never when all draws are 0.
func (g *gen) chance(what string, n int) bool { return g.draw(what, n) == n-1 }

func (g *gen) may(k sagas.NodeKind) bool { return slices.Contains(g.kinds, k) }

// sure says whether the pivot among the steps of the saga surely ran.
func (g *gen) sure(steps []tree) bool {
	return slices.ContainsFunc(steps, func(s tree) bool { return s["kind"] == "pivot" })
}

func (g *gen) id() string {
	g.named++
	return fmt.Sprintf("n%d", g.named)
}

// node begins a node: an id, and now and then a condition.
func (g *gen) node(p *place) tree {
	g.left--
	return tree{"id": g.id()}
}

// list draws a list of at least one node, if there are nodes left, and now and then frees its order.
func (g *gen) list(p *place, most int) []tree {
	outer := len(p.seen)
	list := g.some(p, 1, most)
	if p.phase == after || len(list) < 2 || p.depth == 0 && p.phase == before || len(g.kinds) == 0 || !g.chance("after", 4) {
		g.undoAfter(list)
		return list
	}
	for k, n := range list {
		var ids []string
		for _, earlier := range list[:k] {
			if g.draw("edge", 2) == 1 {
				ids = append(ids, earlier["id"].(string))
			}
		}
		n["after"] = append([]string{}, ids...)
	}
	// What another one of the list leaves may not be there any more.
	p.seen = p.seen[:outer]
	for _, n := range list {
		withoutOutputs(n)
	}
	return list
}

// undoAfter adds an undo edge that the order of the list implies anyway, from a call to a later one.
func (g *gen) undoAfter(list []tree) {
	if len(list) < 2 || len(g.kinds) == 0 || !g.chance("undo.after", 6) {
		return
	}
	if u, ok := list[0]["undo"].(tree); ok {
		u["after"] = []string{list[len(list)-1]["id"].(string)}
	}
}

// withoutOutputs replaces what reads an output by what does not.
func withoutOutputs(v any) {
	switch v := v.(type) {
	case tree:
		for k, x := range v {
			if s, ok := x.(output); ok {
				v[k] = s.instead
			} else {
				withoutOutputs(x)
			}
		}
	case []tree:
		for _, x := range v {
			withoutOutputs(x)
		}
	}
}

// output is an expression that reads the output of another node.
type output struct{ text, instead string }

func (o output) MarshalText() ([]byte, error) { return []byte(o.text), nil }

// some draws low to high nodes, as far as there are nodes left.
func (g *gen) some(p *place, low, high int) []tree {
	list := []tree{}
	n := low + g.draw("nodes", high-low+1)
	for range n {
		if g.left <= 0 {
			break
		}
		list = append(list, g.any(p))
	}
	return list
}

// any draws one node of any kind that may stand here.
func (g *gen) any(p *place) tree {
	if len(g.kinds) == 0 || g.draw("node", 2) == 0 {
		return g.call(p)
	}
	kind := g.kinds[g.draw("kind of node", len(g.kinds))]
	if kind.Block() && (p.depth >= 3 || g.left < 2) {
		return g.call(p)
	}
	switch kind {
	case sagas.NodeParallel:
		if g.left > 2 {
			return g.parallel(p)
		}
	case sagas.NodeChoose:
		return g.choose(p)
	case sagas.NodeEach:
		return g.each(p)
	case sagas.NodeRace:
		if p.phase != after && g.left > 2 {
			return g.race(p)
		}
	case sagas.NodeScope:
		return g.scope(p)
	case sagas.NodeRepeat:
		return g.repeat(p)
	case sagas.NodeSaga:
		return g.saga(p)
	case sagas.NodeAwait:
		return g.await(p)
	case sagas.NodeSleep:
		n := g.node(p)
		n["sleep"] = []tree{{"for": "1m"}, {"for": "90s", "wake": []string{"go"}}, {"until": "=saga.now + duration(\"30s\")"}}[g.draw("sleep", 3)]
		return n
	case sagas.NodeApprove:
		if p.phase != after {
			return g.approve(p)
		}
	case sagas.NodeEmit:
		n := g.node(p)
		n["emit"] = tree{"topic": "drawn.events", "type": "Happened", "with": tree{"v": g.value(p)}}
		return g.maybe(p, n)
	case sagas.NodeSet:
		n := g.node(p)
		n["set"] = tree{"v": g.value(p), "w": 1}
		p.seen = append(p.seen, "step."+n["id"].(string)+".w")
		return n
	}
	return g.call(p) // fail, finish and continue stand at the end of branches
}

// maybe adds a condition now and then. The outputs of such a node are not used.
func (g *gen) maybe(p *place, n tree) tree {
	if g.chance("when", 4) {
		n["when"] = g.condition(p)
	}
	return n
}

func (g *gen) condition(p *place) string {
	conditions := []string{"=input.?n.orValue(0) > 0", "=input.?flag.orValue(true)"}
	if len(g.kinds) > 0 {
		conditions = append(conditions, "=signals.has(\"go\")")
	}
	if len(p.items) > 0 {
		conditions = append(conditions, "=index == 0", "="+p.items[len(p.items)-1]+".k != \"b\"")
	}
	if p.round {
		conditions = append(conditions, "=round.n == 1")
	}
	return conditions[g.draw("condition", len(conditions))]
}

// value is an expression or a literal.
func (g *gen) value(p *place) any {
	values := []any{1, "=input.?n.orValue(0)", "=saga.now"}
	if len(p.items) > 0 {
		values = append(values, "="+p.items[0]+".k")
	}
	if p.round {
		values = append(values, "=round.n")
	}
	if n := len(p.seen); n > 0 {
		values = append(values, output{"=" + p.seen[g.draw("seen", n)], "=input.?n.orValue(1)"})
	}
	return values[g.draw("value", len(values))]
}

// call draws a call that may stand here.
func (g *gen) call(p *place) tree {
	kinds := []string{"compensatable", "compensatable", "optional", "readonly"}
	switch p.phase {
	case after:
		kinds = []string{"retriable", "optional", "readonly"}
	case without:
		kinds = append(kinds, "retriable")
	}
	n := g.node(p)
	kind := kinds[g.draw("kind", len(kinds))]
	service := []string{"svc", "psp"}[g.draw("participant", 2)]
	n["call"] = service + ".do"
	n["kind"] = kind
	n["with"] = tree{"v": g.value(p)}
	if kind == "retriable" {
		if service == "psp" { // whose key window would end the retries
			n["call"] = "svc.do"
		}
	} else if g.chance("attempts", 3) {
		n["retry"] = tree{"attempts": 1 + g.draw("attempts of", 2)}
	}
	if kind == "compensatable" || kind == "optional" && g.chance("undo", 2) {
		if g.chance("no undo", 5) && kind == "compensatable" {
			n["why"] = "drawn without"
		} else {
			n["undo"] = tree{"call": service + ".undo", "with": tree{"v": "=step." + n["id"].(string) + ".?v"}}
		}
	}
	n["keep"] = []string{"v"}
	p.seen = append(p.seen, "step."+n["id"].(string)+".?v.orValue(1)")
	if len(g.kinds) > 0 {
		switch g.draw("extra", 6) {
		case 1:
			n["heartbeat"] = "3s"
		case 2:
			n["lease"] = "=saga.now + duration(\"720h\")"
		case 3:
			if kind == "compensatable" {
				n["onReject"] = "continue"
			}
		}
	}
	return g.maybe(p, n)
}

// pivot draws the point of no return, alone or in the branches of a choose.
func (g *gen) pivot(p *place) tree {
	if !g.may(sagas.NodeChoose) || g.left < 4 || !g.chance("pivot in a choose", 3) {
		n := g.node(p)
		n["call"], n["kind"] = "svc.commit", "pivot"
		return n
	}
	n := g.node(p)
	inner := g.inner(p)
	first := g.node(&inner)
	first["call"], first["kind"] = "svc.commit", "pivot"
	branches := []tree{{"when": "=input.?n.orValue(0) > 0", "do": []tree{first}}}
	last := g.node(&inner)
	switch g.draw("other branch", 3) {
	case 1:
		if g.may(sagas.NodeFail) {
			last["fail"] = "NO_PIVOT"
			break
		}
		fallthrough
	case 0:
		last["call"], last["kind"] = "svc.commit", "pivot"
	case 2:
		if g.may(sagas.NodeFinish) {
			last["finish"] = "EARLY"
		} else {
			last["call"], last["kind"] = "svc.commit", "pivot"
		}
	}
	n["choose"] = append(branches, tree{"else": []tree{last}})
	return n
}

// inner is the place inside a block.
func (g *gen) inner(p *place) place {
	in := *p
	in.depth++
	in.items = slices.Clone(p.items)
	in.seen = slices.Clone(p.seen)
	return in
}

func (g *gen) parallel(p *place) tree {
	n := g.node(p)
	lanes := tree{}
	for l := range 2 {
		in := g.inner(p)
		g.left -= 1 - l // a node is left for the lane that follows
		lanes[string(rune('a'+l))] = g.list(&in, 2)
		g.left += 1 - l
	}
	n["parallel"] = lanes
	return g.maybe(p, n)
}

func (g *gen) choose(p *place) tree {
	n := g.node(p)
	in, other := g.inner(p), g.inner(p)
	first := tree{"when": g.condition(p), "do": g.some(&in, 0, 2)}
	last := g.some(&other, 0, 2)
	if g.left > 0 && !p.race && g.chance("end", 3) {
		if e := g.end(p); e != nil {
			last = append(last, e)
		}
	}
	n["choose"] = []tree{first, {"else": last}}
	return n
}

// end draws a node that ends the run, or what is around it.
func (g *gen) end(p *place) tree {
	switch {
	case p.phase != after && g.may(sagas.NodeFail):
		n := g.node(p)
		n["fail"] = tree{"code": "DRAWN", "message": "a drawn failure"}
		return n
	case p.depth == 0 && g.may(sagas.NodeFinish):
		n := g.node(p)
		n["finish"] = "EARLY"
		return n
	}
	return nil
}

func (g *gen) each(p *place) tree {
	n := g.node(p)
	in := g.inner(p)
	in.race = true
	item := fmt.Sprintf("item%d", len(p.items))
	in.items = append(in.items, item)
	e := tree{"in": "=input.?list.orValue([{\"k\": \"a\"}, {\"k\": \"b\"}])", "as": item, "key": "=" + item + ".k", "max": 5, "atOnce": 1 + g.draw("atOnce", 3)}
	switch g.draw("onItemFailure", 3) {
	case 1:
		e["onItemFailure"] = "collect"
	case 2:
		e["onItemFailure"] = tree{"tolerate": 1}
	}
	n["each"] = e
	n["do"] = g.list(&in, 2)
	return g.maybe(p, n)
}

func (g *gen) race(p *place) tree {
	n := g.node(p)
	lanes := tree{}
	for l := range 2 {
		in := g.inner(p)
		in.race = true
		lanes[string(rune('a'+l))] = g.one(&in)
	}
	n["race"] = tree{"first": 1}
	n["lanes"] = lanes
	return n
}

// one is a list of one node that is no block.
func (g *gen) one(p *place) []tree { return []tree{g.call(p)} }

func (g *gen) scope(p *place) tree {
	n := g.node(p)
	s := tree{}
	in := g.inner(p)
	in.round = true
	how := g.draw("scope", 3)
	if how != 1 {
		s["retry"] = tree{"rounds": 2, "on": []string{"SOME"}, "wait": []string{"5s"}}
	}
	n["do"] = g.list(&in, 2)
	if how != 0 {
		catch := g.inner(p)
		s["catch"] = tree{"on": []string{"*"}, "do": g.some(&catch, 0, 1)}
	}
	n["scope"] = s
	return g.maybe(p, n)
}

func (g *gen) repeat(p *place) tree {
	n := g.node(p)
	in := g.inner(p)
	in.round = true
	r := tree{"rounds": 1 + g.draw("rounds", 3), "until": "=round.n >= 2 || input.?flag.orValue(false)"}
	if g.chance("wait", 2) {
		r["wait"] = []string{"10s"}
		r["wake"] = []string{"go"}
	}
	n["do"] = g.list(&in, 2)
	n["repeat"] = r
	return g.maybe(p, n)
}

func (g *gen) saga(p *place) tree {
	n := g.node(p)
	s := tree{"type": "child", "id": fmt.Sprintf("=input.?id.orValue(\"x\") + \"-%s\"", n["id"]), "input": tree{"v": g.value(p)}}
	kinds := []string{"compensatable", "optional", "readonly"}
	if p.phase == after {
		kinds = []string{"retriable", "optional"}
	}
	for _, item := range p.items {
		s["id"] = s["id"].(string) + " + \"-\" + " + item + ".k"
	}
	if p.round {
		s["id"] = s["id"].(string) + " + \"-\" + string(round.n)"
	}
	kind := kinds[g.draw("kind of child", len(kinds))]
	n["kind"] = kind
	if kind == "compensatable" {
		if g.draw("reversible", 3) < 2 {
			s["reversible"] = true
		} else {
			n["why"] = "drawn without"
		}
	}
	n["keep"] = []string{"v"}
	n["saga"] = s
	return n
}

func (g *gen) await(p *place) tree {
	n := g.node(p)
	a := tree{"signal": []string{"go", "stop"}[g.draw("signal", 2)], "within": "5m"}
	switch g.draw("event", 6) {
	case 0, 1:
		a["when"] = "=event != null"
	case 2, 3: // the value is that of others too, or its own
		value := `="all"`
		if g.draw("own value", 2) == 1 {
			value = `="` + n["id"].(string) + `"`
		}
		a = tree{"topic": "drawn.news", "match": "=event.k", "equals": value, "within": "5m"}
		if g.draw("condition", 2) == 1 {
			a["when"] = "=event != null && saga.now > timestamp(0)"
		}
	}
	how := g.draw("onTimeout", 3)
	if p.phase == after && how == 0 {
		how = 1
	}
	switch how {
	case 1:
		a["onTimeout"] = "continue"
	case 2:
		a["onTimeout"] = "continue"
		if g.left > 0 {
			in := g.inner(p)
			a["onTimeout"] = tree{"do": g.some(&in, 1, 1)}
		}
	}
	n["await"] = a
	n["keep"] = []string{"v"}
	return n
}

func (g *gen) approve(p *place) tree {
	n := g.node(p)
	a := tree{"roles": []string{"desk"}, "within": "10m", "quorum": 1 + g.draw("quorum", 2), "remindEvery": "4m"}
	if g.chance("four eyes", 3) {
		a["not"] = "=[input.?by.orValue(\"\")]"
	}
	if g.chance("continue after the timeout", 3) {
		a["onTimeout"] = "continue"
	}
	n["approve"] = a
	return n
}
