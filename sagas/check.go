package sagas

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// checker finds everything in a definition that is readable but wrong. It compiles the plan on the
// way, because the expressions are a good part of what can be wrong.
type checker struct {
	r     *report
	d     *Definition
	plan  *Plan
	index map[string]int // step id -> plan index
	names []string       // step ids
}

// checkDefinition reports what is wrong with a definition and gives its plan. The plan is of use
// only when nothing was reported.
func checkDefinition(r *report, d *Definition) *Plan {
	c := &checker{r: r, d: d, plan: compilePlan(d), index: map[string]int{}}
	for i := range d.Steps {
		if id := d.Steps[i].ID; id != "" {
			if _, dup := c.index[id]; !dup {
				c.index[id] = i
				c.names = append(c.names, id)
			}
		}
	}
	if d.Retention.Marker < d.Retention.State {
		c.fault("retention/marker", "SG01", "", "marker %s is shorter than state %s", formatDuration(d.Retention.Marker), formatDuration(d.Retention.State))
	}
	if d.ID != "" {
		c.plan.ID = c.expr("id", d.ID, wantString, c.inID)
	}
	for i := range d.Steps {
		c.step(i)
	}
	c.plan.Output = c.mapping("output", d.Output, c.inOutput)
	if canonical := d.Canonical(); len(canonical) > MaxDefinitionBytes {
		c.fault("", "SG01", "", "the definition has %d bytes in canonical form, the limit is %d", len(canonical), MaxDefinitionBytes)
	} else {
		c.plan.Digest = d.Digest()
	}
	return c.plan
}

func (c *checker) fault(path, code, hint, format string, args ...any) {
	c.r.add(c.d.src.place(path), code, path, hint, format, args...)
}

func (c *checker) step(i int) {
	s, ps := &c.d.Steps[i], &c.plan.Steps[i]
	path := "steps/" + s.ID
	if s.ID == "" {
		path = fmt.Sprintf("steps/%d", i)
	}
	c.checkKind(i, path)
	c.checkOps(s, path)
	c.checkTimes(i, path)
	if s.When != "" {
		ps.When = c.expr(path+"/when", s.When, wantBool, c.before(i, "when", false))
	}
	ps.With = c.mapping(path+"/with", s.With, c.before(i, "with", true))
	if s.Inquire != nil {
		ps.Inquire.With = c.mapping(path+"/inquire/with", s.Inquire.With, c.afterOwn(i, "inquire.with"))
	}
	if s.Undo != nil {
		ps.Undo.With = c.mapping(path+"/undo/with", s.Undo.With, c.afterOwn(i, "undo.with"))
	}
}

// checkKind is about the order of kinds around the pivot and about what owes an undo.
func (c *checker) checkKind(i int, path string) {
	s, pivot := &c.d.Steps[i], c.plan.Pivot
	afterPivot := pivot >= 0 && i > pivot
	name := s.ID
	switch s.Kind {
	case Compensatable:
		if afterPivot {
			c.fault(path, "SG13", "Set kind: retriable or optional, or move it before "+c.d.Steps[pivot].ID+".",
				"%s comes after pivot %s, so it cannot be rolled back", name, c.d.Steps[pivot].ID)
		} else if s.Undo == nil && s.Why == "" {
			c.fault(path, "SG10", "Add undo:, or undo: none with why:.", "%s has an effect that must be undone when a later step fails, but it has no undo", name)
		}
	case Pivot:
		if afterPivot {
			c.fault(path, "SG12", "A saga has one point of no return. Make one of them compensatable or retriable.",
				"%s is a second pivot, the first is %s at line %d", name, c.d.Steps[pivot].ID, c.d.src.place("steps/"+c.d.Steps[pivot].ID).line)
		}
	case Retriable:
		if pivot > i {
			c.fault(path, "SG13", "Move it after "+c.d.Steps[pivot].ID+", or make it compensatable with an undo.",
				"%s is retriable but comes before pivot %s, so a later failure would leave its effect behind", name, c.d.Steps[pivot].ID)
		}
	}
	if s.Undo != nil && (s.Kind == Pivot || s.Kind == Retriable || s.Kind == ReadOnly) {
		c.fault(path+"/undo", "SG14", "Take undo: out, or make the step compensatable.", "%s is a %s step, so it is never undone", name, s.Kind)
	}
	if s.OnUnknown == UnknownCompensate && (s.Kind == Pivot || s.Kind == Retriable) {
		participant := c.d.Participants[c.plan.Steps[i].Participant]
		hint, offers := "Set onUnknown: attention.", ""
		if participant.Offers(OpInquire) {
			hint, offers = "Set onUnknown: inquire.", ", and "+c.plan.Steps[i].Participant+" offers inquire"
		}
		c.fault(path+"/onUnknown", "SG16", hint, "onUnknown is \"compensate\", but a %s step has no undo%s", s.Kind, offers)
	}
}

