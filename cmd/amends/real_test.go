package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// fetch makes a request and follows no redirect; header is of pairs.
func fetch(t *testing.T, method, address string, body io.Reader, header ...string) (status int, text string, got http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// TestRunBeyondLoopback: without authentication a process does not listen where other machines reach it.
func TestRunBeyondLoopback(t *testing.T) {
	emptyHome(t)
	broker := emptyBroker(t)
	for _, host := range []string{"0.0.0.0", "[::]", ""} {
		port, err := freePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		address := host + ":" + strconv.Itoa(port)
		code, _, talk := execute(t, "run", "--brokers", broker, "--namespace", "beyond", "--data-dir", t.TempDir(), "--listen", address)
		if code != exitConfig || host != "[::]" && !strings.Contains(talk, "--api-insecure") {
			t.Errorf("%s: exit %d %s", address, code, talk)
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Errorf("%s: something listens: %v", address, err)
			continue
		}
		l.Close()
	}
}

// TestRunWithTokens runs a process with tokens beyond loopback: who has none sees neither API nor pages, the pages
// ask the API as the person who looks, and what they do is that person's.
func TestRunWithTokens(t *testing.T) {
	emptyHome(t)
	b, err := local.StartBroker("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	const ann, vic = "ann-has-a-long-token", "vic-has-a-long-token"
	port, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	base := "http://127.0.0.1:" + strconv.Itoa(port)
	if code, out, talk := execute(t, "apply", write(t, "hello.yaml", goodDefinition), "--brokers", b.Addr, "--namespace", "tok"); code != exitOK {
		t.Fatalf("apply: exit %d %s%s", code, out, talk)
	}
	ctx, stop := context.WithCancel(t.Context())
	var talk bytes.Buffer
	term := terminal{out: io.Discard, err: &talk}
	root := newRoot(&term)
	root.SetArgs([]string{"run", "--brokers", b.Addr, "--namespace", "tok", "--data-dir", t.TempDir(), "--standbys", "0", "--log-level", "error",
		"--listen", "0.0.0.0:" + strconv.Itoa(port), "--advertise", "127.0.0.1:" + strconv.Itoa(port),
		"--api-tokens-file", write(t, "tokens", "ann operator "+ann+"\nvic viewer "+vic+"\n")})
	ended := make(chan int, 1)
	go func() { ended <- term.exit(root.ExecuteContext(ctx)) }()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != exitOK {
			t.Errorf("run: exit %d %s", code, talk.String())
		}
	})
	eventually(t, "the process is ready", func() bool {
		status, _, _ := fetch(t, http.MethodGet, base+"/readyz", nil)
		return status == http.StatusOK
	})
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	cookie := func(token string) []string { return []string{"Cookie", "amends-token=" + url.QueryEscape(token)} }

	status, text, _ := fetch(t, http.MethodPost, base+"/api/v1/instances", strings.NewReader(`{"type":"hello","id":"1"}`), append(bearer(ann), "Content-Type", "application/json")...)
	var started api.Accepted
	if status != http.StatusAccepted || json.Unmarshal([]byte(text), &started) != nil {
		t.Fatalf("start: %d %s", status, text)
	}
	if status, text, _ = fetch(t, http.MethodGet, base+"/api/v1/instances/hello/1?after="+started.Position, nil, bearer(vic)...); status != http.StatusOK {
		t.Fatalf("get: %d %s", status, text)
	}
	var v sagas.View
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	act := "/act/hello/1?action=suspend"
	for _, c := range []struct {
		path   string
		header []string
		want   int
		says   string
	}{
		{"/api/v1/census", nil, 401, "SG"},
		{"/api/v1/census", bearer("nobody-has-this-token"), 401, "SG"},
		{"/", nil, 401, `name="token"`},
		{"/instances/hello/1", nil, 401, `name="token"`},
		{"/instances/hello/1", cookie("nobody-has-this-token"), 401, `name="token"`},
		{"/instances/hello/1", cookie(vic), 200, "psp"},
		{"/instances/hello/1", bearer(vic), 200, "psp"},
		{"/instances/hello/1?tab=history", cookie(vic), 200, "fact-1"},
		{"/instances/hello/1?tab=messages", cookie(vic), 200, "message-0"},
		{"/attention", cookie(vic), 200, "Attention"},
		{"/cluster", cookie(vic), 200, "127.0.0.1:" + strconv.Itoa(port)},
		{"/audit", cookie(vic), 200, "Audit"},
		{act, cookie(ann), 200, `name="reason"`},
	} {
		if status, text, _ := fetch(t, http.MethodGet, base+c.path, nil, c.header...); status != c.want || !strings.Contains(text, c.says) {
			t.Errorf("%s with %v: %d, want %d and %q in\n%.600s", c.path, c.header, status, c.want, c.says, text)
		}
	}
	form := url.Values{"action": {"suspend"}, "reason": {"lunch"}, "actor": {"mallory"}, "expectRev": {strconv.FormatUint(v.Rev, 10)}}.Encode()
	post := func(token string) (int, string) {
		status, text, _ := fetch(t, http.MethodPost, base+"/act/hello/1", strings.NewReader(form), append(cookie(token), "Content-Type", "application/x-www-form-urlencoded")...)
		return status, text
	}
	if status, text := post(vic); status != http.StatusForbidden {
		t.Errorf("a viewer acts: %d %.600s", status, text)
	}
	if status, text := post(ann); status != http.StatusSeeOther {
		t.Errorf("an operator acts: %d %.600s", status, text)
	}
	eventually(t, "the page of the audit names the person of the token", func() bool {
		_, text, _ := fetch(t, http.MethodGet, base+"/audit", nil, cookie(vic)...)
		return strings.Contains(text, "lunch") && strings.Contains(text, "ann") && !strings.Contains(text, "mallory")
	})
	if code, out, talk := execute(t, "get", "hello/1", "-o", "json", "--server", base, "--api-token", vic); code != exitOK || !strings.Contains(out, `"suspended": true`) {
		t.Errorf("get with a token: exit %d %s%s", code, out, talk)
	}
	if code, _, _ := execute(t, "get", "hello/1", "--server", base); code == exitOK {
		t.Error("get without a token")
	}
}

