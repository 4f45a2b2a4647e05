package sagas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCanonicalJSON(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{` { "b" : 1 , "a" : [ ] } `, `{"a":[],"b":1}`},
		{`{"é":1,"z":2,"a":{}}`, `{"a":{},"z":2,"é":1}`},
		{`"\u0041\u00e9\ud83d\ude00\/\"\\\n\u0001\u007f"`, "\"Aé😀/\\\"\\\\\\n\\u0001\u007f\""},
		{`1`, `1`}, {`-0`, `0`}, {`0.0`, `0`}, {`1.0`, `1`}, {`1.50`, `1.5`}, {`100e-2`, `1`}, {`1e3`, `1000`}, {`1E+2`, `100`},
		{`-12.5e-1`, `-1.25`}, {`0.000001`, `0.000001`}, {`0.0000001`, `1e-7`}, {`1.5e-9`, `1.5e-9`},
		{`9223372036854775807`, `9223372036854775807`}, {`-9223372036854775808`, `-9223372036854775808`},
		{`9223372036854775808`, `9223372036854775808`}, {`12345678901234567890123`, `12345678901234567890123`},
		{`1e30`, `1000000000000000000000000000000`}, {`1e200`, `1e200`}, {`1.5e300`, `1.5e300`}, {`2e-400`, `2e-400`},
		{`12345678901234567.89`, `12345678901234567.89`}, {`0.1000000000000000055511151231257827`, `0.1000000000000000055511151231257827`},
		{`true`, `true`}, {`null`, `null`}, {`[1,"a",null,{"x":[false]}]`, `[1,"a",null,{"x":[false]}]`},
	} {
		got, err := CanonicalJSON([]byte(c.src))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s %v, want %s", c.src, got, err, c.want)
		}
		if again, err := CanonicalJSON(got); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: not stable: %s %v", got, again, err)
		}
	}
}

func TestCanonicalJSONRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	if _, err := CanonicalJSON([]byte(deep(MaxValueDepth))); err != nil {
		t.Errorf("depth at the limit: %v", err)
	}
	for name, src := range map[string]string{
		"empty": "", "blank": " ", "two values": "1 2", "comma": "[1,]", "comma in object": `{"a":1,}`, "no colon": `{"a" 1}`,
		"no quotes": `{a:1}`, "single quotes": `{'a':1}`, "leading zero": "01", "plus": "+1", "dot": "1.", "lone dot": ".5",
		"bare exponent": "1e", "NaN": "NaN", "hex": "0x1", "minus": "-", "open string": `"a`, "open array": "[1", "open object": `{"a":1`,
		"control": "\"a\nb\"", "bad escape": `"\x"`, "half surrogate": `"\ud800"`, "wrong surrogate": `"\ud800\u0041"`, "short escape": `"\u00"`,
		"invalid UTF-8": "\"\xff\"", "duplicate": `{"a":1,"a":2}`, "duplicate later": `{"b":1,"a":1,"b":2}`, "escaped duplicate": `{"a":1,"\u0061":2}`,
		"depth": deep(MaxValueDepth + 1), "size": `"` + strings.Repeat("a", MaxValueBytes) + `"`, "long number": strings.Repeat("1", maxNumberBytes+1),
		"exponent": "1e99999", "comment": "// x\n1", "deep and unclosed": strings.Repeat(`{"a":`, 1000), "truu": "truu",
	} {
		if got, err := CanonicalJSON([]byte(src)); err == nil {
			t.Errorf("%s: gives %.60s", name, got)
		}
	}
}

