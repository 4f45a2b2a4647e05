package sagatest_test

import (
	"fmt"
	"strings"

	"github.com/amendsio/amends/sagas"
	"pgregory.net/rapid"
)

// drawBlockPlan draws a definition of calls inside blocks, and compiles it.
func drawBlockPlan(t *rapid.T) *sagas.Plan {
	g := &blockGen{t: t, left: rapid.IntRange(1, 12).Draw(t, "nodes")}
	return compile(t, g.definition())
}

// blockGen writes a definition text. Draws of 0 give the smallest one.
type blockGen struct {
	t     *rapid.T
	left  int // nodes that may still be drawn
	named int
	free  bool // lists may have any order: there is no pivot that has to come last
}

func (g *blockGen) draw(what string, n int) int { return rapid.IntRange(0, n-1).Draw(g.t, what) }

func (g *blockGen) id() string {
	g.named++
	g.left--
	return fmt.Sprintf("n%d", g.named)
}

func (g *blockGen) definition() string {
	pivot := g.draw("pivot", 3) == 2
	g.free = !pivot
	var b strings.Builder
	b.WriteString("saga: blocks\nversion: 1\n")
	switch g.draw("deadline", 5) {
	case 3:
		b.WriteString("deadline: 10m\n")
	case 4:
		b.WriteString("deadline: 1h\n")
	}
	if g.draw("eager", 4) == 3 {
		b.WriteString("onFailure: eager\n")
	}
	b.WriteString("participants:\n  svc: {ops: [do, undo, inquire]}\nsteps:\n")
	nodes := g.nodes(0, false, 4)
	if pivot {
		nodes = append(nodes, fmt.Sprintf("{id: %s, call: svc.pivot, kind: pivot, attempt: 10s, within: 1m, onUnknown: inquire}", g.id()))
		g.left = min(g.left, 4)
		if g.left > 0 && g.draw("after the pivot", 2) == 1 {
			nodes = append(nodes, g.nodes(0, true, 2)...)
		}
	}
	for _, n := range nodes {
		b.WriteString("- " + n + "\n")
	}
	return b.String()
}

// nodes draws the nodes of one list: at least one.
func (g *blockGen) nodes(depth int, committed bool, most int) []string {
	var out, ids []string
	count := 1 + g.draw("in the list", most)
	graph := g.free && count > 1 && g.draw("graph", 4) == 3
	for k := range count {
		if k > 0 && g.left <= 0 {
			break
		}
		id := g.id()
		n := g.node(id, depth, committed)
		if graph {
			var after []string
			for _, earlier := range ids {
				if g.draw("edge", 2) == 1 {
					after = append(after, earlier)
				}
			}
			n += ", after: [" + strings.Join(after, ", ") + "]"
		}
		ids = append(ids, id)
		out = append(out, "{id: "+id+", "+n+"}")
	}
	return out
}

func (g *blockGen) list(depth int, committed bool, most int) string {
	return "[" + strings.Join(g.nodes(depth, committed, most), ", ") + "]"
}

// node draws what stands behind the id of a node.
func (g *blockGen) node(id string, depth int, committed bool) string {
	if depth >= 3 || g.left < 1 || g.draw("block", 2) == 0 {
		return g.call(id, committed)
	}
	kinds := 6
	if committed {
		kinds = 4 // neither race nor scope
	}
	switch g.draw("kind of block", kinds) {
	case 0:
		return fmt.Sprintf("parallel: {a: %s, b: %s}", g.list(depth+1, committed, 2), g.list(depth+1, committed, 2))
	case 1:
		return fmt.Sprintf("choose: [{when: '=input.n > 2', do: %s}, {else: %s}]", g.list(depth+1, committed, 2), g.list(depth+1, committed, 2))
	case 2:
		on := []string{"fail", "collect", "{tolerate: 1}"}[g.draw("on item failure", 3)]
		return fmt.Sprintf("each: {in: '=input.list', as: i%s, key: '=i%s', atOnce: %d, max: 5, onItemFailure: %s}, do: %s",
			id, id, 1+g.draw("at once", 3), on, g.list(depth+1, committed, 2))
	case 3:
		wait := []string{"", ", wait: [0s, 7s]", ", wait: [30s]"}[g.draw("wait", 3)]
		return fmt.Sprintf("repeat: {rounds: %d, until: '=round.n >= 2 && input.n > 1'%s}, do: %s", 2+g.draw("rounds", 2), wait, g.list(depth+1, committed, 2))
	case 4:
		codes := []string{"['*']", "[REFUSED]", "[REFUSED, UNKNOWN, BROKEN]"}
		retry, catch := "", ""
		how := g.draw("scope", 3)
		if how != 1 {
			wait := []string{"", ", wait: [3s]"}[g.draw("scope wait", 2)]
			retry = fmt.Sprintf("retry: {rounds: %d, on: %s%s}", 2+g.draw("scope rounds", 2), codes[g.draw("on", 3)], wait)
		}
		body := g.list(depth+1, committed, 3)
		if how != 0 {
			lane := "[]"
			if g.left > 0 && g.draw("catch lane", 2) == 1 {
				lane = g.list(depth+1, committed, 1)
			}
			catch = fmt.Sprintf("catch: {on: %s, do: %s}", codes[g.draw("catch on", 3)], lane)
		}
		if retry != "" && catch != "" {
			retry += ", "
		}
		return fmt.Sprintf("scope: {%s%s}, do: %s", retry, catch, body)
	}
	return fmt.Sprintf("race: {first: 1}, lanes: {a: %s, b: %s}", g.list(depth+1, committed, 2), g.list(depth+1, committed, 2))
}

func (g *blockGen) call(id string, committed bool) string {
	kinds := []string{"compensatable", "compensatable", "compensatable", "optional", "readonly"}
	if committed {
		kinds = []string{"retriable", "optional"}
	}
	kind := kinds[g.draw("kind", len(kinds))]
	n := fmt.Sprintf("call: svc.do-%s, kind: %s, with: {n: '=input.n', key: '=key'}, attempt: 10s", id, kind)
	if kind == "compensatable" || kind == "optional" && g.draw("undo", 2) == 1 {
		n += fmt.Sprintf(", keep: [ref], undo: {call: svc.undo-%s, with: {ref: '=step.%s.?ref.orValue(\"\")'}}", id, id)
	}
	switch g.draw("extra", 8) {
	case 4:
		n += ", heartbeat: 4s"
	case 5:
		n += ", when: '=input.n > 1'"
	case 6:
		if kind == "compensatable" {
			n += ", onReject: continue"
		}
	case 7:
		n += ", onUnknown: inquire"
	}
	return n
}
