package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
)

const defaultRegistry = "127.0.0.1:8081"

func newDevCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a broker, a registry, nodes and the sample's participants on this machine",
		Long: `Run an embedded broker, a schema registry, nodes and the card-payment sample with simulated participants,
until Ctrl-C. For development only: no login, one machine. The other commands find it by their defaults.

From another terminal a node can be killed, and the nodes' clock set forward.`,
		Example: `  amends dev --nodes 3
  amends dev --data-dir ./amends-data
  amends dev kill 2 --under-load 200
  amends dev clock advance 7d`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDev(cmd, t) },
	}
	f := cmd.Flags()
	f.String("data-dir", "", "keep the broker's log and the stores there (default: in memory, gone at the end)")
	f.Int("nodes", 3, "amends nodes in this process")
	f.String("broker-listen", defaultBroker, "address of the broker")
	f.String("registry-listen", defaultRegistry, `address of the schema registry; "off" for none`)
	f.String("listen", defaultListen, "address of the first node's API; the others take the ports that follow")
	f.Bool("verbose", false, "log what the nodes do")
	return cmd
}

// devPatience is how long the nodes may take to be ready.
const devPatience = 30 * time.Second

// devTiming notices a dead node soon: a developer wants to see it.
var devTiming = topology.Timing{Heartbeat: 200 * time.Millisecond, Session: 2 * time.Second}

func runDev(cmd *cobra.Command, t *terminal) error {
	s, err := readSettings(cmd, "")
	if err != nil {
		return &codedError{exitUsage, err}
	}
	dir, nodes, broker, listen := s.text("data-dir"), s.number("nodes"), s.text("broker-listen"), s.text("listen")
	if nodes < 1 || nodes > 12 {
		return usage("--nodes %d: want 1 to 12", nodes)
	}
	level := slog.LevelWarn
	if s.yes("verbose") {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(t.err, &slog.HandlerOptions{Level: level}))
	def, err := sampleDefinition()
	if err != nil {
		return err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(cmd.Context(), devPatience)
	defer cancel()
	cfg := local.Config{
		Namespace: defaultNamespace, BrokerAddr: broker, APIAddr: listen, Nodes: nodes, DataDir: dir, Timing: devTiming, Logger: log,
	}
	var registry *local.Registry
	if at := s.text("registry-listen"); at != "off" && at != "" {
		if registry, err = local.StartRegistry(at); err != nil {
			return fmt.Errorf(`%w; choose another address with --registry-listen, or "off"`, err)
		}
		defer registry.Close()
		cfg.Codec = func(brokers []string) (schema.Codec, error) {
			reg, err := schema.NewRegistry(schema.RegistryConfig{URLs: []string{"http://" + registry.Addr}})
			if err != nil {
				return nil, err
			}
			return schema.New(schema.Config{Registry: reg, Last: newestRecord([]kgo.Opt{kgo.SeedBrokers(brokers...)})}), nil
		}
	}
	c, err := local.Start(ctx, cfg, []*sagas.Definition{def})
	if err != nil {
		return err
	}
	err = func() error {
		if err := c.OpenShop(); err != nil {
			return err
		}
		stop, err := c.ServeControl()
		if err != nil {
			return err
		}
		defer stop()
		devBanner(t, c, registry, def, dir, time.Since(began))
		<-cmd.Context().Done()
		return nil
	}()
	t.say("stopping")
	if err = errors.Join(err, c.Close()); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// devBanner says what runs. Each line is a fact that was looked up.
func devBanner(t *terminal, c *local.Cluster, registry *local.Registry, def *sagas.Definition, dir string, took time.Duration) {
	kept := "embedded, in memory   (keep it: --data-dir ./amends-data)"
	if dir != "" {
		kept = "embedded, kept in " + dir
	}
	web := "http://" + c.Nodes[0].Addr
	owned, all := c.Tasks()
	line := func(name, where, what string) { t.say("  %-10s %-22s %s", name, where, what) }
	t.say("amends %s dev: not for production (no login, one machine)", orchestrator.Version)
	line("Kafka", c.Brokers[0], kept)
	if registry != nil {
		line("Registry", "http://"+registry.Addr, fmt.Sprintf("Confluent-compatible, %d Avro schemas, in memory", registry.Schemas))
	}
	name := "API"
	if answers(web + "/") {
		name = "UI + API"
	}
	serves := []string{}
	for path, says := range map[string]string{"/metrics": "metrics /metrics", "/docs": "contract /docs"} {
		if answers(web + path) {
			serves = append(serves, says)
		}
	}
	line(name, web, strings.Join(serves, "  "))
	if ahead := c.Clock.Offset(); ahead > 0 {
		line("Clock", c.Clock.Now().UTC().Format(time.RFC3339), "ahead of this machine by "+ahead.String())
	}
	t.say("  %-10s %d running, %d of %d tasks owned; ready in %s", "Nodes", len(c.Nodes), owned, all, took.Round(10*time.Millisecond))
	t.say("  %-10s %s v%d; psp, stock and ship are simulated", "Sample", def.Saga, def.Version)
	t.say("  %-10s in another terminal:  amends start card-payment --id order-1 -d amount=1500 --watch", "Next")
	t.say("  %-10s and a refusal:        amends start card-payment --id order-2 -d amount=%d --watch", "", 2*local.CaptureLimit)
}

// answers says whether a page is there.
func answers(page string) bool {
	c := http.Client{Timeout: time.Second}
	resp, err := c.Get(page)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// say prints one line of data.
func (t *terminal) say(format string, args ...any) {
	fmt.Fprintln(t.out, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

func newDevStatusCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes of amends dev and their clock",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s local.Status
			if err := askDev(cmd, http.MethodGet, "/status", nil, &s); err != nil {
				return err
			}
			return printAs(cmd, t, s, strings.Join(s.Brokers, ","), func(w io.Writer) {
				printTable(w, s.Nodes, []column[local.NodeStatus]{
					{head: "NODE", text: func(n local.NodeStatus) string { return n.Name }},
					{head: "API", text: func(n local.NodeStatus) string { return n.API }},
					{head: "TASKS", text: func(n local.NodeStatus) string {
						if n.Dead {
							return "dead"
						}
						return fmt.Sprint(n.Tasks)
					}},
				}, false)
				fmt.Fprintf(w, "clock %s", s.Now.Format(time.RFC3339))
				if s.Advanced > 0 {
					fmt.Fprintf(w, ", %s ahead", s.Advanced)
				}
				fmt.Fprintln(w)
			})
		},
	}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

func newDevKillCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kill NODE",
		Short: "Kill a node of amends dev, as kill -9 would, and see what becomes of its work",
		Long: `Kill a node of amends dev, as kill -9 would: it ends between two steps of a commit and tells nobody. The
others take its tasks over. With --under-load it happens in the middle of that many payments, of which the
bank refuses one in ten; at the end the participants' books are compared with how the payments ended, and
the exit code is 1 when any of them does not agree.`,
		Example: "  amends dev kill 2 --under-load 200",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			load, _ := cmd.Flags().GetInt("under-load")
			var k local.Killed
			if err := askDev(cmd, http.MethodPost, "/kill", local.KillRequest{Node: args[0], Load: load}, &k); err != nil {
				return err
			}
			text := fmt.Sprintf("node %s killed; %s moved to %s in %s", k.Node, plural(k.Tasks, "task"), strings.Join(k.To, " and "), secondsText(k.Moved))
			if load > 0 {
				text += fmt.Sprintf("; %d of %d instances finished (%d compensated), %d effects wrong", k.Completed+k.Compensated, load, k.Compensated, len(k.Faults))
				if len(k.Faults) == 0 {
					text = strings.TrimSuffix(text, "0 effects wrong") + "0 effects twice"
				}
			}
			t.say("%s", text)
			for _, f := range k.Faults {
				t.say("  %s %s", markFailed, f)
			}
			if len(k.Faults) > 0 || k.Completed+k.Compensated < load {
				return &codedError{code: exitError}
			}
			return nil
		},
	}
	cmd.Flags().Int("under-load", 0, "payments to start around it")
	serverFlags(cmd)
	return cmd
}

