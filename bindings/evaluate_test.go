package bindings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
)

// plan is a saga with the bindings that the test gives it.
func plan(t testing.TB, on string) *sagas.Plan {
	t.Helper()
	d, err := sagas.ParseDefinition("t.yaml", []byte(`
saga: pay
version: 3
id: =input.id
deadline: 1d
steps: [{id: a, await: {signal: paid}}]
`+on))
	if err != nil {
		t.Fatal(err)
	}
	p, err := sagas.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// judge evaluates a record as a reader does.
func judge(t testing.TB, rule Rule, rec *kgo.Record) ([]Output, error) {
	t.Helper()
	r := &Router{cfg: Config{Codec: schema.Plain{}}}
	o := r.one(rule)
	if err := o.r.take(context.Background(), &o.ev, rec, &o.kvs); err != nil {
		return nil, err
	}
	return rule.Evaluate(&o.ev, nil)
}

// intake reads an output as the engine does.
func intake(t testing.TB, o Output) any {
	t.Helper()
	var hs []protocol.Header
	for _, h := range o.Headers {
		hs = append(hs, protocol.Header{Key: h.Key, Value: []byte(h.Value)})
	}
	msg, err := protocol.DecodeIntake(o.Key, o.Value, hs)
	if err != nil {
		t.Fatalf("%s: %v", o.Value, err)
	}
	return msg
}

func TestEvaluate(t *testing.T) {
	p := plan(t, `
start: {topic: shop.orders, when: =event.kind == "PLACED", input: =event.order}
on:
  - {name: paid, topic: bank.payments, action: signal, id: =headers.order, signal: paid, payload: {at: =time, n: =offset}, dedupe: =event.ref, ttl: 2h}
  - {name: both, topic: x, action: startOrSignal, id: =key, signal: paid, input: {id: =key}}
`)
	rules := map[string]Rule{}
	for _, r := range Of([]*sagas.Plan{p}) {
		rules[r.Key()] = r
	}
	at := kgo.Record{Topic: "shop.orders", Partition: 2, Offset: 17, Timestamp: eventTime}
	with := func(value string, key string, headers ...string) *kgo.Record {
		rec := at
		rec.Value, rec.Key = []byte(value), []byte(key)
		for i := 0; i < len(headers); i += 2 {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
		}
		return &rec
	}
	one := func(key string, rec *kgo.Record) any {
		t.Helper()
		outs, err := judge(t, rules[key], rec)
		if err != nil || len(outs) != 1 {
			t.Fatalf("%s: %v %v", key, outs, err)
		}
		return intake(t, outs[0])
	}
	s := one("pay/shop-orders", with(`{"kind":"PLACED","order":{"id":"o\"1","total":9.50}}`, "any", "traceparent", "00-aa")).(*protocol.Start)
	if s.Type != "pay" || s.Version != 3 || s.ID != `o"1` || s.StartID != "shop.orders/2/17" || string(s.Input) != `{"id":"o\"1","total":9.5}` ||
		s.IssuedAt != eventTime.UnixMilli() || s.Trace != "00-aa" || s.OrSignal != nil {
		t.Errorf("%+v", s)
	}
	s = one("pay/shop-orders", with(`{"kind":"PLACED","order":{"id":7}}`, "", "CE_ID", "e-1", "ce_source", "/shop")).(*protocol.Start)
	if s.ID != "7" || s.StartID != "ce:/shop#e-1" {
		t.Errorf("%+v", s)
	}
	g := one("pay/paid", with(`{"ref":"r-9"}`, "", "order", "o-1")).(*protocol.Signal)
	if g.ID != "o-1" || g.Name != "paid" || g.SignalID != "paid:r-9" || g.TTL != 7200_000 || string(g.Payload) != `{"at":"2026-02-03T04:05:06.007Z","n":17}` {
		t.Errorf("%+v", g)
	}
	s = one("pay/both", with(`[1]`, "o-2")).(*protocol.Start)
	if s.ID != "o-2" || s.OrSignal == nil || s.OrSignal.Name != "paid" || string(s.OrSignal.Payload) != `[1]` || s.OrSignal.TTL != 86_400_000 {
		t.Errorf("%+v", s)
	}
	if outs, err := judge(t, rules["pay/shop-orders"], with(`{"kind":"OTHER"}`, "")); err != nil || len(outs) > 0 {
		t.Errorf("%v %v", outs, err)
	}
}

// TestHostile: whatever a record is, it becomes outputs that the engine can read, nothing, or a fault with a class.
// An event in the structured mode of CloudEvents is the event that it holds: its data, its attributes as headers,
// and its id.
func TestStructuredEvent(t *testing.T) {
	rule := Of([]*sagas.Plan{plan(t, `
start: {topic: shop.orders, when: =headers.ce_type == "placed" && event.n > 1, input: {id: =event.id, by: =headers.ce_source}}
`)})[0]
	rec := &kgo.Record{Topic: "shop.orders", Timestamp: eventTime, Headers: []kgo.RecordHeader{{Key: "Content-Type", Value: []byte("application/cloudevents+json")}},
		Value: []byte(`{"specversion":"1.0","id":"e-1","source":"/shop","type":"placed","data":{"id":"o-1","n":2}}`)}
	out, err := judge(t, rule, rec)
	if err != nil || len(out) != 1 {
		t.Fatalf("%v, %v", out, err)
	}
	got := intake(t, out[0]).(*protocol.Start)
	if got.ID != "o-1" || got.StartID != "ce:/shop#e-1" || string(got.Input) != `{"by":"/shop","id":"o-1"}` {
		t.Errorf("started %s by %s with %s", got.ID, got.StartID, got.Input)
	}
	rec.Value = []byte(`{"specversion":"1.0","source":"/shop","type":"placed","data":{}}`)
	var f *Fault
	if _, err := judge(t, rule, rec); !errors.As(err, &f) || f.Class != ClassMalformed || !strings.Contains(f.Message, "id: ") {
		t.Errorf("without an id: %v", err)
	}
}

func TestHostile(t *testing.T) {
	p := plan(t, `
start: {topic: x, when: =event.?kind.orValue("P") == "P"}
on: [{name: s, topic: x, action: signal, id: =key, signal: paid}]
`)
	deep := strings.Repeat(`{"a":`, 80) + "1" + strings.Repeat("}", 80)
	for name, c := range map[string]struct {
		rec   kgo.Record
		class string // of the start; "" = it is taken
	}{
		"empty":               {kgo.Record{Value: []byte{}}, ClassMalformed},
		"no JSON":             {kgo.Record{Value: []byte("hello")}, ClassMalformed},
		"cut":                 {kgo.Record{Value: []byte(`{"id":`)}, ClassMalformed},
		"twice":               {kgo.Record{Value: []byte(`{"id":"a","id":"b"}`)}, ClassMalformed},
		"too deep":            {kgo.Record{Value: []byte(deep)}, ClassMalformed},
		"Avro":                {kgo.Record{Value: []byte{0, 0, 0, 0, 5, 1}}, ClassMalformed},
		"not UTF-8":           {kgo.Record{Value: []byte("{\"id\":\"\xff\"}")}, ClassMalformed},
		"too large":           {kgo.Record{Value: []byte(`{"id":"` + strings.Repeat("x", 2<<20) + `"}`)}, ClassMalformed},
		"an array":            {kgo.Record{Value: []byte(`[1]`)}, ClassFilter},
		"kind is a number":    {kgo.Record{Value: []byte(`{"kind":7,"id":"a"}`)}, ""}, // another kind: passed over
		"no id":               {kgo.Record{Value: []byte(`{}`)}, ClassNoID},
		"empty id":            {kgo.Record{Value: []byte(`{"id":""}`)}, ClassNoID},
		"id is an object":     {kgo.Record{Value: []byte(`{"id":{}}`)}, ClassNoID},
		"id with a control":   {kgo.Record{Value: []byte(`{"id":"a\u0000b"}`)}, ClassNoID},
		"id is too long":      {kgo.Record{Value: []byte(`{"id":"` + strings.Repeat("x", 300) + `"}`)}, ClassNoID},
		"large":               {kgo.Record{Value: []byte(`{"id":"a","x":"` + strings.Repeat("x", 1<<20-60) + `"}`)}, ClassTooLarge},
		"CloudEvents id long": {kgo.Record{Value: []byte(`{"id":"a"}`), Headers: []kgo.RecordHeader{{Key: "ce_id", Value: bytes.Repeat([]byte("x"), 9000)}}}, ""},
		"CloudEvents id raw":  {kgo.Record{Value: []byte(`{"id":"a"}`), Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("\xff\x00")}}}, ""},
		"trace raw":           {kgo.Record{Value: []byte(`{"id":"a"}`), Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("\xff")}}}, ""},
	} {
		c.rec.Topic = "x"
		for i, rule := range Of([]*sagas.Plan{p}) {
			outs, err := judge(t, rule, &c.rec)
			var f *Fault
			if err != nil && (!errors.As(err, &f) || f.Class == "" || len(f.Message) > 4096) {
				t.Errorf("%s: %v", name, err)
			}
			for _, o := range outs {
				intake(t, o)
			}
			if rule.Key() == "pay/x" {
				got := ""
				if f != nil {
					got = f.Class
				}
				if got != c.class {
					t.Errorf("%s (%d): class %q %v, want %q", name, i, got, err, c.class)
				}
			}
		}
	}
}

