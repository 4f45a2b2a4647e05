package local_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// letter waits for the dead letter in a state that a test says yes to.
func (h *house) letter(node int, state string, is func(orchestrator.Letter) bool) (l orchestrator.Letter) {
	h.t.Helper()
	seen := ""
	h.until("a dead letter that is "+state, func() bool {
		a := h.want(http.StatusOK, node, http.MethodGet, "/api/v1/dlq?state="+state, nil)
		var page orchestrator.Letters
		a.into(h.t, &page)
		seen = string(a.body)
		i := slices.IndexFunc(page.Letters, is)
		if i >= 0 {
			l = page.Letters[i]
		}
		return i >= 0
	}, &seen)
	return l
}

// TestDeadLetters sets two records aside: a start with a typing error, which is edited and replayed, and one that
// is nothing at all, which is dropped.
func TestDeadLetters(t *testing.T) {
	notShort(t)
	h := openHouse(t, 2)
	if err := h.to.Start(t.Context(), client.Start{Type: "card-payment", ID: "typo", Input: map[string]int{"amout": 1500}}); err != nil {
		t.Fatal(err)
	}
	l := h.letter(0, "open", func(l orchestrator.Letter) bool { return l.WorkflowID == "card-payment/typo" })
	if l.Kind != "start" || l.From.Topic != "test.saga.intake" || l.Class == "" || !strings.Contains(string(l.Value), "amout") {
		t.Errorf("the letter is not decoded: %+v", l)
	}
	path := "/api/v1/dlq/" + strconv.FormatInt(l.Offset, 10)
	var same orchestrator.Letter
	h.want(http.StatusOK, 1, http.MethodGet, path, nil).into(t, &same)
	if same.From != l.From || string(same.Value) != string(l.Value) {
		t.Errorf("the other process has %+v, not %+v", same, l)
	}
	fixed := map[string]any{"kind": "start", "type": "card-payment", "id": "typo", "input": map[string]int{"amount": 1500}}
	body := map[string]any{"by": "ann", "reason": "a typing error", "value": fixed}

	var r orchestrator.Replayed
	h.want(http.StatusOK, 1, http.MethodPost, path+"/replay?dryRun=true", body).into(t, &r)
	if !r.Edited || r.Topic != "test.saga.intake" || r.WorkflowID != "card-payment/typo" || r.Position != "" {
		t.Errorf("dry run: %+v", r)
	}
	h.want(http.StatusNotFound, 0, http.MethodGet, "/api/v1/instances/card-payment/typo", nil)
	h.want(http.StatusBadRequest, 0, http.MethodPost, path+"/replay", with(body, "value", map[string]any{"kind": "start"}))

	h.want(http.StatusAccepted, 1, http.MethodPost, path+"/replay", body).into(t, &r)
	if v := h.view(0, "card-payment/typo", r.Position); v.Phase != "running" || !strings.Contains(string(v.Input), "amount") {
		t.Errorf("replayed: %+v", v)
	}
	h.until("one command of it", func() bool { return len(h.settled("card-payment/typo")) == 1 })
	l = h.letter(0, "replayed", func(got orchestrator.Letter) bool { return got.Offset == l.Offset })
	if l.Handled == nil || l.Handled.By != "ann" || l.Handled.Reason != "a typing error" || !l.Handled.Edited || l.Handled.To == nil {
		t.Errorf("who dealt with it: %+v", l.Handled)
	}
	h.want(http.StatusConflict, 0, http.MethodPost, path+"/replay", body)

	if err := h.cl.ProduceSync(t.Context(), &kgo.Record{Topic: "test.saga.intake", Key: []byte("k"), Value: []byte("nothing at all")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	l = h.letter(1, "open", func(l orchestrator.Letter) bool { return l.Key == "k" })
	if l.Bytes == "" || l.Kind != "" || l.Size != len("nothing at all") {
		t.Errorf("bytes that are no record: %+v", l)
	}
	path = "/api/v1/dlq/" + strconv.FormatInt(l.Offset, 10)
	h.want(http.StatusBadRequest, 0, http.MethodPost, path+"/replay", map[string]any{"by": "ann", "reason": "try"})
	h.want(http.StatusOK, 1, http.MethodPost, path+"/drop", map[string]any{"by": "bob", "reason": "noise"})
	l = h.letter(0, "dropped", func(got orchestrator.Letter) bool { return got.Offset == l.Offset })
	if l.Handled == nil || l.Handled.By != "bob" || l.Handled.Reason != "noise" {
		t.Errorf("who dropped it: %+v", l.Handled)
	}
	var open orchestrator.Letters
	h.want(http.StatusOK, 0, http.MethodGet, "/api/v1/dlq?state=open", nil).into(t, &open)
	if len(open.Letters) != 0 {
		t.Errorf("still open: %+v", open.Letters)
	}
}

// TestBatch retries 20 stuck instances: it is paused and resumed, and the process that began it and works on it
// dies. Each instance gets the action once.
func TestBatch(t *testing.T) {
	notShort(t)
	const n = 20
	h := openHouse(t, 3)
	wids := make([]string, n)
	for i := range wids {
		wids[i] = fmt.Sprintf("card-payment/bulk-%02d", i)
		h.start(wids[i], atShip)
	}
	for _, wid := range wids {
		h.stands(wid, "waits for the carrier", stepIs("ship", sagas.StepBackoff))
		h.mu.Lock()
		h.answers[wid] = replies{"ship.create do": ok}
		h.mu.Unlock()
	}
	var nodes cluster.Nodes
	h.want(http.StatusOK, 0, http.MethodGet, "/api/v1/nodes", nil).into(t, &nodes)
	worker := -1
	for _, route := range nodes.Tasks {
		for i, node := range h.c.Nodes {
			if route.Task == 0 && route.Address == node.Addr {
				worker = i
			}
		}
	}
	if worker < 0 {
		t.Fatalf("nobody has task 0: %+v", nodes.Tasks)
	}
	other := (worker + 1) % 3
	body := map[string]any{"id": "b1", "query": `phase == "finishing" && id.startsWith("bulk-")`, "action": "retry", "path": "ship", "reason": "the carrier is back", "operator": "ann", "rate": 8}
	var made struct {
		Batch   orchestrator.Batch
		Preview cluster.BatchPreview
	}
	h.want(http.StatusOK, other, http.MethodPost, "/api/v1/batches?dryRun=true", body).into(t, &made)
	if made.Preview.Count.N != n || len(made.Preview.Previews) != 10 || made.Preview.Previews[0].Refused != "" {
		t.Fatalf("preview: %+v", made.Preview)
	}
	h.want(http.StatusConflict, worker, http.MethodPost, "/api/v1/batches", with(body, "expect", n-1))
	h.want(http.StatusAccepted, worker, http.MethodPost, "/api/v1/batches", with(body, "expect", n)).into(t, &made)
	if made.Batch.Total != n || made.Batch.State != orchestrator.BatchRunning {
		t.Fatalf("made: %+v", made.Batch)
	}
	var b orchestrator.Batch
	progress := func(what string, so func() bool) {
		t.Helper()
		seen := ""
		h.until("the batch "+what, func() bool {
			a := h.ask(other, http.MethodGet, "/api/v1/batches/b1", nil)
			if seen = string(a.body); a.status != http.StatusOK {
				return false
			}
			b = orchestrator.Batch{}
			a.into(t, &b)
			return so()
		}, &seen)
	}
	sent := func() (all int64) {
		for _, wid := range wids {
			all += int64(len(h.settled(wid)) - 4)
		}
		return all
	}
	steer := func(state string) {
		t.Helper()
		h.want(http.StatusOK, other, http.MethodPost, "/api/v1/batches/b1", map[string]any{"state": state, "by": "bob"})
	}
	progress("gets on", func() bool { return b.Sent > 0 })
	steer(orchestrator.BatchPaused)
	progress("is paused", func() bool { return b.State == orchestrator.BatchPaused && b.Sent == sent() })
	if b.By != "bob" || b.Sent >= n || b.Sent%8 != 0 {
		t.Errorf("paused: %+v", b)
	}
	paused := b.Sent
	steer(orchestrator.BatchRunning)
	progress("goes on", func() bool { return b.Sent > paused })
	if b.Sent == n {
		t.Fatalf("it was done before the process could die: %+v", b)
	}
	if _, err := h.c.KillNode(t.Context(), h.c.Nodes[worker].Name, 0); err != nil {
		t.Fatal(err)
	}
	progress("is done", func() bool { return b.State == orchestrator.BatchDone })
	if b.Sent+b.Refused != n || b.Failed != 0 {
		t.Errorf("done: %+v", b)
	}
	for _, wid := range wids {
		h.alive(other, wid, "completed")
		if got := h.settled(wid); len(got) != 5 || got[4].call != "ship.create do" {
			t.Errorf("%s: %v", wid, got)
		}
	}
}

// alive waits until an instance is in a phase, by a process that lives.
func (h *house) alive(node int, wid, phase string) {
	h.t.Helper()
	h.until(wid+" is "+phase, func() bool {
		a := h.ask(node, http.MethodGet, "/api/v1/instances/"+wid, nil)
		var v sagas.View
		if a.status == http.StatusOK {
			a.into(h.t, &v)
		}
		return v.Phase == phase
	})
}

// TestReads compares what the API tells of a stuck instance with the topics, through a process that is not its
// owner.
func TestReads(t *testing.T) {
	notShort(t)
	h := openHouse(t, 2)
	const wid = "card-payment/read/1"
	h.start(wid, atRelease)
	v := h.stands(wid, "needs a person", needsPerson)
	owner := h.want(http.StatusOK, 0, http.MethodGet, "/api/v1/instances/"+wid, nil).header.Get(api.HeaderNode)
	away := -1
	for i, node := range h.c.Nodes {
		if node.Addr != owner {
			away = i
		}
	}
	if away < 0 {
		t.Fatalf("all processes are %s", owner)
	}
	var history orchestrator.History
	h.whole(away, "/api/v1/instances/"+wid+"/history", &history)
	var messages orchestrator.Messages
	h.whole(away, "/api/v1/instances/"+wid+"/messages", &messages)
	at := map[orchestrator.Place]orchestrator.Message{}
	for _, m := range messages.Messages {
		at[m.Place] = m
		for _, header := range m.Headers {
			if header.Key == protocol.HeaderToken {
				t.Errorf("a token is shown: %+v", m)
			}
		}
	}
	facts := h.lifecycle(wid)
	if len(facts) != len(history.Facts) || uint64(len(facts)) != v.Seq {
		t.Fatalf("the lifecycle has %d facts, the history %d, the instance counts %d", len(facts), len(history.Facts), v.Seq)
	}
	for i, f := range history.Facts {
		if f.Seq != uint64(i+1) || f.Kind != facts[i] {
			t.Errorf("fact %d is %d %s, in the topic %s", i+1, f.Seq, f.Kind, facts[i])
		}
		if f.Source != nil && at[*f.Source].Kind == "" {
			t.Errorf("fact %d comes from %+v, which is not among the messages", f.Seq, *f.Source)
		}
	}
	for _, one := range h.settled(wid) {
		m := at[orchestrator.Place{Topic: one.rec.Topic, Partition: one.rec.Partition, Offset: one.rec.Offset}]
		if m.Kind != "command" || m.Op != string(one.cmd.Op) || m.Name != one.cmd.Name {
			t.Errorf("%v is %+v among the messages", one, m)
		}
	}
	var e explain.Explanation
	h.want(http.StatusOK, away, http.MethodGet, "/api/v1/instances/"+wid+"/explain", nil).into(t, &e)
	if !strings.Contains(fmt.Sprintf("%+v", e), "reserve") || !strings.Contains(fmt.Sprintf("%+v", e), "retry") {
		t.Errorf("explained: %+v", e)
	}
}

// lifecycle reads the kinds of the facts of an instance from the topic itself.
func (h *house) lifecycle(wid string) (kinds []string) {
	h.t.Helper()
	const topic = "test.saga.lifecycle"
	ends, err := kadm.NewClient(h.cl).ListCommittedOffsets(h.t.Context(), topic)
	if err != nil {
		h.t.Fatal(err)
	}
	partition := protocol.Partition([]byte(wid), protocol.DefaultPartitions)
	end, ok := ends.Lookup(topic, partition)
	if !ok {
		h.t.Fatalf("no partition %d of %s", partition, topic)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(h.c.Brokers...), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		h.t.Fatal(err)
	}
	defer cl.Close()
	for next := int64(0); next < end.Offset; {
		fetches := cl.PollFetches(h.t.Context())
		if err := fetches.Err0(); err != nil {
			h.t.Fatal(err)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			if next = rec.Offset + 1; rec.Attrs.IsControl() || string(rec.Key) != wid {
				return
			}
			for _, header := range rec.Headers {
				if header.Key == protocol.HeaderKind {
					kinds = append(kinds, string(header.Value))
				}
			}
		})
	}
	return kinds
}
