package derive

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
	"github.com/amendsio/amends/topology/topologytest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (make golden)\n%s", path, diff)
	}
}

const payments = `
derive: payments
from: {topic: events}
where: '=input.kind == "payment"'
to:
  - topic: slim
    key: '=input.card.id'
    value:
      id: '=input.id'
      money: {amount: '=input.amount', currency: '=input.?currency.orValue("EUR")'}
      note: '=input.?note'
      source: '==derived'
      tags: ['=input.?tag', 'x', 7]
      double: '=input.amount * 2'
  - topic: large
    where: '=input.amount > 1000'
    headers: drop
deadLetters: dead
`

const amountSchema = `{"type":"record","name":"Amount","fields":[
	{"name":"id","type":"string"},{"name":"amount","type":"long"},{"name":"note","type":["null","string"],"default":null}]}`

func schemas(name string) ([]byte, error) {
	if name == "amount.avsc" {
		return []byte(amountSchema), nil
	}
	return nil, os.ErrNotExist
}

func parse(t testing.TB, src string) *Stage {
	t.Helper()
	st, err := Parse("stage.yaml", []byte(src), schemas)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func drive(t testing.TB, st *Stage, m *Metrics, o topologytest.Options) *topologytest.Driver {
	t.Helper()
	var counts func(int32) *Tally
	if m != nil {
		counts = m.Task
		o.Change = func(cfg *topology.Config) { cfg.Hooks = m.Hooks() }
	}
	built, err := st.Topology(counts)
	if err != nil {
		t.Fatal(err)
	}
	return topologytest.NewWith(t, built, o)
}

func TestDerive(t *testing.T) {
	d := drive(t, parse(t, payments), nil, topologytest.Options{})
	d.PipeRecord(topology.Record{Topic: "events", Partition: 0, Key: []byte("k"), Headers: []topology.Header{{Key: "trace", Value: []byte("1")}},
		Value: []byte(`{ "wide": {"amount": 3}, "kind":"payment", "id" : 7.10, "amount": 1500, "card":{"id":"c1", "x":[1,{"id":2}]}, "tag": "ü\n" }`)})
	d.Pipe("events", "k", `{"kind":"refund","id":1}`)
	d.Pipe("events", "k", `{"kind":"payment","id":"p2","amount":2,"card":{"id":12},"currency":"USD","note":null}`)
	slim := d.Read("slim")
	if len(slim) != 2 || string(slim[0].Key) != "c1" || string(slim[1].Key) != "12" {
		t.Fatalf("slim has %v", slim)
	}
	want := []string{
		`{"id":7.10,"money":{"amount":1500,"currency":"EUR"},"source":"=derived","tags":["ü\n","x",7],"double":3000}`,
		`{"id":"p2","money":{"amount":2,"currency":"USD"},"note":null,"source":"=derived","tags":["x",7],"double":4}`,
	}
	for i := range want {
		if got := string(slim[i].Value); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
		if !json.Valid(slim[i].Value) {
			t.Error("that is not JSON")
		}
	}
	large := d.Read("large")
	if len(large) != 1 || !strings.HasPrefix(string(large[0].Value), `{ "wide"`) || string(large[0].Key) != "k" || len(large[0].Headers) != 0 || len(slim[0].Headers) != 1 {
		t.Errorf("large has %v", large)
	}
}

// TestBadRecords: each costs itself, says why, and the partition goes on.
func TestBadRecords(t *testing.T) {
	d := drive(t, parse(t, payments), nil, topologytest.Options{})
	var out strings.Builder
	for _, value := range []string{
		``, `{`, `[1]`, `{"kind":"payment"`, `{"kind":"payment"} x`, "{\"kind\":\"pay\xff\"}", `{"a":01}`, `{"a":"\q"}`, `{"a":"` + "\n" + `"}`,
		strings.Repeat(`{"a":`, 70), `{"id":1}`, `{"kind":"payment","kind":"refund"}`, `{"kind":"payment","id":1,"amount":1}`,
		`{"kind":"payment","id":1,"amount":1,"card":7}`, `{"kind":"payment","id":1,"amount":"x","card":{"id":"c"}}`, `{"kind":"payment","id":1,"amount":1,"card":{"id":[]}}`,
	} {
		d.Pipe("events", "k", value)
		dead := d.Read("dead")
		if len(dead) != 1 || string(dead[0].Value) != value {
			t.Fatalf("%s: %d dead letters", value, len(dead))
		}
		var headers []protocol.Header
		for _, h := range dead[0].Headers {
			headers = append(headers, protocol.Header(h))
		}
		why, err := protocol.ParseDeadLetter(headers)
		if err != nil {
			t.Fatal(err)
		}
		if len(value) > 80 {
			value = value[:80] + "…"
		}
		fmt.Fprintf(&out, "%q\n  %s %s\n", value, why.Class, why.Message)
	}
	if n := len(d.Read("slim")) + len(d.Read("large")); n != 0 {
		t.Errorf("%d outputs of bad records", n)
	}
	d.PipeRecord(topology.Record{Topic: "events", Partition: 0, Key: []byte("k")})
	if len(d.Read("dead")) != 1 {
		t.Error("a record without value was not set aside")
	}
	d.Pipe("events", "k", `{"kind":"payment","id":1,"amount":1,"card":{"id":"c"}}`)
	if len(d.Read("slim")) != 1 {
		t.Error("the partition does not go on")
	}
	golden(t, "bad-records.txt", out.String())
}

func TestAvro(t *testing.T) {
	st := parse(t, `
derive: amounts
from: {topic: in, format: avro, schema: amount.avsc}
where: '=input.amount > 5'
to:
  - topic: json
    format: json
    key: '=input.id'
    value: {n: '=input.amount', note: '=input.note'}
  - topic: avro
    format: avro
    schema: amount.avsc
    value: {id: '="x-" + input.id', amount: '=input.amount + 1', note: '=input.note'}
  - topic: same
`)
	codec, err := goavro.NewCodec(amountSchema)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(id string, amount int64, note any) string {
		b, err := codec.BinaryFromNative(nil, map[string]any{"id": id, "amount": amount, "note": note})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	d := drive(t, st, nil, topologytest.Options{})
	for i, note := range []any{map[string]any{"string": "hello"}, nil, nil} {
		d.Queue(topology.Record{Topic: "in", Partition: 0, Value: []byte(encode(fmt.Sprint("k", i), int64(9-3*i), note))})
	}
	d.Queue(topology.Record{Topic: "in", Partition: 0, Value: []byte{1, 2, 3}})
	if err := d.Try(); err != nil {
		t.Fatal(err)
	}
	d.Want("json", `k0={"n":9,"note":"hello"}`, `k1={"n":6,"note":null}`)
	for i, rec := range d.Read("avro") {
		native, _, err := codec.NativeFromBinary(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		if m := native.(map[string]any); m["id"] != fmt.Sprint("x-k", i) || m["amount"] != int64(10-3*i) {
			t.Errorf("got %v", m)
		}
	}
	if same := d.Read("same"); len(same) != 2 || string(same[1].Value) != encode("k1", 6, nil) {
		t.Errorf("same has %v", same)
	}
	if len(d.Read("amounts.dead")) != 1 {
		t.Error("bytes that are not Avro were not set aside")
	}
}

// TestMetrics counts what was committed, in a run in which Kafka refuses a record and batches are tried
// again.
func TestMetrics(t *testing.T) {
	st := parse(t, payments)
	reg := prometheus.NewRegistry()
	m := NewMetrics(st, reg)
	d := drive(t, st, m, topologytest.Options{})
	d.Refuse(func(rec *topology.Record) error {
		if rec.Topic == "slim" && strings.Contains(string(rec.Value), `"id":13`) {
			return kerr.MessageTooLarge
		}
		return nil
	})
	in, size := 0, 0
	for i := range 40 {
		value := fmt.Sprintf(`{"kind":"payment","id":%d,"amount":%d,"card":{"id":"c"}}`, i, 100*i)
		if i == 20 {
			value = "broken"
		}
		d.Queue(topology.Record{Topic: "events", Partition: 0, Value: []byte(value)})
		if i != 13 && i != 20 {
			in++
			size += len(value)
		}
	}
	if err := d.Try(); err != nil {
		t.Fatal(err)
	}
	count := func(topic string) (n, bytes int) {
		for _, rec := range d.Read(topic) {
			n++
			bytes += len(rec.Key) + len(rec.Value)
		}
		return n, bytes
	}
	slim, slimBytes := count("slim")
	large, largeBytes := count("large")
	if slim != 38 || large != 27 {
		t.Errorf("%d slim and %d large records", slim, large)
	}
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "amends_derive_")
			for _, label := range metric.GetLabel() {
				if label.GetName() != "stage" {
					name += " " + label.GetValue()
				}
			}
			got[name] = metric.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]int{
		"records_in_total": in, "bytes_in_total": size, "records_out_total slim": slim, "records_out_total large": large,
		"bytes_out_total slim": slimBytes, "bytes_out_total large": largeBytes,
	} {
		if got[name] != float64(want) {
			t.Errorf("%s is %v, want %d", name, got[name], want)
		}
	}
	if got["dead_letters_total"] < 2 || got["transactions_total record"] == 0 || got["transactions_total committed"] == 0 {
		t.Errorf("got %v", got)
	}
}

func TestFindings(t *testing.T) {
	var out strings.Builder
	for _, src := range []string{
		``, `[]`, "derive: a\n---\nderive: b", `derive: "A b"`, payments + "tu: 1\n",
		`
derive: x
from: {topic: 'a b', format: protobuf, where: 1}
where: input.a
to:
  - topic: t
    where: '=input.a +'
    key: '=[1]'
    value: {a: '=step.x.y', b: '=saga.now', c: '=nothing'}
    headers: some
  - topic: t
    format: json
    schema: s.avsc
`, `
derive: x
from: {topic: in, format: avro}
to:
  - {topic: in}
  - {topic: out, value: {}, format: avro, schema: gone.avsc}
  - {topic: out2, value: 7}
`, `{"derive":"x","from":{"topic":"in"},"to":[]}`,
	} {
		_, err := Parse("stage.yaml", []byte(src), schemas)
		if err == nil {
			t.Fatalf("no finding in %s", src)
		}
		fmt.Fprintf(&out, "%s\n\n", err)
	}
	golden(t, "findings.txt", out.String())
}

func TestDescribe(t *testing.T) {
	built, err := parse(t, payments).Topology(nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "payments.txt", built.String())
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Stage: parse(t, payments)}, {Stage: parse(t, payments), Client: nil, Tasks: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	if errors.Is(errNothing, errNoValue) {
		t.Error("two reasons are one")
	}
}
