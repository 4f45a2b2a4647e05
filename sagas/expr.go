package sagas

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// Scope is what an expression may see. Its JSON must be canonical: plain paths are copied out of it
// as they are.
type Scope interface {
	// Input is the input of the start, a JSON object.
	Input() []byte
	// Step is the kept output of a step, a JSON object or nil, and the name of the step's state. The
	// path is an id of the definition: it means the step of the frame around the expression, of the
	// frames around that one, or else of the newest frame that has it. A step of which no frame was
	// opened yet is found, without output.
	Step(path string) (output []byte, state string, found bool)
	// Now is the time of the event that is being handled.
	Now() Time
	// Key is the idempotency key of the command that is being built, "" elsewhere.
	Key() string
	// Item is the item of the enclosing each whose `as` is name, and its index from 0; nil = there is none.
	Item(name string) (value []byte, index uint32)
	// Round is the round of the innermost repeat or scope around the expression, from 1; 0 = there is none.
	Round() uint32
	// Signal is the payload of the newest signal of that name; nil = none came.
	Signal(name string) []byte
	// Event is the payload that the condition of an await looks at, nil elsewhere.
	Event() []byte
}

// InputOnly is the scope of an expression that may see nothing but the input, as the id of a start.
type InputOnly []byte

func (s InputOnly) Input() []byte                      { return s }
func (s InputOnly) Step(string) ([]byte, string, bool) { return nil, "", false }
func (s InputOnly) Now() Time                          { return 0 }
func (s InputOnly) Key() string                        { return "" }
func (s InputOnly) Item(string) ([]byte, uint32)       { return nil, 0 }
func (s InputOnly) Round() uint32                      { return 0 }
func (s InputOnly) Signal(string) []byte               { return nil }
func (s InputOnly) Event() []byte                      { return nil }

// Expr is a compiled expression. It is immutable and safe for concurrent use. An evaluation depends
// on the scope alone and its cost is bounded.
type Expr struct {
	text  string
	prog  cel.Program
	plain *plainPath // set when the expression is a plain path; then prog is not used
	each  string     // name of the item of the innermost each around it; index is the place of that item
	refs  exprRefs
	cost  uint64 // at least, when it walks a list; 0 = not known
}

// exprRefs is what an expression reads.
type exprRefs struct {
	now, key, input bool
	signals         bool
	newer           bool // something that level 2 added
	steps           []stepRef
	vars            []varRef
	fields          []inputRef
	wholeInput      bool     // input is used other than by the names of its fields
	wholeEvent      bool     // event is
	items           []string // names of the items that it uses
}

// stepRef is one use of a step: step.<id>, step.<id>.<field>, or the same of round.
type stepRef struct {
	step, field string
	optional    bool // .?field, has(…)
	mayLack     bool // step.?<id>, has(step.<id>)
	round       bool // written round.<id>
	place       exprPlace
}

// varRef is one use of index, event or round.n.
type varRef struct {
	name  string
	place exprPlace
}

// inputRef is one use of a field of the input.
type inputRef struct {
	field    string
	optional bool
	place    exprPlace
}

// exprPlace is a place in the text of an expression, both from 0.
type exprPlace struct{ line, col int }

// exprProblem is one reason why an expression does not compile.
type exprProblem struct {
	place exprPlace
	text  string
}

// wantType is what the user of an expression does with the result.
type wantType uint8

const (
	wantJSON wantType = iota
	wantBool
	wantString
	wantList
	wantTime // RFC 3339 text, timestamp, or ms since the epoch
)

// compileExpr parses, checks and plans one expression that stands in no each.
func compileExpr(text string, want wantType) (*Expr, []exprProblem) {
	return exprEnv{env: celEnv}.compile(text, want)
}

// exprEnv is what the expressions of one place may use: the environment and the items around them.
type exprEnv struct {
	env   *cel.Env
	items []string // names of the items, outermost first
}

// within is the environment of the body of an each.
func (x exprEnv) within(item string) (exprEnv, error) {
	inner, err := x.env.Extend(cel.Variable(item, cel.DynType))
	if err != nil {
		return x, err
	}
	return exprEnv{inner, append(slices.Clip(x.items), item)}, nil
}