// TestEvaluateProperties: the same record gives the same outputs, an event with an id of its own gives the same start
// wherever it lies, one without gives another for each place, and all of them can be read by the engine.
func TestEvaluateProperties(t *testing.T) {
	p := plan(t, `
start: {topic: x, when: =event.n > 2}
on: [{name: both, topic: x, action: startOrSignal, signal: paid, when: =event.n % 2 == 0}]
`)
	rules := Of([]*sagas.Plan{p})
	text := rapid.OneOf(rapid.StringMatching(`[a-z0-9]{0,8}`), rapid.String())
	rapid.Check(t, func(rt *rapid.T) {
		id, n := text.Draw(rt, "id"), rapid.IntRange(0, 9).Draw(rt, "n")
		rec := &kgo.Record{Topic: "x", Partition: rapid.Int32Range(0, 9).Draw(rt, "partition"), Offset: rapid.Int64Range(0, 99).Draw(rt, "offset"),
			Value: append(sagas.AppendText([]byte(`{"id":`), strings.ToValidUTF8(id, "?")), fmt.Sprintf(`,"n":%d}`, n)...), Key: rapid.SliceOf(rapid.Byte()).Draw(rt, "key")}
		own := rapid.Bool().Draw(rt, "own id")
		if own {
			rec.Headers = []kgo.RecordHeader{{Key: "ce_id", Value: []byte("e" + text.Draw(rt, "event"))}, {Key: "other", Value: rapid.SliceOf(rapid.Byte()).Draw(rt, "header")}}
		}
		moved := *rec
		moved.Offset++
		for _, rule := range rules {
			outs, err := judge(t, rule, rec)
			again, err2 := judge(t, rule, rec)
			if fmt.Sprint(outs, err) != fmt.Sprint(again, err2) {
				rt.Fatalf("%v %v, then %v %v", outs, err, again, err2)
			}
			var f *Fault
			switch {
			case errors.As(err, &f):
				if f.Class != ClassNoID {
					rt.Fatalf("%v", err)
				}
				continue
			case err != nil:
				rt.Fatal(err)
			}
			if meant := rule.Key() == "pay/x" && n > 2 || rule.Key() == "pay/both" && n%2 == 0; meant != (len(outs) == 1) {
				rt.Fatalf("%s, n %d: %d outputs", rule.Key(), n, len(outs))
			}
			for i, o := range outs {
				s := intake(t, o).(*protocol.Start)
				other, err := judge(t, rule, &moved)
				if err != nil {
					rt.Fatal(err)
				}
				if same := intake(t, other[i]).(*protocol.Start).StartID == s.StartID; same != own {
					rt.Fatalf("own id %t, at another place the same %t: %s", own, same, s.StartID)
				}
				if s.WorkflowID() != string(o.Key) {
					rt.Fatalf("%s under the key %s", s.WorkflowID(), o.Key)
				}
			}
		}
	})
}

