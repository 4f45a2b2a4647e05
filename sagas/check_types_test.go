package sagas

import (
	"strings"
	"testing"
)

// typesForTest are those of a shop, as package schema makes them of Avro.
func typesForTest() func(TypeUse) *ValueType {
	text, number, whole := &ValueType{Kind: KindText}, &ValueType{Kind: KindNumber}, &ValueType{Kind: KindInt}
	decimal := &ValueType{Kind: KindDecimal, Name: "decimal"}
	money := &ValueType{Kind: KindRecord, Name: "shop.Money", Fields: []TypeField{{"ccy", text, false}, {"nanos", whole, true}, {"units", whole, false}}}
	line := &ValueType{Kind: KindRecord, Name: "shop.Line", Fields: []TypeField{{"qty", whole, false}, {"sku", text, false}}}
	order := &ValueType{Kind: KindRecord, Name: "shop.Order", Fields: []TypeField{
		{"at", &ValueType{Kind: KindTime, Name: "timestamp-millis"}, false},
		{"count", whole, false},
		{"discount", &ValueType{Kind: KindInt, Nullable: true}, true},
		{"lines", &ValueType{Kind: KindList, Elem: line}, false},
		{"orderId", text, false},
		{"paid", &ValueType{Kind: KindBool}, false},
		{"rate", number, false},
		{"total", text, false},
		{"price", money, false},
		{"amount", decimal, false},
	}}
	authorise := &ValueType{Kind: KindRecord, Name: "psp.Authorise", Fields: []TypeField{
		{"amount", money, false}, {"currency", text, false}, {"note", &ValueType{Kind: KindText, Nullable: true}, true},
		{"lines", &ValueType{Kind: KindList, Elem: line}, true}, {"limit", decimal, true}, {"fast", &ValueType{Kind: KindBool}, true},
	}}
	void := &ValueType{Kind: KindRecord, Name: "psp.Void", Fields: []TypeField{{"authId", text, false}}}
	done := &ValueType{Kind: KindRecord, Name: "psp.Done", Fields: []TypeField{{"authId", text, false}}}
	return func(u TypeUse) *ValueType {
		switch u.Record {
		case "shop.Order":
			return order
		case "psp.Authorise":
			return authorise
		case "psp.Void":
			return void
		case "psp.Done":
			return done
		}
		return nil
	}
}

const typedText = `saga: t
version: 1
input: shop.Order
id: =input.orderId
deadline: 1h
participants:
  psp: {format: avro, schema: {command: {authorise: psp.Authorise, void: psp.Void}, reply: psp.Done}}
steps:
  - id: auth
    call: psp.authorise
    with: {WITH}
    keep: [KEEP]
    when: =WHEN
    undo: {call: psp.void, with: {authId: =step.auth.?authId.orValue("")}}
`

func typed(with, keep, when string) string {
	return strings.NewReplacer("WITH", with, "KEEP", keep, "WHEN", when).Replace(typedText)
}

