package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

const (
	demoNamespace = "demo"
	demoNodes     = 3
	demoCrowd     = 60               // payments under way when a node is killed
	demoPatience  = 60 * time.Second // for one scene
	demoAttempt   = 1500 * time.Millisecond
)

func newDemoCommand(t *terminal) *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the card-payment sample on three nodes and an embedded broker",
		Long: `Play the card-payment sample on three nodes and an embedded broker, all in this process: a payment
that completes, one that is refused and compensated, one whose participant is silent and recovers, and
one during which a node is killed. At the end the participants' ledgers are checked against how the
sagas ended; the exit code is 1 when any does not balance. Nothing is kept and nothing leaves this machine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.DiscardHandler)
			if verbose {
				log = slog.New(slog.NewTextHandler(t.err, nil))
			}
			return playDemo(cmd.Context(), t, log)
		},
	}
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log what the nodes do")
	return cmd
}

// sampleDefinition is the card-payment example.
func sampleDefinition() (*sagas.Definition, error) {
	src, err := examples.Definition("card-payment")
	if err != nil {
		return nil, err
	}
	return sagas.ParseDefinition("card-payment/saga.yaml", src)
}

// demo is the stage: a cluster, a producer, and how each saga ended.
type demo struct {
	t        *terminal
	cluster  *local.Cluster
	producer *client.Client
	ended    map[string]string // workflow ID to phase
}

func playDemo(ctx context.Context, t *terminal, log *slog.Logger) error {
	began := time.Now()
	def, err := sampleDefinition()
	if err != nil {
		return err
	}
	// Nobody wants to watch a 15 s attempt time out.
	for i := range def.Steps {
		def.Steps[i].Attempt = demoAttempt
	}
	c, err := local.Start(ctx, local.Config{
		Namespace: demoNamespace, BrokerAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0", Nodes: demoNodes, Logger: log,
		Timing: topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 2 * time.Second},
	}, []*sagas.Definition{def})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.OpenShop(); err != nil {
		return err
	}
	producer, err := client.New(client.Config{Namespace: demoNamespace, Client: []kgo.Opt{kgo.SeedBrokers(c.Broker.Addr)}})
	if err != nil {
		return err
	}
	defer producer.Close()

	owned, all := c.Tasks()
	t.say("amends demo: card-payment on %d nodes in one process", demoNodes)
	t.say("  Kafka  %s, embedded, in memory", c.Broker.Addr)
	t.say("  Nodes  %d running, %d of %d tasks owned after %s", len(c.Nodes), owned, all, since(began))

	d := &demo{t: t, cluster: c, producer: producer, ended: map[string]string{}}
	for _, scene := range []func(context.Context) error{d.completes, d.refused, d.silent, d.killed} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return d.audit(began)
}

func (d *demo) completes(ctx context.Context) error {
	d.t.say("\n1. A payment that completes")
	return d.play(ctx, "order-1", 1500, "completed")
}

func (d *demo) refused(ctx context.Context) error {
	d.t.say("\n2. A payment over the limit: the capture is refused, and what was done is undone in reverse")
	return d.play(ctx, "order-2", 2*local.CaptureLimit, "compensated")
}

func (d *demo) silent(ctx context.Context) error {
	d.t.say("\n3. The bank (psp) is down: no answer, another attempt with the same key, then it is back")
	d.cluster.Shop.Close("psp")
	back := make(chan error, 1)
	timer := time.AfterFunc(demoAttempt+demoAttempt/2, func() { back <- d.cluster.Shop.Open("psp") })
	defer timer.Stop()
	if err := d.play(ctx, "order-3", 2500, "completed"); err != nil {
		return err
	}
	return <-back
}

func (d *demo) killed(ctx context.Context) error {
	victim := d.cluster.Nodes[1]
	d.t.say("\n4. Node %s is killed while %d payments are under way; node 1 and 3 take its tasks over", victim.Name, demoCrowd)
	before := victim.Tasks()
	for i := range demoCrowd {
		amount := int64(1000 + i)
		if i%10 == 9 {
			amount = local.CaptureLimit // one in ten is refused
		}
		if i == demoCrowd/3 {
			victim.Kill()
		}
		if err := d.start(ctx, fmt.Sprintf("crowd-%d", i), amount); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := d.play(ctx, "order-4", 4000, "completed"); err != nil {
		return err
	}
	if err := d.await(ctx, demoCrowd, "crowd-"); err != nil {
		return err
	}
	counts := map[string]int{}
	for i := range demoCrowd {
		counts[d.ended[workflowID(fmt.Sprintf("crowd-%d", i))]]++
	}
	d.t.say("  node %s killed with %d tasks; all payments ended %s later: %d completed, %d compensated",
		victim.Name, before, since(began), counts["completed"], counts["compensated"])
	return nil
}

// audit prints the books and fails when they disagree with how the sagas ended.
func (d *demo) audit(began time.Time) error {
	d.t.say("\nLedgers")
	for _, name := range local.Participants {
		d.t.say("  %-6s %s", name, d.cluster.Shop.Totals(name))
	}
	faults := d.cluster.Shop.Audit(d.ended)
	for _, f := range faults {
		d.t.say("  %s %s", markFailed, f)
	}
	if len(faults) > 0 {
		return withCode(exitError, "%d disagreements between the ledgers and the sagas", len(faults))
	}
	d.t.say("  %s every ledger balances over %d sagas; each key took effect once (%s in all)", markDone, len(d.ended), since(began))
	return nil
}

func workflowID(id string) string { return "card-payment/" + id }

func (d *demo) start(ctx context.Context, id string, amount int64) error {
	return d.producer.Start(ctx, client.Start{Type: "card-payment", ID: id, Input: map[string]int64{"amount": amount}})
}

// api asks a node that lives.
func (d *demo) api() *apiClient {
	for _, n := range d.cluster.Nodes {
		if !n.Dead() {
			return newAPIClient("http://" + n.Addr)
		}
	}
	return nil
}

// play starts one payment, shows its tree while it runs, and expects it to end in phase.
func (d *demo) play(ctx context.Context, id string, amount int64, phase string) error {
	if err := d.start(ctx, id, amount); err != nil {
		return err
	}
	w := &watcher{t: d.t, api: d.api(), id: workflowID(id), timeout: demoPatience}
	if err := w.run(ctx); err != nil && exitCode(err) != exitCompensated {
		return err
	}
	return d.settle(ctx, id, phase)
}

// settle records how a saga ended; phase "" takes any end.
func (d *demo) settle(ctx context.Context, id, phase string) error {
	v, err := d.api().instance(ctx, workflowID(id))
	if err != nil {
		return err
	}
	if phase != "" && v.Phase != phase {
		return withCode(exitError, "%s is %s, want %s", v.WorkflowID, v.Phase, phase)
	}
	if len(v.Obligations) > 0 {
		return withCode(exitError, "%s has ended, yet owes %v", v.WorkflowID, v.Obligations)
	}
	d.ended[v.WorkflowID] = v.Phase
	return nil
}

// await waits for the ends of n sagas with one prefix.
func (d *demo) await(ctx context.Context, n int, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			w := &watcher{t: &terminal{out: io.Discard}, api: d.api(), id: workflowID(fmt.Sprint(prefix, i)), quiet: true}
			if err := w.run(ctx); err != nil && exitCode(err) != exitCompensated {
				errs <- fmt.Errorf("%s: %w", w.id, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		return err
	}
	for i := range n {
		if err := d.settle(ctx, fmt.Sprint(prefix, i), ""); err != nil {
			return err
		}
	}
	return nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(10 * time.Millisecond) }
