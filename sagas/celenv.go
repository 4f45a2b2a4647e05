package sagas

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// The expression environment cel/1. Everything in this file is part of the meaning of published
// definitions: a change that can alter a result needs a new environmentVersion.
//
//	input     map(string, dyn)               the input of the start
//	step      map(string, map(string, dyn))  kept output of a step, and its state as .state
//	saga.now  timestamp                      time of the event that is being handled
//	key       string                         idempotency key of the command that is being built
//	index     int                            position of the item of the innermost each, from 0
//	round     map(string, dyn)               round.n and the steps of the innermost round
//	signals   signals.has(name), signals.last(name): newest signal of that name as an optional
//	event     dyn                            payload that the condition of an await looks at
//	dec.*     exact decimals as strings, see decimal.go
//	money.*   amounts with a currency, see money.go
//
// and the item of each each around the expression, by the name that its author gave it.
//
// plus the standard library and optional values, without what would depend on the machine: time
// zones by name (the zone database differs between hosts) are not offered.

// Limits of one expression.
const (
	MaxExprBytes = 4096
	MaxExprCost  = 10_000 // runtime cost of one evaluation, in CEL cost units
	maxExprNodes = 2_000
	maxExprDepth = 32
	maxRegexSize = 1_000

	maxLiteralParts = 10_000
)

const (
	nameInput   = "input"
	nameStep    = "step"
	nameNow     = "saga.now"
	nameKey     = "key"
	nameState   = "state"
	nameIndex   = "index"
	nameRound   = "round"
	nameSignals = "signals"
	nameEvent   = "event"

	nameRoundNumber = "n"
)

// reservedNames cannot be the name of an item.
var reservedNames = []string{nameInput, nameStep, "saga", nameKey, nameIndex, nameRound, nameSignals, nameEvent, "dec", "money"}

// celEnv is immutable and safe for concurrent use.
var celEnv = newCelEnv()

func newCelEnv() *cel.Env {
	e, err := newEnv(cel.MapType(cel.StringType, cel.DynType), cel.DynType)
	if err != nil {
		panic("sagas: expression environment: " + err.Error()) // constant input: cannot fail in a release
	}
	return e
}

// newEnv is the environment with types for the variables input and event.
func newEnv(input, event *cel.Type, more ...cel.EnvOption) (*cel.Env, error) {
	opts := append(languageOptions(),
		cel.Variable(nameInput, input),
		cel.Variable(nameStep, cel.MapType(cel.StringType, cel.MapType(cel.StringType, cel.DynType))),
		cel.Variable(nameNow, cel.TimestampType),
		cel.Variable(nameKey, cel.StringType),
		cel.Variable(nameIndex, cel.IntType),
		cel.Variable(nameRound, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(nameEvent, event),
	)
	opts = append(opts, signalFunctions()...)
	return cel.NewCustomEnv(append(opts, more...)...)
}

// languageOptions are the functions and limits of cel/1, without any variable.
func languageOptions() []cel.EnvOption {
	opts := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(env.NewLibrarySubset().AddExcludedFunctions(zoneFunctions()...))),
		cel.OptionalTypes(),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.CustomTypeAdapter(adapter{}),
		cel.ParserExpressionSizeLimit(MaxExprBytes),
		cel.ParserRecursionLimit(maxExprDepth),
		cel.ExpressionNestingDepthLimit(maxExprDepth),
		cel.ExpressionNodeLimit(maxExprNodes),
		cel.RegexProgramSizeLimit(maxRegexSize),
	}
	opts = append(opts, decimalFunctions()...)
	return append(opts, moneyFunctions()...)
}

// zoneFunctions are the accessors of timestamps that take the name of a time zone.
func zoneFunctions() []*env.Function {
	zoned := map[string]string{
		overloads.TimeGetFullYear:     overloads.TimestampToYearWithTz,
		overloads.TimeGetMonth:        overloads.TimestampToMonthWithTz,
		overloads.TimeGetDayOfYear:    overloads.TimestampToDayOfYearWithTz,
		overloads.TimeGetDayOfMonth:   overloads.TimestampToDayOfMonthZeroBasedWithTz,
		overloads.TimeGetDate:         overloads.TimestampToDayOfMonthOneBasedWithTz,
		overloads.TimeGetDayOfWeek:    overloads.TimestampToDayOfWeekWithTz,
		overloads.TimeGetHours:        overloads.TimestampToHoursWithTz,
		overloads.TimeGetMinutes:      overloads.TimestampToMinutesWithTz,
		overloads.TimeGetSeconds:      overloads.TimestampToSecondsWithTz,
		overloads.TimeGetMilliseconds: overloads.TimestampToMillisecondsWithTz,
	}
	var fns []*env.Function
	for fn, overload := range zoned {
		fns = append(fns, env.NewFunction(fn, &env.Overload{ID: overload}))
	}
	slices.SortFunc(fns, func(a, b *env.Function) int { return cmp.Compare(a.Name, b.Name) })
	return fns
}

