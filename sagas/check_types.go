package sagas

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"

	"github.com/amendsio/amends/internal/nearest"
)

// TypeUse is what a definition takes a type for: the input of a start, a command, the answer to one, an event.
type TypeUse struct {
	Record  string // full name; "" = the one that Subject has
	Topic   string // of a command or an event; "" for an input
	Subject string // where a registry keeps it; "" when the definition says only a name
	Writes  bool   // the engine writes it: a command
	Event   bool   // read from a topic of others, of which nothing says that it is Avro
}

// String names the use in messages.
func (u TypeUse) String() string {
	if u.Record != "" {
		return u.Record
	}
	return u.Subject
}

// eventUse is the use of the events of a topic.
func eventUse(topic string) TypeUse {
	return TypeUse{Topic: topic, Subject: topic + "-value", Event: true}
}

// TypeUses are the types that a definition names or takes from a registry, each once, in the order of their names.
func (d *Definition) TypeUses() []TypeUse {
	seen := map[TypeUse]bool{}
	if d.Input != nil && d.Input.Name != "" {
		seen[TypeUse{Record: d.Input.Name}] = true
	}
	for _, c := range d.calls() {
		if u, ok := d.commandUse(c); ok {
			seen[u] = true
		}
	}
	for _, p := range d.Participants {
		if p.Avro() && p.Schema != nil && p.Schema.Reply != "" {
			seen[TypeUse{Record: p.Schema.Reply}] = true
		}
	}
	for _, topic := range d.eventTopics() {
		seen[eventUse(topic)] = true
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b TypeUse) int {
		if by := strings.Compare(a.Record+"\x00"+a.Subject, b.Record+"\x00"+b.Subject); by != 0 || a.Event == b.Event {
			return by
		}
		if b.Event { // a topic may be that of commands and of events
			return -1
		}
		return 1
	})
}

// eventTopics are the topics whose events a definition reads: of bindings, of awaits, of participants that answer by
// events.
func (d *Definition) eventTopics() []string {
	var out []string
	for i := range d.On {
		out = append(out, d.On[i].Topic)
	}
	for _, s := range outlineOf(d).defs {
		if s.Await != nil && s.Await.Topic != "" {
			out = append(out, s.Await.Topic)
		}
	}
	for _, p := range d.Participants {
		if p.Correlate != nil {
			out = append(out, p.Correlate.Topic)
		}
	}
	return out
}

// calls are the commands of all steps, as participant.command.
func (d *Definition) calls() []string {
	var out []string
	for _, s := range outlineOf(d).defs {
		if s.Node != NodeCall {
			continue
		}
		out = append(out, s.Call)
		if s.Undo != nil {
			out = append(out, s.Undo.Call)
		}
		if s.Inquire != nil && s.Inquire.Call != "" {
			out = append(out, s.Inquire.Call)
		}
	}
	return out
}

// commandUse is the type of a command; ok is false when it is JSON.
func (d *Definition) commandUse(call string) (TypeUse, bool) {
	participant, command, _ := strings.Cut(call, ".")
	p, known := d.Participants[participant]
	if !known || !p.Avro() {
		return TypeUse{}, false
	}
	record := p.Schema.Record(command)
	return TypeUse{Record: record, Topic: p.Topic, Subject: p.Schema.Subject(p.Topic, record), Writes: true}, true
}

// typeCheck is what CheckTypes adds to a checker.
type typeCheck struct {
	r     *report
	input *ValueType
	base  externalTypes
	envs  map[envKey]*cel.Env
	types map[string]*cel.Type   // of the result of each expression, by path
	found map[TypeUse]*ValueType // nil = not known
}

// envKey is what environments of expressions differ in.
type envKey struct {
	topic  string // of the event, "" = there is none
	record bool   // they see the event and nothing of a saga
	items  string // their names
}

