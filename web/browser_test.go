package web

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/amendsio/amends/sagas"
)

// browser is Chromium with one tab. It notes what a page may not do.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string // errors and warnings of the console, exceptions, refusals of the policy
	requests []string
}

// newBrowser starts Chromium, or skips the test and says why. With AMENDS_BROWSER=must it fails then.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	switch {
	case path == "" && os.Getenv("AMENDS_BROWSER") == "must":
		t.Fatal("Chromium is not installed: make browser")
	case path == "":
		t.Skip("Chromium is not installed, so the pages are not tried in a browser: make browser")
	case testing.Short():
		t.Skip("a browser takes its time: not with -short")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("force-prefers-reduced-motion", true), chromedp.WindowSize(1440, 900))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	return b
}

// hear notes what the browser complains of, and what it fetches.
func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			text := string(e.Type)
			for _, a := range e.Args {
				text += " " + string(a.Value) + a.Description
			}
			b.messages = append(b.messages, text)
		}
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, "exception "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			b.messages = append(b.messages, "log "+e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// do runs actions, and fails the test when one fails.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval is the value of an expression on the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// screenshotPages are those that make screenshots writes, by name.
var screenshotPages = []struct{ name, path string }{
	{"overview", "/"},
	{"instances", "/instances"},
	{"instances-none", "/instances?q=none"},
	{"instance", "/instances/card-payment/order-100242"},
	{"instance-attention", "/instances/fx-transfer/7f3c-2291"},
	{"instance-history", "/instances/card-payment/order-100242?tab=history"},
	{"instance-messages", "/instances/card-payment/order-100242?tab=messages"},
	{"instance-state", "/instances/card-payment/order-100242?tab=state"},
	{"instance-missing", "/instances/card-payment/nobody"},
	{"definitions", "/definitions"},
	{"definition", "/definitions/card-payment?version=2&against=1"},
	{"attention", "/attention"},
	{"bulk", "/bulk?group=g2&action=retry"},
	{"tasks", "/tasks"},
	{"dead-letters", "/dead-letters"},
	{"dead-letter", "/dead-letters/3-118"},
	{"batches", "/batches"},
	{"batch", "/batches/b-17"},
	{"cluster", "/cluster"},
	{"audit", "/audit"},
	{"act", "/act/fx-transfer/7f3c-2291?action=resolve&path=send"},
}

// TestScreenshots writes every page in light and dark to the directory that AMENDS_SCREENSHOTS names.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("AMENDS_SCREENSHOTS")
	if dir == "" {
		t.Skip("screenshots are written by make screenshots")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b, f := newBrowser(t), newFake(t)
	f.now = sagas.Time(time.Now().UnixMilli()) // the page's own clock goes on
	server := httptest.NewServer(New(f, f.options()))
	defer server.Close()
	b.do(chromedp.EmulateViewport(1440, 900))
	for _, theme := range []string{"light", "dark"} {
		b.do(chromedp.Navigate(server.URL + "/instances"))
		eval[bool](b, `fetch("/preferences", {method: "POST", body: new URLSearchParams({theme: "`+theme+`"})}).then(() => true)`)
		for _, p := range screenshotPages {
			b.do(chromedp.Navigate(server.URL + p.path))
			eval[bool](b, "document.fonts.ready.then(() => true)")
			png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, p.name+"-"+theme+".png"), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