// TestNames: the names of two rules never meet, and a group leads back to its rule.
func TestNames(t *testing.T) {
	for _, key := range []string{"a/b", "a.b/c", "a/b-c", "pay.eu/shop-orders"} {
		if got := KeyOfGroup("ns", Group("ns", key)); got != key {
			t.Errorf("%s: %s", key, got)
		}
		for _, name := range []string{Group("ns", key), Changelog("ns", key)} {
			if len(name) > 249-100 || !strings.HasPrefix(name, "ns.bind.") {
				t.Errorf("%s: %s", key, name)
			}
		}
	}
	for _, group := range []string{"ns.saga.engine", "ns.bind.engine", "ns.bind.a.engine", "other.bind.a.b.engine"} {
		if got := KeyOfGroup("ns", group); got != "" {
			t.Errorf("%s: %s", group, got)
		}
	}
}

// TestDeadLetterOfALargeRecord: what cannot be copied says where it is.
func TestDeadLetterOfALargeRecord(t *testing.T) {
	topics, _ := protocol.NewTopics("ns")
	r := &reader{cfg: &Config{Namespace: "ns"}, topics: topics, key: "a/b"}
	for _, size := range []int{10, letterBytes, 3 << 20} {
		rec := r.deadLetter(&kgo.Record{Topic: "x", Partition: 1, Offset: 2, Value: make([]byte, size), Timestamp: eventTime}, &Fault{ClassMalformed, "why"})
		var hs []protocol.Header
		for _, h := range rec.Headers {
			hs = append(hs, protocol.Header(h))
		}
		d, err := protocol.ParseDeadLetter(hs)
		if err != nil || d.Topic != "x" || d.Offset != 2 || d.Class != ClassMalformed || !strings.Contains(d.Message, "binding a/b: why") {
			t.Errorf("%d: %+v %v", size, d, err)
		}
		if len(rec.Value) > letterBytes || size <= letterBytes && len(rec.Value) != size {
			t.Errorf("%d: %d bytes", size, len(rec.Value))
		}
	}
}