// CheckTypes checks a definition, which ParseDefinition took, against schemas: expressions over the input and over
// events, what `with` sends, what `keep` takes. find gives the type of a use, nil when it does not know it. The result lists
// everything that does not fit, each with its place.
func (d *Definition) CheckTypes(find func(TypeUse) *ValueType) Findings {
	if d.src == nil || d.src.report == nil {
		parsed, err := ParseDefinition("", d.Canonical())
		if err != nil {
			return nil // whoever made it has heard
		}
		return parsed.CheckTypes(find)
	}
	tc := &typeCheck{
		r:     &report{file: d.src.report.file, lines: d.src.report.lines},
		envs:  map[envKey]*cel.Env{},
		types: map[string]*cel.Type{},
		found: map[TypeUse]*ValueType{},
	}
	var roots []*ValueType
	for _, u := range d.TypeUses() {
		t := find(u)
		if t == nil {
			continue
		}
		tc.found[u] = t
		roots = append(roots, t)
		if d.Input != nil && u == (TypeUse{Record: d.Input.Name}) {
			tc.input = t
		}
	}
	tc.base = newExternalTypes(celEnv.CELTypeProvider(), roots...)
	c := newChecker(&report{lines: tc.r.lines}, d)
	c.outside = tc
	c.check()
	tc.definition(c)
	return tc.r.found.sorted()
}

func (tc *typeCheck) fault(c *checker, path, code, hint, format string, args ...any) {
	tc.r.add(c.d.src.place(path), code, path, hint, format, args...)
}

// definition checks everything but the expressions over the input, which came with the check of expressions.
func (tc *typeCheck) definition(c *checker) {
	d := c.d
	if t := tc.input; t != nil && t.Kind != KindRecord && t.Kind != KindMap {
		tc.fault(c, "input", "SG25", "", "%s is %s, and an input is an object", d.Input.Name, t)
	}
	for i, s := range c.defs {
		if s.Node != NodeCall {
			continue
		}
		path := c.paths[i]
		tc.payload(c, path, "with", s.Call, s.With)
		if s.Undo != nil && len(s.Undo.With) > 0 {
			tc.payload(c, path+"/undo", "with", s.Undo.Call, s.Undo.With)
		}
		if s.Inquire != nil && len(s.Inquire.With) > 0 {
			call := s.Inquire.Call
			if call == "" {
				call = s.Call
			}
			tc.payload(c, path+"/inquire", "with", call, s.Inquire.With)
		}
		tc.keep(c, path, s)
	}
}

// keep checks the fields that are kept of an answer.
func (tc *typeCheck) keep(c *checker, path string, s *StepDef) {
	participant, _, _ := strings.Cut(s.Call, ".")
	p := c.d.Participants[participant]
	if !p.Avro() || p.Schema == nil || p.Schema.Reply == "" {
		return
	}
	t := tc.found[TypeUse{Record: p.Schema.Reply}]
	if t == nil || t.Kind != KindRecord {
		return
	}
	for _, name := range s.Keep {
		if t.field(name) == nil {
			tc.fault(c, tc.item(c, path+"/keep", len(s.Keep), name), "SG25", didYouMean(name, t.fieldNames()), "%s has no field %q", t, name)
		}
	}
}

// item is the path of the item of a list of names that is written as name: the definition has the names sorted.
func (tc *typeCheck) item(c *checker, path string, n int, name string) string {
	for k := range n {
		p := path + "/" + strconv.Itoa(k)
		at := c.d.src.place(p)
		if at.line < 1 || at.line > len(tc.r.lines) {
			continue
		}
		if line := []rune(tc.r.lines[at.line-1]); at.col <= len(line) && strings.HasPrefix(strings.TrimLeft(string(line[at.col-1:]), `"'`), name) {
			return p
		}
	}
	return path
}

func didYouMean(name string, known []string) string {
	if near := nearest.Name(name, known); near != "" {
		return fmt.Sprintf("Did you mean %q?", near)
	}
	return ""
}

// payload checks the value of a command.
func (tc *typeCheck) payload(c *checker, path, what, call string, tree []byte) {
	u, ok := c.d.commandUse(call)
	if !ok {
		return
	}
	t := tc.found[u]
	if t == nil {
		return
	}
	if len(tree) == 0 {
		tree = []byte("{}")
	}
	v, err := parseJSON(tree)
	if err != nil {
		return
	}
	w := withCheck{typeCheck: tc, c: c, call: call, top: path + "/" + what}
	w.value(w.top, v, t, "")
}

