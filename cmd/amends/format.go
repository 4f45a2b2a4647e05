package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/amendsio/amends/sagas"
)

// formatDefinitions gives a file of definitions its canonical layout: the order of the fields that
// the schema has, block style, two blanks per level, short lists of words on one line, expressions
// in single quotes. Comments stay with what they stand at, and a blank line stays a blank line. What
// the text means does not change: that is checked, and an error comes instead of a wrong file.
// JSON stays JSON.
func formatDefinitions(file string, src []byte) ([]byte, error) {
	src = bytes.ReplaceAll(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")), []byte("\r\n"), []byte("\n"))
	if !utf8.Valid(src) {
		return nil, errors.New("the file is not valid UTF-8")
	}
	order, err := newFieldOrder()
	if err != nil {
		return nil, err
	}
	var out []byte
	if json.Valid(src) {
		out, err = formatJSON(src, order)
	} else {
		out, err = formatYAML(src, order)
	}
	if err != nil {
		return nil, err
	}
	before, err := sagas.ParseDefinitions(file, src)
	if err != nil {
		return out, nil // with findings: the text was compared already
	}
	after, err := sagas.ParseDefinitions(file, out)
	if err != nil || len(before) != len(after) {
		return nil, fmt.Errorf("the new layout would not be read: %w", err)
	}
	for i := range before {
		if before[i].Digest() != after[i].Digest() {
			return nil, fmt.Errorf("the new layout would change %s", before[i].Ref())
		}
	}
	return out, nil
}

var (
	docStart  = regexp.MustCompile(`^---(\s+(#.*)?)?$`)
	docOther  = regexp.MustCompile(`^(---\s|\.\.\.(\s|$)|%)`)
	plainWord = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// formatYAML goes from document to document: no scalar can hold a line that divides them.
func formatYAML(src []byte, order *fieldOrder) ([]byte, error) {
	var out bytes.Buffer
	var doc []string
	first := 1
	written := false
	flush := func(last bool) error {
		text, err := formatDocument(doc, first, order)
		if err != nil {
			return err
		}
		if text == "" && last {
			return nil
		}
		if written {
			out.WriteString("---\n")
		}
		out.WriteString(text)
		written = true
		return nil
	}
	lines := strings.Split(strings.TrimRight(string(src), "\n"), "\n")
	for i, line := range lines {
		switch {
		case docStart.MatchString(line):
			if strings.TrimSpace(strings.Join(doc, "")) != "" || written {
				if err := flush(false); err != nil {
					return nil, err
				}
			}
			doc, first = nil, i+2
			if _, comment, ok := strings.Cut(line, "#"); ok {
				doc, first = []string{"#" + comment}, i+1
			}
		case docOther.MatchString(line):
			return nil, fmt.Errorf("line %d: %q is not formatted: use only lines of --- between documents", i+1, line)
		default:
			doc = append(doc, line)
		}
	}
	if err := flush(true); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// formatDocument formats one document; first is the number of its first line in the file.
func formatDocument(lines []string, first int, order *fieldOrder) (string, error) {
	src := strings.Join(lines, "\n") + "\n"
	root, err := loadYAML(src)
	if err != nil {
		return "", fmt.Errorf("from line %d: %w", first, err)
	}
	if root != nil && root.Kind != yaml.MappingNode {
		return "", fmt.Errorf("line %d: a definition is a map of fields", first-1+root.Line)
	}
	s := scanComments(lines)
	w := &yamlWriter{order: order, notes: s.notes(root)}
	w.lines = append(w.lines, commentLines(w.notes.top, 0, false)...)
	if root != nil {
		w.value(root, order.root, 0, nil)
	}
	w.lines = append(w.lines, commentLines(w.notes.tail, 0, len(w.lines) > 0)...)
	var b strings.Builder
	for _, l := range w.lines {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	out := b.String()
	again, err := loadYAML(out)
	if err != nil || !sameTree(root, again) {
		return "", fmt.Errorf("from line %d: the new layout would say something else; leave the file as it is and report it", first)
	}
	if got := scanComments(strings.Split(strings.TrimRight(out, "\n"), "\n")); !slices.Equal(s.sorted(), got.sorted()) {
		return "", fmt.Errorf("from line %d: the new layout would lose a comment; leave the file as it is and report it", first)
	}
	return out, nil
}

// loadYAML reads one document and refuses what definitions cannot have.
func loadYAML(src string) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(src), &doc); err != nil {
		text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), "\n")
		return nil, fmt.Errorf("not valid YAML: %s", text)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], refuse(doc.Content[0])
}

