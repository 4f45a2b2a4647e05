package bridge_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/bridge"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

// Nothing was ever sent: the failure has no effect, and the next attempt is a first one again.
func TestUnreachable(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		s.psp.down = true
		k.Produce(s.record(s.do("order/1", "a"), `{}`))
		s.until(1, nil)
		s.want("a failed-retriable effect=none UNREACHABLE")
		// An undo finds nothing, and forbids the do.
		k.Produce(s.record(s.undo("order/1", "undo-a", "a"), `{}`), s.record(s.do("order/2", "b"), `{}`))
		s.until(3, nil)
		s.psp.set(func() { s.psp.down = false })
		k.Produce(s.record(s.do("order/1", "a"), `{}`), s.record(s.do("order/2", "b"), `{}`))
		s.until(5, nil)
		s.want(`a failed-retriable effect=none UNREACHABLE
a rejected SUPPRESSED replayed
b failed-retriable effect=none UNREACHABLE
b ok {"id":"ch-b"}
undo-a ok noop`)
	})
}

// The request was received and its answer lost: the effect is unknown, also when the next attempt cannot
// be sent; the one after it hears what the destination did.
func TestAnswerLost(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		s.psp.script = func(_ http.ResponseWriter, req *http.Request, p *provider, body map[string]any) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			key := req.Header.Get("Idempotency-Key")
			if _, found := p.answers[key]; found || req.Method != http.MethodPost {
				return false
			}
			p.answers[key] = p.act(req, key, body)
			panic(http.ErrAbortHandler)
		}
		k.Produce(s.record(s.do("order/1", "a"), `{}`))
		s.until(1, nil)
		s.psp.set(func() { s.psp.down = true })
		k.Produce(s.record(s.do("order/1", "a"), `{}`))
		s.until(2, nil)
		// Until it has settled nobody may think that there is nothing.
		k.Produce(s.record(s.undo("order/1", "early", "a"), `{}`), s.record(s.ask("order/1", "early-ask", "a"), `{}`))
		s.until(4, nil)
		s.psp.set(func() { s.psp.down = false })
		time.Sleep(11 * time.Second)
		k.Produce(s.record(s.ask("order/1", "late-ask", "a"), `{}`))
		s.until(5, nil)
		k.Produce(s.record(s.do("order/1", "a"), `{}`))
		s.until(6, nil)
		s.want(`a failed-retriable NO_ANSWER
a failed-retriable UNREACHABLE
a ok {"id":"ch-a"} replayed
early failed-retriable BUSY
early-ask running
late-ask executed {"id":"ch-a"}`)
	})
}

