package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/cluster"
	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is one process of a namespace of two tasks.
type engine struct {
	Engine // what a test does not ask

	name   string
	mu     *sync.Mutex // of have, for tests that change it while they ask
	have   map[string]sagas.View
	tasks  []int32
	peers  []string // addresses of the other owners
	moving bool
	ready  error
	live   error

	draining bool
	awaited  []string
	copies   map[string]sagas.View // of what another process owns

	acted     []*protocol.Admin
	signalled []*protocol.Signal
	started   []*protocol.Start
	cancelled []*protocol.Cancel
}

func (e *engine) Act(_ context.Context, a *protocol.Admin) (orchestrator.Position, error) {
	e.acted = append(e.acted, a)
	return orchestrator.Position{Input: "control", Partition: 3, Offset: int64(len(e.acted))}, nil
}

func (e *engine) Signal(_ context.Context, s *protocol.Signal) (orchestrator.Position, error) {
	e.signalled = append(e.signalled, s)
	return orchestrator.Position{Input: "intake", Partition: 3, Offset: int64(len(e.signalled))}, nil
}

func movingError(cause string) error {
	return &orchestrator.Error{Code: orchestrator.CodeMoving, Class: orchestrator.ErrMoving, Cause: cause}
}

func (e *engine) Get(_ context.Context, wid string) (sagas.View, error) {
	if e.mu != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	if e.moving {
		return sagas.View{}, movingError("moving")
	}
	if v, ok := e.have[wid]; ok {
		return v, nil
	}
	if len(e.peers) > 0 && strings.HasPrefix(wid, "far/") {
		return sagas.View{}, &orchestrator.MovedError{Address: e.peers[0]}
	}
	return sagas.View{}, &orchestrator.Error{Code: orchestrator.CodeNotFound, Class: orchestrator.ErrNotFound, Cause: "no instance"}
}

func (e *engine) Find(_ context.Context, q *query.Query, after string, limit int) (orchestrator.Part, error) {
	var p orchestrator.Part
	for wid, v := range e.have {
		if wid > after && q.Match(&query.Row{WorkflowID: wid, Status: v.Status}) {
			p.Rows = append(p.Rows, orchestrator.Row{WorkflowID: wid, Status: v.Status})
		}
	}
	for _, task := range e.tasks {
		p.Tasks = append(p.Tasks, orchestrator.TaskPart{Task: task})
	}
	return p, nil
}

func (e *engine) Count(ctx context.Context, q *query.Query) (orchestrator.Tally, error) {
	p, err := e.Find(ctx, q, "", 1000)
	return orchestrator.Tally{N: int64(len(p.Rows)), Tasks: e.tasks}, err
}

func (e *engine) Census() (orchestrator.Census, error) {
	return orchestrator.Census{Tasks: e.tasks, Rows: []orchestrator.CensusRow{{Type: "pay", Version: 1, Status: "running", N: int64(len(e.have))}}}, nil
}

func (e *engine) Routes(context.Context) ([]orchestrator.Route, error) {
	if e.moving {
		return nil, movingError("moving")
	}
	routes := make([]orchestrator.Route, 2)
	for i := range routes {
		routes[i].Task, routes[i].Here = int32(i), slices.Contains(e.tasks, int32(i))
		if !routes[i].Here && len(e.peers) > 0 {
			routes[i].Address = e.peers[0]
		}
	}
	return routes, nil
}

func (e *engine) Propose(msg any) (orchestrator.Proposal, error) {
	p := orchestrator.Proposal{Input: "intake", What: "start", Value: []byte("v")}
	switch m := msg.(type) {
	case *protocol.Admin:
		p.Input, p.What, p.WorkflowID = "control", string(m.Action), m.WorkflowID()
	case interface{ WorkflowID() string }:
		p.WorkflowID = m.WorkflowID()
	}
	return p, nil
}

