package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// operations are all of the OpenAPI document.
func operations(h *Handler) (ops []*huma.Operation) {
	for _, item := range h.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete, item.Head, item.Options} {
			if op != nil {
				ops = append(ops, op)
			}
		}
	}
	return ops
}

const tokens = `
# name roles token
vera   viewer    a-viewer-token-000
otto   operator  an-operator-token-0
dora   deployer  sha256:%x
ada    admin     an-admin-token-0000
both   operator,deployer both-roles-token-00
`

func tokenAuth(t *testing.T) *Auth {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, fmt.Appendf(nil, tokens, sha256.Sum256([]byte("a-deployer-token-0"))), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := NewAuth(AuthConfig{TokenFile: path})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRoles sends a request to every operation of the document as everybody. What is not let in hears 401 or 403 and
// nothing else; what is let in hears anything else. An operation without a role, and a path of the API that
// the document does not have, is let in by nobody.
func TestRoles(t *testing.T) {
	e := &engine{name: "a", tasks: []int32{0, 1}, have: map[string]sagas.View{}}
	h := New(&refusing{e}, Options{Auth: tokenAuth(t), Actions: true})
	people := map[string][]Role{
		"a-viewer-token-000": {Viewer}, "an-operator-token-0": {Operator}, "a-deployer-token-0": {Deployer}, "an-admin-token-0000": {Admin}, "both-roles-token-00": {Operator, Deployer},
	}
	ask := func(method, path, token string) int {
		path = strings.NewReplacer("{type}", "pay", "{id}", "1", "{version}", "1", "{offset}", "1", "{verb}", "retry", "{name}", "orders").Replace(path)
		if strings.Contains(path, "{") {
			t.Fatalf("%s has a parameter that this test does not know", path)
		}
		r := httptest.NewRequest(method, path, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		ctx, cancel := contextFor(r)
		defer cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
		return w.Code
	}
	want := map[Role]int{}
	for _, op := range operations(h) {
		name, _ := op.Extensions[extensionRole].(string)
		need, ok := ParseRole(name)
		if !ok {
			t.Errorf("%s has no role", op.OperationID)
			continue
		}
		if op.Method != http.MethodGet && need == Viewer {
			t.Errorf("%s changes something, and a viewer may do it", op.OperationID)
		}
		want[need]++
		if got := ask(op.Method, op.Path, ""); got != 401 {
			t.Errorf("%s without a token: %d", op.OperationID, got)
		}
		if got := ask(op.Method, op.Path, "a-token-of-nobody-00"); got != 401 {
			t.Errorf("%s with a wrong token: %d", op.OperationID, got)
		}
		for token, roles := range people {
			let := need == Viewer
			for _, r := range roles {
				let = let || r == need || r == Admin
			}
			got := ask(op.Method, op.Path, token)
			if refused := got == 401 || got == 403; refused == let || got == 0 {
				t.Errorf("%s (%s) as %v: %d", op.OperationID, need, roles, got)
			}
		}
	}
	if want[Viewer] < 10 || want[Operator] < 8 || want[Deployer] < 2 {
		t.Errorf("operations by role: %v", want)
	}
	// What the document does not have: nothing of the API is served beside it.
	for _, path := range []string{"/api/v1/", "/api/v1/instances/", "/api/v2/instances", "/internal/v1/get", "/api/v1/definitions/x/y/z"} {
		if got := ask(http.MethodGet, path, "an-admin-token-0000"); got != 404 {
			t.Errorf("%s: %d", path, got)
		}
	}
	// And what anybody may see: no instance is in it.
	for _, path := range []string{"/livez", "/readyz", "/docs", "/openapi.json"} {
		if got := ask(http.MethodGet, path, ""); got != 200 {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// TestActor: with authentication the audit record has whom the token names, and nobody else can be named.
func TestActor(t *testing.T) {
	e := &engine{name: "a", tasks: []int32{0, 1}, have: map[string]sagas.View{"near/1": {WorkflowID: "near/1", Rev: 1}}}
	server := httptest.NewServer(New(e, Options{Auth: tokenAuth(t), Actions: true}))
	defer server.Close()
	const path = "/api/v1/instances/near/1/actions"
	otto := []string{"Authorization", "Bearer an-operator-token-0"}
	if resp, body := post(t, server.URL+path, `{"action":"suspend","reason":"r"}`, otto...); resp.StatusCode != 202 || len(e.acted) != 1 || e.acted[0].Operator != "otto" {
		t.Errorf("%d %s %v", resp.StatusCode, body, e.acted)
	}
	if resp, _ := post(t, server.URL+path, `{"action":"resume","reason":"r","operator":"otto"}`, otto...); resp.StatusCode != 202 {
		t.Errorf("own name: %d", resp.StatusCode)
	}
	if resp, body := post(t, server.URL+path, `{"action":"suspend","reason":"r","operator":"ada"}`, otto...); resp.StatusCode != 403 || len(e.acted) != 2 {
		t.Errorf("another's name: %d %s", resp.StatusCode, body)
	}
	if resp, _ := post(t, server.URL+"/api/v1/instances/near/1/signals", `{"name":"paid"}`, otto...); resp.StatusCode != 202 || e.signalled[0].Actor != "otto" {
		t.Errorf("signal: %d %v", resp.StatusCode, e.signalled)
	}
}

func TestTokenFile(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "no token",
		"ann viewer":                "line 1",
		"ann boss 0123456789abcdef": `"boss" is not one of`,
		"ann viewer short":          "fewer than",
		"ann viewer sha256:zz":      "SHA-256",
		"a viewer 0123456789abcdef\nb viewer 0123456789abcdef": "twice",
	} {
		if _, err := parseTokens([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%q: %v", text, err)
		}
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte("ann viewer the-first-token-00"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a, err := NewAuth(AuthConfig{TokenFile: path, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	who := func(token string) string {
		if p, err := a.who(t.Context(), token); err == nil {
			return p.Name
		}
		return ""
	}
	if err := os.WriteFile(path, []byte("bob viewer the-second-token-0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if who("the-first-token-00") != "ann" {
		t.Error("the file is read for every request")
	}
	now = now.Add(lookEvery)
	if who("the-second-token-0") != "bob" || who("the-first-token-00") != "" {
		t.Error("a token that was taken away is still taken, or a new one is not")
	}
	if err := os.WriteFile(path, []byte("half a li"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookEvery)
	if who("the-second-token-0") != "bob" {
		t.Error("a broken file takes everybody's token away")
	}
	if _, err := NewAuth(AuthConfig{}); err == nil {
		t.Error("authentication by nothing")
	}
	if _, err := NewAuth(AuthConfig{Issuer: "http://127.0.0.1:1"}); err == nil {
		t.Error("an issuer without an audience")
	}
}

// issuer is an OIDC issuer with one key.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL,
			"id_token_signing_alg_values_supported": []string{"ES256", "HS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		point := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, 32))) }
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig", "x": point(key.X), "y": point(key.Y)}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// sign makes a token; change may spoil header and claims.
func (i *issuer) sign(t *testing.T, key *ecdsa.PrivateKey, change func(header, claims map[string]any)) string {
	t.Helper()
	header := map[string]any{"alg": "ES256", "kid": "k1", "typ": "JWT"}
	claims := map[string]any{"iss": i.URL, "aud": "amends", "sub": "u-1", "email": "olga@example.org", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"realm": map[string]any{"roles": []string{"amends:operator", "gardener"}}}
	if change != nil {
		change(header, claims)
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// TestOIDC takes tokens of an issuer, for us, that have not expired and that it signed; and no others.
func TestOIDC(t *testing.T) {
	i := newIssuer(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	auth, err := NewAuth(AuthConfig{Issuer: i.URL, Audience: "amends", RolesClaim: "realm.roles", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{name: "a", tasks: []int32{0, 1}, have: map[string]sagas.View{"near/1": {WorkflowID: "near/1", Rev: 1}}}
	server := httptest.NewServer(New(e, Options{Auth: auth, Actions: true}))
	defer server.Close()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const suspend = `{"action":"suspend","reason":"r"}`
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"operator":        {i.sign(t, i.key, nil), 202},
		"other audience":  {i.sign(t, i.key, func(_, c map[string]any) { c["aud"] = "shop" }), 401},
		"other issuer":    {i.sign(t, i.key, func(_, c map[string]any) { c["iss"] = "http://evil.example" }), 401},
		"expired":         {i.sign(t, i.key, func(_, c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }), 401},
		"no expiry":       {i.sign(t, i.key, func(_, c map[string]any) { delete(c, "exp") }), 401},
		"other key":       {i.sign(t, stranger, nil), 401},
		"no signature":    {strings.Join(strings.Split(i.sign(t, i.key, func(h, _ map[string]any) { h["alg"] = "none" }), ".")[:2], ".") + ".", 401},
		"shared secret":   {i.sign(t, i.key, func(h, _ map[string]any) { h["alg"] = "HS256" }), 401},
		"no role of ours": {i.sign(t, i.key, func(_, c map[string]any) { c["realm"] = map[string]any{"roles": []string{"gardener"}} }), 403},
		"viewer":          {i.sign(t, i.key, func(_, c map[string]any) { c["realm"] = map[string]any{"roles": "viewer"} }), 403},
		"not a token":     {"aaaaaaaaaaaa.bbbbbbbbbbbb.cccccccccc", 401},
	} {
		resp, body := post(t, server.URL+"/api/v1/instances/near/1/actions", suspend, "Authorization", "Bearer "+c.token)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, body, c.status)
		}
		if strings.Contains(body, c.token) {
			t.Errorf("%s: the answer has the token", name)
		}
	}
	if len(e.acted) != 1 || e.acted[0].Operator != "olga@example.org" {
		t.Errorf("acted: %v", e.acted)
	}
	i.Close()
	silent, err := NewAuth(AuthConfig{Issuer: i.URL, Audience: "amends", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := silent.who(t.Context(), i.sign(t, i.key, nil)); err == nil || !strings.Contains(notAuthenticated(err).Error(), orchestrator.CodeUnreachable) {
		t.Errorf("the issuer is away: %v", err)
	}
}
