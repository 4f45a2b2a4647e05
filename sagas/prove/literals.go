package prove

import (
	"encoding/json"
	"slices"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/amendsio/amends/sagas"
)

// field is what a definition's expressions ask of one value: of the input, of a step's output, of an
// item or of a signal.
type field struct {
	asked   []comparison
	absent  bool // some expression allows for it not to be there
	boolean bool
	number  bool
	decimal bool
	moment  bool
	list    *field // what is asked of its items
	least   int    // items that are needed because they are asked for by their index
	fields  map[string]*field
}

// comparison is one question: is the value op the literal?
type comparison struct {
	op string // ==, <, <=, and the reverse of them
	to any    // string, float64, bool
}

func (f *field) child(name string) *field {
	if f.fields == nil {
		f.fields = make(map[string]*field)
	}
	c := f.fields[name]
	if c == nil {
		c = &field{}
		f.fields[name] = c
	}
	return c
}

func (f *field) item() *field {
	if f.list == nil {
		f.list = &field{}
	}
	return f.list
}

// asker collects what all expressions of a definition ask.
type asker struct {
	parser *parser.Parser
	input  *field
	steps  map[string]*field
	events map[string]*field // await: by id of the node
	names  map[string]*field // items of the enclosing each nodes
	event  *field
	asked  []string        // signals that are asked for by name
	texts  strings.Builder // of all expressions
}

func newAsker() (*asker, error) {
	p, err := parser.NewParser(parser.Macros(parser.AllMacros...), parser.EnableOptionalSyntax(true), parser.PopulateMacroCalls(false))
	if err != nil {
		return nil, err
	}
	return &asker{parser: p, input: &field{}, steps: make(map[string]*field), events: make(map[string]*field), names: make(map[string]*field)}, nil
}

func (a *asker) step(id string) *field {
	f := a.steps[id]
	if f == nil {
		f = &field{}
		a.steps[id] = f
	}
	return f
}

// definition goes through all expressions.
func (a *asker) definition(d *sagas.Definition) {
	a.expr(d.ID)
	a.tree(d.Output)
	a.tree(d.Tags)
	if d.Input != nil {
		for _, name := range d.Input.Required {
			a.input.child(name)
		}
	}
	a.nodes(d.Steps)
}

func (a *asker) nodes(list []sagas.StepDef) {
	for i := range list {
		s := &list[i]
		a.truth(s.When)
		a.expr(s.Lease)
		if f := a.lookup(s.Lease); f != nil {
			f.moment = true
		}
		for _, tree := range [][]byte{s.With, s.Set} {
			a.tree(tree)
		}
		if s.Undo != nil {
			a.tree(s.Undo.With)
		}
		if s.Inquire != nil {
			a.tree(s.Inquire.With)
		}
		switch {
		case s.Saga != nil:
			a.expr(s.Saga.ID)
			a.tree(s.Saga.Input)
		case s.Await != nil:
			f := &field{}
			a.events[s.ID], a.event = f, f
			a.truth(s.Await.When)
			a.event = nil
			a.expr(s.Await.Equals)
		case s.Sleep != nil:
			a.expr(s.Sleep.Until)
			if f := a.lookup(s.Sleep.Until); f != nil {
				f.moment = true
			}
		case s.Approve != nil:
			a.expr(s.Approve.Not)
		case s.Emit != nil:
			a.expr(s.Emit.Key)
			a.tree(s.Emit.With)
		case s.Continue != nil:
			a.tree(s.Continue.Input)
		case s.Repeat != nil:
			a.truth(s.Repeat.Until)
		}
		if s.Each != nil {
			a.each(s)
			continue
		}
		for k := range s.Lanes {
			a.truth(s.Lanes[k].When)
			a.nodes(s.Lanes[k].Steps)
		}
	}
}

func (a *asker) each(s *sagas.StepDef) {
	item := &field{}
	if list := a.lookup(s.Each.In); list != nil {
		item = list.item()
		list.least = max(list.least, 2)
	}
	before := a.names[s.Each.As]
	a.names[s.Each.As] = item
	a.expr(s.Each.In)
	a.expr(s.Each.Key)
	for k := range s.Lanes {
		a.nodes(s.Lanes[k].Steps)
	}
	a.names[s.Each.As] = before
}

