package bridge

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

const small = `
bridge: psp
destinations:
  api: {url: https://psp.example/v1}
commands:
  charge:
    do: {path: '/charges/{id}/parts/p-{part}', params: {id: '=input.id', part: '=input.part'}, query: {q: '=input.?q.orValue("")'}}
`

// request builds what the do of the small file would send.
func built(t *testing.T, b *Bridge, payload string) (*http.Request, error) {
	t.Helper()
	c := &call{cmd: protocol.Command{Name: "charge", Op: protocol.OpDo, Key: "k", WorkflowID: "order/1", Trace: "00-1\r\nX-Evil: 1"}, payload: []byte(payload), clean: true}
	return b.commands["charge"].ops[protocol.OpDo].request(context.Background(), c, time.Now())
}

func parsed(t *testing.T, src string) *Bridge {
	t.Helper()
	b, err := Parse("bridge.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A parameter is one piece of the path, whatever is in it, or is refused.
func TestPathInjection(t *testing.T) {
	b := parsed(t, small)
	for id, want := range map[string]string{
		"a":                             "https://psp.example/v1/charges/a/parts/p-1",
		"a b":                           "https://psp.example/v1/charges/a%20b/parts/p-1",
		"ü?x=1#y":                       "https://psp.example/v1/charges/%C3%BC%3Fx=1%23y/parts/p-1",
		"@evil.example":                 "https://psp.example/v1/charges/@evil.example/parts/p-1",
		"http://evil.example/x":         "",
		"..":                            "",
		".":                             "",
		"":                              "",
		"a/b":                           "",
		`a\b`:                           "",
		"../../admin":                   "",
		"%2e%2e":                        "https://psp.example/v1/charges/%252e%252e/parts/p-1",
		strings.Repeat("x", maxParam+1): "",
	} {
		payload, err := json.Marshal(map[string]any{"id": id, "part": 1})
		if err != nil {
			t.Fatal(err)
		}
		req, err := built(t, b, string(payload))
		switch {
		case want == "" && err == nil:
			t.Errorf("%.40q gives %s", id, req.URL)
		case want != "" && err != nil:
			t.Errorf("%.40q: %v", id, err)
		case want != "" && strings.TrimSuffix(req.URL.String(), "?q=") != want:
			t.Errorf("%.40q gives %s, want %s", id, req.URL, want)
		case want != "" && (req.Host != "psp.example" || req.Header.Get("Traceparent") != ""):
			t.Errorf("%.40q: host %s, headers %v", id, req.Host, req.Header)
		}
	}
	for _, payload := range []string{`{"id":{"a":1},"part":1}`, `{"id":1.5,"part":1}`, `{"id":null,"part":1}`, `{"part":1}`, `[]`} {
		if req, err := built(t, b, payload); err == nil {
			t.Errorf("%s gives %s", payload, req.URL)
		}
	}
	req, err := built(t, b, `{"id":7,"part":"x","q":"a&b=c"}`)
	if err != nil || req.URL.String() != "https://psp.example/v1/charges/7/parts/p-x?q=a%26b%3Dc" {
		t.Errorf("got %v, %v", req, err)
	}
}

// Nothing in a payload changes the host, or the number of pieces of the path.
func FuzzPath(f *testing.F) {
	b, err := Parse("bridge.yaml", []byte(small))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"a", "../..", "%2f..%2f", "\x00", "//evil.example", "a?b#c", "‥/x", "\\..\\"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, id, part string) {
		payload, err := json.Marshal(map[string]any{"id": id, "part": part})
		if err != nil {
			return
		}
		req, err := built(t, b, string(payload))
		if err != nil {
			return
		}
		path := req.URL.EscapedPath()
		if req.URL.Scheme != "https" || req.URL.Host != "psp.example" || req.Host != "psp.example" || req.URL.User != nil || req.URL.Fragment != "" {
			t.Fatalf("%q, %q give %s", id, part, req.URL)
		}
		pieces := strings.Split(path, "/")
		if len(pieces) != 6 || !strings.HasPrefix(path, "/v1/charges/") || pieces[4] != "parts" || !strings.HasPrefix(pieces[5], "p-") {
			t.Fatalf("%q, %q give %s", id, part, path)
		}
		for _, p := range pieces[1:] {
			if p == "" || p == "." || p == ".." {
				t.Fatalf("%q, %q give %s", id, part, path)
			}
		}
	})
}

