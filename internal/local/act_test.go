package local_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// paid waits for a signal before it sends anything.
const paid = `
saga: paid
version: 1
deadline: 1h
participants:
  ship:
    ops: [do]
steps:
  - id: paid
    await: {signal: payment, within: 30m, onTimeout: fail}
  - id: ship
    call: ship.create
    kind: retriable
    alertAfter: 2h
`

type replies = map[string]protocol.Reply

// What participants answer so that an instance stands where it can be acted on.
var (
	atAuth    = replies{}
	atReserve = replies{"psp.authorise do": ok, "stock.reserve do": soon}
	atShip    = replies{"psp.authorise do": ok, "stock.reserve do": ok, "psp.capture do": ok, "ship.create do": later}
	atRelease = replies{"psp.authorise do": ok, "stock.reserve do": ok, "psp.capture do": refuses, "stock.release undo": breaks}
)

// acts has every way to change an instance over HTTP.
var acts = []struct {
	name    string
	typ     string // default: card-payment
	answers replies
	until   func(sagas.View) bool
	first   func(h *house, wid string) // before the look that the action is made from
	path    string                     // behind that of the instance
	body    map[string]any
	tells   []string // commands that follow from it
	facts   string   // the kind of fact that says who and why
	signed  []string // details of the fact that name the person and the reason
	notes   uint64   // facts of a repetition that changes nothing
}{
	{name: "retry", answers: atShip, until: stepIs("ship", sagas.StepBackoff), path: "/actions/retry", body: map[string]any{"path": "ship"}, tells: []string{"ship.create do"}},
	{name: "retry of an undo", answers: atRelease, until: needsPerson, path: "/actions/retry", body: map[string]any{"path": "reserve"}, tells: []string{"stock.release undo"}},
	{name: "retry-new-key", answers: atShip, until: stepIs("ship", sagas.StepBackoff), path: "/actions/retry-new-key", body: map[string]any{"path": "ship"}, tells: []string{"ship.create do"}},
	{name: "resolve", answers: atAuth, until: stepIs("auth", sagas.StepPending), path: "/actions/resolve",
		body: map[string]any{"path": "auth", "args": map[string]any{"effect": "done", "output": map[string]any{"authId": "a-9"}}}, tells: []string{"stock.reserve do"}},
	{name: "waive", answers: atRelease, until: needsPerson, path: "/actions/waive", body: map[string]any{"path": "reserve"}, tells: []string{"psp.void undo"}},
	{name: "skip", answers: atReserve, until: stepIs("reserve", sagas.StepBackoff), path: "/actions/skip", body: map[string]any{"path": "reserve", "args": map[string]any{"output": map[string]any{}}}, tells: []string{"psp.capture do"}},
	{name: "compensate", answers: atReserve, until: stepIs("reserve", sagas.StepBackoff), path: "/actions/compensate", tells: []string{"stock.release undo"}},
	{name: "close", answers: atShip, until: stepIs("ship", sagas.StepBackoff), path: "/actions/close", facts: "closed"},
	{name: "suspend", answers: atAuth, until: stepIs("auth", sagas.StepPending), path: "/actions/suspend"},
	{name: "resume", answers: atAuth, until: stepIs("auth", sagas.StepPending), path: "/actions/resume", tells: []string{"stock.reserve do"}, first: func(h *house, wid string) {
		var a api.Accepted
		h.want(http.StatusAccepted, 0, http.MethodPost, "/api/v1/instances/"+wid+"/actions/suspend", map[string]any{"operator": "ann", "reason": "wait"}).into(h.t, &a)
		h.view(0, wid, a.Position)
		h.reply(h.settled(wid)[0], ok)
		h.stands(wid, "has its answer", stepIs("auth", sagas.StepDone))
	}},
	{name: "extend", answers: atAuth, until: stepIs("auth", sagas.StepPending), path: "/actions/extend", body: map[string]any{"args": map[string]any{"byMs": 60_000}}},
	{name: "signal action", typ: "paid", until: stepIs("paid", sagas.StepOpen), path: "/actions/signal",
		body: map[string]any{"args": map[string]any{"name": "payment", "payload": map[string]any{"ref": 1}}}, tells: []string{"ship.create do"}},
	{name: "signal", typ: "paid", until: stepIs("paid", sagas.StepOpen), path: "/signals", body: map[string]any{"name": "payment", "payload": map[string]any{"ref": 1}},
		tells: []string{"ship.create do"}, facts: "signalled", signed: []string{"actor"}},
	{name: "cancel", answers: atReserve, until: stepIs("reserve", sagas.StepBackoff), path: "/cancel", tells: []string{"stock.release undo"}, facts: "cancel-acked", signed: []string{"actor", "reason"}},
	{name: "start", tells: []string{"psp.authorise do"}, facts: "started", signed: []string{}, notes: 1},
}

