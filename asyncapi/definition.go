package asyncapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// definition adds what one definition sends and receives.
func (w *writer) definition(d *sagas.Definition) {
	intake := w.channel(w.topics.Intake, "")
	summary := "Start " + d.Saga + "."
	w.message(intake, "receiveIntake", "receive", "", name("start", d.Ref()), object{
		"title": "Start " + d.Ref(), "summary": summary, "bindings": kafkaKey(workflowKey + ", or anything"),
		"payload": record([]string{"type"}, object{
			"kind": object{"const": "start"}, "type": object{"const": d.Saga}, "id": text("id part of the workflow ID; absent: computed, or the record key"),
			"version": object{"type": "integer", "minimum": 0, "description": "default: the active one"}, "input": input(d.Input),
			"startId": text("the same start twice runs once"), "replyTo": text("topic of the result"),
			"tags":     object{"type": "object", "additionalProperties": object{"type": "string"}, "maxProperties": protocol.MaxTags},
			"issuedAt": object{"type": "string", "format": "date-time"},
		}),
	})
	for _, on := range d.On {
		w.binding(d, on)
	}
	for _, participant := range slices.Sorted(maps.Keys(d.Participants)) {
		if c := d.Participants[participant].Correlate; c != nil {
			w.correlated(d, participant, c)
		}
	}
	sets := map[string]bool{}
	walk(d.Steps, func(s *sagas.StepDef) { w.step(d, s, sets) })
}

// input is the schema of what a start carries.
func input(decl *sagas.InputDecl) object {
	o := object{"type": "object"}
	if decl == nil {
		return o
	}
	if decl.Name != "" {
		o["description"] = "Avro record " + decl.Name
	}
	if len(decl.Required) > 0 {
		o["required"] = decl.Required
	}
	if len(decl.Properties) > 0 {
		properties := object{}
		for field, kind := range decl.Properties {
			properties[field] = object{"type": kind}
		}
		o["properties"] = properties
	}
	return o
}

// walk visits all nodes, those inside others too.
func walk(steps []sagas.StepDef, visit func(*sagas.StepDef)) {
	for i := range steps {
		visit(&steps[i])
		for _, lane := range steps[i].Lanes {
			walk(lane.Steps, visit)
		}
	}
}

// step adds the commands, signals and events of one node.
func (w *writer) step(d *sagas.Definition, s *sagas.StepDef, signals map[string]bool) {
	switch {
	case s.Await != nil && s.Await.Signal != "":
		w.signal(d, s.Await.Signal, signals)
	case s.Await != nil && s.Await.Topic != "":
		w.awaited(d, s)
	case s.Emit != nil:
		w.emit(s.Emit)
	}
	if s.Sleep != nil {
		for _, signal := range s.Sleep.Wake {
			w.signal(d, signal, signals)
		}
	}
	if s.Repeat != nil {
		for _, signal := range s.Repeat.Wake {
			w.signal(d, signal, signals)
		}
	}
	if s.Call == "" {
		return
	}
	w.command(d, protocol.OpDo, s.Call, s.With)
	if s.Undo != nil {
		w.command(d, protocol.OpUndo, s.Undo.Call, orElse(s.Undo.With, s.With))
	}
	if s.Inquire != nil {
		w.command(d, protocol.OpInquire, s.Inquire.Call, orElse(s.Inquire.With, s.With))
	}
}

func orElse(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}

// command adds one operation of one command.
func (w *writer) command(d *sagas.Definition, op protocol.Op, call string, with []byte) {
	participant, command, _ := strings.Cut(call, ".")
	p := d.Participants[participant]
	topic := p.Topic
	if topic == "" {
		topic = protocol.CommandTopic(participant)
	}
	channel := w.channel(topic, "commands to "+participant)
	id := name(participant, command, string(op))
	payload, more := shape(with), object{}
	if p.Avro() {
		payload, more = avroRecord(p, topic, command)
	} else if have, _ := w.messages[id].(object); have != nil {
		w.widen(have, payload)
	}
	title := map[protocol.Op]string{protocol.OpDo: "Do ", protocol.OpUndo: "Undo ", protocol.OpInquire: "What became of "}[op] + call
	maps.Copy(more, object{
		"title": title, "headers": ref("components", "schemas", "commandHeaders"), "bindings": kafkaKey(workflowKey), "payload": payload,
	})
	w.message(channel, name("send", participant), "send", "Commands to "+participant+".", id, more)
	if p.Correlate != nil {
		return // it answers by events
	}
	operation, _ := w.operations[name("send", participant)].(object)
	replies := w.channel(w.topics.Replies, "")
	operation["reply"] = object{
		"address":  object{"location": "$message.header#/" + protocol.HeaderReplyTo, "description": "with the partition of saga-reply-partition"},
		"channel":  ref("channels", replies),
		"messages": []any{ref("channels", replies, "messages", "reply")},
	}
}

// widen lets the payload of a command that several steps send have the fields of all of them.
func (w *writer) widen(have, more object) {
	old, _ := have["payload"].(object)
	fields, _ := old["properties"].(object)
	added, _ := more["properties"].(object)
	switch {
	case fields == nil || added == nil:
		have["payload"] = object{"type": "object"}
	default:
		for field, schema := range added {
			if was, found := fields[field]; found && !same(was, schema) {
				fields[field] = object{}
				continue
			}
			fields[field] = schema
		}
	}
}

