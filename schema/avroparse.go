package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// Schema is one Avro schema. It is immutable and safe for concurrent use.
type Schema struct {
	root        *avroType
	text        string
	fingerprint uint64 // CRC-64-AVRO of the parsing canonical form
}

// Name is the full name of the record (enum, fixed), "" when the schema has none.
func (s *Schema) Name() string { return s.root.name }

// Text is the schema as it was given.
func (s *Schema) Text() string { return s.text }

// ParseSchema reads a schema. more are the schemas that it refers to by name, in an order in which each
// knows what it needs.
func ParseSchema(text string, more ...string) (*Schema, error) {
	p := &schemaParser{names: map[string]*avroType{}}
	if len(more) > MaxReferences {
		return nil, malformed("the schema refers to %d others, the limit is %d", len(more), MaxReferences)
	}
	for _, m := range more {
		if _, err := p.text(m); err != nil {
			return nil, err
		}
	}
	root, err := p.text(text)
	if err != nil {
		return nil, err
	}
	s := &Schema{root: root, text: text}
	s.fingerprint = crc64Avro([]byte(canonicalForm(root)))
	return s, nil
}

// schemaParser reads schemas that share their names.
type schemaParser struct {
	names map[string]*avroType
	count int
}

func (p *schemaParser) text(text string) (*avroType, error) {
	if len(text) > MaxSchemaBytes {
		return nil, malformed("the schema has %d bytes, the limit is %d", len(text), MaxSchemaBytes)
	}
	src := []byte(text)
	if s := strings.TrimSpace(text); len(s) > 0 && s[0] != '{' && s[0] != '[' && s[0] != '"' {
		src, _ = json.Marshal(s) // a bare name, which some registries give for primitives
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, malformed("the schema is not JSON")
	}
	if d.More() {
		return nil, malformed("the schema has text after its end")
	}
	return p.any(tree, "", 0)
}

func (p *schemaParser) any(node any, namespace string, depth int) (*avroType, error) {
	if p.count++; p.count > MaxSchemaTypes {
		return nil, malformed("the schema has more than %d types", MaxSchemaTypes)
	}
	if depth > MaxSchemaDepth {
		return nil, malformed("the schema is nested deeper than %d levels", MaxSchemaDepth)
	}
	switch n := node.(type) {
	case string:
		return p.named(n, namespace)
	case []any:
		return p.union(n, namespace, depth)
	case map[string]any:
		return p.object(n, namespace, depth)
	}
	return nil, malformed("the schema has a type that is neither a name, an object nor a list")
}

func (p *schemaParser) named(name, namespace string) (*avroType, error) {
	if k, ok := primitives[name]; ok {
		return &avroType{kind: k}, nil
	}
	full := name
	if !strings.Contains(name, ".") && namespace != "" {
		full = namespace + "." + name
	}
	if t := p.names[full]; t != nil {
		return t, nil
	}
	if t := p.names[name]; t != nil {
		return t, nil
	}
	return nil, malformed("the schema refers to %q, which it does not define", cut(full))
}

func (p *schemaParser) union(list []any, namespace string, depth int) (*avroType, error) {
	u := &avroType{kind: kUnion}
	seen := map[string]bool{}
	for _, item := range list {
		b, err := p.any(item, namespace, depth+1)
		if err != nil {
			return nil, err
		}
		key := b.name
		if key == "" {
			key = b.kind.String()
		}
		switch {
		case b.kind == kUnion:
			return nil, malformed("the schema has a union in a union")
		case seen[key]:
			return nil, malformed("the schema has a union with two branches %q", cut(key))
		}
		seen[key] = true
		u.branches = append(u.branches, b)
	}
	if len(u.branches) == 0 {
		return nil, malformed("the schema has a union without branches")
	}
	return u, nil
}

