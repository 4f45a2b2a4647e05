package sagas

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ParseDefinition reads one definition from YAML or JSON, fills in the defaults and checks it. The
// error is Findings and lists everything that is wrong. file is only used in the findings.
func ParseDefinition(file string, src []byte) (*Definition, error) {
	r := newReport(file, src)
	docs := readNodes(r, src)
	if len(docs) > 1 {
		r.add(docs[1].at, "SG01", "", "", "the file holds %d definitions, want one", len(docs))
		docs = docs[:1]
	}
	defs := parseDocs(r, docs)
	if len(r.found) > 0 {
		return nil, r.found.asError()
	}
	return defs[0], nil
}

// ParseDefinitions reads a file of several definitions, YAML documents divided by "---".
func ParseDefinitions(file string, src []byte) ([]*Definition, error) {
	r := newReport(file, src)
	defs := parseDocs(r, readNodes(r, src))
	seen := map[string]bool{}
	for _, d := range defs {
		if d.Saga != "" && seen[d.Ref()] {
			r.add(d.src.place("saga"), "SG02", "", "Raise the version.", "%s is defined twice in this file", d.Ref())
		}
		seen[d.Ref()] = true
	}
	if len(r.found) > 0 {
		return nil, r.found.asError()
	}
	return defs, nil
}

func parseDocs(r *report, docs []*node) []*Definition {
	var defs []*Definition
	for _, n := range docs {
		if !n.isMap && !n.isList && n.scalar == nil && len(docs) > 1 {
			continue // an empty document, as after a last "---"
		}
		d := decodeDefinition(r, n)
		if d == nil {
			continue
		}
		checkDefinition(r, d)
		defs = append(defs, d)
	}
	if len(defs) == 0 && len(r.found) == 0 {
		r.add(at{1, 1}, "SG01", "", "A definition starts with saga: and version:.", "the file holds no definition")
	}
	return defs
}

// source remembers where the parts of a definition are written.
type source struct {
	report *report // file and lines
	places map[string]at
}

// place is where path is written, or the nearest part around it.
func (s *source) place(path string) at {
	if s == nil {
		return at{}
	}
	for {
		if p, ok := s.places[path]; ok {
			return p
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return s.places[""]
		}
		path = path[:i]
	}
}

// decoder turns a source tree into a Definition. It reports SG01 to SG04 and goes on, with the
// default in place of what it could not read.
type decoder struct {
	r   *report
	d   *Definition
	src *source
	bad map[string]bool // paths that have a finding already
}

func decodeDefinition(r *report, n *node) *Definition {
	if !n.isMap {
		r.add(n.at, "SG01", "", "A definition starts with saga: and version:.", "want a definition, got %s", n.kind())
		return nil
	}
	dec := &decoder{r: r, src: &source{report: r, places: map[string]at{"": n.at}}, bad: map[string]bool{}}
	dec.d = &Definition{src: dec.src}
	dec.definition(n)
	return dec.d
}

func (dec *decoder) fault(p at, code, path, hint, format string, args ...any) {
	dec.bad[path] = true
	dec.r.add(p, code, path, hint, format, args...)
}

// fields checks the keys of a map against those that are known and remembers their places. later
// are keys that the format has and this version does not.
func (dec *decoder) fields(n *node, path, what string, known, later []string) bool {
	if !n.isMap {
		dec.fault(n.at, "SG01", path, "", "%s must be a map, got %s", what, n.kind())
		return false
	}
	for _, e := range n.entries {
		dec.src.places[join(path, e.key)] = e.val.at
		if slices.Contains(known, e.key) {
			continue
		}
		if slices.Contains(later, e.key) {
			dec.fault(e.at, "SG01", join(path, e.key), "", "%q is not supported by this version", e.key)
			continue
		}
		hint := ""
		if near := nearest(e.key, known); near != "" {
			hint = fmt.Sprintf("Did you mean %q?", near)
		} else {
			hint = "Known: " + strings.Join(known, ", ") + "."
		}
		dec.fault(e.at, "SG04", join(path, e.key), hint, "%q is not a field of %s", e.key, what)
	}
	return true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "/" + key
}

