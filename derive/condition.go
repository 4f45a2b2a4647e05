package derive

import (
	"bytes"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/amendsio/amends/sagas"
)

// verdict is what the bytes of a record say about a condition. unknown leaves it to CEL: what is
// missing, is of another type, or is written in a way that takes more than a look.
type verdict int8

const (
	unknown verdict = iota
	no
	yes
)

func said(holds bool) verdict {
	if holds {
		return yes
	}
	return no
}

func (v verdict) not() verdict {
	switch v {
	case yes:
		return no
	case no:
		return yes
	}
	return unknown
}

// test decides a condition, or a part of one, on the bytes.
type test func(s *scanner) verdict

// testOf recognises a condition made of comparisons of fields with literals. A part that it does not
// know is unknown, and the rest may still decide: false && x is false whatever x is, as in CEL.
func testOf(e ast.Expr, s *slots) test {
	if p := pathOf(e, s); p != nil {
		return func(s *scanner) verdict { return isTrue(p, s) }
	}
	switch e.Kind() {
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok {
			v := said(bool(b))
			return func(*scanner) verdict { return v }
		}
	case ast.SelectKind:
		if e.AsSelect().IsTestOnly() {
			return hasTest(e, s)
		}
	case ast.CallKind:
		c := e.AsCall()
		switch args := c.Args(); c.FunctionName() {
		case operators.LogicalNot:
			inner := testOf(args[0], s)
			return func(s *scanner) verdict { return inner(s).not() }
		case operators.LogicalAnd:
			return joined(testOf(args[0], s), testOf(args[1], s), no)
		case operators.LogicalOr:
			return joined(testOf(args[0], s), testOf(args[1], s), yes)
		case operators.In:
			return inTest(args[0], args[1], s)
		case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
			return compareTest(c.FunctionName(), args[0], args[1], s)
		}
	}
	return func(*scanner) verdict { return unknown }
}

// joined is a && b when decides is no, a || b when it is yes.
func joined(a, b test, decides verdict) test {
	return func(s *scanner) verdict {
		va := a(s)
		if va == decides {
			return decides
		}
		vb := b(s)
		if vb == decides {
			return decides
		}
		if va == unknown || vb == unknown {
			return unknown
		}
		return decides.not()
	}
}

func isTrue(p *path, s *scanner) verdict {
	raw, has, err := p.find(s)
	if err != nil || !has || !p.sure(s) || p.optional < len(p.keys) && p.orValue == nil {
		return unknown
	}
	switch string(raw) {
	case "true":
		return yes
	case "false":
		return no
	}
	return unknown
}

// hasTest is has(input.a.b): what holds the field must be there.
func hasTest(e ast.Expr, s *slots) test {
	sel := e.AsSelect()
	ids := []int(nil)
	if sel.Operand().Kind() == ast.IdentKind && sel.Operand().AsIdent() == "input" {
		ids = s.add([]string{sel.FieldName()})
	} else if p := pathOf(sel.Operand(), s); p != nil && p.optional == len(p.keys) {
		ids = s.add(append(append([]string(nil), p.keys...), sel.FieldName()))
	}
	return func(s *scanner) verdict {
		if len(ids) == 0 {
			return unknown
		}
		if n := len(ids); n > 1 {
			if at := s.found[ids[n-2]]; at.to == 0 || s.b[at.from] != '{' {
				return unknown
			}
		}
		at := s.found[ids[len(ids)-1]]
		if at.to == 0 {
			return no
		}
		if !holdable(s.b[at.from:at.to]) {
			return unknown // an error, also for has
		}
		return yes
	}
}

// literal is a string, an integer or a truth value as the bytes of a record have it.
type literal struct {
	text   []byte // of a string, without quotes
	isText bool
	number int64
	isInt  bool
	raw    string // true, false or null
}

func literalOf(e ast.Expr) (l literal, ok bool) {
	if e.Kind() != ast.LiteralKind {
		return l, false
	}
	switch v := e.AsLiteral().(type) {
	case types.String:
		return literal{text: []byte(v), isText: true}, true
	case types.Int:
		return literal{number: int64(v), isInt: true}, true
	case types.Bool:
		if v {
			return literal{raw: "true"}, true
		}
		return literal{raw: "false"}, true
	}
	return l, false
}

