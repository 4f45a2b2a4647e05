package diagram

import (
	"fmt"
	"strings"
)

// backward are the undos of a list as a graph: which undo follows which, over all that has none.
type backward struct {
	nodes []*node     // with an undo of their own, in the order of the definition
	edges [][2]string // from the undo of one node to that of another
	last  []string    // undos that nothing follows
}

// newBackward makes the graph of the way back.
func newBackward(root *list) *backward {
	g := &backward{}
	_, g.last = g.list(root, nil)
	return g
}

// list adds the undos of a list. into are the undos behind which its own begin; it returns those
// that begin the list and those that end it; with none of its own it hands into on.
func (g *backward) list(l *list, into []string) (first, last []string) {
	outs := make([][]string, len(l.nodes)) // the undos that are done when the node is undone
	order := l.byColumn()
	for k := len(order) - 1; k >= 0; k-- {
		i := order[k]
		n := l.nodes[i]
		var from []string
		waited := false
		for j, deps := range l.deps {
			for _, d := range deps {
				if d == i && !l.nodes[j].final {
					waited = true
					from = union(from, outs[j])
				}
			}
		}
		if !waited {
			from = into
		}
		outs[i] = g.node(n, from, &first, into)
		if len(l.deps[i]) == 0 {
			last = union(last, outs[i])
		}
	}
	if len(l.nodes) == 0 {
		last = into
	}
	return first, last
}

func (g *backward) node(n *node, from []string, first *[]string, into []string) []string {
	own := from
	if n.inside {
		var out []string
		for _, ln := range n.lanes {
			if !ln.list.undo {
				continue
			}
			f, l := g.list(ln.list, from)
			*first = union(*first, f)
			out = union(out, l)
		}
		own = out
	}
	if n.undo == "" {
		return own
	}
	g.nodes = append(g.nodes, n)
	g.connect(own, n.title)
	if len(own) == 0 {
		*first = union(*first, []string{n.title})
	}
	return []string{n.title}
}

func (g *backward) connect(from []string, to string) {
	for _, f := range from {
		g.edges = append(g.edges, [2]string{f, to})
	}
}

func union(a, b []string) []string {
	for _, s := range b {
		found := false
		for _, x := range a {
			found = found || x == s
		}
		if !found {
			a = append(a[:len(a):len(a)], s)
		}
	}
	return a
}

// Mermaid is the picture as a Mermaid flowchart: the way forward and the way back as two subgraphs.
func (d *Diagram) Mermaid() string {
	var b strings.Builder
	m := &mermaidWriter{b: &b}
	fmt.Fprintf(&b, "---\ntitle: %s\n---\nflowchart TB\n", quoteYAML(d.def.Ref()))
	b.WriteString("  subgraph forward[\"forward\"]\n    direction LR\n    start([\"start\"])\n")
	m.list(d.root, "    ")
	if !d.root.ends {
		b.WriteString("    completed([\"completed\"])\n")
	}
	if len(d.root.nodes) > 0 {
		for _, i := range d.root.heads() {
			fmt.Fprintf(&b, "    start --> %s\n", nodeID(d.root.nodes[i]))
		}
		if !d.root.ends {
			for _, i := range d.root.tails() {
				fmt.Fprintf(&b, "    %s --> completed\n", nodeID(d.root.nodes[i]))
			}
		}
	}
	b.WriteString("  end\n")
	if d.root.undo {
		g := newBackward(d.root)
		b.WriteString("  subgraph back[\"undo, last first\"]\n    direction RL\n    undone([\"undone\"])\n")
		for _, n := range g.nodes {
			fmt.Fprintf(&b, "    u_%s[\"↶ %s<br/>undoes %s\"]:::undo\n", n.title, mermaidText(n.undo), n.title)
		}
		for _, e := range g.edges {
			fmt.Fprintf(&b, "    u_%s -.-> u_%s\n", e[0], e[1])
		}
		for _, id := range g.last {
			fmt.Fprintf(&b, "    u_%s -.-> undone\n", id)
		}
		b.WriteString("  end\n  forward -.->|\"on failure, cancel or deadline\"| back\n")
	}
	b.WriteString("  classDef pivot stroke:#a3123a,stroke-width:3px\n  classDef optional stroke-dasharray:4 3\n  classDef undo fill:#fffaf2,stroke:#96500a,color:#5c3206\n")
	return b.String()
}