// Each finding is at the place where its part is written.
func TestCheckTypes(t *testing.T) {
	good := `amount: =input.price, currency: EUR`
	for _, c := range []struct{ name, with, keep, when, want string }{
		{"fits", good, "authId", "input.paid", ""},
		{"functions of money", `amount: '=money.add(input.price, input.price)', currency: '=input.price.ccy'`, "authId", "true", ""},
		{"all of it", good + `, note: null, lines: '=input.lines', limit: '=input.amount', fast: '=input.count > 2'`, "authId", "input.discount == null || input.discount > 3", ""},
		{"lists of literals", good + `, lines: [{sku: a, qty: 1}, {sku: '=input.orderId', qty: '=input.count'}]`, "authId", "true", ""},
		{"macros", good, "authId", "input.lines.all(l, l.qty > 0) && timestamp(input.at) < saga.now", ""},
		{"a text for money", `amount: '=input.total', currency: EUR`, "authId", "true",
			`t.yaml:11:22 SG23 steps/auth/with/amount: want money, got string (psp.Authorise.amount).`},
		{"a number for a text", `amount: =input.price, currency: =input.count`, "authId", "true",
			`t.yaml:11:45 SG23 steps/auth/with/currency: want string, got int (psp.Authorise.currency).`},
		{"a literal", `amount: =input.price, currency: 5`, "authId", "true", `t.yaml:11:44 SG23 steps/auth/with/currency: want string, got an integer (psp.Authorise.currency).`},
		{"null where it may not be", `amount: =input.price, currency: null`, "authId", "true", `SG23 steps/auth/with/currency: want string, got null`},
		{"inside a list", good + `, lines: [{sku: a, qty: x}]`, "authId", "true", `SG23 steps/auth/with/lines/0/qty: want int, got string (shop.Line.qty).`},
		{"missing inside a list", good + `, lines: [{sku: a}]`, "authId", "true", `SG25 steps/auth/with/lines/0: shop.Line needs field "qty": int.`},
		{"missing", `amount: =input.price`, "authId", "true", `SG25 steps/auth/with: psp.authorise needs field "currency" (psp.Authorise.currency: string); with: does not set it.`},
		{"not there", good + `, curency: EUR`, "authId", "true", `SG25 steps/auth/with/curency: psp.Authorise has no field "curency". Did you mean "currency"?`},
		{"kept but not there", good, "authId, authID", "true", `t.yaml:12:20 SG25 steps/auth/keep/1: psp.Done has no field "authID". Did you mean "authId"?`},
		{"condition that is a text", good, "authId", "input.total", `t.yaml:13:12 SG23 steps/auth/when: want bool, got string (input.total is shop.Order.total: string).`},
		{"no such field of the input", good, "authId", `input.paied`, `SG25 steps/auth/when: shop.Order has no field "paied" where the expression asks for it. Did you mean "paid"?`},
		{"no such field of a line", good, "authId", `input.lines.all(l, l.quantity > 0)`, `SG25 steps/auth/when: shop.Order has no field "quantity"`},
		{"an operator that does not fit", good, "authId", `input.count + input.total == 3`, `SG23 steps/auth/when: with the schema of the input: found no matching overload for '_+_'`},
		{"a comparison that does not fit", good, "authId", `input.total > 3`, `SG23 steps/auth/when: with the schema of the input:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := ParseDefinition("t.yaml", []byte(typed(c.with, c.keep, c.when)))
			if err != nil {
				t.Fatal(err)
			}
			found := d.CheckTypes(typesForTest())
			wantFinding(t, found, c.want)
			if c.want != "" && found[0].Warning {
				t.Error("it is only a warning")
			}
		})
	}
}

// wantFinding wants the one finding that has the text, or none when that is empty.
func wantFinding(t *testing.T, found Findings, want string) {
	t.Helper()
	switch {
	case want == "" && len(found) > 0:
		t.Fatalf("found %s", found.Error())
	case want != "" && len(found) != 1:
		t.Fatalf("%d findings, want one:\n%s", len(found), found.Error())
	case want != "" && !strings.Contains(found.Error(), want):
		t.Fatalf("got  %s\nwant %s", found.Error(), want)
	}
}

// What nobody knows a type of is not checked, and a definition without a text is checked as its canonical form.
func TestCheckTypesUnknown(t *testing.T) {
	d, err := ParseDefinition("t.yaml", []byte(typed("x: 1", "authId, anything", "input.total > 3")))
	if err != nil {
		t.Fatal(err)
	}
	if found := d.CheckTypes(func(TypeUse) *ValueType { return nil }); len(found) > 0 {
		t.Errorf("found %s", found.Error())
	}
	copied := *d
	copied.src = nil
	if found := copied.CheckTypes(typesForTest()); len(found) < 3 {
		t.Errorf("found only %s", found.Error())
	}
	var uses []string
	for _, u := range d.TypeUses() {
		uses = append(uses, u.String()+"@"+u.Subject)
	}
	if got := strings.Join(uses, " "); got != "psp.Authorise@cmd.psp-value psp.Done@ psp.Void@cmd.psp-value shop.Order@" {
		t.Errorf("uses: %s", got)
	}
}
