package build

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// Node is a step of a saga, of any kind.
type Node interface{ step() *Step }

// Step is a node in the making.
type Step struct {
	id     string
	doc    map[string]any
	inner  [][]Node // the lists inside
	with   With
	keep   []string // fields of step.<id> that expressions can use
	at     place
	faults sagas.Findings
}

func (s *Step) step() *Step { return s }

func newStep(id string) *Step {
	return &Step{id: id, doc: map[string]any{"id": id}, at: here()}
}

// ID is the id of the step.
func (s *Step) ID() string { return s.id }

// OnlyIf skips the step when the condition is false.
func (s *Step) OnlyIf(condition Expr) *Step {
	s.doc["when"] = condition.text()
	return s
}

// After makes the step wait for these steps of the same list, and no others. Without any it waits
// for nothing.
func (s *Step) After(nodes ...Node) *Step {
	ids := []string{}
	for _, n := range nodes {
		ids = append(ids, n.step().id)
	}
	s.doc["after"] = ids
	return s
}

// Field is the expression step.<id>.<field>: something that the step keeps, which must be there. A
// field that the step does not keep is a finding of Build, at the line of this call.
func (s *Step) Field(field string) Expr {
	s.needs(field)
	return Expr("step." + s.id + "." + field)
}

// Maybe is the expression step.<id>.?<field>: the field, if it is there. An undo must ask so for what
// its own step gave.
func (s *Step) Maybe(field string) Expr {
	s.needs(field)
	return Expr("step." + s.id + ".?" + field)
}

// State is the expression step.<id>.state.
func (s *Step) State() Expr { return Expr("step." + s.id + ".state") }

func (s *Step) needs(field string) {
	if slices.Contains(s.keep, field) {
		return
	}
	hint := fmt.Sprintf("Add %s to Keep of %s.", field, s.id)
	if s.doc["call"] == nil && s.doc["saga"] == nil && s.doc["await"] == nil {
		hint = "It has " + strings.Join(s.keep, ", ") + "."
	}
	f := here().finding("SG07", "steps/"+s.id, fmt.Sprintf("%s does not keep the output field %q", s.id, field), hint)
	s.faults = add(s.faults, f)
}

// fault is a finding at the line that made the step.
func (s *Step) fault(code, path, hint, format string, args ...any) {
	s.faults = add(s.faults, s.at.finding(code, "steps/"+s.id+path, fmt.Sprintf(format, args...), hint))
}

// list is a list of nodes as JSON.
func list(nodes []Node) []any {
	out := []any{}
	for _, n := range nodes {
		out = append(out, n.step().doc)
	}
	return out
}

// lane remembers a list inside the step and gives its JSON.
func (s *Step) lane(nodes []Node) []any {
	s.inner = append(s.inner, nodes)
	return list(nodes)
}

// walk visits all nodes, each before those inside it.
func walk(nodes []Node, visit func(*Step)) {
	for _, n := range nodes {
		s := n.step()
		visit(s)
		for _, l := range s.inner {
			walk(l, visit)
		}
	}
}

// Option is one setting of a call.
type Option interface{ apply(*Step) }

type option func(*Step)

func (o option) apply(s *Step) { o(s) }

func set(key string, v any) Option { return option(func(s *Step) { s.doc[key] = v }) }

// WithExpr is a payload that one expression gives as a whole.
func WithExpr(e Expr) Option { return set("with", e.text()) }

// Keep names fields of the output that later expressions use.
func Keep(fields ...string) Option {
	return option(func(s *Step) {
		s.doc["keep"] = fields
		s.keep = append(s.keep, fields...)
	})
}

// Attempt is how long one attempt waits for its answer.
func Attempt(d time.Duration) Option { return set("attempt", duration(d)) }

// Within is how long all attempts together may take; NoLimit with retries that end by themselves.
func Within(d time.Duration) Option { return set("within", limit(d)) }

