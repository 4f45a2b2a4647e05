package replicator

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/derive"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/topology"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// event is a wide record: what it is, and much that few readers want.
func event(n int) []byte {
	kind := []string{"payment", "view", "payment", "shipment", "return"}[n%5]
	var b strings.Builder
	fmt.Fprintf(&b, `{"id":"e%d","orderId":"o%d","kind":"%s","at":%d`, n, n/5, kind, 1_700_000_000_000+n)
	fmt.Fprintf(&b, `,"customer":{"id":"c%d","name":"Customer %d","address":{"street":"Long Street %d","city":"Oslo"}}`, n%100, n%100, n)
	if kind == "payment" {
		fmt.Fprintf(&b, `,"payment":{"amount":%d,"card":"**** %04d"}`, amount(n), n%10_000)
	}
	if n%2 == 0 {
		b.WriteString(`,"express":true`)
	}
	for i := range 20 {
		fmt.Fprintf(&b, `,"attribute%d":"the value of attribute %d of event %d"`, i, i, n)
	}
	b.WriteString("}")
	return []byte(b.String())
}

func amount(n int) int { return n * 997 % 200_000 }

// stage is slim.yaml in the namespace of the test.
func stage(t testing.TB, ns, name string) *derive.Stage {
	src, err := os.ReadFile("slim.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(src), "topic: shop.", "topic: "+ns+".")
	text = strings.Replace(text, "derive: replicator", "derive: "+ns+"."+name, 1)
	st, err := derive.Parse("slim.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func fill(c *kafkatest.Cluster, topic string, n int) (bytes int) {
	for from := 0; from < n; from += 2000 {
		var recs []*kgo.Record
		for i := from; i < min(from+2000, n); i++ {
			recs = append(recs, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "%d", i), Value: event(i), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("t")}}})
			bytes += len(recs[len(recs)-1].Value)
		}
		c.Produce(recs...)
	}
	return bytes
}

func runtime(c *kafkatest.Cluster, change func(*topology.Config)) func(*topology.Config) {
	return func(cfg *topology.Config) {
		cfg.Timing.Session, cfg.Timing.Heartbeat = 6*time.Second, 200*time.Millisecond
		if !c.IsReal() {
			cfg.Timing.FetchMaxWait = time.Second
		}
		if change != nil {
			change(cfg)
		}
	}
}

// run starts the stage. stop ends it.
func run(t testing.TB, c *kafkatest.Cluster, st *derive.Stage, tasks int32, change func(*topology.Config)) (stop func()) {
	r, err := derive.New(derive.Config{Stage: st, Client: c.Opts(), CreateTopics: true, Tasks: tasks, Runtime: runtime(c, change)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplicator(t *testing.T) {
	c := kafkatest.New(t)
	ns := c.Namespace()
	wide := c.CreateTopic(ns+".events", 4, nil)
	const n = 1000
	fill(c, wide, n)
	st := stage(t, ns, "replicator")
	stop := run(t, c, st, 2, nil)
	c.Consume(ns+".index", n)
	c.Consume(ns+".parcels", 2*n/5)
	fill(c, wide, n) // the same again, while it runs
	c.Consume(ns+".index", 2*n)
	stop()

	index := map[string]int{}
	for _, rec := range c.ReadAll(ns + ".index") {
		var e struct{ ID, Order, Kind string }
		if err := json.Unmarshal(rec.Value, &e); err != nil {
			t.Fatal(err)
		}
		if e.Order != string(rec.Key) || e.Kind == "" {
			t.Fatalf("index has %s under %s", rec.Value, rec.Key)
		}
		index[e.ID]++
	}
	for i := range n {
		if got := index[fmt.Sprint("e", i)]; got != 2 {
			t.Fatalf("event %d is in the index %d times, want 2", i, got)
		}
	}
	large := 0
	for i := range n {
		if kind := i % 5; (kind == 0 || kind == 2) && amount(i) >= 100_000 {
			large += 2
		}
	}
	for topic, want := range map[string]int{"payments": 2 * 2 * n / 5, "large": large, "parcels": 2 * 2 * n / 5} {
		if got := len(c.ReadAll(ns + "." + topic)); got != want {
			t.Errorf("%s has %d records, want %d", topic, got, want)
		}
	}
	parcel := c.ReadAll(ns + ".parcels")[0]
	if len(parcel.Headers) != 0 || !strings.Contains(string(parcel.Value), `"city":"Oslo"`) {
		t.Errorf("a parcel is %s with headers %v", parcel.Value, parcel.Headers)
	}
	payment := c.ReadAll(ns + ".payments")[0]
	if !strings.Contains(string(payment.Value), `"currency":"EUR"`) || len(payment.Headers) != 1 {
		t.Errorf("a payment is %s with headers %v", payment.Value, payment.Headers)
	}
}