var (
	definitionFields  = []string{"saga", "version", "input", "id", "deadline", "participants", "steps", "output", "retention"}
	definitionLater   = []string{"start", "requires", "tags"}
	participantFields = []string{"ops", "keyWindow", "topic"}
	stepFields        = []string{"id", "call", "kind", "with", "keep", "when", "attempt", "within", "retry", "onUnknown", "inquire", "undo", "why", "alertAfter"}
	stepLater         = []string{"onReject", "after", "lease", "heartbeat", "key"}
	nodeKinds         = []string{"parallel", "choose", "each", "race", "scope", "repeat", "saga", "await", "sleep", "approve", "emit", "set", "fail", "finish", "continue"}
	retryFields       = []string{"attempts", "backoff", "max", "factor", "jitter", "nonRetryable"}
	undoFields        = []string{"call", "with", "attempt", "retry", "alertAfter"}
	undoLater         = []string{"after"}
	inquireFields     = []string{"call", "every", "for", "attempt", "with"}
	inputFields       = []string{"required", "properties"}
	retentionFields   = []string{"state", "marker"}
)

func (dec *decoder) definition(n *node) {
	dec.fields(n, "", "a definition", definitionFields, definitionLater)
	d := dec.d
	d.Saga = dec.name(n, "saga", sagaName)
	d.Version = dec.version(n)
	d.Input = dec.input(n.child("input"))
	d.ID = dec.expression(n.child("id"), "id")
	d.Deadline = dec.duration(n, "", "deadline", 0, true)
	dec.participants(n.child("participants"))
	dec.steps(n)
	d.Output = notEmpty(dec.tree(n.child("output"), "output"))
	d.Retention = RetentionDef{DefaultStateRetention, DefaultMarkerRetention}
	if r := n.child("retention"); r != nil && dec.fields(r, "retention", "retention", retentionFields, nil) {
		d.Retention.State = dec.duration(r, "retention", "state", DefaultStateRetention, false)
		d.Retention.Marker = dec.duration(r, "retention", "marker", max(DefaultMarkerRetention, d.Retention.State), false)
	}
}

func (dec *decoder) version(n *node) uint32 {
	v := n.child("version")
	if v == nil {
		dec.fault(n.at, "SG01", "version", "Add version: 1 and raise it with every change.", "version is missing")
		return 0
	}
	i, ok := v.scalar.(int64)
	if !ok || v.isMap || v.isList || i < 1 || i > math.MaxInt32 {
		dec.fault(v.at, "SG01", "version", "", "version must be an integer from 1 to %d", math.MaxInt32)
		return 0
	}
	return uint32(i)
}

// name reads a required identifier.
func (dec *decoder) name(n *node, key string, rule nameRule) string {
	v := n.child(key)
	if v == nil {
		dec.fault(n.at, "SG01", key, "", "%s is missing", key)
		return ""
	}
	s, ok := dec.str(v, key, key)
	if !ok {
		return ""
	}
	if why := rule.check(s); why != "" {
		dec.fault(v.at, "SG03", key, "", "%s", why)
		return ""
	}
	return s
}

// str reads a string.
func (dec *decoder) str(n *node, path, what string) (string, bool) {
	s, ok := n.scalar.(string)
	if !ok || n.isMap || n.isList {
		hint := ""
		if !n.isMap && !n.isList && n.scalar != nil {
			hint = "Put it in quotes."
		}
		dec.fault(n.at, "SG01", path, hint, "%s must be a string, got %s", what, n.kind())
		return "", false
	}
	return s, true
}

// strings reads a list of strings without repetitions.
func (dec *decoder) strings(n *node, path, what string) []string {
	if n == nil {
		return nil
	}
	if !n.isList {
		dec.fault(n.at, "SG01", path, "", "%s must be a list of strings, got %s", what, n.kind())
		return nil
	}
	var out []string
	for i, x := range n.items {
		p := join(path, strconv.Itoa(i))
		dec.src.places[p] = x.at
		s, ok := dec.str(x, p, "an entry of "+what)
		if !ok {
			continue
		}
		if slices.Contains(out, s) {
			dec.fault(x.at, "SG02", p, "", "%q occurs twice", s)
			continue
		}
		out = append(out, s)
	}
	return out
}

// duration reads an optional duration. none says that the word "none" is allowed and means 0.
func (dec *decoder) duration(n *node, path, key string, def time.Duration, none bool) time.Duration {
	v := n.child(key)
	if v == nil {
		return def
	}
	p := join(path, key)
	s, ok := v.scalar.(string)
	if !ok {
		hint := ""
		if i, isInt := v.scalar.(int64); isInt {
			hint = fmt.Sprintf("Add a unit, for example %ds.", i)
		}
		dec.fault(v.at, "SG01", p, hint, "%s must be a duration, got %s", key, v.kind())
		return def
	}
	if s == "none" && none {
		return 0
	}
	d, err := parseDuration(s)
	if err != nil {
		dec.fault(v.at, "SG01", p, "", "%s is %q: %s", key, s, err.Error())
		return def
	}
	if d == 0 {
		hint := ""
		if none {
			hint = "Write none for no limit."
		}
		dec.fault(v.at, "SG01", p, hint, "%s must be longer than 0", key)
		return def
	}
	return d
}

