package sagas

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// node is a part of a source text, read from YAML or JSON. Both give the same tree; only the places
// differ.
type node struct {
	at      at
	isMap   bool
	isList  bool
	entries []entry // of a map, in the order of the text, keys unique
	items   []*node // of a list
	scalar  any     // value model, of everything else
}

type entry struct {
	key string
	at  at
	val *node
}

func (n *node) child(key string) *node {
	for i := range n.entries {
		if n.entries[i].key == key {
			return n.entries[i].val
		}
	}
	return nil
}

// kind is the JSON type of the node as people say it.
func (n *node) kind() string {
	switch {
	case n.isMap:
		return "a map"
	case n.isList:
		return "a list"
	}
	return typeName(n.scalar)
}

// value is the node in the value model.
func (n *node) value() any {
	switch {
	case n.isMap:
		o := &object{fields: make([]field, 0, len(n.entries))}
		for _, e := range n.entries {
			o.set(e.key, e.val.value())
		}
		return o
	case n.isList:
		list := make([]any, len(n.items))
		for i, x := range n.items {
			list[i] = x.value()
		}
		return list
	}
	return n.scalar
}

// readNodes reads all documents of a source text. What is wrong with the text itself goes to the
// report; a document with such a fault is still read as far as it goes.
func readNodes(r *report, src []byte) []*node {
	if len(src) > MaxDefinitionBytes {
		r.add(at{1, 1}, "SG01", "", "", "the file has %d bytes, the limit is %d", len(src), MaxDefinitionBytes)
		return nil
	}
	if !utf8.Valid(src) {
		r.add(at{1, 1}, "SG01", "", "", "the file is not valid UTF-8")
		return nil
	}
	// JSON is read as JSON: YAML would take its escapes and tabs differently. A YAML flow map also
	// starts with a brace, so what is not JSON gets its second chance.
	if trimmed := bytes.TrimLeft(src, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		sub := &report{file: r.file, lines: r.lines}
		if n, err := readJSONNode(sub, src); err == nil {
			r.found = append(r.found, sub.found...)
			return []*node{n}
		}
	}
	return readYAMLNodes(r, src)
}

// readYAMLNodes reads a stream of YAML documents.
func readYAMLNodes(r *report, src []byte) []*node {
	loader, err := yaml.NewLoader(bytes.NewReader(src),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(MaxValueDepth+8), loaderlimits.AliasValue(0))),
		yaml.WithUniqueKeys(false)) // reported below, with a place
	if err != nil {
		r.add(at{1, 1}, "SG01", "", "", "cannot read YAML: %v", err)
		return nil
	}
	var docs []*node
	for {
		var doc yaml.Node
		err := loader.Load(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			p, text := yamlFault(err)
			r.add(p, "SG01", "", "", "%s", text)
			return docs
		}
		c := yamlConverter{r: r}
		if n := c.convert(&doc, 0); n != nil {
			docs = append(docs, n)
		}
	}
}

// yamlFault is the place and text of an error of the YAML reader.
func yamlFault(err error) (at, string) {
	p := at{1, 1}
	text := err.Error()
	var le *yaml.LoadError
	if errors.As(err, &le) {
		text = le.Message
		if le.Mark.Line > 0 {
			p = at{le.Mark.Line, max(le.Mark.Column, 1)}
		}
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	return p, "not valid YAML: " + text
}

// yamlConverter turns YAML nodes into ours and refuses what has no counterpart in JSON.
type yamlConverter struct{ r *report }

func (c *yamlConverter) fault(n *yaml.Node, hint, format string, args ...any) {
	c.r.add(at{max(n.Line, 1), max(n.Column, 1)}, "SG01", "", hint, format, args...)
}

func (c *yamlConverter) convert(y *yaml.Node, depth int) *node {
	if depth > MaxValueDepth {
		c.fault(y, "", "nested deeper than %d levels", MaxValueDepth)
		return nil
	}
	if y.Anchor != "" {
		c.fault(y, "Write the value where it is used.", "anchors and aliases are not accepted")
	}
	n := &node{at: at{max(y.Line, 1), max(y.Column, 1)}}
	switch y.Kind {
	case yaml.DocumentNode:
		if len(y.Content) == 0 {
			return n
		}
		return c.convert(y.Content[0], depth)
	case yaml.AliasNode:
		c.fault(y, "Write the value where it is used.", "anchors and aliases are not accepted")
		return nil
	case yaml.SequenceNode:
		c.tag(y, "!!seq")
		n.isList = true
		for _, x := range y.Content {
			if item := c.convert(x, depth+1); item != nil {
				n.items = append(n.items, item)
			}
		}
	case yaml.MappingNode:
		c.tag(y, "!!map")
		n.isMap = true
		seen := map[string]at{}
		for i := 0; i+1 < len(y.Content); i += 2 {
			k, v := y.Content[i], y.Content[i+1]
			key, ok := c.key(k)
			if !ok {
				continue
			}
			place := at{k.Line, k.Column}
			if first, dup := seen[key]; dup {
				c.fault(k, "", "the key %q occurs twice, first at line %d", key, first.line)
				continue
			}
			seen[key] = place
			if val := c.convert(v, depth+1); val != nil {
				n.entries = append(n.entries, entry{key, place, val})
			}
		}
	case yaml.ScalarNode:
		n.scalar = c.scalar(y)
	}
	return n
}

// tag refuses explicit tags of other types.
func (c *yamlConverter) tag(y *yaml.Node, want string) {
	if y.Style&yaml.TaggedStyle != 0 && y.ShortTag() != want {
		c.fault(y, "", "the tag %s is not accepted", y.Tag)
	}
}

func (c *yamlConverter) key(k *yaml.Node) (string, bool) {
	if k.Kind == yaml.AliasNode || k.Anchor != "" {
		c.fault(k, "Write the value where it is used.", "anchors and aliases are not accepted")
		return "", false
	}
	if k.ShortTag() == "!!merge" {
		c.fault(k, "Write the fields out.", "merge keys are not accepted")
		return "", false
	}
	if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" && k.ShortTag() != "!!timestamp" {
		c.fault(k, "Put it in quotes.", "a key must be a string")
		return "", false
	}
	return k.Value, true
}

