package sagas

import (
	"bytes"
	"os"
	"path/filepath"
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
	examples, _ := filepath.Glob("../examples/*/*.yaml")
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
