package sagas

import (
	"strings"
	"testing"
)

const eventText = `saga: e
version: 1
input: shop.Order
id: =input.orderId
deadline: 10d
participants:
  bank:
    topic: bank.in
    ops: [do]
    correlate: {topic: bank.out, match: REPLY, outcome: =OUTCOME}
on:
  - {topic: orders, action: start, when: =WHEN, id: =ID, input: {orderId: =INPUT}}
steps:
  - {id: pay, call: bank.pay, with: {x: 1}, kind: retriable}
  - id: paid
    await: {topic: payments, match: =MATCH, equals: =input.orderId, when: =AND, within: 1d}
output: {x: =input.count}
`

// Expressions over events are checked against the schema of their topic, each at its place.
func TestCheckTypesEvents(t *testing.T) {
	for _, c := range []struct{ name, part, with, want string }{
		{"all fits", "", "", ""},
		{"macros and optional fields", "WHEN", `event.lines.all(l, l.qty > 0) && event.?discount.orValue(1) > 0 && headers["a"] == key`, ""},
		{"a record is a map too", "WHEN", `event["paid"] && event.lines[0]["qty"] > 0 && size(event.price) > 0`, ""},
		{"the whole event", "WHEN", `"paid" in event`, ""},
		{"no such field", "WHEN", "event.paied", `e.yaml:12:49 SG25 on/0/when: shop.Order has no field "paied" where the expression asks for it. Did you mean "paid"?`},
		{"a condition that is a text", "WHEN", "event.total", `e.yaml:12:44 SG23 on/0/when: want bool, got string (event.total is shop.Order.total: string).`},
		{"an operator that does not fit", "WHEN", `event.total > 3`, `SG23 on/0/when: with the schema of the events of orders: found no matching overload for '_>_'`},
		{"an id that is a list", "ID", "event.lines", `SG23 on/0/id: want string, got list(shop.Line) (event.lines is shop.Order.lines: list of shop.Line).`},
		{"no such field in a mapping", "INPUT", "event.order", `SG25 on/0/input/orderId: shop.Order has no field "order"`},
		{"no such field in an await's match", "MATCH", "event.orderID", `SG25 steps/paid/await/match: shop.Paid has no field "orderID" where the expression asks for it. Did you mean "orderId"?`},
		{"in its condition over the event", "AND", `event.sum == "x"`, `SG23 steps/paid/await/when: with the schema of the events of payments: found no matching overload for '_==_'`},
		{"in its condition over event and saga", "AND", `event.sum == input.count && event.summ > 1`, `SG25 steps/paid/await/when: shop.Paid has no field "summ" where the expression asks for it. Did you mean "sum"?`},
		{"in its condition, of the input", "AND", `event.sum == input.cont`, `SG25 steps/paid/await/when: shop.Order has no field "cont" where the expression asks for it. Did you mean "count"?`},
		{"in the outcome of a reply", "OUTCOME", `event.orderID`, `SG25 participants/bank/correlate/outcome: shop.Paid has no field "orderID"`},
		{"the command is not the input", "REPLY", `=event.orderId, equals: '=input.x'`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := eventText
			if c.part != "" {
				with := "'=" + c.with + "'"
				part := "=" + c.part
				if c.part == "REPLY" {
					part, with = c.part, c.with
				}
				text = strings.Replace(text, part, with, 1)
			}
			text = strings.NewReplacer("WHEN", "event.paid", "=ID", "=event.orderId", "INPUT", "event.orderId", "MATCH", "event.orderId",
				"AND", "event.sum > 3", "REPLY", "=event.orderId", "OUTCOME", `event.orderId`).Replace(text)
			d, err := ParseDefinition("e.yaml", []byte(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			paid := &ValueType{Kind: KindRecord, Name: "shop.Paid", Fields: []TypeField{{"orderId", &ValueType{Kind: KindText}, false}, {"sum", &ValueType{Kind: KindInt}, false}}}
			find := typesForTest()
			found := d.CheckTypes(func(u TypeUse) *ValueType {
				switch u.Topic {
				case "orders":
					return find(TypeUse{Record: "shop.Order"})
				case "payments", "bank.out":
					return paid
				}
				return find(u)
			})
			wantFinding(t, found, c.want)
		})
	}
}

// A topic of which no schema is known may hold anything.
func TestCheckTypesEventsUnknown(t *testing.T) {
	text := strings.NewReplacer("WHEN", "event.anything > 1", "=ID", "=event.any", "INPUT", "event.a", "MATCH", "event.b",
		"AND", "event.c", "REPLY", "=event.d", "OUTCOME", "event.e").Replace(eventText)
	d, err := ParseDefinition("e.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	find := typesForTest()
	if found := d.CheckTypes(find); len(found) > 0 {
		t.Errorf("found %s", found.Error())
	}
	var uses []string
	for _, u := range d.TypeUses() {
		if u.Event {
			uses = append(uses, u.Topic+"="+u.Subject)
		}
	}
	if got := strings.Join(uses, " "); got != "bank.out=bank.out-value orders=orders-value payments=payments-value" {
		t.Errorf("uses: %s", got)
	}
}
