package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bridge"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

const partitions = 4

// provider is a payment provider that honours Idempotency-Key: what it answered once it answers again,
// and a key takes effect once. It is reached over pipes in memory.
type provider struct {
	listener *pipes
	server   *http.Server

	mu       sync.Mutex
	effects  map[string]string // charge id by the key that made it
	answers  map[string]answer // by key
	requests []string          // method, path, key
	headers  []http.Header
	gate     chan struct{} // requests wait here when it is not nil
	down     bool          // connections are refused
	script   func(rw http.ResponseWriter, req *http.Request, p *provider, body map[string]any) bool
}

type answer struct {
	status int
	body   string
}

func newProvider(t *testing.T) *provider {
	p := &provider{listener: newPipes(), effects: map[string]string{}, answers: map[string]answer{}}
	p.server = &http.Server{Handler: p}
	var lives sync.WaitGroup
	lives.Go(func() { _ = p.server.Serve(p.listener) })
	t.Cleanup(func() {
		_ = p.server.Close()
		lives.Wait()
	})
	return p
}

func (p *provider) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	return p.listener.dial(ctx)
}

func (p *provider) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	src, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	body := map[string]any{}
	_ = json.Unmarshal(src, &body)
	key := req.Header.Get("Idempotency-Key")
	p.mu.Lock()
	p.requests = append(p.requests, req.Method+" "+req.URL.EscapedPath()+" "+key)
	p.headers = append(p.headers, req.Header.Clone())
	gate, script := p.gate, p.script
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-req.Context().Done():
			return
		}
	}
	if script != nil && script(rw, req, p, body) {
		return
	}
	p.mu.Lock()
	a, found := p.answers[key]
	if !found || req.Method == http.MethodGet {
		a = p.act(req, key, body)
		p.answers[key] = a
	}
	p.mu.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(a.status)
	_, _ = io.WriteString(rw, a.body)
}

// act takes effect. The lock is held.
func (p *provider) act(req *http.Request, key string, body map[string]any) answer {
	switch {
	case req.Method == http.MethodPost:
		if body["fail"] != nil {
			return answer{http.StatusPaymentRequired, `{"error":{"code":"NO_FUNDS"}}`}
		}
		p.effects[key] = "ch-" + key
		return answer{http.StatusCreated, `{"id":"ch-` + key + `"}`}
	case req.Method == http.MethodDelete:
		for k, id := range p.effects {
			if strings.HasSuffix(req.URL.Path, "/"+id) {
				delete(p.effects, k)
				return answer{http.StatusOK, `{}`}
			}
		}
		return answer{http.StatusNotFound, `{}`}
	default:
		if id, found := p.effects[req.URL.Query().Get("key")]; found {
			return answer{http.StatusOK, `{"id":"` + id + `"}`}
		}
		return answer{http.StatusNotFound, `{}`}
	}
}

// did counts requests that begin so.
func (p *provider) did(prefix string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func (p *provider) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), gone: make(chan struct{})} }

func (l *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.gone:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.gone) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

const file = `
bridge: NAME
destinations:
  psp:
    url: http://psp.example/v1
    timeout: 5s
    retries: 0
    breaker: {failures: 0}
commands:
  charge:
    keyWindow: 1h
    do:
      path: /charges
      outcomes:
        - {when: '=status == 402', outcome: rejected, code: '=body.error.code'}
    undo: {method: DELETE, path: '/charges/{id}', params: {id: '="ch-" + command.forwardKey'}}
    inquire: {path: /charges, query: {key: '=command.forwardKey'}}
`

// shop is a bridge with its broker and its provider.
type shop struct {
	t       *testing.T
	k       *kafkatest.Cluster
	psp     *provider
	name    string
	topic   string
	replies string
	disk    *kafkatest.Disk
	file    string
	change  func(*bridge.Config)
}

func newShop(t *testing.T, k *kafkatest.Cluster) *shop {
	s := &shop{t: t, k: k, psp: newProvider(t), name: k.Name("psp"), disk: kafkatest.NewDisk(), file: file}
	s.topic = k.CreateTopic(protocol.CommandTopic(s.name), partitions, nil)
	s.replies = k.CreateTopic(k.Namespace()+".saga.replies", 5, nil)
	return s
}

