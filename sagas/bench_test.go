package sagas

import (
	"testing"
)

func benchMapping(b *testing.B, with string) {
	src := `{"saga":"t","version":1,"participants":{"p":{}},"steps":[
	  {"id":"auth","call":"p.x","kind":"readonly","keep":["authId"]},
	  {"id":"take","call":"p.x","kind":"readonly","with":` + with + `}]}`
	d, err := ParseDefinition("bench", []byte(src))
	if err != nil {
		b.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		b.Fatal(err)
	}
	s := testScope{
		input: `{"address":{"city":"Bern","street":"Gasse 1","zip":"3000"},"amount":1500,"card":{"brand":"visa","token":"tok_1234567890"},"currency":"EUR","items":[{"qty":1,"sku":"a"},{"qty":2,"sku":"b"}],"orderId":"order-1"}`,
		steps: map[string][2]string{"auth": {`{"authId":"A-1234567890"}`, "done"}, "take": {"", "idle"}},
	}
	m := p.Steps[1].With
	if _, err := m.JSON(s); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.JSON(s); err != nil {
			b.Fatal(err)
		}
	}
}

// Four fields that are plain paths, the common case.
func BenchmarkMappingJSONPlain(b *testing.B) {
	benchMapping(b, `{"amount":"=input.amount","currency":"=input.?currency.orValue('EUR')","token":"=input.card.token","authId":"=step.auth.?authId"}`)
}

// The same four fields, written so that each goes through CEL.
func BenchmarkMappingJSONExpressions(b *testing.B) {
	benchMapping(b, `{"amount":"=input.amount + 0","currency":"=input.currency + ''","token":"=input.card.token + ''","authId":"=step.auth.authId + ''"}`)
}

func BenchmarkMappingJSONLiteral(b *testing.B) {
	benchMapping(b, `{"amount":1500,"currency":"EUR","token":"t","authId":"a"}`)
}

// One condition, with and without the shortcut for plain paths.
func BenchmarkExpr(b *testing.B) {
	s := testScope{input: `{"amount":1500,"card":{"token":"tok_1234567890"},"ok":true}`}
	for _, c := range []struct {
		name string
		expr *Expr
	}{
		{"plain", mustExpr(b, `input.card.token`, wantJSON)},
		{"plain-by-CEL", viaCEL(b, `input.card.token`)},
		{"comparison", mustExpr(b, `input.amount > 1000 && input.ok`, wantJSON)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := c.expr.appendTo(nil, &evaluation{scope: s}, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseDefinition(b *testing.B) {
	d := parseFile(b, "testdata/good/card-payment.yaml")
	canonical := d.Canonical()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDefinition("bench", canonical); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalJSON(b *testing.B) {
	src := []byte(`{"orderId":"order-1","amount":1500,"currency":"EUR","card":{"token":"tok_1234567890","brand":"visa"},"items":[{"sku":"a","qty":1},{"sku":"b","qty":2}]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CanonicalJSON(src); err != nil {
			b.Fatal(err)
		}
	}
}