// secondsText is a short duration for people.
func secondsText(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func newClockCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "clock", Short: "The clock of the nodes of amends dev", Args: cobra.NoArgs}
	advance := &cobra.Command{
		Use:   "advance DURATION",
		Short: "Set the clock of the nodes forward, such as 7d or 36h",
		Long: `Set the clock of all nodes of amends dev forward at once. What was due in between is due now, in its
order; it is a jump, so nothing is answered on the way: a step that waits for its participant has then
waited that long. Participants and the broker keep the time of this machine. The clock never goes
back; with --data-dir it stays ahead over a restart.`,
		Example: "  amends clock advance 7d",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			by, err := parseSpan(args[0])
			if err != nil {
				return usage("%w", err)
			}
			var s local.Status
			if err := askDev(cmd, http.MethodPost, "/clock", local.ClockRequest{Advance: by}, &s); err != nil {
				return err
			}
			t.say("the nodes' clock is %s, %s ahead", s.Now.Format(time.RFC3339), s.Advanced)
			return nil
		},
	}
	serverFlags(advance)
	cmd.AddCommand(advance)
	return cmd
}

// parseSpan reads a duration that may be in days.
func parseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		hours, err := time.ParseDuration(days + "h")
		if err != nil || hours.Abs() > 1<<20*time.Hour {
			return 0, fmt.Errorf("%q is not a duration such as 7d or 36h", text)
		}
		return 24 * hours, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 7d or 36h", text)
	}
	return d, nil
}

// askDev asks the cluster of amends dev on this machine whose first node is the API of --server.
func askDev(cmd *cobra.Command, method, path string, body, into any) error {
	var conn connection
	if err := conn.read(cmd); err != nil {
		return err
	}
	u, err := url.Parse(conn.Server)
	if err != nil {
		return usage("--server: %w", err)
	}
	socket := local.ControlPath(u.Port())
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(cmd.Context(), method, "http://dev"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		return &orchestrator.Error{Code: orchestrator.CodeUnreachable, Class: orchestrator.ErrUnreachable, Err: err,
			Cause: "amends dev does not run on this machine with its API at " + conn.Server, Fix: "Start it, or name its API with --server."}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusNotFound:
		return withCode(exitNotFound, "%s", strings.TrimSpace(string(answer)))
	case resp.StatusCode == http.StatusConflict, resp.StatusCode == http.StatusBadRequest:
		return withCode(exitUsage, "%s", strings.TrimSpace(string(answer)))
	case resp.StatusCode != http.StatusOK:
		return withCode(exitError, "%s", strings.TrimSpace(string(answer)))
	}
	return json.Unmarshal(answer, into)
}