// checkOps is about what the participants offer.
func (c *checker) checkOps(s *StepDef, path string) {
	c.offers(s.Call, OpDo, path+"/call")
	if s.Undo != nil {
		c.offers(s.Undo.Call, OpUndo, path+"/undo/call")
	}
	if s.Inquire == nil || s.Call == "" {
		return
	}
	own, _, _ := strings.Cut(s.Call, ".")
	asked, _, _ := strings.Cut(s.Inquire.Call, ".")
	if s.Inquire.Call != "" && asked != own {
		c.fault(path+"/inquire/call", "SG21", "Name a command of "+own+".", "%s cannot tell what became of a command of %s", asked, own)
		return
	}
	if _, known := c.d.Participants[own]; known { // else SG22 says it already
		at := path + "/inquire"
		if _, written := c.place(at); !written {
			at = path + "/onUnknown"
		}
		c.offers(s.Call, OpInquire, at)
	}
}

// place is where path itself is written.
func (c *checker) place(path string) (at, bool) {
	p, ok := c.d.src.places[path]
	return p, ok
}

func (c *checker) offers(call string, op Op, path string) {
	name, _, _ := strings.Cut(call, ".")
	if name == "" {
		return // reported when it was read
	}
	p, ok := c.d.Participants[name]
	if !ok {
		known := make([]string, 0, len(c.d.Participants))
		for n := range c.d.Participants {
			known = append(known, n)
		}
		slices.Sort(known)
		hint := "Add it to participants:."
		if near := nearest(name, known); near != "" {
			hint = fmt.Sprintf("Did you mean %q?", near)
		}
		c.fault(path, "SG22", hint, "there is no participant %q", name)
		return
	}
	if !p.Offers(op) {
		c.fault(path, "SG21", "", "%s does not offer %s (ops: %s)", name, op, strings.Join(p.Ops, ", "))
	}
}

// checkTimes is about limits that contradict each other.
func (c *checker) checkTimes(i int, path string) {
	s, pivot := &c.d.Steps[i], c.plan.Pivot
	if s.Within > 0 && s.Attempt > s.Within {
		c.fault(path+"/attempt", "SG17", "", "attempt %s is longer than within %s", formatDuration(s.Attempt), formatDuration(s.Within))
	}
	if beforeCommit := pivot < 0 || i <= pivot; beforeCommit && c.d.Deadline > 0 {
		limit, field := s.Within, "within"
		if limit == 0 {
			limit, field = s.Attempt, "attempt"
		}
		if limit > c.d.Deadline {
			c.fault(path+"/"+field, "SG17", "", "%s %s is longer than the deadline %s of the saga", field, formatDuration(limit), formatDuration(c.d.Deadline))
		}
	}
	longest, bounded := s.longest()
	if s.Retry.Attempts > 0 && s.Within > 0 && longest > s.Within && s.Attempt <= s.Within {
		c.fault(path+"/retry/attempts", "SG17", "Raise within, or try less often.", "%d attempts of %s plus backoff need %s, but within is %s",
			s.Retry.Attempts, formatDuration(s.Attempt), formatDuration(longest), formatDuration(s.Within))
	}
	if s.Within > 0 && (!bounded || longest > s.Within) {
		longest, bounded = s.Within, true
	}
	if !bounded && s.Kind != Retriable {
		c.fault(path+"/within", "SG17", "Set within or retry.attempts.", "the retries of a %s step must end", s.Kind)
	}
	window := c.plan.Steps[i].KeyWindow
	if window > 0 && s.Inquire == nil && (!bounded || longest > window) {
		participant := c.plan.Steps[i].Participant
		takes := "without end"
		if bounded {
			takes = "for " + formatDuration(longest)
		}
		hint := "Shorten within"
		if c.d.Participants[participant].Offers(OpInquire) {
			hint += " or set onUnknown: inquire"
		}
		c.fault(path, "SG20", hint+".", "retries can run %s, but %s forgets a key after %s: a late retry could happen twice", takes, participant, formatDuration(window))
	}
}

