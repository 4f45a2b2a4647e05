package sagas

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/internal/nearest"
)

// reporter says what is wrong with a reference, at its place in the expression.
type reporter func(p exprPlace, code, hint, format string, args ...any)

// A refRule checks what one expression refers to.
type refRule func(path string, e *Expr, report reporter)

func (c *checker) inID(_ string, e *Expr, report reporter) {
	for _, s := range e.refs.steps {
		report(s.place, "SG07", "", "the id is made before any step runs, so it cannot use step.%s", s.step)
	}
	if e.refs.now || e.refs.key || e.refs.signals {
		report(exprPlace{}, "SG23", "", "the id must depend on the input alone, so that a repeated start finds its instance")
	}
	c.variables(e, -1, report)
}

func (c *checker) inTags(_ string, e *Expr, report reporter) {
	c.noKey(e, report)
	for _, s := range e.refs.steps {
		report(s.place, "SG07", "", "tags are made before any step runs, so they cannot use step.%s", s.step)
	}
	c.variables(e, -1, report)
}

func (c *checker) inOutput(_ string, e *Expr, report reporter) {
	c.noKey(e, report)
	c.variables(e, -1, report)
	for _, s := range e.refs.steps {
		if j, ok := c.target(s, -1, report); ok {
			c.field(e, s, j, c.surely(j, c.top(j), c.endsEarly(j)), report)
		}
	}
}

// before is the rule for what is evaluated before node i begins.
func (c *checker) before(i int, what string, key bool) refRule {
	return func(_ string, e *Expr, report reporter) {
		if !key {
			c.noKey(e, report)
		}
		c.variables(e, i, report)
		for _, s := range e.refs.steps {
			if j, ok := c.target(s, i, report); ok {
				c.earlier(e, s, j, i, what, report)
			}
		}
	}
}

// afterOwn is the rule for undo.with and inquire.with of step i: the step was sent, but perhaps
// there is no output.
func (c *checker) afterOwn(i int, what string) refRule {
	return func(_ string, e *Expr, report reporter) {
		c.variables(e, i, report)
		for _, s := range e.refs.steps {
			j, ok := c.target(s, i, report)
			switch {
			case !ok:
			case j != i:
				c.earlier(e, s, j, i, what, report)
			case c.kept(s, j, report) && s.field != "" && s.field != nameState && !e.guards(s):
				report(s.place, "SG11", fmt.Sprintf("Use step.%s.?%s; the participant can look the effect up by saga-fwd-key.", s.step, s.field),
					"after a timeout there is no output, so %s cannot rely on step.%s.%s", what, s.step, s.field)
			}
		}
	}
}

// afterDone is the rule for what is evaluated when step i is done: its output is there.
func (c *checker) afterDone(i int) refRule {
	return func(_ string, e *Expr, report reporter) {
		c.noKey(e, report)
		c.variables(e, i, report)
		for _, s := range e.refs.steps {
			switch j, ok := c.target(s, i, report); {
			case !ok:
			case j == i:
				c.kept(s, j, report)
			default:
				c.earlier(e, s, j, i, "lease", report)
			}
		}
	}
}

// afterBody is the rule for what is evaluated after a round of the body of node i.
func (c *checker) afterBody(i int) refRule {
	return func(_ string, e *Expr, report reporter) {
		c.noKey(e, report)
		c.variablesIn(e, i, i, report)
		for _, s := range e.refs.steps {
			j, ok := c.target(s, i, report)
			switch {
			case !ok:
			case j != i && c.order.inside(j, i):
				b := j
				for c.plan.Steps[b].Parent != i {
					b = c.plan.Steps[b].Parent
				}
				c.field(e, s, j, c.surely(j, b, ""), report)
			case s.round:
				report(s.place, "SG07", "Use step."+s.step+".", "step %q is not a part of the round", s.step)
			default:
				c.earlier(e, s, j, i, "until", report)
			}
		}
	}
}

// onEvent is the rule for the condition of an await.
func (c *checker) onEvent(i int) refRule {
	rule := c.before(i, "when", false)
	return func(path string, e *Expr, report reporter) {
		own := *e
		own.refs.vars = slices.DeleteFunc(slices.Clone(e.refs.vars), func(v varRef) bool { return v.name == nameEvent })
		rule(path, &own, report)
	}
}

func (c *checker) noKey(e *Expr, report reporter) {
	if e.refs.key {
		report(exprPlace{}, "SG23", "", "key is only set in with:, undo.with: and inquire.with:")
	}
}

// variables reports names that have no meaning where node i stands.
func (c *checker) variables(e *Expr, i int, report reporter) {
	round := -1
	if i >= 0 {
		round = c.roundAround(i)
	}
	c.variablesIn(e, i, round, report)
}

