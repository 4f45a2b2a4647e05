package derive

import (
	"fmt"
	"strings"
	"testing"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
	"github.com/amendsio/amends/topology/topologytest"
)

const orders = `
derive: orders
from: {topic: shop.orders}
to:
  - intake: pay
    saga: card-payment
    where: '=input.kind == "order"'
    id: '=input.order.id'
    input: {amount: '=input.order.amount'}
`

// TestIntake: records with a foreign key become starts under their workflow IDs, as the engine reads them.
func TestIntake(t *testing.T) {
	d := drive(t, parse(t, orders), nil, topologytest.Options{})
	d.Pipe("shop.orders", "customer-7", `{"kind":"order","order":{"id":"o-\"1","amount":12.50}}`)
	d.Pipe("shop.orders", "", `{"kind":"other"}`)
	d.Pipe("shop.orders", "", `{"kind":"order","order":{"id":"","amount":1}}`)
	got := d.Read("pay.saga.intake")
	if len(got) != 1 || string(got[0].Key) != `card-payment/o-"1` {
		t.Fatalf("got %v", got)
	}
	var headers []protocol.Header
	for _, h := range got[0].Headers {
		headers = append(headers, protocol.Header(h))
	}
	rec, err := protocol.DecodeIntake(got[0].Key, got[0].Value, headers)
	if err != nil {
		t.Fatal(err)
	}
	start, ok := rec.(*protocol.Start)
	if !ok || start.Type != "card-payment" || start.ID != `o-"1` || string(start.Input) != `{"amount":12.50}` || start.StartID != "orders.0/shop.orders/0/0" {
		t.Errorf("got %+v", rec)
	}
	if string(got[0].Headers[0].Value) != start.StartID || got[0].Headers[0].Key != topology.HeaderOrigin {
		t.Errorf("headers %v", got[0].Headers)
	}
	if n := len(d.Read("orders.dead")); n != 1 {
		t.Errorf("%d dead letters, want the one without id", n)
	}
}

func TestIntakeFindings(t *testing.T) {
	_, err := Parse("stage.yaml", []byte(`
derive: orders
from: {topic: in}
to:
  - {intake: 'A b', saga: 'X y', id: 7, input: 3, key: '=key'}
  - {intake: pay}
`), nil)
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"namespace", "not the name of a saga", "id must be an expression", "input must be a map", `"key" is not a field`, "saga is missing", "id is missing"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %q in\n%v", want, err)
		}
	}
}

// TestIntakeAgain: a stage that lost its positions writes everything again; the reader takes each start
// once.
func TestIntakeAgain(t *testing.T) {
	b := topology.NewBuilder("reader")
	topology.From(b, "pay.saga.intake", topology.Bytes()).To("taken", topology.Bytes())
	reader, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	engine := topologytest.NewWith(t, reader, topologytest.Options{Partitions: 3, Tasks: 2, Change: func(cfg *topology.Config) {
		cfg.Origins = cfg.Inputs
	}})
	source := func(n int) {
		stage := drive(t, parse(t, orders), nil, topologytest.Options{Partitions: 2, Tasks: 2})
		for i := range n {
			stage.Pipe("shop.orders", fmt.Sprint("c", i%5), fmt.Sprintf(`{"kind":"order","order":{"id":"o%d","amount":1}}`, i))
		}
		for _, rec := range stage.Read("pay.saga.intake") {
			again := *rec
			again.Partition = topology.ByKey
			engine.PipeRecord(again)
		}
	}
	source(40)
	if n := len(engine.Read("taken")); n != 40 {
		t.Fatalf("%d starts, want 40", n)
	}
	engine.Crash()
	source(50) // the first forty again
	seen := map[string]bool{}
	for _, rec := range engine.Read("taken") {
		seen[string(rec.Key)] = true
	}
	if len(seen) != 10 || seen["card-payment/o39"] || !seen["card-payment/o40"] {
		t.Errorf("%d more starts, want the ten that are new: %v", len(seen), seen)
	}
	engine.PipeRecord(topology.Record{Topic: "pay.saga.intake", Partition: 0, Key: []byte("k"), Headers: []topology.Header{{Key: topology.HeaderOrigin, Value: []byte("nonsense")}}},
		topology.Record{Topic: "pay.saga.intake", Partition: 0, Key: []byte("k")})
	if n := len(engine.Read("taken")); n != 2 {
		t.Errorf("%d of two records without a usable origin", n)
	}
}