// Heartbeat is how often a sign of life is due within an attempt.
func Heartbeat(d time.Duration) Option { return set("heartbeat", limit(d)) }

// AlertAfter asks for a person when the step takes longer.
func AlertAfter(d time.Duration) Option { return set("alertAfter", limit(d)) }

// OnUnknown is what happens when there is no definite answer.
func OnUnknown(rule sagas.OnUnknown) Option { return set("onUnknown", rule.String()) }

// ContinueOnReject makes a refusal no failure: the flow goes on.
func ContinueOnReject() Option { return set("onReject", "continue") }

// Lease is the expression over the output that says when the hold lapses by itself.
func Lease(e Expr) Option { return set("lease", e.text()) }

// Kind says what a failure of a Child means. Calls have functions of their own for it.
func Kind(k sagas.StepKind) Option { return set("kind", k.String()) }

// Why says why there is no undo.
func Why(text string) Option { return set("why", text) }

// NoUndo says that there is nothing to undo, and why.
func NoUndo(why string) Option {
	return option(func(s *Step) { s.doc["undo"], s.doc["why"] = "none", why })
}

// Retry says when a command is sent again. Zero fields have the defaults.
type Retry struct {
	Attempts     uint32
	Backoff      time.Duration
	Max          time.Duration
	Factor       float64
	Jitter       *float64 // nil = the default; 0 is none
	NonRetryable []string
}

func (r Retry) apply(s *Step) { s.doc["retry"] = r.doc() }

func (r Retry) doc() map[string]any {
	d := map[string]any{}
	if r.Attempts > 0 {
		d["attempts"] = r.Attempts
	}
	if r.Backoff != 0 {
		d["backoff"] = duration(r.Backoff)
	}
	if r.Max != 0 {
		d["max"] = duration(r.Max)
	}
	if r.Factor != 0 {
		d["factor"] = r.Factor
	}
	if r.Jitter != nil {
		d["jitter"] = *r.Jitter
	}
	if len(r.NonRetryable) > 0 {
		d["nonRetryable"] = r.NonRetryable
	}
	return d
}

// Inquiry says how to ask what became of a command. Zero fields have the defaults.
type Inquiry struct {
	Call    string
	With    With
	Every   time.Duration
	For     time.Duration
	Attempt time.Duration
}

func (q Inquiry) apply(s *Step) {
	d := map[string]any{}
	if q.Call != "" {
		d["call"] = q.Call
	}
	if q.With != nil {
		d["with"] = q.With
	}
	for key, v := range map[string]time.Duration{"every": q.Every, "for": q.For, "attempt": q.Attempt} {
		if v != 0 {
			d[key] = duration(v)
		}
	}
	s.doc["inquire"] = d
}

// Undo is the command that undoes the step. Of the options it takes With, WithExpr, Attempt, Retry,
// AlertAfter and UndoAfter.
func Undo(call string, options ...Option) Option { return UndoOf[any](call, options...) }

// UndoOf is Undo whose payload is checked against its type.
func UndoOf[Req any](call string, options ...Option) Option {
	req := reflect.TypeFor[Req]()
	return option(func(s *Step) {
		u := &Step{id: s.id, doc: map[string]any{"call": call}, at: s.at}
		for _, o := range options {
			o.apply(u)
		}
		if u.with != nil {
			u.checkWith(call, "/undo/with", u.with, req)
		}
		for _, f := range u.faults {
			s.faults = add(s.faults, f)
		}
		s.doc["undo"] = u.doc
	})
}

// UndoAfter names steps whose undo must be settled first. It is an option of Undo.
func UndoAfter(ids ...string) Option { return set("after", ids) }

// Call is a step that is undone when a later one fails. Req is the type of its payload, Res that of
// its answer; any means that nothing is known.
func Call[Req, Res any](id, call string, options ...Option) *Step {
	return newCall(reflect.TypeFor[Req](), reflect.TypeFor[Res](), "", id, call, options)
}

