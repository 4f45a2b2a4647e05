package sagas

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// nodeScope is a testScope inside an each, a round and an await.
type nodeScope struct {
	testScope
	items   map[string]string
	index   uint32
	round   uint32
	signals map[string]string
	event   string
}

func (s nodeScope) Item(name string) ([]byte, uint32) {
	if v, ok := s.items[name]; ok {
		return []byte(v), s.index
	}
	return nil, 0
}
func (s nodeScope) Round() uint32 { return s.round }
func (s nodeScope) Signal(name string) []byte {
	if v, ok := s.signals[name]; ok {
		return []byte(v)
	}
	return nil
}
func (s nodeScope) Event() []byte { return []byte(s.event) }

func envOf(t rapid.TB, items ...string) exprEnv {
	t.Helper()
	x := exprEnv{env: celEnv}
	for _, item := range items {
		var err error
		if x, err = x.within(item); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func TestExprOfNodes(t *testing.T) {
	s := nodeScope{
		testScope: testScope{input: `{"card":"old","lines":[{"price":"1.25"},{"price":"2.5"}]}`, steps: map[string][2]string{"charge": {`{"id":"c1"}`, "DONE"}}, now: 1000},
		items:     map[string]string{"order": `{"id":"o1"}`, "line": `{"sku":"a","qty":2,"big":12345678901234567890,"a":{"b":[1]}}`, "n": `7`},
		index:     4, round: 3,
		signals: map[string]string{"card-updated": `{"card":"new"}`, "empty": `null`},
		event:   `{"status":"OK","ref":{"n":1}}`,
	}
	x := envOf(t, "n", "order", "line")
	for _, c := range []struct{ expr, want string }{
		{`line.sku`, `"a"`},
		{`line`, `{"sku":"a","qty":2,"big":12345678901234567890,"a":{"b":[1]}}`},
		{`line.big`, `12345678901234567890`},
		{`line.?none.orValue("x")`, `"x"`},
		{`line.?none`, `nothing`},
		{`line.none`, `error: expression "line.none": no such key: none`},
		{`line.a.b[0]`, `1`},
		{`n`, `7`},
		{`n + 1`, `8`},
		{`order.id + "/" + line.sku + "/" + string(index)`, `"o1/a/4"`},
		{`index`, `4`},
		{`round.n`, `3`},
		{`round.charge.state == "DONE"`, `true`},
		{`round.charge.id`, `"c1"`},
		{`round.?other`, `nothing`},
		{`round["n"] + 1`, `4`},
		{`signals.has("card-updated")`, `true`},
		{`signals.has("none")`, `false`},
		{`signals.has("empty")`, `true`},
		{`signals.last("card-updated").?card.orValue(input.card)`, `"new"`},
		{`signals.last("none").?card.orValue(input.card)`, `"old"`},
		{`signals.last("card-updated")`, `{"card":"new"}`},
		{`signals.last("none")`, `nothing`},
		{`event.status == "OK" && event.ref.n > 0`, `true`},
		{`event.ref`, `{"n":1}`},
		{`[1, 2].map(round, round + 1)`, `[2,3]`}, // an old definition may have such a variable
		{`[1, 2].map(index, index * 2)`, `[2,4]`},
		{`[{"x": 1}].map(event, event.x)`, `[1]`},
		{`dec.sum(input.lines.map(l, l.price))`, `"3.75"`},
		{`dec.sum([])`, `"0"`},
		{`dec.neg("1.50")`, `"-1.50"`},
		{`dec.abs("-2")`, `"2"`},
		{`dec.min("1.5", 1)`, `"1"`},
		{`dec.max("1.5", 1)`, `"1.5"`},
		{`[dec.round("2.345", 2), dec.round("2.355", 2), dec.round("-2.345", 2), dec.round("2.5", 0), dec.round(7, 2)]`, `["2.34","2.36","-2.34","2","7.00"]`},
		{`[dec.div("10", "3", 2), dec.div("-10", 3, 2), dec.div(1, 8, 2), dec.div(3, 8, 2), dec.div("0.001", "0.002", 0)]`, `["3.33","-3.33","0.12","0.38","0"]`},
		{`dec.div(1, "0.00", 2)`, `error: expression "dec.div(1, \"0.00\", 2)": dec.div: division by zero`},
		{`dec.round("1", 31)`, `error: expression "dec.round(\"1\", 31)": dec.round: the number of digits must be from 0 to 30`},
		{`money.of("12.50", "EUR")`, `{"ccy":"EUR","nanos":500000000,"units":12}`},
		{`money.of("-0.5", "EUR")`, `{"ccy":"EUR","nanos":-500000000,"units":0}`},
		{`money.amount(money.of("12.50", "EUR"))`, `"12.5"`},
		{`money.amount(money.add(money.of("0.7", "EUR"), {"units": 0, "nanos": 300000000, "ccy": "EUR"}))`, `"1"`},
		{`money.amount(money.sub(money.of(1, "EUR"), money.of("1.25", "EUR")))`, `"-0.25"`},
		{`money.amount(money.mul(money.of("9.99", "EUR"), 3))`, `"29.97"`},
		{`money.amount(money.mul(money.of("9.99", "EUR"), "0.5"))`, `"4.995"`},
		{`money.amount(money.sum([money.of(1, "EUR"), money.of("2.5", "EUR")]))`, `"3.5"`},
		{`money.gt(money.of(2, "EUR"), money.of(1, "EUR")) && money.ge(money.of(1, "EUR"), money.of(1, "EUR")) && money.eq(money.of(1, "EUR"), money.of("1.0", "EUR"))`, `true`},
		{`money.lt(money.of(2, "EUR"), money.of(1, "EUR")) || money.le(money.of(2, "EUR"), money.of(1, "EUR")) || money.cmp(money.of(1, "EUR"), money.of(2, "EUR")) > 0`, `false`},
		{`money.add(money.of(1, "EUR"), money.of(1, "USD"))`, `error: expression "money.add(money.of(1, \"EUR\"), money.of(1, \"USD\"))": money.add: the currencies differ`},
		{`money.sum([money.of(1, "EUR"), money.of(1, "USD")])`, `error: expression "money.sum([money.of(1, \"EUR\"), money.of(1, \"USD\")])": money.sum: the currencies differ`},
		{`money.of("0.0000000001", "EUR")`, `error: expression "money.of(\"0.0000000001\", \"EUR\")": money.of: 0.0000000001 has more than 9 digits after the point; use dec.round`},
		{`money.amount({"units": 1, "nanos": -1, "ccy": "EUR"})`, `error: expression "money.amount({\"units\": 1, \"nanos\": -1, \"ccy\": \"EUR\"})": money.amount: want money such as {units: 12, nanos: 500000000, ccy: "EUR"}: nanos -1 do not fit units 1`},
		{`money.amount(line)`, `error: expression "money.amount(line)": money.amount: want money such as {units: 12, nanos: 500000000, ccy: "EUR"}: units is not an integer`},
		{`money.of("99999999999999999999", "EUR")`, `error: expression "money.of(\"99999999999999999999\", \"EUR\")": money: the amount is too large`},
	} {
		e, problems := x.compile(c.expr, wantJSON)
		if len(problems) > 0 {
			t.Errorf("%s: %v", c.expr, problems)
			continue
		}
		if got := evalJSON(e, s); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.expr, got, c.want)
		}
	}
	for _, c := range []struct{ expr, text string }{
		{`round`, "round needs n or the id"},
		{`round[line.sku]`, "round needs n or the id"},
		{`signals`, "want a JSON value"},
		{`signals.size()`, "no matching overload"},
		{`[1].map(line, line)`, "has a meaning already"},
		{`other.x`, "undeclared reference"},
		{`money.add(1, 2)`, "no matching overload"},
	} {
		if e, problems := x.compile(c.expr, wantJSON); e != nil || !strings.Contains(problems[0].text, c.text) {
			t.Errorf("%s: %v, want %s", c.expr, problems, c.text)
		}
	}
	// Outside the each, its item has no meaning.
	if e, _ := compileExpr(`line.sku`, wantJSON); e != nil {
		t.Error("an item outside its each compiles")
	}
}

