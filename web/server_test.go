package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func post(t testing.TB, h http.Handler, path string, form url.Values, header ...string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://amends.test"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), w.Body.String()
}

var (
	inlineStyle  = regexp.MustCompile(`<[^>]*\sstyle=|<style`)
	inlineScript = regexp.MustCompile(`<script(?:>| [^>]*>)[^<]|<[^>]*\son[a-z]+=`)
	elsewhere    = regexp.MustCompile(`<(?:script|link|img|form|iframe)[^>]*(?:src|href|action)="(?:[a-z]+:)?//[^"]*"`)
)

// TestPolicy wants pages that the content policy has nothing to refuse of.
func TestPolicy(t *testing.T) {
	for _, c := range goldenPages {
		f := newFake(t)
		resp, body := get(t, New(f, f.options()), c.path)
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", c.name, csp)
		}
		for what, re := range map[string]*regexp.Regexp{"inline style": inlineStyle, "inline script": inlineScript, "address elsewhere": elsewhere} {
			if m := re.FindString(body); m != "" {
				t.Errorf("%s: %s: %s", c.name, what, m)
			}
		}
		if strings.Count(body, "<h1") != 1 {
			t.Errorf("%s: %d first headings", c.name, strings.Count(body, "<h1"))
		}
	}
}

func TestAct(t *testing.T) {
	f := newFake(t)
	h := New(f, f.options())
	form := url.Values{"action": {"resolve"}, "path": {"send"}, "arg.effect": {"done"}, "arg.output": {`{"ref":1}`}, "reason": {"seen at the rail"}, "expectRev": {"19"}, "requestId": {"q-1"}}
	resp, _ := post(t, h, "/act/fx-transfer/7f3c-2291", form)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/instances/fx-transfer/7f3c-2291" || len(f.acted) != 1 {
		t.Fatalf("%d %s %v", resp.StatusCode, resp.Header.Get("Location"), f.acted)
	}
	if a := f.acted[0]; a.WorkflowID != "fx-transfer/7f3c-2291" || a.Action != "resolve" || a.Path != "send" || a.Args["effect"] != "done" || a.Args["output"] != `{"ref":1}` ||
		a.Reason != "seen at the rail" || a.ExpectRev != 19 || a.RequestID != "q-1" {
		t.Errorf("action: %+v", a)
	}
	_, body := get(t, h, "/instances/fx-transfer/7f3c-2291", "Cookie", resp.Cookies()[0].String())
	if !strings.Contains(body, "Resolve: published") {
		t.Error("the page does not say what was done")
	}
	for _, c := range []struct {
		name   string
		change func(url.Values, *fake, *Options)
		header []string
		status int
		says   string
	}{
		{"no reason", func(v url.Values, _ *fake, _ *Options) { v.Del("reason") }, nil, 200, "Say why"},
		{"not offered", func(v url.Values, _ *fake, _ *Options) { v.Set("path", "hold") }, nil, 409, "does not fit"},
		{"bad revision", func(v url.Values, _ *fake, _ *Options) { v.Set("expectRev", "x") }, nil, 400, "revision"},
		{"read-only", func(_ url.Values, _ *fake, o *Options) { o.ReadOnly = true }, nil, 403, "read-only"},
		{"viewer", func(_ url.Values, f *fake, _ *Options) { f.session = Session{Role: "viewer"} }, nil, 403, "viewer"},
		{"foreign page", func(url.Values, *fake, *Options) {}, []string{"Origin", "http://evil.example"}, 403, ""},
	} {
		f := newFake(t)
		o, v := f.options(), url.Values{}
		for k, x := range form {
			v[k] = x
		}
		c.change(v, f, &o)
		resp, body := post(t, New(f, o), "/act/fx-transfer/7f3c-2291", v, c.header...)
		if resp.StatusCode != c.status || !strings.Contains(body, c.says) || len(f.acted) != 0 {
			t.Errorf("%s: %d, acted %v, want %d %q", c.name, resp.StatusCode, f.acted, c.status, c.says)
		}
	}
}

