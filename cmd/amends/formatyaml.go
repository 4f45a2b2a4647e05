package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

const (
	commentColumn = 28 // where a comment behind a short line starts
	lineMax       = 100
)

// outLine is one line of the new layout.
type outLine struct {
	indent  int
	text    string // without its comment; empty with a comment = a line of comment
	comment string
	raw     bool // of a text over several lines: no comment, no trimming
}

func (l outLine) String() string {
	s := strings.Repeat(" ", l.indent) + l.text
	switch {
	case l.raw && l.text == "":
		return ""
	case l.text == "" && l.comment == "":
		return ""
	case l.text == "":
		return s + l.comment
	case l.comment == "":
		return s
	}
	column := max(commentColumn, (utf8.RuneCountInString(s)+2+3)/4*4)
	return s + strings.Repeat(" ", column-utf8.RuneCountInString(s)) + l.comment
}

// commentLines are lines over an entry; "" stands for a blank line. The first one may be blank only
// when something stands over it.
func commentLines(head []string, indent int, under bool) []outLine {
	var out []outLine
	for i, h := range head {
		if h == "" && (i == 0 && !under || i > 0 && head[i-1] == "") {
			continue
		}
		out = append(out, outLine{indent: indent, comment: h})
	}
	return out
}

// yamlWriter lays out one document.
type yamlWriter struct {
	order *fieldOrder
	notes notes
	lines []outLine
}

// value writes a map or a list that starts on a line of its own. path are the keys around it.
func (w *yamlWriter) value(n *yaml.Node, schema *yaml.Node, indent int, path []string) {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		var keys []string
		for i := 0; i < len(n.Content); i += 2 {
			keys = append(keys, n.Content[i].Value)
		}
		for at, i := range w.order.sort(schema, keys) {
			key, val := n.Content[2*i], n.Content[2*i+1]
			w.head(key, indent, at > 0)
			w.field(scalarKey(key), key, val, w.order.of(schema, key.Value), indent, append(path[:len(path):len(path)], key.Value))
		}
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		items := member(w.order.shape(schema), "items")
		for i, item := range n.Content {
			w.head(item, indent, i > 0)
			w.item(item, items, indent, path)
		}
	default:
		text, block := w.inline(n, nil)
		w.lines = append(w.lines, outLine{indent: indent, text: text, comment: w.notes.trailing[n]})
		w.block(block, indent)
	}
}

// head writes the comments over an entry. A blank line over the first entry of a block is dropped.
func (w *yamlWriter) head(n *yaml.Node, indent int, under bool) {
	w.lines = append(w.lines, commentLines(w.notes.head[n], indent, under)...)
}

func (w *yamlWriter) field(name string, key, val, schema *yaml.Node, indent int, path []string) {
	comment := w.notes.trailing[key]
	if w.onOneLine(val, indent+len(name)+2, path) {
		text, block := w.inline(val, path)
		line := name + ":"
		if text != "" {
			line += " " + text
		}
		w.lines = append(w.lines, outLine{indent: indent, text: line, comment: comment})
		w.block(block, indent+2)
		return
	}
	w.lines = append(w.lines, outLine{indent: indent, text: name + ":", comment: comment})
	w.value(val, schema, indent+2, path)
}

// item writes an entry of a list: its first line gets the dash.
func (w *yamlWriter) item(n, schema *yaml.Node, indent int, path []string) {
	if w.onOneLine(n, indent+2, path) {
		text, block := w.inline(n, path)
		if text == "" {
			text = "null"
		}
		w.lines = append(w.lines, outLine{indent: indent, text: "- " + text, comment: w.notes.trailing[n]})
		w.block(block, indent+2)
		return
	}
	from := len(w.lines)
	w.value(n, schema, indent+2, path)
	for i := from; i < len(w.lines); i++ {
		w.lines[i].indent = indent
		if w.lines[i].text == "" {
			continue
		}
		w.lines[i].text = "- " + w.lines[i].text
		if c := w.notes.trailing[n]; c != "" { // the item and its first field began on this line
			if own := w.lines[i].comment; own != "" {
				w.lines = slices.Insert(w.lines, i, outLine{indent: indent, comment: own})
				i++
			}
			w.lines[i].comment = c
		}
		break
	}
}

