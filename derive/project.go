package derive

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/amendsio/amends/sagas"
)

// record is the record under way: its value as JSON, the places of its fields, and CEL's view of it if
// anybody asks.
type record struct {
	scanner
	key    []byte
	values sagas.RecordValues
	parsed bool
}

// take scans the next record.
func (r *record) take(key, value []byte) error {
	r.key, r.parsed = key, false
	return r.scan(value)
}

func (r *record) cel() *sagas.RecordValues {
	if !r.parsed {
		r.values.Reset(r.b, string(r.key))
		r.parsed = true
	}
	return &r.values
}

// template is a compiled projection: literal bytes, fields of the record, and the rest.
type template struct {
	literal []byte // JSON
	pick    *path  // of an expression that picks a field
	expr    *sagas.RecordExpr
	fields  []templateField
	items   []*template
	list    bool
}

type templateField struct {
	name  []byte // as JSON, with the colon
	value *template
}

// newTemplate compiles a tree of the file. A string that begins with "=" is an expression.
func newTemplate(v sagas.DocValue, s *slots, depth int) *template {
	switch {
	case depth > MaxDepth:
		v.Fault("SG01", "", "nested deeper than %d levels", MaxDepth)
		return &template{}
	case v.IsMap():
		t := &template{}
		for _, key := range v.Keys() {
			name, err := json.Marshal(key)
			if err != nil {
				v.Fault("SG01", "", "%v", err)
				continue
			}
			t.fields = append(t.fields, templateField{append(name, ':'), newTemplate(v.Child(key), s, depth+1)})
		}
		return t
	case v.IsList():
		t := &template{list: true}
		for _, item := range v.Items("a list") {
			t.items = append(t.items, newTemplate(item, s, depth+1))
		}
		return t
	case v.IsExpr():
		x := v.Expr("a value", sagas.WantValue)
		if x == nil {
			return &template{}
		}
		if p := pathOf(x.Tree(), s); p != nil {
			return &template{pick: p, expr: x}
		}
		return &template{expr: x}
	}
	literal := v.JSON()
	if text := []byte(`"==`); bytes.HasPrefix(literal, text) {
		literal = append([]byte(`"`), literal[2:]...) // "==x" is the string "=x"
	}
	return &template{literal: literal}
}

// append writes the projection of r behind dst; has is false when there is nothing to write.
func (t *template) append(dst []byte, r *record) (out []byte, has bool, err error) {
	switch {
	case t.literal != nil:
		return append(dst, t.literal...), true, nil
	case t.pick != nil:
		raw, has, err := t.pick.find(&r.scanner)
		return append(dst, raw...), has, err
	case t.expr != nil:
		return r.cel().Append(dst, t.expr)
	case t.list:
		dst = append(dst, '[')
		first := true
		for _, item := range t.items {
			mark := len(dst)
			if !first {
				dst = append(dst, ',')
			}
			if dst, has, err = item.append(dst, r); err != nil {
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
	for i := range t.fields {
		mark := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(dst, t.fields[i].name...)
		if dst, has, err = t.fields[i].value.append(dst, r); err != nil {
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

// keyer is a compiled key. nil keeps the record's.
type keyer struct {
	expr *sagas.RecordExpr
	pick *path
}

func newKeyer(x *sagas.RecordExpr, s *slots) *keyer {
	if x == nil {
		return nil
	}
	return &keyer{expr: x, pick: pathOf(x.Tree(), s)}
}

// key gives the key of an output. It may be a part of the record; nothing of it is reused.
func (k *keyer) key(r *record) ([]byte, error) {
	if k == nil {
		return r.key, nil
	}
	var raw []byte
	var has bool
	var err error
	if k.pick != nil {
		raw, has, err = k.pick.find(&r.scanner)
	} else {
		raw, has, err = r.cel().Append(nil, k.expr)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("key: %w", err)
	case !has:
		return nil, nil
	}
	if raw[0] == '"' {
		if bytes.IndexByte(raw, '\\') < 0 {
			return raw[1 : len(raw)-1], nil
		}
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		return []byte(text), nil
	}
	if _, ok := shortInt(raw); !ok {
		return nil, fmt.Errorf("key: want a string or a whole number of at most 18 digits")
	}
	return raw, nil
}
