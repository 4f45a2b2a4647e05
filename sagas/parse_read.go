package sagas

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/internal/nearest"
)

// decoder turns a source tree into a Definition. It reports SG01 to SG04 and goes on, with the
// default in place of what it could not read.
type decoder struct {
	r   *report
	d   *Definition
	src *source
	bad map[string]bool // paths that have a finding already

	first map[string]at // where each id was written first
	count int           // nodes read so far
}

func decodeDefinition(r *report, n *node) *Definition {
	if !n.isMap {
		r.add(n.at, "SG01", "", "A definition starts with saga: and version:.", "want a definition, got %s", n.kind())
		return nil
	}
	dec := newDecoder(r, n)
	dec.definition(n)
	return dec.d
}

func newDecoder(r *report, n *node) *decoder {
	src := &source{report: r, places: map[string]at{"": n.at}}
	return &decoder{r: r, src: src, bad: map[string]bool{}, d: &Definition{src: src}}
}

func (dec *decoder) fault(p at, code, path, hint, format string, args ...any) {
	dec.bad[path] = true
	dec.r.add(p, code, path, hint, format, args...)
}

// fields checks the keys of a map against those that are known and remembers their places. later
// are keys that the format has and this version does not.
func (dec *decoder) fields(n *node, path, what string, known, later []string) bool {
	if !n.isMap {
		dec.fault(n.at, "SG01", path, "", "%s must be a map, got %s", what, n.kind())
		return false
	}
	for _, e := range n.entries {
		dec.src.places[join(path, e.key)] = e.val.at
		if slices.Contains(known, e.key) {
			continue
		}
		if slices.Contains(later, e.key) {
			dec.fault(e.at, "SG01", join(path, e.key), "", "%q is not supported by this version", e.key)
			continue
		}
		hint := ""
		if near := nearest.Name(e.key, known); near != "" {
			hint = fmt.Sprintf("Did you mean %q?", near)
		} else {
			hint = "Known: " + strings.Join(known, ", ") + "."
		}
		dec.fault(e.at, "SG04", join(path, e.key), hint, "%q is not a field of %s", e.key, what)
	}
	return true
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "/" + key
}

// name reads a required identifier.
func (dec *decoder) name(n *node, key string, rule nameRule) string {
	v := n.child(key)
	if v == nil {
		dec.fault(n.at, "SG01", key, "", "%s is missing", key)
		return ""
	}
	s, ok := dec.str(v, key, key)
	if !ok {
		return ""
	}
	if why := rule.check(s); why != "" {
		dec.fault(v.at, "SG03", key, "", "%s", why)
		return ""
	}
	return s
}

// str reads a string.
func (dec *decoder) str(n *node, path, what string) (string, bool) {
	s, ok := n.scalar.(string)
	if !ok || n.isMap || n.isList {
		hint := ""
		if !n.isMap && !n.isList && n.scalar != nil {
			hint = "Put it in quotes."
		}
		dec.fault(n.at, "SG01", path, hint, "%s must be a string, got %s", what, n.kind())
		return "", false
	}
	return s, true
}

// strings reads a list of strings without repetitions.
func (dec *decoder) strings(n *node, path, what string) []string {
	if n == nil {
		return nil
	}
	if !n.isList {
		dec.fault(n.at, "SG01", path, "", "%s must be a list of strings, got %s", what, n.kind())
		return nil
	}
	var out []string
	for i, x := range n.items {
		p := join(path, strconv.Itoa(i))
		dec.src.places[p] = x.at
		s, ok := dec.str(x, p, "an entry of "+what)
		if !ok {
			continue
		}
		if slices.Contains(out, s) {
			dec.fault(x.at, "SG02", p, "", "%q occurs twice", s)
			continue
		}
		out = append(out, s)
	}
	return out
}

// duration reads an optional duration. none says that the word "none" is allowed and means 0.
func (dec *decoder) duration(n *node, path, key string, def time.Duration, none bool) time.Duration {
	v := n.child(key)
	if v == nil {
		return def
	}
	p := join(path, key)
	s, ok := v.scalar.(string)
	if !ok {
		hint := ""
		if i, isInt := v.scalar.(int64); isInt {
			hint = fmt.Sprintf("Add a unit, for example %ds.", i)
		}
		dec.fault(v.at, "SG01", p, hint, "%s must be a duration, got %s", key, v.kind())
		return def
	}
	if s == "none" && none {
		return 0
	}
	d, err := parseDuration(s)
	if err != nil {
		dec.fault(v.at, "SG01", p, "", "%s is %q: %s", key, s, err.Error())
		return def
	}
	if d == 0 {
		hint := ""
		if none {
			hint = "Write none for no limit."
		}
		dec.fault(v.at, "SG01", p, hint, "%s must be longer than 0", key)
		return def
	}
	return d
}

// expression reads an optional expression, without its "=".
func (dec *decoder) expression(n *node, path string) string {
	if n == nil {
		return ""
	}
	s, ok := n.scalar.(string)
	if !ok || !strings.HasPrefix(s, "=") || strings.HasPrefix(s, "==") || len(s) < 2 {
		dec.fault(n.at, "SG01", path, "Write it as '=…', for example '=input.total > 100'.", "%s must be an expression", path[strings.LastIndexByte(path, '/')+1:])
		return ""
	}
	return s[1:]
}

// tree reads an optional JSON tree as canonical JSON. The root is a map or one expression.
func (dec *decoder) tree(n *node, path string) []byte {
	if n == nil {
		return nil
	}
	text, _ := n.scalar.(string)
	_, isExpr := exprText(text)
	if !n.isMap && !isExpr {
		dec.fault(n.at, "SG01", path, "", "%s must be a map or an expression, got %s", path[strings.LastIndexByte(path, '/')+1:], n.kind())
		return nil
	}
	dec.treePlaces(n, path)
	return appendJSON(nil, n.value())
}

// notEmpty makes {} and nothing the same, where {} is the default. It is not for undo and inquire:
// their default is the inputs of the do.
func notEmpty(tree []byte) []byte {
	if string(tree) == "{}" {
		return nil
	}
	return tree
}

func (dec *decoder) treePlaces(n *node, path string) {
	dec.src.places[path] = n.at
	for _, e := range n.entries {
		dec.treePlaces(e.val, path+"/"+e.key)
	}
	for i, x := range n.items {
		dec.treePlaces(x, path+"/"+strconv.Itoa(i))
	}
}

func (dec *decoder) number(n *node, path, key string, def, low, high float64) float64 {
	v := n.child(key)
	if v == nil {
		return def
	}
	f := math.NaN()
	switch s := v.scalar.(type) {
	case int64:
		f = float64(s)
	case float64:
		f = s
	}
	if !(f >= low && f <= high) {
		dec.fault(v.at, "SG01", join(path, key), "", "%s must be a number from %v to %v", key, low, high)
		return def
	}
	return f
}