// program plans a checked expression.
func program(env *cel.Env, ast *cel.Ast) (cel.Program, error) {
	return env.Program(ast,
		cel.CostLimit(MaxExprCost),
		cel.CostTracking(sumCost{}),
		cel.OptimizeRegex(interpreter.MatchesRegexOptimization),
		cel.CustomDecoratorV2(guardLiterals),
	)
}

// adapter gives CEL the value model.
type adapter struct{}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case ref.Val:
		return v
	case nil:
		return types.NullValue
	case bool:
		return types.Bool(v)
	case int64:
		return types.Int(v)
	case float64:
		return types.Double(v)
	case string:
		return types.String(v)
	case *object:
		return &objectVal{v}
	case []any:
		return types.NewDynamicList(a, v)
	case bigNum:
		return types.NewErr("the number %s has more digits than an expression can hold; pass it as a string and use dec.*", string(v))
	case Time:
		return types.Timestamp{Time: time.UnixMilli(int64(v)).UTC()}
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// objectVal is a JSON object in an expression. Its iteration is in the order of the keys, where a
// Go map would give another order each time.
type objectVal struct{ o *object }

var _ traits.Mapper = (*objectVal)(nil)

func (m *objectVal) Find(key ref.Val) (ref.Val, bool) {
	k, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v, ok := m.o.get(string(k))
	if !ok {
		return nil, false
	}
	return adapter{}.NativeToValue(v), true
}

func (m *objectVal) Get(key ref.Val) ref.Val {
	v, found := m.Find(key)
	if !found {
		return types.ValOrErr(v, "no such key: %v", key)
	}
	return v
}

func (m *objectVal) Contains(key ref.Val) ref.Val {
	_, found := m.Find(key)
	return types.Bool(found)
}

func (m *objectVal) Equal(other ref.Val) ref.Val {
	o, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	for _, f := range m.o.fields {
		theirs, found := o.Find(types.String(f.key))
		if !found || types.Equal(adapter{}.NativeToValue(f.val), theirs) != types.True {
			return types.False
		}
	}
	return types.True
}

func (m *objectVal) ConvertToNative(t reflect.Type) (any, error) {
	if reflect.TypeOf(m).AssignableTo(t) {
		return m, nil
	}
	return types.NewDynamicMap(adapter{}, m.goMap()).ConvertToNative(t)
}

func (m *objectVal) goMap() map[string]any {
	g := make(map[string]any, len(m.o.fields))
	for _, f := range m.o.fields {
		g[f.key] = f.val
	}
	return g
}

func (m *objectVal) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return m
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from '%s' to '%s'", types.MapType, t)
}

func (m *objectVal) Iterator() traits.Iterator {
	keys := make([]ref.Val, len(m.o.fields))
	for i, f := range m.o.fields {
		keys[i] = types.String(f.key)
	}
	return &keyIterator{keys: keys}
}

func (m *objectVal) IsZeroValue() bool { return len(m.o.fields) == 0 }
func (m *objectVal) Size() ref.Val     { return types.Int(len(m.o.fields)) }
func (m *objectVal) Type() ref.Type    { return types.MapType }
func (m *objectVal) Value() any        { return m.o }

// keyIterator walks a fixed list of keys.
type keyIterator struct {
	keys []ref.Val
	i    int
}

func (it *keyIterator) HasNext() ref.Val { return types.Bool(it.i < len(it.keys)) }

func (it *keyIterator) Next() ref.Val {
	if it.i >= len(it.keys) {
		return nil
	}
	it.i++
	return it.keys[it.i-1]
}

func (it *keyIterator) ConvertToNative(reflect.Type) (any, error) {
	return nil, types.NewErr("an iterator has no native form").(*types.Err)
}
func (it *keyIterator) ConvertToType(ref.Type) ref.Val {
	return types.NewErr("an iterator has no other type")
}
func (it *keyIterator) Equal(ref.Val) ref.Val { return types.False }
func (it *keyIterator) Type() ref.Type        { return types.IteratorType }
func (it *keyIterator) Value() any            { return nil }

// guardLiterals replaces the plan of list and map literals. A map literal, {'a': 1}, iterates in the
// order of its keys: the library's own value is a Go map and would make comprehensions random. And
// a literal cannot be the root of more than maxLiteralParts: values share their parts, so a chain
// like .map(y, [y, y]) is cheap to evaluate, and then takes for ever to compare or print.
func guardLiterals(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	c, ok := i.(interpreter.InterpretableConstructor)
	if ok && len(c.InitVals()) > 0 && (c.Type() == types.MapType || c.Type() == types.ListType) {
		return &guardedLiteral{c}, nil
	}
	return i, nil
}

