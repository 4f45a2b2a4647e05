package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/telemetry"
)

func telemetryFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("alert-webhook", "", "URL that is told, as JSON, which instances need a person (default: none)")
	f.String("alert-webhook-file", "", "file with that URL, when it holds a secret")
	f.String("alert-token-file", "", "file with a bearer token for the webhook (default: none)")
	f.String("alert-topic", "", "topic that is told, such as NAMESPACE.saga.alerts; it must exist (default: none)")
	f.Duration("alert-window", 30*time.Second, "how long alerts are gathered before one delivery")
}

// outward is what a process tells others beside its API: traces and alerts.
type outward struct {
	log      *slog.Logger
	tracer   *telemetry.Tracer
	alerts   *telemetry.Alerts
	producer *kgo.Client
	registry *prometheus.Registry // of its own metrics
	done     sync.WaitGroup
}

// newOutward reads the settings and sets cfg.Tracer. Nothing runs yet. Errors are of the configuration.
func newOutward(ctx context.Context, s settings, cfg *orchestrator.Config) (o *outward, err error) {
	o = &outward{log: cfg.Logger, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if telemetry.Wanted() {
		if o.tracer, err = telemetry.NewTracer(ctx, cfg.Namespace, cfg.Advertise, orchestrator.Version); err != nil {
			return o, fmt.Errorf("traces: %w", err)
		}
		cfg.Tracer = o.tracer.Spans
	}
	to, err := o.receivers(s, cfg)
	if err != nil || len(to) == 0 {
		return o, err
	}
	window, err := time.ParseDuration(s.text("alert-window"))
	if err != nil || window < time.Second || window > time.Hour {
		return o, fmt.Errorf("alert-window: %q is not between 1s and 1h", s.text("alert-window"))
	}
	o.alerts, err = telemetry.NewAlerts(telemetry.AlertConfig{Namespace: cfg.Namespace, Client: seeded(cfg), Receivers: to,
		Window: window, Logger: cfg.Logger, Registry: o.registry})
	return o, err
}

// receivers are those that alerts go to.
func (o *outward) receivers(s settings, cfg *orchestrator.Config) (to []telemetry.Receiver, err error) {
	address, err := s.secret("alert-webhook")
	if err != nil {
		return nil, err
	}
	token, err := s.secret("alert-token")
	switch {
	case err != nil:
		return nil, err
	case address != "":
		hook, err := telemetry.NewWebhook(address, token)
		if err != nil {
			return nil, fmt.Errorf("alert-webhook: %w", err)
		}
		to = append(to, hook)
	case token != "":
		return nil, errors.New("alert-token-file: there is no alert-webhook")
	}
	if topic := s.text("alert-topic"); topic != "" {
		if o.producer, err = kgo.NewClient(append(seeded(cfg), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))...); err != nil {
			return nil, fmt.Errorf("alert-topic: %w", err)
		}
		to = append(to, telemetry.NewTopic(o.producer, topic))
	}
	return to, nil
}

// seeded are the options of a client of the same cluster.
func seeded(cfg *orchestrator.Config) []kgo.Opt {
	opts := slices.Clone(cfg.Client)
	if len(cfg.Brokers) > 0 {
		opts = append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, opts...)
	}
	return opts
}

// run delivers alerts until ctx ends. What fails is tried again: alerts never end a process.
func (o *outward) run(ctx context.Context) {
	if o.alerts == nil {
		return
	}
	o.done.Go(func() {
		for ctx.Err() == nil {
			if err := o.alerts.Run(ctx); err != nil && ctx.Err() == nil {
				o.log.Warn("alerts do not run, they are begun again", "err", err)
			}
			pause(ctx, 5*time.Second)
		}
	})
}

// close waits for run, whose context has to have ended, and exports the last spans.
func (o *outward) close() {
	o.done.Wait()
	if o.producer != nil {
		o.producer.Close()
	}
	if o.tracer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := o.tracer.Close(ctx); err != nil {
		o.log.Warn("the last spans are not exported", "err", err)
	}
}
