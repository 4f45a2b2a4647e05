package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/web"
)

func newRunCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run one process of a namespace",
		Long: `Run one process of a namespace. Start as many as you like: they share the partitions.

Settings come from flags, then AMENDS_* variables, then the file of --config, then defaults.
SIGTERM finishes the transaction in hand, hands the partitions over and exits 0. A bad
configuration exits 78, so that a service manager does not restart it.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{annotationServer: "true"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return runServer(cmd, t) },
	}
	f := cmd.Flags()
	kafkaFlags(cmd)
	f.String("data-dir", "amends-data", "directory of the local stores; lost stores are rebuilt from Kafka")
	f.String("listen", defaultListen, "address of the HTTP API; without tokens or an issuer only on loopback")
	f.String("advertise", "", "host:port at which the other processes reach the API (default: --listen, or the host name when that is a wildcard)")
	f.String("instance", "", "stable name of this process in the group (default: none, partitions move at once when it stops)")
	f.String("zone", "", "rack or availability zone of this process; copies are kept in another one (default: none)")
	f.Int("standbys", 1, "processes that keep a copy of each task, at most 8; 0 for none")
	f.Int("partitions", 0, "partitions of the namespace when it is created (default 12)")
	f.Int("tasks", 0, "tasks of the namespace when it is created, at most --partitions (default: as many)")
	f.Int("replication-factor", 0, "of topics that are created (default 3, or the number of brokers if smaller)")
	f.Bool("create-topics", true, "create missing topics")
	f.Bool("cloudevents", false, "write the headers of CloudEvents on lifecycle records too")
	f.Bool("allow-old-transactions", false, "run on brokers below transaction.version 2: exactly once no longer holds")
	f.String("memory", "", "memory of this process, such as 512MiB (default: three quarters of the cgroup's limit, or a quarter of the machine's)")
	f.StringSlice("destination-limits", nil, destinationsUsage)
	f.String("token-secret-file", "", "file with the secret that signs command tokens; the same for all processes")
	f.String("api-actions", "auto", "take changes over HTTP: on, off, or auto (on loopback, or with tokens or an issuer)")
	f.String("api-tokens-file", "", "file with the static tokens of the API: a name, roles (viewer, operator, deployer, admin) and a token per line")
	f.String("oidc-issuer", "", "URL of the OIDC issuer whose tokens the API takes")
	f.String("oidc-audience", "", "audience that tokens of the issuer must be for")
	f.String("oidc-roles-claim", "roles", "claim of such a token that holds the roles")
	f.Bool("api-insecure", false, "let the API listen beyond loopback without authentication: whoever reaches it sees everything")
	pageFlags(f)
	schemaFlags(f)
	telemetryFlags(cmd)
	logFlags(cmd)
	f.String("config", os.Getenv("AMENDS_CONFIG"), "YAML file with the same settings, one key per flag")
	return cmd
}

func runServer(cmd *cobra.Command, t *terminal) error {
	cfg, at, err := serverConfig(cmd, t)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	defer at.outward.close()
	o, err := orchestrator.New(cfg)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel() // before close, which waits for what runs
	limitMemory(ctx, cfg.Memory)
	at.outward.run(ctx)
	err = serve(ctx, o, at, cfg.Logger)
	switch {
	case err == nil:
		cfg.Logger.Info("stopped")
		return nil
	case errors.Is(err, orchestrator.ErrConfig):
		return &codedError{exitConfig, err}
	}
	return err
}

// listener is where the API is, whom it knows, and whether it takes changes.
type listener struct {
	address  string
	actions  string    // on, off or auto
	auth     *api.Auth // nil: nobody is asked who they are
	insecure bool      // beyond loopback without auth all the same
	secret   []byte    // that processes sign with what they ask one another
	pages    web.Options
	outward  *outward
}

// gather has the metrics of o and of what runs beside it.
func (at listener) gather(o *orchestrator.Orchestrator) prometheus.Gatherer {
	if at.outward == nil {
		return o.Gatherer()
	}
	return prometheus.Gatherers{o.Gatherer(), at.outward.registry}
}

// acts says whether the API takes changes. By default only from people it knows, or on loopback.
func (at listener) acts(a net.Addr) bool {
	return at.actions == "on" || at.actions == "auto" && (isLoopback(a) || at.auth != nil)
}

// serve runs o and its API until ctx ends. The API answers until the last task has stopped.
func serve(ctx context.Context, o *orchestrator.Orchestrator, at listener, log *slog.Logger) error {
	l, err := net.Listen("tcp", at.address)
	if err != nil {
		return &orchestrator.Error{Code: orchestrator.CodeConfig, Class: orchestrator.ErrConfig, Cause: "cannot listen on " + at.address, Err: err,
			Fix: "Choose another address with --listen."}
	}
	if !isLoopback(l.Addr()) && at.auth == nil {
		if !at.insecure {
			_ = l.Close()
			return &orchestrator.Error{Code: orchestrator.CodeConfig, Class: orchestrator.ErrConfig, Cause: "the API would be open to other machines on " + l.Addr().String() + " without authentication",
				Fix: "Give it tokens with --api-tokens-file or an issuer with --oidc-issuer, keep it on loopback, or take the risk with --api-insecure."}
		}
		log.Warn("the API has no authentication and is reachable from other machines", "listen", l.Addr().String())
	}
	handler := api.New(o, api.Options{Node: o.Advertise(), Namespace: o.Namespace(), Gather: at.gather(o), Meter: o.Registerer(), Logger: log, Actions: at.acts(l.Addr()), Auth: at.auth, PeerSecret: at.secret})
	srv := &http.Server{
		Handler:           withPages(handler, o, at, l.Addr()),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		err := srv.Serve(l)
		cancel() // without its API a process would own partitions that nobody can ask for
		served <- err
	}()
	log.Info("API", "listen", l.Addr().String(), "advertise", o.Advertise())

	var batches sync.WaitGroup
	batches.Go(func() { handler.RunBatches(ctx) })
	err = o.Run(ctx)
	cancel()
	batches.Wait()
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close() // what still hangs after the grace period is cut off
	}
	if serveErr := <-served; err == nil && !errors.Is(serveErr, http.ErrServerClosed) {
		err = fmt.Errorf("serve the API: %w", serveErr)
	}
	return err
}

func serverConfig(cmd *cobra.Command, t *terminal) (cfg orchestrator.Config, at listener, err error) {
	path, _ := cmd.Flags().GetString("config")
	s, err := readSettings(cmd, path)
	if err != nil {
		return cfg, at, err
	}
	var conn connection
	if err := conn.take(s); err != nil {
		return cfg, at, err
	}
	at = listener{address: s.text("listen"), actions: s.text("api-actions"), insecure: s.yes("api-insecure"), pages: pageSettings(s)}
	if at.actions != "on" && at.actions != "off" && at.actions != "auto" {
		return cfg, at, fmt.Errorf("api-actions: %q is not on, off or auto", at.actions)
	}
	log, err := newLog(s, t)
	if err != nil {
		return cfg, at, err
	}
	memory, err := memoryBudget(s.text("memory"), os.DirFS("/"))
	if err != nil {
		return cfg, at, err
	}
	limits, err := destinationLimits(s.list("destination-limits"))
	if err != nil {
		return cfg, at, err
	}
	cfg = orchestrator.Config{
		Brokers:           conn.Brokers,
		Namespace:         conn.Namespace,
		DataDir:           s.text("data-dir"),
		InstanceID:        s.text("instance"),
		Zone:              s.text("zone"),
		Standbys:          s.number("standbys"),
		Partitions:        int32(s.number("partitions")),
		Tasks:             int32(s.number("tasks")),
		ReplicationFactor: int16(s.number("replication-factor")),
		CreateTopics:      s.yes("create-topics"),
		CloudEvents:       s.yes("cloudevents"),

		AllowOldTransactions: s.yes("allow-old-transactions"),

		Destinations: limits,

		Memory: memory / 10 * 9, // the rest is for the API, metrics and the program itself

		Client: conn.Client,
		Logger: log,
	}
	if cfg.Codec, err = codecOf(s, append(cfg.Client[:len(cfg.Client):len(cfg.Client)], kgo.SeedBrokers(conn.Brokers...))); err != nil {
		return cfg, at, err
	}
	if cfg.Standbys == 0 {
		cfg.Standbys = -1 // in a Config, 0 is the default
	}
	if f, ok := t.err.(*os.File); ok && isTerminal(f) {
		cfg.Hooks = (&restoreBar{out: t.err}).hooks()
	}
	if log.Enabled(cmd.Context(), slog.LevelDebug) { // the client's own log is for debugging; what matters comes through ours
		cfg.Client = append(cfg.Client, kgo.WithLogger(kslog.New(log.WithGroup("kafka"))))
	}
	if file := s.text("token-secret-file"); file != "" {
		secret, err := os.ReadFile(file)
		if err != nil {
			return cfg, at, fmt.Errorf("token-secret-file: %w", err)
		}
		cfg.TokenSecret = []byte(strings.TrimSpace(string(secret)))
	}
	tokens := s.text("api-tokens-file")
	if tokens != "" || s.text("oidc-issuer") != "" || s.text("oidc-audience") != "" {
		at.auth, err = api.NewAuth(api.AuthConfig{TokenFile: tokens, Issuer: s.text("oidc-issuer"), Audience: s.text("oidc-audience"), RolesClaim: s.text("oidc-roles-claim")})
		if err != nil {
			return cfg, at, fmt.Errorf("authentication of the API: %w", err)
		}
		if at.secret, err = peerSecret(cfg.TokenSecret, tokens); err != nil {
			return cfg, at, err
		}
	}
	if cfg.Advertise = s.text("advertise"); cfg.Advertise == "" {
		if cfg.Advertise, err = advertised(at.address); err != nil {
			return cfg, at, err
		}
	}
	at.outward, err = newOutward(cmd.Context(), s, &cfg)
	return cfg, at, err
}

// peerSecret is what processes sign with what they ask one another: made of the secret of the command tokens,
// else of the file of API tokens, because all processes have the same.
func peerSecret(tokenSecret []byte, tokensFile string) ([]byte, error) {
	if len(tokenSecret) == 0 && tokensFile != "" {
		b, err := os.ReadFile(tokensFile)
		if err != nil {
			return nil, fmt.Errorf("api-tokens-file: %w", err)
		}
		tokenSecret = b
	}
	if len(tokenSecret) == 0 {
		return nil, errors.New("oidc-issuer: set token-secret-file as well, the same for all processes: they sign with it what they ask one another")
	}
	mac := hmac.New(sha256.New, tokenSecret)
	mac.Write([]byte("amends peers"))
	return mac.Sum(nil), nil
}

// advertised makes an address for others out of a listen address.
func advertised(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "" || port == "0" {
		return "", fmt.Errorf("listen: %q is not host:port with a port of its own", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("advertise: is not set, and the host name is not known: %w", err)
		}
	}
	return net.JoinHostPort(host, port), nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
