package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
)

// process is one of a namespace that exists in maps only: it has some tasks, and the instances of each. What a test
// does not ask of it is nil.
type process struct {
	Local
	all     *[]*process
	address string
	tasks   map[int32][]string // workflow IDs
	copies  map[int32][]string // of standbys
	asked   atomic.Int32       // questions to its stores
	fail    error              // of those
	pulse   orchestrator.Pulse
	cluster *Cluster
}

const testTasks = 4

// namespace makes processes that answer one another over HTTP.
func namespace(t *testing.T, o Options, processes ...*process) {
	t.Helper()
	for _, p := range processes {
		p.all = &processes
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.cluster.Handler().ServeHTTP(w, r) }))
		t.Cleanup(server.Close)
		p.address = server.Listener.Addr().String()
		p.cluster = New(p, o)
	}
}

func (p *process) Advertise() string { return p.address }
func (p *process) TaskOf(wid string) int32 {
	return int32(wid[len(wid)-1]) % testTasks // by its last letter
}

// Routes tells the truth about all; nobody is asked for a task that nobody has.
func (p *process) Routes(context.Context) ([]orchestrator.Route, error) {
	routes := make([]orchestrator.Route, testTasks)
	for task := range routes {
		r := &routes[task]
		r.Task = int32(task)
		for _, other := range *p.all {
			if _, ok := other.tasks[r.Task]; ok {
				r.Address, r.Here = other.address, other == p
			}
			if _, ok := other.copies[r.Task]; ok {
				r.Copies = append(r.Copies, other.address)
			}
		}
	}
	return routes, nil
}

func (p *process) Peers(context.Context) (list []string) {
	for _, other := range *p.all {
		if other != p {
			list = append(list, other.address)
		}
	}
	return list
}

func (p *process) Get(_ context.Context, wid string) (sagas.View, error) {
	p.asked.Add(1)
	if p.fail != nil {
		return sagas.View{}, p.fail
	}
	task := p.TaskOf(wid)
	ids, here := p.tasks[task]
	switch {
	case slices.Contains(ids, wid):
		return sagas.View{WorkflowID: wid}, nil
	case here:
		return sagas.View{}, &orchestrator.Error{Code: orchestrator.CodeNotFound, Class: orchestrator.ErrNotFound, Cause: "no instance", Fix: "look elsewhere"}
	}
	for _, other := range *p.all {
		if _, ok := other.tasks[task]; ok {
			return sagas.View{}, &orchestrator.MovedError{Address: other.address}
		}
	}
	return sagas.View{}, moving("nobody has it", nil)
}

func (p *process) GetStale(ctx context.Context, wid string) (sagas.View, orchestrator.Lag, error) {
	if slices.Contains(p.copies[p.TaskOf(wid)], wid) {
		var lag orchestrator.Lag
		lag.Copy, lag.Records, lag.Age = true, 7, 3*time.Second
		return sagas.View{WorkflowID: wid}, lag, nil
	}
	v, err := p.Get(ctx, wid)
	return v, orchestrator.Lag{}, err
}

// Find gives what it has, one more than the limit, as the real one does.
func (p *process) Find(_ context.Context, _ *query.Query, after string, limit int) (part orchestrator.Part, err error) {
	p.asked.Add(1)
	if p.fail != nil {
		return part, p.fail
	}
	for task, ids := range p.tasks {
		part.Tasks = append(part.Tasks, orchestrator.TaskPart{Task: task})
		for _, wid := range ids {
			if wid > after {
				part.Rows = append(part.Rows, orchestrator.Row{WorkflowID: wid})
			}
		}
	}
	slices.SortFunc(part.Rows, func(a, b orchestrator.Row) int { return strings.Compare(a.WorkflowID, b.WorkflowID) })
	if len(part.Rows) > limit+1 {
		part.Rows = part.Rows[:limit+1]
		for i := range part.Tasks {
			part.Tasks[i].Upto = part.Rows[limit].WorkflowID
		}
	}
	return part, nil
}

func (p *process) Count(context.Context, *query.Query) (t orchestrator.Tally, err error) {
	p.asked.Add(1)
	for task, ids := range p.tasks {
		t.N, t.Tasks = t.N+int64(len(ids)), append(t.Tasks, task)
	}
	t.AtLeast = len(t.Tasks) == 0
	return t, p.fail
}

func (p *process) Census() (c orchestrator.Census, err error) {
	p.asked.Add(1)
	for task, ids := range p.tasks {
		c.Rows, c.Tasks = append(c.Rows, orchestrator.CensusRow{Type: "pay", Version: 1, Status: "running", N: int64(len(ids))}), append(c.Tasks, task)
	}
	return c, p.fail
}

func (p *process) Node() orchestrator.Node { return orchestrator.Node{Version: "of " + p.address} }