func same(a, b any) bool {
	x, err := json.Marshal(a)
	if err != nil {
		return false
	}
	y, err := json.Marshal(b)
	return err == nil && bytes.Equal(x, y)
}

// shape is the schema of a tree of inputs, as far as it is known: the fields and the literals. What an
// expression gives is not.
func shape(tree []byte) object {
	if tree == nil {
		return object{"type": "object"}
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(tree))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return object{}
	}
	return schemaOf(v)
}

func schemaOf(v any) object {
	switch v := v.(type) {
	case map[string]any:
		properties := object{}
		for _, field := range slices.Sorted(maps.Keys(v)) {
			properties[field] = schemaOf(v[field])
		}
		return object{"type": "object", "properties": properties}
	case []any:
		return object{"type": "array"}
	case string:
		if strings.HasPrefix(v, "=") && !strings.HasPrefix(v, "==") {
			return object{"description": v}
		}
		return object{"type": "string"}
	case bool:
		return object{"type": "boolean"}
	case json.Number:
		return object{"type": "number"}
	}
	return object{}
}

// signal adds a signal that an instance may wait for.
func (w *writer) signal(d *sagas.Definition, signal string, known map[string]bool) {
	if known[signal] {
		return
	}
	known[signal] = true
	w.message(w.channel(w.topics.Intake, ""), "receiveIntake", "receive", "", name("signal", d.Saga, signal), object{
		"title": "Signal " + signal + " to " + d.Saga, "bindings": kafkaKey(workflowKey + ", or anything"),
		"payload": record([]string{"kind", "type", "name"}, object{
			"kind": object{"const": "signal"}, "type": object{"const": d.Saga}, "id": text("id part of the workflow ID; absent: the record key"),
			"name": object{"const": signal}, "signalId": text("the same signal twice counts once"), "payload": object{},
			"ttl": object{"type": "string", "description": "how long it waits, such as 15m"}, "actor": text("who sends it"),
			"issuedAt": object{"type": "string", "format": "date-time"},
		}),
	})
}

// emit adds a domain event that sagas publish.
func (w *writer) emit(e *sagas.EmitDef) {
	channel := w.channel(e.Topic, "domain events")
	id := name("event", e.Type)
	payload := shape(e.With)
	if have, _ := w.messages[id].(object); have != nil {
		w.widen(have, payload)
	}
	w.message(channel, name("publish", e.Topic), "send", "Domain events, exactly once for readers of committed data.", id, object{
		"title": e.Type, "summary": "CloudEvents 1.0, binary mode.", "headers": ref("components", "schemas", "cloudEventHeaders"),
		"bindings": kafkaKey("of the definition, else the workflow ID"), "payload": payload,
	})
}

// binding adds the events of a topic of others that start or signal sagas.
func (w *writer) binding(d *sagas.Definition, on sagas.BindingDef) {
	channel := w.channel(on.Topic, "events of others")
	summary := "Binding " + on.Name + " of " + d.Saga + ": " + on.Action.String() + "."
	if on.When != "" {
		summary += " Only when " + on.When + "."
	}
	w.message(channel, name("read", on.Topic), "receive", "Events that start or signal sagas.", name("on", d.Saga, on.Name), object{
		"title": d.Saga + " on " + on.Topic, "summary": summary,
		"description": anyFormat, "payload": object{},
	})
}

// anyFormat describes the payload of a topic of others.
const anyFormat = "Any format that the namespace reads: JSON, or Avro with a registry. A CloudEvent in binary or structured mode that comes twice counts once."

// awaited adds the events that instances wait for.
func (w *writer) awaited(d *sagas.Definition, s *sagas.StepDef) {
	summary := "Instances of " + d.Saga + " wait at " + s.ID + " for one whose " + s.Await.Match + " is " + s.Await.Equals + "."
	if s.Await.When != "" {
		summary += " Only when " + s.Await.When + "."
	}
	w.message(w.channel(s.Await.Topic, "events of others"), name("await", s.Await.Topic), "receive", "Events that instances wait for, by a value in them.", name("await", d.Saga, s.ID), object{
		"title": d.Saga + " awaits " + s.Await.Topic, "summary": summary, "description": anyFormat, "payload": object{},
	})
}

// correlated adds the events that are the answers of a participant which cannot echo a token.
func (w *writer) correlated(d *sagas.Definition, participant string, c *sagas.CorrelateDef) {
	by := c.Equals
	if by == "" {
		by = "the saga-key of the command"
	}
	summary := "Answers a command to " + participant + " when " + c.Match + " is " + by + "; the outcome is " + c.Outcome + "."
	if c.When != "" {
		summary += " Only when " + c.When + "."
	}
	w.message(w.channel(c.Topic, "events of others"), name("correlate", c.Topic), "receive", "Events that are answers of participants, by a value in them.", name("correlate", d.Saga, participant), object{
		"title": participant + " answers " + d.Saga + " on " + c.Topic, "summary": summary, "description": anyFormat, "payload": object{},
	})
}

// avroRecord is the payload of a command in Avro, and where its schema is kept.
func avroRecord(p sagas.Participant, topic, command string) (payload, extra object) {
	record := p.Schema.Record(command)
	description := "Avro"
	if record != "" {
		description += " record " + record
	}
	return object{"description": description + ", subject " + p.Schema.Subject(topic, record) + " of the registry"}, object{"contentType": protocol.ContentAvro}
}