// withCheck walks the tree of one payload.
type withCheck struct {
	*typeCheck
	c    *checker
	call string
	top  string
}

// value checks a part of the tree; of is the field that it is, as record.field.
func (w *withCheck) value(path string, v any, t *ValueType, of string) {
	if t.Kind == KindAny {
		return
	}
	if of != "" {
		of = " (" + of + ")"
	}
	switch v := v.(type) {
	case string:
		text, isExpr := exprText(v)
		if !isExpr {
			if !t.holdsValue(text) {
				w.fault(w.c, path, "SG23", "", "want %s, got string%s", t, of)
			}
			return
		}
		if got := w.types[path]; got != nil && !t.holds(got) {
			w.r.add(w.c.inSource(path, text, exprPlace{}), "SG23", path, "", "want %s, got %s%s", t, celName(got), of)
		}
	case *object:
		switch t.Kind {
		case KindMap:
			for _, f := range v.fields {
				w.value(path+"/"+f.key, f.val, t.Elem, "")
			}
		case KindRecord:
			w.record(path, v, t)
		default:
			w.fault(w.c, path, "SG23", "", "want %s, got an object%s", t, of)
		}
	case []any:
		if t.Kind != KindList {
			w.fault(w.c, path, "SG23", "", "want %s, got a list%s", t, of)
			return
		}
		for i, item := range v {
			w.value(path+"/"+strconv.Itoa(i), item, t.Elem, "")
		}
	default:
		if !t.holdsValue(v) {
			w.fault(w.c, path, "SG23", "", "want %s, got %s%s", t, typeName(v), of)
		}
	}
}

func (w *withCheck) record(path string, o *object, t *ValueType) {
	for _, f := range o.fields {
		field := t.field(f.key)
		if field == nil {
			w.fault(w.c, path+"/"+f.key, "SG25", didYouMean(f.key, t.fieldNames()), "%s has no field %q", t, f.key)
			continue
		}
		w.value(path+"/"+f.key, f.val, field.Type, t.Name+"."+f.key)
	}
	for i := range t.Fields {
		f := &t.Fields[i]
		if _, set := o.get(f.Name); set || f.Optional {
			continue
		}
		if path == w.top {
			w.fault(w.c, path, "SG25", "", "%s needs field %q (%s.%s: %s); with: does not set it", w.call, f.Name, t.Name, f.Name, f.Type)
		} else {
			w.fault(w.c, path, "SG25", "", "%s needs field %q: %s", t, f.Name, f.Type)
		}
	}
}

// env is the environment in which the input, and the event of the topic, have the types of their schemas. It is nil
// when that says no more than what was checked already.
func (tc *typeCheck) env(c *checker, items []string) *cel.Env {
	key := envKey{c.topic, c.inBinding, strings.Join(items, " ")}
	if e, ok := tc.envs[key]; ok {
		return e
	}
	event, opts := cel.DynType, []cel.EnvOption{cel.CustomTypeProvider(tc.base)}
	if t := tc.event(c.topic); t != nil {
		event = t.celType()
	}
	var e *cel.Env
	var err error
	switch {
	case c.inBinding && event == cel.DynType:
	case c.inBinding:
		e, err = newEventEnv(event, opts...)
	default:
		for _, name := range items {
			opts = append(opts, cel.Variable(name, cel.DynType))
		}
		t := cel.MapType(cel.StringType, cel.DynType)
		if tc.input != nil && (tc.input.Kind == KindRecord || tc.input.Kind == KindMap) {
			t = tc.input.celType()
		}
		e, err = newEnv(t, event, opts...)
	}
	if err != nil {
		e = nil // then there is one check less
	}
	tc.envs[key] = e
	return e
}

// event is the type of the events of a topic, nil when it is not known.
func (tc *typeCheck) event(topic string) *ValueType {
	if topic == "" {
		return nil
	}
	return tc.found[eventUse(topic)]
}