func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		header string
		body   string
		want   string
	}{
		{"created", 201, "", `{"id":"x","n":1.50}`, `a ok {"id":"x","n":1.5}`},
		{"no content", 204, "", "", "a ok {}"},
		{"not an object", 200, "", `[1]`, "a ok {}"},
		{"page", 200, "", `<html>`, "a ok {}"},
		{"broken object", 200, "", `{"a":`, "a failed-fatal BAD_RESPONSE"},
		{"too large", 200, "", `{"a":"` + strings.Repeat("x", 2000) + `"}`, "a failed-fatal BAD_RESPONSE"},
		{"refused", 422, "", `{}`, "a rejected HTTP_422"},
		{"conflict", 409, "", `{}`, "a rejected HTTP_409"},
		{"too many", 429, "7", `{}`, "a failed-retriable HTTP_429 after=7000ms"},
		{"login", 401, "", `{}`, "a failed-retriable HTTP_401"},
		{"broken", 500, "", `{"error":{"code":"X"}}`, "a failed-retriable HTTP_500"},
		{"unavailable", 503, "120", "", "a failed-retriable HTTP_503 after=120000ms"},
		{"redirect", 302, "", "", "a failed-fatal REDIRECT"},
		{"rule", 402, "", `{"error":{"code":"NO_FUNDS"}}`, "a rejected NO_FUNDS"},
		{"rule without a code", 402, "", `<html>`, "a rejected HTTP_402"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
				s := newShop(t, k)
				s.file = strings.Replace(file, "timeout: 5s", "timeout: 5s\n    responseBytes: 1000", 1)
				s.psp.script = func(rw http.ResponseWriter, _ *http.Request, _ *provider, _ map[string]any) bool {
					if c.header != "" {
						rw.Header().Set("Retry-After", c.header)
					}
					rw.Header().Set("Location", "http://elsewhere.example/")
					rw.WriteHeader(c.status)
					_, _ = rw.Write([]byte(c.body))
					return true
				}
				k.Produce(s.record(s.do("order/1", "a"), `{}`))
				s.until(1, nil)
				s.want(c.want)
				if n := s.psp.did("POST"); n != 1 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// A redelivery while the call is under way makes no second call; every delivery hears the answer.
func TestRedelivery(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		gate := make(chan struct{})
		s.psp.gate = gate
		first, second := s.do("order/1", "a"), s.do("order/1", "a")
		second.Attempt, second.Token = 2, protocol.Token{WorkflowID: "order/1", Run: 1, Path: "a", Op: protocol.OpDo, Round: 1, Attempt: 2}.Encode(nil)
		k.Produce(s.record(first, `{}`))
		asked := false
		s.while(nil, func(replies int) bool {
			if !asked {
				asked = true
				go func() {
					for s.psp.did("POST") == 0 {
						time.Sleep(time.Second / 10)
					}
					k.Produce(s.record(second, `{}`), s.record(s.undo("order/1", "undo", "a"), `{}`), s.record(s.ask("order/1", "ask", "a"), `{}`))
					time.Sleep(time.Second)
					close(gate)
				}()
			}
			return replies == 4
		})
		s.want(`a ok {"id":"ch-a"}
a ok {"id":"ch-a"}
ask running BUSY
undo failed-retriable BUSY`)
		if n := s.psp.did("POST"); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// A call that was cut off is made again, within the window of its key; after it the destination is asked.
func TestKeyWindow(t *testing.T) {
	for _, c := range []struct {
		name   string
		away   time.Duration
		acted  bool
		posts  int
		answer string
	}{
		{"within", time.Minute, true, 2, `a ok {"id":"ch-a"}`},
		{"after, executed", 3 * time.Hour, true, 1, `a ok {"id":"ch-a"}`},
		{"after, not executed", 3 * time.Hour, false, 1, "a failed-fatal effect=none NOT_EXECUTED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
				s := newShop(t, k)
				s.change = func(cfg *bridge.Config) { cfg.Drain = -1 }
				gate := make(chan struct{})
				s.psp.gate = gate
				cmd := s.do("order/1", "a")
				cmd.Deadline = time.Now().Add(24 * time.Hour).UnixMilli()
				k.Produce(s.record(cmd, `{}`))
				s.while(nil, func(int) bool {
					for s.psp.did("POST") == 0 {
						time.Sleep(time.Second / 10)
					}
					return true
				})
				s.psp.set(func() {
					s.psp.gate = nil
					if c.acted {
						s.psp.effects["a"] = "ch-a"
					}
				})
				time.Sleep(c.away)
				s.until(1, nil)
				s.want(c.answer)
				if n := s.psp.did("POST"); n != c.posts {
					t.Errorf("%d requests, want %d", n, c.posts)
				}
			})
		})
	}
}

// Retries stay within one attempt; a breaker that is open sends nothing, and lets one call through later.
func TestRetriesAndBreaker(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		s.file = strings.NewReplacer("retries: 0", "retries: 2", "breaker: {failures: 0}", "breaker: {failures: 4, pause: 1m}").Replace(file)
		bad := 2
		s.psp.script = func(rw http.ResponseWriter, _ *http.Request, p *provider, _ map[string]any) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			if bad--; bad >= 0 {
				rw.WriteHeader(http.StatusBadGateway)
				return true
			}
			return false
		}
		k.Produce(s.record(s.do("order/1", "a"), `{}`))
		s.until(1, nil)
		if n := s.psp.did("POST"); n != 3 {
			t.Errorf("%d requests", n)
		}
		s.psp.set(func() { bad = 1000 })
		s.change = nil
		// Within one life of the process, because a breaker is its own.
		step := 0
		s.while(nil, func(replies int) bool {
			if next := []string{"b", "c", "d"}; step < len(next) && replies == step+1 {
				k.Produce(s.record(s.do("order/1", next[step]), `{}`))
				step++
			}
			return replies == 4
		})
		if n := s.psp.did("POST /v1/charges d"); n != 0 {
			t.Errorf("%d requests to a destination that is left alone", n)
		}
		got := s.answers()
		for _, line := range []string{`a ok {"id":"ch-a"}`, "b failed-retriable HTTP_502", "d failed-retriable effect=none CIRCUIT_OPEN after="} {
			if !strings.Contains(got, line) {
				t.Errorf("%q is not in\n%s", line, got)
			}
		}
	})
}