// expression reads an optional expression, without its "=".
func (dec *decoder) expression(n *node, path string) string {
	if n == nil {
		return ""
	}
	s, ok := n.scalar.(string)
	if !ok || !strings.HasPrefix(s, "=") || strings.HasPrefix(s, "==") || len(s) < 2 {
		dec.fault(n.at, "SG01", path, "Write it as '=…', for example '=input.total > 100'.", "%s must be an expression", path[strings.LastIndexByte(path, '/')+1:])
		return ""
	}
	return s[1:]
}

// tree reads an optional JSON tree as canonical JSON. The root is a map or one expression.
func (dec *decoder) tree(n *node, path string) []byte {
	if n == nil {
		return nil
	}
	text, _ := n.scalar.(string)
	_, isExpr := exprText(text)
	if !n.isMap && !isExpr {
		dec.fault(n.at, "SG01", path, "", "%s must be a map or an expression, got %s", path[strings.LastIndexByte(path, '/')+1:], n.kind())
		return nil
	}
	dec.treePlaces(n, path)
	return appendJSON(nil, n.value())
}

// notEmpty makes {} and nothing the same, where {} is the default. It is not for undo and inquire:
// their default is the inputs of the do.
func notEmpty(tree []byte) []byte {
	if string(tree) == "{}" {
		return nil
	}
	return tree
}

func (dec *decoder) treePlaces(n *node, path string) {
	dec.src.places[path] = n.at
	for _, e := range n.entries {
		dec.treePlaces(e.val, path+"/"+e.key)
	}
	for i, x := range n.items {
		dec.treePlaces(x, path+"/"+strconv.Itoa(i))
	}
}

func (dec *decoder) input(n *node) *InputDecl {
	if n == nil {
		return nil
	}
	if !n.isMap {
		s, ok := dec.str(n, "input", "input")
		if !ok {
			return nil
		}
		if why := avroName.check(s); why != "" {
			dec.fault(n.at, "SG03", "input", "", "%s", why)
			return nil
		}
		return &InputDecl{Name: s}
	}
	dec.fields(n, "input", "input", inputFields, nil)
	decl := &InputDecl{Required: dec.strings(n.child("required"), "input/required", "required")}
	slices.Sort(decl.Required)
	props := n.child("properties")
	if props == nil {
		return decl
	}
	if !props.isMap {
		dec.fault(props.at, "SG01", "input/properties", "", "properties must be a map of names, got %s", props.kind())
		return decl
	}
	for _, e := range props.entries {
		p := "input/properties/" + e.key
		dec.src.places[p] = e.val.at
		if !dec.fields(e.val, p, "a property", []string{"type"}, nil) {
			continue
		}
		t := e.val.child("type")
		if t == nil {
			dec.fault(e.val.at, "SG01", p, "Add type: "+strings.Join(inputTypes, ", ")+".", "type is missing")
			continue
		}
		s, ok := dec.str(t, p+"/type", "type")
		if !ok {
			continue
		}
		if !slices.Contains(inputTypes, s) {
			dec.fault(t.at, "SG01", p+"/type", "Use one of "+strings.Join(inputTypes, ", ")+".", "%q is not a type", s)
			continue
		}
		if decl.Properties == nil {
			decl.Properties = map[string]string{}
		}
		decl.Properties[e.key] = s
	}
	return decl
}

