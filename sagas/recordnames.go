package sagas

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
)

// RecordLanguage is the environment cel/1 over one record and more values beside it, each a JSON value
// with a name. It is for the files of other stages. It is immutable and safe for concurrent use.
type RecordLanguage struct{ env exprEnv }

// NewRecordLanguage gives expressions input, key and the names. A name is a CEL identifier that cel/1 does
// not use itself.
func NewRecordLanguage(names ...string) (*RecordLanguage, error) {
	x := exprEnv{env: celEnv}
	for _, name := range names {
		if slices.Contains(reservedNames, name) {
			return nil, fmt.Errorf("the name %q is taken", name)
		}
		inner, err := x.env.Extend(cel.Variable(name, cel.DynType))
		if err != nil {
			return nil, fmt.Errorf("name %q: %w", name, err)
		}
		x = exprEnv{inner, append(slices.Clip(x.items), name)}
	}
	return &RecordLanguage{x}, nil
}

// Compile is CompileRecordExpr with the names of the language.
func (l *RecordLanguage) Compile(text string, want RecordWant) (*RecordExpr, []ExprProblem) {
	return compileRecordExpr(l.env, text, want)
}

// Set gives the value of a name of the language, after Reset. value is any JSON text.
func (v *RecordValues) Set(name string, value []byte) error {
	canonical, err := CanonicalJSON(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if v.more == nil {
		v.more = map[string][]byte{}
	}
	v.more[name] = canonical
	return nil
}

// ExprIn is Expr in a language of its own.
func (v DocValue) ExprIn(l *RecordLanguage, what string, want RecordWant) *RecordExpr {
	return v.expr(l.env, what, want)
}
