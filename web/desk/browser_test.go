package desk_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/internal/browser"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// parcel has one step that is never given up: with its participant closed it soon asks for a person,
// and then waits long enough for one to act.
const parcel = `
saga: parcel
version: 1
participants:
  ship:
    ops: [do]
steps:
  - id: ship
    call: ship.create
    kind: retriable
    attempt: 1s
    retry: {backoff: 30s, factor: 1, jitter: 0}
    alertAfter: 2s
`

// world is a cluster with the sample's participants, and a browser.
type world struct {
	t    *testing.T
	c    *local.Cluster
	b    *browser.Browser
	to   *client.Client
	base string
}

func open(t *testing.T) *world {
	t.Helper()
	browser.Need(t)
	src, err := examples.Definition("card-payment")
	if err != nil {
		t.Fatal(err)
	}
	var defs []*sagas.Definition
	for _, s := range [][]byte{src, []byte(parcel)} {
		def, err := sagas.ParseDefinition("saga.yaml", s)
		if err != nil {
			t.Fatal(err)
		}
		defs = append(defs, def)
	}
	// The browser ends first: an open stream would keep a node from stopping.
	c, err := local.Start(t.Context(), local.Config{Namespace: "test", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 2,
		Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 6 * time.Second}, Logger: slog.New(slog.DiscardHandler)}, defs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.OpenShop(); err != nil {
		t.Fatal(err)
	}
	to, err := client.New(client.Config{Namespace: "test", Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	w := &world{t: t, c: c, to: to, base: "http://" + c.Nodes[0].Addr, b: browser.New(t)}
	w.b.Do(chromedp.EmulateViewport(1440, 900))
	return w
}

func (w *world) start(typ, id string, input any) {
	w.t.Helper()
	if err := w.to.Start(w.t.Context(), client.Start{Type: typ, ID: id, Input: input}); err != nil {
		w.t.Fatal(err)
	}
}

// visit opens a page again and again until an expression is true on it: what it shows may not be there yet.
func (w *world) visit(path, expression string) {
	w.t.Helper()
	for range 200 {
		w.b.Open(w.base + path)
		if browser.Eval[bool](w.b, expression) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("%s: never true: %s", path, expression)
}

// fill writes into a field as a person would, and says so to the page.
func (w *world) fill(name, value string) {
	w.t.Helper()
	browser.Eval[bool](w.b, fmt.Sprintf(`(() => { const e = document.querySelector('main [name="%s"]'); e.value = %q; e.dispatchEvent(new Event("input", {bubbles: true})); return true; })()`, name, value))
}

func (w *world) click(selector string) {
	w.t.Helper()
	browser.Eval[bool](w.b, fmt.Sprintf(`(() => { document.querySelector(%q).click(); return true; })()`, selector))
}

// node says whether a node of the diagram has a class; undo is that of its way back.
func node(path, class string, undo bool) string {
	not := `:not(.amd-undo)`
	if undo {
		not = `.amd-undo`
	}
	return fmt.Sprintf(`!!document.querySelector('.diagram [data-path="%s"]%s.%s')`, path, not, class)
}

// TestBrowserCompensation watches a payment that is refused: from its start over the turn to the end, without
// a reload.
func TestBrowserCompensation(t *testing.T) {
	w := open(t)
	w.c.Shop.Close("stock")
	w.start("card-payment", "order-1", map[string]any{"amount": local.CaptureLimit})
	w.visit("/instances/card-payment/order-1", node("auth", "is-done", false)+" && "+node("reserve", "is-active", false))
	browser.Eval[bool](w.b, `window.mine = true`)
	if err := w.c.Shop.Open("stock"); err != nil {
		t.Fatal(err)
	}
	w.b.Until(node("capture", "is-refused", false) + " && " + node("auth", "is-undone", true) + " && " + node("reserve", "is-undone", true) + " && window.mine === true")
	w.b.Until(`document.querySelector(".head .chip").textContent.trim() === "Compensated"`)
	w.b.Until(`document.querySelectorAll(".pairs li").length === 2 && document.querySelector(".pairs li").textContent.includes("stock.release")`) // last first
	w.b.Audit("instance")
	w.b.Keys("3")
	w.b.Until(`document.querySelectorAll(".messages li").length >= 10 && !!document.querySelector(".messages .op-undo")`)
	w.b.Keys("2")
	w.b.Until(`document.querySelectorAll(".history tbody tr").length >= 10`)
	w.b.Quiet(w.base)
}

// TestBrowserRepair settles what is stuck: one by its own page, the others at once.
func TestBrowserRepair(t *testing.T) {
	w := open(t)
	w.c.Shop.Close("ship")
	for i := range 4 {
		w.start("parcel", fmt.Sprintf("p-%d", i), nil)
	}
	w.visit("/attention", `document.querySelector(".group-count b")?.textContent === "4"`)
	w.b.Audit("attention")
	w.b.Open(w.base + "/instances/parcel/p-0")
	w.b.Until(`document.querySelector(".why h2").textContent.length > 20`)
	w.click(`.offers a[href*="action=retry&"]`)
	w.b.Until(`document.querySelector(".planned li b")?.textContent === "ship.create"`)
	w.fill("reason", "the carrier is back")
	w.fill("actor", "mira")
	w.click(`.form .button-strong`)
	w.b.Until(`location.pathname === "/instances/parcel/p-0" && document.querySelector(".flash")?.textContent.includes("Retry")`)
	w.visit("/audit", `document.body.textContent.includes("the carrier is back") && document.body.textContent.includes("mira")`)

	// What the first retry settles may change the number between the preview and the click: then it is refused,
	// and previewed again.
	for range 10 {
		w.visit("/attention", `!!document.querySelector(".group-acts a")`)
		w.click(`.group-acts a[href*="action=retry"]`)
		w.b.Until(`location.pathname === "/bulk" && document.querySelectorAll(".bulk li").length > 0`)
		w.b.Audit("bulk")
		w.fill("typed", browser.Eval[string](w.b, `document.querySelector('[name="count"]').value`))
		w.fill("reason", "all of them")
		w.fill("actor", "mira")
		w.click(`.form .button-strong`)
		w.b.Until(`location.pathname.startsWith("/batches/") || !!document.querySelector(".problem")`)
		if browser.Eval[bool](w.b, `location.pathname.startsWith("/batches/")`) {
			break
		}
	}
	w.b.Until(`location.pathname.startsWith("/batches/") && document.querySelector(".head .chip").textContent.trim() === "Done"`)
	if err := w.c.Shop.Open("ship"); err != nil {
		t.Fatal(err)
	}
	w.visit("/attention", `document.querySelectorAll(".group").length === 0`)
	w.b.Quiet(w.base)
}

// TestBrowserDeadLetter repairs a start with a typing error.
func TestBrowserDeadLetter(t *testing.T) {
	w := open(t)
	w.start("card-payment", "order-7", map[string]any{"amout": 1500})
	w.visit("/dead-letters", `!!document.querySelector("tbody .row-link")`)
	w.click("tbody .row-link")
	w.b.Until(`document.querySelector("#value")?.value.includes("amout")`)
	w.b.Audit("dead letter")
	browser.Eval[bool](w.b, `(() => { const e = document.querySelector("#value"); e.value = e.value.replace("amout", "amount"); return true; })()`)
	w.click(`button[value="preview"]`)
	w.b.Until(`document.querySelector(".diff-del")?.textContent.includes("amout") && document.querySelector(".diff-add")?.textContent.includes("amount")`)
	w.fill("reason", "a typing error")
	w.fill("actor", "mira")
	w.click(`button[value="replay"]`)
	w.b.Until(`document.querySelector(".head .chip")?.textContent.includes("replayed")`)
	w.visit("/instances/card-payment/order-7", `document.querySelector(".head .chip")?.textContent.trim() === "Completed"`)
}
