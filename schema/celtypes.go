package schema

import "github.com/amendsio/amends/sagas"

// Type is the schema as the check of definitions sees it. A field that has a default, or may be null, may be left out by
// a writer.
func (s *Schema) Type() *sagas.ValueType {
	m := typeMaker{map[*avroType]*sagas.ValueType{}, map[*avroType]bool{}}
	return m.of(s.root)
}

type typeMaker struct {
	made  map[*avroType]*sagas.ValueType
	under map[*avroType]bool // records whose fields are being made
}

func (m typeMaker) of(t *avroType) *sagas.ValueType {
	if v := m.made[t]; v != nil {
		return v
	}
	v := &sagas.ValueType{}
	m.made[t] = v // before what is inside: a record may contain itself
	switch t.kind {
	case kNull:
		v.Nullable = true
	case kBoolean:
		v.Kind = sagas.KindBool
	case kInt, kLong:
		v.Kind = sagas.KindInt
	case kFloat, kDouble:
		v.Kind = sagas.KindNumber
	case kBytes, kFixed, kString, kEnum:
		v.Kind, v.Name = sagas.KindText, t.name
	case kArray:
		v.Kind, v.Elem = sagas.KindList, m.of(t.item)
	case kMap:
		v.Kind, v.Elem = sagas.KindMap, m.of(t.item)
	case kRecord:
		v.Kind, v.Name = sagas.KindRecord, t.name
		m.under[t] = true
		for i := range t.fields {
			f := &t.fields[i]
			_, null := f.typ.nullable()
			v.Fields = append(v.Fields, sagas.TypeField{Name: f.name, Type: m.of(f.typ), Optional: f.hasDefault || null})
		}
		delete(m.under, t)
	case kUnion:
		inner, null := t.nullable()
		if inner.kind == kUnion {
			v.Nullable = null // of several shapes: nothing is known
			break
		}
		if m.under[inner] {
			v.Nullable = null // a field that leads back to a record that is not complete yet
			break
		}
		of := *m.of(inner)
		of.Nullable = of.Nullable || null
		*v = of
	}
	switch t.logical {
	case 0:
	case lDecimal:
		*v = sagas.ValueType{Kind: sagas.KindDecimal, Name: "decimal"}
	case lUUID:
		*v = sagas.ValueType{Kind: sagas.KindText, Name: "uuid"}
	default:
		*v = sagas.ValueType{Kind: sagas.KindTime, Name: t.String()}
	}
	return v
}
