package sagas

import (
	"bytes"
	"slices"
)

// shade says which parts of a JSON value are personal. Lists are passed through: a part of a list is a
// part of each of its items. nil = none.
type shade struct {
	all    bool
	fields map[string]*shade
}

// with adds a path. The result may be the receiver.
func (s *shade) with(path ...string) *shade {
	return s.join(pathShade(path, wholeShade))
}

var wholeShade = &shade{all: true}

// pathShade is a shade below a path.
func pathShade(path []string, at *shade) *shade {
	for _, name := range slices.Backward(path) {
		at = &shade{fields: map[string]*shade{name: at}}
	}
	return at
}

// join is what is in one of the two. Shades are not changed, so that they can be shared.
func (s *shade) join(o *shade) *shade {
	switch {
	case s == nil || o == s:
		return o
	case o == nil || s.all:
		return s
	case o.all:
		return o
	}
	out := &shade{fields: map[string]*shade{}}
	for name, f := range s.fields {
		out.fields[name] = f
	}
	for name, f := range o.fields {
		out.fields[name] = out.fields[name].join(f)
	}
	return out
}

// under is the shade of a part.
func (s *shade) under(path ...string) *shade {
	for _, name := range path {
		if s == nil || s.all {
			return s
		}
		s = s.fields[name]
	}
	return s
}

// equal says whether two shades mean the same.
func (s *shade) equal(o *shade) bool {
	if s == nil || o == nil {
		return s == o
	}
	if s.all || o.all {
		return s.all == o.all
	}
	if len(s.fields) != len(o.fields) {
		return false
	}
	for name, f := range s.fields {
		if !f.equal(o.fields[name]) {
			return false
		}
	}
	return true
}

// mask is a value with its personal parts replaced. The value is not changed. seen hears of each part.
func (s *shade) mask(v any, seen func(any)) any {
	switch {
	case s == nil || v == nil:
		return v
	case s.all:
		if seen != nil {
			seen(v)
		}
		return Masked
	}
	switch v := v.(type) {
	case *object:
		out := &object{fields: slices.Clone(v.fields)}
		for i, f := range out.fields {
			out.fields[i].val = s.fields[f.key].mask(f.val, seen)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = s.mask(x, seen)
		}
		return out
	}
	return v
}

// shadeOf is the shade of what a mapping gives.
func (n *mapNode) shadeOf(of func(*Expr) *shade) *shade {
	var out *shade
	switch {
	case n.expr != nil:
		return of(n.expr)
	case n.isList:
		for _, item := range n.items {
			out = out.join(item.shadeOf(of))
		}
	default:
		for _, f := range n.fields {
			if s := f.node.shadeOf(of); s != nil {
				out = out.join(pathShade([]string{fieldName(f.quoted)}, s))
			}
		}
	}
	return out
}

// fieldName is the name in a key of a mapping or of a path.
func fieldName(quoted []byte) string {
	v, err := parseJSON(bytes.TrimSuffix(quoted, []byte(":")))
	if err != nil {
		return ""
	}
	name, _ := v.(string) // it was written as one
	return name
}