// plainPath is a path whose value is not an optional.
func plainPath(e ast.Expr, s *slots) *path {
	p := pathOf(e, s)
	if p == nil || p.optional < len(p.keys) && p.orValue == nil {
		return nil
	}
	return p
}

func compareTest(op string, a, b ast.Expr, s *slots) test {
	p, l, ok := (*path)(nil), literal{}, false
	if p = plainPath(a, s); p != nil {
		l, ok = literalOf(b)
	} else if p = plainPath(b, s); p != nil {
		l, ok = literalOf(a)
		op = map[string]string{
			operators.Less: operators.Greater, operators.LessEquals: operators.GreaterEquals,
			operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals,
			operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals,
		}[op]
	}
	if p == nil || !ok {
		return func(*scanner) verdict { return unknown }
	}
	return func(s *scanner) verdict {
		raw, has, err := p.find(s)
		if err != nil || !has || !p.sure(s) {
			return unknown
		}
		c, ok := l.compare(raw)
		if !ok {
			return unknown
		}
		if l.raw != "" && op != operators.Equals && op != operators.NotEquals {
			return unknown
		}
		switch op {
		case operators.Equals:
			return said(c == 0)
		case operators.NotEquals:
			return said(c != 0)
		case operators.Less:
			return said(c < 0)
		case operators.LessEquals:
			return said(c <= 0)
		case operators.Greater:
			return said(c > 0)
		case operators.GreaterEquals:
			return said(c >= 0)
		}
		return unknown
	}
}

func inTest(a, b ast.Expr, s *slots) test {
	p := plainPath(a, s)
	var list []literal
	if b.Kind() == ast.ListKind {
		for _, e := range b.AsList().Elements() {
			l, ok := literalOf(e)
			if !ok {
				p = nil
			}
			list = append(list, l)
		}
	}
	if p == nil || len(list) == 0 {
		return func(*scanner) verdict { return unknown }
	}
	return func(s *scanner) verdict {
		raw, has, err := p.find(s)
		if err != nil || !has || !p.sure(s) {
			return unknown
		}
		for i := range list {
			c, ok := list[i].compare(raw)
			if !ok {
				return unknown
			}
			if c == 0 {
				return yes
			}
		}
		return no
	}
}

// compare orders a value of a record against the literal; ok is false when the bytes do not tell.
func (l *literal) compare(raw []byte) (c int, ok bool) {
	switch {
	case l.isText:
		if raw[0] != '"' || bytes.IndexByte(raw, '\\') >= 0 {
			return 0, false
		}
		return bytes.Compare(raw[1:len(raw)-1], l.text), true
	case l.isInt:
		n, ok := shortInt(raw)
		switch {
		case !ok:
			return 0, false
		case n < l.number:
			return -1, true
		case n > l.number:
			return 1, true
		}
		return 0, true
	}
	if raw[0] != 't' && raw[0] != 'f' {
		return 0, false
	}
	return bytes.Compare(raw, []byte(l.raw)), true
}

// shortInt reads an integer of at most 18 digits.
func shortInt(raw []byte) (int64, bool) {
	digits, minus := raw, false
	if raw[0] == '-' {
		digits, minus = raw[1:], true
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if minus {
		return -n, true
	}
	return n, true
}

// condition is a compiled where. nil holds for every record.
type condition struct {
	expr *sagas.RecordExpr
	fast test
}

func newCondition(x *sagas.RecordExpr, s *slots) *condition {
	if x == nil {
		return nil
	}
	return &condition{expr: x, fast: testOf(x.Tree(), s)}
}

func (c *condition) holds(r *record) (bool, error) {
	if c == nil {
		return true, nil
	}
	switch c.fast(&r.scanner) {
	case yes:
		return true, nil
	case no:
		return false, nil
	}
	return r.cel().Bool(c.expr)
}
