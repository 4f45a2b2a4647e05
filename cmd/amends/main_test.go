package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// execute runs a command line and returns what it prints.
func execute(t *testing.T, args ...string) (code int, out, talk string) {
	t.Helper()
	var o, e bytes.Buffer
	term := terminal{out: &o, err: &e}
	root := newRoot(&term)
	root.SetArgs(args)
	code = term.exit(root.ExecuteContext(t.Context()))
	return code, o.String(), e.String()
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodDefinition = `saga: hello
version: 1
participants:
  psp:
steps:
  - id: pay
    call: psp.pay
    undo:
      call: psp.refund
`

func TestCheck(t *testing.T) {
	good, bad := write(t, "good.yaml", goodDefinition), write(t, "bad.yaml", strings.Replace(goodDefinition, "call: psp.pay", "call: pps.pay", 1))
	if code, out, _ := execute(t, "check", good); code != exitOK || !strings.Contains(out, "hello@1 ok") {
		t.Errorf("good: %d %q", code, out)
	}
	code, out, talk := execute(t, "check", good, bad)
	if code != exitFindings || !strings.Contains(out, "bad.yaml:7:11 SG") || !strings.Contains(out, "^") || !strings.Contains(talk, "finding") {
		t.Errorf("bad: %d %q %q", code, out, talk)
	}
	if code, _, _ := execute(t, "check", "nowhere.yaml"); code != exitUsage {
		t.Errorf("missing file: %d", code)
	}
}

func TestExitCodes(t *testing.T) {
	class := func(c error) error { return &orchestrator.Error{Code: "SG1", Cause: "c", Class: c} }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), 1}, {usage("x"), 2}, {errors.New("unknown flag: --x"), 2}, {class(orchestrator.ErrInvalid), 2},
		{class(orchestrator.ErrNotFound), 3}, {class(orchestrator.ErrConflict), 4}, {sagas.Findings{{Code: "SG1"}}, 5},
		{class(orchestrator.ErrUnreachable), 7}, {class(orchestrator.ErrMoving), 7}, {&codedError{code: 78}, 78},
		{context.Canceled, 130}, {fmt.Errorf("wrapped: %w", class(orchestrator.ErrNotFound)), 3},
	} {
		term := terminal{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
		if got := term.exit(c.err); got != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.want)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"}, {"get"}, {"get", "no-slash"}, {"start"}, {"start", "t", "-d", "novalue"}, {"start", "t", "--watch"}, {"start", "t/1"},
		{"cancel", "t/1"}, {"retry", "t/1"}, {"suspend", "t/1"}, {"resolve", "t/1", "--path", "a", "--reason", "r"}, {"extend", "t/1", "--reason", "r"},
		{"skip", "t/1", "--path", "a", "--reason", "r", "--output", "[1]"}, {"signal", "t/1"}, {"signal", "t/1", "n", "--payload", "{"},
		{"signal", "t/1", "n", "--payload", "{}", "-d", "a=1"}, {"signal", "no-slash", "n"}, {"activate", "t"}, {"activate", "t@x"}, {"level", "finalize", "x"}, {"tasks", "no-slash"}, {"batch", "start", "retry"}, {"batch", "get"}, {"audit", "--since", "0s"},
		{"ls", "--limit", "0"}, {"apply"}, {"get", "t/1", "--colour"},
	} {
		if code, _, talk := execute(t, args...); code != exitUsage || talk == "" {
			t.Errorf("%v: exit %d, %q", args, code, talk)
		}
	}
}

