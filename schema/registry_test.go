package schema

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// line is a network to a registry in memory, with a clock that the test moves.
type line struct {
	handler http.Handler
	asked   atomic.Int64
	mu      sync.Mutex
	fault   func(*http.Request) (*http.Response, error) // nil = none
	now     time.Time
}

func newLine(fake *srfake.Registry) *line {
	return &line{handler: fake.Handler(), now: time.Unix(1_800_000_000, 0)}
}

func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	l.asked.Add(1)
	l.mu.Lock()
	fault := l.fault
	l.mu.Unlock()
	if fault != nil {
		if resp, err := fault(req); resp != nil || err != nil {
			return resp, err
		}
	}
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, req)
	return w.Result(), nil
}

func (l *line) breaks(fault func(*http.Request) (*http.Response, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = fault
}

func (l *line) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *line) wait(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

func (l *line) registry(t testing.TB) *Registry {
	t.Helper()
	r, err := NewRegistry(RegistryConfig{URLs: []string{"http://registry.example/base"}, Transport: stripBase{l}, Now: l.clock})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stripBase takes the path of the URL off, as a proxy in front of a registry does.
type stripBase struct{ inner http.RoundTripper }

func (s stripBase) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Path = strings.TrimPrefix(req.URL.Path, "/base")
	req.URL.RawPath = ""
	return s.inner.RoundTrip(req)
}

func register(t testing.TB, fake *srfake.Registry, subject, text string, refs ...sr.SchemaReference) int32 {
	t.Helper()
	id, _, err := fake.RegisterSchema(subject, sr.Schema{Schema: text, Type: sr.TypeAvro, References: refs})
	if err != nil {
		t.Fatal(err)
	}
	return int32(id)
}

func down(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

var background = context.Background()

func TestDecodeWithRegistry(t *testing.T) {
	fake := srfake.NewRegistry()
	id := register(t, fake, "orders-value", orderSchema)
	l := newLine(fake)
	set := New(Config{Registry: l.registry(t)})
	order := mustParse(t, orderSchema)
	body, err := order.Write(nil, []byte(orderValue))
	if err != nil {
		t.Fatal(err)
	}
	cl, _ := sr.NewClient(sr.URLs("http://registry.example"), sr.HTTPClient(&http.Client{Transport: l}))
	known, err := cl.SchemaByVersion(background, "orders-value", -1)
	if err != nil {
		t.Fatal(err)
	}
	guid, err := hex.DecodeString(strings.ReplaceAll(known.GUID, "-", ""))
	if err != nil || len(guid) != 16 {
		t.Fatalf("guid %q", known.GUID)
	}
	for name, c := range map[string]struct {
		headers []kgo.RecordHeader
		value   []byte
		framing Framing
	}{
		"prefix": {nil, append(appendPrefix(nil, id), body...), Prefix},
		"header": {headers(HeaderSchema, string(appendPrefix(nil, id))), body, HeaderID},
		"digits": {headers(HeaderSchema, fmt.Sprint(id)), body, HeaderID},
		"guid":   {headers(HeaderSchema, "\x01"+string(guid)), body, HeaderGUID},
	} {
		for range 3 {
			got, f, err := set.Decode(background, "orders", c.headers, c.value)
			if err != nil || string(got) != orderValue {
				t.Fatalf("%s: %s, %v", name, got, err)
			}
			if f.Encoding != Avro || f.Framing != c.framing || f.Name != "shop.Order" {
				t.Fatalf("%s: %+v", name, f)
			}
		}
	}
	if got, _, err := set.Decode(background, "orders", nil, []byte(`{"a":1}`)); err != nil || string(got) != `{"a":1}` {
		t.Errorf("JSON on the same topic: %s, %v", got, err)
	}
	if n := l.asked.Load(); n != 3 { // one of the test, one by id, one by GUID
		t.Errorf("the registry was asked %d times", n)
	}
}

// TestRegistryDown: while the registry does not answer, what is known goes on, the rest is told to wait, and few
// requests are made; when it is back, the waiting ends.
func TestRegistryDown(t *testing.T) {
	fake := srfake.NewRegistry()
	known := register(t, fake, "known-value", `{"type":"record","name":"A","fields":[]}`)
	other := register(t, fake, "other-value", `{"type":"record","name":"B","fields":[]}`)
	l := newLine(fake)
	set := New(Config{Registry: l.registry(t)})
	read := func(id int32) error {
		_, _, err := set.Decode(background, "t", nil, appendPrefix(nil, id))
		return err
	}
	write := func() error {
		_, _, err := set.Encode(background, Target{Topic: "known", Encoding: Avro}, []byte(`{}`))
		return err
	}
	if err := errors.Join(read(known), write()); err != nil {
		t.Fatal(err)
	}
	l.breaks(down)
	asked := l.asked.Load()
	for range 300 { // thirty seconds
		if err := errors.Join(read(known), write()); err != nil {
			t.Fatalf("what is known: %v", err)
		}
		if err := read(other); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "does not answer") {
			t.Fatalf("what is not: %v", err)
		}
		l.wait(100 * time.Millisecond)
	}
	if n := l.asked.Load() - asked; n > 10 {
		t.Errorf("%d requests in 30 s to a registry that is down", n)
	}
	l.breaks(nil)
	l.wait(registryMost)
	if err := read(other); err != nil {
		t.Errorf("after it is back: %v", err)
	}
}

// TestRegistryAnswers: each answer of a registry, and what it means.
func TestRegistryAnswers(t *testing.T) {
	answer := func(code int, body string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(code)
			_, _ = w.WriteString(body)
			return w.Result(), nil
		}
	}
	for _, c := range []struct {
		name  string
		fault func(*http.Request) (*http.Response, error)
		class error
		text  string
	}{
		{"500", answer(500, `{"error_code":50001,"message":"secret"}`), ErrUnavailable, "answers with an error (HTTP 500)"},
		{"429", answer(429, ``), ErrUnavailable, "HTTP 429"},
		{"401", answer(401, ``), ErrUnavailable, "refuses our credentials"},
		{"a redirect", answer(302, ``), ErrUnavailable, "redirects"},
		{"an endless answer", answer(200, strings.Repeat(" ", maxAnswerBytes+1)), ErrUnavailable, "larger than"},
		{"not JSON", answer(200, `<html>`), ErrUnavailable, "does not answer"},
		{"another type", answer(200, `{"schema":"syntax = \"proto3\";","schemaType":"PROTOBUF"}`), ErrMalformed, "PROTOBUF"},
		{"not a schema", answer(200, `{"schema":"{}"}`), ErrMalformed, "cannot be used"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLine(srfake.NewRegistry())
			l.breaks(c.fault)
			r := l.registry(t)
			_, err := r.byID(background, 1)
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "secret") {
				t.Fatalf("got %v, want %v with %q", err, c.class, c.text)
			}
			if l.asked.Load() != 1 {
				t.Errorf("%d requests", l.asked.Load())
			}
			if c.class == ErrMalformed {
				if _, err := r.byID(background, 1); !errors.Is(err, ErrMalformed) || l.asked.Load() != 1 {
					t.Errorf("it was asked for again: %v", err)
				}
			}
		})
	}
}

