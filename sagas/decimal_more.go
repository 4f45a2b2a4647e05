package sagas

import (
	"fmt"
	"math/big"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// newerFunctions are those that level 2 added. A definition that uses one of them needs that level.
var newerFunctions = []string{
	"dec.neg", "dec.abs", "dec.min", "dec.max", "dec.sum", "dec.round", "dec.div",
	"money.of", "money.amount", "money.add", "money.sub", "money.mul", "money.sum",
	"money.cmp", "money.eq", "money.lt", "money.le", "money.gt", "money.ge",
}

// maxScale is the most digits after the point that round and div can be asked for.
const maxScale = 30

// moreDecimalFunctions declares what level 2 added to dec.*. What rounds takes the even neighbour of
// a half, as banks do.
func moreDecimalFunctions() []cel.EnvOption {
	pick := func(better func(c int) bool) func(a, b decimal) ref.Val {
		return func(a, b decimal) ref.Val {
			if better(decCmp(b, a)) {
				a = b
			}
			return types.String(a.String())
		}
	}
	return []cel.EnvOption{
		decimalFunction("dec.min", cel.StringType, pick(func(c int) bool { return c < 0 })),
		decimalFunction("dec.max", cel.StringType, pick(func(c int) bool { return c > 0 })),
		oneDecimal("dec.neg", func(d decimal) decimal { return decimal{new(big.Int).Neg(d.unscaled), d.scale} }),
		oneDecimal("dec.abs", func(d decimal) decimal { return decimal{new(big.Int).Abs(d.unscaled), d.scale} }),
		cel.Function("dec.sum", cel.Overload("dec_sum_list", []*cel.Type{cel.ListType(cel.DynType)}, cel.StringType,
			cel.UnaryBinding(func(list ref.Val) ref.Val {
				return sumOf("dec.sum", list, decimal{new(big.Int), 0}, decimalOperand, decAdd, func(d decimal) ref.Val { return types.String(d.String()) })
			}))),
		cel.Function("dec.round", overloadsOf("dec_round", 1, []*cel.Type{cel.IntType}, cel.StringType, func(args []ref.Val) ref.Val {
			d, err := decimalOperand(args[0])
			if err != nil {
				return types.NewErr("dec.round: %s", err.Error())
			}
			return rounded("dec.round", d.unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.scale)), nil), args[1])
		})...),
		cel.Function("dec.div", overloadsOf("dec_div", 2, []*cel.Type{cel.IntType}, cel.StringType, func(args []ref.Val) ref.Val {
			a, err := decimalOperand(args[0])
			if err != nil {
				return types.NewErr("dec.div: %s", err.Error())
			}
			b, err := decimalOperand(args[1])
			if err != nil {
				return types.NewErr("dec.div: %s", err.Error())
			}
			if b.unscaled.Sign() == 0 {
				return types.NewErr("dec.div: division by zero")
			}
			s := max(a.scale, b.scale)
			return rounded("dec.div", a.at(s), b.at(s), args[2])
		})...),
	}
}

// overloadsOf are the overloads of a function whose first n arguments are decimals: texts or integers.
func overloadsOf(id string, n int, rest []*cel.Type, result *cel.Type, call func(args []ref.Val) ref.Val) []cel.FunctionOpt {
	var out []cel.FunctionOpt
	for bits := range 1 << n {
		var args []*cel.Type
		name := id
		for k := range n {
			t := cel.StringType
			if bits>>k&1 == 1 {
				t = cel.IntType
			}
			args = append(args, t)
			name += "_" + t.String()
		}
		args = append(args, rest...)
		out = append(out, cel.Overload(name, args, result, cel.FunctionBinding(func(args ...ref.Val) ref.Val { return call(args) })))
	}
	return out
}

func oneDecimal(name string, op func(d decimal) decimal) cel.EnvOption {
	call := cel.UnaryBinding(func(v ref.Val) ref.Val {
		d, err := decimalOperand(v)
		if err != nil {
			return types.NewErr("%s: %s", name, err.Error())
		}
		return types.String(op(d).String())
	})
	return cel.Function(name,
		cel.Overload(name+"_string", []*cel.Type{cel.StringType}, cel.StringType, call),
		cel.Overload(name+"_int", []*cel.Type{cel.IntType}, cel.StringType, call))
}

// rounded is num/den with that many digits after the point; a half goes to the even neighbour.
func rounded(name string, num, den *big.Int, scale ref.Val) ref.Val {
	s, ok := scale.(types.Int)
	if !ok || s < 0 || s > maxScale {
		return types.NewErr("%s: the number of digits must be from 0 to %d", name, maxScale)
	}
	n := new(big.Int).Mul(num, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(s)), nil))
	q, r := new(big.Int).QuoRem(n, den, new(big.Int))
	twice := new(big.Int).Abs(r)
	twice.Lsh(twice, 1)
	if c := twice.CmpAbs(den); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(int64(n.Sign()*den.Sign())))
	}
	return types.String(decimal{q, int(s)}.String())
}

// sumOf adds up a list. The cost of it is that of sumCost.
func sumOf[T any](name string, list ref.Val, zero T, operand func(ref.Val) (T, error), add func(a, b T) T, result func(T) ref.Val) ref.Val {
	l, ok := list.(traits.Lister)
	if !ok {
		return types.NewErr("%s: want a list, got %s", name, list.Type().TypeName())
	}
	sum := zero
	for it := l.Iterator(); it.HasNext() == types.True; {
		v := it.Next()
		if types.IsError(v) {
			return v
		}
		x, err := operand(v)
		if err != nil {
			return types.NewErr("%s: %s", name, err.Error())
		}
		sum = add(sum, x)
	}
	return result(sum)
}

// sumCost charges a sum for each entry of its list; all other functions cost what they cost anyway.
type sumCost struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (sumCost) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	if function != "dec.sum" && function != "money.sum" || len(args) != 1 {
		return nil
	}
	l, ok := args[0].(traits.Lister)
	if !ok {
		return nil
	}
	n, _ := l.Size().(types.Int)
	cost := 1 + uint64(max(n, 0))
	return &cost
}

// moneyError says that a value is no amount of money.
func moneyError(format string, args ...any) error {
	return fmt.Errorf("want money such as {units: 12, nanos: 500000000, ccy: \"EUR\"}: "+format, args...)
}