type mermaidWriter struct{ b *strings.Builder }

// nodeID is the name of a node in Mermaid and DOT; a bare id could be a word of theirs.
func nodeID(n *node) string { return "n_" + n.title }

// laneID is the name of lane i of a node.
func laneID(n *node, i int) string { return fmt.Sprintf("l%d_%s", i+1, n.title) }

func (m *mermaidWriter) list(l *list, indent string) {
	for _, i := range l.byColumn() {
		m.node(l.nodes[i], indent)
	}
	for i, deps := range l.deps {
		for _, dep := range deps {
			arrow := "-->"
			if l.nodes[dep].pivot {
				arrow = "==>|\"point of no return\"|"
			}
			fmt.Fprintf(m.b, "%s%s %s %s\n", indent, nodeID(l.nodes[dep]), arrow, nodeID(l.nodes[i]))
		}
	}
}

func (m *mermaidWriter) node(n *node, indent string) {
	lines := []string{n.title}
	if n.pill != "" {
		lines[0] += " · " + n.pill
	}
	if n.detail != "" {
		lines = append(lines, n.detail)
	}
	if n.when != "" {
		lines = append(lines, "if "+n.when)
	}
	for i := range lines {
		lines[i] = mermaidText(lines[i])
	}
	if len(n.lanes) == 0 {
		open, shut := "[", "]"
		if n.def.Await != nil || n.def.Sleep != nil || n.def.Approve != nil {
			open, shut = "([", "])"
		}
		class := ""
		switch n.pill {
		case "pivot", "optional":
			class = ":::" + n.pill
		}
		fmt.Fprintf(m.b, "%s%s%s\"%s\"%s%s\n", indent, nodeID(n), open, strings.Join(lines, "<br/>"), shut, class)
		return
	}
	fmt.Fprintf(m.b, "%ssubgraph %s[\"%s\"]\n%s  direction LR\n", indent, nodeID(n), strings.Join(lines, " "), indent)
	for i, ln := range n.lanes {
		id := laneID(n, i)
		label := ln.label
		if label == "" {
			label = ln.def.Name
		}
		fmt.Fprintf(m.b, "%s  subgraph %s[\"%s\"]\n%s    direction LR\n", indent, id, mermaidText(label), indent)
		m.list(ln.list, indent+"    ")
		if len(ln.list.nodes) == 0 {
			fmt.Fprintf(m.b, "%s    e%s([\"nothing\"])\n", indent, id)
		}
		fmt.Fprintf(m.b, "%s  end\n", indent)
	}
	fmt.Fprintf(m.b, "%send\n", indent)
}