// scalar resolves a YAML scalar as JSON would write it. Spellings that YAML readers take
// differently (0x10, 010, 1_000, .inf) are refused instead of guessed.
func (c *yamlConverter) scalar(y *yaml.Node) any {
	switch y.ShortTag() {
	case "!!str", "!!timestamp":
		if y.Style&yaml.TaggedStyle != 0 && y.ShortTag() != "!!str" {
			break
		}
		return y.Value
	case "!!null":
		return nil
	case "!!bool":
		switch y.Value {
		case "true", "True", "TRUE":
			return true
		case "false", "False", "FALSE":
			return false
		}
		return y.Value
	case "!!int", "!!float":
		v, err := parseNumber([]byte(y.Value))
		if err != nil {
			c.fault(y, "Write a decimal number, or put a string in quotes.", "the number %s is ambiguous", shorten([]byte(y.Value)))
			return nil
		}
		return v
	}
	c.fault(y, "", "the tag %s is not accepted", y.Tag)
	return nil
}

// readJSONNode reads one JSON document with places. An error means that the text is not JSON; a
// duplicate key is a finding.
func readJSONNode(r *report, src []byte) (*node, error) {
	j := jsonNodes{jsonParser: jsonParser{src: src}, r: r, line: 1}
	n, err := j.node(0)
	if err != nil {
		return nil, err
	}
	if j.space(); j.i < len(j.src) {
		return nil, j.fail("text after the value")
	}
	return n, nil
}

type jsonNodes struct {
	jsonParser
	r       *report
	counted int // offset up to which line and col are known
	line    int
	col     int
}

// place is the current position as line and column. Positions are asked for in rising order, so the
// whole text is walked once.
func (j *jsonNodes) place() at {
	for ; j.counted < j.i; j.counted++ {
		switch c := j.src[j.counted]; {
		case c == '\n':
			j.line++
			j.col = 0
		case utf8.RuneStart(c):
			j.col++
		}
	}
	return at{j.line, j.col + 1}
}

func (j *jsonNodes) node(depth int) (*node, error) {
	j.space()
	if depth > MaxValueDepth {
		return nil, j.fail("nested deeper than %d levels", MaxValueDepth)
	}
	n := &node{at: j.place()}
	if j.i >= len(j.src) || j.src[j.i] != '{' && j.src[j.i] != '[' {
		v, err := j.value(depth)
		n.scalar = v
		return n, err
	}
	n.isMap = j.src[j.i] == '{'
	n.isList = !n.isMap
	end := byte(']')
	if n.isMap {
		end = '}'
	}
	seen := map[string]at{}
	for j.i++; ; j.i++ {
		j.space()
		if j.i < len(j.src) && j.src[j.i] == end && len(n.entries)+len(n.items) == 0 && len(seen) == 0 {
			j.i++
			return n, nil
		}
		var key string
		var keyAt at
		if n.isMap {
			if j.i >= len(j.src) || j.src[j.i] != '"' {
				return nil, j.fail("want a field name in quotes")
			}
			keyAt = j.place()
			var err error
			if key, err = j.string(); err != nil {
				return nil, err
			}
			if j.space(); j.i >= len(j.src) || j.src[j.i] != ':' {
				return nil, j.fail("want ':' after the field name")
			}
			j.i++
		}
		val, err := j.node(depth + 1)
		if err != nil {
			return nil, err
		}
		if n.isList {
			n.items = append(n.items, val)
		} else if first, dup := seen[key]; dup {
			j.r.add(keyAt, "SG01", "", "", "the key %q occurs twice, first at line %d", key, first.line)
		} else {
			seen[key] = keyAt
			n.entries = append(n.entries, entry{key, keyAt, val})
		}
		j.space()
		if j.i < len(j.src) && j.src[j.i] == end {
			j.i++
			return n, nil
		}
		if j.i >= len(j.src) || j.src[j.i] != ',' {
			return nil, j.fail("want ',' or the end")
		}
	}
}