func (dec *decoder) participants(n *node) {
	dec.d.Participants = map[string]Participant{}
	if n == nil {
		return
	}
	if !n.isMap {
		dec.fault(n.at, "SG01", "participants", "", "participants must be a map of names, got %s", n.kind())
		return
	}
	if len(n.entries) > MaxParticipants {
		dec.fault(n.at, "SG01", "participants", "", "%d participants, the limit is %d", len(n.entries), MaxParticipants)
		return
	}
	for _, e := range n.entries {
		path := "participants/" + e.key
		dec.src.places[path] = e.at
		if why := participantName.check(e.key); why != "" {
			dec.fault(e.at, "SG03", path, "", "%s", why)
			continue
		}
		p := Participant{Ops: []string{"do", "undo"}, Topic: DefaultCommandTopicStart + e.key}
		v := e.val
		if v.isMap || v.isList || v.scalar != nil { // "psp:" alone takes the defaults
			if !dec.fields(v, path, "a participant", participantFields, nil) {
				dec.d.Participants[e.key] = p
				continue
			}
			p.KeyWindow = dec.duration(v, path, "keyWindow", 0, true)
			if ops := v.child("ops"); ops != nil {
				p.Ops = dec.ops(ops, path+"/ops")
			}
			if t := v.child("topic"); t != nil {
				if s, ok := dec.str(t, path+"/topic", "topic"); ok {
					if why := topicName.check(s); why != "" {
						dec.fault(t.at, "SG03", path+"/topic", "", "%s", why)
					} else {
						p.Topic = s
					}
				}
			}
		}
		dec.d.Participants[e.key] = p
	}
}

