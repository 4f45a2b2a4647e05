package schema

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

func mustParse(t testing.TB, text string, more ...string) *Schema {
	t.Helper()
	s, err := ParseSchema(text, more...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const orderSchema = `{"type":"record","name":"Order","namespace":"shop","fields":[
 {"name":"orderId","type":"string"},
 {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
 {"name":"count","type":"long"},
 {"name":"note","type":["null","string"],"default":null},
 {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"day","type":{"type":"int","logicalType":"date"}},
 {"name":"id","type":{"type":"string","logicalType":"uuid"}},
 {"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","PAID"]},"default":"NEW"},
 {"name":"tags","type":{"type":"map","values":"string"},"default":{}},
 {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"},{"name":"qty","type":"int"}]}}},
 {"name":"pay","type":["null",{"type":"record","name":"Card","fields":[{"name":"pan","type":"string"}]},{"type":"record","name":"Bank","fields":[{"name":"iban","type":"string"}]}],"default":null},
 {"name":"price","type":{"type":"record","name":"Money","fields":[{"name":"units","type":"long"},{"name":"nanos","type":"int","default":0},{"name":"ccy","type":"string"}]}}
]}`

const orderValue = `{"amount":"12.50","at":"2026-11-22T01:02:03.004Z","count":9007199254740993,"day":"2026-11-22","id":"0b1e7b1c-0000-4000-8000-000000000001",` +
	`"lines":[{"qty":2,"sku":"a"},{"qty":-1,"sku":"b"}],"note":"hi","orderId":"o-1","pay":{"iban":"DE1"},"price":{"ccy":"EUR","nanos":5,"units":3},"state":"PAID","tags":{"a":"1"}}`

func TestOrder(t *testing.T) {
	s := mustParse(t, orderSchema)
	b, err := s.Write(nil, []byte(orderValue))
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if string(back) != orderValue {
		t.Fatalf("got  %s\nwant %s", back, orderValue)
	}
	// Any other implementation reads the same.
	codec, err := goavro.NewCodec(orderSchema)
	if err != nil {
		t.Fatal(err)
	}
	native, rest, err := codec.NativeFromBinary(b)
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	rec := native.(map[string]any)
	if got := rec["amount"].(*big.Rat).FloatString(2); got != "12.50" {
		t.Errorf("another library reads the amount %s", got)
	}
	if got := rec["pay"].(map[string]any)["shop.Bank"]; got == nil {
		t.Errorf("another library reads the union %v", rec["pay"])
	}
	theirs, err := codec.BinaryFromNative(nil, native)
	if err != nil || !bytes.Equal(theirs, b) {
		t.Errorf("another library writes %x, %v; ours is %x", theirs, err, b)
	}
	if s.fingerprint != codec.Rabin {
		// The library's canonical form leaves logical types in; without them it must be the same.
		plain := strings.NewReplacer(`{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}`, `"bytes"`,
			`{"type":"long","logicalType":"timestamp-millis"}`, `"long"`, `{"type":"int","logicalType":"date"}`, `"int"`,
			`{"type":"string","logicalType":"uuid"}`, `"string"`).Replace(orderSchema)
		other, err := goavro.NewCodec(plain)
		if err != nil || other.Rabin != s.fingerprint {
			t.Errorf("fingerprint %x, another library has %x (%v)", s.fingerprint, other.Rabin, err)
		}
	}
	if s.Name() != "shop.Order" {
		t.Errorf("name %q", s.Name())
	}
}

// TestOurFingerprints compares with the fingerprints of the engine's own records, which are on the wire.
func TestOurFingerprints(t *testing.T) {
	fact, err := protocol.AppendLifecycle(nil, &protocol.Lifecycle{WorkflowID: "a/b", At: 1, Kind: "started", Phase: "RUNNING", Detail: []protocol.KV{{Key: "k", Value: "v"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := mustParse(t, protocol.Schema(protocol.SchemaLifecycle))
	former := binary.LittleEndian.Uint64(fact[2:])
	if s.fingerprint != former {
		t.Logf("the newest schema has %x, the record %x: it says nothing new", s.fingerprint, former)
	}
	value, err := s.Read(fact[10:])
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Wid    string            `json:"wid"`
		Detail map[string]string `json:"detail"`
	}
	if err := json.Unmarshal(value, &got); err != nil || got.Wid != "a/b" || got.Detail["k"] != "v" {
		t.Fatalf("%s: %v", value, err)
	}
	for _, name := range protocol.SchemaNames() {
		mustParse(t, protocol.Schema(name))
	}
}

func TestLogicalTypes(t *testing.T) {
	for _, c := range []struct{ schema, json, hex string }{
		{`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `"-0.05"`, "\x02\xfb"},
		{`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `"1.28"`, "\x04\x00\x80"},
		{`{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}`, `"-1.28"`, "\x02\x80"},
		{`{"type":"bytes","logicalType":"decimal","precision":9}`, `"0"`, "\x02\x00"},
		{`{"type":"fixed","name":"D","size":3,"logicalType":"decimal","precision":5,"scale":1}`, `"-0.1"`, "\xff\xff\xff"},
		{`{"type":"int","logicalType":"date"}`, `"1969-12-31"`, "\x01"},
		{`{"type":"int","logicalType":"time-millis"}`, `"00:00:01.5"`, "\xb8\x17"},
		{`{"type":"long","logicalType":"time-micros"}`, `"00:00:00.000001"`, "\x02"},
		{`{"type":"long","logicalType":"timestamp-millis"}`, `"1969-12-31T23:59:59.999Z"`, "\x01"},
		{`{"type":"long","logicalType":"timestamp-micros"}`, `"1970-01-01T00:00:00.000001Z"`, "\x02"},
		{`{"type":"long","logicalType":"timestamp-nanos"}`, `"1970-01-01T00:00:00.000000001Z"`, "\x02"},
		{`{"type":"long","logicalType":"local-timestamp-millis"}`, `"1970-01-01T00:00:00"`, "\x00"},
		{`{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}`, `"00112233-4455-6677-8899-aabbccddeeff"`, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"},
		{`{"type":"fixed","name":"F","size":2}`, `"/wI="`, "\xff\x02"},
		{`"bytes"`, `"/wI="`, "\x04\xff\x02"},
		{`"float"`, `0.1`, "\xcd\xcc\xcc\x3d"},
		{`"double"`, `2`, "\x00\x00\x00\x00\x00\x00\x00\x40"},
		{`{"type":"string","logicalType":"not-known"}`, `"x"`, "\x02x"},
		{`{"type":"string","logicalType":"date"}`, `"x"`, "\x02x"}, // on the wrong type it is none
	} {
		s := mustParse(t, c.schema)
		b, err := s.Write(nil, []byte(c.json))
		if err != nil || string(b) != c.hex {
			t.Errorf("%s of %s: %x, %v; want %x", c.schema, c.json, b, err, c.hex)
			continue
		}
		back, err := s.Read(b)
		if err != nil || string(back) != c.json {
			t.Errorf("%s of %x: %s, %v; want %s", c.schema, b, back, err, c.json)
		}
	}
}

func TestUnions(t *testing.T) {
	two := `{"type":"record","name":"A","fields":[{"name":"x","type":"int"},{"name":"y","type":"int","default":0}]}`
	for _, c := range []struct{ schema, json, bytes, want string }{ // want = how it comes back, "" = the same
		{`["null","long"]`, `null`, "\x00", ""},
		{`["null","long"]`, `5`, "\x02\x0a", ""},
		{`["int","long"]`, `5`, "\x00\x0a", ""},
		{`["int","long"]`, `5000000000`, "\x02\x80\xc8\xaf\xa0\x25", ""},
		{`["double","long"]`, `5`, "\x02\x0a", ""},
		{`["string",{"type":"enum","name":"E","symbols":["ON"]}]`, `"ON"`, "\x02\x00", ""},
		{`["string",{"type":"enum","name":"E","symbols":["ON"]}]`, `"OFF"`, "\x00\x06OFF", ""},
		{`["bytes","string"]`, `"AAAA"`, "\x02\x08AAAA", ""},
		{`["string",{"type":"int","logicalType":"date"}]`, `"1970-01-02"`, "\x02\x02", ""},
		{`["string",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]`, `"1.50"`, "\x02\x04\x00\x96", ""},
		{`["string",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]`, `"1.5"`, "\x00\x061.5", ""},
		{`["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]`, `1.5`, "\x02\x04\x00\x96", `"1.50"`},
		{`["double",{"type":"long","logicalType":"timestamp-millis"}]`, `2`, "\x00\x00\x00\x00\x00\x00\x00\x00\x40", ""},
		{`["null",{"type":"long","logicalType":"timestamp-millis"}]`, `2`, "\x02\x04", `"1970-01-01T00:00:00.002Z"`},
		{`["null",` + two + `,{"type":"map","values":"int"}]`, `{"x":1}`, "\x02\x02\x00", `{"x":1,"y":0}`},
		{`["null",` + two + `,{"type":"map","values":"int"}]`, `{"z":1}`, "\x04\x02\x02z\x02\x00", ""},
		{`[` + two + `,{"type":"record","name":"B","fields":[{"name":"x","type":"int"}]}]`, `{"B":{"x":1}}`, "\x02\x02", `{"x":1}`},
	} {
		s := mustParse(t, c.schema)
		b, err := s.Write(nil, []byte(c.json))
		if err != nil || string(b) != c.bytes {
			t.Errorf("%s of %s: %x, %v; want %x", c.schema, c.json, b, err, c.bytes)
			continue
		}
		want := c.want
		if want == "" {
			want = c.json
		}
		back, err := s.Read(b)
		if err != nil || string(back) != want {
			t.Errorf("%s of %x: %s, %v; want %s", c.schema, b, back, err, want)
		}
	}
}

func TestMisfits(t *testing.T) {
	order := mustParse(t, orderSchema)
	without := func(field string) string {
		var o map[string]any
		d := json.NewDecoder(strings.NewReader(orderValue))
		d.UseNumber()
		if err := d.Decode(&o); err != nil {
			t.Fatal(err)
		}
		delete(o, field)
		b, _ := json.Marshal(o)
		return string(b)
	}
	for _, c := range []struct {
		s          *Schema
		json, want string
	}{
		{order, without("orderId"), "orderId: it is missing, and shop.Order has no default for it"},
		{order, strings.Replace(orderValue, `"amount":"12.50"`, `"amount":"12.505"`, 1), "amount: it has more than the 2 digits behind the point"},
		{order, strings.Replace(orderValue, `"amount":"12.50"`, `"amount":"12345678901.50"`, 1), "amount: it has more than the 12 digits"},
		{order, strings.Replace(orderValue, `"qty":2`, `"qty":2.5`, 1), "lines.0.qty: want int, got a number that is no integer"},
		{order, strings.Replace(orderValue, `"qty":2`, `"qty":2000000000000`, 1), "lines.0.qty: want int, got a larger number"},
		{order, strings.Replace(orderValue, `"sku":"a"`, `"sku":1`, 1), "lines.0.sku: want string, got a number"},
		{order, strings.Replace(orderValue, `"state":"PAID"`, `"state":"OLD"`, 1), "state: it is no symbol of shop.State"},
		{order, strings.Replace(orderValue, `"note"`, `"notes"`, 1), "notes: shop.Order has no such field"},
		{order, `[]`, "want shop.Order, got an array"},
		{mustParse(t, `[{"type":"record","name":"A","fields":[{"name":"x","type":"int"}]},{"type":"record","name":"B","fields":[{"name":"x","type":"int"}]}]`), `{"x":1}`, "fits several records"},
		{mustParse(t, `{"type":"long","logicalType":"timestamp-millis"}`), `"2026-01-01T00:00:00.0001Z"`, "finer than timestamp-millis"},
	} {
		_, err := c.s.Write(nil, []byte(c.json))
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.json, err, c.want)
		}
	}
}

// TestHostileBytes: what bytes claim is not believed. Each of these would cost gigabytes or the stack.
func TestHostileBytes(t *testing.T) {
	list := `{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]}]}`
	for _, c := range []struct {
		name, schema string
		body         []byte
	}{
		{"a string of 2^62 bytes", `"string"`, binary.AppendVarint(nil, 1<<62)},
		{"a negative length", `"bytes"`, binary.AppendVarint(nil, -5)},
		{"a block of 2^62 items", `{"type":"array","items":"long"}`, binary.AppendVarint(nil, 1<<62)},
		{"the smallest count", `{"type":"array","items":"null"}`, binary.AppendVarint(nil, -1<<63)},
		{"nulls without end", `{"type":"array","items":"null"}`, bytes.Repeat(binary.AppendVarint(nil, 65536), 1<<17)},
		{"empty records without end", `{"type":"array","items":{"type":"record","name":"E","fields":[]}}`, bytes.Repeat(binary.AppendVarint(nil, 65536), 1<<17)},
		{"a million levels", list, bytes.Repeat([]byte{2}, 1<<20)},
		{"levels of arrays", `{"type":"record","name":"T","fields":[{"name":"c","type":{"type":"array","items":"T"}}]}`, bytes.Repeat([]byte{2}, 1<<20)},
		{"a varint without end", `"long"`, bytes.Repeat([]byte{0xFF}, 100)},
		{"a branch that is not there", `["null","int"]`, []byte{40}},
		{"a negative branch", `["null","int"]`, []byte{1}},
		{"a symbol that is not there", `{"type":"enum","name":"E","symbols":["A"]}`, []byte{2}},
		{"not a number", `"double"`, []byte{0, 0, 0, 0, 0, 0, 0xF8, 0x7F}},
		{"not UTF-8", `"string"`, []byte{2, 0xFF}},
		{"bytes behind the end", `"null"`, []byte{0}},
		{"the year 300000000", `{"type":"long","logicalType":"timestamp-millis"}`, binary.AppendVarint(nil, 1<<62)},
		{"the year -300000000", `{"type":"long","logicalType":"timestamp-micros"}`, binary.AppendVarint(nil, -1<<63)},
		{"a date far away", `{"type":"int","logicalType":"date"}`, binary.AppendVarint(nil, 1<<31-1)},
		{"a key twice", `{"type":"map","values":"null"}`, []byte{4, 2, 'a', 2, 'a', 0}},
		{"a boolean of 2", `"boolean"`, []byte{2}},
		{"nothing", `"long"`, nil},
		{"more than a record may hold", `"bytes"`, make([]byte, protocol.MaxRecordBytes+1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustParse(t, c.schema)
			var got []byte
			var err error
			allocated := testing.AllocsPerRun(1, func() { got, err = s.Read(c.body) })
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %.60s, %v; want ErrMalformed", got, err)
			}
			if allocated > 1000 {
				t.Errorf("%v allocations", allocated)
			}
		})
	}
}

func TestHostileSchemas(t *testing.T) {
	deep := strings.Repeat(`{"type":"array","items":`, 100) + `"int"` + strings.Repeat("}", 100)
	for name, text := range map[string]string{
		"too large":              `"` + strings.Repeat(" ", MaxSchemaBytes) + `int"`,
		"deep":                   deep,
		"many":                   `[` + strings.Repeat(`{"type":"array","items":"int"},`, MaxSchemaTypes) + `"int"]`,
		"not JSON":               `{`,
		"two":                    `"int" "int"`,
		"unknown name":           `"shop.Order"`,
		"union in a union":       `["null",["int"]]`,
		"branch twice":           `["int","int"]`,
		"no branches":            `[]`,
		"no fields":              `{"type":"record","name":"A"}`,
		"field twice":            `{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}`,
		"name with a quote":      `{"type":"record","name":"A\"","fields":[]}`,
		"defined twice":          `[{"type":"fixed","name":"A","size":1},{"type":"enum","name":"A","symbols":["X"]}]`,
		"size of a gigabyte":     `{"type":"fixed","name":"A","size":1073741824}`,
		"negative size":          `{"type":"fixed","name":"A","size":-1}`,
		"no symbols":             `{"type":"enum","name":"A","symbols":[]}`,
		"array without items":    `{"type":"array"}`,
		"number where a type is": `7`,
	} {
		if _, err := ParseSchema(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseSchema(`"int"`, make([]string, MaxReferences+1)...); !errors.Is(err, ErrMalformed) {
		t.Error("too many references are taken")
	}
}

// TestNames resolves names as the specification says.
func TestNames(t *testing.T) {
	s := mustParse(t, `{"type":"record","name":"a.b.R","fields":[
		{"name":"x","type":{"type":"fixed","name":"F","size":1}},
		{"name":"y","type":"F"},
		{"name":"z","type":"a.b.F"},
		{"name":"w","type":{"type":"record","name":"I","namespace":"c","fields":[{"name":"q","type":{"type":"enum","name":"E","symbols":["S"]}}]}},
		{"name":"v","type":"c.E"}]}`)
	if got := s.root.fields[1].typ.name; got != "a.b.F" {
		t.Errorf("F is %s", got)
	}
	if got := s.root.fields[4].typ.name; got != "c.E" {
		t.Errorf("E is %s", got)
	}
	refs := mustParse(t, `{"type":"record","name":"Top","fields":[{"name":"a","type":"a.b.R"}]}`, s.text)
	if refs.root.fields[0].typ.name != "a.b.R" {
		t.Error("a schema does not see the one it refers to")
	}
}

// drawSchema makes a schema in which every union is of branches that no value fits twice.
func drawSchema(t *rapid.T, names *int, depth int) any {
	leaf := []any{"null", "boolean", "int", "long", "double", "string", "bytes",
		map[string]any{"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3},
		map[string]any{"type": "long", "logicalType": "timestamp-micros"}, map[string]any{"type": "int", "logicalType": "date"}}
	name := func() string { *names++; return "N" + big.NewInt(int64(*names)).String() }
	if depth > 3 {
		return rapid.SampledFrom(leaf).Draw(t, "leaf")
	}
	switch rapid.IntRange(0, 8).Draw(t, "kind") {
	case 0:
		return map[string]any{"type": "array", "items": drawSchema(t, names, depth+1)}
	case 1:
		return map[string]any{"type": "map", "values": drawSchema(t, names, depth+1)}
	case 2, 3:
		var fields []any
		for i := range rapid.IntRange(0, 4).Draw(t, "fields") {
			fields = append(fields, map[string]any{"name": string(rune('z'-i)) + "f", "type": drawSchema(t, names, depth+1)})
		}
		if fields == nil {
			fields = []any{}
		}
		return map[string]any{"type": "record", "name": name(), "fields": fields}
	case 4:
		return []any{"null", rapid.SampledFrom([]any{"boolean", "long", "double", "string",
			map[string]any{"type": "array", "items": drawSchema(t, names, depth+1)}}).Draw(t, "branch")}
	case 5:
		return map[string]any{"type": "enum", "name": name(), "symbols": []any{"A", "B", "C"}}
	case 6:
		return map[string]any{"type": "fixed", "name": name(), "size": rapid.IntRange(0, 9).Draw(t, "size")}
	}
	return rapid.SampledFrom(leaf).Draw(t, "leaf")
}

// drawBody makes the bytes of a value of a type.
func drawBody(t *rapid.T, b []byte, at *avroType) []byte {
	count := func() int { return rapid.IntRange(0, 3).Draw(t, "count") }
	switch at.kind {
	case kBoolean:
		return append(b, byte(rapid.IntRange(0, 1).Draw(t, "bool")))
	case kInt:
		n := rapid.Int32().Draw(t, "int")
		if at.logical == lDate {
			n %= 100_000
		}
		return binary.AppendVarint(b, int64(n))
	case kLong:
		n := rapid.Int64().Draw(t, "long")
		if at.logical != 0 {
			n %= 4e15
		}
		return binary.AppendVarint(b, n)
	case kDouble:
		s := &Schema{root: at}
		text, _ := json.Marshal(rapid.Float64().Draw(t, "double") + 0) // canonical JSON has no negative zero, and -0 + 0 is 0
		out, err := s.Write(b, text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	case kString:
		s := rapid.String().Draw(t, "string")
		return append(binary.AppendVarint(b, int64(len(s))), s...)
	case kBytes:
		if at.logical == lDecimal {
			n, _ := decimalBytes(at, decimalText(binary.BigEndian.AppendUint64(nil, rapid.Uint64().Draw(t, "decimal")), at.scale))
			return append(binary.AppendVarint(b, int64(len(n))), n...)
		}
		s := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")
		return append(binary.AppendVarint(b, int64(len(s))), s...)
	case kFixed:
		return append(b, rapid.SliceOfN(rapid.Byte(), at.size, at.size).Draw(t, "fixed")...)
	case kEnum:
		return binary.AppendVarint(b, int64(rapid.IntRange(0, len(at.symbols)-1).Draw(t, "symbol")))
	case kUnion:
		i := rapid.IntRange(0, len(at.branches)-1).Draw(t, "branch")
		return drawBody(t, binary.AppendVarint(b, int64(i)), at.branches[i])
	case kRecord:
		for i := range at.fields {
			b = drawBody(t, b, at.fields[i].typ)
		}
	case kArray, kMap:
		n := count()
		if n > 0 {
			b = binary.AppendVarint(b, int64(n))
		}
		for i := range n {
			if at.kind == kMap {
				b = append(b, 2, byte('a'+i))
			}
			b = drawBody(t, b, at.item)
		}
		return append(b, 0)
	}
	return b
}

// TestRoundTrip: bytes become a value and the value becomes the bytes; another library reads what we write.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := 0
		text, err := json.Marshal(drawSchema(t, &names, 0))
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSchema(string(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		body := drawBody(t, nil, s.root)
		value, err := s.Read(body)
		if err != nil {
			t.Fatalf("%s: %x: %v", text, body, err)
		}
		if canonical, err := sagas.CanonicalJSON(value); err != nil || !bytes.Equal(canonical, value) {
			t.Fatalf("not canonical: %s, %v", value, err)
		}
		again, err := s.Write(nil, value)
		if err != nil {
			t.Fatalf("%s: %s: %v", text, value, err)
		}
		if !bytes.Equal(again, body) {
			t.Fatalf("%s: %s: %x became %x", text, value, body, again)
		}
		codec, err := goavro.NewCodec(string(text))
		if err != nil {
			t.Skip("the other library does not take the schema")
		}
		if _, rest, err := codec.NativeFromBinary(again); err != nil || len(rest) > 0 {
			t.Fatalf("%s: another library cannot read %x: %v", text, again, err)
		}
	})
}

// FuzzAvro feeds any bytes to any of a few schemas: no panic, a value that is canonical JSON or ErrMalformed, and
// what was read is written and read again as the same.
func FuzzAvro(f *testing.F) {
	schemas := []*Schema{
		mustParse(f, orderSchema),
		mustParse(f, `{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]},{"name":"v","type":["null","string","long",{"type":"array","items":"L"}]}]}`),
		mustParse(f, `{"type":"map","values":["null","double",{"type":"fixed","name":"F","size":2},{"type":"long","logicalType":"timestamp-nanos"}]}`),
		mustParse(f, protocol.Schema(protocol.SchemaLifecycle)),
	}
	b, err := schemas[0].Write(nil, []byte(orderValue))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, b)
	f.Add(1, []byte{0, 6, 2, 0, 0, 0})
	f.Add(2, []byte{2, 2, 'a', 2, 0, 0, 0, 0, 0, 0, 0, 64, 0})
	f.Add(3, []byte{})
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		s := schemas[uint(which)%uint(len(schemas))]
		value, err := s.Read(body)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		canonical, err := sagas.CanonicalJSON(value)
		if err != nil || !bytes.Equal(canonical, value) {
			t.Fatalf("not canonical: %s, %v", value, err)
		}
		again, err := s.Write(nil, value)
		if err != nil {
			return // such as a decimal of more digits than the schema allows
		}
		back, err := s.Read(again)
		if err != nil || !bytes.Equal(back, value) {
			t.Fatalf("%s came back as %s, %v", value, back, err)
		}
	})
}

// FuzzSchema: any text is a schema or ErrMalformed.
func FuzzSchema(f *testing.F) {
	f.Add(orderSchema)
	f.Add(`["null",{"type":"fixed","name":"a.B","size":"3"}]`)
	f.Add(`int`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchema(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again, err := ParseSchema(canonicalForm(s.root)); err != nil || again.fingerprint != s.fingerprint {
			t.Fatalf("the canonical form of %q does not have its fingerprint: %v", text, err)
		}
	})
}

// FuzzFrame: any headers and bytes have a frame or are malformed.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01"), []byte{0, 0, 0, 0, 1, 2}, true)
	f.Add([]byte{}, []byte{0xC3, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9}, false)
	f.Fuzz(func(t *testing.T, header, value []byte, has bool) {
		hs := headers()
		if has {
			hs = headers(HeaderSchema, string(header))
		}
		fr, err := readFrame(hs, value)
		if err == nil && (fr.id < 0 || len(fr.body) > len(value)) {
			t.Fatalf("%+v", fr)
		}
	})
}
