package topology

import (
	"fmt"
	"slices"
	"strings"
)

// String prints the topology as a tree from each topic that it reads: one node per line, children
// indented, and `-> #n` where a node was printed before. It is stable, for golden files.
func (t *Topology) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "topology %s\n", t.name)
	printed := make([]bool, len(t.nodes))
	var visit func(n *node, depth int)
	visit = func(n *node, depth int) {
		indent := strings.Repeat("  ", depth)
		if printed[n.id] {
			fmt.Fprintf(&b, "%s-> #%d\n", indent, n.id)
			return
		}
		printed[n.id] = true
		fmt.Fprintf(&b, "%s%s\n", indent, t.line(n))
		for _, spec := range n.uses.Stores {
			fmt.Fprintf(&b, "%s  store %s%s\n", indent, spec.Name, map[bool]string{true: " (derived index)"}[spec.Index != nil])
		}
		if n.uses.Wall > 0 {
			fmt.Fprintf(&b, "%s  every %v of wall time\n", indent, n.uses.Wall)
		}
		if n.uses.Stream > 0 {
			fmt.Fprintf(&b, "%s  every %v of stream time\n", indent, n.uses.Stream)
		}
		for _, child := range t.nodes {
			if slices.Contains(child.parents, n.id) {
				visit(child, depth+1)
			}
		}
	}
	for _, n := range t.nodes {
		if len(n.parents) == 0 {
			visit(n, 1)
		}
	}
	if t.aside != "" {
		fmt.Fprintf(&b, "  what cannot be handled: %s\n", t.aside)
	}
	return b.String()
}

func (t *Topology) line(n *node) string {
	text := fmt.Sprintf("#%d %s", n.id, n.kind)
	if n.name != "" {
		text += " " + n.name
	}
	if n.detail != "" {
		text += " (" + n.detail + ")"
	}
	return text
}

// Mermaid draws the topology as a Mermaid flowchart.
func (t *Topology) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for _, n := range t.nodes {
		label := n.kind
		if n.name != "" {
			label += " " + n.name
		}
		if n.detail != "" {
			label += "<br>" + n.detail
		}
		for _, spec := range n.uses.Stores {
			label += "<br>store " + spec.Name
		}
		shape := `  n%d["%s"]` + "\n"
		if n.kind == "from" || n.kind == "to" || n.kind == "through" {
			shape = `  n%d[("%s")]` + "\n"
		}
		fmt.Fprintf(&b, shape, n.id, strings.ReplaceAll(label, `"`, "#quot;"))
	}
	for _, n := range t.nodes {
		for _, p := range n.parents {
			fmt.Fprintf(&b, "  n%d --> n%d\n", p, n.id)
		}
		for _, from := range t.nodes {
			if n.kind == "from" && from.kind == "through" && from.name == n.name {
				fmt.Fprintf(&b, "  n%d -.-> n%d\n", from.id, n.id)
			}
		}
	}
	return b.String()
}
