package durable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// Config is what a Participant needs. The zero value of every optional field is its default.
type Config struct {
	// Name of the participant, as definitions call it. Required. The consumer group and the
	// transactional ids begin with <Name>.inbox.
	Name string

	// Client are the options of every Kafka client: seed brokers, TLS, SASL. Required.
	Client []kgo.Opt

	// DataDir is the directory of the stores. Required. Two processes must not share it.
	DataDir string

	// Topic of the commands. Default cmd.<Name>.
	Topic string

	// Create makes the changelog topic <Name>.inbox when it is missing. Default: it must be there.
	Create bool

	// Tasks is the partition count of a changelog that is created, at most that of the command topic.
	// Default: as many.
	Tasks int32

	// Replication of a changelog that is created. Default 3, or the number of brokers if that is less.
	Replication int16

	// Retention is how long rows of the inbox are kept. Default participant.DefaultRetention. It must
	// not be less than the marker retention of any definition that uses this participant.
	Retention time.Duration

	// HandlerTimeout is how long a handler may run; a command's deadline can shorten it. While it
	// runs, its task does nothing else. Default 10 s.
	HandlerTimeout time.Duration

	// Claims brings back what commands carry by reference, and puts away what answers could not carry.
	// Default: none.
	Claims participant.Claims

	// Clock tells the time. Default time.Now.
	Clock func() time.Time

	// Logger. Default: silent.
	Logger *slog.Logger

	// Hooks are called as things happen. Answered is called when the answer is made; the transaction
	// may still fail, then the command is answered again.
	Hooks participant.Hooks

	// Runtime has the last word on the settings of the runtime: limits, timing, file system, hooks.
	Runtime func(*topology.Config)
}

// Participant is a participant with a durable inbox.
type Participant struct {
	*participant.Handlers
	cfg       Config
	changelog string
}

// New checks cfg. It does not connect; Run does.
func New(cfg Config) (*Participant, error) {
	var faults []error
	bad := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
	}
	if err := protocol.ValidateParticipant(cfg.Name); err != nil {
		bad("Name", "%w", err)
	}
	if len(cfg.Client) == 0 {
		bad("Client", "is required; it holds at least the seed brokers")
	}
	if cfg.DataDir == "" {
		bad("DataDir", "is required")
	}
	if cfg.Tasks < 0 {
		bad("Tasks", "%d, want a positive number", cfg.Tasks)
	}
	if cfg.Replication < 0 {
		bad("Replication", "%d, want a positive number", cfg.Replication)
	}
	if cfg.Retention < 0 {
		bad("Retention", "%v, want a positive duration", cfg.Retention)
	}
	if cfg.HandlerTimeout < 0 {
		bad("HandlerTimeout", "%v, want a positive duration", cfg.HandlerTimeout)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("durable config: %w", errors.Join(faults...))
	}
	if cfg.Topic == "" {
		cfg.Topic = protocol.CommandTopic(cfg.Name)
	}
	if cfg.Retention == 0 {
		cfg.Retention = participant.DefaultRetention
	}
	if cfg.HandlerTimeout == 0 {
		cfg.HandlerTimeout = 10 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := participant.NewHandlers(cfg.Logger, cfg.HandlerTimeout)
	h.UseClaims(cfg.Claims)
	return &Participant{
		Handlers:  h,
		cfg:       cfg,
		changelog: ChangelogTopic(cfg.Name),
	}, nil
}

// ChangelogTopic is the changelog of a participant's inbox and data.
func ChangelogTopic(name string) string { return name + ".inbox" }

// Run executes commands until ctx ends; then it finishes the transaction that is under way and
// returns nil.
func (p *Participant) Run(ctx context.Context) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
	}
	if p.cfg.Create {
		topic := Changelog{p.changelog, p.cfg.Topic, p.cfg.Tasks, p.cfg.Replication}
		if err := topic.Create(ctx, p.cfg.Client, p.cfg.Logger); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
		}
	}
	// Handlers do not see the end of ctx: a command that has begun is finished.
	work := context.WithoutCancel(ctx)
	cfg := topology.Config{
		App:       p.changelog + ".",
		Inputs:    []string{p.cfg.Topic},
		Changelog: p.changelog,
		Processor: func(int32) topology.Processor { return &processor{p, work} },
		Index:     Index(p.cfg.Retention),
		DataDir:   p.cfg.DataDir,
		Client:    p.cfg.Client,
		Clock:     p.cfg.Clock,
		Logger:    p.cfg.Logger,
	}
	if p.cfg.Runtime != nil {
		p.cfg.Runtime(&cfg)
	}
	w, err := topology.New(cfg)
	if err != nil {
		return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
	}
	if err := w.Run(ctx); err != nil {
		return fmt.Errorf("participant %s: %w", p.cfg.Name, err)
	}
	return nil
}

func (p *Participant) skip(reason string, rec *topology.Record, err error) {
	p.cfg.Logger.Error("command skipped", "reason", reason, "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "error", err)
	if hook := p.cfg.Hooks.Skipped; hook != nil {
		hook(reason, rec.Topic, rec.Partition, rec.Offset)
	}
}

// Changelog is the topic that holds inboxes, and what it is made for.
type Changelog struct {
	Name     string
	Commands string // the command topic: it must exist, and its partitions are the default of Tasks
	// Tasks and Replication of a topic that is created; 0 is the default of Config.
	Tasks       int32
	Replication int16
}

// Create makes the topic unless it is there. It waits 30 s for the command topic, which belongs to the
// orchestrator.
func (c Changelog) Create(ctx context.Context, client []kgo.Opt, log *slog.Logger) error {
	cl, err := kgo.NewClient(client...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	commands, changelog, err := c.await(ctx, adm, log)
	if err != nil || changelog > 0 {
		return err
	}
	tasks, replication := c.Tasks, c.Replication
	if tasks == 0 {
		tasks = commands
	}
	if replication == 0 {
		brokers, err := adm.ListBrokers(ctx)
		if err != nil {
			return fmt.Errorf("list brokers: %w", err)
		}
		replication = int16(min(3, max(1, len(brokers))))
	}
	plan := protocol.ChangelogPlan(c.Name, tasks, replication)
	configs := make(map[string]*string, len(plan.Settings))
	for _, s := range plan.Settings {
		configs[s.Key] = &s.Value
	}
	if _, err := adm.CreateTopic(ctx, plan.Partitions, plan.Replication, configs, plan.Name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", plan.Name, err)
	}
	log.Info("changelog created", "topic", plan.Name, "partitions", plan.Partitions)
	return nil
}

// commandsWait is how long Create waits for the command topic to exist.
const commandsWait = 30 * time.Second

// await returns the partition counts of the command topic, for which it waits, and of the changelog, 0
// when there is none.
func (c Changelog) await(ctx context.Context, adm *kadm.Client, log *slog.Logger) (commands, changelog int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandsWait)
	defer cancel()
	for {
		topics, err := adm.ListTopics(ctx, c.Commands, c.Name)
		if err == nil {
			if d, found := topics[c.Commands]; found && d.Err == nil {
				return int32(len(d.Partitions)), int32(len(topics[c.Name].Partitions)), nil
			}
			err = fmt.Errorf("command topic %s: %w", c.Commands, kerr.UnknownTopicOrPartition)
		}
		log.Warn("waiting for the topics", "error", err)
		select {
		case <-ctx.Done():
			return 0, 0, err
		case <-time.After(250 * time.Millisecond):
		}
	}
}
