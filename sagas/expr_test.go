package sagas

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type testScope struct {
	InputOnly
	input string
	steps map[string][2]string // output, state
	now   Time
	key   string
}

func (s testScope) Input() []byte { return []byte(s.input) }
func (s testScope) Now() Time     { return s.now }
func (s testScope) Key() string   { return s.key }
func (s testScope) Step(path string) ([]byte, string, bool) {
	v, ok := s.steps[path]
	if v[0] == "" {
		return nil, v[1], ok
	}
	return []byte(v[0]), v[1], ok
}

func mustExpr(t rapid.TB, text string, want wantType) *Expr {
	t.Helper()
	e, problems := compileExpr(text, want)
	if len(problems) > 0 {
		t.Fatalf("%s: %v", text, problems)
	}
	return e
}

// viaCEL is the same expression without the shortcut for plain paths.
func viaCEL(t rapid.TB, text string) *Expr {
	t.Helper()
	checked, iss := celEnv.Compile(text)
	if iss.Err() != nil {
		t.Fatalf("%s: %v", text, iss.Err())
	}
	prog, err := program(celEnv, checked)
	if err != nil {
		t.Fatal(err)
	}
	return &Expr{text: text, prog: prog}
}

func evalJSON(e *Expr, s Scope) string {
	raw, has, err := e.appendTo(nil, &evaluation{scope: s}, 0)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case !has:
		return "nothing"
	}
	return string(raw)
}

func TestExprResults(t *testing.T) {
	s := testScope{
		input: `{"amount":1500,"big":12345678901234567890,"card":{"token":"t"},"f":0.5,"huge":12345678901234567.89,"lines":[{"qty":2,"sku":"a"}],"n":null,"ok":true,"price":"12.50","z":{"b":1,"a":2}}`,
		steps: map[string][2]string{"auth": {`{"authId":"A1"}`, "done"}, "capture": {"", "unknown"}},
		now:   1_700_000_000_000,
		key:   "k-1",
	}
	s.input = string(must(CanonicalJSON([]byte(s.input))))
	for _, c := range []struct{ expr, want string }{
		{`input.amount`, `1500`},
		{`input.big`, `12345678901234567890`},
		{`input.huge`, `12345678901234567.89`},
		{`input.card`, `{"token":"t"}`},
		{`[input.z]`, `[{"a":2,"b":1}]`},
		{`input.missing`, `error: expression "input.missing": no such key: missing`},
		{`input.?missing`, `nothing`},
		{`input.?missing.orValue("x")`, `"x"`},
		{`input.?amount.orValue(1)`, `1500`},
		{`input.amount + 1`, `1501`},
		{`input.amount > 10.5`, `true`},
		{`input.big + 1`, `error: expression "input.big + 1": the number 12345678901234567890 has more digits than an expression can hold; pass it as a string and use dec.*`},
		{`step.auth.authId`, `"A1"`},
		{`step.auth.state`, `"done"`},
		{`step.capture.state == "unknown"`, `true`},
		{`step.capture.?id`, `nothing`},
		{`step.auth`, `{"authId":"A1","state":"done"}`},
		{`has(step.capture.id)`, `false`},
		{`saga.now`, `"2023-11-14T22:13:20Z"`},
		{`saga.now + duration("24h")`, `"2023-11-15T22:13:20Z"`},
		{`key`, `"k-1"`},
		{`dec.add(input.price, "0.5")`, `"13.00"`},
		{`dec.sub("1", "1.25")`, `"-0.25"`},
		{`dec.mul("1.5", "-2.05")`, `"-3.075"`},
		{`dec.ge(input.amount, "1500.00")`, `true`},
		{`dec.cmp("1", "1.0")`, `0`},
		{`dec.eq("1.10", "1.1") && dec.lt("-1", "0") && dec.gt("2", "1") && dec.le("1", "1")`, `true`},
		{`dec.add("1e3", "1")`, `error: expression "dec.add(\"1e3\", \"1\")": dec.add: "1e3" is not a decimal such as "12.50"`},
		{`{"b": 1, "a": [null, 2.0, 1u]}`, `{"a":[null,2,1],"b":1}`},
		{`{"b": 1, "a": 2}.map(k, k)`, `["a","b"]`},
		{`input.z.map(k, k)`, `["a","b"]`},
		{`{1: 2}`, `error: expression "{1: 2}": a key of the result is of type int, JSON has only strings`},
		{`1.0 / 0.0`, `error: expression "1.0 / 0.0": the result is +Inf, which JSON cannot hold`},
		{`1 / 0`, `error: expression "1 / 0": division by zero`},
		{`b"ab"`, `"YWI="`},
		{`duration("90s")`, `"90s"`},
		{`input.lines.map(l, l.sku + "!")`, `["a!"]`},
	} {
		e := mustExpr(t, c.expr, wantJSON)
		if got := evalJSON(e, s); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.expr, got, c.want)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestExprBoolAndString(t *testing.T) {
	s := testScope{input: `{"id":7,"name":"n","ok":true}`}
	if ok, err := mustExpr(t, `input.ok`, wantBool).Bool(s); err != nil || !ok {
		t.Errorf("Bool: %v %v", ok, err)
	}
	if _, err := mustExpr(t, `input.name`, wantBool).Bool(s); err == nil {
		t.Error("Bool of a string: want an error")
	}
	for expr, want := range map[string]string{`input.name`: "n", `input.id`: "7", `"a-" + string(input.id)`: "a-7"} {
		if got, err := mustExpr(t, expr, wantString).String(s); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", expr, got, err, want)
		}
	}
	if _, err := mustExpr(t, `input.ok`, wantString).String(s); err == nil {
		t.Error("String of a boolean: want an error")
	}
}

