package web

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/amendsio/amends/internal/browser"
	"github.com/amendsio/amends/sagas"
)

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
	{"bindings", "/bindings"},
	{"binding", "/bindings/card-payment/orders"},
	{"binding-paused", "/bindings/card-payment/refunds"},
	{"cluster", "/cluster"},
	{"audit", "/audit"},
	{"act", "/act/fx-transfer/7f3c-2291?action=resolve&path=send"},
}

// serve ends open streams with the test: a server waits for them.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
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
	b, f := browser.New(t), newFake(t)
	f.now = sagas.Time(time.Now().UnixMilli()) // the page's own clock goes on
	server := serve(t, New(f, f.options()))
	b.Do(chromedp.EmulateViewport(1440, 900))
	for _, theme := range []string{"light", "dark"} {
		b.Open(server.URL + "/instances")
		browser.Eval[bool](b, `fetch("/preferences", {method: "POST", body: new URLSearchParams({theme: "`+theme+`"})}).then(() => true)`)
		for _, p := range screenshotPages {
			b.Open(server.URL + p.path)
			if err := os.WriteFile(filepath.Join(dir, p.name+"-"+theme+".png"), b.PNG(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBrowserPages opens every page in both themes: names, contrast, a quiet console, nothing from
// elsewhere.
func TestBrowserPages(t *testing.T) {
	b, f := browser.New(t), newFake(t)
	f.now = sagas.Time(time.Now().UnixMilli())
	server := serve(t, New(f, f.options()))
	b.Do(chromedp.EmulateViewport(1440, 900))
	for _, theme := range []string{"light", "dark"} {
		b.Open(server.URL + "/instances")
		browser.Eval[bool](b, `fetch("/preferences", {method: "POST", body: new URLSearchParams({theme: "`+theme+`"})}).then(() => true)`)
		for _, p := range screenshotPages {
			b.Open(server.URL + p.path)
			if p.name == "instance-missing" {
				b.Forgive() // its status is 404
			}
			b.Audit(p.name + " " + theme)
		}
	}
	b.Quiet(server.URL)
}

// TestBrowserKeyboard goes through the pages without a mouse.
func TestBrowserKeyboard(t *testing.T) {
	b, f := browser.New(t), newFake(t)
	f.now = sagas.Time(time.Now().UnixMilli())
	server := serve(t, New(f, f.options()))
	b.Open(server.URL + "/instances")
	b.Keys("/")
	b.Until(`document.activeElement.id === "query"`)
	b.Keys("j")
	b.Until(`document.getElementById("query").value.endsWith("j")`) // typing is no shortcut
	b.Do(chromedp.KeyEvent("\u001b"))
	b.Until(`document.activeElement.id !== "query"`)
	b.Keys("jjk")
	b.Until(`document.querySelectorAll("[data-row]")[0].classList.contains("on") && document.activeElement.classList.contains("row-link")`)
	b.Keys("?")
	b.Until(`document.getElementById("keys").open`)
	b.Do(chromedp.KeyEvent("\u001b"))
	b.Until(`!document.getElementById("keys").open`)
	b.Keys("p")
	b.Until(`document.getElementById("pause").getAttribute("aria-pressed") === "true" && document.querySelector(".live-word").textContent === "Paused"`)
	b.Keys("ga")
	b.Until(`location.pathname === "/attention"`)
	b.Open(server.URL + "/instances/card-payment/order-100242")
	b.Keys("2")
	b.Until(`location.search === "?tab=history"`)
	b.Keys("z")
	b.Until(`document.documentElement.classList.contains("times-utc")`)
	b.Quiet(server.URL)
}

// TestBrowserLive changes what is shown: the page follows without a load, and keeps still when paused.
func TestBrowserLive(t *testing.T) {
	b, f := browser.New(t), newFake(t)
	server := serve(t, New(f, f.options()))
	b.Open(server.URL + "/attention")
	b.Until(`document.querySelectorAll(".group").length === 3`)
	browser.Eval[bool](b, `window.mine = true`)
	f.mu.Lock()
	f.empty = true
	f.mu.Unlock()
	f.change("1")
	b.Until(`document.querySelectorAll(".group").length === 0 && window.mine === true`)
	b.Keys("p")
	f.mu.Lock()
	f.empty = false
	f.mu.Unlock()
	f.change("2")
	time.Sleep(1500 * time.Millisecond) // longer than a page waits before it asks
	if n := browser.Eval[int](b, `document.querySelectorAll(".group").length`); n != 0 {
		t.Errorf("a paused page has %d groups", n)
	}
	b.Keys("p")
	b.Until(`document.querySelectorAll(".group").length === 3 && window.mine === true`)
	b.Quiet(server.URL)
}
