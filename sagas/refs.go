package sagas

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// refWalk collects what an expression reads. References to steps must be written out, so that they
// can be checked before the definition is published and only the steps that are used are loaded.
type refWalk struct {
	info     *ast.SourceInfo
	refs     *exprRefs
	items    []string // names of the items around the expression
	bound    []string // variables of the comprehensions around the current part
	loops    bool     // there is a comprehension
	problems []exprProblem
}

func (w *refWalk) place(id int64) exprPlace {
	loc := w.info.GetStartLocation(id)
	return exprPlace{max(loc.Line()-1, 0), max(loc.Column(), 0)}
}

func (w *refWalk) problem(id int64, format string, args ...any) {
	w.problems = append(w.problems, exprProblem{w.place(id), fmt.Sprintf(format, args...)})
}

// root is the innermost operand of a chain of selections. The place of a reference is where its
// first word stands, not the dot that CEL points at.
func root(e ast.Expr) ast.Expr {
	for {
		if e.Kind() == ast.SelectKind {
			e = e.AsSelect().Operand()
		} else if operand, _, _, ok := indexOf(e); ok {
			e = operand
		} else {
			return e
		}
	}
}

func (w *refWalk) use(e ast.Expr, s stepUse, field string, optional bool) {
	at := w.place(root(e).ID())
	if s.round {
		w.refs.newer = true
		if s.step == nameRoundNumber {
			w.refs.vars = append(w.refs.vars, varRef{nameRound, at})
			return
		}
	}
	w.refs.steps = append(w.refs.steps, stepRef{s.step, field, optional || s.optional, s.optional, s.round, at})
}

func (w *refWalk) ident(e ast.Expr) {
	name := e.AsIdent()
	if slices.Contains(w.bound, name) {
		return
	}
	switch name {
	case nameStep:
		w.problem(e.ID(), "step needs the id of a step that is written out, as in step.auth.id")
	case nameRound:
		w.problem(e.ID(), "round needs n or the id of a step that is written out, as in round.n")
	case nameInput:
		w.refs.input = true
		w.refs.wholeInput = true
	case nameNow:
		w.refs.now = true
	case nameKey:
		w.refs.key = true
	case nameIndex, nameEvent:
		w.refs.newer = true
		w.refs.wholeEvent = w.refs.wholeEvent || name == nameEvent
		w.refs.vars = append(w.refs.vars, varRef{name, w.place(e.ID())})
	case nameSignals:
		w.refs.newer = true
		w.refs.signals = true
	default:
		if slices.Contains(w.items, name) {
			w.refs.newer = true
			w.refs.items = append(w.refs.items, name)
		}
	}
}

func (w *refWalk) visit(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		w.ident(e)
	case ast.SelectKind:
		s := e.AsSelect()
		if step, ok := w.stepOf(s.Operand()); ok {
			w.use(s.Operand(), step, s.FieldName(), s.IsTestOnly())
			return
		}
		if step, ok := w.stepOf(e); ok {
			w.use(e, step, "", false)
			return
		}
		if w.inputField(s.Operand(), s.FieldName(), s.IsTestOnly()) || w.eventField(s.Operand()) {
			return
		}
		w.visit(s.Operand())
	case ast.CallKind:
		w.call(e)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			w.visit(x)
		}
	case ast.MapKind:
		for _, x := range e.AsMap().Entries() {
			w.visit(x.AsMapEntry().Key())
			w.visit(x.AsMapEntry().Value())
		}
	case ast.StructKind:
		for _, x := range e.AsStruct().Fields() {
			w.visit(x.AsStructField().Value())
		}
	case ast.ComprehensionKind:
		w.comprehension(e)
	}
}

func (w *refWalk) call(e ast.Expr) {
	c := e.AsCall()
	if operand, field, optional, ok := indexOf(e); ok {
		if step, ok := w.stepOf(operand); ok {
			w.use(operand, step, field, optional)
			return
		}
		if w.inputField(operand, field, optional) || w.eventField(operand) {
			return
		}
	}
	if step, ok := w.stepOf(e); ok {
		w.use(e, step, "", false)
		return
	}
	if slices.Contains(newerFunctions, c.FunctionName()) {
		w.refs.newer = true
	}
	if c.IsMemberFunction() {
		w.visit(c.Target())
	}
	for _, a := range c.Args() {
		w.visit(a)
	}
}

// inputField notes input.<field>.
func (w *refWalk) inputField(operand ast.Expr, field string, optional bool) bool {
	if operand.Kind() != ast.IdentKind || operand.AsIdent() != nameInput || slices.Contains(w.bound, nameInput) {
		return false
	}
	w.refs.input = true
	w.refs.fields = append(w.refs.fields, inputRef{field, optional, w.place(operand.ID())})
	return true
}

// eventField notes event.<field>.
func (w *refWalk) eventField(operand ast.Expr) bool {
	if operand.Kind() != ast.IdentKind || operand.AsIdent() != nameEvent || slices.Contains(w.bound, nameEvent) {
		return false
	}
	w.refs.newer = true
	w.refs.vars = append(w.refs.vars, varRef{nameEvent, w.place(operand.ID())})
	return true
}

func (w *refWalk) comprehension(e ast.Expr) {
	c := e.AsComprehension()
	w.loops = true
	for _, v := range []string{c.IterVar(), c.IterVar2()} {
		switch {
		case v == nameStep, v == nameInput, v == nameKey, v == "saga", v != "" && slices.Contains(w.items, v):
			w.problem(e.ID(), "%s has a meaning already; give the variable another name", v)
		}
	}
	w.visit(c.IterRange())
	w.visit(c.AccuInit())
	bound := len(w.bound)
	w.bound = append(w.bound, c.IterVar(), c.IterVar2(), c.AccuVar())
	w.visit(c.LoopCondition())
	w.visit(c.LoopStep())
	w.visit(c.Result())
	w.bound = w.bound[:bound]
}

// stepUse is step.<id> or round.<id>.
type stepUse struct {
	step     string
	optional bool // .?<id>, has(…)
	round    bool
}

// stepOf reads step.x, step.?x, step["x"], step[?"x"], as a presence test has(step.x), and the same
// of round.
func (w *refWalk) stepOf(e ast.Expr) (s stepUse, ok bool) {
	is := func(e ast.Expr) bool {
		if e.Kind() != ast.IdentKind || slices.Contains(w.bound, e.AsIdent()) {
			return false
		}
		s.round = e.AsIdent() == nameRound
		return s.round || e.AsIdent() == nameStep
	}
	if e.Kind() == ast.SelectKind && is(e.AsSelect().Operand()) {
		s.step, s.optional = e.AsSelect().FieldName(), e.AsSelect().IsTestOnly()
		return s, true
	}
	if operand, field, opt, ok := indexOf(e); ok && is(operand) {
		s.step, s.optional = field, opt
		return s, true
	}
	return s, false
}

// indexOf reads x["field"], x[?"field"] and x.?field.
func indexOf(e ast.Expr) (operand ast.Expr, field string, optional, ok bool) {
	if e.Kind() != ast.CallKind {
		return nil, "", false, false
	}
	c := e.AsCall()
	switch c.FunctionName() {
	case operators.Index:
	case operators.OptIndex, operators.OptSelect:
		optional = true
	default:
		return nil, "", false, false
	}
	if len(c.Args()) != 2 || c.Args()[1].Kind() != ast.LiteralKind {
		return nil, "", false, false
	}
	s, isString := c.Args()[1].AsLiteral().(types.String)
	if !isString {
		return nil, "", false, false
	}
	return c.Args()[0], string(s), optional, true
}
