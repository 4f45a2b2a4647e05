package sagas

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("definition.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("definition.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instancesOf are the documents of a file as the validator takes them; ok is false for what is not
// even a document.
func instancesOf(t *testing.T, file string) (docs []any, ok bool) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := newReport(file, src)
	for _, n := range readNodes(r, src) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(appendJSON(nil, n.value())))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return docs, len(r.found) == 0
}

func TestSchemaAcceptsWhatIsGood(t *testing.T) {
	s := compileSchema(t)
	files, _ := filepath.Glob("testdata/good/*.yaml")
	cured, _ := filepath.Glob("testdata/checks/*/good.yaml")
	files = append(files, cured...)
	examples, _ := filepath.Glob("../examples/*/saga.yaml")
	if len(files) < 3 || len(examples) < 1 {
		t.Fatalf("found %d good definitions and %d examples", len(files), len(examples))
	}
	for _, file := range append(files, examples...) {
		docs, ok := instancesOf(t, file)
		if !ok || len(docs) == 0 {
			t.Errorf("%s cannot be read", file)
		}
		for _, doc := range docs {
			if err := s.Validate(doc); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		// The canonical form is also a definition.
		src, _ := os.ReadFile(file)
		defs, err := ParseDefinitions(file, src)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, d := range defs {
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.Canonical()))
			if err == nil {
				err = s.Validate(doc)
			}
			if err != nil {
				t.Errorf("canonical form of %s: %v", d.Ref(), err)
			}
		}
	}
}

// TestSchemaRefuses wants each file of faults SG01 to SG04 to be refused, but for those that a schema
// cannot see.
func TestSchemaRefuses(t *testing.T) {
	beyond := map[string]string{
		"SG02-file":     "versions are unique in a file",
		"SG02-bindings": "names of bindings are unique in a definition",
	}
	s := compileSchema(t)
	var files []string
	for _, pattern := range []string{"SG01*", "SG02*", "SG03*", "SG04*"} {
		found, _ := filepath.Glob("testdata/checks/" + pattern + "/bad.*")
		files = append(files, found...)
	}
	refused := 0
	for _, file := range files {
		if ext := filepath.Ext(file); ext != ".yaml" && ext != ".json" {
			continue
		}
		docs, ok := instancesOf(t, file)
		bad := !ok
		for _, doc := range docs {
			bad = bad || s.Validate(doc) != nil
		}
		if _, known := beyond[filepath.Base(filepath.Dir(file))]; bad == known {
			t.Errorf("%s: refused %t, want %t", file, bad, !known)
		}
		if bad && ok {
			refused++
		}
	}
	if refused < 5 {
		t.Errorf("the schema refused only %d files", refused)
	}
}

// memberAt follows the names of members to an object.
func memberAt(t *testing.T, v any, path ...string) *object {
	t.Helper()
	for _, name := range path {
		o, ok := v.(*object)
		if !ok {
			t.Fatalf("%v: %s is in no object", path, name)
		}
		if v, ok = o.get(name); !ok {
			t.Fatalf("%v: there is no %s", path, name)
		}
	}
	o, ok := v.(*object)
	if !ok {
		t.Fatalf("%v is no object", path)
	}
	return o
}

func keysOf(o *object) []string {
	var keys []string
	for _, f := range o.fields {
		keys = append(keys, f.key)
	}
	slices.Sort(keys)
	return keys
}

// TestSchemaFields wants the schema and the parser to know the same fields.
func TestSchemaFields(t *testing.T) {
	doc, err := parseJSON(Schema())
	if err != nil {
		t.Fatal(err)
	}
	node := []string{"$defs", "step", "properties"}
	inNode := func(path ...string) []string { return append(slices.Clone(node), path...) }
	for _, c := range []struct {
		path   []string
		fields []string
	}{
		{nil, definitionFields},
		{[]string{"properties", "start"}, startFields},
		{[]string{"properties", "on", "items"}, onFields},
		{[]string{"properties", "participants", "additionalProperties"}, participantFields},
		{[]string{"properties", "participants", "additionalProperties", "properties", "correlate"}, correlateFields},
		{[]string{"properties", "retention"}, retentionFields},
		{inNode("retry"), retryFields},
		{inNode("inquire"), inquireFields},
		{inNode("each"), eachFields},
		{inNode("race"), raceFields},
		{inNode("scope"), scopeFields},
		{inNode("repeat"), repeatFields},
		{inNode("saga"), sagaFields},
		{inNode("await"), awaitFields},
		{inNode("sleep"), sleepFields},
		{inNode("approve"), approveFields},
		{inNode("emit"), emitFields},
		{inNode("continue"), continueFields},
	} {
		got := keysOf(memberAt(t, doc, append(slices.Clone(c.path), "properties")...))
		if want := slices.Sorted(slices.Values(c.fields)); !slices.Equal(got, want) {
			t.Errorf("%v: the schema has %v, the parser %v", c.path, got, want)
		}
	}
	for path, fields := range map[string][]string{"undo": undoFields, "fail": failFields, "input": inputFields} {
		place := inNode(path)
		if path == "input" {
			place = []string{"properties", path}
		}
		either, _ := memberAt(t, doc, place...).get("anyOf")
		got := keysOf(memberAt(t, either.([]any)[1], "properties"))
		if want := slices.Sorted(slices.Values(fields)); !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %v, the parser %v", path, got, want)
		}
	}

	all := map[string]bool{}
	kinds, _ := memberAt(t, doc, "$defs", "step").get("oneOf")
	if len(kinds.([]any)) != len(nodeFields) {
		t.Errorf("the schema has %d kinds of nodes, the parser %d", len(kinds.([]any)), len(nodeFields))
	}
	for _, k := range kinds.([]any) {
		required, _ := memberAt(t, k).get("required")
		name := required.([]any)[0].(string)
		kind := slices.Index(nodeNames[:], name)
		if kind < 0 {
			t.Errorf("the schema has a node %s", name)
			continue
		}
		enum, _ := memberAt(t, k, "propertyNames").get("enum")
		var got []string
		for _, f := range enum.([]any) {
			got = append(got, f.(string))
			all[f.(string)] = true
		}
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(slices.Concat(commonFields, nodeFields[kind]))); !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %v, the parser %v", name, got, want)
		}
	}
	if got, want := keysOf(memberAt(t, doc, node...)), slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Errorf("the properties of a step are %v, those of all kinds %v", got, want)
	}
}

// TestSchemaHelps wants a description, which editors show, for every field.
func TestSchemaHelps(t *testing.T) {
	doc, err := parseJSON(Schema())
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case *object:
			if props, ok := v.get("properties"); ok {
				if props, ok := props.(*object); ok && !strings.HasSuffix(path, "/properties") {
					for _, f := range props.fields {
						fields++
						if o, ok := f.val.(*object); ok {
							if text, _ := o.get("description"); text == nil || text == "" {
								t.Errorf("%s/properties/%s has no description", path, f.key)
							}
						}
					}
				}
			}
			for _, f := range v.fields {
				walk(path+"/"+f.key, f.val)
			}
		case []any:
			for _, x := range v {
				walk(path, x)
			}
		}
	}
	walk("", doc)
	if fields < 80 {
		t.Errorf("only %d fields found", fields)
	}
}
