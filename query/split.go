package query

import (
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// split takes the parts of a conjunction that an index or a plain comparison can answer into the path and
// the tests. It reports whether that is all of it; else CEL decides on the whole of the condition.
func (q *Query) split(e ast.Expr) bool {
	if e.Kind() == ast.CallKind {
		call := e.AsCall()
		args := call.Args()
		if call.FunctionName() == operators.LogicalAnd {
			all := true
			for _, arg := range args {
				all = q.split(arg) && all
			}
			return all
		}
		switch {
		case call.IsMemberFunction():
			return call.FunctionName() == "startsWith" && len(args) == 1 && q.prefix(call.Target(), args[0])
		case len(args) == 2 && call.FunctionName() == operators.In:
			return q.oneOf(args[0], args[1])
		case len(args) == 2 && call.FunctionName() == operators.Equals:
			return q.equal(args[0], args[1]) || q.equal(args[1], args[0]) || q.compare(call.FunctionName(), args[0], args[1])
		case len(args) == 2:
			return q.compare(call.FunctionName(), args[0], args[1]) || q.compare(turned[call.FunctionName()], args[1], args[0])
		case len(args) == 1 && call.FunctionName() == operators.LogicalNot:
			return q.flag(args[0], false)
		}
		return false
	}
	return q.flag(e, true)
}

func (q *Query) flag(e ast.Expr, want bool) bool {
	switch name(e) {
	case "attention":
		q.test = append(q.test, func(r *Row, _ *tags) bool { return r.Attention == want })
	case "active":
		q.test = append(q.test, func(r *Row, _ *tags) bool { return r.Active == want })
		if want {
			q.path.Phases = both(q.path.Phases, []string{"running", "finishing", "compensating"})
		}
	default:
		return false
	}
	return true
}

func (q *Query) equal(left, right ast.Expr) bool {
	value, ok := literal(right)
	if !ok {
		return false
	}
	if tag, ok := tagOf(left); ok {
		text, isText := value.(string)
		if isText {
			q.path.Tags = append(q.path.Tags, Tag{tag, text})
		}
		return isText
	}
	return q.among(name(left), []any{value})
}

func (q *Query) oneOf(left, right ast.Expr) bool {
	if right.Kind() != ast.ListKind {
		return false
	}
	var values []any
	for _, e := range right.AsList().Elements() {
		v, ok := literal(e)
		if !ok || len(values) >= maxIn {
			return false
		}
		values = append(values, v)
	}
	return q.among(name(left), values)
}

// among restricts a name to some values.
func (q *Query) among(name string, values []any) bool {
	var texts []string
	var numbers []uint32
	for _, v := range values {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case int64:
			if v < 0 || v > 1<<31 {
				return false
			}
			numbers = append(numbers, uint32(v))
		default:
			return false
		}
	}
	if texts != nil && numbers != nil {
		return false
	}
	switch {
	case name == "version" && texts == nil:
		q.path.Versions = both(q.path.Versions, append([]uint32{}, numbers...))
	case numbers != nil:
		return false
	case name == "status":
		q.path.Statuses = both(q.path.Statuses, append([]string{}, texts...))
	case name == "phase":
		q.path.Phases = both(q.path.Phases, append([]string{}, texts...))
	case name == "type":
		q.path.Types = both(q.path.Types, append([]string{}, texts...))
	default:
		return false
	}
	return true
}

func (q *Query) prefix(target, arg ast.Expr) bool {
	text, ok := literal(arg)
	prefix, isText := text.(string)
	if !ok || !isText {
		return false
	}
	switch name(target) {
	case "workflowId":
		if !strings.HasPrefix(prefix, q.path.Prefix) && !strings.HasPrefix(q.path.Prefix, prefix) {
			return false // nothing matches both: CEL says so
		}
		if len(prefix) > len(q.path.Prefix) {
			q.path.Prefix = prefix
		}
	case "id":
		q.test = append(q.test, func(r *Row, _ *tags) bool { return strings.HasPrefix(r.ID(), prefix) })
	default:
		return false
	}
	return true
}

