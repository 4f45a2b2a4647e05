package sagas

import (
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// signalsType is the type of the variable signals. Nothing but has and last takes it.
var signalsType = cel.OpaqueType("amends.signals")

// signalFunctions declares signals.has(name) and signals.last(name).
func signalFunctions() []cel.EnvOption {
	find := func(self, name ref.Val) ([]byte, ref.Val) {
		s, ok := self.(signalsVal)
		n, isString := name.(types.String)
		if !ok || !isString {
			return nil, types.NewErr("want the name of a signal")
		}
		return s.ev.scope.Signal(string(n)), nil
	}
	return []cel.EnvOption{
		cel.Variable(nameSignals, signalsType),
		cel.Function("has", cel.MemberOverload("signals_has_string", []*cel.Type{signalsType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(self, name ref.Val) ref.Val {
				raw, fault := find(self, name)
				if fault != nil {
					return fault
				}
				return types.Bool(raw != nil)
			}))),
		cel.Function("last", cel.MemberOverload("signals_last_string", []*cel.Type{signalsType, cel.StringType}, cel.OptionalType(cel.DynType),
			cel.BinaryBinding(func(self, name ref.Val) ref.Val {
				raw, fault := find(self, name)
				if fault != nil {
					return fault
				}
				if raw == nil {
					return types.OptionalNone
				}
				v := jsonVal("signal", raw)
				if types.IsError(v) {
					return v
				}
				return types.OptionalOf(v)
			}))),
	}
}

// signalsVal is the variable signals.
type signalsVal struct{ ev *evaluation }

func (s signalsVal) ConvertToNative(reflect.Type) (any, error) { return nil, errSignalsAlone }
func (s signalsVal) ConvertToType(ref.Type) ref.Val            { return types.WrapErr(errSignalsAlone) }
func (s signalsVal) Equal(ref.Val) ref.Val                     { return types.WrapErr(errSignalsAlone) }
func (s signalsVal) Type() ref.Type                            { return signalsType }
func (s signalsVal) Value() any                                { return s }
