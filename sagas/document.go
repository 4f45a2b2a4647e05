package sagas

import (
	"strconv"
	"time"
)

// Document is a file that is written like a definition and is not one: YAML or JSON, read strictly,
// with a place for every fault. All faults are collected; Err lists them.
type Document struct {
	dec *decoder
	r   *report
}

// DocValue is one value of a Document; the zero value is one that is not there.
type DocValue struct {
	d    *Document
	n    *node
	path string
}

// ReadDocument reads a file that holds one map. file is only used in the findings.
func ReadDocument(file string, src []byte) (*Document, DocValue) {
	d := &Document{r: newReport(file, src)}
	docs := readNodes(d.r, src)
	if len(docs) == 0 || !docs[0].isMap {
		if len(d.r.found) == 0 {
			d.r.add(at{1, 1}, "SG01", "", "", "the file holds no map")
		}
		return d, DocValue{}
	}
	if len(docs) > 1 {
		d.r.add(docs[1].at, "SG01", "", "", "the file holds %d documents, want one", len(docs))
	}
	d.dec = newDecoder(d.r, docs[0])
	return d, DocValue{d: d, n: docs[0]}
}

// Err is Findings with everything that is wrong, or nil.
func (d *Document) Err() error { return d.r.found.asError() }

// Given says that the value is in the file.
func (v DocValue) Given() bool { return v.n != nil }

// Fault reports what is wrong with the value.
func (v DocValue) Fault(code, hint, format string, args ...any) {
	v.d.dec.fault(v.n.at, code, v.path, hint, format, args...)
}

// Fields checks that the value is a map of known keys; what names it in the report.
func (v DocValue) Fields(what string, known ...string) bool {
	return v.n != nil && v.d.dec.fields(v.n, v.path, what, known, nil)
}

// Child is the value of a key of a map.
func (v DocValue) Child(key string) DocValue {
	if v.n == nil {
		return DocValue{}
	}
	if c := v.n.child(key); c != nil {
		return DocValue{d: v.d, n: c, path: join(v.path, key)}
	}
	return DocValue{}
}

// Required is Child of a key that must be there.
func (v DocValue) Required(key string) DocValue {
	c := v.Child(key)
	if v.n != nil && !c.Given() {
		v.Fault("SG01", "", "%s is missing", key)
	}
	return c
}

// IsMap says that the value is a map.
func (v DocValue) IsMap() bool { return v.n != nil && v.n.isMap }

// IsList says that the value is a list.
func (v DocValue) IsList() bool { return v.n != nil && v.n.isList }

// Keys are those of a map, in the order of the text.
func (v DocValue) Keys() []string {
	var keys []string
	for _, e := range v.n.entries {
		keys = append(keys, e.key)
	}
	return keys
}

// Items are those of a list. Anything else is reported.
func (v DocValue) Items(what string) []DocValue {
	if v.n == nil {
		return nil
	}
	if !v.n.isList {
		v.Fault("SG01", "", "%s must be a list, got %s", what, v.n.kind())
		return nil
	}
	var items []DocValue
	for i, n := range v.n.items {
		items = append(items, DocValue{d: v.d, n: n, path: join(v.path, strconv.Itoa(i))})
	}
	return items
}

// Text is a string; "" when the value is not there. Anything else is reported.
func (v DocValue) Text(what string) string {
	if v.n == nil {
		return ""
	}
	s, _ := v.d.dec.str(v.n, v.path, what)
	return s
}

// Count is an integer from low to high; low when the value is not there. Anything else is reported.
func (v DocValue) Count(what string, low, high int64) int64 {
	if v.n == nil {
		return low
	}
	if n, ok := v.n.scalar.(int64); ok && n >= low && n <= high {
		return n
	}
	v.Fault("SG01", "", "%s must be a whole number from %d to %d", what, low, high)
	return low
}

// Duration is a time such as 30s from low to high; def when the value is not there. Anything else is
// reported.
func (v DocValue) Duration(what string, def, low, high time.Duration) time.Duration {
	if v.n == nil {
		return def
	}
	s, _ := v.n.scalar.(string)
	d, err := parseDuration(s)
	if err != nil || d < low || d > high {
		v.Fault("SG01", "", "%s must be a duration from %v to %v, such as 30s", what, low, high)
		return def
	}
	return d
}

// Yes is true or false; false when the value is not there. Anything else is reported.
func (v DocValue) Yes(what string) bool {
	if v.n == nil {
		return false
	}
	b, ok := v.n.scalar.(bool)
	if !ok {
		v.Fault("SG01", "", "%s must be true or false", what)
	}
	return b
}

// JSON is the value as canonical JSON.
func (v DocValue) JSON() []byte { return appendJSON(nil, v.n.value()) }

// Expr compiles a string that is an expression, "=…"; nil when the value is not there. Faults are
// reported at the place where they are written.
func (v DocValue) Expr(what string, want RecordWant) *RecordExpr {
	return v.expr(exprEnv{env: celEnv}, what, want)
}

func (v DocValue) expr(env exprEnv, what string, want RecordWant) *RecordExpr {
	if v.n == nil {
		return nil
	}
	s, _ := v.n.scalar.(string)
	text, isExpr := exprText(s)
	if v.n.isMap || v.n.isList || !isExpr || text == "" {
		v.Fault("SG01", "Write it as '=…', for example '=input.kind == \"payment\"'.", "%s must be an expression", what)
		return nil
	}
	x, problems := compileRecordExpr(env, text, want)
	v.d.dec.src.places[v.path] = v.n.at
	for _, p := range problems {
		(&checker{flow: flow{outline: &outline{d: v.d.dec.d}}, r: v.d.r}).problem(v.path, text, exprProblem{exprPlace{p.Line, p.Col}, p.Text})
	}
	return x
}

// IsExpr says that the value is a string that is an expression.
func (v DocValue) IsExpr() bool {
	if v.n == nil || v.n.isMap || v.n.isList {
		return false
	}
	s, _ := v.n.scalar.(string)
	_, isExpr := exprText(s)
	return isExpr
}
