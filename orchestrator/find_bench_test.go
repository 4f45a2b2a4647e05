package orchestrator_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/statestore"
)

// million is a namespace of a million instances in twelve tasks on three processes, which answer over HTTP as
// real ones do; only Kafka is missing.
type million struct {
	cluster.Local // what a list does not ask

	address string
	all     *[]*million
	stores  map[int32]*statestore.Store
}

const (
	millionInstances = 1_000_000
	millionTasks     = 12
)

func newMillion(b *testing.B, instances int) *cluster.Cluster {
	b.Helper()
	shared := statestore.NewShared(256<<20, 1000)
	b.Cleanup(shared.Close)
	var all []*million
	for range 3 {
		all = append(all, &million{all: &all, stores: map[int32]*statestore.Store{}})
	}
	dir := b.TempDir()
	for task := range int32(millionTasks) {
		s, err := statestore.Open(statestore.Options{Dir: fmt.Sprintf("%s/%d", dir, task), FS: vfs.Default, Shared: shared, Index: orchestrator.Index,
			Identity: statestore.Identity{Format: 1}, MemTableSize: 16 << 20})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() })
		all[task%3].stores[task] = s
		var muts []statestore.Mutation
		next := int64(0)
		load := func() {
			next += int64(len(muts))
			if err := s.Load(muts, statestore.Position{Next: next}); err != nil {
				b.Fatal(err)
			}
			muts = muts[:0]
		}
		for n := int(task); n < instances; n += millionTasks {
			inst := millionth(n)
			muts = append(muts, statestore.Mutation{Key: []byte(inst.WorkflowID), Value: inst.Append(nil)})
			if len(muts) == 2000 {
				load()
			}
		}
		load()
		if err := s.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	var first *cluster.Cluster
	for _, m := range all {
		var c *cluster.Cluster
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.Handler().ServeHTTP(w, r) }))
		b.Cleanup(server.Close)
		m.address = server.Listener.Addr().String()
		c = cluster.New(m, cluster.Options{})
		if first == nil {
			first = c
		}
	}
	return first
}

// millionth: one in twenty runs, one in a hundred of these is of customer c-17; half of all is in the region eu.
func millionth(n int) *sagas.Instance {
	at := sagas.Time(1_700_000_000_000 + int64(n))
	inst := &sagas.Instance{WorkflowID: fmt.Sprintf("card-payment/order-%07d", n*7919%millionInstances), Type: "card-payment", Version: 3, Run: 1, Rev: 5,
		Phase: sagas.Completed, StartedAt: at, LastNow: at + 60, Input: make([]byte, 200),
		Tags: []sagas.KV{{Key: "customer", Value: fmt.Sprintf("c-%d", n/20%100)}, {Key: "region", Value: []string{"eu", "us"}[n%2]}}}
	if n%20 == 0 {
		inst.Phase = sagas.Running
	}
	return inst
}

func (m *million) Advertise() string   { return m.address }
func (m *million) TaskOf(string) int32 { return 0 }
func (m *million) Routes(context.Context) ([]orchestrator.Route, error) {
	routes := make([]orchestrator.Route, millionTasks)
	for task := range routes {
		owner := (*m.all)[task%3]
		routes[task] = orchestrator.Route{Task: int32(task), Address: owner.address, Here: owner == m}
	}
	return routes, nil
}
func (m *million) Find(ctx context.Context, q *query.Query, after string, limit int) (orchestrator.Part, error) {
	return orchestrator.FindAll(ctx, m.stores, q, after, limit)
}
func (m *million) Count(ctx context.Context, q *query.Query) (t orchestrator.Tally, err error) {
	for task, s := range m.stores {
		n, atLeast, err := orchestrator.CountIn(ctx, s, q)
		if err != nil {
			return t, err
		}
		t.N, t.AtLeast, t.Tasks = t.N+n, t.AtLeast || atLeast, append(t.Tasks, task)
	}
	return t, nil
}

// BenchmarkQueryMillion asks for a page of 100 of a million instances on three processes. The limit of a
// status and a tag is 300 ms at the 99th percentile.
//
//	go test -run - -bench QueryMillion -benchtime 300x ./orchestrator
func BenchmarkQueryMillion(b *testing.B) {
	c := newMillion(b, millionInstances)
	for _, bench := range []struct {
		name  string
		q     cluster.Query
		count bool
		want  int64
	}{
		{"status+tag", cluster.Query{CEL: `status == "running" && tags.customer == "c-17"`}, false, 100},
		{"status+large-tag", cluster.Query{CEL: `status == "completed" && tags.region == "eu"`}, false, 100},
		{"tag", cluster.Query{CEL: `tags.customer == "c-17"`}, false, 100},
		{"two-tags", cluster.Query{CEL: `status == "completed" && tags.customer == "c-17" && tags.region == "us"`}, false, 100},
		{"status+time", cluster.Query{CEL: `status == "running" && started > timestamp("2023-11-14T22:29:00Z")`}, false, 100},
		{"status", cluster.Query{Status: "running"}, false, 100},
		{"nothing-matches", cluster.Query{CEL: `status == "compensating" && tags.customer == "c-17"`}, false, 0},
		{"count-status", cluster.Query{Status: "running"}, true, millionInstances / 20},
		{"count-status+tag", cluster.Query{CEL: `phase == "running" && tags.customer == "c-17"`}, true, millionInstances / 20 / 100},
	} {
		b.Run(bench.name, func(b *testing.B) {
			took := make([]time.Duration, 0, b.N)
			for b.Loop() {
				began := time.Now()
				var got int64
				if bench.count {
					t, err := c.Count(b.Context(), bench.q)
					if err != nil {
						b.Fatal(err)
					}
					got = t.N
				} else {
					p, err := c.List(b.Context(), bench.q)
					if err != nil {
						b.Fatal(err)
					}
					got = int64(len(p.Instances))
				}
				took = append(took, time.Since(began))
				if got != bench.want {
					b.Fatalf("%d, want %d", got, bench.want)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		})
	}
}