func (e *engine) Preview(_ context.Context, p orchestrator.Proposal) (orchestrator.Preview, error) {
	if _, ok := e.have[p.WorkflowID]; !ok && len(e.peers) > 0 && strings.HasPrefix(p.WorkflowID, "far/") {
		return orchestrator.Preview{}, &orchestrator.MovedError{Address: e.peers[0]}
	}
	return orchestrator.Preview{WorkflowID: p.WorkflowID, Action: p.What, Commands: []orchestrator.PreviewRecord{{Kind: "command", Topic: "cmd.psp", Key: p.WorkflowID}}}, nil
}

func (e *engine) Start(_ context.Context, s *protocol.Start) (orchestrator.Position, error) {
	e.started = append(e.started, s)
	return orchestrator.Position{Input: "intake", Partition: 1, Offset: 9}, nil
}

func (e *engine) Cancel(_ context.Context, c *protocol.Cancel) (orchestrator.Position, error) {
	e.cancelled = append(e.cancelled, c)
	return orchestrator.Position{Input: "intake", Partition: 1, Offset: 9}, nil
}

func (e *engine) Advertise() string                          { return e.name }
func (e *engine) TaskOf(string) int32                        { return 0 }
func (e *engine) Peers(context.Context) []string             { return e.peers }
func (e *engine) Node() orchestrator.Node                    { return orchestrator.Node{Address: e.name} }
func (e *engine) Definitions() []orchestrator.DefinitionInfo { return nil }
func (e *engine) Ready() error                               { return e.ready }
func (e *engine) Live() error                                { return e.live }
func (e *engine) Draining() bool                             { return e.draining }

func (e *engine) Await(_ context.Context, wid string, at orchestrator.Position) error {
	e.awaited = append(e.awaited, wid+" "+at.String())
	return nil
}

func (e *engine) GetStale(ctx context.Context, id string) (sagas.View, orchestrator.Lag, error) {
	if v, ok := e.copies[id]; ok {
		return v, orchestrator.Lag{Lag: topology.Lag{Records: 3, Age: 1500 * time.Millisecond}, Copy: true}, nil
	}
	v, err := e.Get(ctx, id)
	return v, orchestrator.Lag{}, err
}

// pair is two processes: a asks b.
func pair(t *testing.T) (a, b *engine, urlA string) {
	t.Helper()
	b = &engine{name: "b", tasks: []int32{1}, have: map[string]sagas.View{"far/1": {WorkflowID: "far/1", Rev: 7}, "far/2/x": {WorkflowID: "far/2/x"}}}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(client.CloseIdleConnections)
	serverB := httptest.NewServer(New(b, Options{Node: "b", Client: client}))
	t.Cleanup(serverB.Close)
	a = &engine{name: "a", tasks: []int32{0}, have: map[string]sagas.View{"near/1": {WorkflowID: "near/1", Rev: 3}}, peers: []string{serverB.Listener.Addr().String()}}
	serverA := httptest.NewServer(New(a, Options{Node: "a", Client: client, Actions: true}))
	t.Cleanup(serverA.Close)
	return a, b, serverA.URL
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	buf := make([]byte, 1<<16)
	for {
		n, err := resp.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return resp, b.String()
		}
	}
}

func TestInstance(t *testing.T) {
	for _, c := range []struct {
		name, path string
		status     int
		node, code string
	}{
		{"own", "/api/v1/instances/near/1", 200, "a", ""},
		{"of the other", "/api/v1/instances/far/1", 200, "b", ""},
		{"id with a slash", "/api/v1/instances/far/2/x", 200, "b", ""},
		{"unknown here", "/api/v1/instances/near/9", 404, "a", orchestrator.CodeNotFound},
		{"unknown there", "/api/v1/instances/far/9", 404, "the other's address", orchestrator.CodeNotFound},
		{"no id", "/api/v1/instances/near/", 404, "a", orchestrator.CodeBadRequest},
		{"too long", "/api/v1/instances/near/" + strings.Repeat("x", 600), 400, "a", orchestrator.CodeBadRequest},
		{"nothing there", "/api/v2", 404, "a", orchestrator.CodeBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _, url := pair(t)
			resp, body := get(t, url+c.path)
			if c.node == "the other's address" {
				c.node = a.peers[0]
			}
			if resp.StatusCode != c.status || resp.Header.Get(HeaderNode) != c.node {
				t.Errorf("status %d from %q, want %d from %q: %s", resp.StatusCode, resp.Header.Get(HeaderNode), c.status, c.node, body)
			}
			if c.code == "" {
				return
			}
			var p Problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || p.Code != c.code || p.Status != c.status ||
				resp.Header.Get("Content-Type") != contentProblem {
				t.Errorf("problem: %s (%v)", body, err)
			}
		})
	}
}

