package sagas

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Decimals in expressions are strings such as "12.50": exact, and never a double. An operand may
// also be an integral number. Sums and differences have the longer of the two fractions, products
// the sum of both, so "1.50" + "0.5" is "2.00".

// maxDecimalDigits bounds an operand and, for add and sub, keeps the cost of one call constant.
const maxDecimalDigits = 100

// decimal is unscaled / 10^scale.
type decimal struct {
	unscaled *big.Int
	scale    int
}

// parseDecimal reads [-]digits[.digits].
func parseDecimal(s string) (decimal, error) {
	digits := strings.TrimPrefix(s, "-")
	whole, frac, dotted := strings.Cut(digits, ".")
	if len(whole)+len(frac) > maxDecimalDigits {
		return decimal{}, fmt.Errorf("a decimal has at most %d digits", maxDecimalDigits)
	}
	for _, part := range []string{whole, frac} {
		for i := 0; i < len(part); i++ {
			if part[i] < '0' || part[i] > '9' {
				return decimal{}, fmt.Errorf("%q is not a decimal such as \"12.50\"", s)
			}
		}
	}
	if whole == "" || dotted && frac == "" {
		return decimal{}, fmt.Errorf("%q is not a decimal such as \"12.50\"", s)
	}
	n, _ := new(big.Int).SetString(whole+frac, 10)
	if len(digits) != len(s) {
		n.Neg(n)
	}
	return decimal{n, len(frac)}, nil
}

func (d decimal) String() string {
	s := new(big.Int).Abs(d.unscaled).String()
	if d.scale > 0 {
		if pad := d.scale + 1 - len(s); pad > 0 {
			s = strings.Repeat("0", pad) + s
		}
		s = s[:len(s)-d.scale] + "." + s[len(s)-d.scale:]
	}
	if d.unscaled.Sign() < 0 {
		s = "-" + s
	}
	return s
}

// at is d's unscaled value with another, not smaller, scale.
func (d decimal) at(scale int) *big.Int {
	if scale == d.scale {
		return d.unscaled
	}
	ten := big.NewInt(10)
	return new(big.Int).Mul(d.unscaled, ten.Exp(ten, big.NewInt(int64(scale-d.scale)), nil))
}

func decAdd(a, b decimal) decimal {
	s := max(a.scale, b.scale)
	return decimal{new(big.Int).Add(a.at(s), b.at(s)), s}
}

func decSub(a, b decimal) decimal {
	s := max(a.scale, b.scale)
	return decimal{new(big.Int).Sub(a.at(s), b.at(s)), s}
}

func decMul(a, b decimal) decimal {
	return decimal{new(big.Int).Mul(a.unscaled, b.unscaled), a.scale + b.scale}
}

func decCmp(a, b decimal) int {
	s := max(a.scale, b.scale)
	return a.at(s).Cmp(b.at(s))
}

// decimalFunctions declares dec.*: each takes strings and integers in any combination.
func decimalFunctions() []cel.EnvOption {
	arith := func(op func(a, b decimal) decimal) func(a, b decimal) ref.Val {
		return func(a, b decimal) ref.Val { return types.String(op(a, b).String()) }
	}
	test := func(ok func(c int) bool) func(a, b decimal) ref.Val {
		return func(a, b decimal) ref.Val { return types.Bool(ok(decCmp(a, b))) }
	}
	return append(moreDecimalFunctions(),
		decimalFunction("dec.add", cel.StringType, arith(decAdd)),
		decimalFunction("dec.sub", cel.StringType, arith(decSub)),
		decimalFunction("dec.mul", cel.StringType, arith(decMul)),
		decimalFunction("dec.cmp", cel.IntType, func(a, b decimal) ref.Val { return types.Int(decCmp(a, b)) }),
		decimalFunction("dec.ge", cel.BoolType, test(func(c int) bool { return c >= 0 })),
		decimalFunction("dec.gt", cel.BoolType, test(func(c int) bool { return c > 0 })),
		decimalFunction("dec.le", cel.BoolType, test(func(c int) bool { return c <= 0 })),
		decimalFunction("dec.lt", cel.BoolType, test(func(c int) bool { return c < 0 })),
		decimalFunction("dec.eq", cel.BoolType, test(func(c int) bool { return c == 0 })),
	)
}

func decimalFunction(name string, result *cel.Type, op func(a, b decimal) ref.Val) cel.EnvOption {
	call := cel.BinaryBinding(func(l, r ref.Val) ref.Val {
		a, err := decimalOperand(l)
		if err != nil {
			return types.NewErr("%s: %s", name, err.Error())
		}
		b, err := decimalOperand(r)
		if err != nil {
			return types.NewErr("%s: %s", name, err.Error())
		}
		return op(a, b)
	})
	var overloads []cel.FunctionOpt
	for _, l := range []*cel.Type{cel.StringType, cel.IntType} {
		for _, r := range []*cel.Type{cel.StringType, cel.IntType} {
			id := strings.ReplaceAll(name, ".", "_") + "_" + l.String() + "_" + r.String()
			overloads = append(overloads, cel.Overload(id, []*cel.Type{l, r}, result, call))
		}
	}
	return cel.Function(name, overloads...)
}

func decimalOperand(v ref.Val) (decimal, error) {
	switch v := v.(type) {
	case types.String:
		return parseDecimal(string(v))
	case types.Int:
		return parseDecimal(strconv.FormatInt(int64(v), 10))
	}
	return decimal{}, fmt.Errorf("want a decimal string, got %s", v.Type().TypeName())
}
