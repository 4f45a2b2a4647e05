package replicator

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/topology"
)

// goal is the least share of the speed of a loop written by hand that the stage should have.
const goal = 0.6

// benchRecords are derived in each measurement. The embedded broker is slow: fewer there.
func benchRecords(c *kafkatest.Cluster) int {
	if c.IsReal() {
		return 60_000
	}
	return 10_000
}

// BenchmarkReplicator runs a loop written by hand and the stage over the same records, in turn, three
// times, and prints the ratio of the best of each. Time counts from the first record taken to the last
// commit: joining a group is not what is compared.
func BenchmarkReplicator(b *testing.B) {
	for b.Loop() {
		c := kafkatest.New(b)
		ns := c.Namespace()
		wide := c.CreateTopic(ns+".events", 4, nil)
		for _, topic := range []string{"index", "payments", "large", "parcels"} {
			c.CreateTopic(ns+"."+topic, 4, nil)
		}
		n := benchRecords(c)
		size := fill(c, wide, n)
		best := map[string]float64{}
		for round := range 3 {
			for _, way := range []struct {
				name string
				run  func() time.Duration
			}{
				{"by hand", func() time.Duration { return byHand(b, c, ns, fmt.Sprint("hand", round), n) }},
				{"derive", func() time.Duration { return derived(b, c, ns, fmt.Sprint("stage", round), n) }},
			} {
				took := way.run()
				rate := float64(n) / took.Seconds()
				best[way.name] = max(best[way.name], rate)
				fmt.Printf("%-8s %8.0f records/s %7.1f MB/s in\n", way.name, rate, float64(size)/took.Seconds()/1e6)
			}
		}
		ratio := best["derive"] / best["by hand"]
		fmt.Printf("derive / by hand: %.2f of %d records, best of three each (goal %.2f)\n", ratio, n, goal)
		b.ReportMetric(ratio, "ratio")
		if ratio < goal {
			b.Errorf("derive has %.2f of the speed of a loop by hand, want %.2f", ratio, goal)
		}
	}
}

// derived measures the stage.
func derived(b *testing.B, c *kafkatest.Cluster, ns, name string, n int) time.Duration {
	var mu sync.Mutex
	var first, last time.Time
	records := 0
	done := make(chan struct{})
	stop := run(b, c, stage(b, ns, name), 4, func(cfg *topology.Config) {
		cfg.Hooks = topology.Tee(cfg.Hooks, topology.Hooks{Cycle: func(s topology.CycleStats) {
			mu.Lock()
			defer mu.Unlock()
			last = time.Now()
			if began := last.Add(-s.Process - s.Commit - s.Apply); first.IsZero() || began.Before(first) {
				first = began
			}
			if records += s.Records; records == n {
				close(done)
			}
		}})
	})
	<-done
	stop()
	return last.Sub(first)
}

// wideEvent is what the loop by hand decodes.
type wideEvent struct {
	ID       string `json:"id"`
	OrderID  string `json:"orderId"`
	Kind     string `json:"kind"`
	At       int64  `json:"at"`
	Express  bool   `json:"express"`
	Customer struct {
		ID      string `json:"id"`
		Address struct {
			City string `json:"city"`
		} `json:"address"`
	} `json:"customer"`
	Payment struct {
		Amount   int64  `json:"amount"`
		Currency string `json:"currency"`
		Card     string `json:"card"`
	} `json:"payment"`
}

// byHand measures what one would write without the stage: poll, decode, encode, produce, commit with
// the offsets in the transaction.
func byHand(b *testing.B, c *kafkatest.Cluster, ns, name string, n int) time.Duration {
	session, err := kgo.NewGroupTransactSession(c.GroupOpts(
		kgo.TransactionalID(ns+"."+name),
		kgo.ConsumerGroup(ns+"."+name),
		kgo.ConsumeTopics(ns+".events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1<<20),
		kgo.ConcurrentTransactionsBackoff(time.Millisecond),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	)...)
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var first time.Time
	for records := 0; records < n; {
		fetches := session.PollRecords(ctx, 2000)
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		if first.IsZero() {
			first = time.Now()
		}
		if err := session.Begin(); err != nil {
			b.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			records++
			produceByHand(ctx, b, session, ns, rec)
		})
		committed, err := session.End(ctx, kgo.TryCommit)
		if err != nil || !committed {
			b.Fatalf("committed %v: %v", committed, err)
		}
	}
	return time.Since(first)
}

func produceByHand(ctx context.Context, b *testing.B, session *kgo.GroupTransactSession, ns string, rec *kgo.Record) {
	var e wideEvent
	if err := json.Unmarshal(rec.Value, &e); err != nil {
		b.Fatal(err)
	}
	send := func(topic, key string, value any, headers []kgo.RecordHeader) {
		raw, err := json.Marshal(value)
		if err != nil {
			b.Fatal(err)
		}
		session.Produce(ctx, &kgo.Record{Topic: ns + "." + topic, Key: []byte(key), Value: raw, Timestamp: rec.Timestamp, Headers: headers}, nil)
	}
	send("index", e.OrderID, struct {
		ID    string `json:"id"`
		Order string `json:"order"`
		Kind  string `json:"kind"`
		At    int64  `json:"at"`
	}{e.ID, e.OrderID, e.Kind, e.At}, rec.Headers)
	switch e.Kind {
	case "payment":
		currency := e.Payment.Currency
		if currency == "" {
			currency = "EUR"
		}
		type amount struct {
			Value    int64  `json:"value"`
			Currency string `json:"currency"`
		}
		send("payments", e.Customer.ID, struct {
			ID     string `json:"id"`
			Order  string `json:"order"`
			Amount amount `json:"amount"`
			Card   string `json:"card"`
		}{e.ID, e.OrderID, amount{e.Payment.Amount, currency}, e.Payment.Card}, rec.Headers)
		if e.Payment.Amount >= 100_000 {
			session.Produce(ctx, &kgo.Record{Topic: ns + ".large", Key: rec.Key, Value: rec.Value, Timestamp: rec.Timestamp, Headers: rec.Headers}, nil)
		}
	case "shipment", "return":
		send("parcels", e.OrderID, struct {
			Order   string `json:"order"`
			City    string `json:"city"`
			Express bool   `json:"express"`
		}{e.OrderID, e.Customer.Address.City, e.Express}, nil)
	}
}