func TestMovingIs503(t *testing.T) {
	a, _, url := pair(t)
	a.moving = true
	for _, path := range []string{"/api/v1/instances/near/1", "/api/v1/instances"} {
		resp, body := get(t, url+path)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v: %s", path, resp.StatusCode, resp.Header, body)
		}
	}
}

// TestOneHopOnly: the owner that we asked has just given the instance away.
func TestOneHopOnly(t *testing.T) {
	a, b, url := pair(t)
	delete(b.have, "far/1")
	b.peers = a.peers // b says that it is elsewhere
	resp, _ := get(t, url+"/api/v1/instances/far/1")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a second hop was made: %d", resp.StatusCode)
	}
}

// TestReadYourWrites: the position that an answer names goes to the owner with the question.
func TestReadYourWrites(t *testing.T) {
	_, b, url := pair(t)
	resp, body := post(t, url+"/api/v1/instances/far/1/actions", `{"action":"suspend","operator":"ann","reason":"r"}`)
	at := resp.Header.Get(HeaderPosition)
	if resp.StatusCode != 202 || at != "control/3@1" || !strings.Contains(body, `"position":"control/3@1"`) {
		t.Fatalf("%d %q %s", resp.StatusCode, at, body)
	}
	if resp, body := get(t, url+"/api/v1/instances/far/1?after="+at); resp.StatusCode != 200 || resp.Header.Get(HeaderNode) != "b" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if !slices.Equal(b.awaited, []string{"far/1 control/3@1"}) {
		t.Errorf("awaited: %v", b.awaited)
	}
	for _, bad := range []string{"x", "control/3", "state/3@1", "control/-1@1", "control/3@x"} {
		if resp, body := get(t, url+"/api/v1/instances/far/1?after="+bad); resp.StatusCode != 400 {
			t.Errorf("%s: %d %s", bad, resp.StatusCode, body)
		}
	}
}

// TestForgedPeer: with a secret, nobody else asks what processes ask one another.
func TestForgedPeer(t *testing.T) {
	e := &engine{name: "a", tasks: []int32{0, 1}, have: map[string]sagas.View{"near/1": {WorkflowID: "near/1"}}}
	server := httptest.NewServer(New(e, Options{Node: "a", PeerSecret: []byte("a secret of the namespace")}))
	defer server.Close()
	for _, header := range [][]string{nil, {"Amends-Peer", "1.00"}, {"Amends-Peer", "x"}} {
		if resp, body := post(t, server.URL+"/internal/v1/get", `{"workflowId":"near/1"}`, header...); resp.StatusCode != 401 {
			t.Errorf("%v: %d %s", header, resp.StatusCode, body)
		}
	}
}

