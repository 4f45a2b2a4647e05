package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestOpenAPI: the description of the API changes only when somebody means it to.
func TestOpenAPI(t *testing.T) {
	h := New(&engine{}, Options{})
	got, err := json.MarshalIndent(h.OpenAPI(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/openapi.json"
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(want), got) {
		t.Errorf("the API is not the one of %s; go test ./api -run TestOpenAPI -update writes it anew", golden)
	}
	var spec struct {
		OpenAPI string `json:"openapi"`
	}
	if err := json.Unmarshal(got, &spec); err != nil || !strings.HasPrefix(spec.OpenAPI, "3.1") {
		t.Errorf("version %q (%v)", spec.OpenAPI, err)
	}
}

// TestDocs: the page has every operation, and asks nobody for anything.
func TestDocs(t *testing.T) {
	h := New(&engine{}, Options{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/docs", nil))
	page := w.Body.String()
	if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for _, op := range operations(h) {
		if !strings.Contains(page, `id="`+op.OperationID+`"`) {
			t.Errorf("%s is not on the page", op.OperationID)
		}
	}
	for _, bad := range []string{"http://", "https://", "<script", "src="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if w.Code != 200 || !json.Valid(w.Body.Bytes()) {
		t.Errorf("openapi.json: %d", w.Code)
	}
}

// TestPreview: with dryRun the owner says what would be published, and nothing is written.
func TestPreview(t *testing.T) {
	a, b, url := pair(t)
	for _, c := range []struct{ path, body string }{
		{"/api/v1/instances/near/1/actions?dryRun=true", `{"action":"retry","path":"auth","operator":"ann","reason":"r"}`},
		{"/api/v1/instances/far/2/x/actions/retry?dryRun=true", `{"path":"auth","operator":"ann","reason":"r"}`},
		{"/api/v1/instances/near/1/signals?dryRun=true", `{"name":"paid"}`},
		{"/api/v1/instances/near/1/cancel?dryRun=true", `{"reason":"r"}`},
		{"/api/v1/instances?dryRun=true", `{"type":"near","id":"7","input":{}}`},
	} {
		resp, body := post(t, url+c.path, c.body)
		var out Accepted
		if err := json.Unmarshal([]byte(body), &out); err != nil || resp.StatusCode != 200 || out.Preview == nil || len(out.Preview.Commands) != 1 || out.Position != "" {
			t.Errorf("%s: %d %s", c.path, resp.StatusCode, body)
		}
	}
	if n := len(a.acted) + len(a.signalled) + len(a.started) + len(a.cancelled) + len(b.acted); n != 0 {
		t.Errorf("%d records were written", n)
	}
}

// TestStartAndCancel writes the other two kinds of records.
func TestStartAndCancel(t *testing.T) {
	a, _, url := pair(t)
	resp, body := post(t, url+"/api/v1/instances", `{"type":"near","id":"7","input":{"amount":12345678901234567890}}`, "Idempotency-Key", "k-1")
	if resp.StatusCode != 202 || len(a.started) != 1 || a.started[0].StartID != "k-1" || string(a.started[0].Input) != `{"amount":12345678901234567890}` {
		t.Fatalf("%d %s %+v", resp.StatusCode, body, a.started)
	}
	if !strings.Contains(body, `"position":"intake/1@9"`) || !strings.Contains(body, `"workflowId":"near/7"`) {
		t.Errorf("%s", body)
	}
	resp, body = post(t, url+"/api/v1/instances/near/1/cancel", `{"reason":"customer","actor":"ann"}`)
	if resp.StatusCode != 202 || len(a.cancelled) != 1 || a.cancelled[0].Reason != "customer" || a.cancelled[0].Actor != "ann" || a.cancelled[0].RequestID == "" {
		t.Fatalf("%d %s %+v", resp.StatusCode, body, a.cancelled)
	}
}

// TestIfMatch: a revision in the body that is old is a conflict, one in the header a failed precondition.
func TestIfMatch(t *testing.T) {
	_, _, url := pair(t)
	const body = `{"action":"suspend","operator":"ann","reason":"r"}`
	for match, status := range map[string]int{`"3"`: 202, `"2"`: 412, "*": 202, "x": 400} {
		if resp, got := post(t, url+"/api/v1/instances/near/1/actions", body, "If-Match", match); resp.StatusCode != status {
			t.Errorf("%s: %d %s", match, resp.StatusCode, got)
		}
	}
}

// TestIdempotencyKey: the same request twice is written once and answered twice the same.
func TestIdempotencyKey(t *testing.T) {
	a, _, url := pair(t)
	const path = "/api/v1/instances/near/1/actions"
	first, body1 := post(t, url+path, `{"action":"suspend","operator":"ann","reason":"r"}`, "Idempotency-Key", "q-1")
	second, body2 := post(t, url+path, `{"action":"suspend","operator":"ann","reason":"r"}`, "Idempotency-Key", "q-1")
	if first.StatusCode != 202 || second.StatusCode != 202 || body1 != body2 || len(a.acted) != 1 || second.Header.Get(HeaderReplayed) != "true" {
		t.Errorf("%d %s, %d %s, %d written", first.StatusCode, body1, second.StatusCode, body2, len(a.acted))
	}
	if resp, body := post(t, url+path, `{"action":"resume","operator":"ann","reason":"r"}`, "Idempotency-Key", "q-1"); resp.StatusCode != 422 || !strings.Contains(body, orchestrator.CodeKeyReused) {
		t.Errorf("another body: %d %s", resp.StatusCode, body)
	}
}

// TestIdempotencyInFlight: the second of two requests at once is told so.
func TestIdempotencyInFlight(t *testing.T) {
	m := newRepeats(time.Now)
	if _, first := m.begin("k", [32]byte{1}); !first {
		t.Fatal("not the first")
	}
	if known, first := m.begin("k", [32]byte{1}); first || known.done {
		t.Error("the second is not told that the first is on its way")
	}
	m.end("k", nil)
	if _, first := m.begin("k", [32]byte{2}); !first {
		t.Error("what failed is remembered")
	}
	now := time.Now()
	m = newRepeats(func() time.Time { return now })
	for i := range maxRepeats + 100 {
		m.begin(string(rune('a'+i%26))+strings.Repeat("x", i/26), [32]byte{})
	}
	if len(m.known) > maxRepeats || len(m.order) > maxRepeats {
		t.Errorf("%d are remembered", len(m.known))
	}
	now = now.Add(repeatFor)
	if _, first := m.begin("a", [32]byte{9}); !first {
		t.Error("a day later it is still remembered")
	}
}

// TestWait answers when the instance has ended, and when the time is over.
func TestWait(t *testing.T) {
	a, _, url := pair(t)
	var mu sync.Mutex
	v := sagas.View{WorkflowID: "near/1", Rev: 3, Phase: "running", Status: "running"}
	a.mu = &mu
	a.have["near/1"] = v
	resp, body := get(t, url+"/api/v1/instances/near/1/wait?timeout=150ms")
	if resp.StatusCode != 200 || !strings.Contains(body, `"status":"running"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	go func() {
		time.Sleep(150 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		a.have["near/1"] = sagas.View{WorkflowID: "near/1", Rev: 4, Phase: "completed", Status: "completed"}
	}()
	if resp, body := get(t, url+"/api/v1/instances/near/1/wait?timeout=1m"); resp.StatusCode != 200 || !strings.Contains(body, `"phase":"completed"`) || resp.Header.Get("ETag") != `"4"` {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := get(t, url+"/api/v1/instances/near/9/wait?timeout=50ms"); resp.StatusCode != 404 {
		t.Errorf("nobody: %d", resp.StatusCode)
	}
	if resp, _ := get(t, url+"/api/v1/instances/near/1/wait?timeout=1h"); resp.StatusCode != 400 {
		t.Errorf("too long: %d", resp.StatusCode)
	}
}

// TestEvents reads a stream, leaves it, and comes back with what it has seen.
func TestEvents(t *testing.T) {
	a, _, url := pair(t)
	var mu sync.Mutex
	a.mu = &mu
	open := func(path, last string) (*bufio.Scanner, func()) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		return bufio.NewScanner(resp.Body), func() { cancel(); resp.Body.Close() }
	}
	next := func(s *bufio.Scanner) (id, name, data string) {
		for s.Scan() {
			field, value, _ := strings.Cut(s.Text(), ": ")
			switch field {
			case "id":
				id = value
			case "event":
				name = value
			case "data":
				return id, name, value
			}
		}
		t.Fatalf("the stream ended: %v", s.Err())
		return
	}
	s, leave := open("/api/v1/instances/near/1/events", "")
	id, name, data := next(s)
	if name != "instance" || !strings.HasPrefix(id, "3.") || !strings.Contains(data, `"rev":3`) {
		t.Errorf("%s %s %s", id, name, data)
	}
	leave()
	s, leave = open("/api/v1/instances/near/1/events", id)
	mu.Lock()
	a.have["near/1"] = sagas.View{WorkflowID: "near/1", Rev: 4}
	mu.Unlock()
	if id, _, data := next(s); !strings.HasPrefix(id, "4.") || !strings.Contains(data, `"rev":4`) {
		t.Errorf("what was seen came again: %s %s", id, data)
	}
	leave()
	s, leave = open("/api/v1/events", "")
	if _, name, data := next(s); name != "census" || !strings.Contains(data, `"pay"`) {
		t.Errorf("%s %s", name, data)
	}
	leave()
}

// TestStreamsAreBounded: one more than allowed is refused.
func TestStreamsAreBounded(t *testing.T) {
	e := &engine{name: "a", tasks: []int32{0, 1}, have: map[string]sagas.View{"near/1": {WorkflowID: "near/1"}}}
	h := New(e, Options{Streams: 1})
	h.s.streams <- struct{}{}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/events", nil))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestForeignPage: a page of another origin changes nothing, whatever it sends.
func TestForeignPage(t *testing.T) {
	a, _, url := pair(t)
	for _, header := range [][]string{{"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		resp, body := post(t, url+"/api/v1/instances/near/1/actions", `{"action":"suspend","operator":"a","reason":"r"}`, header...)
		if resp.StatusCode != 403 || !strings.Contains(body, orchestrator.CodeForbidden) {
			t.Errorf("%v: %d %s", header, resp.StatusCode, body)
		}
	}
	if len(a.acted) != 0 {
		t.Error("it was written")
	}
}

// TestPathsWithSlashes: an id may hold slashes, escaped or not.
func TestPathsWithSlashes(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/instances/t/a/b":               "/api/v1/instances/t/a%2Fb",
		"/api/v1/instances/t/a/b/history":       "/api/v1/instances/t/a%2Fb/history",
		"/api/v1/instances/t/a%2Fb/history":     "/api/v1/instances/t/a%2Fb/history",
		"/api/v1/instances/t/a/b/actions":       "/api/v1/instances/t/a%2Fb/actions",
		"/api/v1/instances/t/a/b/actions/retry": "/api/v1/instances/t/a%2Fb/actions/retry",
		"/api/v1/instances/t/a/actions/retry":   "/api/v1/instances/t/a/actions/retry",
		"/api/v1/instances/t/history":           "/api/v1/instances/t/history",
		"/api/v1/instances/t/a":                 "/api/v1/instances/t/a",
		"/api/v1/instances/t/a%2Fhistory":       "/api/v1/instances/t/a%2Fhistory",
		"/api/v1/instances/t/a/b/c/d/e":         "/api/v1/instances/t/a%2Fb%2Fc%2Fd%2Fe",
		"/api/v1/definitions/t/a/b":             "/api/v1/definitions/t/a/b",
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		joinID(r)
		if got := r.URL.EscapedPath(); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestEscapeID: an instance is found under what EscapeID makes of its id, whatever words are in it.
func TestEscapeID(t *testing.T) {
	for id, want := range map[string]string{"a": "a", "a b/c": "a%20b/c", "history": "history", "a/history": "a%2Fhistory", "a/actions/x": "a%2Factions%2Fx", "actions/x": "actions/x", "a/actions": "a%2Factions"} {
		if got := EscapeID(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
		for _, tail := range []string{"", "/history", "/actions/retry"} {
			r := httptest.NewRequest(http.MethodGet, "/api/v1/instances/t/"+EscapeID(id)+tail, nil)
			joinID(r)
			if got, want := r.URL.Path, "/api/v1/instances/t/"+id+tail; got != want || strings.Count(r.URL.EscapedPath(), "/") != 5+strings.Count(tail, "/") {
				t.Errorf("%s%s: %s", id, tail, r.URL.EscapedPath())
			}
		}
	}
}

// TestCountsAndNodes are the answers about the whole.
func TestCountsAndNodes(t *testing.T) {
	_, _, url := pair(t)
	if resp, body := get(t, url+"/api/v1/count"); resp.StatusCode != 200 || body != `{"n":3}`+"\n" {
		t.Errorf("count: %d %s", resp.StatusCode, body)
	}
	if resp, body := get(t, url+"/api/v1/census"); resp.StatusCode != 200 || !strings.Contains(body, `"n":3`) {
		t.Errorf("census: %d %s", resp.StatusCode, body)
	}
	resp, body := get(t, url+"/api/v1/nodes")
	var nodes struct {
		Nodes []orchestrator.Node `json:"nodes"`
	}
	if err := json.Unmarshal([]byte(body), &nodes); err != nil || resp.StatusCode != 200 || len(nodes.Nodes) != 2 || slices.ContainsFunc(nodes.Nodes, func(n orchestrator.Node) bool { return n.Unreachable }) {
		t.Errorf("nodes: %d %s", resp.StatusCode, body)
	}
}

// TestPulse: both processes are asked, and windows that no process remembers are refused.
func TestPulse(t *testing.T) {
	_, _, url := pair(t)
	var p cluster.Pulse
	resp, body := get(t, url+"/api/v1/pulse?window=1h&parts=12&steps=true")
	if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != 200 || len(p.Sagas) != 1 || len(p.Sagas[0].Parts) != 12 || len(p.Steps) != 1 || p.Steps[0].Done != 4 || p.Unread != nil {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for _, bad := range []string{"window=25h", "window=-1h", "window=x", "window=1h&parts=7", "parts=0", "parts=289"} {
		if resp, body := get(t, url+"/api/v1/pulse?"+bad); resp.StatusCode != 400 && resp.StatusCode != 422 {
			t.Errorf("%s: %d %s", bad, resp.StatusCode, body)
		}
	}
	if resp, body := get(t, url+"/api/v1/definitions/pay/stands"); resp.StatusCode != 200 || !strings.Contains(body, `{"version":1,"step":"auth","n":4}`) {
		t.Errorf("stands: %d %s", resp.StatusCode, body)
	}
}