func TestGoToInstance(t *testing.T) {
	f := newFake(t)
	resp, _ := get(t, New(f, f.options()), "/instances?q=card-payment/order-1")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/instances/card-payment/order-1" {
		t.Errorf("%d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

func TestPreferences(t *testing.T) {
	f := newFake(t)
	h := New(f, f.options())
	resp, _ := post(t, h, "/preferences", url.Values{"theme": {"dark"}, "times": {"utc"}, "back": {"/instances?status=parked"}})
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/instances?status=parked" || len(resp.Cookies()) != 2 {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	_, body := get(t, h, "/instances", "Cookie", resp.Cookies()[0].String(), "Cookie", resp.Cookies()[1].String())
	if !strings.Contains(body, `data-theme="dark" class="times-utc"`) {
		t.Error("the preferences do not come back")
	}
	for back, want := range map[string]string{"//evil.example/x": "/", "https://evil.example": "/", `/\evil.example`: "/", "x": "/", "": "/", "/audit": "/audit"} {
		if got := ownPath(back); got != want {
			t.Errorf("back to %q goes to %q, want %q", back, got, want)
		}
	}
}

func TestStatic(t *testing.T) {
	f := newFake(t)
	h := New(f, f.options())
	for _, name := range []string{"app.css", "app.js", "htmx-4.0.1.min.js", "inter.woff2", "diagram.css", "icon.svg"} {
		resp, _ := get(t, h, asset(name))
		if resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Header.Get("Cache-Control"))
		}
	}
	if resp, _ := get(t, h, "/static/../server.go"); resp.StatusCode == 200 {
		t.Error("a file that is not static is served")
	}
}

// TestErrorKeepsSecrets wants no word of an error that is no Problem.
func TestErrorKeepsSecrets(t *testing.T) {
	f := newFake(t)
	f.fail = &url.Error{Op: "Get", URL: "http://secret-host/x", Err: http.ErrAbortHandler}
	for _, path := range []string{"/instances", "/instances/card-payment/order-100242"} {
		if _, body := get(t, New(f, f.options()), path); strings.Contains(body, "secret-host") || !strings.Contains(body, "Something went wrong") {
			t.Errorf("%s: the error is shown, or none is", path)
		}
	}
}

func TestBulk(t *testing.T) {
	f := newFake(t)
	h := New(f, f.options())
	form := url.Values{"group": {"g2"}, "action": {"retry"}, "count": {"7"}, "typed": {"8"}, "rate": {"50"}, "reason": {"the bank is back"}, "requestId": {"q-2"}}
	if _, body := post(t, h, "/bulk", form); !strings.Contains(body, "The number does not match") || len(f.bulk) != 0 {
		t.Errorf("a wrong count started a batch: %v", f.bulk)
	}
	form.Set("typed", "7")
	resp, _ := post(t, h, "/bulk", form)
	if resp.Header.Get("Location") != "/batches/b-17" || len(f.bulk) != 1 {
		t.Fatalf("%d %v", resp.StatusCode, f.bulk)
	}
	if b := f.bulk[0]; b.Expect != 7 || b.Rate != 50 || b.RequestID != "q-2" || b.Query == "" || b.Action != "retry" {
		t.Errorf("batch: %+v", b)
	}
	post(t, h, "/batches/b-17", url.Values{"verb": {"pause"}})
	if resp, _ := post(t, h, "/batches/b-17", url.Values{"verb": {"erase"}}); resp.StatusCode != 400 || strings.Join(f.steered, ",") != "b-17 pause" {
		t.Errorf("steered: %v", f.steered)
	}
}

func TestSettle(t *testing.T) {
	f := newFake(t)
	h := New(f, f.options())
	fixed := strings.Replace(f.letter().Decoded, "amout", "amount", 1)
	_, body := post(t, h, "/dead-letters/3-118", url.Values{"verb": {"preview"}, "value": {strings.ReplaceAll(fixed, "\n", "\r\n")}})
	if !strings.Contains(body, "diff-add") || len(f.replays) != 1 || !f.replays[0].DryRun {
		t.Fatalf("no difference is shown: %v", f.replays)
	}
	if _, body := post(t, h, "/dead-letters/3-118", url.Values{"verb": {"replay"}, "value": {fixed}}); !strings.Contains(body, "Say why") {
		t.Error("a replay without a reason")
	}
	resp, _ := post(t, h, "/dead-letters/3-118", url.Values{"verb": {"replay"}, "value": {fixed}, "reason": {"a typo"}})
	if resp.StatusCode != http.StatusSeeOther || len(f.replays) != 2 || f.replays[1].Value != fixed || f.replays[1].DryRun {
		t.Errorf("%d %v", resp.StatusCode, f.replays)
	}
	post(t, h, "/dead-letters/3-118", url.Values{"verb": {"drop"}, "reason": {"a test"}})
	if strings.Join(f.dropped, ",") != "3-118 a test" {
		t.Errorf("dropped: %v", f.dropped)
	}
}