// Every fault is found, each at its place.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"unknown key", "bridge: psp", "bridge: psp\ntopics: x", `"topic"`},
		{"bad name", "bridge: psp", "bridge: PSP", "SG03"},
		{"no host", "https://psp.example/v1", "https:///v1", "http or https address"},
		{"other scheme", "https://psp.example/v1", "file:///etc/passwd", "http or https address"},
		{"login in the URL", "https://psp.example/v1", "https://u:hunter2@psp.example/v1", "holds a login"},
		{"query in the URL", "https://psp.example/v1", "https://psp.example/v1?a=b", "query"},
		{"parameter in the URL", "https://psp.example/v1", "'https://{host}.example/v1'", "http or https address"},
		{"dots", "/charges/{id}", "/charges/../{id}", "path must"},
		{"no slash", "'/charges/{id}", "'charges/{id}", "path must"},
		{"query in the path", "p-{part}'", "p-{part}?x=1'", "path must"},
		{"open brace", "p-{part}'", "p-{part'", "without '}'"},
		{"unknown parameter", "p-{part}'", "p-{other}'", "other of path is not in params"},
		{"unused parameter", "/parts/p-{part}'", "'", "does not use the parameter part"},
		{"literal parameter", "'=input.id'", "x", "must be an expression"},
		{"secret in the file", "{url: https://psp.example/v1}", "{url: https://psp.example/v1, headers: {X-Api-Key: hunter2}}", "looks like a secret"},
		{"secret by expression", "query: {q", "headers: {Authorization: '=input.token'}, query: {q", "looks like a secret"},
		{"header of ours", "query: {q", "headers: {idempotency-key: x}, query: {q", "set by the bridge"},
		{"two sources", "{url: https://psp.example/v1}", "{url: https://psp.example/v1, headers: {X-Token: {file: a, env: B}}}", "one of file and env"},
		{"wrong outcome", "do: {", "do: {outcomes: [{when: '=status == 1', outcome: executed}], ", "outcome of do is"},
		{"wrong effect", "do: {", "do: {outcomes: [{when: '=status == 1', outcome: rejected, effect: none}], ", "effect is"},
		{"saga in a rule", "do: {", "do: {outcomes: [{when: '=step.a.b == 1', outcome: ok}], ", "belongs to a saga"},
		{"no such destination", "do: {", "do: {destination: other, ", "is not in the file"},
		{"body of a GET", "do: {", "do: {method: GET, body: {a: 1}, ", "has no body"},
		{"changing inquiry", "do: {", "inquire: {method: DELETE, path: /x}\n    do: {", "changes nothing"},
		{"output of an undo", "do: {", "undo: {path: /x, output: {a: 1}}\n    do: {", "output"},
		{"no command", "commands:\n  charge:", "commands: {}\nother:\n  charge:", "at least one entry"},
		{"http with tls", "{url: https://psp.example/v1}", "{url: http://psp.example/v1, tls: {ca: x}}", "not https"},
		{"cert alone", "{url: https://psp.example/v1}", "{url: https://psp.example/v1, tls: {cert: x}}", "go together"},
		{"no duration", "{url: https://psp.example/v1}", "{url: https://psp.example/v1, timeout: 10}", "must be a duration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := strings.Replace(small, c.from, c.to, 1)
			if src == small {
				t.Fatal("the case changes nothing")
			}
			_, err := Parse("bridge.yaml", []byte(src))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "bridge.yaml:") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A secret comes from its file or variable, is read anew, and shows in no error.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("BRIDGE_TEST_KEY", " from-env\n")
	b := parsed(t, strings.Replace(small, "{url: https://psp.example/v1}", `
    url: https://psp.example/v1
    headers: {Authorization: {file: '`+path+`', prefix: 'Bearer '}, X-Api-Key: {env: BRIDGE_TEST_KEY}, X-Version: '7'}`, 1))
	if _, err := New(Config{Bridge: b, Client: []kgo.Opt{kgo.SeedBrokers("localhost:1")}}); err == nil {
		t.Error("a missing secret shows only later")
	}
	write("one\n")
	req, err := built(t, b, `{"id":"a","part":"b"}`)
	if err != nil {
		t.Fatal(err)
	}
	if h := req.Header; h.Get("Authorization") != "Bearer one" || h.Get("X-Api-Key") != "from-env" || h.Get("X-Version") != "7" {
		t.Errorf("headers %v", h)
	}
	d := b.destinations[0].headers
	write("two")
	now := time.Now()
	for _, h := range d {
		if h.name != "Authorization" {
			continue
		}
		if got, err := h.value.get(now.Add(time.Second)); err != nil || got != "Bearer one" {
			t.Errorf("got %q, %v", got, err)
		}
		if got, err := h.value.get(now.Add(time.Minute)); err != nil || got != "Bearer two" {
			t.Errorf("got %q, %v", got, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got, err := h.value.get(now.Add(time.Hour)); err != nil || got != "Bearer two" { // while it is replaced
			t.Errorf("got %q, %v", got, err)
		}
	}
	write("hunter2\nsecond line")
	s := &secret{file: path}
	if got, err := s.get(now); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %q, %v", got, err)
	}
	if text := b.Describe(); strings.Contains(text, "one") || !strings.Contains(text, "charge do: POST https://psp.example/v1/charges/{}/parts/p-{}") {
		t.Error(text)
	}
}

func TestPendingRoundTrip(t *testing.T) {
	p := &pending{Command: protocol.Command{Key: "k", Op: protocol.OpUndo, ForwardKey: "f"}, Output: json.RawMessage(`{"a":1}`), Known: true, Started: 5,
		Result: &result{Outcome: protocol.OutcomeOK, Output: []byte(`{"b":2}`)}, payload: []byte(`{"c":3}`)}
	b, err := p.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodePending(b)
	if err != nil || got.Command != p.Command || string(got.Output) != `{"a":1}` || string(got.Result.Output) != `{"b":2}` || string(got.payload) != `{"c":3}` {
		t.Errorf("got %+v, %v", got, err)
	}
	if due := index(time.Hour)(pendingKey("k"), b).Due; due != 1 {
		t.Errorf("due %d", due)
	}
	for n := range len(b) - len(p.payload) {
		if _, err := decodePending(b[:n]); err == nil {
			t.Errorf("%d bytes of %d were accepted", n, len(b))
		}
	}
}

func TestPacer(t *testing.T) {
	p := newPacer(10, 3)
	now := time.Unix(1000, 0)
	for i, want := range []time.Duration{0, 0, 0, 100, 200} {
		if got := p.reserve(now); got != want*time.Millisecond {
			t.Errorf("call %d waits %v, want %v ms", i, got, int64(want))
		}
	}
	now = now.Add(time.Minute)
	if got := p.reserve(now); got != 0 {
		t.Errorf("after a silence it waits %v", got)
	}
	if got := newPacer(0, 1).reserve(now); got != 0 {
		t.Errorf("without a rate it waits %v", got)
	}
}
