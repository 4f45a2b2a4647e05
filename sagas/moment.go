package sagas

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	errNotMoment = errors.New("want a time: RFC 3339 text, a timestamp, or milliseconds since the epoch")
	errNotActors = errors.New("want a list of names")
)

// moment evaluates an expression that gives a time. An optional without a value is none.
func moment(e *Expr, s Scope) (at Time, has bool, err error) {
	raw, has, err := e.appendTo(nil, &evaluation{scope: s}, 0)
	if err != nil || !has || string(raw) == "null" {
		return 0, false, err
	}
	v, err := parseJSON(raw)
	if err != nil {
		return 0, false, &EvalError{e.text, err}
	}
	switch v := v.(type) {
	case int64:
		at = Time(v)
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return 0, false, &EvalError{e.text, fmt.Errorf("%w, got %s", errNotMoment, shorten(raw))}
		}
		at = Time(t.UnixMilli())
	default:
		return 0, false, &EvalError{e.text, fmt.Errorf("%w, got %s", errNotMoment, shorten(raw))}
	}
	return min(max(at, 1), maxTime), true, nil
}

// actors evaluates an expression that lists actors. null among them is nobody.
func actors(e *Expr, s Scope) ([]string, error) {
	raw, err := e.one(&evaluation{scope: s})
	if err != nil {
		return nil, err
	}
	v, err := parseJSON(raw)
	if err != nil {
		return nil, &EvalError{e.text, err}
	}
	list, ok := v.([]any)
	if !ok {
		return nil, &EvalError{e.text, errNotActors}
	}
	out := make([]string, 0, len(list))
	for _, x := range list {
		switch x := x.(type) {
		case string:
			out = append(out, x)
		case nil:
		default:
			return nil, &EvalError{e.text, errNotActors}
		}
	}
	return slices.Clip(out), nil
}