// tree goes through a JSON tree in which a string that starts with "=" is an expression.
func (a *asker) tree(raw []byte) {
	if len(raw) == 0 {
		return
	}
	var v any
	if json.Unmarshal(raw, &v) == nil {
		a.value(v)
	}
}

func (a *asker) value(v any) {
	switch v := v.(type) {
	case string:
		if text, is := strings.CutPrefix(v, "="); is && !strings.HasPrefix(text, "=") {
			a.expr(text)
		}
	case map[string]any:
		for _, x := range v {
			a.value(x)
		}
	case []any:
		for _, x := range v {
			a.value(x)
		}
	}
}

func (a *asker) parse(text string) ast.Expr {
	if text == "" {
		return nil
	}
	a.texts.WriteString(text + " ")
	tree, errs := a.parser.Parse(common.NewTextSource(text))
	if len(errs.GetErrors()) > 0 {
		return nil
	}
	return tree.Expr()
}

// lookup is the field that an expression names, nil when it is more than a path.
func (a *asker) lookup(text string) *field {
	e := a.parse(text)
	if e == nil {
		return nil
	}
	return a.path(e)
}

func (a *asker) expr(text string) {
	if e := a.parse(text); e != nil {
		a.walk(e)
	}
}

// truth is an expression that is a condition.
func (a *asker) truth(text string) {
	if e := a.parse(text); e != nil {
		a.condition(e)
		a.walk(e)
	}
}

// condition notes a path that stands for a truth value.
func (a *asker) condition(e ast.Expr) {
	if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() {
		return // has(x) says nothing about what x is
	}
	if f := a.path(e); f != nil {
		f.boolean = true
	}
}

// path is the field that e names, made when nothing asked for it yet; nil when e is no path.
func (a *asker) path(e ast.Expr) *field {
	switch e.Kind() {
	case ast.IdentKind:
		switch name := e.AsIdent(); name {
		case "input":
			return a.input
		case "event":
			return a.event
		default:
			return a.names[name]
		}
	case ast.SelectKind:
		s := e.AsSelect()
		if id, is := stepID(s.Operand()); is {
			if s.FieldName() == "state" {
				return nil
			}
			f := a.step(id).child(s.FieldName())
			f.absent = f.absent || s.IsTestOnly()
			return f
		}
		f := a.path(s.Operand())
		if f == nil {
			return nil
		}
		c := f.child(s.FieldName())
		c.absent = c.absent || s.IsTestOnly()
		return c
	case ast.CallKind:
		c := e.AsCall()
		switch c.FunctionName() {
		case operators.OptSelect:
			name, is := literal(c.Args()[1]).(string)
			if !is {
				return nil
			}
			if id, isStep := stepID(c.Args()[0]); isStep {
				if name == "state" {
					return nil
				}
				return a.step(id).child(name)
			}
			if f := a.path(c.Args()[0]); f != nil {
				return f.child(name)
			}
		case operators.Index, operators.OptIndex:
			f := a.path(c.Args()[0])
			n, is := literal(c.Args()[1]).(float64)
			if f == nil || !is {
				return nil
			}
			f.least = max(f.least, int(n)+1)
			return f.item()
		case "orValue", "value":
			if c.IsMemberFunction() {
				return a.path(c.Target())
			}
		}
	}
	return nil
}