var (
	undefinedField = regexp.MustCompile(`undefined field '([^']*)'`)
	notForRecords  = regexp.MustCompile(`^found no matching overload for '(?:_\[_\]|_\[\?_\]|size|@in|_==_|_!=_)' applied to '(.*)'|^expression of type '(.*)' cannot be range`)
)

// asMap says that a fault of the compiler is only that a record is not a map to it, which it is when the expression
// runs: event["field"], size(event.line).
func (tc *typeCheck) asMap(fault string) bool {
	m := notForRecords.FindStringSubmatch(fault)
	return m != nil && slices.ContainsFunc(strings.FieldsFunc(m[1]+m[2], func(r rune) bool { return strings.ContainsRune("(), ", r) }),
		func(name string) bool { return tc.base.records[name] != nil })
}

// expr checks one expression, which compiles without types, with them.
func (tc *typeCheck) expr(c *checker, path string, e *Expr, want wantType, items []string) {
	if e.refs.wholeInput || e.refs.wholeEvent && tc.event(c.topic) != nil {
		return
	}
	env := tc.env(c, items)
	if env == nil {
		return
	}
	checked, iss := env.Compile(e.text)
	if iss.Err() == nil {
		tc.types[path] = checked.OutputType()
		if text := checkTyped(checked.OutputType(), want); text != "" {
			tc.r.add(c.inSource(path, e.text, exprPlace{}), "SG23", path, "", "%s%s", text, tc.originTail(c, e))
		}
		return
	}
	fault := iss.Errors()[0] // the first explains the others
	if tc.asMap(fault.Message) {
		return
	}
	p := exprPlace{}
	if fault.Location != nil && fault.Location.Line() > 0 {
		p = exprPlace{fault.Location.Line() - 1, max(fault.Location.Column(), 0)}
	}
	at := c.inSource(path, e.text, p)
	root, of := tc.input, "the input"
	if t := tc.event(c.topic); t != nil && (c.inBinding || len(e.refs.fields) == 0 || startsAtEvent(e.text, p)) {
		root, of = t, "the events of "+c.topic
	}
	if m := undefinedField.FindStringSubmatch(fault.Message); m != nil && root != nil {
		hint := ""
		if near := tc.base.meant(root, m[1]); near != "" {
			hint = fmt.Sprintf("Did you mean %q?", near)
		}
		tc.r.add(at, "SG25", path, hint, "%s has no field %q where the expression asks for it", root, m[1])
		return
	}
	tc.r.add(at, "SG23", path, "", "with the schema of %s: %s", of, shortProblem(fault.Message))
}

// startsAtEvent says whether the chain of selections that stands before a place begins with the event.
func startsAtEvent(text string, p exprPlace) bool {
	if p.line > 0 {
		return false
	}
	before := []rune(text)
	before = before[:min(p.col, len(before))]
	i := len(before)
	for i > 0 && (before[i-1] == '.' || before[i-1] == '?' || before[i-1] == '_' || unicode.IsLetter(before[i-1]) || unicode.IsDigit(before[i-1])) {
		i--
	}
	chain := string(before[i:])
	return chain == nameEvent || strings.HasPrefix(chain, nameEvent+".")
}

// checkTyped is checkResult, which knows no records: they are objects to JSON.
func checkTyped(t *cel.Type, want wantType) string {
	if want == wantJSON {
		return ""
	}
	return checkResult(t, want)
}

var eventPath = regexp.MustCompile(`^event\.\??(\w+)$`)

// originTail says where the type comes from, when the expression is a field of the input or of the event.
func (tc *typeCheck) originTail(c *checker, e *Expr) string {
	root, name, field := tc.input, nameInput, ""
	if m := eventPath.FindStringSubmatch(e.text); m != nil {
		root, name, field = tc.event(c.topic), nameEvent, m[1]
	} else if len(e.refs.fields) == 1 {
		field = e.refs.fields[0].field
	}
	if root == nil || root.Kind != KindRecord {
		return ""
	}
	f := root.field(field)
	if f == nil {
		return ""
	}
	return fmt.Sprintf(" (%s.%s is %s.%s: %s)", name, f.Name, root.Name, f.Name, f.Type)
}
