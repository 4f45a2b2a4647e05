package sagas

import (
	"bytes"
	"errors"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// plainPath is an expression that only picks a field: input.a.b, step.x.y, round.x.y, line.a, with optional access and
// a literal default (input.?a.orValue("x")). Most expressions of most sagas are of this kind. Its
// result is copied out of the scope's canonical JSON: nothing is parsed, nothing is evaluated. The
// results are those of CEL, with one difference that is wanted: a number with more digits than CEL
// can hold passes through with all of them.
type plainPath struct {
	step     string   // "" = input, or the item
	item     string   // "" = input, or the step
	keys     [][]byte // each as canonical JSON string, e.g. "amount" with its quotes
	optional int      // index of the first optional key, len(keys) = none
	orValue  []byte   // canonical JSON; nil = no default
}

// plainPathOf recognises a plain path, nil for any other expression.
func plainPathOf(e ast.Expr, items []string) *plainPath {
	p := &plainPath{}
	if e.Kind() == ast.CallKind {
		c := e.AsCall()
		if c.FunctionName() == "orValue" && c.IsMemberFunction() && len(c.Args()) == 1 {
			if p.orValue = literalJSON(c.Args()[0]); p.orValue == nil {
				return nil
			}
			e = c.Target()
		}
	}
	var names []string // from the last to the first
	firstOptional := -1
	for {
		switch e.Kind() {
		case ast.SelectKind:
			if e.AsSelect().IsTestOnly() {
				return nil
			}
			names = append(names, e.AsSelect().FieldName())
			e = e.AsSelect().Operand()
			continue
		case ast.CallKind:
			operand, field, optional, ok := indexOf(e)
			if !ok || !optional {
				return nil
			}
			firstOptional = len(names)
			names = append(names, field)
			e = operand
			continue
		case ast.IdentKind:
		default:
			return nil
		}
		break
	}
	n := len(names)
	p.optional = n
	if firstOptional >= 0 {
		p.optional = n - 1 - firstOptional
	}
	switch name := e.AsIdent(); {
	case name == nameInput:
		if n == 0 {
			return nil
		}
	case slices.Contains(items, name):
		p.item = name
	case name == nameStep, name == nameRound:
		if n < 2 || p.optional == 0 || name == nameRound && names[n-1] == nameRoundNumber {
			return nil
		}
		n--
		p.step = names[n]
		names = names[:n]
		p.optional--
	default:
		return nil
	}
	if p.orValue != nil && p.optional == n {
		return nil
	}
	for i := n - 1; i >= 0; i-- {
		p.keys = append(p.keys, appendString(nil, names[i]))
	}
	return p
}

// literalJSON is the canonical JSON of a literal, nil when it is not a simple one.
func literalJSON(e ast.Expr) []byte {
	switch e.Kind() {
	case ast.ListKind:
		if len(e.AsList().Elements()) == 0 {
			return []byte("[]")
		}
	case ast.MapKind:
		if len(e.AsMap().Entries()) == 0 {
			return []byte("{}")
		}
	case ast.LiteralKind:
		switch lit := e.AsLiteral().(type) {
		case types.String, types.Int, types.Bool, types.Null:
			if raw, err := appendVal(nil, lit, 0); err == nil {
				return raw
			}
		}
	}
	return nil
}

var errNotObject = errors.New("a field of something that is not an object")

var quotedState = appendString(nil, nameState)

// find resolves the path. The result is a part of the scope's bytes.
func (p *plainPath) find(s Scope) (raw []byte, has bool, err error) {
	var cur []byte
	keys := p.keys
	switch {
	case p.item != "":
		if cur, _ = s.Item(p.item); cur == nil {
			return nil, false, errors.New("no such attribute: " + p.item)
		}
	case p.step == "":
		cur = s.Input()
	default:
		output, state, found := s.Step(p.step)
		if !found {
			return nil, false, errors.New("no such key: " + p.step)
		}
		cur = output
		if bytes.Equal(keys[0], quotedState) {
			cur, keys = appendString(nil, state), keys[1:]
		}
	}
	if p.item == "" && len(cur) == 0 || p.step != "" && len(keys) == len(p.keys) && string(cur) == "null" {
		cur = []byte("{}")
	}
	skipped := len(p.keys) - len(keys)
	for i, key := range keys {
		optional := i+skipped >= p.optional
		if cur[0] != '{' {
			if optional && cur[0] != '[' { // CEL asks a list for its indexes only
				return p.none()
			}
			return nil, false, errNotObject
		}
		next, found, err := rawField(cur, key)
		if err != nil {
			return nil, false, err
		}
		if !found {
			if optional {
				return p.none()
			}
			return nil, false, errors.New("no such key: " + string(key[1:len(key)-1]))
		}
		cur = next
	}
	return cur, true, nil
}

func (p *plainPath) none() ([]byte, bool, error) { return p.orValue, p.orValue != nil, nil }

var errNotCanonical = errors.New("the value in the scope is not canonical JSON")

// rawField finds the value of a field in a canonical JSON object. quoted is the key as a canonical
// JSON string.
func rawField(obj, quoted []byte) (raw []byte, found bool, err error) {
	i := 1
	if len(obj) >= 2 && obj[1] == '}' {
		return nil, false, nil
	}
	for i < len(obj) && obj[i] == '"' {
		keyEnd := skipString(obj, i)
		if keyEnd < 0 || keyEnd >= len(obj) || obj[keyEnd] != ':' {
			return nil, false, errNotCanonical
		}
		end := skipValue(obj, keyEnd+1)
		if end <= keyEnd+1 || end >= len(obj) {
			return nil, false, errNotCanonical
		}
		if bytes.Equal(obj[i:keyEnd], quoted) {
			return obj[keyEnd+1 : end], true, nil
		}
		if obj[end] == '}' {
			return nil, false, nil
		}
		if obj[end] != ',' {
			return nil, false, errNotCanonical
		}
		i = end + 1
	}
	return nil, false, errNotCanonical
}

// skipString returns the index after the string that starts at i, -1 when it does not end.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// skipValue returns the index after the value that starts at i, -1 when it does not end.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of what encloses a bare word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return -1
}

// rawDepth is how deep a canonical JSON value is nested: 0 for a scalar.
func rawDepth(b []byte) int {
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return 0
	}
	depth, deepest := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := skipString(b, i)
			if end < 0 {
				return deepest
			}
			i = end - 1
		case '{', '[':
			if depth++; depth > deepest {
				deepest = depth
			}
		case '}', ']':
			depth--
		}
	}
	return deepest
}