// stepID reads step.<id>.
func stepID(e ast.Expr) (string, bool) {
	if e.Kind() == ast.SelectKind {
		s := e.AsSelect()
		if o := s.Operand(); o.Kind() == ast.IdentKind && (o.AsIdent() == "step" || o.AsIdent() == "round") {
			return s.FieldName(), true
		}
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.OptSelect {
		args := e.AsCall().Args()
		if o := args[0]; o.Kind() == ast.IdentKind && (o.AsIdent() == "step" || o.AsIdent() == "round") {
			name, is := literal(args[1]).(string)
			return name, is
		}
	}
	return "", false
}

// literal is the value of a literal: string, float64, bool; nil = e is none.
func literal(e ast.Expr) any {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Negate {
		if n, is := literal(e.AsCall().Args()[0]).(float64); is {
			return -n
		}
		return nil
	}
	if e.Kind() != ast.LiteralKind {
		return nil
	}
	switch v := e.AsLiteral().(type) {
	case types.String:
		return string(v)
	case types.Int:
		return float64(v)
	case types.Uint:
		return float64(v)
	case types.Double:
		return float64(v)
	case types.Bool:
		return bool(v)
	}
	return nil
}

var mirrored = map[string]string{"==": "==", "!=": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

var comparing = map[string]string{
	operators.Equals: "==", operators.NotEquals: "==", operators.Less: "<", operators.LessEquals: "<=", operators.Greater: ">", operators.GreaterEquals: ">=",
	"eq": "==", "ne": "==", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}

// walk notes every path and every comparison with a literal.
func (a *asker) walk(e ast.Expr) {
	if a.path(e) != nil {
		if e.Kind() == ast.SelectKind || e.Kind() == ast.IdentKind {
			return
		}
	}
	switch e.Kind() {
	case ast.SelectKind:
		a.walk(e.AsSelect().Operand())
	case ast.CallKind:
		a.call(e.AsCall())
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			a.walk(x)
		}
	case ast.MapKind:
		for _, x := range e.AsMap().Entries() {
			a.walk(x.AsMapEntry().Value())
		}
	case ast.StructKind:
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		if f := a.path(c.IterRange()); f != nil {
			f.item()
			f.least = max(f.least, 1)
		}
		a.walk(c.IterRange())
		a.walk(c.LoopStep())
		a.walk(c.Result())
	}
}

func (a *asker) call(c ast.CallExpr) {
	args := c.Args()
	decimal := c.IsMemberFunction() && c.Target().Kind() == ast.IdentKind && (c.Target().AsIdent() == "dec" || c.Target().AsIdent() == "money")
	name := c.FunctionName()
	if text, is := strings.CutPrefix(name, "dec."); is {
		name, decimal = text, true
	}
	if op := comparing[name]; op != "" && len(args) == 2 {
		a.compare(args[0], args[1], op, decimal)
		a.compare(args[1], args[0], mirrored[op], decimal)
	}
	switch name {
	case operators.In:
		if f := a.path(args[0]); f != nil && args[1].Kind() == ast.ListKind {
			for _, x := range args[1].AsList().Elements() {
				if v := literal(x); v != nil {
					f.asked = append(f.asked, comparison{"==", v})
				}
			}
		}
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
		for _, x := range args {
			a.condition(x)
		}
	case operators.Conditional:
		a.condition(args[0])
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo:
		for i, x := range args {
			if f := a.path(x); f != nil && len(args) == 2 {
				if _, is := literal(args[1-i]).(float64); is {
					f.number = true
				}
			}
		}
	case "timestamp":
		if f := a.path(args[0]); f != nil {
			f.moment = true
		}
	case "size":
		for _, x := range args {
			if f := a.path(x); f != nil && len(f.asked) == 0 {
				f.item()
			}
		}
	}
	if decimal {
		for _, x := range args {
			if f := a.path(x); f != nil {
				f.decimal = true
			}
		}
	}
	if c.IsMemberFunction() && c.Target().Kind() == ast.IdentKind && c.Target().AsIdent() == "signals" && len(args) == 1 {
		if name, is := literal(args[0]).(string); is && !slices.Contains(a.asked, name) {
			a.asked = append(a.asked, name)
		}
	}
	if c.IsMemberFunction() {
		a.walk(c.Target())
	}
	for _, x := range args {
		a.walk(x)
	}
}

func (a *asker) compare(e, with ast.Expr, op string, decimal bool) {
	f := a.path(e)
	v := literal(with)
	if f == nil || v == nil {
		return
	}
	if _, isText := v.(string); isText && decimal {
		f.decimal = true
	}
	f.asked = append(f.asked, comparison{op, v})
}
