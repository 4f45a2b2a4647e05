package web

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// get asks for a page and returns its body.
func get(t testing.TB, h http.Handler, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://amends.test"+path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

var between = regexp.MustCompile(`>(<[^/])`)
var hashes = regexp.MustCompile(`(/static/[a-z0-9.-]+)\?[0-9a-f]{12}`)
var ids = regexp.MustCompile(`web-[A-Z2-7]{26}`)

// lines makes a page that a diff can show: one element a line, without what changes with every build.
func lines(html string) string {
	html = hashes.ReplaceAllString(html, "$1")
	html = ids.ReplaceAllString(html, "web-ID")
	return between.ReplaceAllString(html, ">\n$1") + "\n"
}

// goldenPages are the pages that have a golden file, by its name.
var goldenPages = []struct {
	name, path string
	set        func(*fake, *Options)
}{
	{name: "instances", path: "/instances"},
	{name: "instances-query", path: `/instances?status=attention&saga=fx-transfer&q=amount+%3E+500`},
	{name: "instances-none", path: "/instances?q=none"},
	{name: "instance", path: "/instances/card-payment/order-100242"},
	{name: "instance-attention", path: "/instances/fx-transfer/7f3c-2291"},
	{name: "instance-history", path: "/instances/card-payment/order-100242?tab=history"},
	{name: "instance-messages", path: "/instances/card-payment/order-100242?tab=messages"},
	{name: "instance-state", path: "/instances/card-payment/order-100242?tab=state"},
	{name: "instance-related", path: "/instances/fx-transfer/7f3c-2291?tab=related"},
	{name: "instance-read-only", path: "/instances/fx-transfer/7f3c-2291", set: func(_ *fake, o *Options) { o.ReadOnly = true }},
	{name: "instance-viewer", path: "/instances/fx-transfer/7f3c-2291", set: func(f *fake, _ *Options) { f.session = Session{Actor: "vic", Role: "viewer"} }},
	{name: "instance-missing", path: "/instances/card-payment/nobody"},
	{name: "act", path: "/act/fx-transfer/7f3c-2291?action=resolve&path=send"},
	{name: "act-no-login", path: "/act/fx-transfer/7f3c-2291?action=close", set: func(f *fake, _ *Options) { f.session.Actor, f.session.Role = "", "" }},
	{name: "sign-in", path: "/instances", set: func(f *fake, _ *Options) { f.refuse = true }},
	{name: "overview", path: "/"},
	{name: "overview-empty", path: "/", set: func(f *fake, _ *Options) { f.empty = true }},
	{name: "definitions", path: "/definitions"},
	{name: "definition", path: "/definitions/card-payment?version=3"},
	{name: "definition-diff", path: "/definitions/card-payment?version=2&against=1"},
	{name: "attention", path: "/attention"},
	{name: "attention-empty", path: "/attention", set: func(f *fake, _ *Options) { f.empty = true }},
	{name: "bulk", path: "/bulk?group=g2&action=retry"},
	{name: "tasks", path: "/tasks"},
	{name: "dead-letters", path: "/dead-letters"},
	{name: "dead-letter", path: "/dead-letters/3-118"},
	{name: "batches", path: "/batches"},
	{name: "batch", path: "/batches/b-17"},
	{name: "bindings", path: "/bindings"},
	{name: "bindings-empty", path: "/bindings", set: func(f *fake, _ *Options) { f.empty = true }},
	{name: "binding", path: "/bindings/card-payment/orders"},
	{name: "binding-paused", path: "/bindings/card-payment/refunds"},
	{name: "cluster", path: "/cluster"},
	{name: "audit", path: "/audit"},
	{name: "no-such-page", path: "/nowhere"},
}

func TestGolden(t *testing.T) {
	for _, c := range goldenPages {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			o := f.options()
			if c.set != nil {
				c.set(f, &o)
			}
			_, body := get(t, New(f, o), c.path)
			got, path := lines(body), filepath.Join("testdata", c.name+".html")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				a, b := strings.Split(got, "\n"), strings.Split(string(want), "\n")
				for i := range max(len(a), len(b)) {
					if i >= len(a) || i >= len(b) || a[i] != b[i] {
						t.Fatalf("%s:%d differs (-update rewrites it)\n got %s\nwant %s", path, i+1, at(a, i), at(b, i))
					}
				}
			}
		})
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}
