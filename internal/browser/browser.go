package browser

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Browser is Chromium with one tab. It notes what a page may not do.
type Browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string // errors and warnings of the console, exceptions, refusals of the policy
	requests []string
}

// Need is the path of Chromium. The tests run when AMENDS_BROWSER=must says so (make browser-test), one package at a
// time: a browser beside the suites of the whole module measures the machine. Otherwise it skips the test and says why.
func Need(t *testing.T) string {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	switch {
	case os.Getenv("AMENDS_BROWSER") != "must":
		t.Skip("the pages are tried in a browser by make browser-test")
	case path == "":
		t.Fatal("Chromium is not installed: make browser")
	}
	return path
}

// New starts Chromium, if there is one: see Need.
func New(t *testing.T) *Browser {
	t.Helper()
	path := Need(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("force-prefers-reduced-motion", true), chromedp.WindowSize(1440, 900))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &Browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	return b
}

// hear notes what the browser complains of, and what it fetches.
func (b *Browser) hear(event any) {
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

// Do runs actions, and fails the test when one fails.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// Eval is the value of an expression on the page.
func Eval[T any](b *Browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// PNG is a picture of the whole page.
func (b *Browser) PNG() []byte {
	b.t.Helper()
	Eval[bool](b, "document.fonts.ready.then(() => true)")
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	return png
}

// Open goes to a page.
func (b *Browser) Open(address string) { b.t.Helper(); b.Do(chromedp.Navigate(address)) }

// Until waits until an expression is true on the page, and its scripts hear keys.
func (b *Browser) Until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 60*time.Second)
	defer cancel()
	for {
		// While a page loads there is nothing to evaluate in.
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && !!(`+expression+`)`))
		if err == nil && ok {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			page, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText.slice(0, 1500)"))
			b.t.Fatalf("never true: %s (%v)\n%s", expression, err, page)
		}
	}
}

// Keys presses keys, one after the other.
func (b *Browser) Keys(keys string) {
	b.t.Helper()
	for _, k := range keys {
		b.Do(chromedp.KeyEvent(string(k)))
	}
}

// Quiet wants no complaint of the console and no request but to the server at address.
func (b *Browser) Quiet(address string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		b.t.Errorf("the console says: %s", m)
	}
	for _, r := range b.requests {
		if !strings.HasPrefix(r, address+"/") && !strings.HasPrefix(r, "data:") {
			b.t.Errorf("a request to %s", r)
		}
	}
	b.messages = nil
}

// Forgive forgets what the console has said: a page that shows an error is itself an error there.
func (b *Browser) Forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = nil
}

//go:embed audit.js
var audit string

// Audit wants a name for everything that can be used, and enough contrast for every text.
func (b *Browser) Audit(what string) {
	b.t.Helper()
	for _, fault := range Eval[[]string](b, audit) {
		b.t.Errorf("%s: %s", what, fault)
	}
}