func TestOwnerAway(t *testing.T) {
	a, _, url := pair(t)
	a.peers = []string{"127.0.0.1:1"}
	for _, path := range []string{"/api/v1/instances/far/1", "/api/v1/instances"} {
		if resp, body := get(t, url+path); resp.StatusCode != 503 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestList(t *testing.T) {
	_, b, url := pair(t)
	list := func(query string) (page cluster.Page) {
		resp, body := get(t, url+"/api/v1/instances"+query)
		if err := json.Unmarshal([]byte(body), &page); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		return page
	}
	names := func(p cluster.Page) (out []string) {
		for _, r := range p.Instances {
			out = append(out, r.WorkflowID)
		}
		return out
	}
	if got := names(list("")); !slices.Equal(got, []string{"far/1", "far/2/x", "near/1"}) {
		t.Errorf("all: %v", got)
	}
	first := list("?limit=2")
	if got := names(first); !slices.Equal(got, []string{"far/1", "far/2/x"}) || first.Next == "" {
		t.Errorf("first page: %v, next %q", got, first.Next)
	}
	second := list("?limit=2&cursor=" + first.Next)
	if got := names(second); !slices.Equal(got, []string{"near/1"}) || second.Next != "" {
		t.Errorf("second page: %v, next %q", got, second.Next)
	}

	if got := names(list("?query=" + neturl.QueryEscape(`workflowId.startsWith("far/2")`))); !slices.Equal(got, []string{"far/2/x"}) {
		t.Errorf("query: %v", got)
	}
	b.tasks = nil // the other one has just lost its task
	if resp, _ := get(t, url+"/api/v1/instances"); resp.StatusCode != 503 {
		t.Errorf("a list with a hole was answered with %d", resp.StatusCode)
	}
	if page := list("?partial=true"); !slices.Equal(page.Missing, []int32{1}) {
		t.Errorf("partial: %+v", page)
	}
	for _, query := range []string{"?limit=x", "?limit=0", "?limit=100000", "?status=no", "?colour=red", "?query=status", "?cursor=x", "?status=running&cursor=" + first.Next} {
		if resp, _ := get(t, url+"/api/v1/instances"+query); resp.StatusCode != 400 {
			t.Errorf("%s: %d", query, resp.StatusCode)
		}
	}
}

func TestETag(t *testing.T) {
	_, _, url := pair(t)
	for path, rev := range map[string]string{"/api/v1/instances/near/1": `"3"`, "/api/v1/instances/far/1": `"7"`} {
		resp, _ := get(t, url+path)
		if got := resp.Header.Get("ETag"); got != rev {
			t.Errorf("%s: ETag %s, want %s", path, got, rev)
		}
		if resp, _ := get(t, url+path, "If-None-Match", rev); resp.StatusCode != 304 {
			t.Errorf("%s: %d, want 304", path, resp.StatusCode)
		}
	}
}

func TestReadinessIsLatched(t *testing.T) {
	a, _, url := pair(t)
	status := func(path string) int {
		resp, _ := get(t, url+path)
		return resp.StatusCode
	}
	a.ready = errors.New("restoring")
	if got := status("/readyz"); got != 503 {
		t.Errorf("before: %d", got)
	}
	a.ready = nil
	if got := status("/readyz"); got != 200 {
		t.Errorf("ready: %d", got)
	}
	a.ready = errors.New("restoring what a neighbour left")
	if got := status("/readyz"); got != 200 {
		t.Errorf("after a rebalance: %d", got)
	}
	if resp, body := get(t, url+"/readyz?verbose"); resp.StatusCode != 200 || !strings.Contains(body, "neighbour") {
		t.Errorf("verbose: %d %s", resp.StatusCode, body)
	}
	a.draining = true
	if got := status("/readyz"); got != 503 || status("/livez") != 200 {
		t.Errorf("while it drains: %d", got)
	}
	a.draining = false
	a.live = errors.New("stalled")
	if status("/readyz") != 503 || status("/livez") != 503 {
		t.Error("a stalled process is reported as well")
	}
}

// TestStaleRead: a copy answers when it is asked for, and says how far behind it may be.
func TestStaleRead(t *testing.T) {
	a, _, url := pair(t)
	a.copies = map[string]sagas.View{"far/1": {WorkflowID: "far/1", Rev: 5}}
	resp, _ := get(t, url+"/api/v1/instances/far/1")
	if resp.Header.Get(HeaderNode) != "b" || resp.Header.Get(HeaderLagMillis) != "" {
		t.Errorf("the owner's answer: %v", resp.Header)
	}
	resp, _ = get(t, url+"/api/v1/instances/far/1?stale")
	if h := resp.Header; h.Get(HeaderNode) != "a" || h.Get("ETag") != `"5"` || h.Get(HeaderLagRecords) != "3" || h.Get(HeaderLagMillis) != "1500" {
		t.Errorf("the copy's answer: %v", h)
	}
	resp, _ = get(t, url+"/api/v1/instances/near/1?stale")
	if h := resp.Header; resp.StatusCode != 200 || h.Get(HeaderLagRecords) != "0" || h.Get(HeaderLagMillis) != "0" {
		t.Errorf("the owner's answer to ?stale: %d %v", resp.StatusCode, h)
	}
}

func TestOnlyGet(t *testing.T) {
	_, _, url := pair(t)
	resp, err := http.Post(url+"/api/v1/instances/near/1", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode < 400 {
		t.Errorf("POST answered %d", resp.StatusCode)
	}
}

func post(t *testing.T, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestActions(t *testing.T) {
	a, _, url := pair(t)
	near := url + "/api/v1/instances/near/1"
	resp, body := post(t, near+"/actions", `{"action":"retry","path":"auth","operator":"ann","reason":"the bank is back"}`, "Idempotency-Key", "q-1", "If-Match", `"3"`)
	if resp.StatusCode != 202 || body != `{"workflowId":"near/1","requestId":"q-1","position":"control/3@1"}`+"\n" || len(a.acted) != 1 {
		t.Fatalf("%d %s %v", resp.StatusCode, body, a.acted)
	}
	if got := a.acted[0]; got.Action != protocol.ActionRetry || got.Path != "auth" || got.Operator != "ann" || got.RequestID != "q-1" || got.ExpectRev != 3 || got.WorkflowID() != "near/1" {
		t.Errorf("action: %+v", got)
	}
	if resp, body := post(t, url+"/api/v1/instances/far/2/x/actions", `{"action":"skip","path":"a","args":{"output":{"id":1}},"operator":"ann","reason":"r"}`); resp.StatusCode != 202 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if got := a.acted[1]; got.WorkflowID() != "far/2/x" || got.Args["output"] != `{"id":1}` || got.RequestID == "" {
		t.Errorf("action: %+v", got)
	}
	resp, body = post(t, near+"/signals", `{"name":"paid","payload":{"amount":5},"ttl":"1h","actor":"shop","signalId":"s-1"}`)
	if resp.StatusCode != 202 || len(a.signalled) != 1 || a.signalled[0].TTL != 3600_000 || string(a.signalled[0].Payload) != `{"amount":5}` {
		t.Errorf("%d %s %v", resp.StatusCode, body, a.signalled)
	}
	for _, c := range []struct {
		name, path, body string
		header           []string
		status           int
		says             string
	}{
		{"old revision", "near/1/actions", `{"action":"suspend","operator":"a","reason":"r","expectRev":2}`, nil, 409, "revision 3"},
		{"old revision at the other", "far/2/x/actions", `{"action":"suspend","operator":"a","reason":"r","expectRev":99}`, nil, 409, "revision 0"},
		{"no such instance", "near/9/actions", `{"action":"suspend","operator":"a","reason":"r"}`, nil, 404, "no instance"},
		{"no operator", "near/1/actions", `{"action":"suspend","reason":"r"}`, nil, 400, "operator"},
		{"strange action", "near/1/actions", `{"action":"suspent","operator":"a","reason":"r"}`, nil, 400, `Did you mean`},
		{"strange field", "near/1/actions", `{"action":"suspend","operator":"a","reason":"r","pfad":"x"}`, nil, 400, "pfad"},
		{"type in the body", "near/1/actions", `{"type":"far","action":"suspend","operator":"a","reason":"r"}`, nil, 400, "body.type"},
		{"not JSON", "near/1/actions", `suspend`, nil, 400, "invalid character"},
		{"null", "near/1/actions", `null`, nil, 400, "expected object"},
		{"form", "near/1/actions", `action=suspend`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "content type"},
		{"foreign page", "near/1/actions", `{"action":"suspend","operator":"a","reason":"r"}`, []string{"Origin", "http://evil.example"}, 403, "origin"},
		{"bad revision", "near/1/actions", `{"action":"suspend","operator":"a","reason":"r"}`, []string{"If-Match", `"x"`}, 400, "If-Match"},
		{"decision", "near/1/signals", `{"name":"decision/desk","actor":"boss","payload":{"decision":"approve"}}`, nil, 400, "control topic"},
		{"no name", "near/1/signals", `{}`, nil, 400, "name"},
		{"no id", "near/actions", `{"action":"suspend","operator":"a","reason":"r"}`, nil, 404, "nothing"},
		{"no verb", "near/1", `{}`, nil, 404, "nothing"},
	} {
		resp, body := post(t, url+"/api/v1/instances/"+c.path, c.body, c.header...)
		var p Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != c.status || p.Status != c.status || !strings.Contains(body, c.says) ||
			resp.Header.Get("Content-Type") != contentProblem {
			t.Errorf("%s: %d %s, want %d %q", c.name, resp.StatusCode, body, c.status, c.says)
		}
	}
	if len(a.acted) != 2 || len(a.signalled) != 1 {
		t.Errorf("a refused request was written: %v %v", a.acted, a.signalled)
	}
}

func TestActionsAreOff(t *testing.T) {
	e := &engine{have: map[string]sagas.View{"near/1": {WorkflowID: "near/1"}}}
	server := httptest.NewServer(New(e, Options{}))
	defer server.Close()
	for _, verb := range []string{"actions", "signals"} {
		if resp, body := post(t, server.URL+"/api/v1/instances/near/1/"+verb, `{}`); resp.StatusCode != 403 || !strings.Contains(body, "--api-actions") {
			t.Errorf("%s: %d %s", verb, resp.StatusCode, body)
		}
	}
}

// refusing finds nothing and does nothing, whatever it is asked: for tests about who may ask.
type refusing struct{ *engine }

var errNothing = &orchestrator.Error{Code: orchestrator.CodeNotFound, Class: orchestrator.ErrNotFound, Cause: "nothing"}

func (r *refusing) Definition(string, uint32) (d orchestrator.DefinitionSource, err error) {
	return d, errNothing
}
func (r *refusing) CompareDefinitions(string, uint32, uint32) ([]orchestrator.Change, error) {
	return nil, errNothing
}
func (r *refusing) Publish(context.Context, string, []byte, bool) ([]orchestrator.Published, error) {
	return nil, errNothing
}
func (r *refusing) Activate(context.Context, string, uint32) (uint32, error) { return 0, errNothing }
func (r *refusing) Claim(context.Context, string, string, string, bool, bool) error {
	return errNothing
}
func (r *refusing) Letters(context.Context, string, int64, int) (l orchestrator.Letters, err error) {
	return l, errNothing
}
func (r *refusing) Letter(context.Context, int64) (l orchestrator.Letter, err error) {
	return l, errNothing
}
func (r *refusing) Replay(context.Context, int64, orchestrator.Replay) (l orchestrator.Replayed, err error) {
	return l, errNothing
}
func (r *refusing) Drop(context.Context, int64, string, string) error { return errNothing }
func (r *refusing) Bindings(context.Context) ([]orchestrator.BindingInfo, error) {
	return []orchestrator.BindingInfo{}, nil
}
func (r *refusing) HoldBinding(context.Context, string, bool, string, string) (b orchestrator.BindingInfo, err error) {
	return b, errNothing
}
func (r *refusing) ReplayBinding(context.Context, string, int64, int64, bool, string, string) (b bindings.Reread, err error) {
	return b, errNothing
}
func (r *refusing) Audit(context.Context, int64, int64, int) (a orchestrator.Audit, err error) {
	return a, errNothing
}
func (r *refusing) Batches() []orchestrator.Batch                  { return []orchestrator.Batch{} }
func (r *refusing) Batch(string) (b orchestrator.Batch, err error) { return b, errNothing }
func (r *refusing) CreateBatch(_ context.Context, b orchestrator.Batch) (orchestrator.Batch, error) {
	return b, errNothing
}
func (r *refusing) Steer(context.Context, string, string, int, string) (b orchestrator.Batch, err error) {
	return b, errNothing
}
func (r *refusing) Approvals(context.Context) (orchestrator.Approvals, error) {
	return orchestrator.Approvals{Tasks: r.tasks}, nil
}
func (r *refusing) History(context.Context, string, sagas.View, uint64) (h orchestrator.History, err error) {
	return h, errNothing
}
func (r *refusing) Messages(context.Context, string, sagas.View) (m orchestrator.Messages, err error) {
	return m, errNothing
}

// contextFor ends streams and waits soon.
func contextFor(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), 150*time.Millisecond)
}

func (r *refusing) Explain(context.Context, string) (e explain.Explanation, err error) {
	return e, errNothing
}
