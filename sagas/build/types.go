package build

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// jsonField is a field of a struct as encoding/json sees it.
type jsonField struct {
	name     string
	typ      reflect.Type
	optional bool
}

// fieldsOf are the JSON fields of a struct; nil for every other type and for those that write their
// JSON themselves, of which nothing is known.
func fieldsOf(t reflect.Type) []jsonField {
	if t == nil {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || ownJSON(t) {
		return nil
	}
	fields := []jsonField{}
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, rest, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous || f.Anonymous && !tagged || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		optional := strings.Contains(","+rest+",", ",omitempty,") || strings.Contains(","+rest+",", ",omitzero,") || f.Type.Kind() == reflect.Pointer
		if find(fields, name) == nil {
			fields = append(fields, jsonField{name, f.Type, optional})
		}
	}
	return fields
}

func ownJSON(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Marshaler]()) || p.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// jsonType is the type that a definition has for values of t; "" when that is not certain.
func jsonType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "string"
	case ownJSON(t):
		return ""
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "string"
		}
		return "array"
	case reflect.Array:
		return "array"
	}
	return ""
}

// literalType is the JSON type of a value of With; "" for expressions.
func literalType(v any) string {
	switch v := v.(type) {
	case nil, Expr:
		return ""
	case string:
		if strings.HasPrefix(v, "=") && !strings.HasPrefix(v, "==") {
			return ""
		}
	}
	return jsonType(reflect.TypeOf(v))
}

func find(fields []jsonField, name string) *jsonField {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

// near is a hint with the fields that there are.
func near(name string, fields []jsonField) string {
	var names []string
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			return fmt.Sprintf("Did you mean %q?", f.name)
		}
		names = append(names, f.name)
	}
	if len(names) == 0 {
		return "It has none."
	}
	return "It has " + strings.Join(names, ", ") + "."
}
