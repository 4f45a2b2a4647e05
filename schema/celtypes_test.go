package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas"
)

func TestTypes(t *testing.T) {
	order := mustParse(t, orderSchema).Type()
	var got []string
	for _, f := range order.Fields {
		text := f.Name + ": " + f.Type.String()
		if f.Type.Nullable {
			text += " or null"
		}
		if f.Optional {
			text += ", optional"
		}
		got = append(got, text)
	}
	want := `orderId: string
amount: decimal
count: int
note: string or null, optional
at: timestamp-millis
day: date
id: uuid
state: shop.State, optional
tags: map of string, optional
lines: list of shop.Line
pay: any or null, optional
price: money`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	list := mustParse(t, `{"type":"record","name":"L","fields":[{"name":"v","type":"int"},{"name":"n","type":["null","L"]},{"name":"all","type":{"type":"array","items":"L"}}]}`).Type()
	if list.Fields[2].Type.Elem != list || list.Fields[1].Type.Kind != sagas.KindAny {
		t.Errorf("a record that contains itself: %+v", list)
	}
}

// TestCheckWithAvro: the findings of a definition against Avro schemas, in full.
func TestCheckWithAvro(t *testing.T) {
	d, err := sagas.ParseDefinition("saga.yaml", []byte(`saga: pay
version: 1
input: shop.Order
id: =input.orderId
deadline: 1h
participants: {psp: {format: avro, schema: {command: psp.Capture}}}
steps:
  - id: capture
    call: psp.capture
    with: {amount: =input.state, at: =input.at}
    when: =input.lines.exists(l, l.qty > 0) && input.price.ccy == "EUR" && input.note != null
    undo: none
    why: a test
`))
	if err != nil {
		t.Fatal(err)
	}
	schemas := map[string]*Schema{
		"shop.Order": mustParse(t, orderSchema),
		"psp.Capture": mustParse(t, `{"type":"record","name":"Capture","namespace":"psp","fields":[
			{"name":"amount","type":{"type":"record","name":"Money","fields":[{"name":"units","type":"long"},{"name":"nanos","type":"int"},{"name":"ccy","type":"string"}]}},
			{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"currency","type":"string"}]}`),
	}
	found := d.CheckTypes(func(u sagas.TypeUse) *sagas.ValueType {
		if s := schemas[u.Record]; s != nil {
			return s.Type()
		}
		return nil
	})
	want := `saga.yaml:10:11 SG25 steps/capture/with: psp.capture needs field "currency" (psp.Capture.currency: string); with: does not set it.
      with: {amount: =input.state, at: =input.at}
            ^
saga.yaml:10:21 SG23 steps/capture/with/amount: want money, got string (psp.Capture.amount).
      with: {amount: =input.state, at: =input.at}
                      ^`
	if got := fmt.Sprint(found.Error()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