func TestServerSettings(t *testing.T) {
	read := func(args ...string) (orchestrator.Config, listener, error) {
		term := terminal{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
		cmd, _, err := newRoot(&term).Find([]string{"run"})
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		return serverConfig(cmd, &term)
	}
	file := write(t, "amends.yaml", "namespace: from-file\ndata-dir: /file\nbrokers: [f:1, f:2]\npartitions: 6\ncreate-topics: false\n")
	t.Setenv("AMENDS_DATA_DIR", "/env")
	t.Setenv("AMENDS_INSTANCE", "node-1")
	cfg, listen, err := read("--config", file, "--namespace", "from-flag")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(cfg.Namespace, cfg.DataDir, cfg.Brokers, cfg.Partitions, cfg.CreateTopics, cfg.InstanceID, listen.address, cfg.Advertise)
	if want := fmt.Sprint("from-flag", "/env", []string{"f:1", "f:2"}, 6, false, "node-1", defaultListen, defaultListen); got != want {
		t.Errorf("flag > environment > file > default:\n got %s\nwant %s", got, want)
	}

	t.Setenv("AMENDS_BROKERS", "e:1,e:2")
	if cfg, _, err = read("--config", file); err != nil || fmt.Sprint(cfg.Brokers) != "[e:1 e:2]" {
		t.Errorf("brokers of the environment: %v %v", cfg.Brokers, err)
	}

	// What Kubernetes adds for a Service called amends is not ours.
	t.Setenv("AMENDS_PORT", "tcp://10.0.0.1:8480")
	t.Setenv("AMENDS_SERVICE_HOST", "10.0.0.1")
	t.Setenv("AMENDS_PORT_8480_TCP_ADDR", "10.0.0.1")
	if _, _, err = read(); err != nil {
		t.Errorf("service links: %v", err)
	}

	for _, c := range []struct{ content, says string }{
		{"namespce: x\n", `Did you mean "namespace"?`}, {"server: x\n", "unknown setting"}, {"log-level: loud\n", "log-level"}, {"{", "amends.yaml"},
	} {
		if _, _, err := read("--config", write(t, "amends.yaml", c.content)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.content, err)
		}
	}
	t.Setenv("AMENDS_NAMESPASE", "x")
	if _, _, err = read(); err == nil || !strings.Contains(err.Error(), `Did you mean "namespace"?`) {
		t.Errorf("unknown variable: %v", err)
	}
	if code, _, _ := execute(t, "run"); code != exitConfig {
		t.Errorf("run with a bad environment: exit %d", code)
	}
}

func TestInput(t *testing.T) {
	file := write(t, "in.json", `{"a":1,"b":"x"}`)
	raw, err := inputOf(file, []string{"b=2", `c="3"`, "d=plain text", "e=[1,2]", "f=", "g=a=b", "h=true"})
	if want := `{"a":1,"b":2,"c":"3","d":"plain text","e":[1,2],"f":"","g":"a=b","h":true}`; err != nil || string(raw) != want {
		t.Errorf("got %s, %v\nwant %s", raw, err, want)
	}
	if _, err := inputOf(write(t, "in.json", `[1]`), nil); err == nil {
		t.Error("an array was taken")
	}
}

// refused is an instance that was compensated.
var refused = sagas.View{
	WorkflowID: "card-payment/order-2", Type: "card-payment", ID: "order-2", Version: 1, Run: 1, Phase: "compensated", Status: "compensated",
	StartedAt: 1000, EndedAt: 1055, Cause: "auth: OVER_LIMIT",
	Steps: []sagas.StepView{
		{Path: "reserve", State: "DONE", Attempts: 2, Undo: "UNDONE", UndoAttempts: 1},
		{Path: "hold", State: "DONE", Attempts: 1, Undo: "UNDO_NOOP", UndoAttempts: 3},
		{Path: "auth", State: "REFUSED", Attempts: 1, Code: "OVER_LIMIT"},
		{Path: "ship", State: "ABANDONED"},
	},
}

// refusedLogs are the answers about its logs.
var refusedLogs = map[string]string{
	"history": `{"facts":[
		{"seq":1,"run":1,"at":1000,"kind":"started","source":{"topic":"pay.saga.intake","partition":3,"offset":1}},
		{"seq":2,"run":1,"at":1000,"kind":"step-sent","path":"reserve"},
		{"seq":3,"run":1,"at":1005,"kind":"step-sent","path":"reserve"},
		{"seq":4,"run":1,"at":1012,"kind":"step-done","path":"reserve","source":{"topic":"pay.saga.replies","partition":3,"offset":17}},
		{"seq":5,"run":1,"at":1013,"kind":"step-sent","path":"auth"},
		{"seq":6,"run":1,"at":2513,"kind":"step-rejected","path":"auth","source":{"topic":"pay.saga.replies","partition":3,"offset":19}},
		{"seq":7,"run":1,"at":2513,"kind":"undo-sent","path":"reserve"},
		{"seq":8,"run":1,"at":2523,"kind":"step-undone","path":"reserve","source":{"topic":"pay.saga.replies","partition":3,"offset":20}}]}`,
	"messages": `{"messages":[
		{"kind":"start","place":{"topic":"pay.saga.intake","partition":3,"offset":1}},
		{"kind":"command","path":"reserve","op":"do","place":{"topic":"cmd.stock","partition":3,"offset":17}},
		{"kind":"command","path":"reserve","op":"do","place":{"topic":"cmd.stock","partition":3,"offset":18}},
		{"kind":"reply","path":"reserve","op":"do","place":{"topic":"pay.saga.replies","partition":3,"offset":17}},
		{"kind":"command","path":"auth","op":"do","place":{"topic":"cmd.psp","partition":0,"offset":4}},
		{"kind":"reply","path":"auth","op":"do","place":{"topic":"pay.saga.replies","partition":3,"offset":19}},
		{"kind":"command","path":"reserve","op":"undo","place":{"topic":"cmd.stock","partition":3,"offset":19}},
		{"kind":"reply","path":"reserve","op":"undo","place":{"topic":"pay.saga.replies","partition":3,"offset":20}}]}`,
}