func (w *yamlWriter) block(lines []string, indent int) {
	for _, l := range lines {
		w.lines = append(w.lines, outLine{indent: indent, text: l, raw: true})
	}
}

// onOneLine says whether a value stands behind its key: scalars, what is empty, short lists of words,
// and the type of a property.
func (w *yamlWriter) onOneLine(n *yaml.Node, column int, path []string) bool {
	switch {
	case n.Kind == yaml.ScalarNode || len(n.Content) == 0:
		return true
	case n.Kind == yaml.MappingNode:
		property := len(path) == 3 && path[0] == "input" && path[1] == "properties"
		return property && len(n.Content) == 2 && n.Content[1].Kind == yaml.ScalarNode && !w.notes.inside(n) && plainWord.MatchString(n.Content[1].Value)
	}
	for _, x := range n.Content {
		if x.Kind != yaml.ScalarNode || strings.Contains(x.Value, "\n") || x.Style == 0 && !plainWord.MatchString(x.Value) && !strings.HasPrefix(x.Value, "=") {
			return false
		}
	}
	text, _ := w.inline(n, path)
	return column+utf8.RuneCountInString(text) <= lineMax && !w.notes.inside(n)
}

// inline is a value behind its key; a text over several lines goes on in block.
func (w *yamlWriter) inline(n *yaml.Node, path []string) (text string, block []string) {
	switch n.Kind {
	case yaml.MappingNode:
		if len(n.Content) == 0 {
			return "{}", nil
		}
		v, _ := scalar(n.Content[1])
		return "{" + scalarKey(n.Content[0]) + ": " + v + "}", nil
	case yaml.SequenceNode:
		var words []string
		for _, x := range n.Content {
			v, _ := scalar(x)
			if v == "" {
				v = "null"
			}
			words = append(words, v)
		}
		return "[" + strings.Join(words, ", ") + "]", nil
	}
	return scalar(n)
}

func scalarKey(n *yaml.Node) string {
	if n.Style == 0 && !strings.Contains(n.Value, "\n") {
		return n.Value
	}
	return quote(n.Value)
}

// scalar writes a scalar so that it reads back as the same value of the same type.
func scalar(n *yaml.Node) (text string, block []string) {
	v := n.Value
	switch {
	case n.ShortTag() != "!!str":
		return v, nil
	case strings.Contains(v, "\n"):
		if lines, header, ok := literal(v); ok {
			return header, lines
		}
		return quote(v), nil
	case strings.HasPrefix(v, "=") && len(v) > 1:
		return quote(v), nil
	case n.Style == 0:
		return v, nil
	}
	return quote(v), nil
}

// literal writes a text over several lines as it is.
func literal(v string) (lines []string, header string, ok bool) {
	header = "|-"
	if strings.HasSuffix(v, "\n") {
		header, v = "|", v[:len(v)-1]
	}
	lines = strings.Split(v, "\n")
	for i, l := range lines {
		if l != strings.TrimRight(l, " \t") || strings.ContainsFunc(l, notPrintable) {
			return nil, "", false
		}
		if (i == 0 || i == len(lines)-1) && (l == "" || l[0] == ' ') {
			return nil, "", false
		}
	}
	return lines, header, true
}

func notPrintable(r rune) bool {
	return r < ' ' || r == 0x7f || r == 0x85 || r == 0xa0 || r >= 0x2028 && r <= 0x2029 || r == 0xfeff || r == utf8.RuneError
}

func quote(v string) string {
	if strings.ContainsFunc(v, notPrintable) {
		b, _ := json.Marshal(v) // a string always can be
		return string(b)
	}
	return "'" + strings.ReplaceAll(v, "'", "''") + "'"
}

// comments are the comments and blank lines of a document by its lines, from 1.
type comments struct {
	own      map[int]string // comments on a line of their own
	trailing map[int]string // comments behind something
	blank    map[int]bool
	last     int
}

var blockHeader = regexp.MustCompile(`(^|[\s:-])[|>][+-]?[0-9]?[+-]?$`)

