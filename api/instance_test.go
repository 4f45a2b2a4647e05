package api

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

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