func (s *shop) runner(failpoint func(name string, task int32) error) *bridge.Runner {
	s.t.Helper()
	b, err := bridge.Parse("bridge.yaml", []byte(strings.ReplaceAll(s.file, "NAME", s.name)))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := bridge.Config{
		Bridge: b, Client: s.k.Opts(), DataDir: "/data", CreateTopics: true, Tasks: 2, Dial: s.psp.dial,
		Runtime: func(cfg *topology.Config) {
			cfg.FS = s.disk.FS
			cfg.InstanceID = "one" // so that the group does not wait for a process that crashed
			cfg.CacheBytes = 1 << 20
			cfg.Failpoint = failpoint
			cfg.Timing.Session = 6 * time.Second
			cfg.Timing.Heartbeat = 200 * time.Millisecond
			cfg.Timing.Backoff = 10 * time.Millisecond
			if !s.k.IsReal() {
				cfg.Timing.FetchMaxWait = 10 * time.Minute
			}
		},
	}
	if s.change != nil {
		s.change(&cfg)
	}
	r, err := bridge.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// until runs a bridge until there are n replies, and ends it. A crash that the failpoint asked for ends
// it sooner.
func (s *shop) until(n int, failpoint func(name string, task int32) error) (crashed bool) {
	s.t.Helper()
	return s.while(failpoint, func(seen int) bool { return seen >= n })
}

// while runs a bridge until enough says so, which is asked with the number of replies after each of them
// and at the start.
func (s *shop) while(failpoint func(name string, task int32) error, enough func(replies int) bool) (crashed bool) {
	s.t.Helper()
	ctx, stop := s.k.Context()
	defer stop()
	ended := make(chan error, 1)
	r := s.runner(failpoint)
	go func() { ended <- r.Run(ctx) }()
	met := make(chan struct{})
	watch, unwatch := context.WithCancel(ctx)
	var lives sync.WaitGroup
	lives.Go(func() {
		cl := s.k.Client(kgo.ConsumeTopics(s.replies), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cl.Close()
		for got := 0; !enough(got); {
			got += cl.PollFetches(watch).NumRecords()
			if watch.Err() != nil {
				return
			}
		}
		close(met)
	})
	var err error
	select {
	case <-met:
		stop()
		err = <-ended
	case err = <-ended:
		crashed = errors.Is(err, topology.ErrCrash)
	}
	unwatch()
	lives.Wait()
	if err != nil && !crashed {
		s.t.Fatalf("run: %v", err)
	}
	return crashed
}

func (s *shop) command(op protocol.Op, name, wid, key, fwd string) protocol.Command {
	cmd := protocol.Command{
		Token:      protocol.Token{WorkflowID: wid, Run: 1, Path: key, Op: op, Round: 1, Attempt: 1}.Encode(nil),
		WorkflowID: wid, Op: op, Name: name, Key: key, ForwardKey: fwd, Attempt: 1, Definition: "order@1",
		ReplyTo: s.replies, ReplyPartition: protocol.Partition([]byte(wid), 5), ContentType: protocol.ContentJSON,
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	if op != protocol.OpUndo {
		cmd.Deadline = time.Now().Add(time.Hour).UnixMilli()
	}
	return cmd
}

func (s *shop) do(wid, key string) protocol.Command {
	return s.command(protocol.OpDo, "charge", wid, key, "")
}

func (s *shop) undo(wid, key, fwd string) protocol.Command {
	return s.command(protocol.OpUndo, "charge", wid, key, fwd)
}

func (s *shop) ask(wid, key, fwd string) protocol.Command {
	return s.command(protocol.OpInquire, "charge", wid, key, fwd)
}

func (s *shop) record(cmd protocol.Command, payload string) *kgo.Record {
	rec := &kgo.Record{Topic: s.topic, Key: []byte(cmd.WorkflowID), Value: []byte(payload)}
	for _, h := range cmd.Headers() {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	return rec
}

// answers shows every committed reply as "path outcome effect code value", sorted; effect only when it is
// not the outcome's default.
func (s *shop) answers() string {
	s.t.Helper()
	var lines []string
	for _, rec := range s.k.ReadStable(s.replies) {
		var hs []protocol.Header
		for _, h := range rec.Headers {
			hs = append(hs, protocol.Header(h))
		}
		r, err := protocol.ParseReply(hs)
		if err != nil {
			s.t.Fatal(err)
		}
		tok, err := protocol.DecodeToken(r.Token, nil)
		if err != nil || string(rec.Key) != tok.WorkflowID || rec.Partition != protocol.Partition(rec.Key, 5) {
			s.t.Errorf("reply of %+v has key %s on partition %d: %v", tok, rec.Key, rec.Partition, err)
		}
		line := fmt.Sprintf("%s %s", tok.Path, r.Outcome)
		if r.Effect != r.Outcome.DefaultEffect() {
			line += " effect=" + string(r.Effect)
		}
		if r.Code != "" {
			line += " " + r.Code
		}
		if r.RetryAfter > 0 {
			line += fmt.Sprintf(" after=%dms", r.RetryAfter)
		}
		if len(rec.Value) > 0 {
			line += " " + string(rec.Value)
		}
		if r.Noop {
			line += " noop"
		}
		if r.Replayed {
			line += " replayed"
		}
		lines = append(lines, line)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func (s *shop) want(want string) {
	s.t.Helper()
	if got := s.answers(); got != want {
		s.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func both(t *testing.T, fn func(t *testing.T, k *kafkatest.Cluster)) {
	t.Run("bubble", func(t *testing.T) { kafkatest.Bubble(t, fn) })
	t.Run("cluster", func(t *testing.T) { fn(t, kafkatest.New(t)) })
}
