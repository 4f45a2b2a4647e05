package derive

import (
	"fmt"
	"slices"

	"github.com/linkedin/goavro/v2"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// MaxTargets bounds the topics that one stage writes.
const MaxTargets = 64

// Stage is what a file declares. It is immutable; any number of processes may run it.
type Stage struct {
	Name        string   // of the stage, and the prefix of its group and topics
	From        string   // the topic that is read
	To          []string // the topics that are written, in the order of the file
	DeadLetters string

	slots   *slots
	format  format
	where   *condition
	targets []target
}

// target is one output of a stage.
type target struct {
	topic   string
	where   *condition
	key     *keyer
	value   *template // nil = the record's value as it is
	format  format
	headers bool
	intake  *intake // of a start; then key and value are not used
}

// format is how values are written.
type format struct {
	name  string
	codec *goavro.Codec // of avro
}

const (
	formatJSON = "json"
	formatAvro = "avro"
)

// Parse reads a file. Schemas that it names are asked for by readSchema, with the name as it stands in
// the file; nil when no schema can be read. The error is sagas.Findings and lists everything that is
// wrong, with its place.
func Parse(file string, src []byte, readSchema func(name string) ([]byte, error)) (*Stage, error) {
	doc, root := sagas.ReadDocument(file, src)
	st := &Stage{slots: newSlots()}
	p := parser{readSchema: readSchema, st: st}
	p.root(root)
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return st, nil
}

type parser struct {
	st         *Stage
	readSchema func(name string) ([]byte, error)
}

func (p *parser) root(v sagas.DocValue) {
	if !v.Fields("a derive file", "derive", "from", "where", "to", "deadLetters") {
		return
	}
	st := p.st
	name := v.Required("derive")
	if st.Name = name.Text("derive"); st.Name != "" {
		if err := protocol.ValidateNamespace(st.Name); err != nil {
			name.Fault("SG03", "", "%v", err)
		}
	}
	from := v.Required("from")
	if from.Fields("from", "topic", "format", "schema") {
		st.From = p.topic(from.Required("topic"))
		st.format = p.format(from, format{name: formatJSON})
	}
	st.where = newCondition(v.Child("where").Expr("where", sagas.WantBool), st.slots)
	st.DeadLetters = st.Name + ".dead"
	if dead := v.Child("deadLetters"); dead.Given() {
		st.DeadLetters = p.topic(dead)
	}
	to := v.Required("to")
	items := to.Items("to")
	if to.IsList() && len(items) == 0 {
		to.Fault("SG01", "", "to names no topic")
	}
	if len(items) > MaxTargets {
		to.Fault("SG01", "", "%d topics, at most %d", len(items), MaxTargets)
		return
	}
	for _, item := range items {
		p.target(item)
	}
}

func (p *parser) target(v sagas.DocValue) {
	if v.Child("intake").Given() {
		p.intake(v)
		return
	}
	if !v.Fields("an entry of to", "topic", "where", "key", "value", "format", "schema", "headers") {
		return
	}
	st, tg := p.st, target{}
	tg.topic = p.topic(v.Required("topic"))
	switch {
	case tg.topic == st.From && tg.topic != "":
		v.Child("topic").Fault("SG02", "", "%s is the topic that is read: its records would go round for ever", tg.topic)
	case slices.Contains(st.To, tg.topic):
		v.Child("topic").Fault("SG02", "Write one entry for each topic.", "%s is written twice", tg.topic)
	}
	st.To = append(st.To, tg.topic)
	tg.where = newCondition(v.Child("where").Expr("where", sagas.WantBool), st.slots)
	tg.key = newKeyer(v.Child("key").Expr("key", sagas.WantText), st.slots)
	inherited := format{name: formatJSON}
	if value := v.Child("value"); value.Given() {
		if !value.IsMap() && !value.IsExpr() {
			value.Fault("SG01", "", "value must be a map or an expression")
		}
		tg.value = newTemplate(value, st.slots, 0)
	} else {
		inherited = st.format
		if f := v.Child("format"); f.Given() {
			f.Fault("SG01", "Add value.", "without value a record is passed on as it is")
		}
	}
	tg.format = p.format(v, inherited)
	tg.headers = true
	if h := v.Child("headers"); h.Given() {
		switch h.Text("headers") {
		case "keep":
		case "drop":
			tg.headers = false
		default:
			h.Fault("SG01", "", "headers is keep or drop")
		}
	}
	st.targets = append(st.targets, tg)
}

func (p *parser) topic(v sagas.DocValue) string {
	name := v.Text("topic")
	if name == "" {
		if v.Given() {
			v.Fault("SG03", "", "a topic has no name")
		}
		return ""
	}
	if !topicValid(name) {
		v.Fault("SG03", "", "%q is not a topic name of letters, digits, '.', '_' and '-', at most %d", name, protocol.MaxTopic)
	}
	return name
}

func topicValid(name string) bool {
	if len(name) > protocol.MaxTopic || name == "." || name == ".." {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func (p *parser) format(v sagas.DocValue, def format) format {
	f := def
	if given := v.Child("format"); given.Given() {
		f = format{name: given.Text("format")}
		if f.name != formatJSON && f.name != formatAvro {
			given.Fault("SG01", "", "format is json or avro")
			return def
		}
	}
	schema := v.Child("schema")
	if f.name != formatAvro {
		if schema.Given() {
			schema.Fault("SG01", "Write format: avro.", "only avro has a schema")
		}
		return f
	}
	if !schema.Given() {
		if f.codec == nil {
			v.Fault("SG01", "Name the .avsc file.", "schema is missing")
		}
		return f
	}
	name := schema.Text("schema")
	codec, err := p.codec(name)
	if err != nil {
		schema.Fault("SG01", "", "schema %s: %v", name, err)
	}
	f.codec = codec
	return f
}

func (p *parser) codec(name string) (*goavro.Codec, error) {
	if p.readSchema == nil {
		return nil, fmt.Errorf("schema files cannot be read here")
	}
	src, err := p.readSchema(name)
	if err != nil {
		return nil, err
	}
	return goavro.NewCodecForStandardJSONFull(string(src))
}
