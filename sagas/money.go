package sagas

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Money in expressions is a map with units (whole units), nanos (billionths, with the sign of units)
// and ccy. Amounts are exact: what does not fit into whole billionths is an error, and so is a
// calculation across currencies.

const nanosPerUnit = 1_000_000_000

// money is an amount in billionths of a currency. An empty currency is that of no amount.
type money struct {
	nanos *big.Int
	ccy   string
}

var moneyType = cel.MapType(cel.StringType, cel.DynType)

func moneyOperand(v ref.Val) (money, error) {
	m, ok := v.(traits.Mapper)
	if !ok {
		return money{}, moneyError("it is of type %s", v.Type().TypeName())
	}
	part := func(name string) (int64, error) {
		v, found := m.Find(types.String(name))
		if !found && name == "nanos" {
			return 0, nil
		}
		n, ok := v.(types.Int)
		if !found || !ok {
			return 0, moneyError("%s is not an integer", name)
		}
		return int64(n), nil
	}
	units, err := part("units")
	if err != nil {
		return money{}, err
	}
	nanos, err := part("nanos")
	if err != nil {
		return money{}, err
	}
	if nanos <= -nanosPerUnit || nanos >= nanosPerUnit || units > 0 && nanos < 0 || units < 0 && nanos > 0 {
		return money{}, moneyError("nanos %d do not fit units %d", nanos, units)
	}
	c, _ := m.Find(types.String("ccy"))
	ccy, ok := c.(types.String)
	if !ok || ccy == "" {
		return money{}, moneyError("ccy is not a string")
	}
	n := new(big.Int).Mul(big.NewInt(units), big.NewInt(nanosPerUnit))
	return money{n.Add(n, big.NewInt(nanos)), string(ccy)}, nil
}

// value is the map of an amount.
func (m money) value() ref.Val {
	units, nanos := new(big.Int).QuoRem(m.nanos, big.NewInt(nanosPerUnit), new(big.Int))
	if !units.IsInt64() || units.Int64() == math.MinInt64 {
		return types.NewErr("money: the amount is too large")
	}
	o := &object{}
	o.set("units", units.Int64())
	o.set("nanos", nanos.Int64())
	o.set("ccy", m.ccy)
	return &objectVal{o}
}

// moneyOf is a decimal amount of a currency.
func moneyOf(d decimal, ccy string) (money, error) {
	n := d.at(max(d.scale, 9))
	for s := d.scale; s > 9; s-- {
		q, r := new(big.Int).QuoRem(n, big.NewInt(10), new(big.Int))
		if r.Sign() != 0 {
			return money{}, fmt.Errorf("%s has more than 9 digits after the point; use dec.round", d)
		}
		n = q
	}
	return money{new(big.Int).Set(n), ccy}, nil
}

// decimal is the amount without trailing zeros.
func (m money) decimal() decimal {
	d := decimal{new(big.Int).Set(m.nanos), 9}
	for d.scale > 0 {
		q, r := new(big.Int).QuoRem(d.unscaled, big.NewInt(10), new(big.Int))
		if r.Sign() != 0 {
			break
		}
		d.unscaled, d.scale = q, d.scale-1
	}
	return d
}

var errCurrencies = errors.New("the currencies differ")