// scanComments finds the comments: a # at the start of a line or behind a blank, but not in quotes
// and not in a text over several lines.
func scanComments(lines []string) comments {
	c := comments{own: map[int]string{}, trailing: map[int]string{}, blank: map[int]bool{}, last: len(lines)}
	var open byte // the quote that is open
	block := -1   // texts of a block are indented deeper than this; -1 = none
	for i, line := range lines {
		at := i + 1
		body := strings.TrimLeft(line, " ")
		indent := len(line) - len(body)
		if block >= 0 {
			if body == "" || indent > block {
				continue
			}
			block = -1
			for before := i - 1; before >= 0 && strings.TrimSpace(lines[before]) == ""; before-- {
				c.blank[before+1] = true // behind the text, not of it
			}
		}
		if open == 0 && strings.TrimSpace(line) == "" {
			c.blank[at] = true
			continue
		}
		code := line
		before := byte(' ') // last character that is no blank
		for j := 0; j < len(line); j++ {
			ch := line[j]
			switch {
			case open == '"' && ch == '\\':
				j++
			case open == '\'' && ch == '\'' && j+1 < len(line) && line[j+1] == '\'':
				j++
			case open != 0:
				if ch == open {
					open, before = 0, ch
				}
			case ch == '#' && (j == 0 || line[j-1] == ' ' || line[j-1] == '\t'):
				code = line[:j]
				text := strings.TrimRight(line[j:], " \t")
				if strings.TrimSpace(code) == "" {
					c.own[at] = text
				} else {
					c.trailing[at] = text
				}
				j = len(line)
			case (ch == '"' || ch == '\'') && (strings.IndexByte(" :,[{-?", before) >= 0 && (j == 0 || strings.IndexByte(" \t[{,", line[j-1]) >= 0 || before == ':')):
				open = ch
			case ch != ' ' && ch != '\t':
				before = ch
			}
		}
		if trimmed := strings.TrimRight(code, " \t"); open == 0 && blockHeader.MatchString(trimmed) {
			block = indent
			for rest := body; strings.HasPrefix(rest, "- "); {
				next := strings.TrimLeft(rest[2:], " ")
				block += len(rest) - len(next)
				rest = next
			}
		}
	}
	return c
}

func (c comments) sorted() []string {
	var all []string
	for _, m := range []map[int]string{c.own, c.trailing} {
		for _, s := range m {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

// notes are comments by the entry that they belong to: the key of a field, or an item of a list.
type notes struct {
	head     map[*yaml.Node][]string // lines over it; "" = a blank line
	trailing map[*yaml.Node]string
	top      []string // at the head of the document, whatever its first field is
	tail     []string // behind all of them
}

// notes hands the comments to the entries: what stands over an entry or behind its first line is
// its own.
func (c comments) notes(root *yaml.Node) notes {
	n := notes{head: map[*yaml.Node][]string{}, trailing: map[*yaml.Node]string{}}
	at := map[int]*yaml.Node{} // the first entry of each line
	var walk func(*yaml.Node)
	entry := func(x *yaml.Node) {
		if at[x.Line] == nil {
			at[x.Line] = x
		}
	}
	walk = func(x *yaml.Node) {
		for i, ch := range x.Content {
			if x.Kind == yaml.SequenceNode || i%2 == 0 {
				entry(ch)
			}
			walk(ch)
		}
	}
	if root != nil {
		if root.Kind == yaml.ScalarNode {
			entry(root)
		}
		walk(root)
	}
	var over []string
	first := true
	for line := 1; line <= c.last; line++ {
		x, trailing := at[line], c.trailing[line]
		switch {
		case x != nil:
			if first {
				n.top, first = over, false
			} else {
				n.head[x] = over
			}
			over = nil
			n.trailing[x] = trailing
		case c.own[line] != "":
			over = append(over, c.own[line])
		case c.blank[line]:
			over = append(over, "")
		case trailing != "":
			over = append(over, trailing)
		}
	}
	for len(over) > 0 && over[len(over)-1] == "" {
		over = over[:len(over)-1]
	}
	n.tail = over
	return n
}

// inside says whether a comment stands inside a value.
func (n notes) inside(v *yaml.Node) bool {
	for _, x := range v.Content {
		if n.trailing[x] != "" || n.inside(x) {
			return true
		}
		for _, h := range n.head[x] {
			if h != "" {
				return true
			}
		}
	}
	return false
}