func (x exprEnv) compile(text string, want wantType) (*Expr, []exprProblem) {
	if len(text) > MaxExprBytes {
		return nil, []exprProblem{{text: fmt.Sprintf("the expression has %d bytes, the limit is %d", len(text), MaxExprBytes)}}
	}
	if !utf8.ValidString(text) {
		return nil, []exprProblem{{text: "the expression is not valid UTF-8"}}
	}
	checked, iss := x.env.Compile(text)
	if iss.Err() != nil {
		var out []exprProblem
		for _, e := range iss.Errors() {
			p := exprProblem{text: e.Message}
			if e.Location != nil && e.Location.Line() > 0 {
				p.place = exprPlace{e.Location.Line() - 1, max(e.Location.Column(), 0)}
			}
			if out = append(out, p); len(out) == 3 { // the first faults explain the others
				break
			}
		}
		return nil, out
	}
	if p := checkResult(checked.OutputType(), want); p != "" {
		return nil, []exprProblem{{text: p}}
	}
	e := &Expr{text: text}
	tree := checked.NativeRep()
	if n := len(x.items); n > 0 {
		e.each = x.items[n-1]
	}
	w := refWalk{info: tree.SourceInfo(), refs: &e.refs, items: x.items}
	w.visit(tree.Expr())
	if len(w.problems) > 0 {
		return nil, w.problems
	}
	if e.plain = plainPathOf(tree.Expr(), x.items); e.plain != nil {
		return e, nil
	}
	if w.loops {
		if cost, err := x.env.EstimateCost(checked, unknownSizes{}); err == nil {
			e.cost = cost.Min
		}
	}
	prog, err := program(x.env, checked)
	if err != nil {
		return nil, []exprProblem{{text: err.Error()}}
	}
	e.prog = prog
	return e, nil
}

// checkResult says what is wrong with the static type of a result, "" when it may fit.
func checkResult(t *cel.Type, want wantType) string {
	if t.Kind() == types.DynKind {
		return ""
	}
	switch want {
	case wantBool:
		if t.Kind() != types.BoolKind {
			return "want bool, got " + t.String()
		}
	case wantString:
		if t.Kind() != types.StringKind && t.Kind() != types.IntKind {
			return "want string, got " + t.String()
		}
	case wantList:
		if t.Kind() != types.ListKind {
			return "want list, got " + t.String()
		}
	case wantTime:
		if t.Kind() != types.StringKind && t.Kind() != types.IntKind && t.Kind() != types.TimestampKind {
			return "want a time, got " + t.String()
		}
	case wantJSON:
		if t.Kind() == types.OpaqueKind && t.TypeName() == "optional_type" {
			return checkResult(t.Parameters()[0], want)
		}
		switch t.Kind() {
		case types.TypeKind, types.ErrorKind, types.OpaqueKind, types.StructKind:
			return "want a JSON value, got " + t.String()
		}
	}
	return ""
}

// EvalError says that an expression has no result in this scope: a field is missing, a type does
// not fit, the cost limit was reached. The same scope gives the same error.
type EvalError struct {
	Expr string
	Err  error
}

func (e *EvalError) Error() string {
	return "expression " + strconv.Quote(e.Expr) + ": " + e.Err.Error()
}
func (e *EvalError) Unwrap() error { return e.Err }

var errNothing = errors.New("the result is an optional without a value")

// Bool evaluates a condition.
func (e *Expr) Bool(s Scope) (bool, error) { return e.boolean(&evaluation{scope: s}) }

func (e *Expr) boolean(ev *evaluation) (bool, error) {
	raw, err := e.one(ev)
	if err != nil {
		return false, err
	}
	switch string(raw) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, &EvalError{e.text, fmt.Errorf("want true or false, got %s", shorten(raw))}
}

// String evaluates an identifier. An integral number gives its digits.
func (e *Expr) String(s Scope) (string, error) { return e.name(&evaluation{scope: s}) }

func (e *Expr) name(ev *evaluation) (string, error) {
	raw, err := e.one(ev)
	if err != nil {
		return "", err
	}
	v, err := parseJSON(raw)
	if err != nil {
		return "", &EvalError{e.text, err}
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	}
	return "", &EvalError{e.text, fmt.Errorf("want a string, got %s", typeName(v))}
}

func (e *Expr) one(ev *evaluation) ([]byte, error) {
	raw, has, err := e.appendTo(nil, ev, 0)
	if err == nil && !has {
		err = &EvalError{e.text, errNothing}
	}
	return raw, err
}

func shorten(raw []byte) string {
	if len(raw) > 60 {
		return string(raw[:57]) + "..."
	}
	return string(raw)
}

