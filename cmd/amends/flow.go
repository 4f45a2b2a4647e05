package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/topology"
)

// flow is a topology that a file declares, in this process: of derive or of bridge.
type flow interface {
	Run(ctx context.Context) error
	Worker() *topology.Worker
}

// declared is what such a file says.
type declared struct {
	describe func() (string, error) // for --check
	build    func(client []kgo.Opt, reg *prometheus.Registry, log *slog.Logger) (flow, error)
}

// flowFlags are the flags that runFlow reads, and those of the topics that it makes.
func flowFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSlice("brokers", []string{defaultBroker}, "Kafka seed brokers, host:port")
	f.AddFlagSet(brokerLoginFlags())
	profileFlag(cmd)
	f.String("metrics-listen", "", "address that serves /metrics, /livez and /readyz (default: none)")
	f.Int("replication-factor", 0, "of topics that are created (default 3, or the number of brokers if smaller)")
	f.Bool("create-topics", true, "create missing topics")
	logFlags(cmd)
}

// runFlow runs what parse makes of a file until the process is told to end; with --check it only says what that is.
func runFlow(cmd *cobra.Command, t *terminal, parse func(settings) (declared, error)) error {
	s, err := readSettings(cmd, "")
	if err != nil {
		return &codedError{exitConfig, err}
	}
	var conn connection
	if err := conn.take(s); err != nil {
		return &codedError{exitConfig, err}
	}
	d, err := parse(s)
	if err != nil {
		return asked(t, err)
	}
	if s.yes("check") {
		text, err := d.describe()
		if err != nil {
			return err
		}
		fmt.Fprint(t.out, text)
		return nil
	}
	log, err := newLog(s, t)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	reg := prometheus.NewRegistry()
	f, err := d.build(append([]kgo.Opt{kgo.SeedBrokers(conn.Brokers...)}, conn.Client...), reg, log)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	stop, err := serveMetrics(s.text("metrics-listen"), reg, f.Worker(), log)
	if err != nil {
		return &codedError{exitConfig, err}
	}
	defer stop()
	return f.Run(cmd.Context())
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