// mermaidText makes s fit for a quoted label.
func mermaidText(s string) string {
	return strings.NewReplacer("&", "#amp;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "#", "#35;", "`", "#96;").Replace(oneLine(s))
}

func quoteYAML(s string) string { return `"` + s + `"` }

// DOT is the picture for Graphviz.
func (d *Diagram) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", dotText(d.def.Ref()))
	b.WriteString("  rankdir=LR; compound=true; newrank=true; fontname=\"Helvetica\"\n")
	b.WriteString("  node [shape=box, style=\"rounded\", fontname=\"Helvetica\", fontsize=11]\n  edge [fontname=\"Helvetica\", fontsize=10]\n")
	w := &dotWriter{b: &b}
	b.WriteString("  start [shape=circle, label=\"\", width=0.2, style=filled, fillcolor=gray40, xlabel=\"start\"]\n")
	ends := w.list(d.root, "  ", []string{"start"})
	if !d.root.ends {
		b.WriteString("  completed [shape=doublecircle, label=\"\", width=0.18, xlabel=\"completed\"]\n")
		w.connect("  ", ends, "completed", "")
	}
	if d.root.undo {
		g := newBackward(d.root)
		b.WriteString("  subgraph cluster_back {\n    label=\"undo, last first\"; color=orange4; fontcolor=orange4; style=dashed\n")
		for _, n := range g.nodes {
			fmt.Fprintf(&b, "    u_%s [label=%s, color=orange4]\n", n.title, dotText("↶ "+n.undo+"\nundoes "+n.title))
		}
		b.WriteString("    undone [shape=doublecircle, label=\"\", width=0.18, xlabel=\"undone\", color=orange4]\n")
		for _, e := range g.edges {
			fmt.Fprintf(&b, "    u_%s -> u_%s [style=dashed, color=orange4]\n", e[0], e[1])
		}
		for _, id := range g.last {
			fmt.Fprintf(&b, "    u_%s -> undone [style=dashed, color=orange4]\n", id)
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return b.String()
}

type dotWriter struct{ b *strings.Builder }

// list writes the nodes of a list and the lines to them. It returns where the lines behind it start.
func (w *dotWriter) list(l *list, indent string, from []string) []string {
	ends := make([][]string, len(l.nodes))
	for _, i := range l.byColumn() {
		in := from
		label := ""
		if len(l.deps[i]) > 0 {
			in = nil
			for _, d := range l.deps[i] {
				in = union(in, ends[d])
				if l.nodes[d].pivot {
					label = "point of no return"
				}
			}
		}
		ends[i] = w.node(l.nodes[i], indent, in, label)
	}
	if len(l.nodes) == 0 {
		return from
	}
	if l.ends {
		return nil
	}
	var out []string
	for _, i := range l.tails() {
		out = union(out, ends[i])
	}
	return out
}

func (w *dotWriter) node(n *node, indent string, from []string, label string) []string {
	text := n.title
	if n.pill != "" {
		text += " · " + n.pill
	}
	if n.detail != "" {
		text += "\n" + oneLine(n.detail)
	}
	if n.when != "" {
		text += "\nif " + oneLine(n.when)
	}
	id := nodeID(n)
	if !n.block() {
		more := ""
		if n.pivot {
			more = ", penwidth=3, color=crimson"
		} else if n.pill == "optional" {
			more = ", style=\"rounded,dashed\""
		}
		fmt.Fprintf(w.b, "%s%s [label=%s%s]\n", indent, id, dotText(text), more)
		w.connect(indent, from, id, label)
		out := []string{id}
		for i, ln := range n.lanes {
			fmt.Fprintf(w.b, "%ssubgraph cluster_%s {\n%s  label=%s; style=dashed\n", indent, laneID(n, i), indent, dotText(ln.label))
			out = union(out, w.list(ln.list, indent+"  ", []string{id}))
			fmt.Fprintf(w.b, "%s}\n", indent)
		}
		return out
	}
	fmt.Fprintf(w.b, "%ssubgraph cluster_%s {\n%s  label=%s; style=rounded\n", indent, id, indent, dotText(text))
	fmt.Fprintf(w.b, "%s  %s [shape=point, width=0.08]\n", indent, id)
	var out []string
	for i, ln := range n.lanes {
		fmt.Fprintf(w.b, "%s  subgraph cluster_%s {\n%s    label=%s; style=dotted\n", indent, laneID(n, i), indent, dotText(ln.label))
		entry := laneID(n, i)
		fmt.Fprintf(w.b, "%s    %s [shape=point, width=0.05]\n", indent, entry)
		w.connect(indent+"    ", []string{id}, entry, "")
		out = union(out, w.list(ln.list, indent+"    ", []string{entry}))
		fmt.Fprintf(w.b, "%s  }\n", indent)
	}
	fmt.Fprintf(w.b, "%s}\n", indent)
	w.connect(indent, from, id, label)
	if len(out) == 0 {
		return nil
	}
	end := "e_" + n.title
	fmt.Fprintf(w.b, "%s%s [shape=point, width=0.08]\n", indent, end)
	w.connect(indent, out, end, "")
	return []string{end}
}

func (w *dotWriter) connect(indent string, from []string, to, label string) {
	for _, f := range from {
		more := ""
		if label != "" {
			more = " [label=" + dotText(label) + ", color=crimson]"
		}
		fmt.Fprintf(w.b, "%s%s -> %s%s\n", indent, f, to, more)
	}
}

// dotText is a quoted string of DOT.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}
