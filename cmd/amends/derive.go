package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/derive"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

func newDeriveCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "derive FILE",
		Short: "Run a stage that filters and maps a wide topic into slim ones",
		Long: `Run a stage that filters and maps a wide topic into slim ones, exactly once.

The file says what is read, what is kept and what is written (docs/streams.md). Start as many
processes as you like: they share the partitions. SIGTERM finishes the transaction in hand and
exits 0. A file with faults exits 5 and lists them all.`,
		Example:     "  amends derive slim.yaml --brokers kafka:9092\n  amends derive slim.yaml --check",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{annotationServer: "true"},
		RunE:        func(cmd *cobra.Command, args []string) error { return runDerive(cmd, t, args[0]) },
	}
	f := cmd.Flags()
	f.Bool("check", false, "check the file, print the topology and end")
	f.StringSlice("brokers", []string{defaultBroker}, "Kafka seed brokers, host:port")
	f.AddFlagSet(brokerLoginFlags())
	profileFlag(cmd)
	f.String("metrics-listen", "", "address that serves /metrics, /livez and /readyz (default: none)")
	f.Int("tasks", 0, "tasks of the stage when it is created (default: the partitions of the source, at most 12)")
	f.Int("replication-factor", 0, "of topics that are created (default 3, or the number of brokers if smaller)")
	f.Bool("create-topics", true, "create missing topics")
	logFlags(cmd)
	return cmd
}

func runDerive(cmd *cobra.Command, t *terminal, file string) error {
	s, err := readSettings(cmd, "")
	if err != nil {
		return &codedError{exitConfig, err}
	}
	var conn connection
	if err := conn.take(s); err != nil {
		return &codedError{exitConfig, err}
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	stage, err := derive.Parse(file, src, func(name string) ([]byte, error) {
		if !filepath.IsLocal(name) {
			return nil, errors.New("want a file in the directory of the stage's file, or below")
		}
		return os.ReadFile(filepath.Join(filepath.Dir(file), name))
	})
	var found sagas.Findings
	if errors.As(err, &found) {
		fmt.Fprintln(t.out, found.Error())
		fmt.Fprintf(t.err, "amends: %s\n", plural(len(found), "finding"))
		return &codedError{code: exitFindings}
	}
	if err != nil {
		return err
	}
	if s.yes("check") {
		built, err := stage.Topology(nil)
		if err != nil {
			return err
		}
		fmt.Fprint(t.out, built.String())
		return nil
	}
	log, err := newLog(s, t)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	reg := prometheus.NewRegistry()
	r, err := derive.New(derive.Config{
		Stage: stage, Client: append([]kgo.Opt{kgo.SeedBrokers(conn.Brokers...)}, conn.Client...), CreateTopics: s.yes("create-topics"),
		Tasks: int32(s.number("tasks")), Replication: int16(s.number("replication-factor")), Registerer: reg, Logger: log,
	})
	if err != nil {
		return &codedError{exitConfig, err}
	}
	stop, err := serveMetrics(s.text("metrics-listen"), reg, r.Worker(), log)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	defer stop()
	return r.Run(cmd.Context())
}

// serveMetrics serves what a probe and a scraper ask for, until stop is called. Without an address it
// does nothing.
func serveMetrics(address string, reg *prometheus.Registry, w *topology.Worker, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	probe := func(ask func() error) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			if err := ask(); err != nil {
				http.Error(rw, err.Error(), http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(rw, "ok")
		}
	}
	mux.Handle("GET /livez", probe(w.Live))
	mux.Handle("GET /readyz", probe(w.Ready))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends by Shutdown
	}()
	log.Info("metrics", "listen", l.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		<-done
	}, nil
}