func TestKeepFieldsAndMerge(t *testing.T) {
	for _, c := range []struct {
		output string
		keep   []string
		want   string
	}{
		{`{"c": 3, "a": 1.0, "b": {"z": 1, "y": 2}}`, []string{"b", "a", "missing"}, `{"a":1,"b":{"y":2,"z":1}}`},
		{``, []string{"a"}, `{}`}, {`null`, []string{"a"}, `{}`}, {`not JSON`, nil, `{}`},
	} {
		got, err := KeepFields([]byte(c.output), c.keep)
		if err != nil || string(got) != c.want {
			t.Errorf("KeepFields(%s): %s %v, want %s", c.output, got, err, c.want)
		}
	}
	for _, output := range []string{`[1]`, `"x"`, `{`} {
		if got, err := KeepFields([]byte(output), []string{"a"}); err == nil {
			t.Errorf("KeepFields(%s): %s, want an error", output, got)
		}
	}
	got, err := MergeObjects([]byte(`{"a":1,"b":{"x":1}}`), []byte(`{"b":{"y":2},"c":3}`))
	if err != nil || string(got) != `{"a":1,"b":{"y":2},"c":3}` {
		t.Errorf("MergeObjects: %s %v", got, err)
	}
	if got, err := MergeObjects(nil, nil); err != nil || string(got) != `{}` {
		t.Errorf("MergeObjects of nothing: %s %v", got, err)
	}
	if _, err := MergeObjects([]byte(`[]`), nil); err == nil {
		t.Error("MergeObjects of a list: want an error")
	}
}

func TestInputRule(t *testing.T) {
	r := &InputRule{InputDecl{Required: []string{"amount", "id"}, Properties: map[string]string{"amount": "integer", "id": "string", "rate": "number", "ok": "boolean", "o": "object", "l": "array"}}}
	for input, want := range map[string]string{
		`{"amount":1,"id":"a"}`: "",
		`{"amount":12345678901234567890,"id":"a","rate":1.5,"ok":true,"o":{},"l":[],"more":1}`: "",
		`{"amount":1.5}`:                      `input: field "id" is missing; field "amount" is a number, want integer`,
		`{"amount":null,"id":"a","rate":"1"}`: `input: field "amount" is null, want integer; field "rate" is a string, want number`,
		`[1]`:                                 `the input is an array, want an object`,
		``:                                    `the input is empty, want a JSON object`,
	} {
		got := ""
		if err := r.Check([]byte(input)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", input, got, want)
		}
	}
	var none *InputRule
	if err := none.Check([]byte(`{}`)); err != nil {
		t.Error(err)
	}
	if err := none.Check([]byte(`1`)); err == nil {
		t.Error("a nil rule accepts a number")
	}
}

// jsonValue draws any value of the model.
func jsonValue(depth int) *rapid.Generator[any] {
	scalars := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.Float64(), func(f float64) any {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return int64(0)
			}
			return f
		}),
		rapid.Map(rapid.String(), func(s string) any { return strings.ToValidUTF8(s, "?") }),
	)
	if depth == 0 {
		return scalars
	}
	return rapid.OneOf(scalars,
		rapid.Custom(func(t *rapid.T) any {
			o := &object{}
			for _, k := range rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "keys") {
				o.set(strings.ToValidUTF8(k, "?"), jsonValue(depth-1).Draw(t, "field"))
			}
			return o
		}),
		rapid.Custom(func(t *rapid.T) any {
			return append([]any{}, rapid.SliceOfN(jsonValue(depth-1), 0, 3).Draw(t, "list")...)
		}))
}

// shuffled writes a value with its keys in any order and with blanks.
func shuffled(t *rapid.T, v any) string {
	switch v := v.(type) {
	case *object:
		parts := make([]string, len(v.fields))
		for i, f := range v.fields {
			parts[i] = fmt.Sprintf("%s :\t%s", appendString(nil, f.key), shuffled(t, f.val))
		}
		if len(parts) > 1 {
			parts = rapid.Permutation(parts).Draw(t, "order")
		}
		return "{ " + strings.Join(parts, " , ") + "\n}"
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = shuffled(t, x)
		}
		return "[" + strings.Join(parts, " ,") + "]"
	}
	return string(appendJSON(nil, v))
}

// The canonical form does not depend on key order and layout, is stable, and means the same as its
// source to another JSON reader.
func TestCanonicalJSONIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := jsonValue(4).Draw(t, "value")
		want := appendJSON(nil, v)
		src := shuffled(t, v)
		got, err := CanonicalJSON([]byte(src))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s\n gives %s %v\n  want %s", src, got, err, want)
		}
		var a, b any
		if err := json.Unmarshal([]byte(src), &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &b); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%s means %v, canonical means %v", src, a, b)
		}
		o := &object{}
		o.set("k", v)
		raw, found, err := rawField(appendJSON(nil, o), []byte(`"k"`))
		if err != nil || !found || !bytes.Equal(raw, want) {
			t.Fatalf("rawField: %s %v %v", raw, found, err)
		}
	})
}
