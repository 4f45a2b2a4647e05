package build

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// Expr is an expression, with or without its leading =. Parts can be put together:
//
//	build.When(score.Field("value")+" >= 90", deny)
type Expr string

// text is the expression as a definition has it.
func (e Expr) text() string { return "=" + strings.TrimPrefix(string(e), "=") }

// MarshalJSON writes the expression with its =.
func (e Expr) MarshalJSON() ([]byte, error) { return json.Marshal(e.text()) }

// With is a payload: names and values. A string that starts with = is an expression, and so is an
// Expr; anything else is taken as JSON has it.
type With map[string]any

// Text is a value of With that is this very text, even when it starts with =.
func Text(s string) string {
	if strings.HasPrefix(s, "=") {
		return "=" + s
	}
	return s
}

func (w With) tree() any {
	if w == nil {
		return With{}
	}
	return w
}

func (w With) apply(s *Step) {
	s.doc["with"] = w.tree()
	s.with = w
}

// duration is a duration as a definition has it.
func duration(d time.Duration) string {
	if d%time.Millisecond != 0 {
		return d.String() // which ParseDefinition reports
	}
	return sagas.FormatDuration(d)
}

// limit is a duration that may be NoLimit.
func limit(d time.Duration) string {
	if d == NoLimit {
		return "none"
	}
	return duration(d)
}

// NoLimit says none where a time limit may be left out.
const NoLimit time.Duration = -1

func durations(list []time.Duration) []string {
	var out []string
	for _, d := range list {
		out = append(out, duration(d))
	}
	return out
}

// expressions are all expressions in a JSON tree.
func expressions(v any) []string {
	var out []string
	switch v := v.(type) {
	case Expr:
		return []string{v.text()[1:]}
	case string:
		if strings.HasPrefix(v, "=") && !strings.HasPrefix(v, "==") {
			return []string{v[1:]}
		}
	case With:
		return expressions(map[string]any(v))
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, expressions(v[k])...)
		}
	case []any:
		for _, x := range v {
			out = append(out, expressions(x)...)
		}
	}
	return out
}
