package orchestrator

import (
	"encoding/json"

	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Personal values are masked here, where state and records are read for people, so that no page, answer, bundle
// or stream can forget it, and no process hands a clear value to another. The values themselves are nowhere
// but in Kafka's topics and in the stores.

// private is what must not be shown of the instances of one version. A version that this process does not know,
// or 0, is taken for all known versions of the type together, and a type that it does not know is hidden when
// any definition has personal values. nil: nothing.
func (c *catalog) private(typ string, version uint32) *sagas.Private {
	if l := c.versions[definitionRef{typ, version}]; l != nil && l.plan != nil {
		return l.plan.Private()
	}
	return c.secrets[typ].or(c)
}

// secret is what is personal in any version of a type.
type secret struct {
	known   bool
	private *sagas.Private
}

func (s secret) or(c *catalog) *sagas.Private {
	if s.known {
		return s.private
	}
	if c.anySecret {
		return sagas.AllPrivate
	}
	return nil
}

// seal notes what is personal, once for each catalog.
func (c *catalog) seal() {
	c.secrets, c.anySecret = map[string]secret{}, false
	for ref, l := range c.versions {
		if l.plan == nil {
			continue
		}
		s := c.secrets[ref.typ]
		s.known, s.private = true, s.private.Join(l.plan.Private())
		c.secrets[ref.typ] = s
		c.anySecret = c.anySecret || s.private != nil
	}
}

func (o *Orchestrator) private(typ string, version uint32) *sagas.Private {
	return o.definitions.current.Load().private(typ, version)
}

// clearPart is the part of a record that may hold personal values, and what it is.
type clearPart struct {
	input, answer, signal []byte
	path, name            string
}

func partOf(m *Message, msg any, value []byte) clearPart {
	switch msg := msg.(type) {
	case *protocol.Start:
		return clearPart{input: msg.Input}
	case *protocol.Signal:
		return clearPart{signal: msg.Payload, name: msg.Name}
	case nil:
		if m.Kind == "reply" {
			return clearPart{answer: value, path: m.Path}
		}
	}
	return clearPart{}
}

// wordsOf are the personal values of some records.
func wordsOf(x *sagas.Private, parts []clearPart) sagas.Words {
	var inputs [][]byte
	answers, signals := map[string][][]byte{}, map[string][][]byte{}
	for _, p := range parts {
		switch {
		case p.input != nil:
			inputs = append(inputs, p.input)
		case p.answer != nil:
			answers[p.path] = append(answers[p.path], p.answer)
		case p.signal != nil:
			signals[p.name] = append(signals[p.name], p.signal)
		}
	}
	return sagas.Words{}.With(x, inputs, answers, signals)
}

// mask takes personal values out of a record. msg is what it was read as, nil for commands and replies and for
// what could not be read.
func (m *Message) mask(x *sagas.Private, words sagas.Words, msg any) {
	if x == nil {
		return
	}
	m.Name = words.Text(m.Name)
	for i := range m.Headers {
		m.Headers[i].Value = words.Text(m.Headers[i].Value)
	}
	if m.Value == nil && m.Bytes == "" {
		return
	}
	value := []byte(m.Value)
	if value == nil {
		value = []byte(m.Bytes) // no JSON: hidden as a whole below
	}
	switch msg := msg.(type) {
	case *protocol.Start:
		value = x.Input(value)
	case *protocol.Signal:
		value = x.Signal(msg.Name, value)
	case *protocol.Admin:
		if len(msg.Args) > 0 {
			value = argsJSON(maskArgs(x, msg.Path, msg.Args))
		}
	case nil:
		switch {
		case m.Kind == "reply" && m.Path != "":
			value = x.Output(m.Path, value)
		case m.Kind == "command" && m.Path != "":
			value = x.Payload(m.Path, opOf(protocol.Op(m.Op)), value)
		default:
			value = x.Hidden(value)
		}
	default: // what instances tell one another
		value = x.Hidden(value)
	}
	if value = words.JSON(value); !json.Valid(value) {
		value = x.Hidden(value)
	}
	m.Value, m.Bytes = value, ""
}

// maskArgs masks the arguments of an action that hold values.
func maskArgs(x *sagas.Private, path string, args map[string]string) map[string]string {
	if x == nil {
		return args
	}
	out := map[string]string{}
	for name, value := range args {
		switch name {
		case protocol.ArgOutput:
			value = string(x.Output(path, []byte(value)))
		case protocol.ArgPayload:
			value = string(x.Signal(args[protocol.ArgName], []byte(value)))
		}
		out[name] = value
	}
	return out
}

func argsJSON(args map[string]string) []byte {
	b, _ := json.Marshal(args) // texts always have JSON
	return b
}

// maskRecord masks a record of an input topic in its JSON form: the envelope stays. What is none, is hidden.
func maskRecord(x *sagas.Private, words sagas.Words, msg any, value []byte) json.RawMessage {
	if x == nil || len(value) == 0 {
		return value
	}
	fields := map[string]json.RawMessage{}
	if msg == nil || json.Unmarshal(value, &fields) != nil {
		return x.Hidden(value)
	}
	switch msg := msg.(type) {
	case *protocol.Start:
		if in := fields["input"]; in != nil {
			fields["input"] = x.Input(in)
		}
	case *protocol.Signal:
		if p := fields["payload"]; p != nil {
			fields["payload"] = x.Signal(msg.Name, p)
		}
	case *protocol.Admin:
		if len(msg.Args) > 0 {
			fields["args"] = argsJSON(maskArgs(x, msg.Path, msg.Args))
		}
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return x.Hidden(value)
	}
	return words.JSON(b)
}

// maskExplanation takes personal values out of an explanation, wherever they are in it.
func maskExplanation(words sagas.Words, e explain.Explanation) explain.Explanation {
	b, err := json.Marshal(e)
	if err != nil {
		return e
	}
	masked := words.JSON(b)
	if string(masked) == string(b) {
		return e
	}
	var out explain.Explanation
	if json.Unmarshal(masked, &out) != nil {
		return e
	}
	return out
}
