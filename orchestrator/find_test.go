package orchestrator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/statestore"
)

// planted makes an instance as a store has it.
func planted(rng *rand.Rand, n int) *sagas.Instance {
	phases := []sagas.Phase{sagas.Running, sagas.Running, sagas.Compensating, sagas.Completed, sagas.Completed, sagas.Completed, sagas.Compensated, sagas.Marker, sagas.Parked}
	typ := []string{"pay", "payout", "refund"}[rng.IntN(3)]
	at := sagas.Time(1_700_000_000_000 + rng.Int64N(10)*3600_000)
	inst := &sagas.Instance{
		WorkflowID: fmt.Sprintf("%s/order-%05d", typ, n), Type: typ, Version: uint32(1 + rng.IntN(2)), Run: 1, Rev: uint64(1 + rng.IntN(5)),
		Phase: phases[rng.IntN(len(phases))], StartedAt: at, LastNow: at + 1000,
		Tags: []sagas.KV{{Key: "customer", Value: fmt.Sprintf("c-%d", rng.IntN(20))}, {Key: "region", Value: []string{"eu", "us", "a=b\x00c"}[rng.IntN(3)]}},
	}
	if rng.IntN(10) == 0 {
		inst.Tags = []sagas.KV{{Key: "note", Value: strings.Repeat("x", 400) + fmt.Sprint(rng.IntN(3))}}
	}
	if rng.IntN(8) == 0 {
		inst.Attention = []sagas.Attention{{Path: "auth", Reason: sagas.ReasonUndoFailed, Since: at, Text: "no"}}
	}
	return inst
}

