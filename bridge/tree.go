package bridge

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// tree is a JSON value with expressions in it. A string that begins with "=" is one; "==x" is the
// string "=x". A field whose expression gives an empty optional is left out.
type tree struct {
	literal []byte
	expr    *sagas.RecordExpr
	fields  []treeField
	items   []*tree
	list    bool
}

type treeField struct {
	name  []byte // as JSON, with the colon
	value *tree
}

func newTree(v sagas.DocValue, l *sagas.RecordLanguage, depth int) *tree {
	switch {
	case depth > protocol.MaxDepth:
		v.Fault("SG01", "", "nested deeper than %d levels", protocol.MaxDepth)
		return &tree{}
	case v.IsMap():
		t := &tree{}
		for _, key := range v.Keys() {
			name, err := json.Marshal(key)
			if err != nil {
				v.Fault("SG01", "", "%v", err)
				continue
			}
			t.fields = append(t.fields, treeField{append(name, ':'), newTree(v.Child(key), l, depth+1)})
		}
		return t
	case v.IsList():
		t := &tree{list: true}
		for _, item := range v.Items("a list") {
			t.items = append(t.items, newTree(item, l, depth+1))
		}
		return t
	case v.IsExpr():
		return &tree{expr: v.ExprIn(l, "a value", sagas.WantValue)}
	}
	literal := v.JSON()
	if bytes.HasPrefix(literal, []byte(`"==`)) {
		literal = append([]byte(`"`), literal[2:]...)
	}
	return &tree{literal: literal}
}

var errNothing = errors.New("the expression has no result")

// value is the tree as JSON.
func (t *tree) value(v *sagas.RecordValues) ([]byte, error) {
	out, has, err := t.append(nil, v)
	if err == nil && !has {
		err = errNothing
	}
	return out, err
}

func (t *tree) append(dst []byte, v *sagas.RecordValues) (out []byte, has bool, err error) {
	switch {
	case t.literal != nil:
		return append(dst, t.literal...), true, nil
	case t.expr != nil:
		return v.Append(dst, t.expr)
	case t.list:
		return t.each(dst, v, '[', ']', len(t.items), func(int) []byte { return nil }, func(i int) *tree { return t.items[i] })
	}
	return t.each(dst, v, '{', '}', len(t.fields), func(i int) []byte { return t.fields[i].name }, func(i int) *tree { return t.fields[i].value })
}

func (t *tree) each(dst []byte, v *sagas.RecordValues, open, end byte, n int, name func(int) []byte, of func(int) *tree) ([]byte, bool, error) {
	dst = append(dst, open)
	first := true
	for i := range n {
		mark := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		out, has, err := of(i).append(append(dst, name(i)...), v)
		if err != nil {
			return dst, false, err
		}
		if dst = out; !has {
			dst = dst[:mark]
			continue
		}
		first = false
	}
	return append(dst, end), true, nil
}