// appendTo evaluates the expression and writes the result as canonical JSON. has is false when the
// result is an empty optional.
func (e *Expr) appendTo(dst []byte, ev *evaluation, depth int) (out []byte, has bool, err error) {
	if e.plain != nil {
		raw, has, err := e.plain.find(ev.scope)
		if err != nil {
			return dst, false, &EvalError{e.text, err}
		}
		if !has {
			return dst, false, nil
		}
		if len(dst)+len(raw) > MaxValueBytes {
			return dst, false, &EvalError{e.text, errResultSize}
		}
		if depth+rawDepth(raw) > MaxValueDepth {
			return dst, false, &EvalError{e.text, errResultDepth}
		}
		return append(dst, raw...), true, nil
	}
	ev.each = e.each
	v, _, err := e.prog.Eval(ev)
	if err != nil {
		return dst, false, &EvalError{e.text, err}
	}
	if o, ok := v.(*types.Optional); ok {
		if !o.HasValue() {
			return dst, false, nil
		}
		v = o.GetValue()
	}
	out, err = appendVal(dst, v, depth)
	if err != nil {
		return dst, false, &EvalError{e.text, err}
	}
	return out, true, nil
}

// evaluation resolves the names of an expression. It parses an input or an output once, and only
// when an expression asks for it. One evaluation serves all expressions of a mapping.
type evaluation struct {
	scope Scope
	each  string // see Expr
	input ref.Val
	event ref.Val
	items map[string]ref.Val
	steps map[string]*object
}

var _ interpreter.Activation = (*evaluation)(nil)

// ResolveName implements interpreter.Activation.
func (ev *evaluation) ResolveName(name string) (any, bool) {
	if s, ok := ev.scope.(eventScope); ok {
		if v, ok := s.resolve(name); ok {
			return v, true
		}
	}
	switch name {
	case nameInput:
		if ev.input == nil {
			o, err := parseObject(ev.scope.Input())
			if err != nil {
				ev.input = types.WrapErr(fmt.Errorf("input: %w", err))
			} else {
				ev.input = &objectVal{o}
			}
		}
		return ev.input, true
	case nameStep:
		return stepsVal{ev}, true
	case nameNow:
		return types.Timestamp{Time: time.UnixMilli(int64(ev.scope.Now())).UTC()}, true
	case nameKey:
		return types.String(ev.scope.Key()), true
	case nameIndex:
		_, index := ev.scope.Item(ev.each)
		return types.Int(index), true
	case nameRound:
		return roundVal{stepsVal{ev}}, true
	case nameSignals:
		return signalsVal{ev}, true
	case nameEvent:
		if ev.event == nil {
			ev.event = jsonVal("event", ev.scope.Event())
		}
		return ev.event, true
	}
	return ev.item(name)
}

// item is the item of the each around the expression that has this name.
func (ev *evaluation) item(name string) (any, bool) {
	if v, ok := ev.items[name]; ok {
		return v, true
	}
	raw, _ := ev.scope.Item(name)
	if raw == nil {
		return nil, false
	}
	if ev.items == nil {
		ev.items = map[string]ref.Val{}
	}
	v := jsonVal(name, raw)
	ev.items[name] = v
	return v, true
}

// jsonVal is a JSON value in an expression; nothing is null.
func jsonVal(what string, raw []byte) ref.Val {
	if len(raw) == 0 {
		return types.NullValue
	}
	v, err := parseJSON(raw)
	if err != nil {
		return types.WrapErr(fmt.Errorf("%s: %w", what, err))
	}
	return adapter{}.NativeToValue(v)
}

// Parent implements interpreter.Activation.
func (ev *evaluation) Parent() interpreter.Activation { return nil }

// step is the kept output of a step with its state.
func (ev *evaluation) step(id string) (*object, bool, error) {
	if o, ok := ev.steps[id]; ok {
		return o, o != nil, nil
	}
	var o *object
	output, state, found := ev.scope.Step(id)
	if found {
		var err error
		if o, err = parseObject(output); err != nil {
			return nil, false, fmt.Errorf("output of step %s: %w", id, err)
		}
		o.set(nameState, state)
	}
	if ev.steps == nil {
		ev.steps = map[string]*object{}
	}
	ev.steps[id] = o
	return o, found, nil
}

// stepsVal is the variable step. refWalk made sure that only single steps are asked for, by name.
type stepsVal struct{ ev *evaluation }

