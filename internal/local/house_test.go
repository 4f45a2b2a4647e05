package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// patience turns a hang into a failure.
const patience = 15 * time.Second

// house is a cluster whose participants say what a test wants, each instance for itself, and nothing where it
// says nothing. It keeps every command that was published.
type house struct {
	t  *testing.T
	c  *local.Cluster
	to *client.Client
	cl *kgo.Client

	mu      sync.Mutex
	answers map[string]map[string]protocol.Reply // by workflow ID and "psp.void undo"
	got     []told
	next    map[string]map[int32]int64 // offsets that were looked at, by topic and partition
}

// told is a command that was published.
type told struct {
	rec  *kgo.Record
	cmd  protocol.Command
	call string // "psp.void undo"
}

var commandTopics = []string{"cmd.psp", "cmd.stock", "cmd.ship"}

// patient takes the timers out of the sample: what is published follows from what a test does, however slow the
// machine is.
var patient = strings.NewReplacer("attempt: 15s", "attempt: 10m", "within: 2m", "within: 20m", "attempt: 5s", "attempt: 10m", "attempt: 20s", "attempt: 10m",
	"      call: psp.void\n", "      call: psp.void\n      attempt: 10m\n", "      call: stock.release\n", "      call: stock.release\n      attempt: 10m\n")

// openHouse starts nodes with the card-payment sample and further definitions.
func openHouse(t *testing.T, nodes int, more ...string) *house {
	t.Helper()
	src, err := examples.Definition("card-payment")
	if err != nil {
		t.Fatal(err)
	}
	var defs []*sagas.Definition
	for _, s := range append([]string{patient.Replace(string(src))}, more...) {
		def, err := sagas.ParseDefinition("saga.yaml", []byte(s))
		if err != nil {
			t.Fatal(err)
		}
		defs = append(defs, def)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := local.Start(ctx, local.Config{Namespace: "test", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: nodes,
		Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 2 * time.Second}, Logger: slog.New(slog.DiscardHandler)}, defs)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, c: c, answers: map[string]map[string]protocol.Reply{}, next: map[string]map[int32]int64{}}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if h.to, err = client.New(client.Config{Namespace: "test", Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.to.Close)
	if h.cl, err = kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.ConsumeTopics(commandTopics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := h.cl.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(h.take)
		}
	}()
	t.Cleanup(func() { h.cl.Close(); <-done })
	return h
}

func (h *house) take(rec *kgo.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next[rec.Topic] == nil {
		h.next[rec.Topic] = map[int32]int64{}
	}
	h.next[rec.Topic][rec.Partition] = rec.Offset + 1
	if rec.Attrs.IsControl() {
		return
	}
	hs := make([]protocol.Header, len(rec.Headers))
	for i, one := range rec.Headers {
		hs[i] = protocol.Header(one)
	}
	cmd, err := protocol.ParseCommand(hs)
	if err != nil {
		h.t.Errorf("%s[%d]@%d is no command: %v", rec.Topic, rec.Partition, rec.Offset, err)
		return
	}
	one := told{rec, cmd, strings.TrimPrefix(rec.Topic, "cmd.") + "." + cmd.Name + " " + string(cmd.Op)}
	h.got = append(h.got, one)
	if reply, ok := h.answers[cmd.WorkflowID][one.call]; ok {
		h.reply(one, reply)
	}
}

func (h *house) reply(one told, reply protocol.Reply) {
	reply.Token = one.cmd.Token
	rec := &kgo.Record{Topic: one.cmd.ReplyTo, Partition: one.cmd.ReplyPartition, Key: []byte(one.cmd.WorkflowID), Value: []byte(`{"authId":"a-1"}`)}
	for _, header := range reply.Headers() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(header))
	}
	h.cl.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
		if err != nil && h.t.Context().Err() == nil {
			h.t.Errorf("reply to %s: %v", one.call, err)
		}
	})
}

var (
	ok      = protocol.Reply{Outcome: protocol.OutcomeOK}
	refuses = protocol.Reply{Outcome: protocol.OutcomeRejected, Code: "NO"}
	breaks  = protocol.Reply{Outcome: protocol.OutcomeFailedFatal, Effect: protocol.EffectUnknown, Code: "BROKEN"}
	later   = protocol.Reply{Outcome: protocol.OutcomeFailedRetriable, Effect: protocol.EffectNone, Code: "BUSY", RetryAfter: 3_600_000}
	soon    = protocol.Reply{Outcome: protocol.OutcomeFailedRetriable, Effect: protocol.EffectNone, Code: "BUSY", RetryAfter: 10_000}
)