func (p *schemaParser) object(n map[string]any, namespace string, depth int) (*avroType, error) {
	name, isName := n["type"].(string)
	if !isName {
		if n["type"] == nil {
			return nil, malformed("the schema has an object without type")
		}
		return p.any(n["type"], namespace, depth+1) // {"type": {…}}
	}
	t := &avroType{}
	var err error
	switch name {
	case "record", "error":
		t.kind = kRecord
		err = p.record(t, n, namespace, depth)
	case "enum":
		t.kind = kEnum
		err = p.enum(t, n, namespace)
	case "fixed":
		t.kind = kFixed
		if _, err = p.define(t, n, namespace); err == nil {
			t.size, err = natural(n, "size", maxFixedBytes)
		}
	case "array", "map":
		t.kind = kArray
		what := "items"
		if name == "map" {
			t.kind, what = kMap, "values"
		}
		if n[what] == nil {
			return nil, malformed("the schema has an %s without %s", name, what)
		}
		t.item, err = p.any(n[what], namespace, depth+1)
	default:
		t, err = p.named(name, namespace)
		if err == nil && t.name != "" {
			return t, nil // a reference in the long form has no logical type
		}
	}
	if err != nil {
		return nil, err
	}
	return t, p.logical(t, n)
}

// logical sets the logical type. One that does not fit its type is none, as the specification says.
func (p *schemaParser) logical(t *avroType, n map[string]any) error {
	name, _ := n["logicalType"].(string)
	l, ok := logicals[name]
	if !ok || !slices.Contains(l.on, t.kind) {
		return nil
	}
	switch l.logical {
	case lDecimal:
		digits, err := natural(n, "precision", maxDecimalDigit)
		scale := 0
		if err == nil && n["scale"] != nil {
			scale, err = natural(n, "scale", digits)
		}
		if err != nil || digits == 0 {
			return nil
		}
		t.digits, t.scale = digits, scale
	case lUUID:
		if t.kind == kFixed && t.size != 16 {
			return nil
		}
	}
	t.logical = l.logical
	return nil
}

func natural(n map[string]any, key string, most int) (int, error) {
	num, ok := n[key].(json.Number)
	if !ok {
		return 0, malformed("the schema has a %s that is not a number", key)
	}
	i, err := num.Int64()
	if err != nil || i < 0 || i > int64(most) {
		return 0, malformed("the schema has a %s that is not in 0..%d", key, most)
	}
	return int(i), nil
}

var simpleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)

// define gives a type its full name and gives back the namespace for what is inside.
func (p *schemaParser) define(t *avroType, n map[string]any, namespace string) (string, error) {
	name, _ := n["name"].(string)
	if own, ok := n["namespace"].(string); ok && !strings.Contains(name, ".") {
		namespace = own
	}
	full := name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		namespace = name[:i]
	} else if namespace != "" {
		full = namespace + "." + name
	}
	if len(full) > 512 {
		return "", malformed("the schema has a name of %d bytes", len(full))
	}
	for _, part := range strings.Split(full, ".") {
		if !simpleName.MatchString(part) {
			return "", malformed("the schema has the name %q", cut(full))
		}
	}
	if _, twice := p.names[full]; twice {
		return "", malformed("the schema defines %s twice", cut(full))
	}
	t.name = full
	p.names[full] = t
	return namespace, nil
}

