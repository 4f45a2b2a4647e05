package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/amendsio/amends/orchestrator"
)

// Role is what somebody may do.
//
//	viewer    sees everything
//	operator  sees everything, and acts on instances, tasks, dead letters
//	deployer  sees everything, and publishes definitions
//	admin     all of that
type Role uint8

const (
	Viewer Role = iota + 1
	Operator
	Deployer
	Admin
)

var roleNames = [...]string{"none", "viewer", "operator", "deployer", "admin"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return roleNames[0]
}

// ParseRole is the inverse of String.
func ParseRole(s string) (Role, bool) {
	i := slices.Index(roleNames[:], s)
	return Role(i), i > 0
}

// allows says whether one role is enough for what asks for another.
func (r Role) allows(need Role) bool {
	return r == Admin || r == need || need == Viewer && r > 0
}

// Person is who makes a request.
type Person struct {
	Name  string
	Roles []Role
}

func (p *Person) may(need Role) bool {
	return slices.ContainsFunc(p.Roles, func(r Role) bool { return r.allows(need) })
}

type personKey struct{}

// PersonOf is who makes a request, nil on a listener without authentication.
func PersonOf(ctx context.Context) *Person {
	p, _ := ctx.Value(personKey{}).(*Person)
	return p
}

// Auth knows who may do what. Make it with NewAuth.
type Auth struct {
	tokens *tokenFile
	oidc   *oidcVerifier
}

// AuthConfig says where people and their roles come from: a file, an issuer, or both.
type AuthConfig struct {
	// TokenFile holds static tokens: one "name roles token" per line, roles separated by commas, the token as it is
	// (at least 16 bytes) or as sha256:<hex of its SHA-256>. Blank lines and what begins with # do not count. The
	// file is read again when it changes.
	TokenFile string
	// Issuer is the URL of an OIDC issuer whose tokens are taken for Audience.
	Issuer, Audience string
	// RolesClaim is the claim with the roles, as a list or as text with spaces; dots go into objects. A role may
	// have a prefix that ends in a colon. Default: roles.
	RolesClaim string
	// Client asks the issuer. Default: one with a timeout of 10 s.
	Client *http.Client
	// Clock tells the time. Default: time.Now.
	Clock func() time.Time
}

// NewAuth checks the configuration. The issuer is asked with the first of its tokens.
func NewAuth(cfg AuthConfig) (*Auth, error) {
	a := &Auth{}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.TokenFile != "" {
		f := &tokenFile{path: cfg.TokenFile, now: cfg.Clock}
		if err := f.load(); err != nil {
			return nil, err
		}
		a.tokens = f
	}
	switch {
	case (cfg.Issuer == "") != (cfg.Audience == ""):
		return nil, errors.New("an OIDC issuer and its audience belong together")
	case cfg.Issuer != "":
		if cfg.Client == nil {
			cfg.Client = &http.Client{Timeout: 10 * time.Second}
		}
		if cfg.RolesClaim == "" {
			cfg.RolesClaim = "roles"
		}
		a.oidc = &oidcVerifier{cfg: cfg}
	case cfg.TokenFile == "":
		return nil, errors.New("neither a file of tokens nor an OIDC issuer is given")
	}
	return a, nil
}

// who finds the person of a bearer token. The error is errUnknown, or errUnavailable when the issuer cannot be
// asked; it says nothing about the token.
func (a *Auth) who(ctx context.Context, token string) (*Person, error) {
	if a.tokens != nil {
		if p := a.tokens.find(token); p != nil {
			return p, nil
		}
	}
	if a.oidc != nil && strings.Count(token, ".") == 2 {
		return a.oidc.find(ctx, token)
	}
	return nil, errUnknown
}

// authenticate finds out who asks. What the person may do is decided by the operation.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get("Authorization")
		if s.opts.Auth == nil || header == "" || !strings.HasPrefix(r.URL.Path, "/api/") {
			next.ServeHTTP(w, r)
			return
		}
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") || len(token) < minToken || len(token) > maxToken {
			writeProblem(w, problemOf(notAuthenticated(errUnknown)))
			return
		}
		p, err := s.opts.Auth.who(r.Context(), token)
		if err != nil {
			s.log.Info("a token was refused", "from", r.RemoteAddr, "err", err)
			writeProblem(w, problemOf(notAuthenticated(err)))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), personKey{}, p)))
	})
}

func notAuthenticated(err error) error {
	if errors.Is(err, errUnavailable) {
		return &orchestrator.Error{Code: orchestrator.CodeUnreachable, Class: errUnavailable, Cause: "the issuer of the token cannot be asked", Fix: "Try again in a moment.", Err: err}
	}
	return &orchestrator.Error{Code: orchestrator.CodeUnknownPerson, Class: errUnknown, Cause: "the request has no token that is known here, or one that has expired", Fix: "Send Authorization: Bearer <token>."}
}

// may says whether a request may do what a route does.
func (s *server) may(r *http.Request, route route) error {
	if s.opts.Auth == nil {
		return nil
	}
	p := PersonOf(r.Context())
	if p == nil {
		return notAuthenticated(errUnknown)
	}
	if route.role == 0 || !p.may(route.role) {
		return &orchestrator.Error{Code: orchestrator.CodeForbidden, Class: errForbidden, Cause: p.Name + " lacks the role " + route.role.String()}
	}
	return nil
}