func (dec *decoder) ops(n *node, path string) []string {
	order := []string{"do", "undo", "inquire"}
	ops := dec.strings(n, path, "ops")
	for i, op := range ops {
		if !slices.Contains(order, op) {
			hint := "Use do, undo, inquire."
			if near := nearest(op, order); near != "" {
				hint = fmt.Sprintf("Did you mean %q?", near)
			}
			dec.fault(dec.src.place(join(path, strconv.Itoa(i))), "SG01", path, hint, "%q is not an operation", op)
		}
	}
	slices.SortFunc(ops, func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	return ops
}

func (dec *decoder) steps(n *node) {
	s := n.child("steps")
	if s == nil || s.isList && len(s.items) == 0 {
		dec.fault(n.at, "SG01", "steps", "", "a saga needs at least one step")
		return
	}
	if !s.isList {
		dec.fault(s.at, "SG01", "steps", "Each step starts with a dash.", "steps must be a list, got %s", s.kind())
		return
	}
	if len(s.items) > MaxSteps {
		dec.fault(s.at, "SG01", "steps", "", "%d steps, the limit is %d", len(s.items), MaxSteps)
		return
	}
	first := map[string]at{}
	for i, x := range s.items {
		dec.step(i, x, first)
	}
}

func (dec *decoder) step(i int, n *node, first map[string]at) {
	path := "steps/" + strconv.Itoa(i)
	if !n.isMap {
		dec.fault(n.at, "SG01", path, "", "a step must be a map, got %s", n.kind())
		return
	}
	var st StepDef
	idAt := n.at
	if id := n.child("id"); id == nil {
		dec.fault(n.at, "SG01", path, "Add id:, it names the step in expressions and in the history.", "id is missing")
	} else if s, ok := dec.str(id, path+"/id", "id"); ok {
		idAt = id.at
		if why := stepName.check(s); why != "" {
			dec.fault(id.at, "SG03", path+"/id", "", "%s", why)
		} else {
			st.ID = s
			path = "steps/" + s
			if p, dup := first[s]; dup {
				dec.fault(id.at, "SG02", path, "", "id %q is already used at line %d", s, p.line)
				st.ID = "" // one id, one step: references mean the first
				path = "steps/" + strconv.Itoa(i)
			} else {
				first[s] = id.at
			}
		}
	}
	for _, e := range n.entries {
		if slices.Contains(nodeKinds, e.key) {
			dec.fault(e.at, "SG01", path, "This version runs a list of call steps.", "%q is not supported by this version", e.key)
			return
		}
	}
	dec.src.places[path] = idAt
	dec.fields(n, path, "call", stepFields, stepLater)
	dec.src.places[path+"/id"] = idAt
	st.Kind = dec.kind(n.child("kind"), path)
	st.Call = dec.call(n, path)
	st.With = notEmpty(dec.tree(n.child("with"), path+"/with"))
	st.Keep = dec.keep(n.child("keep"), path+"/keep")
	st.When = dec.expression(n.child("when"), path+"/when")
	if why := n.child("why"); why != nil {
		st.Why, _ = dec.str(why, path+"/why", "why")
	}
	withinDefault := DefaultWithin
	alertDefault := time.Duration(0)
	if st.Kind == Retriable {
		withinDefault = 0
		alertDefault = DefaultRetriableAlert
	} else if dec.d.Deadline > 0 {
		withinDefault = min(withinDefault, dec.d.Deadline)
	}
	st.Within = dec.duration(n, path, "within", withinDefault, true)
	attemptDefault := DefaultAttempt
	if st.Within > 0 {
		attemptDefault = min(attemptDefault, st.Within)
	}
	st.Attempt = dec.duration(n, path, "attempt", attemptDefault, false)
	if st.Within > 0 && n.child("within") == nil {
		st.Within = max(st.Within, st.Attempt) // a longer attempt alone is no contradiction
	}
	st.AlertAfter = dec.duration(n, path, "alertAfter", alertDefault, true)
	st.Retry = dec.retry(n.child("retry"), path+"/retry", true)
	st.OnUnknown = dec.onUnknown(n.child("onUnknown"), path, &st)
	dec.inquire(n.child("inquire"), path+"/inquire", &st)
	dec.undo(n.child("undo"), path+"/undo", &st)
	dec.d.Steps = append(dec.d.Steps, st)
}

func (dec *decoder) call(n *node, path string) string {
	c := n.child("call")
	if c == nil {
		dec.fault(n.at, "SG01", path, "Add call: participant.command.", "call is missing")
		return ""
	}
	s, ok := dec.str(c, path+"/call", "call")
	if !ok {
		return ""
	}
	if why := callName(s); why != "" {
		dec.fault(c.at, "SG03", path+"/call", "", "%s", why)
		return ""
	}
	return s
}

func (dec *decoder) keep(n *node, path string) []string {
	keep := dec.strings(n, path, "keep")
	out := keep[:0]
	for i, k := range keep {
		p := dec.src.place(join(path, strconv.Itoa(i)))
		switch {
		case k == "" || len(k) > 2*MaxNameBytes:
			dec.fault(p, "SG03", path, "", "a field name has 1 to %d bytes", 2*MaxNameBytes)
		case k == nameState:
			dec.fault(p, "SG03", path, "", "the output field %q cannot be kept, because step.<id>.state is the state of the step", k)
		default:
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

var kindNames = []string{"", Compensatable: "compensatable", Pivot: "pivot", Retriable: "retriable", Optional: "optional", ReadOnly: "readonly"}

// String is the name of the kind in a definition.
func (k StepKind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return "invalid"
}

func (dec *decoder) kind(n *node, path string) StepKind {
	if n == nil {
		return Compensatable
	}
	s, ok := dec.str(n, path+"/kind", "kind")
	if !ok {
		return Compensatable
	}
	if i := slices.Index(kindNames, s); i > 0 {
		return StepKind(i)
	}
	hint := "Use one of " + strings.Join(kindNames[1:], ", ") + "."
	if near := nearest(s, kindNames[1:]); near != "" {
		hint = fmt.Sprintf("Did you mean %q?", near)
	}
	dec.fault(n.at, "SG01", path+"/kind", hint, "%q is not a kind of call", s)
	return Compensatable
}

// retry reads the retry policy. An undo is never given up, so it has no attempts and no codes that
// end the retries.
func (dec *decoder) retry(n *node, path string, isDo bool) Retry {
	r := Retry{Backoff: DefaultBackoff, BackoffMax: DefaultBackoffMax, Factor: DefaultFactor, Jitter: DefaultJitter}
	if n == nil {
		return r
	}
	if !dec.fields(n, path, "retry", retryFields, nil) {
		return r
	}
	r.Backoff = dec.duration(n, path, "backoff", DefaultBackoff, false)
	r.BackoffMax = dec.duration(n, path, "max", max(DefaultBackoffMax, r.Backoff), false)
	if r.BackoffMax < r.Backoff {
		dec.fault(dec.src.place(path+"/max"), "SG01", path+"/max", "", "max %s is shorter than backoff %s", formatDuration(r.BackoffMax), formatDuration(r.Backoff))
	}
	r.Factor = dec.number(n, path, "factor", DefaultFactor, 1, 100)
	r.Jitter = dec.number(n, path, "jitter", DefaultJitter, 0, 1)
	if a := n.child("attempts"); a != nil {
		i, ok := a.scalar.(int64)
		switch {
		case !isDo:
			dec.fault(a.at, "SG01", path+"/attempts", "Use undo.alertAfter to be told when it takes long.", "an undo is never given up, so it has no attempts")
		case !ok || i < 1 || i > 1_000_000:
			dec.fault(a.at, "SG01", path+"/attempts", "Leave it out for as many as within allows.", "attempts must be an integer from 1 to 1000000")
		default:
			r.Attempts = uint32(i)
		}
	}
	if c := n.child("nonRetryable"); c != nil {
		if !isDo {
			dec.fault(c.at, "SG01", path+"/nonRetryable", "", "an undo is never given up, so every code is retried")
		} else {
			r.NonRetryable = dec.strings(c, path+"/nonRetryable", "nonRetryable")
			slices.Sort(r.NonRetryable)
		}
	}
	return r
}

func (dec *decoder) number(n *node, path, key string, def, low, high float64) float64 {
	v := n.child(key)
	if v == nil {
		return def
	}
	f := math.NaN()
	switch s := v.scalar.(type) {
	case int64:
		f = float64(s)
	case float64:
		f = s
	}
	if !(f >= low && f <= high) {
		dec.fault(v.at, "SG01", join(path, key), "", "%s must be a number from %v to %v", key, low, high)
		return def
	}
	return f
}

var onUnknownNames = []string{"", UnknownCompensate: "compensate", UnknownInquire: "inquire", UnknownAttention: "attention"}

// String is the name of the rule in a definition.
func (u OnUnknown) String() string {
	if int(u) < len(onUnknownNames) && u > 0 {
		return onUnknownNames[u]
	}
	return "invalid"
}

func (dec *decoder) onUnknown(n *node, path string, st *StepDef) OnUnknown {
	name, _, _ := strings.Cut(st.Call, ".")
	def := UnknownCompensate
	switch {
	case dec.d.Participants[name].Offers(OpInquire):
		def = UnknownInquire
	case st.Kind == Pivot || st.Kind == Retriable:
		def = UnknownAttention
	}
	if n == nil {
		return def
	}
	s, ok := dec.str(n, path+"/onUnknown", "onUnknown")
	if !ok {
		return def
	}
	if i := slices.Index(onUnknownNames, s); i > 0 {
		return OnUnknown(i)
	}
	dec.fault(n.at, "SG01", path+"/onUnknown", "Use inquire, compensate or attention.", "%q is not a rule for an unknown outcome", s)
	return def
}

func (dec *decoder) inquire(n *node, path string, st *StepDef) {
	if st.OnUnknown != UnknownInquire {
		if n != nil {
			dec.fault(n.at, "SG01", path, "Set onUnknown: inquire, or take inquire: out.", "inquire is set, but onUnknown is %s", st.OnUnknown)
		}
		return
	}
	q := &InquireDef{Call: st.Call, Every: DefaultInquireEvery, For: DefaultInquireFor, Attempt: min(st.Attempt, DefaultInquireFor)}
	st.Inquire = q
	if n == nil || !dec.fields(n, path, "inquire", inquireFields, nil) {
		return
	}
	if n.child("call") != nil {
		q.Call = dec.call(n, path)
	}
	q.Every = dec.duration(n, path, "every", DefaultInquireEvery, false)
	q.For = dec.duration(n, path, "for", max(DefaultInquireFor, q.Every), false)
	if q.For < q.Every {
		dec.fault(dec.src.place(path+"/for"), "SG17", path+"/for", "", "for %s is shorter than every %s, so nothing is asked twice", formatDuration(q.For), formatDuration(q.Every))
	}
	q.Attempt = dec.duration(n, path, "attempt", min(st.Attempt, q.For), false)
	if q.Attempt > q.For {
		dec.fault(dec.src.place(path+"/attempt"), "SG17", path+"/attempt", "", "attempt %s is longer than for %s", formatDuration(q.Attempt), formatDuration(q.For))
	}
	q.With = dec.tree(n.child("with"), path+"/with")
}

func (dec *decoder) undo(n *node, path string, st *StepDef) {
	if n == nil {
		return
	}
	if s, ok := n.scalar.(string); ok && s == "none" {
		return
	}
	if !n.isMap {
		hint := "Write undo: none, or undo: with call: participant.command below it."
		dec.fault(n.at, "SG01", path, hint, "undo must be none or a map, got %s", n.kind())
		st.Undo = &UndoDef{} // so that SG10 does not complain as well
		return
	}
	dec.fields(n, path, "undo", undoFields, undoLater)
	u := &UndoDef{Call: dec.call(n, path), AlertAfter: DefaultUndoAlert}
	u.With = dec.tree(n.child("with"), path+"/with")
	u.Attempt = dec.duration(n, path, "attempt", st.Attempt, false)
	u.Retry = dec.retry(n.child("retry"), path+"/retry", false)
	u.AlertAfter = dec.duration(n, path, "alertAfter", DefaultUndoAlert, true)
	st.Undo = u
}