// variablesIn does so with round as the node whose rounds the expression sees, -1 = none.
func (c *checker) variablesIn(e *Expr, i, round int, report reporter) {
	for _, v := range e.refs.vars {
		switch {
		case v.name == nameEvent:
			report(v.place, "SG23", "", "event is only set in the when: of an await")
		case v.name == nameIndex && e.each == "":
			report(v.place, "SG23", "", "index is only set in the body of an each")
		case v.name == nameRound && round < 0:
			report(v.place, "SG23", "", "round is only set in the body of a repeat or a scope")
		}
	}
	for _, s := range e.refs.steps {
		if j, known := c.index[s.step]; s.round && known && (round < 0 || j == round || !c.inBody(j, round)) {
			if round < 0 {
				report(s.place, "SG23", "Use step."+s.step+".", "round is only set in the body of a repeat or a scope")
			} else if i != round { // else afterBody says it
				report(s.place, "SG07", "Use step."+s.step+".", "step %q is not a part of the round", s.step)
			}
		}
	}
}

// roundAround is the innermost repeat or scope whose rounds node i is a part of, -1 = none.
func (c *checker) roundAround(i int) int {
	for x, p := i, c.plan.Steps[i].Parent; p >= 0; x, p = p, c.plan.Steps[p].Parent {
		if c.defs[p].Node == NodeRepeat || c.defs[p].Node == NodeScope && c.laneOf(x) == LaneDo {
			return p
		}
	}
	return -1
}

// inBody says whether x is in the lane "do" of block.
func (c *checker) inBody(x, block int) bool {
	if x == block || !c.order.inside(x, block) {
		return false
	}
	for c.plan.Steps[x].Parent != block {
		x = c.plan.Steps[x].Parent
	}
	return c.laneOf(x) == LaneDo
}

// laneOf is the name of the lane that node x is in, "" at the top.
func (c *checker) laneOf(x int) string {
	if p := c.plan.Steps[x].Parent; p >= 0 {
		return c.defs[p].Lanes[c.plan.Steps[x].Lane].Name
	}
	return ""
}

// target finds the node that a reference means.
func (c *checker) target(s stepRef, i int, report reporter) (int, bool) {
	j, known := c.index[s.step]
	if known {
		return j, true
	}
	hint := ""
	if near := nearest.Name(s.step, c.names); near != "" {
		hint = fmt.Sprintf("Did you mean step.%s?", near)
	} else if len(c.names) > 0 && len(c.names) <= 12 {
		hint = "Steps: " + strings.Join(c.names, ", ") + "."
	}
	report(s.place, "SG07", hint, "there is no step %q", s.step)
	return -1, false
}

// earlier checks a reference from the place before node i to node j.
func (c *checker) earlier(e *Expr, s stepRef, j, i int, what string, report reporter) {
	_, b := c.order.meet(i, j)
	switch c.order.of(j, i) {
	case relSame:
		report(s.place, "SG07", "", "%s is evaluated before %s runs, so it cannot use its output", what, s.step)
	case relAround:
		report(s.place, "SG08", "", "%s is inside %s, which has not ended yet", c.defs[i].ID, s.step)
	case relAfter, relInside:
		report(s.place, "SG08", "Use an earlier step.", "step.%s comes later and has not run yet", s.step)
	case relBeside:
		report(s.place, "SG08", "Use a step that comes before.", "%s runs beside %s, so it may not have ended", s.step, c.defs[i].ID)
	case relOther:
		report(s.place, "SG08", "Use a step of this branch, or one before it.", "%s is in another branch of %s", s.step, c.defs[c.plan.Steps[b].Parent].ID)
	case relBefore:
		if p := c.plan.Steps[b].Parent; p >= 0 && c.defs[p].Node == NodeScope && c.laneOf(b) == LaneDo && !c.inBody(i, p) {
			c.field(e, s, j, "may not have run before the failure", report)
			return
		}
		c.field(e, s, j, c.surely(j, b, ""), report)
	}
}

// top is the node around j, or j itself, that is in the list of the saga.
func (c *checker) top(j int) int {
	for c.plan.Steps[j].Parent >= 0 {
		j = c.plan.Steps[j].Parent
	}
	return j
}

// endsEarly says that node j may not run because a finish or continue ends the saga before it.
func (c *checker) endsEarly(j int) string {
	for i, def := range c.defs {
		if (def.Node == NodeFinish || def.Node == NodeContinue) && i != j {
			if r := c.order.of(j, i); r != relBefore && r != relOther && r != relAround {
				return "is not set when " + def.ID + " ends the saga early"
			}
		}
	}
	return ""
}

