package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/local"
)

const approvalDefinition = `
saga: payout
version: 1
participants:
  p: {ops: [do, undo]}
steps:
  - {id: allow, approve: {roles: [risk], quorum: 1, within: 1h}}
`

// newIssuer is an OIDC issuer with one key, and what it signs for a person with roles.
func newIssuer(t *testing.T) (address string, sign func(name string, roles ...string) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": server.URL, "jwks_uri": server.URL + "/keys", "authorization_endpoint": server.URL,
			"token_endpoint": server.URL, "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		public, err := key.PublicKey.ECDH()
		if err != nil {
			t.Error(err)
			return
		}
		point := public.Bytes() // 4, X, Y
		part := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig", "x": part(point[1:33]), "y": part(point[33:])}}})
	})
	return server.URL, func(name string, roles ...string) string {
		part := func(v any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return base64.RawURLEncoding.EncodeToString(b)
		}
		text := part(map[string]any{"alg": "ES256", "kid": "k1", "typ": "JWT"}) + "." + part(map[string]any{"iss": server.URL, "aud": "amends", "sub": "u-" + name,
			"preferred_username": name, "roles": roles, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()})
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		fixed := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
		return text + "." + base64.RawURLEncoding.EncodeToString(append(fixed(r), fixed(s)...))
	}
}

// TestRunWithIssuer runs a process that takes the tokens of an issuer: who may do what follows from the claim, and an
// approval is claimed, taken over and decided by the people whom the tokens name.
func TestRunWithIssuer(t *testing.T) {
	emptyHome(t)
	b, err := local.StartBroker("127.0.0.1:0", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	issuer, sign := newIssuer(t)
	port, err := freePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	base := "http://" + address
	kafka := []string{"--brokers", b.Addr, "--namespace", "oidc"}
	if code, out, talk := execute(t, append([]string{"apply", write(t, "payout.yaml", approvalDefinition)}, kafka...)...); code != exitOK {
		t.Fatalf("apply: exit %d %s%s", code, out, talk)
	}
	var talk sink
	ctx, stop := context.WithCancel(t.Context())
	term := terminal{out: io.Discard, err: &talk}
	root := newRoot(&term)
	root.SetArgs(append([]string{"run", "--data-dir", t.TempDir(), "--standbys", "0", "--log-level", "error", "--listen", address, "--advertise", address,
		"--oidc-issuer", issuer, "--oidc-audience", "amends", "--token-secret-file", write(t, "secret", "a-secret-of-these-processes"), "--api-actions", "on"}, kafka...))
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
	olga, omar, vera := sign("olga", "amends:operator", "gardener"), sign("omar", "operator"), sign("vera", "viewer")
	call := func(want int, method, path, token, body string) string {
		t.Helper()
		header := []string{"Content-Type", "application/json"}
		if token != "" {
			header = append(header, "Authorization", "Bearer "+token)
		}
		status, text, _ := fetch(t, method, base+path, strings.NewReader(body), header...)
		if status != want {
			t.Errorf("%s %s %s: %d, want %d: %s", method, path, body, status, want, text)
		}
		return text
	}
	call(401, http.MethodGet, "/api/v1/census", "", "")
	call(401, http.MethodGet, "/api/v1/census", olga[:len(olga)-6]+"AAAAAA", "")
	call(403, http.MethodGet, "/api/v1/census", sign("gus", "gardener"), "")
	if me := call(200, http.MethodGet, "/api/v1/me", vera, ""); strings.TrimSpace(me) != `{"name":"vera","roles":["viewer"],"actions":true}` {
		t.Errorf("me: %s", me)
	}
	const start = `{"type":"payout","id":"1"}`
	call(403, http.MethodPost, "/api/v1/instances", vera, start)
	call(202, http.MethodPost, "/api/v1/instances", olga, start)
	var tasks string
	eventually(t, "the approval is open", func() bool {
		tasks = call(200, http.MethodGet, "/api/v1/tasks", vera, "")
		return strings.Contains(tasks, `"payout/1"`)
	})
	const task = `"workflowId":"payout/1","path":"allow"`
	call(403, http.MethodPost, "/api/v1/tasks/claim", vera, `{`+task+`}`)
	call(403, http.MethodPost, "/api/v1/tasks/claim", olga, `{`+task+`,"by":"omar"}`)
	call(200, http.MethodPost, "/api/v1/tasks/claim", olga, `{`+task+`}`)
	call(409, http.MethodPost, "/api/v1/tasks/claim", omar, `{`+task+`}`)
	call(404, http.MethodPost, "/api/v1/tasks/claim", omar, `{"workflowId":"payout/1","path":"nothing"}`)
	eventually(t, "the claim is shown", func() bool {
		return strings.Contains(call(200, http.MethodGet, "/api/v1/tasks", vera, ""), `"by":"olga"`)
	})
	call(200, http.MethodPost, "/api/v1/tasks/claim", omar, `{`+task+`,"take":true}`)
	eventually(t, "it is taken over", func() bool {
		return strings.Contains(call(200, http.MethodGet, "/api/v1/tasks", vera, ""), `"by":"omar"`)
	})
	call(403, http.MethodPost, "/api/v1/tasks/decide", vera, `{`+task+`,"decision":"approve"}`)
	call(202, http.MethodPost, "/api/v1/tasks/decide", omar, `{`+task+`,"decision":"approve","comment":"fine"}`)
	eventually(t, "the payout completes", func() bool {
		return strings.Contains(call(200, http.MethodGet, "/api/v1/instances/payout/1", vera, ""), `"phase":"completed"`)
	})
	eventually(t, "the audit names who decided", func() bool {
		text := call(200, http.MethodGet, "/api/v1/audit", vera, "")
		return strings.Contains(text, "omar") && strings.Contains(text, "fine")
	})
}