// TestActs does to real instances what can be done: what the preview lists is what is then published, the
// lifecycle says who and why, a request that comes again changes nothing on any process, and a look that is
// old is refused.
func TestActs(t *testing.T) {
	notShort(t)
	h := openHouse(t, 3, paid)
	for i, c := range acts {
		typ := c.typ
		if typ == "" {
			typ = "card-payment"
		}
		began := time.Now()
		h.act(i, c.name, fmt.Sprintf("%s/act/%d", typ, i))
		t.Logf("%s: %s", c.name, time.Since(began).Round(time.Millisecond))
	}
}

func (h *house) act(i int, name, wid string) {
	h.t.Helper()
	c := acts[i]
	path, body := "/api/v1/instances/"+wid+c.path, map[string]any{}
	maps.Copy(body, c.body)
	who, why := fmt.Sprintf("ann-%d", i), "because of "+name
	operates := strings.HasPrefix(c.path, "/actions/")
	var before sagas.View
	switch {
	case c.path == "":
		typ, id := sagas.SplitWorkflowID(wid)
		path, body = "/api/v1/instances", map[string]any{"type": typ, "id": id, "input": map[string]any{"amount": 1500}}
	case c.path == "/signals":
		body["actor"] = who
	case c.path == "/cancel":
		body["actor"], body["reason"] = who, why
	default:
		body["operator"], body["reason"] = who, why
	}
	if c.path != "" {
		h.start(wid, c.answers)
		before = h.stands(wid, "stands where "+name+" is possible", c.until)
		if c.first != nil {
			c.first(h, wid)
			before = h.view(1, wid, "")
		}
	}
	// From here on nobody answers: what is published follows from the act.
	h.mu.Lock()
	h.answers[wid] = nil
	h.mu.Unlock()
	old := len(h.settled(wid))
	key := []string{"Idempotency-Key", "key-" + fmt.Sprint(i)}

	var dry api.Accepted
	h.want(http.StatusOK, 0, http.MethodPost, path+"?dryRun=true", body, key...).into(h.t, &dry)
	p := dry.Preview
	if p == nil || p.Refused != "" || p.Rev != before.Rev {
		h.t.Fatalf("%s: preview %+v of revision %d", name, p, before.Rev)
	}
	if n := len(h.settled(wid)); n != old {
		h.t.Fatalf("%s: the preview published %d commands", name, n-old)
	}
	if operates {
		if a := h.ask(1, http.MethodPost, path, with(body, "expectRev", before.Rev+5)); a.status != http.StatusConflict {
			h.t.Errorf("%s: a revision that is not there: %d %s", name, a.status, a.body)
		}
		if a := h.ask(1, http.MethodPost, path, body, "If-Match", fmt.Sprintf(`"%d"`, before.Rev+5)); a.status != http.StatusPreconditionFailed {
			h.t.Errorf("%s: an ETag that is not there: %d %s", name, a.status, a.body)
		}
	}

	first := h.want(http.StatusAccepted, 1, http.MethodPost, path, body, key...)
	var done api.Accepted
	first.into(h.t, &done)
	after := h.view(2, wid, done.Position)
	h.same(name, p, h.settled(wid)[old:], c.tells)
	if after.Phase != p.PhaseAfter || after.Status != p.StatusAfter || after.Rev <= before.Rev {
		h.t.Errorf("%s: %s %s at %d, the preview said %s %s after %d", name, after.Phase, after.Status, after.Rev, p.PhaseAfter, p.StatusAfter, before.Rev)
	}
	h.written(name, wid, before, p, c.facts, c.signed, who, why)

	again := h.want(http.StatusAccepted, 1, http.MethodPost, path, body, key...)
	if again.header.Get(api.HeaderReplayed) != "true" || !bytes.Equal(again.body, first.body) {
		h.t.Errorf("%s: the same again: %v %s", name, again.header, again.body)
	}
	h.want(http.StatusAccepted, 2, http.MethodPost, path, body, key...).into(h.t, &done)
	if v := h.view(0, wid, done.Position); v.Seq != after.Seq+c.notes || v.Phase != after.Phase {
		h.t.Errorf("%s: the same again on another process took it from %d to %d", name, after.Seq, v.Seq)
	}
	if n := len(h.settled(wid)); n != old+len(c.tells) {
		h.t.Errorf("%s: the same again published %d commands", name, n-old-len(c.tells))
	}
}

