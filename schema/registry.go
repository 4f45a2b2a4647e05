package schema

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// RegistryConfig says where a schema registry is. It comes from settings and from nowhere else: nothing in a record or
// a definition names a host.
type RegistryConfig struct {
	URLs  []string // of a registry with Confluent's interface, tried in order; with a path if it has one
	User  string   // basic authentication
	Pass  string
	Token string      // bearer token, instead of User
	TLS   *tls.Config // nil = the system's

	Timeout time.Duration // of one request; 0 = 2 s

	// UnknownFor is how long an id that the registry does not know may still become known: until then its
	// records are ErrUnavailable, then ErrMalformed. 0 = 5 s; negative = not at all.
	UnknownFor time.Duration

	// Transport and Now are for tests.
	Transport http.RoundTripper
	Now       func() time.Time
}

// Limits of what is kept of a registry.
const (
	MaxSchemas      = 1000        // schemas in memory; the oldest makes room
	maxUnknown      = 10_000      // ids that are known to be unknown
	unknownAgain    = time.Minute // after that an unknown id is asked for again
	latestFor       = 5 * time.Minute
	maxAnswerBytes  = 2 * MaxSchemaBytes
	registryBackoff = 250 * time.Millisecond
	registryMost    = 10 * time.Second
	defaultTimeout  = 2 * time.Second
	defaultUnknown  = 5 * time.Second
)

// Registry is a client of a schema registry: it keeps what it was told, answers at once while the registry is
// known to be down, and follows no redirect. It is safe for concurrent use.
type Registry struct {
	cfg RegistryConfig
	cl  *sr.Client
	now func() time.Time

	mu struct {
		sync.Mutex
		known   map[string]*Schema // by id/<n>, guid/<g>; never changes
		order   []string           // of known, the oldest first
		bad     map[string]error   // what will never be read
		unknown map[string]*missing
		latest  map[string]*latest // by subject
		calls   map[string]*call   // under way
		retryAt time.Time          // before it nobody asks
		backoff time.Duration
		down    error
	}
}

// missing is an id that the registry did not know.
type missing struct{ first, asked time.Time }

type latest struct {
	schema *Schema
	id     int32
	guid   string
	until  time.Time
}

// call lets all who want the same wait for one request.
type call struct {
	done chan struct{}
	err  error
}

