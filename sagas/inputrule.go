package sagas

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// InputRule checks the input of a start against the definition.
type InputRule struct{ decl InputDecl }

// inputTypes are the types that a property may have.
var inputTypes = []string{"array", "boolean", "integer", "number", "object", "string"}

// Check says everything that is wrong with an input. A nil rule accepts any JSON object, and so
// does a rule that only names an Avro record: that is checked where the schema is known.
func (r *InputRule) Check(input []byte) error {
	if len(input) == 0 {
		return errors.New("the input is empty, want a JSON object")
	}
	v, err := parseJSON(input)
	if err != nil {
		return err
	}
	o, ok := v.(*object)
	if !ok {
		return fmt.Errorf("the input is %s, want an object", typeName(v))
	}
	if r == nil {
		return nil
	}
	var faults []string
	for _, name := range r.decl.Required {
		if _, ok := o.get(name); !ok {
			faults = append(faults, fmt.Sprintf("field %q is missing", name))
		}
	}
	names := make([]string, 0, len(r.decl.Properties))
	for name := range r.decl.Properties {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if v, ok := o.get(name); ok && !hasType(v, r.decl.Properties[name]) {
			faults = append(faults, fmt.Sprintf("field %q is %s, want %s", name, typeName(v), r.decl.Properties[name]))
		}
	}
	if len(faults) > 0 {
		return errors.New("input: " + strings.Join(faults, "; "))
	}
	return nil
}

func hasType(v any, want string) bool {
	switch v := v.(type) {
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case int64:
		return want == "integer" || want == "number"
	case float64:
		return want == "number" || want == "integer" && !strings.ContainsAny(formatFloat(v), ".e")
	case bigNum:
		return want == "number" || want == "integer" && !strings.ContainsAny(string(v), ".e")
	case *object:
		return want == "object"
	case []any:
		return want == "array"
	}
	return false
}
