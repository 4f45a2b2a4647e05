package claimcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// bucket is a service that speaks as much of S3 as the store uses, over HTTP, with the real client before it.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	types   map[string]string
	down    bool
	unsure  int // requests without a signature
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fail := func(status int, code string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName struct{} `xml:"Error"`
			Code    string
		}{Code: code})
	}
	if !strings.HasPrefix(req.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=key/") {
		b.unsure++
	}
	name, found := strings.CutPrefix(req.URL.Path, "/claims/")
	object, there := b.objects[name]
	switch {
	case b.down:
		fail(http.StatusInternalServerError, "InternalError")
	case !found:
		fail(http.StatusNotFound, "NoSuchBucket")
	case req.Method == http.MethodPut:
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if strings.HasPrefix(req.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
			body = unchunk(body)
		}
		b.objects[name], b.types[name] = body, req.Header.Get("Content-Type")
		w.Header().Set("ETag", `"x"`)
	case !there:
		fail(http.StatusNotFound, "NoSuchKey")
	default:
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", b.types[name])
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(object))
	}
}

// unchunk takes the framing of a signed stream away: <hex size>;… CRLF data CRLF, up to size 0.
func unchunk(body []byte) (out []byte) {
	for {
		line, rest, _ := bytes.Cut(body, []byte("\r\n"))
		n := 0
		if _, err := fmt.Sscanf(string(line), "%x", &n); err != nil || n == 0 || n > len(rest) {
			return out
		}
		out = append(out, rest[:n]...)
		body = bytes.TrimPrefix(rest[n:], []byte("\r\n"))
	}
}

func newBucket(t *testing.T) (*bucket, *S3) {
	b := &bucket{objects: map[string][]byte{}, types: map[string]string{}}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	s, err := NewS3(S3Config{Endpoint: strings.TrimPrefix(srv.URL, "http://"), Bucket: "claims", Prefix: "pay/", Region: "us-east-1", Plain: true,
		AccessKey: "key", SecretKey: "secret", Transport: http.DefaultTransport})
	if err != nil {
		t.Fatal(err)
	}
	return b, s
}