func TestExprRefused(t *testing.T) {
	for _, c := range []struct {
		expr string
		want wantType
		text string
	}{
		{`inptu.x`, wantJSON, "undeclared reference to 'inptu'"},
		{`1 +`, wantJSON, "Syntax error"},
		{`"x"`, wantBool, "want bool, got string"},
		{`1.5`, wantString, "want string, got double"},
		{`type(1)`, wantJSON, "want a JSON value"},
		{`step`, wantJSON, "step needs the id"},
		{`step[input.x].y`, wantJSON, "step needs the id"},
		{`step.map(k, k)`, wantJSON, "step needs the id"},
		{`[1].map(step, step)`, wantJSON, "has a meaning already"},
		{`saga.now.getHours("Europe/Berlin")`, wantJSON, "no matching overload"},
		{`saga`, wantJSON, "undeclared reference"},
		{strings.Repeat("(", 60) + "1" + strings.Repeat(")", 60), wantJSON, "recursion"},
		{strings.Repeat("1+", 2000) + "1", wantJSON, ""},
		{strings.Repeat("x", MaxExprBytes+1), wantJSON, "limit"},
		{"\xff", wantJSON, "UTF-8"},
	} {
		e, problems := compileExpr(c.expr, c.want)
		if e != nil || len(problems) == 0 {
			t.Errorf("%.60s: compiles", c.expr)
			continue
		}
		if !strings.Contains(problems[0].text, c.text) {
			t.Errorf("%.60s: %q, want %q", c.expr, problems[0].text, c.text)
		}
	}
}

// An expression cannot use more than its share, whatever it describes.
func TestExprLimits(t *testing.T) {
	doubled := func(lit string, n int) string { return `["x"]` + strings.Repeat(`.map(y, `+lit+`)`, n) }
	s := testScope{input: `{"l":[` + strings.Repeat("1,", 2000) + `1],"m":{"a":1}}`}
	for _, c := range []struct{ expr, want string }{
		{`input.l.map(a, input.l.map(b, a + b))`, "cost limit"},
		{`input.l.exists(a, input.l.exists(b, a + b < 0))`, "cost limit"},
		{doubled(`[y, y]`, 5), `[[[[[["x","x"]`},
		{doubled(`[y, y]`, 25), "more than 10000 parts"},
		{doubled(`{"a": y, "b": y}`, 25), "more than 10000 parts"},
		{doubled(`[optional.of(y), optional.of(y)]`, 25), "more than 10000 parts"},
		{`[` + doubled(`[y, y]`, 25) + `].map(a, a == a)`, "more than 10000 parts"},
		{`[[1]]` + strings.Repeat(`.map(y, y + y)`, 25), "more than 10000 parts"},
		{`["` + strings.Repeat("x", 1000) + `"]` + strings.Repeat(`.map(y, y + y)`, 25), "error: "},
		{`[input.l, input.l, input.l, input.l, input.l].size()`, "5"},
		{`input.m[` + doubled(`[y, y]`, 25) + `]`, "more than 10000 parts"},
	} {
		got := evalJSON(mustExpr(t, c.expr, wantJSON), s)
		if !strings.Contains(got, c.want) {
			t.Errorf("%.60s: %.100s", c.expr, got)
		}
	}
}

