package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/amendsio/amends/bindings"
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

func (e *engine) Advertise() string { return e.name }

func (e *engine) TaskOf(string) int32 { return 0 }

func (e *engine) Peers(context.Context) []string { return e.peers }

func (e *engine) Node() orchestrator.Node { return orchestrator.Node{Address: e.name} }

func (e *engine) Definitions() []orchestrator.DefinitionInfo { return nil }

func (e *engine) Pulse(q orchestrator.PulseQuestion) (orchestrator.Pulse, error) {
	return orchestrator.Pulse{Since: 1, Sagas: []orchestrator.SagaPulse{{Type: "pay", Parts: make([]orchestrator.Ends, q.Parts)}}, Steps: []orchestrator.StepPulse{{Type: "pay", Version: 1, Step: "auth", Done: 2}}}, q.Check()
}
func (e *engine) Stands(context.Context, string) (orchestrator.Stands, error) {
	return orchestrator.Stands{Stands: []orchestrator.Stand{{Version: 1, Step: "auth", N: 2}}, Tasks: e.tasks}, nil
}
func (e *engine) Ready() error { return e.ready }

func (e *engine) Live() error { return e.live }

func (e *engine) Draining() bool { return e.draining }

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

func (r *refusing) Letters(context.Context, orchestrator.LetterQuery) (l orchestrator.Letters, err error) {
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

func (r *refusing) Batches() []orchestrator.Batch { return []orchestrator.Batch{} }

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