// stores runs a test on each kind of store. tamper changes every value that is there.
func stores(t *testing.T, fn func(t *testing.T, c *Claims, tamper func(change func([]byte) []byte))) {
	t.Run("dir", func(t *testing.T) {
		path := t.TempDir()
		d, err := NewDir(filepath.Join(path, "claims"))
		if err != nil {
			t.Fatal(err)
		}
		fn(t, &Claims{Store: d, Inline: 4096, Max: 1 << 20}, func(change func([]byte) []byte) {
			files, err := filepath.Glob(filepath.Join(path, "claims", "??", "*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("%v %v", files, err)
			}
			for _, f := range files {
				value, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if value = change(value); value == nil {
					err = os.Remove(f)
				} else {
					err = os.WriteFile(f, value, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	})
	t.Run("s3", func(t *testing.T) {
		b, s := newBucket(t)
		fn(t, &Claims{Store: s, Inline: 4096, Max: 1 << 20}, func(change func([]byte) []byte) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for name, value := range b.objects {
				if value = change(value); value == nil {
					delete(b.objects, name)
				} else {
					b.objects[name] = value
				}
			}
		})
		if b.unsure > 0 {
			t.Errorf("%d requests were not signed", b.unsure)
		}
	})
}

func equalJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	for value, into := range map[*any][]byte{&x: a, &y: b} {
		dec := json.NewDecoder(bytes.NewReader(into))
		dec.UseNumber()
		if err := dec.Decode(value); err != nil {
			t.Fatalf("%v in %.200s", err, into)
		}
	}
	return reflect.DeepEqual(x, y)
}

func big(n int) string { return strings.Repeat("x", n) }

func TestShrinkExpand(t *testing.T) {
	stores(t, func(t *testing.T, c *Claims, _ func(func([]byte) []byte)) {
		ctx := t.Context()
		value := []byte(`{"id":"o-1","document":"` + big(10_000) + `","lines":[{"text":"` + big(5_000) + `","n":12345678901234567890}],"note":"small"}`)
		small, err := c.Shrink(ctx, value)
		if err != nil {
			t.Fatal(err)
		}
		if len(small) > c.Inline || !strings.Contains(string(small), `"note":"small"`) || strings.Count(string(small), `"ref":"claim:sha256-`) != 2 {
			t.Errorf("got %s", small)
		}
		back, err := c.Expand(ctx, small)
		if err != nil || !equalJSON(t, back, value) {
			t.Errorf("got %.300s, %v", back, err)
		}
		// A mapping has taken it elsewhere; a list of them; what only looks like one stays.
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(small, &fields); err != nil {
			t.Fatal(err)
		}
		moved := fmt.Sprintf(`{"a":{"b":[1,%s,{"c":%s}]},"d":{"ref":"claim:sha256-x","sha256":"x","size":1,"type":"y"},"e":"claim:sha256-"}`, fields["document"], fields["document"])
		want := fmt.Sprintf(`{"a":{"b":[1,"%s",{"c":"%s"}]},"d":{"ref":"claim:sha256-x","sha256":"x","size":1,"type":"y"},"e":"claim:sha256-"}`, big(10_000), big(10_000))
		if back, err = c.Expand(ctx, []byte(moved)); err != nil || !equalJSON(t, back, []byte(want)) {
			t.Errorf("got %.300s, %v", back, err)
		}
		if same, err := c.Shrink(ctx, []byte(`{"a":1}`)); err != nil || string(same) != `{"a":1}` {
			t.Errorf("got %s, %v", same, err)
		}
	})
}

// Whatever an object holds, it comes back.
func TestShrinkExpandAny(t *testing.T) {
	d, err := NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := &Claims{Store: d, Inline: rapid.IntRange(2_000, 4_000).Draw(rt, "inline")}
		o := map[string]any{}
		for i := range rapid.IntRange(0, 6).Draw(rt, "fields") {
			text := rapid.StringN(0, 3000, 8000).Draw(rt, "text")
			o[fmt.Sprint("f", i)] = []any{text, map[string]any{"n": i, "t": strings.Repeat(text, rapid.IntRange(0, 3).Draw(rt, "times"))}}
		}
		value, err := json.Marshal(o)
		if err != nil {
			rt.Fatal(err)
		}
		small, err := c.Shrink(t.Context(), value)
		if errors.Is(err, ErrTooLarge) && len(o) > 3 {
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		back, err := c.Expand(t.Context(), small)
		if err != nil || !equalJSON(t, back, value) || len(small) > c.Inline {
			rt.Fatalf("%d bytes became %d: %v", len(value), len(small), err)
		}
	})
}

func TestTampered(t *testing.T) {
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"changed": {func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, ErrMalformed},
		"cut":     {func(b []byte) []byte { return b[:len(b)-1] }, ErrMalformed},
		"longer":  {func(b []byte) []byte { return append(b, ' ') }, ErrMalformed},
		"gone":    {func([]byte) []byte { return nil }, ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			stores(t, func(t *testing.T, claims *Claims, tamper func(func([]byte) []byte)) {
				small, err := claims.Shrink(t.Context(), []byte(`{"a":"`+big(10_000)+`"}`))
				if err != nil {
					t.Fatal(err)
				}
				tamper(c.change)
				if back, err := claims.Expand(t.Context(), small); !errors.Is(err, c.want) {
					t.Errorf("got %.100s, %v; want %v", back, err, c.want)
				}
			})
		})
	}
}

// never fails a test that asks the store.
type never struct{ t *testing.T }

func (n never) Put(context.Context, string, []byte, string) error {
	n.t.Error("the store was written")
	return nil
}

func (n never) Get(_ context.Context, name string) (io.ReadCloser, error) {
	n.t.Errorf("the store was asked for %q", name)
	return nil, ErrNotFound
}

func TestReferences(t *testing.T) {
	c := &Claims{Store: never{t}, Max: 1000}
	good := strings.Repeat("0a", 32)
	for _, r := range []Ref{
		{}, {"claim:sha256-../../etc/passwd", "../../etc/passwd", 1, "x"}, {prefix + good, strings.Repeat("0b", 32), 1, "x"},
		{"file:///etc/passwd", good, 1, "x"}, {prefix + strings.ToUpper(good), strings.ToUpper(good), 1, "x"}, {prefix + good, good, -1, "x"}, {prefix + good, good, 1, ""},
	} {
		if _, err := c.Get(t.Context(), r); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if _, err := c.Get(t.Context(), Ref{prefix + good, good, 1001, "x"}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	many := `{"list":[` + strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"ref":%q,"sha256":%q,"size":400,"type":"application/json"},`, prefix+good, good), 3), ",") + `]}`
	if _, err := (&Claims{Store: full{}, Max: 1000}).Expand(t.Context(), []byte(many)); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	for _, value := range []string{`[1]`, `"` + big(200_000) + `"`} {
		if _, err := (&Claims{Store: never{t}, Inline: 2}).Shrink(t.Context(), []byte(value)); !errors.Is(err, ErrMalformed) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Shrink(t.Context(), []byte(`{"a":"`+big(200_000)+`"}`)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	d := &Dir{t.TempDir()}
	for _, name := range []string{"", "..", "../../x", strings.Repeat("z", 64), good + "/.."} {
		if err := d.Put(t.Context(), name, nil, "x"); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := d.Get(t.Context(), name); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// full has an endless value under every name.
type full struct{}

func (full) Put(context.Context, string, []byte, string) error { return nil }
func (full) Get(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(endless{}), nil
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestUnavailable(t *testing.T) {
	b, s := newBucket(t)
	b.down = true
	c := &Claims{Store: s}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := c.Put(ctx, []byte("x"), "text/plain"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// What a crash leaves beside a value is not taken for one, and Prune deletes it; a value that is put again
// is young again.
func TestDirCrash(t *testing.T) {
	path := t.TempDir()
	d, err := NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &Claims{Store: d}
	old, err := c.Put(t.Context(), []byte("old"), "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := c.Put(t.Context(), []byte("kept"), "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(path, old.SHA256[:2], ".new-123")
	other := filepath.Join(path, "README")
	long := time.Now().Add(-48 * time.Hour)
	for _, f := range []string{half, other} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{half, other, d.file(old.SHA256), d.file(kept.SHA256)} {
		if err := os.Chtimes(f, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Put(t.Context(), []byte("kept"), "text/plain"); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Prune(t.Context(), time.Now().Add(-24*time.Hour)); err != nil || n != 1 {
		t.Errorf("%d values are gone: %v", n, err)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Error("what a crash has left is there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("what is not ours is gone")
	}
	if _, err := c.Get(t.Context(), old); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if got, err := c.Get(t.Context(), kept); err != nil || string(got) != "kept" {
		t.Errorf("got %s, %v", got, err)
	}
	// A value that was cut by somebody is put whole again.
	if err := os.WriteFile(d.file(kept.SHA256), []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(t.Context(), []byte("kept"), "text/plain"); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), kept); err != nil || string(got) != "kept" {
		t.Errorf("got %s, %v", got, err)
	}
}