// The same scope gives the same bytes, however often: nothing depends on the order of a Go map.
func TestExprIsDeterministic(t *testing.T) {
	s := testScope{input: `{"m":{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8}}`}
	for _, expr := range []string{
		`{"q": 1, "w": 2, "e": 3, "r": 4, "t": 5, "y": 6, "u": 7, "i": 8}.map(k, k)`,
		`{3: 1, 1: 2, 2: 3, 9: 4, 8: 5, 7: 6}.filter(k, k > 0)`,
		`input.m.map(k, k)`,
		`(input.m.a == 1 ? {"z": 1, "y": 2, "x": 3} : {"y": 1}).map(k, k)`,
		`[{"z": 1, "y": 2, "x": 3}].map(m, m.map(k, k))`,
		`{"z": 1, "y": 2, "x": 3}.exists_one(k, k == "x") ? {"c": 1, "a": 2} : {}`,
		`input.m.all(k, input.m[k] / (input.m[k] - 5) < 100)`,
	} {
		e := mustExpr(t, expr, wantJSON)
		first := evalJSON(e, s)
		for i := range 200 {
			if i%20 == 0 {
				e = mustExpr(t, expr, wantJSON) // nor on the compilation
			}
			if got := evalJSON(e, s); got != first {
				t.Fatalf("%s: %s, then %s", expr, first, got)
			}
		}
	}
}

// A plain path gives what CEL gives.
func TestPlainPathEqualsCEL(t *testing.T) {
	names := []string{"a", "b", "c", "state", "é"}
	var gen func(depth int) *rapid.Generator[any]
	gen = func(depth int) *rapid.Generator[any] {
		scalars := rapid.OneOf(
			rapid.Just[any](nil),
			rapid.Map(rapid.Bool(), func(b bool) any { return b }),
			rapid.Map(rapid.Int64(), func(n int64) any { return n }),
			rapid.Map(rapid.Float64Range(-1e12, 1e12), func(f float64) any { return f }),
			rapid.Map(rapid.String(), func(s string) any { return strings.ToValidUTF8(s, "?") }),
		)
		if depth == 0 {
			return scalars
		}
		return rapid.OneOf(scalars, rapid.Custom(func(t *rapid.T) any {
			o := &object{}
			for _, n := range names {
				if rapid.Bool().Draw(t, "has") {
					o.set(n, gen(depth-1).Draw(t, n))
				}
			}
			return o
		}), rapid.Custom(func(t *rapid.T) any {
			return append([]any{}, rapid.SliceOfN(gen(depth-1), 0, 3).Draw(t, "list")...)
		}))
	}
	obj := func(t *rapid.T, label string) string {
		o := &object{}
		for _, n := range names {
			if rapid.Bool().Draw(t, "has") {
				o.set(n, gen(3).Draw(t, label+n))
			}
		}
		return string(must(CanonicalJSON(appendJSON(nil, o))))
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := testScope{input: obj(rt, "in"), steps: map[string][2]string{}}
		for _, id := range []string{"x", "y"} {
			switch rapid.IntRange(0, 2).Draw(rt, "step") {
			case 1:
				s.steps[id] = [2]string{"", "unknown"}
			case 2:
				s.steps[id] = [2]string{obj(rt, id), "done"}
			}
		}
		var text strings.Builder
		text.WriteString(rapid.SampledFrom([]string{"input", "step.x", "step.y"}).Draw(rt, "root"))
		optional := false
		for range rapid.IntRange(1, 4).Draw(rt, "len") {
			name := rapid.SampledFrom(names[:4]).Draw(rt, "name")
			switch rapid.IntRange(0, 3).Draw(rt, "how") {
			case 0:
				text.WriteString(".?" + name)
				optional = true
			case 1:
				text.WriteString(`[?"` + rapid.SampledFrom(names).Draw(rt, "name") + `"]`)
				optional = true
			default:
				text.WriteString("." + name)
			}
		}
		if optional && rapid.Bool().Draw(rt, "default") {
			text.WriteString(rapid.SampledFrom([]string{`.orValue("d")`, `.orValue(1)`, `.orValue(-1)`, `.orValue(false)`, `.orValue(null)`, `.orValue([])`, `.orValue({})`}).Draw(rt, "or"))
		}
		fast := mustExpr(rt, text.String(), wantJSON)
		if fast.plain == nil {
			rt.Fatalf("%s is not seen as a plain path", text.String())
		}
		got, want := evalJSON(fast, s), evalJSON(viaCEL(rt, text.String()), s)
		if strings.HasPrefix(got, "error: ") && strings.HasPrefix(want, "error: ") {
			return
		}
		if got != want {
			rt.Fatalf("%s over %+v\nplain: %s\nCEL:   %s", text.String(), s, got, want)
		}
	})
}