func (p *schemaParser) record(t *avroType, n map[string]any, namespace string, depth int) error {
	inside, err := p.define(t, n, namespace)
	if err != nil {
		return err
	}
	list, ok := n["fields"].([]any)
	if !ok {
		return malformed("the schema has the record %s without fields", cut(t.name))
	}
	seen := map[string]bool{}
	for _, item := range list {
		fn, _ := item.(map[string]any)
		f := avroField{}
		f.name, _ = fn["name"].(string)
		if !simpleName.MatchString(f.name) || seen[f.name] {
			return malformed("record %s has a field whose name is twice there or cannot be one", cut(t.name))
		}
		seen[f.name] = true
		if fn["type"] == nil {
			return malformed("field %s of %s has no type", f.name, cut(t.name))
		}
		// Some generators write the logical type beside the type, into the field.
		node := fn["type"]
		if s, plain := node.(string); plain && fn["logicalType"] != nil {
			if _, primitive := primitives[s]; primitive {
				node = map[string]any{"type": s, "logicalType": fn["logicalType"], "precision": fn["precision"], "scale": fn["scale"]}
			}
		}
		if f.typ, err = p.any(node, inside, depth+1); err != nil {
			return err
		}
		f.def, f.hasDefault = fn["default"]
		quoted, _ := json.Marshal(f.name)
		f.quoted = append(quoted, ':')
		t.fields = append(t.fields, f)
	}
	t.sorted = make([]int, len(t.fields))
	for i := range t.sorted {
		t.sorted[i] = i
	}
	sort.Slice(t.sorted, func(a, b int) bool { return t.fields[t.sorted[a]].name < t.fields[t.sorted[b]].name })
	return nil
}

func (p *schemaParser) enum(t *avroType, n map[string]any, namespace string) error {
	if _, err := p.define(t, n, namespace); err != nil {
		return err
	}
	list, _ := n["symbols"].([]any)
	for _, item := range list {
		s, _ := item.(string)
		if !simpleName.MatchString(s) || slices.Contains(t.symbols, s) {
			return malformed("enum %s has a symbol that is twice there or cannot be one", cut(t.name))
		}
		t.symbols = append(t.symbols, s)
	}
	if len(t.symbols) == 0 {
		return malformed("enum %s has no symbols", cut(t.name))
	}
	return nil
}

// canonicalForm is the parsing canonical form of the specification, which the fingerprint is made of.
func canonicalForm(t *avroType) string {
	var b strings.Builder
	writeForm(&b, t, map[string]bool{})
	return b.String()
}

func writeForm(b *strings.Builder, t *avroType, seen map[string]bool) {
	if t.name != "" {
		if seen[t.name] {
			fmt.Fprintf(b, "%q", t.name)
			return
		}
		seen[t.name] = true
	}
	switch t.kind {
	case kUnion:
		b.WriteByte('[')
		for i, branch := range t.branches {
			if i > 0 {
				b.WriteByte(',')
			}
			writeForm(b, branch, seen)
		}
		b.WriteByte(']')
	case kArray, kMap:
		fmt.Fprintf(b, `{"type":%q,%q:`, t.kind, map[kind]string{kArray: "items", kMap: "values"}[t.kind])
		writeForm(b, t.item, seen)
		b.WriteByte('}')
	case kFixed:
		fmt.Fprintf(b, `{"name":%q,"type":"fixed","size":%d}`, t.name, t.size)
	case kEnum:
		fmt.Fprintf(b, `{"name":%q,"type":"enum","symbols":["%s"]}`, t.name, strings.Join(t.symbols, `","`))
	case kRecord:
		fmt.Fprintf(b, `{"name":%q,"type":"record","fields":[`, t.name)
		for i := range t.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, `{"name":%q,"type":`, t.fields[i].name)
			writeForm(b, t.fields[i].typ, seen)
			b.WriteByte('}')
		}
		b.WriteString("]}")
	default:
		fmt.Fprintf(b, "%q", t.kind)
	}
}

const crcEmpty = 0xc15d213aa4d7a795

var crcTable = func() (table [256]uint64) {
	for i := range table {
		fp := uint64(i)
		for range 8 {
			fp = fp>>1 ^ crcEmpty&-(fp&1)
		}
		table[i] = fp
	}
	return table
}()

// crc64Avro is the fingerprint of the Avro specification.
func crc64Avro(b []byte) uint64 {
	fp := uint64(crcEmpty)
	for _, c := range b {
		fp = fp>>8 ^ crcTable[byte(fp)^c]
	}
	return fp
}

// canonicalNumber is a number as the engine spells it.
func canonicalNumber(text string) ([]byte, error) { return sagas.CanonicalJSON([]byte(text)) }