// same compares a preview with what was published.
func (h *house) same(name string, p *orchestrator.Preview, got []told, want []string) {
	h.t.Helper()
	var calls []string
	for _, one := range got {
		calls = append(calls, one.call)
	}
	if !slices.Equal(calls, want) {
		h.t.Errorf("%s: published %v, want %v", name, calls, want)
	}
	if len(p.Commands) != len(got) {
		h.t.Errorf("%s: the preview has %d commands, %d were published: %+v %v", name, len(p.Commands), len(got), p.Commands, got)
		return
	}
	for i, one := range got {
		r := p.Commands[i]
		if call := r.Participant + "." + r.Command + " " + r.Op; call != one.call || r.Topic != one.rec.Topic || r.Partition != one.rec.Partition ||
			r.Key != string(one.rec.Key) || r.SagaKey != one.cmd.Key || r.Attempt != one.cmd.Attempt {
			h.t.Errorf("%s: previewed %+v, published %v", name, r, one)
		}
		if payload := []byte(r.Payload); !bytes.Equal(payload, one.rec.Value) {
			h.t.Errorf("%s: previewed payload %s, published %s", name, payload, one.rec.Value)
		}
		previewed, published := map[string]string{}, map[string]string{}
		for _, header := range r.Headers {
			previewed[header.Key] = header.Value
		}
		for _, header := range one.rec.Headers {
			published[header.Key] = string(header.Value)
		}
		if (previewed[protocol.HeaderDeadline] == "") != (published[protocol.HeaderDeadline] == "") {
			h.t.Errorf("%s: deadline: previewed %q, published %q", name, previewed[protocol.HeaderDeadline], published[protocol.HeaderDeadline])
		}
		for _, own := range []string{protocol.HeaderToken, protocol.HeaderDeadline, protocol.HeaderTraceparent} { // of the moment, or secret
			delete(previewed, own)
			delete(published, own)
		}
		a, _ := json.Marshal(previewed)
		b, _ := json.Marshal(published)
		if !bytes.Equal(a, b) {
			h.t.Errorf("%s: previewed headers %s, published %s", name, a, b)
		}
	}
}

// written looks for the facts of the preview, and for who and why, in the history and the audit.
func (h *house) written(name, wid string, before sagas.View, p *orchestrator.Preview, kind string, signed []string, who, why string) {
	h.t.Helper()
	if kind == "" {
		kind = "operator"
	}
	if signed == nil {
		signed = []string{"operator", "reason"}
	}
	var history orchestrator.History
	h.whole(0, fmt.Sprintf("/api/v1/instances/%s/history?after=%d", wid, before.Seq), &history)
	var facts []orchestrator.PreviewFact
	said := false
	for _, f := range history.Facts {
		facts = append(facts, orchestrator.PreviewFact{Kind: f.Kind, Path: f.Path})
		said = said || h.signed(f, kind, signed, who, why)
	}
	if !slices.Equal(facts, p.Facts) {
		h.t.Errorf("%s: the history has %v, the preview said %v", name, facts, p.Facts)
	}
	if !said {
		h.t.Errorf("%s: the history does not say who and why: %+v", name, history.Facts)
	}
	if kind == "started" || kind == "signalled" {
		return // nobody's decision
	}
	var audit orchestrator.Audit
	h.whole(2, "/api/v1/audit?since=1h", &audit)
	if !slices.ContainsFunc(audit.Facts, func(f orchestrator.Fact) bool { return f.WorkflowID == wid && h.signed(f, kind, signed, who, why) }) {
		h.t.Errorf("%s: the audit does not say who and why", name)
	}
}

func (h *house) signed(f orchestrator.Fact, kind string, signed []string, who, why string) bool {
	for _, detail := range signed {
		want := who
		if detail == "reason" {
			want = why
		}
		if f.Detail[detail] != want {
			return false
		}
	}
	return f.Kind == kind
}

// with is a body with one field more, or another value of it.
func with(body map[string]any, field string, value any) map[string]any {
	out := maps.Clone(body)
	out[field] = value
	return out
}

// notShort leaves out what takes the race detector half a minute: its timers then end before its steps do.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("three nodes and a participant at the pace of their timers: not with -short")
	}
}
