package main

import (
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/sagas"
)

// TestDemo plays the whole demo: it fails by itself when a saga ends wrongly or a ledger does not
// balance.
func TestDemo(t *testing.T) {
	code, out, talk := execute(t, "demo")
	if code != exitOK {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	// How many attempts it takes until the bank is back is up to the machine.
	for _, want := range []string{"completed in", "compensated in", `\(\d+ attempts\)`, "node 2 killed", "every ledger balances over 64 sagas"} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// TestCommandsOnACluster runs the commands of the README against what `amends dev` starts.
func TestCommandsOnACluster(t *testing.T) {
	def, err := sampleDefinition()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Start(t.Context(), local.Config{
		Namespace: defaultNamespace, BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: 2, Logger: slog.New(slog.DiscardHandler),
	}, []*sagas.Definition{def})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if err := c.OpenShop(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AMENDS_BROKERS", c.Broker.Addr)
	t.Setenv("AMENDS_SERVER", "http://"+c.Nodes[1].Addr)

	for _, step := range []struct {
		line string
		code int
		want string // in data or talk
	}{
		{"start card-payment --id order-1 -d amount=1500 --watch", exitOK, " ms  done  cmd.ship["},
		{"start card-payment --id order-1 -d amount=1500 --watch", exitConflict, "exists already and is completed"},
		{"start card-payment --id order-2 -d amount=200000 --watch", exitCompensated, " ms  undone  cmd.psp["},
		{"start card-payment --id order-3 -d amount=1 --wait", exitOK, "completed in"},
		{"get card-payment/order-2", exitOK, "compensated"},
		{"get card-payment/order-2 -o json", exitOK, `"status": "compensated"`},
		{"get card-payment/nobody", exitNotFound, "SG201"},
		{"ls", exitOK, "card-payment/order-3"},
		{"ls --status compensated -o name", exitOK, "card-payment/order-2"},
		{"cancel card-payment/order-1 --reason late", exitConflict, "has ended already"},
		{"cancel card-payment/order-9 --reason early", exitNotFound, "SG201"},
		{"cancel card-payment/order-9 --reason early --unstarted", exitOK, "order-9"},
	} {
		code, out, talk := execute(t, strings.Fields(step.line)...)
		if code != step.code || !strings.Contains(out+talk, step.want) {
			t.Errorf("amends %s: exit %d, want %d and %q:\n%s%s", step.line, code, step.code, step.want, out, talk)
		}
	}
	faults := c.Shop.Audit(map[string]string{
		"card-payment/order-1": "completed", "card-payment/order-2": "compensated", "card-payment/order-3": "completed",
	})
	for _, f := range faults {
		t.Error(f)
	}
}