func (p *process) Pulse(orchestrator.PulseQuestion) (orchestrator.Pulse, error) {
	p.asked.Add(1)
	return p.pulse, p.fail
}

func (p *process) Stands(context.Context, string) (s orchestrator.Stands, err error) {
	for task, ids := range p.tasks {
		s.Stands, s.Tasks = append(s.Stands, orchestrator.Stand{Version: 2, Step: "ship", N: int64(len(ids))}), append(s.Tasks, task)
	}
	return s, p.fail
}

// three processes with the letters a to l in four tasks; d, h and l are of task 0.
func three(t *testing.T, o Options) (a, b, c *process) {
	t.Helper()
	a = &process{tasks: map[int32][]string{1: {"pay/a", "pay/e", "pay/i"}}}
	b = &process{tasks: map[int32][]string{2: {"pay/b", "pay/f", "pay/j"}, 3: {"pay/c", "pay/g", "pay/k"}}}
	c = &process{tasks: map[int32][]string{0: {"pay/d", "pay/h", "pay/l"}}, copies: map[int32][]string{1: {"pay/a"}, 2: {"pay/b"}}}
	namespace(t, o, a, b, c)
	return a, b, c
}

func idsOf(p Page) (ids []string) {
	for _, r := range p.Instances {
		ids = append(ids, strings.TrimPrefix(r.WorkflowID, "pay/"))
	}
	return ids
}