// Pivot is the point of no return.
func Pivot[Req, Res any](id, call string, options ...Option) *Step {
	return newCall(reflect.TypeFor[Req](), reflect.TypeFor[Res](), "pivot", id, call, options)
}

// Retriable is a step after the pivot: it is retried until it works.
func Retriable[Req, Res any](id, call string, options ...Option) *Step {
	return newCall(reflect.TypeFor[Req](), reflect.TypeFor[Res](), "retriable", id, call, options)
}

// Optional is a step whose failure is noted, and the flow goes on.
func Optional[Req, Res any](id, call string, options ...Option) *Step {
	return newCall(reflect.TypeFor[Req](), reflect.TypeFor[Res](), "optional", id, call, options)
}

// ReadOnly is a step without an effect.
func ReadOnly[Req, Res any](id, call string, options ...Option) *Step {
	return newCall(reflect.TypeFor[Req](), reflect.TypeFor[Res](), "readonly", id, call, options)
}

func newCall(req, res reflect.Type, kind, id, call string, options []Option) *Step {
	s := newStep(id)
	s.doc["call"] = call
	if kind != "" {
		s.doc["kind"] = kind
	}
	for _, o := range options {
		o.apply(s)
	}
	if s.doc["with"] == nil || s.with != nil {
		s.checkWith(call, "/with", s.with, req)
	}
	if fields := fieldsOf(res); fields != nil {
		for _, k := range s.keep {
			if find(fields, k) == nil {
				s.fault("SG25", "/keep", near(k, fields), "%s has no field %q (%s)", call, k, res)
			}
		}
	}
	return s
}

// checkWith compares a payload with the type that it is read into.
func (s *Step) checkWith(call, path string, w With, t reflect.Type) {
	fields := fieldsOf(t)
	if fields == nil {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(w)) {
		f := find(fields, key)
		if f == nil {
			s.fault("SG25", path+"/"+key, near(key, fields), "%s has no field %q (%s)", call, key, t)
			continue
		}
		inner, ok := w[key].(With)
		if m, plain := w[key].(map[string]any); plain {
			inner, ok = m, true
		}
		if ok {
			s.checkWith(call, path+"/"+key, inner, f.typ)
		}
		if want, got := jsonType(f.typ), literalType(w[key]); want != "" && got != "" && want != got && (want != "number" || got != "integer") {
			s.fault("SG25", path+"/"+key, "", "field %q of %s is %s, want %s", key, call, got, want)
		}
	}
	for _, f := range fields {
		if _, there := w[f.name]; !there && !f.optional {
			s.fault("SG25", path, "Add it, or make it optional with omitempty.", "%s needs field %q; with does not set it", call, f.name)
		}
	}
}

var (
	inputField = regexp.MustCompile(`(?:^|[^.\w])input\.\??([A-Za-z_]\w*)`)
	celString  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`)
)

// inputFaults finds fields of the input that its type does not have.
func (s *Step) inputFaults(fields []jsonField, t reflect.Type) sagas.Findings {
	own := map[string]any{}
	for k, v := range s.doc {
		switch k {
		case "do", "parallel", "lanes": // the steps inside speak for themselves
		case "choose":
			var conditions []any
			for _, b := range v.([]any) {
				conditions = append(conditions, b.(map[string]any)["when"])
			}
			own[k] = conditions
		default:
			own[k] = v
		}
	}
	return unknownInputs(expressions(own), fields, t, s.at, "steps/"+s.id)
}

// unknownInputs are the fields of the input that the expressions use and its type does not have.
func unknownInputs(exprs []string, fields []jsonField, t reflect.Type, at place, path string) (found sagas.Findings) {
	for _, e := range exprs {
		for _, m := range inputField.FindAllStringSubmatch(celString.ReplaceAllString(e, `""`), -1) {
			if find(fields, m[1]) == nil {
				found = add(found, at.finding("SG07", path, fmt.Sprintf("the input has no field %q (%s)", m[1], t), near(m[1], fields)))
			}
		}
	}
	return found
}
