package sagas

import (
	"encoding/json"
	"fmt"

	"cel.dev/cel-go/common/ast"
)

// RecordExpr is an expression of the environment cel/1 over one record of any topic: input is the
// record's value, a JSON object, and key its key. It is for the files of other stages, which are
// written like definitions. It is immutable and safe for concurrent use.
type RecordExpr struct {
	expr *Expr
	tree ast.Expr
}

// RecordWant is what the user of a RecordExpr does with the result.
type RecordWant uint8

// The wants.
const (
	WantValue RecordWant = iota + 1 // any JSON value
	WantBool
	WantText // a string, or an integer as its digits
)

// ExprProblem is one reason why an expression does not compile. Line and Col are places in its text,
// from 0.
type ExprProblem struct {
	Line, Col int
	Text      string
}

// CompileRecordExpr compiles an expression, without the "=" in front. It may read input and key and
// nothing else: the same record gives the same result.
func CompileRecordExpr(text string, want RecordWant) (*RecordExpr, []ExprProblem) {
	return compileRecordExpr(exprEnv{env: celEnv}, text, want)
}

func compileRecordExpr(x exprEnv, text string, want RecordWant) (*RecordExpr, []ExprProblem) {
	kind := map[RecordWant]wantType{WantValue: wantJSON, WantBool: wantBool, WantText: wantString}[want]
	e, problems := x.compile(text, kind)
	var out []ExprProblem
	for _, p := range problems {
		out = append(out, ExprProblem{p.place.line, p.place.col, p.text})
	}
	if e == nil {
		return nil, out
	}
	add := func(p exprPlace, name string) {
		out = append(out, ExprProblem{p.line, p.col, fmt.Sprintf("%s belongs to a saga; a record has input and key", name)})
	}
	for _, s := range e.refs.steps {
		add(s.place, "step")
	}
	for _, v := range e.refs.vars {
		add(v.place, v.name)
	}
	if e.refs.now {
		add(exprPlace{}, nameNow)
	}
	if e.refs.signals {
		add(exprPlace{}, nameSignals)
	}
	if len(out) > 0 {
		return nil, out
	}
	checked, iss := x.env.Compile(text)
	if iss.Err() != nil {
		return nil, []ExprProblem{{Text: iss.Err().Error()}}
	}
	return &RecordExpr{expr: e, tree: checked.NativeRep().Expr()}, nil
}

// Tree is the checked expression.
func (x *RecordExpr) Tree() ast.Expr { return x.tree }

// RecordPath is an expression that only picks a field of the record: input.a.b, with optional access
// (.?b) from Keys[Optional] on, and a default for what is missing.
type RecordPath struct {
	Keys     []string
	Optional int    // len(Keys) = no key is optional
	Default  []byte // canonical JSON; nil = none
}

// RecordPathOf recognises a path in an expression or a part of one.
func RecordPathOf(e ast.Expr) (RecordPath, bool) {
	p := plainPathOf(e, nil)
	if p == nil || p.step != "" || p.item != "" {
		return RecordPath{}, false
	}
	out := RecordPath{Optional: p.optional, Default: p.orValue}
	for _, quoted := range p.keys {
		var key string
		if json.Unmarshal(quoted, &key) != nil {
			return RecordPath{}, false
		}
		out.Keys = append(out.Keys, key)
	}
	return out, true
}

// RecordValues evaluates expressions over one record after another. It parses a record at most once.
// One goroutine uses it.
type RecordValues struct {
	ev    evaluation
	input []byte
	key   string
	more  map[string][]byte // canonical, by the names of a RecordLanguage
}

// Reset takes the next record. value is any JSON object.
func (v *RecordValues) Reset(value []byte, key string) {
	v.input, v.key, v.more = value, key, nil
	v.ev = evaluation{scope: recordScope{v}}
}

// Bool evaluates a condition.
func (v *RecordValues) Bool(x *RecordExpr) (bool, error) {
	raw, has, err := v.Append(nil, x)
	switch {
	case err != nil:
		return false, err
	case !has:
		return false, &EvalError{x.expr.text, errNothing}
	case string(raw) == "true":
		return true, nil
	case string(raw) == "false":
		return false, nil
	}
	return false, &EvalError{x.expr.text, fmt.Errorf("want true or false, got %s", shorten(raw))}
}

// Append evaluates an expression and appends its canonical JSON. has is false for an empty optional.
func (v *RecordValues) Append(dst []byte, x *RecordExpr) (out []byte, has bool, err error) {
	if x.expr.plain != nil {
		// A path is copied out of canonical JSON, which a record of others need not be.
		canonical, err := CanonicalJSON(v.input)
		if err != nil {
			return dst, false, &EvalError{x.expr.text, err}
		}
		return x.expr.appendTo(dst, &evaluation{scope: canonicalScope{recordScope{v}, canonical}}, 0)
	}
	return x.expr.appendTo(dst, &v.ev, 0)
}

// recordScope shows a record to an expression.
type recordScope struct{ v *RecordValues }

func (s recordScope) Input() []byte                      { return s.v.input }
func (s recordScope) Step(string) ([]byte, string, bool) { return nil, "", false }
func (s recordScope) Now() Time                          { return 0 }
func (s recordScope) Key() string                        { return s.v.key }
func (s recordScope) Item(name string) ([]byte, uint32)  { return s.v.more[name], 0 }
func (s recordScope) Round() uint32                      { return 0 }
func (s recordScope) Signal(string) []byte               { return nil }
func (s recordScope) Event() []byte                      { return nil }

// canonicalScope is a recordScope whose input is copied as it stands.
type canonicalScope struct {
	recordScope
	input []byte
}

func (s canonicalScope) Input() []byte { return s.input }

// RecordNumberFits says whether an expression can hold a JSON number: asking for one that has more digits,
// or for a field of it, is an error of the expression.
func RecordNumberFits(text []byte) bool {
	v, err := parseNumber(text)
	_, big := v.(bigNum)
	return err == nil && !big
}