// TestPages: the pages of a list meet each instance once, in order, whatever process has it and whatever their length.
func TestPages(t *testing.T) {
	a, _, _ := three(t, Options{})
	for limit := 1; limit <= 13; limit++ {
		var got []string
		q := Query{Limit: limit}
		for range 20 {
			page, err := a.cluster.List(t.Context(), q)
			if err != nil || len(page.Instances) > limit {
				t.Fatalf("limit %d: %d rows, %v", limit, len(page.Instances), err)
			}
			got = append(got, idsOf(page)...)
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if s := strings.Join(got, ""); s != "abcdefghijkl" {
			t.Errorf("limit %d: %s", limit, s)
		}
	}
}

// TestCursors: a cursor belongs to its query, and keeps what the query meant by now.
func TestCursors(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	a, _, _ := three(t, Options{Clock: func() time.Time { return now }})
	q := Query{CEL: "started < now", Limit: 2}
	page, err := a.cluster.List(t.Context(), q)
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	q.Cursor = page.Next
	now = now.Add(time.Hour)
	if r, err := a.cluster.request(q); err != nil || r.Now != 1_000_000 || r.After != "pay/b" {
		t.Errorf("%+v %v", r, err)
	}
	for name, bad := range map[string]Query{
		"of another query":  {CEL: "started > now", Cursor: page.Next},
		"of another status": {CEL: q.CEL, Status: "running", Cursor: page.Next},
		"garbage":           {Cursor: "%%%"},
		"no JSON":           {Cursor: "AAAA"},
		"bad query":         {CEL: "=="},
		"bad status":        {Status: "asleep"},
		"long":              {Limit: MaxLimit + 1},
	} {
		if _, err := a.cluster.List(t.Context(), bad); !errors.Is(err, orchestrator.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOneHop: a process that another asks answers from its own stores only, and says so when it has moved on.
func TestOneHop(t *testing.T) {
	a, b, c := three(t, Options{})
	got, err := a.cluster.Get(t.Context(), "pay/b", How{})
	if err != nil || got.View.WorkflowID != "pay/b" || got.Node != b.address || got.Behind != nil {
		t.Errorf("%+v %v", got, err)
	}
	if n := c.asked.Load(); n != 0 {
		t.Errorf("a third process was asked %d times", n)
	}
	var e *orchestrator.Error
	if _, err := a.cluster.Get(t.Context(), "pay/z2", How{}); !errors.Is(err, orchestrator.ErrNotFound) || !errors.As(err, &e) || e.Code != orchestrator.CodeNotFound || e.Fix != "look elsewhere" {
		t.Errorf("an error of the other side came as %v", err)
	}
	// b is asked for what a has: it may not ask on.
	before := a.asked.Load()
	err = a.cluster.peers.ask(t.Context(), b.address, opGet, getRequest{WorkflowID: "pay/a"}, &got)
	if !errors.Is(err, orchestrator.ErrMoving) || a.asked.Load() != before {
		t.Errorf("%v; the owner was asked %d times", err, a.asked.Load()-before)
	}
}

// TestCopies: while an owner is silent a standby answers whoever accepts it, and says how far it may be behind.
func TestCopies(t *testing.T) {
	a, b, c := three(t, Options{})
	b.fail = errors.New("disk")
	if _, err := a.cluster.Get(t.Context(), "pay/b", How{}); !errors.Is(err, orchestrator.ErrUnreachable) {
		t.Errorf("an owner that fails: %v", err)
	}
	silence(b)
	if _, err := a.cluster.Get(t.Context(), "pay/b", How{}); !errors.Is(err, orchestrator.ErrMoving) {
		t.Errorf("a silent owner: %v", err)
	}
	got, err := a.cluster.Get(t.Context(), "pay/b", How{Stale: true})
	if err != nil || got.Node != c.address || got.Behind == nil || *got.Behind != (Behind{Records: 7, Millis: 3000}) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.cluster.Get(t.Context(), "pay/a", How{Stale: true}); err != nil || got.Node != c.address || got.Behind == nil {
		t.Errorf("its own copy: %+v %v", got, err)
	}
}

// silence has a process answer nothing that is in our language.
func silence(p *process) {
	p.cluster = New(p, Options{Secret: []byte("another secret than the others have")})
}

// TestUnread: a list with a hole is an error, unless it may be partial: then the tasks that lack are named.
func TestUnread(t *testing.T) {
	a, b, _ := three(t, Options{})
	silence(b)
	q := Query{Limit: 20}
	if _, err := a.cluster.List(t.Context(), q); !errors.Is(err, orchestrator.ErrMoving) {
		t.Errorf("a list with a hole: %v", err)
	}
	if _, err := a.cluster.Count(t.Context(), q); !errors.Is(err, orchestrator.ErrMoving) {
		t.Errorf("a count with a hole: %v", err)
	}
	q.Partial = true
	page, err := a.cluster.List(t.Context(), q)
	if s := strings.Join(idsOf(page), ""); err != nil || s != "adehil" || !slices.Equal(page.Missing, []int32{2, 3}) {
		t.Errorf("%s, missing %v, %v", s, page.Missing, err)
	}
	n, err := a.cluster.Count(t.Context(), q)
	if err != nil || n.N != 6 || !slices.Equal(n.Missing, []int32{2, 3}) {
		t.Errorf("%+v %v", n, err)
	}
	census, err := a.cluster.Census(t.Context())
	if err != nil || len(census.Rows) != 1 || census.Rows[0].N != 6 || !slices.Equal(census.Missing, []int32{2, 3}) {
		t.Errorf("%+v %v", census, err)
	}
	stands, err := a.cluster.Stands(t.Context(), "pay")
	if err != nil || len(stands.Stands) != 1 || stands.Stands[0].N != 6 || !slices.Equal(stands.Missing, []int32{2, 3}) {
		t.Errorf("%+v %v", stands, err)
	}
	nodes, err := a.cluster.Nodes(t.Context())
	if err != nil || len(nodes.Nodes) != 3 {
		t.Fatal(nodes, err)
	}
	for _, n := range nodes.Nodes {
		if n.Unreachable != (n.Address == b.address) {
			t.Errorf("%+v", n)
		}
	}
}

// TestMovedMeanwhile: two that both show a task are one; a task that nobody has is a hole.
func TestMovedMeanwhile(t *testing.T) {
	a, b, _ := three(t, Options{})
	a.tasks[2] = b.tasks[2] // a has just taken it over, b does not know yet
	page, err := a.cluster.List(t.Context(), Query{})
	if s := strings.Join(idsOf(page), ""); err != nil || s != "abcdefghijkl" {
		t.Errorf("%s %v", s, err)
	}
	delete(a.tasks, 2)
	delete(b.tasks, 2)
	if _, err := a.cluster.List(t.Context(), Query{}); !errors.Is(err, orchestrator.ErrMoving) {
		t.Errorf("without an owner: %v", err)
	}
}

// TestInvalidWins: what a process finds wrong with a question is no hole.
func TestInvalidWins(t *testing.T) {
	a, b, _ := three(t, Options{})
	b.fail = invalid("not like this")
	if _, err := a.cluster.List(t.Context(), Query{Partial: true}); !errors.Is(err, orchestrator.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

// TestSignatures: only who has the secret is answered, for a minute, and for what it signed.
func TestSignatures(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	a, b, _ := three(t, Options{Secret: []byte("0123456789abcdef"), Clock: func() time.Time { return now }})
	if _, err := a.cluster.Get(t.Context(), "pay/b", How{}); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"workflowId":"pay/b"}`)
	at := fmt.Sprint(now.UnixMilli())
	mac := func(op string, body []byte) string {
		return fmt.Sprintf("%x", sign([]byte("0123456789abcdef"), at, op, body))
	}
	for name, c := range map[string]struct {
		signature string
		late      time.Duration
		want      int
	}{
		"good":             {at + "." + mac(opGet, body), 0, 200},
		"none":             {"", 0, 401},
		"of another body":  {at + "." + mac(opGet, []byte(`{}`)), 0, 401},
		"of another op":    {at + "." + mac(opFind, body), 0, 401},
		"of another time":  {"1" + at + "." + mac(opGet, body), 0, 401},
		"too old":          {at + "." + mac(opGet, body), 61 * time.Second, 401},
		"of the future":    {at + "." + mac(opGet, body), -61 * time.Second, 401},
		"with a bad digit": {at + ".zz", 0, 401},
	} {
		now = time.UnixMilli(1_700_000_000_000).Add(c.late)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+b.address+Prefix+opGet, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if c.signature != "" {
			req.Header.Set(headerSignature, c.signature)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body) // its status is what counts
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, text, c.want)
		}
	}
}

// TestCensusWithin asks the others once, for all who ask meanwhile, and again when it is too old.
func TestCensusWithin(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	a, b, _ := three(t, Options{Clock: func() time.Time { return now }})
	for range 5 {
		if c, err := a.cluster.CensusWithin(t.Context(), 2*time.Second); err != nil || c.Rows[0].N != 12 {
			t.Fatal(c, err)
		}
	}
	now = now.Add(2 * time.Second)
	if _, err := a.cluster.CensusWithin(t.Context(), 2*time.Second); err != nil {
		t.Fatal(err)
	}
	if n := b.asked.Load(); n != 2 {
		t.Errorf("another process was asked %d times, want 2", n)
	}
}

// TestPulse adds up what processes counted, and names those that did not answer.
func TestPulse(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	a, b, c := three(t, Options{Clock: func() time.Time { return now }})
	mark := orchestrator.Mark{At: 5, Kind: orchestrator.MarkVersion, Type: "pay", Version: 2}
	a.pulse = orchestrator.Pulse{Since: 100, Oldest: 60, Marks: []orchestrator.Mark{mark, {At: 7, Kind: orchestrator.MarkStarted, Node: "a"}},
		Sagas: []orchestrator.SagaPulse{{Type: "pay", Parts: []orchestrator.Ends{{Completed: 1}, {Completed: 2}}, Took: orchestrator.Spread{20, 3}}},
		Steps: []orchestrator.StepPulse{{Type: "pay", Version: 2, Step: "auth", Done: 3, Sent: 4, Took: orchestrator.Spread{20, 3}}}}
	b.pulse = orchestrator.Pulse{Since: 300, Oldest: 50, Cut: true, Marks: []orchestrator.Mark{mark},
		Sagas: []orchestrator.SagaPulse{{Type: "pay", Parts: []orchestrator.Ends{{Compensated: 5}, {}}, Took: orchestrator.Spread{40, 1}}, {Type: "refund", Parts: []orchestrator.Ends{{}, {Started: 1}}}},
		Steps: []orchestrator.StepPulse{{Type: "pay", Version: 2, Step: "auth", Done: 1, Refused: 2, Took: orchestrator.Spread{40, 1}}, {Type: "pay", Version: 1, Step: "auth", Failed: 1}}}
	w := Window{Length: 2 * time.Hour, Parts: 2, Steps: true}
	p, err := a.cluster.Pulse(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if p.Since != 300 || p.Oldest != 50 || !p.Cut || p.Part != 3600_000 || p.Until-p.From != 7200_000 || p.Until <= now.UnixMilli() || p.Until > now.UnixMilli()+60_000 {
		t.Errorf("%+v", p)
	}
	if len(p.Sagas) != 2 || p.Sagas[0].Total != (orchestrator.Ends{Completed: 3, Compensated: 5}) || p.Sagas[0].Parts[0] != (orchestrator.Ends{Completed: 1, Compensated: 5}) ||
		p.Sagas[0].P50 != orchestrator.BucketMs(20) || p.Sagas[0].P95 != orchestrator.BucketMs(40) || p.Sagas[1].P50 != -1 {
		t.Errorf("%+v", p.Sagas)
	}
	if len(p.Steps) != 2 || p.Steps[1].Done != 4 || p.Steps[1].Sent != 4 || p.Steps[1].Refused != 2 || p.Steps[1].P50 != orchestrator.BucketMs(20) || p.Steps[0].P95 != -1 {
		t.Errorf("%+v", p.Steps)
	}
	if len(p.Changes) != 2 || p.Changes[0].Kind != orchestrator.MarkStarted || p.Changes[1] != mark {
		t.Errorf("%+v", p.Changes)
	}
	silence(c)
	if p, err = a.cluster.Pulse(t.Context(), w); err != nil || !slices.Equal(p.Unread, []string{c.address}) || len(p.Sagas) != 2 {
		t.Errorf("%+v %v", p, err)
	}
	for _, bad := range []Window{{Length: time.Hour, Parts: 7}, {Length: 48 * time.Hour, Parts: 48}, {Length: time.Minute, Parts: 2}, {Length: 24 * time.Hour, Parts: 1440}} {
		if _, err := a.cluster.Pulse(t.Context(), bad); !errors.Is(err, orchestrator.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