// TestUnknownID: an id may become known for a while; then it is a dead letter, and the registry is left alone.
func TestUnknownID(t *testing.T) {
	fake := srfake.NewRegistry()
	l := newLine(fake)
	r := l.registry(t)
	for at := time.Duration(0); at < defaultUnknown; at += time.Second {
		if _, err := r.byID(background, 1); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "does not know the id 1 yet") {
			t.Fatalf("after %s: %v", at, err)
		}
		l.wait(time.Second)
	}
	for range 3 {
		if _, err := r.byID(background, 1); !errors.Is(err, ErrMalformed) {
			t.Fatal(err)
		}
	}
	if n := l.asked.Load(); n != 6 {
		t.Errorf("%d requests", n)
	}
	// Another id that is registered late is found.
	if _, err := r.byID(background, 2); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	register(t, fake, "a-value", `"int"`)
	register(t, fake, "b-value", `"long"`)
	if _, err := r.byID(background, 2); err != nil {
		t.Fatal(err)
	}
	// And so is the first, after a while.
	l.wait(unknownAgain)
	if _, err := r.byID(background, 1); err != nil {
		t.Fatal(err)
	}
}

func TestReferences(t *testing.T) {
	fake := srfake.NewRegistry()
	register(t, fake, "money", `{"type":"record","name":"shop.Money","fields":[{"name":"units","type":"long"}]}`)
	register(t, fake, "line", `{"type":"record","name":"shop.Line","fields":[{"name":"price","type":"shop.Money"}]}`, sr.SchemaReference{Name: "shop.Money", Subject: "money", Version: 1})
	id := register(t, fake, "order-value", `{"type":"record","name":"shop.Order","fields":[{"name":"line","type":"Line"},{"name":"sum","type":"Money"}]}`,
		sr.SchemaReference{Name: "shop.Line", Subject: "line", Version: 1}, sr.SchemaReference{Name: "shop.Money", Subject: "money", Version: 1})
	got, _, err := New(Config{Registry: newLine(fake).registry(t)}).Decode(background, "order", nil, append(appendPrefix(nil, id), 2, 4))
	if err != nil || string(got) != `{"line":{"price":{"units":1}},"sum":{"units":2}}` {
		t.Errorf("%s, %v", got, err)
	}
}