// turned is the comparison with its sides changed.
var turned = map[string]string{
	operators.Less: operators.Greater, operators.Greater: operators.Less,
	operators.LessEquals: operators.GreaterEquals, operators.GreaterEquals: operators.LessEquals,
}

// compare takes comparisons of a moment of the instance with a constant one.
func (q *Query) compare(op string, left, right ast.Expr) bool {
	var field func(*Row) int64
	switch name(left) {
	case "started":
		field = func(r *Row) int64 { return r.Started }
	case "updated":
		field = func(r *Row) int64 { return r.Updated }
	case "due":
		field = func(r *Row) int64 { return r.Due }
	default:
		return false
	}
	at, ok := q.moment(right)
	if !ok {
		return false
	}
	// Moments of instances are whole milliseconds; the constant need not be.
	floor := at.UnixMilli()
	whole := time.UnixMilli(floor).Equal(at)
	var accepts func(ms int64) bool
	switch op {
	case operators.Less:
		accepts = func(ms int64) bool { return ms < floor || ms == floor && !whole }
	case operators.LessEquals:
		accepts = func(ms int64) bool { return ms <= floor }
	case operators.Greater:
		accepts = func(ms int64) bool { return ms > floor }
	case operators.GreaterEquals:
		accepts = func(ms int64) bool { return ms > floor || ms == floor && whole }
	case operators.Equals:
		accepts = func(ms int64) bool { return ms == floor && whole }
	default:
		return false
	}
	q.test = append(q.test, func(r *Row, _ *tags) bool { return accepts(field(r)) })
	return true
}

// moment reads now, timestamp("..."), and either of them plus or minus duration("...").
func (q *Query) moment(e ast.Expr) (time.Time, bool) {
	if name(e) == "now" {
		return q.now, true
	}
	if e.Kind() != ast.CallKind {
		return time.Time{}, false
	}
	call := e.AsCall()
	args := call.Args()
	switch {
	case call.IsMemberFunction():
	case call.FunctionName() == "timestamp" && len(args) == 1:
		text, _ := literal(args[0])
		s, _ := text.(string)
		at, err := time.Parse(time.RFC3339, s)
		return at, err == nil && at.Year() >= 1 && at.Year() < 10_000
	case len(args) == 2 && (call.FunctionName() == operators.Add || call.FunctionName() == operators.Subtract):
		at, ok := q.moment(args[0])
		if !ok || args[1].Kind() != ast.CallKind {
			return time.Time{}, false
		}
		inner := args[1].AsCall()
		if inner.FunctionName() != "duration" || len(inner.Args()) != 1 {
			return time.Time{}, false
		}
		text, _ := literal(inner.Args()[0])
		s, _ := text.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return time.Time{}, false
		}
		if call.FunctionName() == operators.Subtract {
			d = -d
		}
		return at.Add(d), true
	}
	return time.Time{}, false
}

func name(e ast.Expr) string {
	if e.Kind() == ast.IdentKind {
		return e.AsIdent()
	}
	return ""
}

// tagOf recognises tags.name and tags["name"].
func tagOf(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.SelectKind:
		s := e.AsSelect()
		return s.FieldName(), !s.IsTestOnly() && name(s.Operand()) == "tags"
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() != operators.Index || len(call.Args()) != 2 || name(call.Args()[0]) != "tags" {
			return "", false
		}
		key, ok := literal(call.Args()[1])
		text, isText := key.(string)
		return text, ok && isText
	}
	return "", false
}

// literal reads a text or a whole number.
func literal(e ast.Expr) (any, bool) {
	if e.Kind() != ast.LiteralKind {
		return nil, false
	}
	switch v := e.AsLiteral().(type) {
	case types.String:
		return string(v), true
	case types.Int:
		return int64(v), true
	}
	return nil, false
}