func TestDecide(t *testing.T) {
	f := newFake(t)
	h := New(f, f.options())
	form := url.Values{"id": {"fx-transfer/7f3c-2290"}, "path": {"signoff"}, "verb": {"approve"}, "requestId": {"q"}}
	if resp, _ := post(t, h, "/tasks", form); resp.StatusCode != 400 || len(f.decided) != 0 {
		t.Error("a decision without a comment")
	}
	form.Set("comment", "known")
	if resp, _ := post(t, h, "/tasks", form); resp.StatusCode != http.StatusSeeOther || len(f.decided) != 1 || f.decided[0].Verb != "approve" || f.decided[0].Comment != "known" {
		t.Errorf("%d %v", resp.StatusCode, f.decided)
	}
}

func TestActivate(t *testing.T) {
	f := newFake(t)
	f.session.May = []string{MayAct}
	if resp, _ := post(t, New(f, f.options()), "/definitions/card-payment", url.Values{"version": {"2"}, "reason": {"back"}}); resp.StatusCode != 403 {
		t.Error("an operator activates a version")
	}
	f.session.May = []string{MayActivate}
	if resp, _ := post(t, New(f, f.options()), "/definitions/card-payment", url.Values{"version": {"2"}, "reason": {"back"}}); resp.StatusCode != http.StatusSeeOther || strings.Join(f.steered, ",") != "activate card-payment 2 back" {
		t.Error(f.steered)
	}
}

// TestBinding: a replay is previewed, a pause needs a reason, and read-only pages do neither.
func TestBinding(t *testing.T) {
	f := newFake(t)
	h := New(f, f.options())
	send := func(h http.Handler, form url.Values) (int, string) {
		r := httptest.NewRequest(http.MethodPost, "http://amends.test/bindings/card-payment/orders", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if _, body := send(h, url.Values{"verb": {"preview"}, "from": {"2026-11-21T10:00"}}); !strings.Contains(body, "Read "+number(1204)+" records again") || !strings.Contains(body, "INVALID_INPUT") {
		t.Errorf("the preview: %s", body)
	}
	for name, form := range map[string]url.Values{
		"no reason":    {"verb": {"pause"}},
		"no beginning": {"verb": {"preview"}},
		"upside down":  {"verb": {"preview"}, "from": {"2026-11-21T10:00"}, "to": {"2026-11-21T09:00"}},
	} {
		if _, body := send(h, form); !strings.Contains(body, `role="alert"`) {
			t.Errorf("%s is taken: %s", name, body)
		}
	}
	if code, _ := send(h, url.Values{"verb": {"nonsense"}, "reason": {"r"}}); code != 400 {
		t.Errorf("nonsense: %d", code)
	}
	for _, verb := range []string{"pause", "resume", "replay"} {
		if code, body := send(h, url.Values{"verb": {verb}, "reason": {"twice"}, "from": {"2026-11-21T10:00"}}); code != 303 {
			t.Errorf("%s: %d %s", verb, code, body)
		}
	}
	want := []string{"card-payment/orders again 2026-11-21T10:00  true", "card-payment/orders paused true twice", "card-payment/orders paused false twice", "card-payment/orders again 2026-11-21T10:00  false"}
	if !slices.Equal(f.steered, want) {
		t.Errorf("%q, want %q", f.steered, want)
	}
	o := f.options()
	o.ReadOnly = true
	if code, _ := send(New(f, o), url.Values{"verb": {"pause"}, "reason": {"twice"}}); code != 403 || len(f.steered) != len(want) {
		t.Errorf("read-only: %d, %q", code, f.steered)
	}
	if resp, _ := get(t, h, "/bindings/card-payment/nobody"); resp.StatusCode != 404 {
		t.Errorf("one that is not there: %d", resp.StatusCode)
	}
}
