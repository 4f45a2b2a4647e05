package asyncapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/amendsio/amends/sagas"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// envSchema names the file 3.0.0.json of the npm package @asyncapi/specs; with it the documents are
// checked against the specification's own schema too.
const envSchema = "ASYNCAPI_SCHEMA"

const events = `
saga: shipment
version: 3
input: {required: [order], properties: {order: {type: string}, weight: {type: integer}}}
participants:
  carrier: {ops: [do, undo, inquire], keyWindow: 24h, topic: carrier.commands}
  customs:
    ops: [do]
    topic: customs.declarations
    format: avro
    schema: {command: customs.Declaration, subjects: record}
    correlate: {topic: customs.decisions, match: '=event.ref', equals: '=input.order', outcome: '=event.free ? "ok" : "rejected"'}
on:
  - {name: paid, topic: shop.payments, when: '=event.kind == "paid"', id: '=event.order', action: start, input: {order: '=event.order'}}
steps:
  - id: book
    call: carrier.book
    with: {order: '=input.order', express: false, box: {weight: '=input.?weight', tags: [a]}}
    onUnknown: inquire
    undo: {call: carrier.cancel}
  - id: scanned
    await: {signal: scan, within: 2d}
  - id: cleared
    call: customs.declare
    undo: none
    why: a declaration lapses by itself
    with: {order: '=input.order'}
  - id: signed
    await: {topic: carrier.signatures, match: '=event.order', equals: '=input.order', when: '=event.kind == "SIGNED"', within: 2d}
  - id: told
    emit: {topic: shipping.events, type: shipment.sent, with: {order: '=input.order', ok: true}}
`

func definitions(t *testing.T) []*sagas.Definition {
	t.Helper()
	defs, err := sagas.ParseDefinitions("events.yaml", []byte(events))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"card-payment", "order", "trip-booking", "fx-transfer", "shop-payment", "subscription-period"} {
		src, err := os.ReadFile(filepath.Join("../examples", name, "saga.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		more, err := sagas.ParseDefinitions(name, src)
		if err != nil {
			t.Fatal(err)
		}
		defs = append(defs, more...)
	}
	return defs
}

// document generates, and checks what must hold of every document.
func document(t *testing.T, defs []*sagas.Definition) []byte {
	t.Helper()
	doc, err := Document(Options{Namespace: "pay", Brokers: []string{"kafka:9092"}}, defs)
	if err != nil {
		t.Fatal(err)
	}
	check(t, doc)
	return doc
}

func TestGolden(t *testing.T) {
	defs := definitions(t)
	for name, list := range map[string][]*sagas.Definition{"events": defs[:1], "card-payment": defs[1:2]} {
		doc := document(t, list)
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, doc, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(doc, want) {
			t.Errorf("%s differs (go test ./asyncapi -update writes it): %v", path, err)
		}
	}
}

// The same definitions give the same bytes, in any order; all examples together make a sound document.
func TestOrder(t *testing.T) {
	defs := definitions(t)
	doc := document(t, defs)
	slices.Reverse(defs)
	if again := document(t, defs); !bytes.Equal(doc, again) {
		t.Error("the order of the definitions changes the document")
	}
	empty := document(t, nil)
	if !strings.Contains(string(empty), "pay.saga.intake") {
		t.Error("a namespace without definitions has no topics")
	}
	if _, err := Document(Options{Namespace: "Pay!"}, nil); err == nil {
		t.Error("a bad namespace was taken")
	}
}

var componentKey = regexp.MustCompile(`^[\w\d.\-_]+$`)

// check reads a document as strictly as can be without the schema of the specification: known fields only,
// every reference leads somewhere, an operation's messages are those of its channel.
func check(t *testing.T, src []byte) {
	t.Helper()
	type reference struct {
		Ref string `json:"$ref"`
	}
	var doc struct {
		AsyncAPI    string                     `json:"asyncapi"`
		Info        map[string]string          `json:"info"`
		ContentType string                     `json:"defaultContentType"`
		Servers     map[string]json.RawMessage `json:"servers"`
		Channels    map[string]struct {
			Address  string               `json:"address"`
			Summary  string               `json:"summary"`
			Messages map[string]reference `json:"messages"`
			Bindings json.RawMessage      `json:"bindings"`
		} `json:"channels"`
		Operations map[string]struct {
			Action   string      `json:"action"`
			Summary  string      `json:"summary"`
			Channel  reference   `json:"channel"`
			Messages []reference `json:"messages"`
			Reply    *struct {
				Address  map[string]string `json:"address"`
				Channel  reference         `json:"channel"`
				Messages []reference       `json:"messages"`
			} `json:"reply"`
		} `json:"operations"`
		Components struct {
			Messages map[string]struct {
				Name        string          `json:"name"`
				Title       string          `json:"title"`
				Summary     string          `json:"summary"`
				Description string          `json:"description"`
				ContentType string          `json:"contentType"`
				Headers     json.RawMessage `json:"headers"`
				Payload     json.RawMessage `json:"payload"`
				Bindings    json.RawMessage `json:"bindings"`
			} `json:"messages"`
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.AsyncAPI != "3.0.0" || doc.Info["title"] == "" || doc.Info["version"] == "" {
		t.Errorf("head: %q %v", doc.AsyncAPI, doc.Info)
	}
	var tree any
	if err := json.Unmarshal(src, &tree); err != nil {
		t.Fatal(err)
	}
	addresses := map[string]string{}
	for id, ch := range doc.Channels {
		if other := addresses[ch.Address]; other != "" || ch.Address == "" {
			t.Errorf("channels %s and %s have the address %q", id, other, ch.Address)
		}
		addresses[ch.Address] = id
		if !componentKey.MatchString(id) || ch.Summary == "" || len(ch.Messages) == 0 {
			t.Errorf("channel %q: %+v", id, ch)
		}
	}
	for id, op := range doc.Operations {
		channel := strings.TrimPrefix(op.Channel.Ref, "#/channels/")
		if op.Action != "send" && op.Action != "receive" || len(op.Messages) == 0 || !componentKey.MatchString(id) {
			t.Errorf("operation %s: %+v", id, op)
		}
		for _, m := range op.Messages {
			if !strings.HasPrefix(m.Ref, "#/channels/"+channel+"/messages/") {
				t.Errorf("operation %s sends %s, which is not of its channel", id, m.Ref)
			}
		}
	}
	for id, m := range doc.Components.Messages {
		if m.Name != id || m.Title == "" || m.Payload == nil || !componentKey.MatchString(id) {
			t.Errorf("message %s: %+v", id, m)
		}
	}
	references(tree, func(ref string) {
		at := tree
		for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			o, _ := at.(map[string]any)
			at = o[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	if path := os.Getenv(envSchema); path != "" {
		validate(t, path, tree)
	}
}

func references(v any, see func(string)) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			see(ref)
		}
		for _, child := range v {
			references(child, see)
		}
	case []any:
		for _, child := range v {
			references(child, see)
		}
	}
}

// validate checks a document against the schema of the specification.
func validate(t *testing.T, path string, doc any) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(map[string]any{"asyncapi": Version}) == nil {
		t.Error("the schema accepts a document without info")
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%#v", err)
	}
}
