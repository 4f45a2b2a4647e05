package asyncapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Version of the AsyncAPI specification, and of its Kafka bindings.
const (
	Version      = "3.0.0"
	kafkaBinding = "0.5.0"
)

// ContentType of the document.
const ContentType = "application/vnd.aai.asyncapi+json;version=" + Version

// Options of a document.
type Options struct {
	Namespace string   // required
	Brokers   []string // host:port; empty: the document names no server
}

type object = map[string]any

// Document describes definitions. Of several versions of a saga it takes those that it is given. The result
// is indented JSON.
func Document(o Options, defs []*sagas.Definition) ([]byte, error) {
	topics, err := protocol.NewTopics(o.Namespace)
	if err != nil {
		return nil, err
	}
	defs = slices.Clone(defs)
	slices.SortFunc(defs, func(a, b *sagas.Definition) int {
		return cmp.Or(cmp.Compare(a.Saga, b.Saga), cmp.Compare(a.Version, b.Version))
	})
	w := &writer{topics: topics, channels: object{}, operations: object{}, messages: object{}, schemas: object{}, byAddress: map[string]string{}}
	w.common()
	var names []string
	for _, d := range defs {
		names = append(names, d.Ref())
		w.definition(d)
	}
	doc := object{
		"asyncapi": Version,
		"info": object{
			"title": "Sagas of " + o.Namespace, "version": "1.0.0",
			"description": "What goes over Kafka: " + strings.Join(names, ", ") +
				". Written from the side of the orchestrator: it sends commands and receives replies. The rules that participants keep are in docs/protocol.md.",
		},
		"defaultContentType": protocol.ContentJSON,
		"channels":           w.channels,
		"operations":         w.operations,
		"components":         object{"messages": w.messages, "schemas": w.schemas},
	}
	if len(o.Brokers) > 0 {
		servers := object{}
		for i, b := range o.Brokers {
			servers[fmt.Sprintf("kafka%d", i+1)] = object{"host": b, "protocol": "kafka"}
		}
		doc["servers"] = servers
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// writer gathers the parts of a document.
type writer struct {
	topics                                  protocol.Topics
	channels, operations, messages, schemas object
	byAddress                               map[string]string // topic -> name of the channel
}

// name makes a text fit to be the key of a component.
func name(parts ...string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, strings.Join(parts, "."))
}

func ref(parts ...string) object {
	for i := range parts {
		parts[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(parts[i])
	}
	return object{"$ref": "#/" + strings.Join(parts, "/")}
}

// channel gives the channel of a topic, which it makes when nobody has named it yet.
func (w *writer) channel(topic, summary string) string {
	if id, found := w.byAddress[topic]; found {
		return id
	}
	id := name(topic)
	for n := 2; w.channels[id] != nil; n++ { // two topics that differ in characters that a name cannot have
		id = fmt.Sprintf("%s_%d", name(topic), n)
	}
	w.byAddress[topic] = id
	w.channels[id] = object{
		"address": topic, "summary": summary, "messages": object{},
		"bindings": object{"kafka": object{"topic": topic, "bindingVersion": kafkaBinding}},
	}
	return id
}

// message adds a message to a channel and to an operation of it.
func (w *writer) message(channel, operation, action, summary, id string, m object) {
	if w.messages[id] == nil {
		m["name"] = id
		w.messages[id] = m
	}
	ch, _ := w.channels[channel].(object)
	messages, _ := ch["messages"].(object)
	messages[id] = ref("components", "messages", id)
	op, _ := w.operations[operation].(object)
	if op == nil {
		op = object{"action": action, "summary": summary, "channel": ref("channels", channel), "messages": []any{}}
		w.operations[operation] = op
	}
	list, _ := op["messages"].([]any)
	one := ref("channels", channel, "messages", id)
	for _, have := range list {
		if h, _ := have.(object); h["$ref"] == one["$ref"] {
			return
		}
	}
	op["messages"] = append(list, one)
}

// kafkaKey is the binding of a message whose record has a key.
func kafkaKey(description string) object {
	return object{"kafka": object{"key": object{"type": "string", "description": description}, "bindingVersion": kafkaBinding}}
}

func text(description string) object { return object{"type": "string", "description": description} }

func number(description string) object {
	return object{"type": "string", "pattern": "^[0-9]+$", "description": description}
}

func oneOf(description string, values ...string) object {
	return object{"type": "string", "enum": values, "description": description}
}

func record(required []string, properties object) object {
	o := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

// json of an Avro schema, as a payload.
func avro(schema string) object {
	return object{"schemaFormat": "application/vnd.apache.avro+json;version=1.9.0", "schema": json.RawMessage(schema)}
}