// longest is how long all attempts of a round can take, going by retry alone.
func (s *StepDef) longest() (total time.Duration, bounded bool) {
	if s.Retry.Attempts == 0 {
		return 0, false
	}
	total = s.Attempt
	backoff := float64(s.Retry.Backoff)
	for n := uint32(1); n < s.Retry.Attempts; n++ {
		pause := time.Duration(min(backoff, float64(s.Retry.BackoffMax)))
		if pause == s.Retry.BackoffMax || s.Retry.Factor == 1 { // the rest are all alike
			rest := float64(s.Retry.Attempts-n) * float64(pause+s.Attempt)
			return time.Duration(min(float64(total)+rest, float64(MaxDuration))), true
		}
		total += pause + s.Attempt
		backoff *= s.Retry.Factor
	}
	return min(total, MaxDuration), true
}

// A refRule checks what one expression refers to, and reports at the place of the reference.
type refRule func(path string, e *Expr, report func(p exprPlace, code, hint, format string, args ...any))

func (c *checker) inID(_ string, e *Expr, report func(exprPlace, string, string, string, ...any)) {
	for _, s := range e.refs.steps {
		report(s.place, "SG07", "", "the id is made before any step runs, so it cannot use step.%s", s.step)
	}
	if e.refs.now || e.refs.key {
		report(exprPlace{}, "SG23", "", "the id must depend on the input alone, so that a repeated start finds its instance")
	}
}

func (c *checker) inOutput(_ string, e *Expr, report func(exprPlace, string, string, string, ...any)) {
	c.noKey(e, report)
	for _, s := range e.refs.steps {
		c.reference(e, s, report)
	}
}

// before is the rule for what is evaluated before step i is sent.
func (c *checker) before(i int, what string, key bool) refRule {
	return func(_ string, e *Expr, report func(exprPlace, string, string, string, ...any)) {
		if !key {
			c.noKey(e, report)
		}
		for _, s := range e.refs.steps {
			j, known := c.index[s.step]
			switch {
			case known && j == i:
				report(s.place, "SG07", "", "%s is evaluated before %s runs, so it cannot use its output", what, s.step)
			case known && j > i:
				report(s.place, "SG08", "Use an earlier step.", "step.%s comes later and has not run yet", s.step)
			default:
				c.reference(e, s, report)
			}
		}
	}
}

// afterOwn is the rule for undo.with and inquire.with of step i: the step was sent, but perhaps
// there is no output.
func (c *checker) afterOwn(i int, what string) refRule {
	return func(_ string, e *Expr, report func(exprPlace, string, string, string, ...any)) {
		for _, s := range e.refs.steps {
			j, known := c.index[s.step]
			switch {
			case known && j == i:
				if c.kept(s, report) && s.field != "" && s.field != nameState && !e.guards(s) {
					report(s.place, "SG11", fmt.Sprintf("Use step.%s.?%s; the participant can look the effect up by saga-fwd-key.", s.step, s.field),
						"after a timeout there is no output, so %s cannot rely on step.%s.%s", what, s.step, s.field)
				}
			case known && j > i:
				report(s.place, "SG08", "Use this step or an earlier one.", "step.%s comes later and may never have run", s.step)
			default:
				c.reference(e, s, report)
			}
		}
	}
}

func (c *checker) noKey(e *Expr, report func(exprPlace, string, string, string, ...any)) {
	if e.refs.key {
		report(exprPlace{}, "SG23", "", "key is only set in with:, undo.with: and inquire.with:")
	}
}

