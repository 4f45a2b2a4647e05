package sagas

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// checker finds everything in a definition that is readable but wrong. It compiles the plan on the
// way, because the expressions are a good part of what can be wrong.
//
// What was published stays valid: a check that an older release did not make, and that can hit a
// definition of level 1, gives a warning.
type checker struct {
	flow
	r         *report
	exprs     int                 // expressions compiled, for the tests of its bounds
	names     []string            // step ids
	pivots    []int               // plan indexes
	envs      []exprEnv           // of each node: what expressions in its place see
	bodies    map[int]exprEnv     // of the body of an each
	newer     bool                // an expression uses what level 2 added
	signals   bool                // an expression asks for signals
	inBinding bool                // the expressions of bindings are being compiled
	inCommand bool                // input is the value of a command
	topic     string              // whose events the expressions see that are being compiled; "" = none
	outside   *typeCheck          // nil unless types come from schemas
	typed     map[string]*cel.Env // by the names of the items: environments with the declared input
}

// checkDefinition reports what is wrong with a definition and gives its plan. The plan is of use
// only when nothing was reported.
func checkDefinition(r *report, d *Definition) *Plan {
	return newChecker(r, d).check()
}

func newChecker(r *report, d *Definition) *checker {
	return &checker{r: r, flow: flowOf(outlineOf(d))}
}

func (c *checker) check() *Plan {
	d := c.d
	c.pivots = c.pivotNodes()
	for _, def := range c.defs {
		if def.ID != "" {
			c.names = append(c.names, def.ID)
		}
	}
	if d.Retention.Marker < d.Retention.State {
		c.fault("retention/marker", "SG01", "", "marker %s is shorter than state %s", formatDuration(d.Retention.Marker), formatDuration(d.Retention.State))
	}
	c.environments()
	top := exprEnv{env: celEnv}
	c.plan.ID = c.expr("id", d.ID, wantString, place{top, c.inID})
	c.plan.Tags = c.mapping("tags", d.Tags, place{top, c.inTags})
	for i := range c.defs {
		c.step(i)
	}
	c.checkShape()
	c.checkUndoOrder()
	c.checkPivots()
	c.checkEnds()
	c.checkCredit()
	c.checkRetention()
	c.plan.Output = c.mapping("output", d.Output, place{top, c.inOutput})
	c.checkBindings()
	c.checkPrivate()
	c.checkCorrelates()
	c.level()
	if canonical := d.Canonical(); len(canonical) > MaxDefinitionBytes {
		c.fault("", "SG01", "", "the definition has %d bytes in canonical form, the limit is %d", len(canonical), MaxDefinitionBytes)
	} else {
		c.plan.Digest = d.Digest()
	}
	return c.plan
}

// level notes what the definition needs.
func (c *checker) level() {
	d := c.d
	if c.newer && !d.src.newExprs { // only the first check writes: definitions are shared
		d.src.newExprs = true
	}
	used := d.usedLevel()
	if d.Requires > 0 && d.Requires < used {
		c.fault("requires", "SG01", "Take it out: the level is known from what is used.", "requires is %d, but the definition uses level %d", d.Requires, used)
	}
	c.plan.Requires = max(used, d.Requires)
	c.plan.plain = used > instanceLevel && d.Requires <= 1 && d.machineLevel() <= 1
}

// environments gives each node the names that its expressions may use.
func (c *checker) environments() {
	c.envs = make([]exprEnv, len(c.defs))
	c.bodies = map[int]exprEnv{}
	for i := range c.defs {
		parent := c.plan.Steps[i].Parent
		switch {
		case parent < 0:
			c.envs[i] = exprEnv{env: celEnv}
		case c.defs[parent].Each == nil:
			c.envs[i] = c.envs[parent]
		default:
			c.envs[i] = c.itemEnv(parent)
		}
	}
}

