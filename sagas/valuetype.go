package sagas

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/amendsio/amends/internal/nearest"
)

// ValueType is what a schema outside of a definition says of a value: the type of an input, a command, an answer
// or an event. A type may contain itself. It is read-only.
type ValueType struct {
	Kind     ValueKind
	Name     string // as messages say it: shop.Order, decimal, timestamp-millis; "" = that of the kind
	Nullable bool   // null is a value of it
	Elem     *ValueType
	Fields   []TypeField
}

// TypeField is a field of a record.
type TypeField struct {
	Name     string
	Type     *ValueType
	Optional bool // a writer may leave it out, because it has a default or may be null
}

// ValueKind is the shape of a value.
type ValueKind uint8

// The kinds of values.
const (
	KindAny ValueKind = iota // nothing is known
	KindBool
	KindInt
	KindNumber // with digits behind the point, or without
	KindText
	KindDecimal // a text or a number
	KindTime    // a text, in expressions also a timestamp
	KindList    // of Elem
	KindMap     // of texts to Elem
	KindRecord  // of Fields
)

var kindOfValue = [...]string{"any", "bool", "int", "number", "string", "decimal", "time", "list", "map", "record"}

// String is the type as messages name it.
func (t *ValueType) String() string {
	switch {
	case t.money():
		return "money"
	case t.Name != "":
		return t.Name
	case t.Elem != nil:
		return kindOfValue[t.Kind] + " of " + t.Elem.String()
	}
	return kindOfValue[t.Kind]
}

func (t *ValueType) field(name string) *TypeField {
	for i := range t.Fields {
		if t.Fields[i].Name == name {
			return &t.Fields[i]
		}
	}
	return nil
}

func (t *ValueType) fieldNames() []string {
	names := make([]string, len(t.Fields))
	for i := range t.Fields {
		names[i] = t.Fields[i].Name
	}
	return names
}

// money recognises the amounts of the functions money.*: a record of units, ccy and perhaps nanos.
func (t *ValueType) money() bool {
	if t.Kind != KindRecord || len(t.Fields) > 3 || len(t.Fields) < 2 {
		return false
	}
	units, ccy, nanos := t.field("units"), t.field("ccy"), t.field("nanos")
	return units != nil && units.Type.Kind == KindInt && ccy != nil && ccy.Type.Kind == KindText &&
		(len(t.Fields) == 2 || nanos != nil && nanos.Type.Kind == KindInt)
}

// celType is the type for the checker of expressions. What CEL would judge more strictly than the machine does is
// dyn: numbers, because 2.0 is an integer in our values.
func (t *ValueType) celType() *types.Type {
	var c *types.Type
	switch t.Kind {
	case KindBool:
		c = types.BoolType
	case KindInt:
		c = types.IntType
	case KindText, KindTime, KindDecimal:
		c = types.StringType
	case KindList:
		if t.Nullable {
			return types.DynType
		}
		return types.NewListType(t.Elem.celType())
	case KindMap:
		if t.Nullable {
			return types.DynType
		}
		return types.NewMapType(types.StringType, t.Elem.celType())
	case KindRecord:
		if t.money() {
			if t.Nullable {
				return types.DynType
			}
			return types.NewMapType(types.StringType, types.DynType)
		}
		return types.NewObjectType(t.Name)
	default:
		return types.DynType
	}
	if t.Nullable {
		return types.NewNullableType(c)
	}
	return c
}

// holds says whether a value of the type that an expression gives may be one of t.
func (t *ValueType) holds(got *types.Type) bool {
	if got.Kind() == types.OpaqueKind && got.TypeName() == "optional_type" {
		got = got.Parameters()[0]
	}
	k := got.Kind()
	if k == types.DynKind || t.Kind == KindAny || k == types.TypeParamKind {
		return true
	}
	if k == types.NullTypeKind {
		return t.Nullable
	}
	switch t.Kind {
	case KindBool:
		return k == types.BoolKind
	case KindInt:
		return k == types.IntKind || k == types.UintKind
	case KindNumber:
		return k == types.IntKind || k == types.UintKind || k == types.DoubleKind
	case KindDecimal:
		return k == types.StringKind || k == types.IntKind || k == types.UintKind
	case KindText:
		return k == types.StringKind || k == types.BytesKind || k == types.TimestampKind || k == types.DurationKind
	case KindTime:
		return k == types.StringKind || k == types.TimestampKind || k == types.IntKind
	case KindList:
		return k == types.ListKind && t.Elem.holds(got.Parameters()[0])
	case KindMap:
		return k == types.StructKind || k == types.MapKind && t.Elem.holds(got.Parameters()[1])
	case KindRecord:
		return k == types.MapKind || k == types.StructKind && (got.TypeName() == t.Name || t.money())
	}
	return true
}

// holdsValue is holds for a value that stands in the definition.
func (t *ValueType) holdsValue(v any) bool {
	switch v := v.(type) {
	case nil:
		return t.Nullable || t.Kind == KindAny
	case bool:
		return t.holds(types.BoolType)
	case int64:
		return t.holds(types.IntType)
	case float64, bigNum:
		return t.Kind == KindDecimal || t.holds(types.DoubleType)
	case string:
		return t.holds(types.StringType)
	case []any:
		return t.Kind == KindList || t.Kind == KindAny
	case *object:
		return t.Kind == KindRecord || t.Kind == KindMap || t.Kind == KindAny
	default:
		_ = v
	}
	return true
}

// externalTypes gives the records of value types to the checker of expressions.
type externalTypes struct {
	types.Provider
	records map[string]*ValueType
}

func newExternalTypes(base types.Provider, roots ...*ValueType) externalTypes {
	p := externalTypes{base, map[string]*ValueType{}}
	for _, t := range roots {
		p.add(t)
	}
	return p
}

func (p externalTypes) add(t *ValueType) {
	if t == nil {
		return
	}
	if t.Kind == KindRecord {
		if p.records[t.Name] != nil {
			return
		}
		p.records[t.Name] = t
	}
	p.add(t.Elem)
	for i := range t.Fields {
		p.add(t.Fields[i].Type)
	}
}

// FindStructType implements types.Provider.
func (p externalTypes) FindStructType(name string) (*types.Type, bool) {
	if p.records[name] != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldType implements types.Provider.
func (p externalTypes) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t := p.records[name]
	if t == nil {
		return p.Provider.FindStructFieldType(name, field)
	}
	f := t.field(field)
	if f == nil {
		return nil, false
	}
	return &types.FieldType{Type: f.Type.celType()}, true
}

// holder is the record that most likely lacks the field that a message of the compiler names, and what was meant.
func (p externalTypes) meant(root *ValueType, field string) string {
	if near := nearest.Name(field, root.fieldNames()); near != "" {
		return near
	}
	for _, name := range slices.Sorted(maps.Keys(p.records)) { // the same hint each time
		t := p.records[name]
		if near := nearest.Name(field, t.fieldNames()); near != "" {
			return near
		}
	}
	return ""
}

// celName is a type of the compiler as people say it.
func celName(t *types.Type) string {
	name := t.String()
	name = strings.TrimPrefix(name, "wrapper(")
	if t.Kind() == types.OpaqueKind && len(t.Parameters()) == 1 {
		return celName(t.Parameters()[0])
	}
	if t.Kind() == types.MapKind {
		return "an object"
	}
	return strings.TrimSuffix(name, ")")
}
