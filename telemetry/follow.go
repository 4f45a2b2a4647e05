package telemetry

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/unread"
	"github.com/amendsio/amends/protocol"
)

// AlertConfig says what to follow and whom to tell. The zero value of a field means its default.
type AlertConfig struct {
	Namespace string                // required
	Client    []kgo.Opt             // seeds, TLS, SASL: required
	Receivers []Receiver            // required; every one gets every delivery
	Window    time.Duration         // how long facts are gathered after the first. Default 30 s
	PauseMax  time.Duration         // longest pause between two tries of a delivery; the first is 1 s. Default 1 min
	Logger    *slog.Logger          // default: silent
	Registry  prometheus.Registerer // default: none
}

// Alerts follows the lifecycle topic and delivers alerts. Any number of processes may run one: they are a
// consumer group, <namespace>.saga.alerts, and share the partitions.
type Alerts struct {
	cfg    AlertConfig
	topic  string
	counts *prometheus.CounterVec
}

// Metric describes a metric of this package.
type Metric struct {
	Name, Help string
	Labels     []string
}

// Deliveries is a counter.
var Deliveries = Metric{Name: "amends_alert_deliveries_total", Labels: []string{"outcome"},
	Help: "Deliveries of alerts to a webhook or topic, by outcome: delivered, or failed, which is tried again."}

// AlertGroup is the consumer group of a namespace's alerts.
func AlertGroup(namespace string) string { return protocol.App(namespace) + "alerts" }

// NewAlerts checks the configuration. A group that is new begins at the end of the topic: what happened
// before alerts were switched on is not told.
func NewAlerts(cfg AlertConfig) (*Alerts, error) {
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		return nil, err
	}
	if len(cfg.Receivers) == 0 {
		return nil, fmt.Errorf("alerts need a receiver")
	}
	if cfg.Window <= 0 {
		cfg.Window = 30 * time.Second
	}
	if cfg.PauseMax <= 0 {
		cfg.PauseMax = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Alerts{cfg: cfg, topic: topics.Lifecycle}
	a.counts = prometheus.NewCounterVec(prometheus.CounterOpts{Name: Deliveries.Name, Help: Deliveries.Help}, Deliveries.Labels)
	if cfg.Registry != nil {
		cfg.Registry.MustRegister(a.counts)
	}
	return a, nil
}

// Run follows the topic until ctx ends.
func (a *Alerts) Run(ctx context.Context) error {
	// Before the consumer is made: it joins at once, and a group with members takes positions of them only.
	for pause := time.Second; ; pause = min(2*pause, a.cfg.PauseMax) {
		err := a.prepare(ctx)
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			a.cfg.Logger.Warn("where the alerts begin is not known, it is asked again", "pause", pause.String(), "err", err)
		}
		if !wait(ctx, pause) {
			return nil
		}
	}
	cl, err := kgo.NewClient(append(slices.Clone(a.cfg.Client),
		kgo.ConsumerGroup(AlertGroup(a.cfg.Namespace)), kgo.ConsumeTopics(a.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit())...)
	if err != nil {
		return fmt.Errorf("kafka client of the alerts: %w", err)
	}
	defer cl.Close()
	var facts book
	for ctx.Err() == nil {
		read := a.window(ctx, cl, &facts)
		if ctx.Err() != nil {
			return nil // what was gathered was not committed, so somebody reads it again
		}
		if !a.deliver(ctx, facts.close(), read) {
			return nil
		}
		if len(read) == 0 {
			continue
		}
		// A commit that fails delivers again after the next start: at least once.
		if err := cl.CommitRecords(ctx, read.last()...); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Warn("position of the alerts is not committed; they may come again", "err", err)
		}
	}
	return nil
}

// prepare is begin on a client of its own.
func (a *Alerts) prepare(ctx context.Context) error {
	cl, err := kgo.NewClient(a.cfg.Client...)
	if err != nil {
		return err
	}
	defer cl.Close()
	return a.begin(ctx, cl)
}

