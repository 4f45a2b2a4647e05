package build

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/amendsio/amends/sagas"
)

// Saga is a definition in the making. Its methods return it, so that they can be chained.
type Saga struct {
	doc   map[string]any
	input reflect.Type // nil = not known
	steps []Node
	at    place
}

// New starts the definition of one version of a saga. In is the type of its input: the JSON fields
// of a struct become the properties, those without omitempty and not a pointer are required. With
// any, every JSON object is taken.
func New[In any](name string, version uint32) *Saga {
	s := &Saga{doc: map[string]any{"saga": name, "version": version}, at: here()}
	t := reflect.TypeFor[In]()
	if fields := fieldsOf(t); fields != nil {
		s.input = t
		s.doc["input"] = inputDecl(fields)
	}
	return s
}

// inputDecl is the declaration of an input: names that must be there, and types that JSON has.
func inputDecl(fields []jsonField) map[string]any {
	var required []string
	properties := map[string]any{}
	for _, f := range fields {
		if !f.optional {
			required = append(required, f.name)
		}
		if t := jsonType(f.typ); t != "" {
			properties[f.name] = map[string]any{"type": t}
		}
	}
	decl := map[string]any{}
	if len(required) > 0 {
		decl["required"] = required
	}
	if len(properties) > 0 {
		decl["properties"] = properties
	}
	return decl
}

// InputName says that the input is an Avro record, instead of the properties of the Go type.
func (s *Saga) InputName(record string) *Saga { return s.set("input", record) }

// ID is the expression that makes the id of an instance from its input.
func (s *Saga) ID(e Expr) *Saga { return s.set("id", e.text()) }

// Deadline runs from the start until the pivot is sent.
func (s *Saga) Deadline(d time.Duration) *Saga { return s.set("deadline", limit(d)) }

// Output is the result of the completed saga.
func (s *Saga) Output(w With) *Saga { return s.set("output", w.tree()) }

// Tags are texts that lists can search.
func (s *Saga) Tags(w With) *Saga { return s.set("tags", w.tree()) }

// Retention says how long an ended instance is kept, and how long its id is remembered.
func (s *Saga) Retention(state, marker time.Duration) *Saga {
	return s.set("retention", map[string]any{"state": duration(state), "marker": duration(marker)})
}

// Eager undoes at once when the saga turns round, instead of letting work in flight answer.
func (s *Saga) Eager() *Saga { return s.set("onFailure", sagas.Eager.String()) }

// Reuse says whether a start with another input may begin the next run of a workflow ID.
func (s *Saga) Reuse(p sagas.ReusePolicy) *Saga { return s.set("reuse", p.String()) }

// PII names values that are personal, such as input.card.number or step.kyc.passport: they are masked
// wherever amends shows them.
func (s *Saga) PII(paths ...string) *Saga { return s.set("pii", paths) }

// Requires raises the feature level that every process needs.
func (s *Saga) Requires(level uint32) *Saga { return s.set("requires", level) }

func (s *Saga) set(key string, v any) *Saga {
	s.doc[key] = v
	return s
}

// ParticipantOption is one setting of a participant.
type ParticipantOption func(map[string]any)

// Ops are the operations that a participant answers, of do, undo and inquire.
func Ops(ops ...string) ParticipantOption {
	return func(p map[string]any) { p["ops"] = ops }
}

// KeyWindow is how long a participant recognises an idempotency key.
func KeyWindow(d time.Duration) ParticipantOption {
	return func(p map[string]any) { p["keyWindow"] = duration(d) }
}

// Topic is where the commands of a participant go; cmd.NAME without it.
func Topic(topic string) ParticipantOption {
	return func(p map[string]any) { p["topic"] = topic }
}

// Answers says how a participant answers by events of a topic; see docs/definition.md, Correlate. "" leaves a
// field out.
type Answers struct {
	Topic                                          string
	When, Match, Equals, Op, Outcome, Code, Effect Expr
	TTL                                            time.Duration // 0 = an hour, NoLimit = not at all
}

// Correlate lets a participant answer by events, because it cannot echo a token.
func Correlate(a Answers) ParticipantOption {
	return func(p map[string]any) {
		c := map[string]any{"topic": a.Topic}
		for name, e := range map[string]Expr{"when": a.When, "match": a.Match, "equals": a.Equals, "op": a.Op, "outcome": a.Outcome, "code": a.Code, "effect": a.Effect} {
			if e != "" {
				c[name] = e.text()
			}
		}
		if a.TTL != 0 {
			c["ttl"] = limit(a.TTL)
		}
		p["correlate"] = c
	}
}

// Avro has the commands of a participant written as Avro. command and reply are the full names of the records; ""
// leaves them to the registry.
func Avro(command, reply string) ParticipantOption {
	return func(p map[string]any) {
		p["format"] = sagas.FormatAvro
		schema := map[string]any{}
		if command != "" {
			schema["command"] = command
		}
		if reply != "" {
			schema["reply"] = reply
		}
		if len(schema) > 0 {
			p["schema"] = schema
		}
	}
}

// Participant declares a service that executes commands.
func (s *Saga) Participant(name string, options ...ParticipantOption) *Saga {
	all, _ := s.doc["participants"].(map[string]any)
	if all == nil {
		all = map[string]any{}
		s.doc["participants"] = all
	}
	p := map[string]any{}
	for _, o := range options {
		o(p)
	}
	all[name] = p
	return s
}

// Steps adds nodes at the end of the saga.
func (s *Saga) Steps(nodes ...Node) *Saga {
	s.steps = append(s.steps, nodes...)
	return s
}

// Build makes the definition. The error is sagas.Findings and lists everything that is wrong.
func (s *Saga) Build() (*sagas.Definition, error) {
	var found sagas.Findings
	places := map[string]place{"": s.at}
	known := fieldsOf(s.input)
	for _, key := range []string{"id", "output", "tags"} {
		if known != nil {
			found = append(found, unknownInputs(expressions(s.doc[key]), known, s.input, s.at, key)...)
		}
	}
	walk(s.steps, func(n *Step) {
		places[n.id] = n.at
		for _, f := range n.faults {
			found = add(found, f)
		}
		if known != nil {
			for _, f := range n.inputFaults(known, s.input) {
				found = add(found, f)
			}
		}
	})
	s.doc["steps"] = list(s.steps)
	src, err := json.Marshal(s.doc)
	if err != nil {
		found = append(found, s.at.finding("SG01", "", "the definition is not JSON: "+err.Error(), ""))
		return nil, found
	}
	def, err := sagas.ParseDefinition(s.at.file, src)
	if err != nil {
		more, ok := err.(sagas.Findings)
		if !ok {
			return nil, err
		}
		for _, f := range more {
			found = add(found, inGo(f, places))
		}
	}
	if len(found) > 0 {
		return nil, found
	}
	return def, nil
}

// MustBuild is Build for definitions that are part of a program: it panics with the findings.
func (s *Saga) MustBuild() *sagas.Definition {
	def, err := s.Build()
	if err != nil {
		panic(err)
	}
	return def
}

// add appends a finding that is not there yet.
func add(found sagas.Findings, f sagas.Finding) sagas.Findings {
	for _, have := range found {
		if have.Code == f.Code && have.Text == f.Text {
			return found
		}
	}
	return append(found, f)
}
