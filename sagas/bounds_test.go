package sagas

import (
	"fmt"
	"strings"
	"testing"
)

// Whatever a text of the largest size says, the work of reading and checking it is bounded: nodes,
// expressions and climbs through the tree are counted, and no clock is asked.
func TestHostileDefinitionsCostLittle(t *testing.T) {
	head := "saga: t\nversion: 1\nparticipants: {p: {ops: [do, undo]}}\nsteps:\n"
	lines := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	call := func(i int, more string) string {
		return fmt.Sprintf("{id: n%d, call: p.x, undo: {call: p.y}%s}", i, more)
	}
	fill := func(text string) string { return strings.Repeat(text, (MaxDefinitionBytes-1024)/len(text)) }
	for name, src := range map[string]string{
		"more nodes than a definition may have": head + fill("- {id: a, call: p.x}\n"),
		"nodes in every lane":                   head + lines(MaxLanes, func(i int) string { return fmt.Sprintf("- {id: b%d, parallel: {%s}}\n", i, laneText(i)) }),
		"lanes without end":                     head + "- {id: a, parallel: {" + fill("a: [], ") + "}}\n",
		"nested without end":                    head + "- " + strings.Repeat("{id: a, scope: {catch: {on: ['*'], do: []}}, do: [", 60) + strings.Repeat("]}", 60) + "\n",
		"every node a pivot":                    head + lines(MaxSteps, func(i int) string { return fmt.Sprintf("- {id: n%d, call: p.x, kind: pivot, when: =input.a}\n", i) }),
		"pivots in branches, debts behind": head + "- id: way\n  choose:\n  - when: =input.a\n    do:\n" +
			lines(240, func(i int) string { return fmt.Sprintf("    - {id: p%d, call: p.x, kind: pivot}\n", i) }) + "  - else: []\n" +
			lines(240, func(i int) string { return "- " + call(i, "") + "\n" }),
		"everything waits for everything": head + lines(MaxSteps, func(i int) string {
			return "- " + call(i, ", after: ["+lines(min(i, 120), func(k int) string { return fmt.Sprintf("n%d, ", i-1-k) })+"]") + "\n"
		}),
		"a long cycle": head + lines(MaxSteps, func(i int) string {
			return "- " + call(i, fmt.Sprintf(", after: [n%d]", (i+1)%MaxSteps)) + "\n"
		}),
		"undo edges": head + lines(MaxSteps, func(i int) string {
			return fmt.Sprintf("- {id: n%d, call: p.x, undo: {call: p.y, after: [%s]}}\n", i, lines(60, func(k int) string { return fmt.Sprintf("n%d, ", (i+k)%MaxSteps) }))
		}),
		"references to everything": head + lines(200, func(i int) string {
			return fmt.Sprintf("- {id: n%d, call: p.x, kind: readonly, keep: [v], with: {v: '=[%s]'}}\n", i, lines(20, func(k int) string { return fmt.Sprintf("step.n%d.v, ", (i*7+k*11)%200) }))
		}),
		"an each in an each": head + "- " + eachText(0) + "\n",
		"expressions":        head + "- {id: a, call: p.x, kind: readonly, with: {" + lines(MaxExpressions+500, func(i int) string { return fmt.Sprintf("f%d: =input.a+1, ", i) }) + "}}\n",
		"long expressions":   head + "- {id: a, call: p.x, kind: readonly, with: [" + fill("'="+strings.Repeat("[1].map(a,", 30)+"a"+strings.Repeat(")", 30)+"', ") + "]}\n",
		"tags and outputs":   head + "- {id: a, call: p.x, kind: readonly}\noutput: {" + lines(2_000, func(i int) string { return fmt.Sprintf("f%d: =step.nix%d, ", i, i) }) + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			if len(src) > MaxDefinitionBytes {
				t.Fatalf("the text has %d bytes, it is not read at all", len(src))
			}
			r := newReport("hostile", []byte(src))
			for _, n := range readNodes(r, []byte(src)) {
				if !n.isMap {
					continue
				}
				dec := newDecoder(r, n)
				dec.definition(n)
				if dec.count > 2*MaxSteps {
					t.Errorf("%d nodes were read", dec.count)
				}
				c := newChecker(r, dec.d)
				c.check()
				if len(c.defs) > MaxSteps {
					t.Errorf("%d nodes were compiled", len(c.defs))
				}
				if most := strings.Count(src, "="); c.exprs > most {
					t.Errorf("%d expressions were counted, there are %d", c.exprs, most)
				}
				if c.exprs > MaxExpressions && len(r.found) == 0 {
					t.Errorf("%d expressions are accepted", c.exprs)
				}
				refs := strings.Count(src, "step.")
				if most := 4 * (MaxSteps*MaxSteps + refs) * (2*MaxNodeDepth + 1); *c.order.work > most {
					t.Errorf("%d steps of climbing, want at most %d", *c.order.work, most)
				}
			}
			if len(r.found) > 10*maxFindings {
				t.Errorf("%d findings", len(r.found))
			}
		})
	}
}

func laneText(i int) string {
	var b strings.Builder
	for l := range 7 {
		fmt.Fprintf(&b, "l%d: [{id: n%d_%d, call: p.x, undo: {call: p.y}}], ", l, i, l)
	}
	return b.String()
}

func eachText(depth int) string {
	body := fmt.Sprintf("{id: leaf%d, set: {v: =it%d}}", depth, depth)
	if depth < MaxNodeDepth-1 {
		body = eachText(depth + 1)
	}
	return fmt.Sprintf("{id: e%d, each: {in: =input.a, as: it%d, key: =it%d.k, max: 1000}, do: [%s]}", depth, depth, depth, body)
}