// itemEnv is the environment of the body of an each.
func (c *checker) itemEnv(i int) exprEnv {
	body, ok := c.bodies[i]
	if !ok {
		body = c.newItemEnv(i)
		c.bodies[i] = body
	}
	return body
}

func (c *checker) newItemEnv(i int) exprEnv {
	outer, as := c.envs[i], c.defs[i].Each.As
	for _, name := range outer.items {
		if name == as {
			c.fault(c.paths[i]+"/each/as", "SG02", "Use another name.", "%q is the name of an item around it already", as)
			return outer
		}
	}
	inner, err := outer.within(as)
	if err != nil {
		c.fault(c.paths[i]+"/each/as", "SG03", "", "%q cannot be a name in expressions: %v", as, err)
		return outer
	}
	return inner
}

func (c *checker) fault(path, code, hint, format string, args ...any) {
	c.r.add(c.d.src.place(path), code, path, hint, format, args...)
}

// warn reports what may be right.
func (c *checker) warn(path, code, hint, format string, args ...any) {
	c.r.warn(c.d.src.place(path), code, path, hint, format, args...)
}

// step checks one node and compiles its expressions.
func (c *checker) step(i int) {
	s, ps, path, env := c.defs[i], &c.plan.Steps[i], c.paths[i], c.envs[i]
	before := func(what string) place { return place{env, c.before(i, what, false)} }
	ps.When = c.expr(path+"/when", s.When, wantBool, before("when"))
	switch s.Node {
	case NodeCall:
		c.checkKind(i, path)
		c.checkOps(s, path)
		c.checkTimes(i, path)
		ps.With = c.mapping(path+"/with", s.With, place{env, c.before(i, "with", true)})
		ps.Lease = c.expr(path+"/lease", s.Lease, wantTime, place{env, c.afterDone(i)})
		if s.Inquire != nil {
			ps.Inquire.With = c.mapping(path+"/inquire/with", s.Inquire.With, place{env, c.afterOwn(i, "inquire.with")})
		}
		if s.Undo != nil {
			ps.Undo.With = c.mapping(path+"/undo/with", s.Undo.With, place{env, c.afterOwn(i, "undo.with")})
		}
	case NodeChoose:
		for l := range s.Lanes {
			p := fmt.Sprintf("%s/choose/%s/when", path, s.Lanes[l].Name)
			ps.Lanes[l].When = c.expr(p, s.Lanes[l].When, wantBool, before("when"))
		}
	case NodeEach:
		ps.Each.In = c.expr(path+"/each/in", s.Each.In, wantList, before("in"))
		ps.Each.Key = c.expr(path+"/each/key", s.Each.Key, wantString, place{c.itemEnv(i), c.before(i, "key", false)})
	case NodeRepeat:
		c.checkWaits(i, path+"/repeat/wait", s.Repeat.Wait)
		ps.Repeat.Until = c.expr(path+"/repeat/until", s.Repeat.Until, wantBool, place{env, c.afterBody(i)})
	case NodeScope:
		c.checkWaits(i, path+"/scope/retry/wait", s.Scope.Wait)
	case NodeSaga:
		c.checkKind(i, path)
		ps.Saga.ID = c.expr(path+"/saga/id", s.Saga.ID, wantString, before("id"))
		ps.Saga.Input = c.mapping(path+"/saga/input", s.Saga.Input, before("input"))
	case NodeAwait:
		c.checkWait(i, path+"/await", s.Await.Within)
		if s.Await.Topic != "" {
			c.checkEvent(i)
		} else {
			ps.Await.When = c.expr(path+"/await/when", s.Await.When, wantBool, place{env, c.onEvent(i)})
		}
	case NodeSleep:
		c.checkLength(i, path+"/sleep/for", "sleep", s.Sleep.For)
		ps.Sleep.Until = c.expr(path+"/sleep/until", s.Sleep.Until, wantTime, before("until"))
	case NodeApprove:
		c.checkWait(i, path+"/approve", s.Approve.Within)
		if s.Approve.Within > 0 && s.Approve.RemindEvery >= s.Approve.Within {
			c.fault(path+"/approve/remindEvery", "SG17", "", "remindEvery %s is not shorter than within %s", formatDuration(s.Approve.RemindEvery), formatDuration(s.Approve.Within))
		}
		ps.Approve.Not = c.expr(path+"/approve/not", s.Approve.Not, wantList, before("not"))
	case NodeEmit:
		ps.Emit.Key = c.expr(path+"/emit/key", s.Emit.Key, wantString, before("key"))
		ps.Emit.With = c.mapping(path+"/emit/with", s.Emit.With, before("with"))
	case NodeSet:
		ps.Set = c.mapping(path+"/set", s.Set, before("set"))
	case NodeContinue:
		ps.Continue = c.mapping(path+"/continue/input", s.Continue.Input, before("input"))
	}
}