// start starts an instance whose participants answer so.
func (h *house) start(wid string, answers map[string]protocol.Reply) {
	h.t.Helper()
	h.mu.Lock()
	h.answers[wid] = answers
	h.mu.Unlock()
	typ, id := sagas.SplitWorkflowID(wid)
	if err := h.to.Start(h.t.Context(), client.Start{Type: typ, ID: id, Input: map[string]int{"amount": 1500}}); err != nil {
		h.t.Fatal(err)
	}
}

// until waits for something.
// seen is what was looked at last.
func (h *house) until(what string, true func() bool, seen ...*string) {
	h.t.Helper()
	for end := time.Now().Add(patience); !true(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			for _, s := range seen {
				what += "\n" + *s
			}
			h.t.Fatalf("never: %s", what)
		}
	}
}

// settled is every command that was published for an instance. All that is committed by now is among them.
func (h *house) settled(wid string) []told {
	h.t.Helper()
	ends, err := kadm.NewClient(h.cl).ListCommittedOffsets(h.t.Context(), commandTopics...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.until("all commands are read", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		behind := false
		ends.Each(func(o kadm.ListedOffset) { behind = behind || h.next[o.Topic][o.Partition] < o.Offset })
		return !behind
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []told
	for _, one := range h.got {
		if one.cmd.WorkflowID == wid {
			out = append(out, one)
		}
	}
	return out
}

// heard is an answer of the API.
type heard struct {
	status int
	header http.Header
	body   []byte
}

func (a heard) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// ask makes a request to the API of a node; header is of pairs.
func (h *house) ask(node int, method, path string, body any, header ...string) heard {
	h.t.Helper()
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			h.t.Fatal(err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.c.Nodes[node].Addr+path, content)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return heard{resp.StatusCode, resp.Header, b}
}

// want is ask for an answer of that status.
func (h *house) want(status, node int, method, path string, body any, header ...string) heard {
	h.t.Helper()
	a := h.ask(node, method, path, body, header...)
	if a.status != status {
		h.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

// whole is want for an answer out of the logs, which a busy machine may read in part.
func (h *house) whole(node int, path string, into any) {
	h.t.Helper()
	var a heard
	h.until(path+" as a whole", func() bool {
		var part struct{ Partial bool }
		a = h.want(http.StatusOK, node, http.MethodGet, path, nil)
		a.into(h.t, &part)
		return !part.Partial
	})
	a.into(h.t, into)
}

// view reads an instance through a node; after is a position or "".
func (h *house) view(node int, wid, after string) sagas.View {
	h.t.Helper()
	var v sagas.View
	path := "/api/v1/instances/" + wid
	if after != "" {
		path += "?after=" + after
	}
	h.want(http.StatusOK, node, http.MethodGet, path, nil).into(h.t, &v)
	return v
}

// stands waits until an instance is so.
func (h *house) stands(wid, what string, so func(sagas.View) bool) (v sagas.View) {
	h.t.Helper()
	last := ""
	h.until(wid+" "+what, func() bool {
		a := h.ask(0, http.MethodGet, "/api/v1/instances/"+wid, nil)
		if a.status == http.StatusNotFound || a.status == http.StatusServiceUnavailable {
			return false
		}
		v, last = sagas.View{}, string(a.body)
		a.into(h.t, &v)
		return so(v)
	}, &last)
	return v
}

// stepIs is for stands: a step is in a state.
func stepIs(path string, state sagas.StepStatus) func(sagas.View) bool {
	return func(v sagas.View) bool {
		for _, s := range v.Steps {
			if s.Path == path {
				return s.State == state.String()
			}
		}
		return false
	}
}

func needsPerson(v sagas.View) bool { return v.Status == sagas.StatusAttention }

func (one told) String() string {
	return fmt.Sprintf("%s %s[%d] key %s", one.call, one.rec.Topic, one.rec.Partition, one.cmd.Key)
}