// TestEverywhere asks the command line, the API and the page about the same instance, letter and definition: they
// say the same.
func TestEverywhere(t *testing.T) {
	emptyHome(t)
	def, err := sampleDefinition()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Start(t.Context(), local.Config{
		Namespace: defaultNamespace, BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 2, Logger: slog.New(slog.DiscardHandler),
	}, []*sagas.Definition{def})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := c.OpenShop(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AMENDS_BROKERS", c.Broker.Addr)
	t.Setenv("AMENDS_SERVER", "http://"+c.Nodes[1].Addr)
	base := "http://" + c.Nodes[0].Addr
	to, err := client.New(client.Config{Namespace: defaultNamespace, Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()

	const wid, escaped = "card-payment/shop/7/history", "card-payment/shop%2F7%2Fhistory" // an id that looks like a path of the API
	typ, id := sagas.SplitWorkflowID(wid)
	if err := to.Start(t.Context(), client.Start{Type: typ, ID: id, Input: map[string]int{"amount": local.CaptureLimit}}); err != nil {
		t.Fatal(err)
	}
	if err := to.Start(t.Context(), client.Start{Type: typ, ID: "typo", Input: map[string]int{"amout": 5}}); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (text string) {
		t.Helper()
		status, text, _ := fetch(t, http.MethodGet, base+path, nil)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, text)
		}
		return text
	}
	var v sagas.View
	eventually(t, wid+" is compensated", func() bool {
		status, text, _ := fetch(t, http.MethodGet, base+"/api/v1/instances/"+escaped, nil)
		return status == http.StatusOK && json.Unmarshal([]byte(text), &v) == nil && v.Phase == "compensated"
	})
	var letters orchestrator.Letters
	eventually(t, "the dead letter is there", func() bool {
		return json.Unmarshal([]byte(get("/api/v1/dlq?state=open")), &letters) == nil && len(letters.Letters) == 1
	})
	letter := strconv.FormatInt(letters.Letters[0].Offset, 10)

	field := func(text, name string) any {
		t.Helper()
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if name == "" {
			return v
		}
		return v[name]
	}
	instance := get("/api/v1/instances/" + escaped)
	history := get("/api/v1/instances/" + escaped + "/history")
	messages := get("/api/v1/instances/" + escaped + "/messages")
	for _, one := range []struct {
		line string
		want any
	}{
		{"get " + wid + " -o json", field(instance, "")},
		{"history " + wid + " -o json", field(history, "facts")},
		{"instance export " + wid, map[string]any{"instance": field(instance, ""), "history": field(history, ""), "messages": field(messages, "")}},
		{"ls -o json", field(get("/api/v1/instances"), "instances")},
		{"def show card-payment -o json", field(get("/api/v1/definitions/card-payment/0"), "")},
		{"dlq list -o json", field(get("/api/v1/dlq?state=open"), "letters")},
		{"dlq get " + letter + " -o json", field(get("/api/v1/dlq/"+letter), "")},
	} {
		code, out, talk := execute(t, strings.Fields(one.line)...)
		var got any
		if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil {
			t.Errorf("%s: exit %d %v %s", one.line, code, err, talk)
			continue
		}
		if diff := gocmp.Diff(one.want, got); diff != "" {
			t.Errorf("%s: the API (-) and the command line (+) differ:\n%s", one.line, diff)
		}
	}

	var h orchestrator.History
	var m orchestrator.Messages
	if json.Unmarshal([]byte(history), &h) != nil || json.Unmarshal([]byte(messages), &m) != nil {
		t.Fatal("the API does not answer as it should")
	}
	page := get("/instances/" + wid)
	for _, step := range v.Steps {
		if !strings.Contains(page, `data-path="`+step.Path+`"`) {
			t.Errorf("the page has no step %s", step.Path)
		}
	}
	if !strings.Contains(page, "Compensated") || !strings.Contains(page, id) {
		t.Errorf("the page does not say how it ended:\n%.2000s", page)
	}
	page = get("/instances/" + wid + "?tab=history")
	if n := strings.Count(page, `id="fact-`); n != len(h.Facts) || uint64(n) != v.Seq {
		t.Errorf("the page has %d facts, the API %d, the instance counts %d", n, len(h.Facts), v.Seq)
	}
	for _, f := range h.Facts {
		if f.Source != nil && !strings.Contains(page, fmt.Sprint(f.Source.Offset)) {
			t.Errorf("the page does not say where fact %d comes from", f.Seq)
		}
	}
	if n := strings.Count(get("/instances/"+wid+"?tab=messages"), `id="message-`); n != len(m.Messages) {
		t.Errorf("the page has %d messages, the API %d", n, len(m.Messages))
	}

	fixed := write(t, "fixed.json", `{"kind":"start","type":"card-payment","id":"typo","input":{"amount":5}}`)
	replay := []string{"dlq", "replay", letter, "--reason", "typo", "--operator", "ann", "-f", fixed}
	if code, out, talk := execute(t, append(replay, "--dry-run")...); code != exitOK || !strings.Contains(out, `"edited": true`) {
		t.Errorf("dry run: exit %d %s%s", code, out, talk)
	}
	if code, out, talk := execute(t, replay...); code != exitOK {
		t.Errorf("replay: exit %d %s%s", code, out, talk)
	}
	eventually(t, "the replayed start has completed", func() bool {
		code, out, _ := execute(t, "get", "card-payment/typo", "-o", "json")
		return code == exitOK && strings.Contains(out, `"status": "completed"`)
	})
	if code, _, talk := execute(t, replay...); code != exitConflict {
		t.Errorf("replay again: exit %d %s", code, talk)
	}
}
