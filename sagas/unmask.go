package sagas

import (
	"bytes"
	"errors"
	"strings"
)

// ErrMasked is the error of a text that holds a mask where nothing was masked.
var ErrMasked = errors.New("it says " + Masked + " where nothing was masked: leave masked values where they are, or write all of them anew")

// Unmask takes a text that somebody edited while parts of it were masked, and puts back what they did not see:
// where it still says what the masked text said, the clear one stands. All three are JSON.
func Unmask(edited, masked, clear []byte) ([]byte, error) {
	if !bytes.Contains(edited, []byte(Masked)) {
		return edited, nil
	}
	e, err := parseJSON(edited)
	if err != nil {
		return nil, err
	}
	m, err := parseJSON(masked)
	if err != nil {
		return nil, err
	}
	c, err := parseJSON(clear)
	if err != nil {
		if string(appendJSON(nil, e)) == string(appendJSON(nil, m)) {
			return clear, nil
		}
		return nil, ErrMasked
	}
	out, err := unmask(e, m, c)
	if err != nil {
		return nil, err
	}
	return appendJSON(nil, out), nil
}

func unmask(e, m, c any) (any, error) {
	switch e := e.(type) {
	case string:
		if !strings.Contains(e, Masked) {
			return e, nil
		}
		if text, ok := m.(string); ok && text == e {
			return c, nil
		}
		return nil, ErrMasked
	case *object:
		mo, _ := m.(*object)
		co, _ := c.(*object)
		out := &object{}
		for _, f := range e.fields {
			var mf, cf any
			if mo != nil && co != nil {
				mf, _ = mo.get(f.key)
				cf, _ = co.get(f.key)
			}
			v, err := unmask(f.val, mf, cf)
			if err != nil {
				return nil, err
			}
			out.fields = append(out.fields, field{f.key, v})
		}
		return out, nil
	case []any:
		ml, _ := m.([]any)
		cl, _ := c.([]any)
		out := make([]any, len(e))
		for i, x := range e {
			var mx, cx any
			if i < len(ml) && i < len(cl) {
				mx, cx = ml[i], cl[i]
			}
			v, err := unmask(x, mx, cx)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	}
	return e, nil
}