func refuse(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not accepted", n.Line)
	case n.Style&yaml.TaggedStyle != 0:
		return fmt.Errorf("line %d: tags are not accepted", n.Line)
	}
	seen := map[string]bool{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if c.Kind != yaml.ScalarNode || c.Value == "<<" && c.Style == 0 {
				return fmt.Errorf("line %d: a key must be a string", c.Line)
			}
			if seen[c.Value] {
				return fmt.Errorf("line %d: the key %q occurs twice", c.Line, c.Value)
			}
			seen[c.Value] = true
		}
		if err := refuse(c); err != nil {
			return err
		}
	}
	return nil
}

// sameTree compares what two documents say, without the order of keys and the style.
func sameTree(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.ScalarNode {
		return a.ShortTag() == b.ShortTag() && a.Value == b.Value
	}
	if a.Kind != yaml.MappingNode {
		for i := range a.Content {
			if !sameTree(a.Content[i], b.Content[i]) {
				return false
			}
		}
		return true
	}
	of := map[string]*yaml.Node{}
	for i := 0; i+1 < len(b.Content); i += 2 {
		of[b.Content[i].Value] = b.Content[i+1]
	}
	for i := 0; i+1 < len(a.Content); i += 2 {
		if other, ok := of[a.Content[i].Value]; !ok || !sameTree(a.Content[i+1], other) {
			return false
		}
	}
	return true
}

// fieldOrder is the order of fields: that of the JSON Schema.
type fieldOrder struct{ root *yaml.Node }

// newFieldOrder reads the schema once.
var newFieldOrder = sync.OnceValues(func() (*fieldOrder, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(sagas.Schema(), &doc); err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	return &fieldOrder{doc.Content[0]}, nil
})

func member(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// shape is the part of the schema that describes maps, or the items of lists, behind references and
// alternatives.
func (o *fieldOrder) shape(s *yaml.Node) *yaml.Node {
	for range 8 {
		if ref := member(s, "$ref"); ref != nil {
			s = member(member(o.root, "$defs"), ref.Value[strings.LastIndexByte(ref.Value, '/')+1:])
			continue
		}
		any := member(s, "anyOf")
		if any == nil {
			return s
		}
		for _, c := range any.Content {
			if c = o.shape(c); member(c, "properties") != nil {
				return c
			}
		}
		return nil
	}
	return nil
}

// of is the schema of a field of a map.
func (o *fieldOrder) of(s *yaml.Node, key string) *yaml.Node {
	s = o.shape(s)
	if p := member(member(s, "properties"), key); p != nil {
		return p
	}
	return member(s, "additionalProperties")
}

// sort gives the indexes of the keys of a map in their order: known fields as in the schema, all
// others behind them as they are written.
func (o *fieldOrder) sort(s *yaml.Node, keys []string) []int {
	rank := map[string]int{}
	if props := member(o.shape(s), "properties"); props != nil {
		for i := 0; i+1 < len(props.Content); i += 2 {
			rank[props.Content[i].Value] = i + 1
		}
	}
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	place := func(i int) int {
		if r := rank[keys[i]]; r > 0 {
			return r
		}
		return 1 << 20
	}
	slices.SortStableFunc(order, func(a, b int) int { return place(a) - place(b) })
	return order
}
