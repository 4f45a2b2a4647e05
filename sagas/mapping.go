package sagas

import (
	"fmt"
	"strings"
)

// Mapping is a compiled JSON tree in which a string that starts with "=" is an expression. To have
// a string that starts with "=", write "==". A field whose expression gives an empty optional is
// left out. A Mapping is immutable and safe for concurrent use.
type Mapping struct{ root *mapNode }

// mapNode is a part of a mapping: exactly one of its four forms.
type mapNode struct {
	literal []byte // canonical JSON of a part without expressions
	expr    *Expr
	fields  []mapField // sorted by key
	items   []*mapNode
	isList  bool
}

type mapField struct {
	quoted []byte // key as canonical JSON string with the colon
	node   *mapNode
}

// JSON evaluates the mapping and gives its canonical JSON. The same scope gives the same bytes.
func (m *Mapping) JSON(s Scope) ([]byte, error) {
	return m.json(&evaluation{scope: s})
}

func (m *Mapping) json(ev *evaluation) ([]byte, error) {
	if m.root.literal != nil {
		return append([]byte(nil), m.root.literal...), nil
	}
	out, has, err := m.root.appendTo(make([]byte, 0, 256), ev, 0)
	if err == nil && !has {
		err = &EvalError{m.root.expr.text, errNothing}
	}
	if err != nil {
		return nil, err
	}
	if len(out) > MaxValueBytes {
		return nil, errResultSize
	}
	return out, nil
}

// UsesNow says whether the result depends on saga.now, that is, whether another attempt of the
// same command would give another payload.
func (m *Mapping) UsesNow() bool {
	uses := false
	m.root.walk(func(e *Expr) { uses = uses || e.refs.now })
	return uses
}

func (n *mapNode) walk(visit func(*Expr)) {
	if n.expr != nil {
		visit(n.expr)
	}
	for _, f := range n.fields {
		f.node.walk(visit)
	}
	for _, i := range n.items {
		i.walk(visit)
	}
}

func (n *mapNode) appendTo(dst []byte, ev *evaluation, depth int) (out []byte, has bool, err error) {
	switch {
	case n.literal != nil:
		return append(dst, n.literal...), true, nil
	case n.expr != nil:
		return n.expr.appendTo(dst, ev, depth)
	case n.isList:
		dst = append(dst, '[')
		first := true
		for _, i := range n.items {
			mark := len(dst)
			if !first {
				dst = append(dst, ',')
			}
			if dst, has, err = i.appendTo(dst, ev, depth+1); err != nil {
				return dst, false, err
			}
			if !has {
				dst = dst[:mark]
				continue
			}
			first = false
		}
		return append(dst, ']'), true, nil
	}
	dst = append(dst, '{')
	first := true
	for _, f := range n.fields {
		mark := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(dst, f.quoted...)
		if dst, has, err = f.node.appendTo(dst, ev, depth+1); err != nil {
			return dst, false, err
		}
		if !has {
			dst = dst[:mark]
			continue
		}
		first = false
	}
	return append(dst, '}'), true, nil
}

// mappingBuilder compiles a tree. problem hears of every expression that does not compile and
// found of every one that does, with the path of the place in the tree.
type mappingBuilder struct {
	env     exprEnv
	another func(path string) bool // false: there are too many
	problem func(path, text string, p exprProblem)
	found   func(path string, e *Expr)
}

// build compiles a tree of the value model. Nil when an expression does not compile.
func (b *mappingBuilder) build(path string, tree any) *mapNode {
	switch v := tree.(type) {
	case string:
		text, isExpr := exprText(v)
		if !isExpr {
			return &mapNode{literal: appendString(nil, text)}
		}
		if !b.another(path) {
			return nil
		}
		e, problems := b.env.compile(text, wantJSON)
		for _, p := range problems {
			b.problem(path, text, p)
		}
		if e == nil {
			return nil
		}
		b.found(path, e)
		return &mapNode{expr: e}
	case *object:
		n := &mapNode{fields: []mapField{}}
		literal, complete := true, true
		for _, f := range v.fields {
			c := b.build(path+"/"+f.key, f.val)
			if c == nil {
				complete = false
				continue
			}
			literal = literal && c.literal != nil
			n.fields = append(n.fields, mapField{append(appendString(nil, f.key), ':'), c})
		}
		return n.folded(literal, complete)
	case []any:
		n := &mapNode{isList: true}
		literal, complete := true, true
		for i, x := range v {
			c := b.build(fmt.Sprintf("%s/%d", path, i), x)
			if c == nil {
				complete = false
				continue
			}
			literal = literal && c.literal != nil
			n.items = append(n.items, c)
		}
		return n.folded(literal, complete)
	}
	return &mapNode{literal: appendJSON(nil, tree)}
}

// folded turns a part without expressions into its text.
func (n *mapNode) folded(literal, complete bool) *mapNode {
	if !complete {
		return nil
	}
	if literal {
		raw, _, _ := n.appendTo(nil, nil, 0) // without expressions there is nothing to fail
		return &mapNode{literal: raw}
	}
	return n
}

// exprText splits a string of a tree into expression or literal.
func exprText(s string) (text string, isExpr bool) {
	switch {
	case strings.HasPrefix(s, "=="):
		return s[1:], false
	case strings.HasPrefix(s, "="):
		return s[1:], true
	}
	return s, false
}
