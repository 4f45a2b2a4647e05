package derive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// Config is what a Runner needs. The zero value of every optional field is its default.
type Config struct {
	// Stage is what to run. Required.
	Stage *Stage

	// Client are the options of every Kafka client: seed brokers, TLS, SASL. Required.
	Client []kgo.Opt

	// CreateTopics makes the topics that are missing: targets with as many partitions as the source,
	// the dead letters, and the changelog <stage>.state. Default: they must be there.
	CreateTopics bool

	// Tasks is the partition count of a changelog that is created, at most that of the source.
	// Default: as many, at most 12.
	Tasks int32

	// Replication of topics that are created. Default 3, or the number of brokers if that is less.
	Replication int16

	// Wait is how long Run waits for the source topic. Default 30 s.
	Wait time.Duration

	// Registerer takes the metrics. Default: none.
	Registerer prometheus.Registerer

	// Logger. Default: silent.
	Logger *slog.Logger

	// Runtime has the last word on the settings of the runtime: limits, timing, hooks.
	Runtime func(*topology.Config)
}

// tasksDefault bounds the tasks of a stage that does not say how many: each has two transactional
// clients, and a stage without state gains little from more.
const tasksDefault = 12

// Runner is one process of a stage. Any number share the work.
type Runner struct {
	cfg     Config
	metrics *Metrics
	worker  *topology.Worker
}

// New checks cfg. It does not connect; Run does.
func New(cfg Config) (*Runner, error) {
	if cfg.Stage == nil {
		return nil, errors.New("derive config: Stage is required")
	}
	if len(cfg.Client) == 0 {
		return nil, errors.New("derive config: Client is required; it holds at least the seed brokers")
	}
	if cfg.Tasks < 0 || cfg.Replication < 0 || cfg.Wait < 0 {
		return nil, errors.New("derive config: Tasks, Replication and Wait are not negative")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Wait == 0 {
		cfg.Wait = 30 * time.Second
	}
	r := &Runner{cfg: cfg, metrics: NewMetrics(cfg.Stage, cfg.Registerer)}
	built, err := cfg.Stage.Topology(r.metrics.Task)
	if err != nil {
		return nil, err
	}
	run := built.Config(topology.Config{
		App: cfg.Stage.app(), Changelog: cfg.Stage.Changelog(), InMemory: true,
		Client: cfg.Client, Logger: cfg.Logger, Hooks: r.metrics.Hooks(),
		AllowTruncatedInput: true, // what the source's retention has deleted before the first start is nobody's to derive
	})
	if cfg.Runtime != nil {
		cfg.Runtime(&run)
	}
	if r.worker, err = topology.New(run); err != nil {
		return nil, err
	}
	return r, nil
}

func (st *Stage) app() string { return st.Name + "." }

// Group is the consumer group under which lag tools see the stage.
func (st *Stage) Group() string { return st.app() + "engine" }

// Changelog is the topic that holds the positions.
func (st *Stage) Changelog() string { return st.app() + "state" }

// Run derives until ctx ends; then it finishes the transaction that is under way and returns nil.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.topics(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("derive %s: %w", r.cfg.Stage.Name, err)
	}
	if err := r.worker.Run(ctx); err != nil {
		return fmt.Errorf("derive %s: %w", r.cfg.Stage.Name, err)
	}
	return nil
}

// Worker is the runtime, for its state and health.
func (r *Runner) Worker() *topology.Worker { return r.worker }

// topics waits for the source and creates what is missing.
func (r *Runner) topics(ctx context.Context) error {
	if !r.cfg.CreateTopics {
		return nil
	}
	cl, err := kgo.NewClient(r.cfg.Client...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	adm, st := kadm.NewClient(cl), r.cfg.Stage
	partitions, err := r.source(ctx, adm)
	if err != nil {
		return err
	}
	replication := r.cfg.Replication
	if replication == 0 {
		brokers, err := adm.ListBrokers(ctx)
		if err != nil {
			return fmt.Errorf("list brokers: %w", err)
		}
		replication = int16(min(3, max(1, len(brokers))))
	}
	tasks := r.cfg.Tasks
	if tasks == 0 {
		tasks = min(partitions, tasksDefault)
	}
	plans := []protocol.TopicPlan{
		protocol.ChangelogPlan(st.Changelog(), tasks, replication),
		protocol.EventTopicPlan(st.DeadLetters, partitions, replication),
	}
	for i, topic := range st.To {
		if st.targets[i].intake == nil { // the intake is its namespace's
			plans = append(plans, protocol.EventTopicPlan(topic, partitions, replication))
		}
	}
	names := make([]string, len(plans))
	for i := range plans {
		names[i] = plans[i].Name
	}
	have, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	for _, plan := range plans {
		if have.Has(plan.Name) {
			continue
		}
		settings := make(map[string]*string, len(plan.Settings))
		for _, s := range plan.Settings {
			settings[s.Key] = &s.Value
		}
		if _, err := adm.CreateTopic(ctx, plan.Partitions, plan.Replication, settings, plan.Name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", plan.Name, err)
		}
		r.cfg.Logger.Info("topic created", "topic", plan.Name, "partitions", plan.Partitions)
	}
	return nil
}

// source waits for the source topic and gives its partition count.
func (r *Runner) source(ctx context.Context, adm *kadm.Client) (int32, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Wait)
	defer cancel()
	topic := r.cfg.Stage.From
	for {
		topics, err := adm.ListTopics(ctx, topic)
		if err == nil {
			if d, found := topics[topic]; found && d.Err == nil && len(d.Partitions) > 0 {
				return int32(len(d.Partitions)), nil
			}
			err = kerr.UnknownTopicOrPartition
		}
		r.cfg.Logger.Warn("waiting for the source", "topic", topic, "error", err)
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("source topic %s: %w", topic, err)
		case <-time.After(250 * time.Millisecond):
		}
	}
}
