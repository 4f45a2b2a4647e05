package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

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