// reference checks one use of a step that has run, if it runs at all.
func (c *checker) reference(e *Expr, s stepRef, report func(exprPlace, string, string, string, ...any)) {
	j, known := c.index[s.step]
	if !known {
		hint := ""
		if near := nearest(s.step, c.names); near != "" {
			hint = fmt.Sprintf("Did you mean step.%s?", near)
		} else if len(c.names) > 0 && len(c.names) <= 12 {
			hint = "Steps: " + strings.Join(c.names, ", ") + "."
		}
		report(s.place, "SG07", hint, "there is no step %q", s.step)
		return
	}
	if !c.kept(s, report) || s.field == "" || s.field == nameState || e.guards(s) {
		return
	}
	why := ""
	switch target := &c.d.Steps[j]; {
	case target.When != "":
		why = "is only set when its condition holds"
	case target.Kind == Optional:
		why = "is not set when the optional step failed"
	default:
		return
	}
	report(s.place, "SG08", fmt.Sprintf("Use step.%s.?%s.", s.step, s.field), "step.%s.%s %s", s.step, s.field, why)
}

// kept reports a field that the step does not keep.
func (c *checker) kept(s stepRef, report func(exprPlace, string, string, string, ...any)) bool {
	keep := c.d.Steps[c.index[s.step]].Keep
	if s.field == "" || s.field == nameState || slices.Contains(keep, s.field) {
		return true
	}
	hint := fmt.Sprintf("Add %s to keep: of %s.", s.field, s.step)
	if near := nearest(s.field, keep); near != "" {
		hint = fmt.Sprintf("Did you mean step.%s.%s?", s.step, near)
	}
	report(s.place, "SG07", hint, "%s does not keep the output field %q", s.step, s.field)
	return false
}

// guards says whether the expression asks somewhere whether this field is there: it uses it as an
// optional, tests it with has(), or looks at the state of the step.
func (e *Expr) guards(s stepRef) bool {
	if s.optional {
		return true
	}
	for _, o := range e.refs.steps {
		if o.step == s.step && (o.field == nameState || o.field == s.field && o.optional) {
			return true
		}
	}
	return false
}

func (c *checker) expr(path, text string, want wantType, rule refRule) *Expr {
	e, problems := compileExpr(text, want)
	for _, p := range problems {
		c.problem(path, text, p)
	}
	if e != nil {
		c.refs(path, e, rule)
	}
	return e
}

func (c *checker) mapping(path string, tree []byte, rule refRule) *Mapping {
	if len(tree) == 0 {
		return nil
	}
	v, err := parseJSON(tree)
	if err != nil {
		c.fault(path, "SG01", "", "%s", err.Error())
		return nil
	}
	b := mappingBuilder{
		problem: func(path, text string, p exprProblem) { c.problem(path, text, p) },
		found:   func(path string, e *Expr) { c.refs(path, e, rule) },
	}
	root := b.build(path, v)
	if root == nil {
		return nil
	}
	return &Mapping{root}
}

func (c *checker) refs(path string, e *Expr, rule refRule) {
	seen := map[string]bool{}
	rule(path, e, func(p exprPlace, code, hint, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if !seen[code+text] { // an expression may use a thing twice, one finding is enough
			seen[code+text] = true
			c.r.add(c.inSource(path, e.text, p), code, path, hint, "%s", text)
		}
	})
}

// problem reports an expression that does not compile, in fewer words than the compiler.
func (c *checker) problem(path, expr string, p exprProblem) {
	text := strings.ReplaceAll(p.text, " (in container '')", "")
	text, _, _ = strings.Cut(text, " expecting {")
	text, _, _ = strings.Cut(text, "\n")
	c.r.add(c.inSource(path, expr, p.place), "SG23", path, "", "%s", text)
}

// inSource is the place of a part of an expression in the source. It is exact when the expression
// stands in the source as it is, on one line; else it is where the expression starts.
func (c *checker) inSource(path, expr string, p exprPlace) at {
	start := c.d.src.place(path)
	if p.line > 0 || start.line < 1 || start.line > len(c.r.lines) {
		return start
	}
	rest := c.r.lines[start.line-1]
	for n := 1; n < start.col && rest != ""; n++ {
		_, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
	}
	col := start.col
	if strings.HasPrefix(rest, "'") || strings.HasPrefix(rest, "\"") {
		rest = rest[1:]
		col++
	}
	if !strings.HasPrefix(rest, "="+expr) {
		return start
	}
	return at{start.line, col + 1 + p.col}
}
