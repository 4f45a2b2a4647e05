package desk_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// long has two facts and two messages for each of its items, and waits at its end for a signal: so it is still
// open, which is the page that costs most.
const long = `
saga: long
deadline: 1h
version: 1
participants:
  depot:
    ops: [do]
steps:
  - id: lines
    each: {in: =input.lines, as: line, key: =line.sku, max: 300}
    do:
      - {id: pick, call: depot.pick, with: {sku: =line.sku}, kind: retriable}
  - {id: left, await: {signal: left}}
`

// longCluster is a cluster of one node with an instance of 500 facts: on a broker of its own, or on KAFKA_SEEDS.
func longCluster(b *testing.B) (base string) {
	b.Helper()
	def, err := sagas.ParseDefinition("saga.yaml", []byte(long))
	if err != nil {
		b.Fatal(err)
	}
	cfg := local.Config{Namespace: fmt.Sprintf("page%d", time.Now().UnixNano()), BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 1,
		Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 6 * time.Second}, Logger: slog.New(slog.DiscardHandler)}
	if seeds := os.Getenv("KAFKA_SEEDS"); seeds != "" {
		cfg.Brokers = strings.Split(seeds, ",")
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, err := local.Start(ctx, cfg, []*sagas.Definition{def})
	if err != nil {
		b.Fatal(err)
	}
	p, err := participant.New(participant.Config{Name: "depot", Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}, Inbox: participant.NewMemory(0)})
	if err != nil {
		b.Fatal(err)
	}
	participant.Do(p, "pick", func(context.Context, participant.Tx, struct{}) (struct{}, error) { return struct{}{}, nil })
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx) // it ends with the benchmark
	}()
	b.Cleanup(func() {
		cancel()
		<-done
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	to, err := client.New(client.Config{Namespace: cfg.Namespace, Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}})
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	var lines []map[string]string
	for n := range 245 {
		lines = append(lines, map[string]string{"sku": fmt.Sprintf("sku-%03d", n)})
	}
	if err := to.Start(ctx, client.Start{Type: "long", ID: "one", Input: map[string]any{"lines": lines}}); err != nil {
		b.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		v, err := c.View(ctx, "long/one")
		if err == nil && v.Seq >= 490 && slices.ContainsFunc(v.Steps, func(s sagas.StepView) bool { return s.Path == "left" && s.State == "OPEN" }) {
			b.Logf("%d facts", v.Seq)
			return "http://" + c.Nodes[0].Addr
		}
		if time.Since(began) > time.Minute {
			b.Fatalf("the instance does not get there: seq %d, %v", v.Seq, err)
		}
	}
}

// BenchmarkLivePage asks a real process for the page of an instance of 500 facts that is still open, and for the
// answers of the API behind it. The limit is 150 ms of the server for a page.
//
//	go test -tags synctests -run - -bench LivePage -benchtime 100x ./web/desk
//	deploy/kafka/with-kafka.sh go test -tags synctests -run - -bench LivePage -benchtime 100x ./web/desk
func BenchmarkLivePage(b *testing.B) {
	base := longCluster(b)
	const page, api = "/instances/long/one", "/api/v1/instances/long/one"
	for _, path := range []string{page, page + "?tab=timeline", page + "?tab=history", page + "?tab=messages", page + "?tab=state", page + "?tab=related",
		api, api + "/history", api + "/messages", api + "/explain", "/api/v1/definitions/long/1", "/api/v1/tasks", "/api/v1/dlq", "/", "/definitions/long", "/cluster", "/attention", "/instances"} {
		b.Run(strings.ReplaceAll(strings.Trim(path, "/"), "/", "."), func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				resp, err := http.Get(base + path)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status, err)
				}
				b.SetBytes(n)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
