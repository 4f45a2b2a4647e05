package sagas

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"

	"github.com/amendsio/amends/internal/nearest"
)

// inputType is the name of the type that an expression's input has for checkInput.
const inputType = "amends.Input"

// declaredInput gives the declared properties of an input to the type checker. A property that is not
// declared may be anything.
type declaredInput struct {
	types.Provider
	decl *InputDecl
}

// FindStructType implements types.Provider.
func (p declaredInput) FindStructType(name string) (*types.Type, bool) {
	if name == inputType {
		return types.NewTypeTypeWithParam(types.NewObjectType(inputType)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldType implements types.Provider.
func (p declaredInput) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name != inputType {
		return p.Provider.FindStructFieldType(name, field)
	}
	t := types.DynType
	switch p.decl.Properties[field] {
	case "string":
		t = types.StringType
	case "integer":
		t = types.IntType
	case "boolean":
		t = types.BoolType
	case "array":
		t = types.NewListType(types.DynType)
	case "object":
		t = types.NewMapType(types.StringType, types.DynType)
	}
	return &types.FieldType{Type: t}, true
}

// typedInput is an environment in which the input has its declared types, nil when it declares none.
func typedInput(decl *InputDecl, items []string) *cel.Env {
	if decl == nil || len(decl.Properties) == 0 {
		return nil
	}
	opts := []cel.EnvOption{cel.CustomTypeProvider(declaredInput{celEnv.CELTypeProvider(), decl})}
	for _, name := range items {
		opts = append(opts, cel.Variable(name, cel.DynType))
	}
	e, err := newEnv(cel.ObjectType(inputType), cel.DynType, opts...)
	if err != nil {
		return nil // then there is one check less
	}
	return e
}

// checkInput warns of an expression that cannot work with the declared input, though it compiles.
func (c *checker) checkInput(path string, e *Expr, want wantType, items []string) {
	decl := c.d.Input
	if decl == nil || len(decl.Properties) == 0 {
		return
	}
	known := slices.Concat(decl.Required, slices.Sorted(mapKeys(decl.Properties)))
	for _, f := range e.refs.fields {
		if f.optional || slices.Contains(decl.Required, f.field) || slices.ContainsFunc(e.refs.fields, func(o inputRef) bool { return o.field == f.field && o.optional }) {
			continue
		}
		at := c.inSource(path, e.text, f.place)
		if _, declared := decl.Properties[f.field]; declared {
			c.r.warn(at, "SG25", path, fmt.Sprintf("Use input.?%s, or add it to required:.", f.field), "input.%s may be missing: it is declared, but not required", f.field)
			continue
		}
		hint := fmt.Sprintf("Declare it, or use input.?%s.", f.field)
		if near := nearest.Name(f.field, known); near != "" {
			hint = fmt.Sprintf("Did you mean input.%s?", near)
		}
		c.r.warn(at, "SG25", path, hint, "input.%s is not declared", f.field)
	}
	if len(e.refs.fields) == 0 || e.refs.wholeInput {
		return
	}
	env, ok := c.typed[strings.Join(items, " ")]
	if !ok {
		env = typedInput(decl, items)
		if c.typed == nil {
			c.typed = map[string]*cel.Env{}
		}
		c.typed[strings.Join(items, " ")] = env
	}
	if env == nil {
		return
	}
	checked, iss := env.Compile(e.text)
	if iss.Err() != nil {
		fault := iss.Errors()[0] // the first explains the others
		p := exprPlace{}
		if fault.Location != nil && fault.Location.Line() > 0 {
			p = exprPlace{fault.Location.Line() - 1, max(fault.Location.Column(), 0)}
		}
		c.r.warn(c.inSource(path, e.text, p), "SG25", path, "", "with the declared input: %s", shortProblem(fault.Message))
		return
	}
	if text := checkResult(checked.OutputType(), want); text != "" {
		c.r.warn(c.inSource(path, e.text, exprPlace{}), "SG25", path, "", "with the declared input: %s", text)
	}
}

// checkCost warns of an expression that costs more than is allowed, whatever it reads.
func (c *checker) checkCost(path string, e *Expr) {
	if e.cost > MaxExprCost {
		c.warn(path, "SG24", "Make it simpler, or let a participant calculate it.", "the expression costs at least %d, the limit is %d", e.cost, MaxExprCost)
	}
}

// unknownSizes is the cost estimator for values of which nothing is known.
type unknownSizes struct{}

// EstimateSize implements cost.Estimator.
func (unknownSizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }

// EstimateCallCost implements cost.Estimator.
func (unknownSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