// moneyFunctions declares money.*.
func moneyFunctions() []cel.EnvOption {
	arith := func(op func(z, a, b *big.Int) *big.Int) func(a, b money) ref.Val {
		return func(a, b money) ref.Val { return money{op(new(big.Int), a.nanos, b.nanos), a.ccy}.value() }
	}
	test := func(ok func(c int) bool) func(a, b money) ref.Val {
		return func(a, b money) ref.Val { return types.Bool(ok(a.nanos.Cmp(b.nanos))) }
	}
	return []cel.EnvOption{
		moneyFunction("money.add", moneyType, arith((*big.Int).Add)),
		moneyFunction("money.sub", moneyType, arith((*big.Int).Sub)),
		moneyFunction("money.cmp", cel.IntType, func(a, b money) ref.Val { return types.Int(a.nanos.Cmp(b.nanos)) }),
		moneyFunction("money.eq", cel.BoolType, test(func(c int) bool { return c == 0 })),
		moneyFunction("money.lt", cel.BoolType, test(func(c int) bool { return c < 0 })),
		moneyFunction("money.le", cel.BoolType, test(func(c int) bool { return c <= 0 })),
		moneyFunction("money.gt", cel.BoolType, test(func(c int) bool { return c > 0 })),
		moneyFunction("money.ge", cel.BoolType, test(func(c int) bool { return c >= 0 })),
		cel.Function("money.of", overloadsOf("money_of", 1, []*cel.Type{cel.StringType}, moneyType, func(args []ref.Val) ref.Val {
			d, err := decimalOperand(args[0])
			if err != nil {
				return types.NewErr("money.of: %s", err.Error())
			}
			ccy, ok := args[1].(types.String)
			if !ok || ccy == "" {
				return types.NewErr("money.of: want a currency")
			}
			m, err := moneyOf(d, string(ccy))
			if err != nil {
				return types.NewErr("money.of: %s", err.Error())
			}
			return m.value()
		})...),
		cel.Function("money.amount", cel.Overload("money_amount", []*cel.Type{moneyType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				m, err := moneyOperand(v)
				if err != nil {
					return types.NewErr("money.amount: %s", err.Error())
				}
				return types.String(m.decimal().String())
			}))),
		cel.Function("money.mul", append(moneyTimes("money_mul_string", cel.StringType), moneyTimes("money_mul_int", cel.IntType)...)...),
		cel.Function("money.sum", cel.Overload("money_sum_list", []*cel.Type{cel.ListType(cel.DynType)}, moneyType,
			cel.UnaryBinding(func(list ref.Val) ref.Val {
				var fault error
				return sumOf("money.sum", list, money{new(big.Int), ""}, moneyOperand, func(a, b money) money {
					if a.ccy != "" && a.ccy != b.ccy {
						fault = errCurrencies
					}
					return money{new(big.Int).Add(a.nanos, b.nanos), b.ccy}
				}, func(m money) ref.Val {
					switch {
					case fault != nil:
						return types.NewErr("money.sum: %s", fault.Error())
					case m.ccy == "":
						return types.NewErr("money.sum: an empty list has no currency")
					}
					return m.value()
				})
			}))),
	}
}

// moneyTimes is an amount times a decimal.
func moneyTimes(id string, factor *cel.Type) []cel.FunctionOpt {
	return []cel.FunctionOpt{cel.Overload(id, []*cel.Type{moneyType, factor}, moneyType, cel.BinaryBinding(func(l, r ref.Val) ref.Val {
		m, err := moneyOperand(l)
		if err != nil {
			return types.NewErr("money.mul: %s", err.Error())
		}
		f, err := decimalOperand(r)
		if err != nil {
			return types.NewErr("money.mul: %s", err.Error())
		}
		product, err := moneyOf(decMul(decimal{m.nanos, 9}, f), m.ccy)
		if err != nil {
			return types.NewErr("money.mul: %s", err.Error())
		}
		return product.value()
	}))}
}

func moneyFunction(name string, result *cel.Type, op func(a, b money) ref.Val) cel.EnvOption {
	return cel.Function(name, cel.Overload(name+"_map_map", []*cel.Type{moneyType, moneyType}, result, cel.BinaryBinding(func(l, r ref.Val) ref.Val {
		a, err := moneyOperand(l)
		if err != nil {
			return types.NewErr("%s: %s", name, err.Error())
		}
		b, err := moneyOperand(r)
		if err != nil {
			return types.NewErr("%s: %s", name, err.Error())
		}
		if a.ccy != b.ccy {
			return types.NewErr("%s: %s", name, errCurrencies.Error())
		}
		return op(a, b)
	})))
}
