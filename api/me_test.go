package api

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
)

func TestMe(t *testing.T) {
	e := &engine{name: "a", tasks: []int32{0, 1}, have: map[string]sagas.View{}}
	for _, c := range []struct {
		opts        Options
		token, want string
	}{
		{Options{Auth: tokenAuth(t), Actions: true}, "a-viewer-token-000", `{"name":"vera","roles":["viewer"],"actions":true}`},
		{Options{Auth: tokenAuth(t)}, "both-roles-token-00", `{"name":"both","roles":["deployer","operator","viewer"],"actions":false}`},
		{Options{Actions: true}, "", `{"roles":["admin","deployer","operator","viewer"],"actions":true}`},
	} {
		server := httptest.NewServer(New(e, c.opts))
		var header []string
		if c.token != "" {
			header = []string{"Authorization", "Bearer " + c.token}
		}
		resp, body := get(t, server.URL+"/api/v1/me", header...)
		if resp.StatusCode != 200 || strings.TrimSpace(body) != c.want {
			t.Errorf("%s: %d %s, want %s", c.token, resp.StatusCode, body, c.want)
		}
		server.Close()
	}
}

// TestRepeatAsksForTheRole: whoever has lost a role does not hear the answer that they once got with it.
func TestRepeatAsksForTheRole(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "tokens"), time.Now()
	grant := func(role string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("otto "+role+" an-operator-token-0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(len(role)) * time.Second)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		now = now.Add(lookEvery)
	}
	grant("operator")
	auth, err := NewAuth(AuthConfig{TokenFile: path, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{name: "a", tasks: []int32{0, 1}, have: map[string]sagas.View{"near/1": {WorkflowID: "near/1", Rev: 1}}}
	server := httptest.NewServer(New(e, Options{Auth: auth, Actions: true}))
	defer server.Close()
	for _, c := range []struct {
		role   string
		status int
	}{{"operator", 202}, {"operator", 202}, {"viewer", 403}, {"operator", 202}} {
		grant(c.role)
		resp, body := post(t, server.URL+"/api/v1/instances/near/1/actions", `{"action":"suspend","reason":"r"}`, "Authorization", "Bearer an-operator-token-0", "Idempotency-Key", "q-1")
		if resp.StatusCode != c.status {
			t.Errorf("as %s: %d %s", c.role, resp.StatusCode, body)
		}
	}
	if len(e.acted) != 1 {
		t.Errorf("acted %d times", len(e.acted))
	}
}