var _ traits.Mapper = stepsVal{}

func (m stepsVal) Find(key ref.Val) (ref.Val, bool) {
	id, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	o, found, err := m.ev.step(string(id))
	if err != nil {
		return types.WrapErr(err), true
	}
	if !found {
		return nil, false
	}
	return &objectVal{o}, true
}

func (m stepsVal) Get(key ref.Val) ref.Val {
	v, found := m.Find(key)
	if !found {
		return types.NewErr("no such key: %v", key)
	}
	return v
}

func (m stepsVal) Contains(key ref.Val) ref.Val {
	_, found := m.Find(key)
	return types.Bool(found)
}

// appendVal writes the result of an expression as canonical JSON. It stops at the limits while it
// writes, because a small expression can describe a result of any size.
func appendVal(dst []byte, v ref.Val, depth int) ([]byte, error) {
	if len(dst) > MaxValueBytes {
		return dst, errResultSize
	}
	switch v := v.(type) {
	case types.Null:
		return append(dst, "null"...), nil
	case types.Bool:
		return strconv.AppendBool(dst, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(dst, uint64(v), 10), nil
	case types.Double:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return dst, fmt.Errorf("the result is %v, which JSON cannot hold", f)
		}
		return append(dst, formatFloat(float64(v))...), nil
	case types.String:
		if !utf8.ValidString(string(v)) {
			return dst, errors.New("the result is not valid UTF-8")
		}
		if len(dst)+len(v) > MaxValueBytes {
			return dst, errResultSize
		}
		return appendString(dst, string(v)), nil
	case types.Bytes:
		if len(dst)+len(v) > MaxValueBytes {
			return dst, errResultSize
		}
		return appendString(dst, base64.StdEncoding.EncodeToString(v)), nil
	case types.Timestamp:
		return appendString(dst, v.UTC().Format(time.RFC3339Nano)), nil
	case types.Duration:
		return appendString(dst, string(v.ConvertToType(types.StringType).(types.String))), nil
	case *types.Optional:
		if !v.HasValue() {
			return dst, errNothing
		}
		return appendVal(dst, v.GetValue(), depth)
	case *types.Err:
		return dst, v
	case traits.Mapper:
		return appendMap(dst, v, depth+1)
	case traits.Lister:
		return appendList(dst, v, depth+1)
	}
	return dst, fmt.Errorf("the result is of type %s, which JSON cannot hold", v.Type().TypeName())
}

var (
	errResultSize  = fmt.Errorf("the result is larger than %d bytes", MaxValueBytes)
	errResultDepth = fmt.Errorf("the result is nested deeper than %d levels", MaxValueDepth)
)

func appendMap(dst []byte, m traits.Mapper, depth int) ([]byte, error) {
	if depth > MaxValueDepth {
		return dst, errResultDepth
	}
	dst = append(dst, '{')
	for i, k := range sortedKeys(m) {
		name, ok := k.(types.String)
		if !ok {
			return dst, fmt.Errorf("a key of the result is of type %s, JSON has only strings", k.Type().TypeName())
		}
		if !utf8.ValidString(string(name)) {
			return dst, errors.New("a key of the result is not valid UTF-8")
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, string(name))
		dst = append(dst, ':')
		v, _ := m.Find(k)
		var err error
		// A number that was only passed through keeps its digits.
		if o, ok := m.(*objectVal); ok {
			own, _ := o.o.get(string(name))
			dst, err = appendOwn(dst, own, depth)
		} else {
			dst, err = appendVal(dst, v, depth)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func appendList(dst []byte, l traits.Lister, depth int) ([]byte, error) {
	if depth > MaxValueDepth {
		return dst, errResultDepth
	}
	if own, ok := l.Value().([]any); ok {
		return appendOwn(dst, own, depth-1)
	}
	dst = append(dst, '[')
	first := true
	for it := l.Iterator(); it.HasNext() == types.True; first = false {
		if !first {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendVal(dst, it.Next(), depth); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// appendOwn writes a value that came from the scope and not out of CEL.
func appendOwn(dst []byte, v any, depth int) ([]byte, error) {
	start := len(dst)
	dst = appendJSON(dst, v)
	if len(dst) > MaxValueBytes {
		return dst, errResultSize
	}
	if depth+rawDepth(dst[start:]) > MaxValueDepth {
		return dst, errResultDepth
	}
	return dst, nil
}
