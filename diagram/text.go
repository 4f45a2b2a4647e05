package diagram

import (
	"strings"
	"unicode/utf8"

	"github.com/amendsio/amends/sagas"
)

// TextOptions are options of Text.
type TextOptions struct {
	Overlay Overlay // nil = the definition alone
	Width   int     // most columns of a line; 0 = 100
}

// Text is the picture for a terminal: from the top down, the undo of each step on its line, to be
// read from the bottom up. No line ends in a blank.
func (d *Diagram) Text(o TextOptions) string {
	if o.Width <= 0 {
		o.Width = 100
	}
	t := &textWriter{o: o}
	t.rows = append(t.rows, row{left: "● start"})
	t.list(d.root, "")
	if !d.root.ends {
		t.rows = append(t.rows, row{left: "◉ completed"})
	}
	left, undo := 0, 0
	for _, r := range t.rows {
		left = max(left, textWidth(r.left))
		undo = max(undo, textWidth(r.undo))
	}
	left = max(min(left, o.Width-undo-5), 20)
	var b strings.Builder
	b.WriteString(d.def.Ref())
	if d.def.Deadline > 0 {
		b.WriteString("  deadline " + duration(d.def.Deadline))
	}
	b.WriteString("\n\n")
	first, last := -1, -1 // the rows that the way back runs through
	for i, r := range t.rows {
		if r.undo != "" {
			last = i
		}
		if r.line && first < 0 && last >= 0 {
			last = i
		}
	}
	if last >= 0 {
		first = 0
	}
	for i, r := range t.rows {
		line := clipText(r.left, left)
		if i >= first && i <= last && first >= 0 {
			fill := " "
			if r.line {
				fill = "═"
			}
			line += strings.Repeat(fill, left-textWidth(line)) + fill + fill
			switch {
			case i == 0:
				line += "◎ undone"
			case r.line:
				line += "╧══ point of no return"
			case r.undo != "":
				line += "↑ " + r.undo
			default:
				line += "│"
			}
		} else if r.line {
			line += strings.Repeat("═", left-textWidth(line)+2) + "═══ point of no return"
		}
		b.WriteString(strings.TrimRight(line, " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// row is one line: the way forward and, beside it, what undoes it.
type row struct {
	left string
	undo string
	line bool // the point of no return
}

type textWriter struct {
	o    TextOptions
	rows []row
}

func (t *textWriter) add(left, undo string) { t.rows = append(t.rows, row{left: left, undo: undo}) }

// list writes the nodes of a list, each line with the margin of the boxes around it.
func (t *textWriter) list(l *list, margin string) {
	for _, i := range l.byColumn() {
		n := l.nodes[i]
		joint := "├─ "
		if l.ends && i == len(l.nodes)-1 {
			joint = "└─ "
		}
		after := ""
		if l.rows > 1 && len(l.deps[i]) > 0 {
			var names []string
			for _, d := range l.deps[i] {
				names = append(names, l.nodes[d].title)
			}
			after = "  after " + strings.Join(names, ", ")
		}
		t.node(n, margin, joint, after)
		if n.pivot && l.pivot >= 0 && l.col[i] == l.pivot && margin == "" {
			t.rows = append(t.rows, row{line: true})
		}
	}
	if len(l.nodes) == 0 {
		t.add(margin+"│  (nothing)", "")
	}
}

func (t *textWriter) node(n *node, margin, joint, after string) {
	if n.when != "" {
		t.add(margin+"│  if "+oneLine(n.when), "")
	}
	text := t.mark(n) + n.title
	if n.detail != "" {
		text += "  " + oneLine(n.detail)
	}
	if n.pill != "" {
		text += "  [" + n.pill + "]"
	}
	undo := n.undo
	if p := t.o.Overlay[n.title]; undo != "" && p.Undo > 0 {
		undo += "  " + p.Undo.String()
	}
	t.add(margin+joint+text+after, undo)
	for i, ln := range n.lanes {
		bar, foot := "│  │ ", "│  ├╴"
		if i == len(n.lanes)-1 {
			bar, foot = "│    ", "│  └╴"
		}
		if joint == "└─ " {
			bar, foot = " "+bar[len("│"):], " "+foot[len("│"):]
		}
		label := ln.label
		if label == "" {
			label = "do"
			if n.def.Node == sagas.NodeEach && n.def.Each != nil {
				label = "for each " + n.def.Each.As
			}
		}
		t.add(margin+foot+oneLine(label), "")
		t.list(ln.list, margin+bar)
	}
}

var textMarks = map[State]string{
	Idle: "· ", Active: "… ", Done: "✓ ", Refused: "✗ ", Failed: "✗ ", Skipped: "- ", Attention: "! ", Undone: "↶ ",
}

func (t *textWriter) mark(n *node) string {
	p, known := t.o.Overlay[n.title]
	if !known {
		return ""
	}
	s := p.Do
	if p.Undo == Undone || p.Undo == Attention {
		s = p.Undo
	}
	return textMarks[s]
}

func textWidth(s string) int { return utf8.RuneCountInString(s) }

func clipText(s string, width int) string {
	if textWidth(s) <= width {
		return s
	}
	r := []rune(s)
	return strings.TrimRight(string(r[:width-1]), " ") + "…"
}