type guardedLiteral struct {
	inner interpreter.InterpretableConstructor
}

func (g *guardedLiteral) ID() int64 { return g.inner.ID() }

func (g *guardedLiteral) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return guarded(g.inner.Exec(frame))
}

func (g *guardedLiteral) Eval(a interpreter.Activation) ref.Val { return guarded(g.inner.Eval(a)) }

func guarded(v ref.Val) ref.Val {
	if left := maxLiteralParts - parts(v, maxLiteralParts); left < 0 {
		return types.WrapErr(errLiteralParts)
	}
	if m, ok := v.(traits.Mapper); ok {
		return &literalVal{m}
	}
	return v
}

var errLiteralParts = fmt.Errorf("a list or map has more than %d parts", maxLiteralParts)

// parts counts what a value is made of, and stops soon after limit. Values of the scope and
// strings count by the hundred, because they are bounded by themselves.
func parts(v ref.Val, limit int) int {
	n := 1
	switch v := v.(type) {
	case types.String:
		return n + len(v)/100
	case types.Bytes:
		return n + len(v)/100
	case *objectVal:
		return n + len(v.o.fields)/100
	case *types.Optional:
		if v.HasValue() {
			n += parts(v.GetValue(), limit-n)
		}
	case traits.Mapper:
		for it := v.Iterator(); n <= limit && it.HasNext() == types.True; {
			k := it.Next()
			e, _ := v.Find(k)
			n += parts(k, limit-n) + parts(e, limit-n)
		}
	case traits.Lister:
		if own, ok := v.Value().([]any); ok {
			return n + len(own)/100
		}
		for it := v.Iterator(); n <= limit && it.HasNext() == types.True; {
			n += parts(it.Next(), limit-n)
		}
	}
	return n
}

// literalVal is a map literal with a fixed order. Only the interface is embedded, so that the
// library sees none of the shortcuts that its own map offers around Iterator.
type literalVal struct{ traits.Mapper }

func (m *literalVal) Iterator() traits.Iterator { return &keyIterator{keys: sortedKeys(m.Mapper)} }

func (m *literalVal) ConvertToType(t ref.Type) ref.Val {
	if t == types.MapType {
		return m
	}
	return m.Mapper.ConvertToType(t)
}

// sortedKeys are the keys of any map: by type, then by value.
func sortedKeys(m traits.Mapper) []ref.Val {
	var keys []ref.Val
	for it := m.Iterator(); it.HasNext() == types.True; {
		keys = append(keys, it.Next())
	}
	slices.SortFunc(keys, func(a, b ref.Val) int {
		if c := cmp.Compare(a.Type().TypeName(), b.Type().TypeName()); c != 0 {
			return c
		}
		if c, ok := a.(traits.Comparer); ok {
			if n, ok := c.Compare(b).(types.Int); ok {
				return int(n)
			}
		}
		return 0
	})
	return keys
}

// The rest of the map interface of the variable step. An expression cannot reach it.

func (m stepsVal) ConvertToNative(reflect.Type) (any, error) { return nil, errStepAlone }
func (m stepsVal) ConvertToType(ref.Type) ref.Val            { return types.WrapErr(errStepAlone) }
func (m stepsVal) Equal(ref.Val) ref.Val                     { return types.WrapErr(errStepAlone) }
func (m stepsVal) Iterator() traits.Iterator                 { return &keyIterator{} }
func (m stepsVal) Size() ref.Val                             { return types.IntZero }
func (m stepsVal) Type() ref.Type                            { return types.MapType }
func (m stepsVal) Value() any                                { return m }

// roundVal is the variable round: its number, and steps as in the variable step.
type roundVal struct{ stepsVal }

func (m roundVal) Find(key ref.Val) (ref.Val, bool) {
	if k, ok := key.(types.String); ok && k == nameRoundNumber {
		return types.Int(m.ev.scope.Round()), true
	}
	return m.stepsVal.Find(key)
}

func (m roundVal) Get(key ref.Val) ref.Val {
	v, found := m.Find(key)
	if !found {
		return types.NewErr("no such key: %v", key)
	}
	return v
}

func (m roundVal) Contains(key ref.Val) ref.Val {
	_, found := m.Find(key)
	return types.Bool(found)
}

var errSignalsAlone = errors.New("signals can only be asked with has and last")

var errStepAlone = errors.New("step can only be used with the id of a step")
