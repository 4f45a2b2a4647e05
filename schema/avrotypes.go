package schema

// How Avro and the values of the engine correspond:
//
//	null                       null
//	boolean                    boolean
//	int, long                  integer
//	float, double              number; NaN and the infinities are refused
//	string                     string
//	bytes, fixed               string in base64
//	enum                       string
//	array, map, record         array, object, object
//	union                      the value of its branch, without wrapping
//	decimal                    string such as "12.50", with as many digits behind the point as the scale says
//	date                       string such as "2026-11-22"
//	time-millis, time-micros   string such as "13:04:05.25"
//	timestamp-millis, -micros, -nanos        string in RFC 3339, UTC, such as "2026-11-22T13:04:05.25Z"
//	local-timestamp-millis, -micros, -nanos  the same without the Z
//	uuid                       string, also of fixed(16)
//
// Any other logical type is its underlying type, as the specification asks for.

// kind is one of Avro's types.
type kind uint8

const (
	kNull kind = iota + 1
	kBoolean
	kInt
	kLong
	kFloat
	kDouble
	kBytes
	kString
	kRecord
	kEnum
	kArray
	kMap
	kFixed
	kUnion
)

var kindNames = [...]string{"", "null", "boolean", "int", "long", "float", "double", "bytes", "string", "record", "enum", "array", "map", "fixed", "union"}

func (k kind) String() string { return kindNames[k] }

var primitives = map[string]kind{
	"null": kNull, "boolean": kBoolean, "int": kInt, "long": kLong, "float": kFloat, "double": kDouble, "bytes": kBytes, "string": kString,
}

// logical is a logical type that has a form of its own in our values.
type logical uint8

const (
	lDecimal logical = iota + 1
	lDate
	lTimeMillis
	lTimeMicros
	lMillis
	lMicros
	lNanos
	lLocalMillis
	lLocalMicros
	lLocalNanos
	lUUID
)

// logicals says which logical types there are and on what.
var logicals = map[string]struct {
	logical logical
	on      []kind
}{
	"decimal":                {lDecimal, []kind{kBytes, kFixed}},
	"date":                   {lDate, []kind{kInt}},
	"time-millis":            {lTimeMillis, []kind{kInt}},
	"time-micros":            {lTimeMicros, []kind{kLong}},
	"timestamp-millis":       {lMillis, []kind{kLong}},
	"timestamp-micros":       {lMicros, []kind{kLong}},
	"timestamp-nanos":        {lNanos, []kind{kLong}},
	"local-timestamp-millis": {lLocalMillis, []kind{kLong}},
	"local-timestamp-micros": {lLocalMicros, []kind{kLong}},
	"local-timestamp-nanos":  {lLocalNanos, []kind{kLong}},
	"uuid":                   {lUUID, []kind{kString, kFixed}},
}

// avroType is a node of a schema. Named types may contain themselves. It does not change once it is parsed.
type avroType struct {
	kind    kind
	logical logical
	name    string // full name of record, enum and fixed

	fields   []avroField // of a record, in the order of the wire
	sorted   []int       // fields by name
	symbols  []string    // of an enum
	item     *avroType   // of array and map
	branches []*avroType // of a union
	size     int         // of a fixed
	scale    int         // of a decimal
	digits   int         // its precision
}

type avroField struct {
	name       string
	quoted     []byte // the name as canonical JSON, with its colon
	typ        *avroType
	hasDefault bool
	def        any // as encoding/json reads it, with json.Number
}

// Limits of schemas.
const (
	MaxSchemaBytes  = 256 << 10 // text of one schema
	MaxSchemaTypes  = 5000      // types in one schema, with those it refers to
	MaxSchemaDepth  = 64        // nesting of a schema, and of a value
	MaxReferences   = 50        // schemas that one schema refers to, and those they refer to
	maxFixedBytes   = 1 << 20
	maxDecimalDigit = 1000
)

// nullable reports whether null is one of its values, and the type without null. A union of more than one
// other branch stays a union.
func (t *avroType) nullable() (*avroType, bool) {
	if t.kind != kUnion {
		return t, t.kind == kNull
	}
	var rest []*avroType
	for _, b := range t.branches {
		if b.kind != kNull {
			rest = append(rest, b)
		}
	}
	switch {
	case len(rest) == len(t.branches):
		return t, false
	case len(rest) == 1:
		return rest[0], true
	}
	return &avroType{kind: kUnion, branches: rest}, true
}

// String is the type as messages name it.
func (t *avroType) String() string {
	if t.name != "" {
		return t.name
	}
	if t.logical != 0 {
		for name, l := range logicals {
			if l.logical == t.logical {
				return name
			}
		}
	}
	return t.kind.String()
}
