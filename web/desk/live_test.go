package desk_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// TestOverTime runs payments on two nodes: the overview and the page of the definition show how they did, from
// either node, with what changed and where those under way stand.
func TestOverTime(t *testing.T) {
	src, err := examples.Definition("card-payment")
	if err != nil {
		t.Fatal(err)
	}
	def, err := sagas.ParseDefinition("saga.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Start(t.Context(), local.Config{Namespace: "test", BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 2,
		Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 6 * time.Second}, Logger: slog.New(slog.DiscardHandler)}, []*sagas.Definition{def})
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
	c.Shop.Close("ship")
	to, err := client.New(client.Config{Namespace: "test", Client: []kgo.Opt{kgo.SeedBrokers(c.Brokers...)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	for id, amount := range map[string]int64{"one": 1500, "two": 1500, "three": local.CaptureLimit} {
		if err := to.Start(t.Context(), client.Start{Type: "card-payment", ID: id, Input: map[string]any{"amount": amount}}); err != nil {
			t.Fatal(err)
		}
	}
	// shows asks both nodes again and again until their pages say all of it.
	shows := func(path string, want ...string) {
		t.Helper()
		for _, n := range c.Nodes {
			missing := ""
			for range 200 {
				resp, err := http.Get("http://" + n.Addr + path)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatal(resp.Status, err)
				}
				missing = ""
				for _, w := range want {
					if !strings.Contains(string(body), w) {
						missing = w
					}
				}
				if missing == "" {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if missing != "" {
				t.Fatalf("%s of node %s never has %q", path, n.Name, missing)
			}
		}
	}
	shows("/", `aria-label="card-payment: 1 ended, 1 of them compensated"`, "Oldest active", "Finished in an hour</dt><dd>1<", "card-payment v1 is active", c.Nodes[0].Addr+" started", c.Nodes[1].Addr+" started", "counted since")
	shows("/definitions/card-payment", `<td class="mono">capture</td><td class="num">2</td>`, `id="heat-title"`, `<td class="mono">ship</td><td class="num">v1`)
	if err := c.Shop.Open("ship"); err != nil {
		t.Fatal(err)
	}
	shows("/", `aria-label="card-payment: 3 ended, 1 of them compensated"`, "Finished in an hour</dt><dd>3<")
}