// NewRegistry checks the settings. It asks nobody.
func NewRegistry(cfg RegistryConfig) (*Registry, error) {
	if len(cfg.URLs) == 0 {
		return nil, errors.New("a registry needs a URL")
	}
	for _, u := range cfg.URLs {
		p, err := url.Parse(u)
		if err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" || p.User != nil || p.RawQuery != "" {
			return nil, errors.New("the URL of a registry is http or https, a host and perhaps a path; user and password are settings of their own")
		}
	}
	if cfg.Token != "" && cfg.User != "" {
		return nil, errors.New("a registry takes a token or a user, not both")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	cfg.UnknownFor = cmp.Or(cfg.UnknownFor, defaultUnknown)
	transport := cfg.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = cfg.TLS
		t.ResponseHeaderTimeout, t.MaxIdleConnsPerHost = cfg.Timeout, 2
		transport = t
	}
	opts := []sr.ClientOpt{
		sr.URLs(cfg.URLs...), sr.UserAgent("amends"),
		sr.HTTPClient(&http.Client{
			Timeout:       cfg.Timeout,
			Transport:     bounded{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	}
	switch {
	case cfg.Token != "":
		opts = append(opts, sr.BearerToken(cfg.Token))
	case cfg.User != "":
		opts = append(opts, sr.BasicAuth(cfg.User, cfg.Pass))
	}
	cl, err := sr.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	r := &Registry{cfg: cfg, cl: cl, now: cfg.Now}
	if r.now == nil {
		r.now = time.Now
	}
	r.mu.known, r.mu.bad, r.mu.unknown = map[string]*Schema{}, map[string]error{}, map[string]*missing{}
	r.mu.latest, r.mu.calls = map[string]*latest{}, map[string]*call{}
	return r, nil
}

// bounded cuts answers off: the client reads them whole.
type bounded struct{ inner http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.inner.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, maxAnswerBytes}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

var errAnswer = fmt.Errorf("the registry's answer is larger than %d bytes", maxAnswerBytes)

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errAnswer
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// subjectKey begins the keys of what may change.
const subjectKey = "subject/"

// byID is the schema with an id.
func (r *Registry) byID(ctx context.Context, id int32) (*Schema, error) {
	return r.get(ctx, fmt.Sprintf("id/%d", id), fmt.Sprintf("the id %d", id), func(ctx context.Context) (*Schema, error) {
		s, err := r.cl.SchemaByID(ctx, int(id))
		if err != nil {
			return nil, err
		}
		return r.parse(ctx, s)
	})
}

// byGUID is the schema with a GUID.
func (r *Registry) byGUID(ctx context.Context, guid string) (*Schema, error) {
	return r.get(ctx, "guid/"+guid, "the GUID "+guid, func(ctx context.Context) (*Schema, error) {
		s, err := r.cl.SchemaByGUID(ctx, guid)
		if err != nil {
			return nil, err
		}
		return r.parse(ctx, s.Schema)
	})
}

// get answers from memory or asks, once for all who want the same.
func (r *Registry) get(ctx context.Context, key, what string, ask func(context.Context) (*Schema, error)) (*Schema, error) {
	for {
		r.mu.Lock()
		s, err, ended := r.remembered(key, what)
		if ended {
			r.mu.Unlock()
			return s, err
		}
		if c := r.mu.calls[key]; c != nil {
			r.mu.Unlock()
			select {
			case <-c.done:
				if c.err != nil && errors.Is(c.err, ErrUnavailable) {
					return nil, c.err
				}
				continue
			case <-ctx.Done():
				return nil, unavailable(ctx.Err(), "the registry has not answered yet")
			}
		}
		c := &call{done: make(chan struct{})}
		r.mu.calls[key] = c
		r.mu.Unlock()

		s, err = ask(ctx)
		err = r.settle(key, what, s, err)
		c.err = err
		close(c.done)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// remembered is what needs no question. The lock is held.
func (r *Registry) remembered(key, what string) (*Schema, error, bool) {
	if s := r.mu.known[key]; s != nil {
		return s, nil, true
	}
	if err := r.mu.bad[key]; err != nil {
		return nil, err, true
	}
	now := r.now()
	if m := r.mu.unknown[key]; m != nil && now.Sub(m.asked) < unknownAgain && m.asked.Sub(m.first) >= r.cfg.UnknownFor {
		return nil, malformed("the registry does not know %s", what), true
	}
	if now.Before(r.mu.retryAt) {
		return nil, r.mu.down, true
	}
	return nil, nil, false
}

// settle remembers an answer and gives its class.
func (r *Registry) settle(key, what string, s *Schema, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.calls, key)
	var answer *sr.ResponseError
	switch {
	case err == nil:
		r.up()
		delete(r.mu.unknown, key)
		if strings.HasPrefix(key, subjectKey) {
			return nil // what a subject holds changes
		}
		if len(r.mu.order) >= MaxSchemas {
			delete(r.mu.known, r.mu.order[0])
			r.mu.order = r.mu.order[1:]
		}
		r.mu.known[key] = s
		r.mu.order = append(r.mu.order, key)
		return nil
	case errors.Is(err, ErrMalformed):
		r.up()
		err = malformed("the schema with %s cannot be used: %v", what, err)
		if strings.HasPrefix(key, subjectKey) {
			return err
		}
		if len(r.mu.bad) >= maxUnknown {
			clear(r.mu.bad)
		}
		r.mu.bad[key] = err
		return err
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		r.up()
		now := r.now()
		m := r.mu.unknown[key]
		if m == nil || now.Sub(m.asked) > unknownAgain {
			if len(r.mu.unknown) >= maxUnknown {
				clear(r.mu.unknown)
			}
			m = &missing{first: now}
			r.mu.unknown[key] = m
		}
		m.asked = now
		if now.Sub(m.first) >= r.cfg.UnknownFor {
			return malformed("the registry does not know %s", what)
		}
		return unavailable(nil, "the registry does not know %s yet", what)
	}
	return r.failed(err)
}

// up says that the registry answers. The lock is held.
func (r *Registry) up() { r.mu.retryAt, r.mu.backoff, r.mu.down = time.Time{}, 0, nil }

// failed notes that it does not. The lock is held.
func (r *Registry) failed(err error) error {
	r.mu.backoff = min(max(2*r.mu.backoff, registryBackoff), registryMost)
	r.mu.retryAt = r.now().Add(r.mu.backoff)
	var answer *sr.ResponseError
	text := "the schema registry does not answer"
	if errors.As(err, &answer) {
		switch {
		case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
			text = "the schema registry refuses our credentials"
		case answer.StatusCode/100 == 3:
			text = "the schema registry redirects, and redirects are not followed: set its final URL"
		default:
			text = "the schema registry answers with an error"
		}
		text += fmt.Sprintf(" (HTTP %d)", answer.StatusCode)
	} else if errors.Is(err, errAnswer) {
		text = errAnswer.Error()
	}
	r.mu.down = unavailable(err, "%s", text)
	return r.mu.down
}

func unavailable(cause error, format string, args ...any) *Error {
	return &Error{Class: ErrUnavailable, Text: fmt.Sprintf(format, args...), cause: cause}
}

// parse reads what a registry gave, with the schemas that it refers to.
func (r *Registry) parse(ctx context.Context, s sr.Schema) (*Schema, error) {
	if s.Type != sr.TypeAvro {
		return nil, malformed("it is of the type %s, and only Avro is taken", s.Type)
	}
	var texts []string
	seen := map[string]bool{}
	if err := r.references(ctx, s.References, &texts, seen, 0); err != nil {
		return nil, err
	}
	return ParseSchema(s.Schema, texts...)
}

// references gathers the texts of references, each after those that it needs itself.
func (r *Registry) references(ctx context.Context, refs []sr.SchemaReference, texts *[]string, seen map[string]bool, depth int) error {
	for _, ref := range refs {
		key := fmt.Sprintf("%s/%d", ref.Subject, ref.Version)
		if seen[key] {
			continue
		}
		if seen[key] = true; len(seen) > MaxReferences || depth > MaxReferences {
			return malformed("it refers to more than %d others", MaxReferences)
		}
		s, err := r.cl.SchemaByVersion(ctx, ref.Subject, ref.Version)
		if err != nil {
			return err
		}
		if err := r.references(ctx, s.References, texts, seen, depth+1); err != nil {
			return err
		}
		*texts = append(*texts, s.Schema.Schema)
	}
	return nil
}

// newest is the latest version of a subject. It is asked for again after a few minutes; while the registry is
// down, what was known goes on.
func (r *Registry) newest(ctx context.Context, subject string) (*latest, error) {
	r.mu.Lock()
	have := r.mu.latest[subject]
	now := r.now()
	if have != nil && (now.Before(have.until) || now.Before(r.mu.retryAt)) {
		r.mu.Unlock()
		return have, nil
	}
	r.mu.Unlock()
	var found latest
	_, err := r.get(ctx, subjectKey+subject, "the subject "+cut(subject), func(ctx context.Context) (*Schema, error) {
		s, err := r.cl.SchemaByVersion(ctx, subject, -1)
		if err != nil {
			return nil, err
		}
		parsed, err := r.parse(ctx, s.Schema)
		found = latest{schema: parsed, id: int32(s.ID), guid: s.GUID}
		return parsed, err
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		found.until = r.now().Add(latestFor)
		if len(r.mu.latest) >= MaxSchemas {
			clear(r.mu.latest)
		}
		r.mu.latest[subject] = &found
		return &found, nil
	case r.mu.latest[subject] != nil && errors.Is(err, ErrUnavailable):
		return r.mu.latest[subject], nil
	}
	return nil, err
}

// Latest is the newest schema of a subject, for checks of definitions.
func (r *Registry) Latest(ctx context.Context, subject string) (*Schema, error) {
	l, err := r.newest(ctx, subject)
	if err != nil {
		return nil, err
	}
	return l.schema, nil
}

// Compatible asks whether a schema may become the next version of a subject. Its reasons are the registry's. known is
// false when the subject is not there: then anything may.
func (r *Registry) Compatible(ctx context.Context, subject, text string) (is, known bool, reasons []string, err error) {
	res, err := r.cl.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), subject, -1, sr.Schema{Schema: text, Type: sr.TypeAvro})
	var answer *sr.ResponseError
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return true, false, nil, nil
	case errors.As(err, &answer) && answer.StatusCode == http.StatusUnprocessableEntity:
		return false, true, []string{strings.TrimSpace(answer.Message)}, nil
	case err != nil:
		r.mu.Lock()
		defer r.mu.Unlock()
		return false, false, nil, r.failed(err)
	}
	return res.Is, true, res.Messages, nil
}

// Down is why the registry is not asked now, nil when it answers.
func (r *Registry) Down() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.down
}