// TestWriteAsTheTopicIs: a value is written in the framing of the newest record of its topic.
func TestWriteAsTheTopicIs(t *testing.T) {
	fake := srfake.NewRegistry()
	register(t, fake, "first-value", `"int"`)
	id := register(t, fake, "orders-value", orderSchema)
	dir, err := LoadDir(fstest.MapFS{"a/order.avsc": {Data: []byte(orderSchema)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		headers []kgo.RecordHeader
		value   []byte
		want    Framing
	}{
		{"empty", nil, nil, Prefix},
		{"JSON", nil, []byte(`{}`), Prefix},
		{"prefix", nil, []byte{0, 0, 0, 0, 1}, Prefix},
		{"header", headers(HeaderSchema, string(appendPrefix(nil, 1))), []byte{0}, HeaderID},
		{"guid", headers(HeaderSchema, "\x01"+strings.Repeat("x", 16)), []byte{0}, HeaderGUID},
		{"single object", nil, []byte{0xC3, 1, 0, 0, 0, 0, 0, 0, 0, 0}, SingleObject},
	} {
		t.Run(c.name, func(t *testing.T) {
			looked := 0
			set := New(Config{Registry: newLine(fake).registry(t), Dir: dir, Last: func(context.Context, string) ([]kgo.RecordHeader, []byte, bool, error) {
				looked++
				return c.headers, c.value, c.value != nil, nil
			}})
			target := Target{Topic: "orders", Encoding: Avro, Schema: "shop.Order"}
			for range 2 {
				value, hs, err := set.Encode(background, target, []byte(orderValue))
				if err != nil {
					t.Fatal(err)
				}
				got, f, err := set.Decode(background, "orders", hs, value)
				if err != nil || string(got) != orderValue || f.Framing != c.want || c.want == Prefix && f.ID != id {
					t.Fatalf("%+v: %s, %v", f, got, err)
				}
			}
			if looked != 1 {
				t.Errorf("the topic was looked at %d times", looked)
			}
		})
	}
	set := New(Config{Registry: newLine(fake).registry(t)})
	if _, _, err := set.Encode(background, Target{Topic: "orders", Encoding: Avro, Schema: "shop.Other"}, []byte(`{}`)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "holds shop.Order") {
		t.Errorf("another record: %v", err)
	}
	if value, hs, err := set.Encode(background, Target{Topic: "orders"}, []byte(`{}`)); err != nil || string(value) != `{}` || string(hs[0].Value) != "application/json" {
		t.Errorf("JSON: %s %v %v", value, hs, err)
	}
}

func TestDirectory(t *testing.T) {
	files := fstest.MapFS{
		"z/order.avsc":      {Data: []byte(`{"type":"record","name":"shop.Order","fields":[{"name":"line","type":"shop.Line"}]}`)},
		"a/line.avsc":       {Data: []byte(`{"type":"record","name":"shop.Line","fields":[{"name":"sku","type":"string"}]}`)},
		"prices-value.avsc": {Data: []byte(`{"type":"record","name":"Price","fields":[{"name":"eur","type":"long"}]}`)},
		"README.md":         {Data: []byte(`not a schema`)},
	}
	dir, err := LoadDir(files)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(dir.Names(), " "); got != "Price shop.Line shop.Order" || dir.File("shop.Order") != "z/order.avsc" {
		t.Fatal(got)
	}
	set := New(Config{Dir: dir, Bare: map[string]string{"lines": "shop.Line"}})
	for _, target := range []Target{{Topic: "x", Encoding: Avro, Schema: "shop.Order"}, {Topic: "prices", Encoding: Avro}, {Topic: "lines", Encoding: Avro, Schema: "shop.Line"}} {
		json := map[string]string{"x": `{"line":{"sku":"a"}}`, "prices": `{"eur":5}`, "lines": `{"sku":"b"}`}[target.Topic]
		value, hs, err := set.Encode(background, target, []byte(json))
		if err != nil {
			t.Fatal(err)
		}
		got, f, err := set.Decode(background, target.Topic, hs, value)
		if err != nil || string(got) != json || (f.Framing == SingleObject) == (target.Topic == "lines") {
			t.Errorf("%s: %s, %+v, %v", target.Topic, got, f, err)
		}
	}
	if _, _, err := set.Decode(background, "x", nil, []byte{0, 0, 0, 0, 1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a prefix without a registry: %v", err)
	}
	if _, _, err := set.Decode(background, "x", nil, []byte{0xC3, 1, 0, 0, 0, 0, 0, 0, 0, 0}); !errors.Is(err, ErrMalformed) {
		t.Errorf("an unknown fingerprint: %v", err)
	}
	files["bad.avsc"] = &fstest.MapFile{Data: []byte(`"shop.Nothing"`)}
	if _, err := LoadDir(files); err == nil || !strings.Contains(err.Error(), "bad.avsc") {
		t.Errorf("a file that needs what is not there: %v", err)
	}
}

func TestRegistrySettings(t *testing.T) {
	for _, u := range []string{"", "registry:8081", "ftp://registry", "http://", "http://user:pass@registry", "http://registry?x=1"} {
		if _, err := NewRegistry(RegistryConfig{URLs: []string{u}}); err == nil || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: %v", u, err)
		}
	}
	if _, err := NewRegistry(RegistryConfig{URLs: []string{"http://r"}, User: "u", Token: "t"}); err == nil {
		t.Error("a token and a user are taken")
	}
	for _, c := range []struct {
		cfg  RegistryConfig
		want string
	}{{RegistryConfig{User: "ann", Pass: "secret"}, "Basic YW5uOnNlY3JldA=="}, {RegistryConfig{Token: "tok"}, "Bearer tok"}} {
		l := newLine(srfake.NewRegistry(srfake.WithAuth(c.want)))
		c.cfg.URLs, c.cfg.Transport, c.cfg.Now = []string{"http://registry.example"}, l, l.clock
		r, err := NewRegistry(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.byID(background, 1); !strings.Contains(fmt.Sprint(err), "does not know") {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

// TestManyReaders ask for one schema at the same time: one request is made.
func TestManyReaders(t *testing.T) {
	fake := srfake.NewRegistry()
	id := register(t, fake, "a-value", `"int"`)
	l := newLine(fake)
	enter := make(chan struct{})
	l.breaks(func(*http.Request) (*http.Response, error) { <-enter; return nil, nil })
	r := l.registry(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := r.byID(background, id); err != nil {
				t.Error(err)
			}
		})
	}
	close(enter)
	wg.Wait()
	if n := l.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestCacheIsBounded: a producer of many ids does not fill the memory.
func TestCacheIsBounded(t *testing.T) {
	l := newLine(srfake.NewRegistry())
	l.breaks(func(*http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		_, _ = w.WriteString(`{"schema":"\"int\""}`)
		return w.Result(), nil
	})
	r := l.registry(t)
	for id := range int32(MaxSchemas + 100) {
		if _, err := r.byID(background, id); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.mu.known) != MaxSchemas || len(r.mu.order) != MaxSchemas {
		t.Errorf("%d schemas, %d in order", len(r.mu.known), len(r.mu.order))
	}
}