// perItem marks what has no single output.
const perItem = "runs once for each item"

// surely says why the output of node j may not be there when the node b around it (or j itself) has
// ended, "" when it surely is. other is a reason from elsewhere.
func (c *checker) surely(j, b int, other string) string {
	why := other
	for x := j; ; x = c.plan.Steps[x].Parent {
		def := c.defs[x]
		switch {
		case def.When != "" && x == j:
			why = "is only set when its condition holds"
		case def.When != "":
			why = "is only set when the condition of " + def.ID + " holds"
		case x != j:
		case def.Kind == Optional:
			why = "is not set when the optional step failed"
		case def.OnReject:
			why = "is not set when the step was refused"
		case def.Await != nil && def.Await.OnTimeout != TimeoutFail, def.Approve != nil && def.Approve.OnTimeout != TimeoutFail:
			why = "is not set after the timeout"
		}
		if x == b {
			return why
		}
		p, lane := c.plan.Steps[x].Parent, c.laneOf(x)
		around := c.defs[p]
		switch around.Node {
		case NodeEach:
			return perItem + " of " + around.ID
		case NodeChoose:
			if c.otherLanesEnd(p, c.plan.Steps[x].Lane) {
				break
			}
			if lane == LaneElse {
				why = "is only set when no branch of " + around.ID + " ran but else"
			} else {
				why = "is only set when branch " + lane + " of " + around.ID + " ran"
			}
		case NodeRace:
			why = "is only set when lane " + lane + " of " + around.ID + " won"
		case NodeScope:
			if lane == LaneCatch {
				why = "is only set when " + around.ID + " caught a failure"
			} else if around.lane(LaneCatch) != nil {
				why = "is not set when " + around.ID + " caught a failure"
			}
		case NodeAwait, NodeApprove:
			why = "is only set when " + around.ID + " timed out"
		}
	}
}

// otherLanesEnd says whether only this lane of a choose comes to its end.
func (f *flow) otherLanesEnd(i, lane int) bool {
	for l := range f.plan.Steps[i].Lanes {
		if l != lane && !f.laneEnds(i, l) {
			return false
		}
	}
	return true
}

// field checks the field of a reference to node j. why says why the output may not be there.
func (c *checker) field(e *Expr, s stepRef, j int, why string, report reporter) {
	if strings.HasPrefix(why, perItem) {
		report(s.place, "SG08", "Use it inside the each, or collect what you need another way.", "%s %s, so outside there is no single output", s.step, why)
		return
	}
	if !c.kept(s, j, report) || why == "" || s.field == "" || s.field == nameState || e.guards(s) {
		return
	}
	report(s.place, "SG08", fmt.Sprintf("Use step.%s.?%s.", s.step, s.field), "step.%s.%s %s", s.step, s.field, why)
}

// outputs are the fields that a node leaves.
func (s *StepDef) outputs() []string {
	switch s.Node {
	case NodeCall, NodeSaga, NodeAwait:
		return s.Keep
	case NodeSet:
		tree, err := parseObject(s.Set)
		if err != nil {
			return nil
		}
		var names []string
		for _, f := range tree.fields {
			names = append(names, f.key)
		}
		return names
	case NodeApprove:
		return []string{"actor", "comment", "decision"}
	case NodeChoose:
		return []string{"branch"}
	case NodeRepeat:
		return []string{"rounds", "satisfied"}
	case NodeScope:
		return []string{"caught", "rounds"}
	case NodeRace:
		return []string{"winners"}
	case NodeEach:
		return []string{"count", "failed"}
	case NodeSleep:
		return []string{"woken"}
	}
	return nil
}

// kept reports a field that node j does not leave.
func (c *checker) kept(s stepRef, j int, report reporter) bool {
	def := c.defs[j]
	fields := def.outputs()
	if s.field == "" || s.field == nameState || slices.Contains(fields, s.field) {
		return true
	}
	hint, text := "", fmt.Sprintf("%s has no field %q", s.step, s.field)
	switch {
	case def.Node == NodeCall || def.Node == NodeSaga || def.Node == NodeAwait:
		hint = fmt.Sprintf("Add %s to keep: of %s.", s.field, s.step)
		text = fmt.Sprintf("%s does not keep the output field %q", s.step, s.field)
	case len(fields) == 0:
		hint = "It leaves only its state."
	default:
		hint = "Fields: " + strings.Join(fields, ", ") + "."
	}
	if near := nearest.Name(s.field, fields); near != "" {
		hint = fmt.Sprintf("Did you mean step.%s.%s?", s.step, near)
	}
	report(s.place, "SG07", hint, "%s", text)
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