func TestWatch(t *testing.T) {
	running := refused
	running.Phase, running.Status, running.EndedAt = "running", "running", 0
	running.Steps = []sagas.StepView{{Path: "reserve", State: "DONE", Attempts: 2}, {Path: "hold", State: "PENDING", Attempts: 1}, {Path: "auth", State: "IDLE"}, {Path: "ship", State: "IDLE"}}
	asks := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, logs := strings.CutPrefix(r.URL.Path, "/api/v1/instances/card-payment/order-2/"); logs {
			_, _ = w.Write([]byte(refusedLogs[path]))
			return
		}
		if asks++; asks == 1 {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code":"SG201","detail":"no instance"}`))
			return
		}
		v := running
		if asks > 2 {
			v = refused
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(mustJSON(t, v))
	}))
	defer server.Close()
	var out bytes.Buffer
	w := watcher{t: &terminal{out: &out}, api: newAPIClient(server.URL), id: refused.WorkflowID}
	err := w.run(t.Context())
	want := "card-payment/order-2  v1  " + server.URL + `/instances/card-payment/order-2
  ✓ reserve     12 ms  done (2 attempts)  cmd.stock[3]@18 → pay.saga.replies[3]@17
  ✓ hold               done
  ✗ auth        1.5 s  refused: OVER_LIMIT  cmd.psp[0]@4 → pay.saga.replies[3]@19
  · ship               never sent
  ↶ hold               nothing to undo (3 attempts)
  ↶ reserve     10 ms  undone  cmd.stock[3]@19 → pay.saga.replies[3]@20
compensated in 55ms: nothing is left done (auth: OVER_LIMIT)
`
	if out.String() != want || exitCode(err) != exitCompensated {
		t.Errorf("exit %d\n%s", exitCode(err), out.String())
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("ANSI on a plain output")
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		phase, status string
		done          bool
		code          int
	}{
		{"completed", "completed", true, exitOK}, {"compensated", "compensated", true, exitCompensated}, {"closed", "closed", true, exitAttention},
		{"running", "attention", true, exitAttention}, {"running", "running", false, exitOK}, {"parked", "parked", false, exitOK}, {"void", "void", true, exitConflict},
	} {
		w := watcher{t: &terminal{out: &bytes.Buffer{}}}
		done, err := w.outcome(sagas.View{Phase: c.phase, Status: c.status})
		code := exitOK
		if err != nil {
			code = exitCode(err)
		}
		if done != c.done || code != c.code {
			t.Errorf("%s/%s: %t, exit %d", c.phase, c.status, done, code)
		}
	}
}

func TestGetAndList(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/api/v1/instances/card-payment/order-2":
			_, _ = w.Write(mustJSON(t, refused))
		case "/api/v1/instances":
			_, _ = w.Write([]byte(`{"instances":[{"workflowId":"a/1","version":1,"status":"running"}]}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write(mustJSON(t, api.Problem{Code: "SG201", Detail: "no instance"}))
		}
	}))
	defer server.Close()
	if code, out, _ := execute(t, "get", "card-payment/order-2", "--server", server.URL); code != 0 || !strings.Contains(out, "↶ reserve  undone") {
		t.Errorf("table: %d %s", code, out)
	}
	if code, out, _ := execute(t, "get", "card-payment/order-2", "--server", server.URL, "-o", "yaml"); code != 0 || !strings.Contains(out, "workflowId: card-payment/order-2") {
		t.Errorf("yaml: %d %s", code, out)
	}
	if code, _, talk := execute(t, "get", "card-payment/x y", "--server", server.URL); code != exitNotFound || !strings.Contains(talk, "SG201") {
		t.Errorf("missing: %d %s", code, talk)
	}
	if code, out, _ := execute(t, "ls", "--server", server.URL, "-o", "name"); code != 0 || out != "a/1\n" {
		t.Errorf("names: %d %q", code, out)
	}
	if code, _, talk := execute(t, "ls", "--server", "http://127.0.0.1:1"); code != exitUnreachable || !strings.Contains(talk, "--server") {
		t.Errorf("unreachable: %d %s", code, talk)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b, "json", v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