func plantedStore(t interface {
	Fatal(...any)
	Cleanup(func())
}, instances []*sagas.Instance) *statestore.Store {
	s, err := statestore.Open(statestore.Options{Dir: "task", FS: vfs.NewMem(), Index: index, Identity: statestore.Identity{Format: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var muts []statestore.Mutation
	for _, inst := range instances {
		muts = append(muts, statestore.Mutation{Key: []byte(inst.WorkflowID), Value: inst.Append(nil)})
	}
	muts = append(muts, statestore.Mutation{Key: []byte("pay/order-00001\x00s0"), Value: []byte("a page")})
	if err := s.Load(muts, statestore.Position{Next: 1}); err != nil {
		t.Fatal(err)
	}
	return s
}

// findIn is what a process with these stores finds.
func findIn(ctx context.Context, q *query.Query, after string, limit int, stores ...*statestore.Store) ([]Row, []TaskPart, error) {
	var list []frontier
	for task, s := range stores {
		list = append(list, frontier{task: int32(task), view: s})
	}
	p, err := findAll(ctx, list, q, after, limit)
	return p.Rows, p.Tasks, err
}

// TestFindAgrees: whatever way through the index a query takes, it finds what looking at every instance
// finds, page by page, and counts as many; it makes no difference how many stores the instances are in.
func TestFindAgrees(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []*sagas.Instance
	for n := range 600 {
		all = append(all, planted(rng, n))
	}
	slices.SortFunc(all, func(a, b *sagas.Instance) int { return strings.Compare(a.WorkflowID, b.WorkflowID) })
	s := plantedStore(t, all)
	var thirds []*statestore.Store
	for k := range 3 {
		var part []*sagas.Instance
		for n, inst := range all {
			if n < 100 && k == 0 || n >= 100 && n%3 == k { // one has the whole of the beginning
				part = append(part, inst)
			}
		}
		thirds = append(thirds, plantedStore(t, part))
	}
	at := time.UnixMilli(1_700_000_000_000 + 5*3600_000)
	parts := []string{
		`status == "running"`, `status == "attention"`, `phase == "running"`, `status in ["completed", "attention"]`, `phase in ["marker", "completed"]`,
		`type == "pay"`, `type in ["pay", "refund"]`, `version == 1`, `tags.customer == "c-3"`, `tags.region == "eu"`, `tags.region == "a=b\x00c"`,
		`tags.note == "` + strings.Repeat("x", 400) + `1"`, `started > now - duration("2h")`, `attention`, `!attention`, `active`,
		`workflowId.startsWith("pay/order-002")`, `workflowId.startsWith("pay")`, `id.startsWith("order-001")`, `tags.customer != "c-3"`, `id.endsWith("7")`, `true`,
	}
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfN(rapid.SampledFrom(parts), 1, 3).Draw(t, "query")
		src := strings.Join(chosen, " && ")
		q, err := query.Compile(src, at)
		if err != nil {
			t.Fatal(err)
		}
		q = q.And(rapid.SampledFrom([]string{"", "", "", "running", "attention", "completed"}).Draw(t, "status"), rapid.SampledFrom([]string{"", "", "pay", "refund"}).Draw(t, "type"))
		var want []string
		for _, inst := range all {
			if _, ok := match(q, inst.Append(nil)); ok {
				want = append(want, inst.WorkflowID)
			}
		}
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		var got []string
		after := ""
		stores := []*statestore.Store{s}
		if rapid.Bool().Draw(t, "thirds") {
			stores = thirds
		}
		for range 1000 {
			rows, tasks, err := findIn(context.Background(), q, after, limit, stores...)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) > limit+1 {
				t.Fatalf("%d rows for a page of %d", len(rows), limit)
			}
			page := MergeParts(limit, Part{Rows: rows, Tasks: tasks})
			for _, r := range page.Instances {
				got = append(got, r.WorkflowID)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %d found, want %d\n%v\n%v", src, len(got), len(want), got, want)
		}
		n, atLeast, err := countIn(context.Background(), s, q)
		if err != nil || atLeast || n != int64(len(want)) {
			t.Fatalf("%s: counted %d %t %v, want %d", src, n, atLeast, err, len(want))
		}
	})
}

// TestCountOfTypes: conditions that exclude each other count nothing, whatever the index holds for one of them, and a
// beginning of ids is one too.
func TestCountOfTypes(t *testing.T) {
	inst := planted(rand.New(rand.NewPCG(1, 2)), 1)
	inst.WorkflowID, inst.Type, inst.Phase, inst.Attention = "pay/1", "pay", sagas.Running, nil
	inst.Tags = []sagas.KV{{Key: "customer", Value: "c-1"}}
	s := plantedStore(t, []*sagas.Instance{inst})
	for _, c := range []struct {
		src, typ string
		want     int64
	}{
		{`tags.customer == "c-1"`, "pay", 1},
		{`tags.customer == "c-1" && type == "pay"`, "refund", 0},
		{`tags.customer == "c-1" && type == "pay" && type == "refund"`, "", 0},
		{`tags.customer == "c-1" && workflowId.startsWith("pay/")`, "refund", 0},
		{`tags.customer == "c-1" && workflowId.startsWith("pay/1")`, "pay", 1},
		{`tags.customer == "c-1" && workflowId.startsWith("p")`, "pay", 1},
		{`tags.customer == "c-1" && workflowId == "pay/1"`, "", 1},
		{`phase == "running" && workflowId.startsWith("pay/1")`, "", 1},
		{`phase in ["running", "parked"] && workflowId.startsWith("pay/1")`, "", 1},
	} {
		q, err := query.Compile(c.src, time.UnixMilli(0))
		if err != nil {
			t.Fatal(err)
		}
		q = q.And("", c.typ)
		if n, _, err := countIn(context.Background(), s, q); err != nil || n != c.want {
			t.Errorf("%s, type %q: counted %d %v, want %d", c.src, c.typ, n, err, c.want)
		}
		if rows, _, err := findIn(context.Background(), q, "", 10, s); err != nil || len(rows) != int(c.want) {
			t.Errorf("%s, type %q: found %d %v, want %d", c.src, c.typ, len(rows), err, c.want)
		}
	}
}

// TestFindRow shows what a row has.
func TestFindRow(t *testing.T) {
	inst := planted(rand.New(rand.NewPCG(1, 2)), 1)
	inst.WorkflowID, inst.Type, inst.Phase = "pay/1", "pay", sagas.Running
	inst.Attention = []sagas.Attention{{Path: "auth", Reason: sagas.ReasonUndoFailed, Since: 5, Text: "no"}}
	inst.Tags = []sagas.KV{{Key: "customer", Value: "c-1"}}
	q, err := query.Compile(`tags.customer == "c-1"`, time.UnixMilli(0))
	if err != nil {
		t.Fatal(err)
	}
	rows, tasks, err := findIn(context.Background(), q, "", 10, plantedStore(t, []*sagas.Instance{inst}))
	if err != nil || tasks[0].Upto != "" || len(rows) != 1 {
		t.Fatalf("%v %v %v", rows, tasks, err)
	}
	r := rows[0]
	for src, want := range map[string]int{`attention && "UNDO_FAILED@auth" in causes`: 1, `"UNDO_FAILED@ship" in causes`: 0, `causes.exists(c, c.startsWith("UNDO_"))`: 1, `size(causes) == 0`: 0} {
		if q, err = query.Compile(src, time.UnixMilli(0)); err != nil {
			t.Fatal(err)
		}
		found, _, err := findIn(context.Background(), q, "", 10, plantedStore(t, []*sagas.Instance{inst}))
		if err != nil || len(found) != want {
			t.Errorf("%s: %d found, %v", src, len(found), err)
		}
		if want == 1 && (len(found[0].Attention) != 1 || len(found[0].Tags) != 1) {
			t.Errorf("%s: %+v", src, found[0])
		}
	}
	if r.Status != StatusAttention || r.Phase != "running" || len(r.Tags) != 1 || len(r.Attention) != 1 || r.Attention[0].Reason != "UNDO_FAILED" || r.Attention[0].Path != "auth" {
		t.Errorf("row: %+v", r)
	}
}

// TestFindIsBounded: a page stops after a while and says where.
func TestFindIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var all []*sagas.Instance
	for n := range maxExamined + 10 {
		inst := planted(rng, n)
		inst.WorkflowID, inst.Type, inst.Phase = fmt.Sprintf("pay/%06d", n), "pay", sagas.Completed
		all = append(all, inst)
	}
	s := plantedStore(t, all)
	q, err := query.Compile(`id == "nobody"`, time.UnixMilli(0))
	if err != nil {
		t.Fatal(err)
	}
	rows, tasks, err := findIn(context.Background(), q, "", 10, s)
	upto := tasks[0].Upto
	if want := fmt.Sprintf("pay/%06d", maxExamined-1); err != nil || len(rows) != 0 || upto != want {
		t.Errorf("%d rows, up to %q, want %q (%v)", len(rows), upto, want, err)
	}
	if page := MergeParts(10, Part{Tasks: []TaskPart{{0, upto}, {1, ""}}}); page.Next != upto || len(page.Instances) != 0 {
		t.Errorf("page: %+v", page)
	}
	if rows, tasks, err = findIn(context.Background(), q, upto, 10, s); err != nil || len(rows) != 0 || tasks[0].Upto != "" {
		t.Errorf("the rest: %v %v %v", rows, tasks, err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := findIn(gone, q, "", 10, s); err == nil {
		t.Error("it goes on after its caller has left")
	}
}
