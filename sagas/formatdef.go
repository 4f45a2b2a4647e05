package sagas

import (
	"slices"
	"strings"
)

// Formats of commands.
const (
	FormatJSON = "json"
	FormatAvro = "avro"
)

// Subjects are the strategies by which a schema registry names what it keeps.
const (
	SubjectsTopic       = "topic"       // <topic>-value
	SubjectsRecord      = "record"      // <full name of the record>
	SubjectsTopicRecord = "topicRecord" // <topic>-<full name of the record>
)

var (
	formatNames  = []string{FormatJSON, FormatAvro}
	subjectNames = []string{SubjectsTopic, SubjectsRecord, SubjectsTopicRecord}
	formatFields = []string{"command", "reply", "subjects"}
)

// SchemaDef says which Avro records a participant takes and gives. All of it may be missing: then the schema is the
// one that the registry keeps for the topic of the commands.
type SchemaDef struct {
	Command  string            // full name of the record of every command, unless Commands has it
	Commands map[string]string // by command name; nil = none
	Reply    string            // full name of the record of the replies; only for checks, a reply names its own
	Subjects string            // one of the Subjects constants; "" = topic
}

// Record is the full name of the record of a command, "" when the definition does not say.
func (s *SchemaDef) Record(command string) string {
	if s == nil {
		return ""
	}
	if name := s.Commands[command]; name != "" {
		return name
	}
	return s.Command
}

// Subject is where a registry keeps the schema of a record of a topic.
func (s *SchemaDef) Subject(topic, record string) string {
	if s != nil && record != "" {
		switch s.Subjects {
		case SubjectsRecord:
			return record
		case SubjectsTopicRecord:
			return topic + "-" + record
		}
	}
	return topic + "-value"
}

// Avro says whether the participant takes Avro.
func (p Participant) Avro() bool { return p.Format == FormatAvro }

// usesFormats says whether a participant asks for more than JSON.
func (d *Definition) usesFormats() bool {
	for _, p := range d.Participants {
		if p.Avro() {
			return true
		}
	}
	return false
}

// format reads format and schema of a participant.
func (dec *decoder) format(n *node, path string, p *Participant) {
	if f := n.child("format"); f != nil {
		if s, ok := dec.str(f, path+"/format", "format"); ok && !slices.Contains(formatNames, s) {
			dec.fault(f.at, "SG01", path+"/format", "Use one of "+strings.Join(formatNames, ", ")+".", "%q is not a format", s)
		} else if s != FormatJSON {
			p.Format = s
		}
	}
	s := n.child("schema")
	if s == nil {
		return
	}
	dec.src.places[path+"/schema"] = s.at
	if p.Format != FormatAvro {
		dec.fault(s.at, "SG01", path+"/schema", "Add format: avro.", "schema is for commands in Avro")
	}
	if !dec.fields(s, path+"/schema", "schema", formatFields, nil) {
		return
	}
	def := &SchemaDef{Reply: dec.recordName(s.child("reply"), path+"/schema/reply")}
	if c := s.child("command"); c != nil && c.isMap {
		for _, e := range c.entries {
			at := path + "/schema/command/" + e.key
			dec.src.places[at] = e.val.at
			if why := commandName.check(e.key); why != "" {
				dec.fault(e.at, "SG03", at, "", "%s", why)
				continue
			}
			if def.Commands == nil {
				def.Commands = map[string]string{}
			}
			def.Commands[e.key] = dec.recordName(e.val, at)
		}
	} else {
		def.Command = dec.recordName(c, path+"/schema/command")
	}
	if sub := s.child("subjects"); sub != nil {
		if name, ok := dec.str(sub, path+"/schema/subjects", "subjects"); ok && !slices.Contains(subjectNames, name) {
			dec.fault(sub.at, "SG01", path+"/schema/subjects", "Use one of "+strings.Join(subjectNames, ", ")+".", "%q is not a naming of subjects", name)
		} else if name != SubjectsTopic {
			def.Subjects = name
		}
	}
	if def.Subjects != "" && def.Command == "" && len(def.Commands) == 0 {
		dec.fault(s.at, "SG01", path+"/schema", "Name the record of the commands.", "subjects %s needs command", def.Subjects)
	}
	if def.Command != "" || len(def.Commands) > 0 || def.Reply != "" {
		p.Schema = def
	}
}

func (dec *decoder) recordName(n *node, path string) string {
	if n == nil {
		return ""
	}
	s, ok := dec.str(n, path, "the name of a record")
	if !ok {
		return ""
	}
	if why := avroName.check(s); why != "" {
		dec.fault(n.at, "SG03", path, "", "%s", why)
		return ""
	}
	dec.src.places[path] = n.at
	return s
}

// canonicalFormat adds what is not the default.
func (p Participant) canonicalFormat(o *object) {
	if !p.Avro() {
		return
	}
	o.set("format", p.Format)
	s := p.Schema
	if s == nil {
		return
	}
	c := &object{}
	switch {
	case len(s.Commands) > 0:
		m := &object{}
		for name, record := range s.Commands {
			m.set(name, record)
		}
		c.set("command", m)
	case s.Command != "":
		c.set("command", s.Command)
	}
	if s.Reply != "" {
		c.set("reply", s.Reply)
	}
	if s.Subjects != "" {
		c.set("subjects", s.Subjects)
	}
	o.set("schema", c)
}