// actor is who a change is noted under: with authentication the person of the token, else whom the body names,
// which it has to.
func actor(ctx context.Context, field, given string) (string, error) {
	name, err := actorOr(ctx, field, given)
	if err == nil && name == "" {
		err = invalid(field + ": is required")
	}
	return name, err
}

// actorOr is actor where nobody has to be named.
func actorOr(ctx context.Context, field, given string) (string, error) {
	p := PersonOf(ctx)
	switch {
	case p == nil:
		return given, nil
	case given != "" && given != p.Name:
		return "", &orchestrator.Error{Code: orchestrator.CodeForbidden, Class: errForbidden, Cause: field + " is " + p.Name + ", whom the token names"}
	}
	return p.Name, nil
}

// Limits of tokens.
const (
	minToken     = 16
	maxToken     = 16 << 10
	maxTokenFile = 1 << 20
)

// tokenFile is the file of static tokens. It keeps their hashes.
type tokenFile struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	people  map[[sha256.Size]byte]*Person
	changed time.Time
	looked  time.Time
}

// lookEvery is how often the file is looked at for a change.
const lookEvery = 5 * time.Second

func (f *tokenFile) find(token string) *Person {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		if st, err := os.Stat(f.path); err == nil && !st.ModTime().Equal(f.changed) {
			// A file that is being written, or has a fault, leaves what was known.
			_ = f.read()
		}
	}
	// The map is keyed by the hash, so what a lookup takes says nothing about the token.
	return f.people[sha256.Sum256([]byte(token))]
}

func (f *tokenFile) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = f.now()
	return f.read()
}

func (f *tokenFile) read() error {
	st, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if st.Size() > maxTokenFile {
		return fmt.Errorf("%s: %d bytes are too many", f.path, st.Size())
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	people, err := parseTokens(b)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.people, f.changed = people, st.ModTime()
	return nil
}

// parseTokens reads the file. An error names the line and never the token.
func parseTokens(b []byte) (map[[sha256.Size]byte]*Person, error) {
	people := map[[sha256.Size]byte]*Person{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: want a name, roles and a token", n)
		}
		p := &Person{Name: fields[0]}
		for name := range strings.SplitSeq(fields[1], ",") {
			role, ok := ParseRole(name)
			if !ok {
				return nil, fmt.Errorf("line %d: %q is not one of %s", n, name, strings.Join(roleNames[1:], ", "))
			}
			p.Roles = append(p.Roles, role)
		}
		var sum [sha256.Size]byte
		if digits, ok := strings.CutPrefix(fields[2], "sha256:"); ok {
			hash, err := hex.DecodeString(digits)
			if err != nil || len(hash) != len(sum) {
				return nil, fmt.Errorf("line %d: the hash is not a SHA-256 in hex", n)
			}
			sum = [sha256.Size]byte(hash)
		} else {
			if len(fields[2]) < minToken {
				return nil, fmt.Errorf("line %d: the token has fewer than %d bytes", n, minToken)
			}
			sum = sha256.Sum256([]byte(fields[2]))
		}
		if people[sum] != nil {
			return nil, fmt.Errorf("line %d: the token is there twice", n)
		}
		people[sum] = p
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(people) == 0 {
		return nil, errors.New("it has no token")
	}
	return people, nil
}

// oidcVerifier checks the tokens of an issuer.
type oidcVerifier struct {
	cfg AuthConfig

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
}

// algorithms are those that an issuer may sign with: none with a shared secret.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

func (v *oidcVerifier) find(ctx context.Context, token string) (*Person, error) {
	verifier, err := v.ready(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	id, err := verifier.Verify(oidc.ClientContext(ctx, v.cfg.Client), token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	p := &Person{Name: id.Subject, Roles: rolesOf(claims, v.cfg.RolesClaim)}
	for _, claim := range []string{"preferred_username", "email"} {
		if name, ok := claims[claim].(string); ok && name != "" {
			p.Name = name
			break
		}
	}
	if p.Name == "" {
		return nil, fmt.Errorf("%w: the token names nobody", errUnknown)
	}
	return p, nil
}

func (v *oidcVerifier) ready(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.verifier == nil {
		// The provider keeps this context for fetching keys later: it must outlive the request.
		provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), v.cfg.Client), v.cfg.Issuer)
		if err != nil {
			return nil, err
		}
		v.verifier = provider.Verifier(&oidc.Config{ClientID: v.cfg.Audience, SupportedSigningAlgs: algorithms, Now: v.cfg.Clock})
	}
	return v.verifier, nil
}

// rolesOf reads the roles out of a claim. What is not a role of ours does not count.
func rolesOf(claims map[string]any, path string) (roles []Role) {
	var value any = claims
	for name := range strings.SplitSeq(path, ".") {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	var names []string
	switch v := value.(type) {
	case string:
		names = strings.Fields(v)
	case []any:
		for _, e := range v {
			if name, ok := e.(string); ok {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if role, ok := ParseRole(name[strings.LastIndexByte(name, ':')+1:]); ok {
			roles = append(roles, role)
		}
	}
	return roles
}