// begin gives the group the present end of each partition that it has no position on, so that what comes
// while nobody runs is told later. While others are in the group they have done it.
func (a *Alerts) begin(ctx context.Context, cl *kgo.Client) error {
	adm := kadm.NewClient(cl)
	group := AlertGroup(a.cfg.Namespace)
	have, err := adm.FetchOffsetsForTopics(ctx, group, a.topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return err
	}
	ends, err := adm.ListCommittedOffsets(ctx, a.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	missing := kadm.Offsets{}
	ends.Each(func(o kadm.ListedOffset) {
		if at, ok := have.Lookup(a.topic, o.Partition); !ok || at.At < 0 {
			missing.AddOffset(a.topic, o.Partition, o.Offset, o.LeaderEpoch)
		}
	})
	if len(missing) == 0 {
		return nil
	}
	if err := adm.CommitAllOffsets(ctx, group, missing); err != nil && !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.RebalanceInProgress) {
		return err
	}
	return nil
}

// window is what was read in one window: the newest record of each partition.
type window map[int32]*kgo.Record

func (w window) last() []*kgo.Record {
	out := make([]*kgo.Record, 0, len(w))
	for _, rec := range w {
		out = append(out, rec)
	}
	slices.SortFunc(out, func(x, y *kgo.Record) int { return int(x.Partition - y.Partition) })
	return out
}

// idleWindow is after how long positions are committed when nothing asks for a person.
const idleWindow = time.Minute

// readMost bounds the records of a window in which nothing asks for a person, so that positions move.
const readMost = 50_000

// window reads until facts were gathered for long enough.
func (a *Alerts) window(ctx context.Context, cl *kgo.Client, facts *book) window {
	read, records := window{}, 0
	poll, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(idleWindow, cancel)
	defer func() { timer.Stop() }()
	asked := false
	var faults unread.Faults
	for poll.Err() == nil && !facts.full() && records < readMost {
		fetches := cl.PollRecords(poll, 1000)
		faults.After(poll, fetches, func(_ string, partition int32, err error) {
			a.cfg.Logger.Warn("cannot read the lifecycle topic for alerts", "partition", partition, "err", err)
		})
		for _, rec := range fetches.Records() {
			records++
			read[rec.Partition] = &kgo.Record{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, LeaderEpoch: rec.LeaderEpoch}
			l, err := protocol.DecodeLifecycle(rec.Value)
			if err != nil {
				a.cfg.Logger.Warn("a lifecycle record cannot be read for alerts", "partition", rec.Partition, "offset", rec.Offset)
				continue
			}
			if facts.take(l) && !asked {
				asked = true
				timer.Stop()
				timer = time.AfterFunc(a.cfg.Window, cancel)
			}
		}
	}
	return read
}

// deliver tells every receiver, and tries again until each took it or ctx ends, which it tells.
func (a *Alerts) deliver(ctx context.Context, alerts []Alert, read window) bool {
	if len(alerts) == 0 {
		return true
	}
	d := Delivery{Kind: kindOfDelivery, Namespace: a.cfg.Namespace, ID: idOf(a.topic, read), Alerts: alerts}
	for i, r := range a.cfg.Receivers {
		pause := time.Second
		for {
			err := r.Deliver(ctx, d)
			if err == nil {
				a.counts.WithLabelValues("delivered").Inc()
				break
			}
			if ctx.Err() != nil {
				return false
			}
			a.counts.WithLabelValues("failed").Inc()
			a.cfg.Logger.Warn("alerts are not delivered, they are tried again", "receiver", i, "alerts", len(alerts), "pause", pause.String(), "err", err)
			if !wait(ctx, pause) {
				return false
			}
			pause = min(2*pause, a.cfg.PauseMax)
		}
	}
	return true
}

// wait pauses, and says false when ctx ends first.
func wait(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// idOf names a delivery by what it was made of.
func idOf(topic string, read window) string {
	h := sha256.New()
	h.Write([]byte(topic))
	for _, rec := range read.last() {
		h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, uint32(rec.Partition)), uint64(rec.Offset)))
	}
	return strings.ToLower(hex.EncodeToString(h.Sum(nil)[:16]))
}