// A sum costs its list, so it cannot be used to go around the limit.
func TestSumsCost(t *testing.T) {
	s := testScope{input: `{"l":[` + strings.Repeat("1,", 20_000) + `1]}`}
	if got := evalJSON(mustExpr(t, `dec.sum(input.l)`, wantJSON), s); !strings.Contains(got, "cost limit") {
		t.Errorf("%.100s", got)
	}
}

// The plain path to an item gives what CEL gives.
func TestPlainItems(t *testing.T) {
	x := envOf(t, "line")
	s := nodeScope{items: map[string]string{"line": `{"a":{"b":null,"c":[1,"x"]},"s":"t"}`}}
	for _, text := range []string{"line", "line.a", "line.a.b", "line.a.?b", "line.?x", "line.x", "line.?x.orValue({})", "line.s.x", "line.?s.x", `line[?"s"]`, "line.a.c"} {
		fast, problems := x.compile(text, wantJSON)
		if problems != nil || fast.plain == nil {
			t.Errorf("%s is not seen as a plain path: %v", text, problems)
			continue
		}
		checked, iss := x.env.Compile(text)
		if iss.Err() != nil {
			t.Fatal(iss.Err())
		}
		slow := &Expr{text: text, prog: must(program(x.env, checked))}
		got, want := evalJSON(fast, s), evalJSON(slow, s)
		if got != want && !(strings.HasPrefix(got, "error: ") && strings.HasPrefix(want, "error: ")) {
			t.Errorf("%s: plain %s, CEL %s", text, got, want)
		}
	}
}