// place is the environment of one expression and the rule for what it refers to.
type place struct {
	env  exprEnv
	rule refRule
}

// expr compiles an expression; an empty text gives nil.
func (c *checker) expr(path, text string, want wantType, at place) *Expr {
	if text == "" {
		return nil
	}
	if !c.another(path) {
		return nil
	}
	e, problems := at.env.compile(text, want)
	for _, p := range problems {
		c.problem(path, text, p)
	}
	if e != nil {
		c.found(path, e, want, at)
	}
	return e
}

func (c *checker) mapping(path string, tree []byte, at place) *Mapping {
	if len(tree) == 0 {
		return nil
	}
	v, err := parseJSON(tree)
	if err != nil {
		c.fault(path, "SG01", "", "%s", err.Error())
		return nil
	}
	b := mappingBuilder{
		env:     at.env,
		another: c.another,
		problem: func(path, text string, p exprProblem) { c.problem(path, text, p) },
		found:   func(path string, e *Expr) { c.found(path, e, wantJSON, at) },
	}
	root := b.build(path, v)
	if root == nil {
		return nil
	}
	return &Mapping{root}
}

// another counts an expression and says whether there may be one more. The first one over the limit
// is reported.
func (c *checker) another(path string) bool {
	c.exprs++
	if c.exprs == MaxExpressions+1 {
		c.fault(path, "SG01", "", "more than %d expressions", MaxExpressions)
	}
	return c.exprs <= MaxExpressions
}

// found looks at an expression that compiles.
func (c *checker) found(path string, e *Expr, want wantType, at place) {
	c.refs(path, e, at.rule)
	if !c.inCommand {
		c.checkInput(path, e, want, at.env.items)
	}
	c.checkCost(path, e)
	if c.outside != nil && !c.inCommand {
		c.outside.expr(c, path, e, want, at.env.items)
	}
}

func (c *checker) refs(path string, e *Expr, rule refRule) {
	c.newer = c.newer || e.refs.newer
	c.signals = c.signals || e.refs.signals
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
	hint := ""
	if c.inBinding && strings.Contains(p.text, "undeclared reference to") {
		hint = "Expressions over an event have event, headers, key, topic, partition, offset and time."
	}
	c.r.add(c.inSource(path, expr, p.place), "SG23", path, hint, "%s", shortProblem(p.text))
}

// shortProblem is a message of the compiler without what only its authors need.
func shortProblem(text string) string {
	text = strings.ReplaceAll(text, " (in container '')", "")
	text, _, _ = strings.Cut(text, " expecting {")
	text, _, _ = strings.Cut(text, "\n")
	return text
}

// inSource is the place of a part of an expression in the source. It is exact when the expression
// stands in the source as it is, on one line; else it is where the expression starts.
func (c *checker) inSource(path, expr string, p exprPlace) at {
	start := c.d.src.place(path)
	if p.line > 0 || start.line < 1 || start.line > len(c.r.lines) {
		return start
	}
	rest := c.r.lines[start.line-1]
	if len(rest) > 20*sourceLineMax {
		return start // a line of a machine: nobody counts its columns
	}
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
