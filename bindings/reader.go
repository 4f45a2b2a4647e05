package bindings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// App is the prefix of what a rule owns in Kafka. Names of bindings have no dot, so no two rules share one.
func App(namespace, key string) string {
	return namespace + ".bind." + strings.Replace(key, "/", ".", 1) + "."
}

// Group is the consumer group under which lag tools see a rule.
func Group(namespace, key string) string { return App(namespace, key) + "engine" }

// Changelog is the topic that holds the position of a rule.
func Changelog(namespace, key string) string { return App(namespace, key) + "state" }

// KeyOfGroup is the rule of a consumer group, "" for any other group.
func KeyOfGroup(namespace, group string) string {
	rest, ok := strings.CutPrefix(group, namespace+".bind.")
	if rest, ok = cutSuffix(rest, ".engine", ok); !ok {
		return ""
	}
	i := strings.LastIndexByte(rest, '.')
	if i <= 0 {
		return ""
	}
	return rest[:i] + "/" + rest[i+1:]
}

func cutSuffix(s, suffix string, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, suffix)
}

// State is what a rule does in this process.
type State struct {
	Key     string
	Topic   string
	Paused  bool
	Running bool   // a reader works here; it may have no task
	Tasks   int    // that it runs
	Reason  string // why it does not read, or not all; "" = all is well
}

// reader runs one rule in one process, until it is stopped.
type reader struct {
	cfg    *Config
	topics protocol.Topics
	key    string
	topic  string
	since  time.Time
	log    *slog.Logger
	count  func(result, int)

	current atomic.Pointer[Rule]
	worker  atomic.Pointer[topology.Worker]
	cancel  context.CancelFunc
	done    chan struct{}

	mu         sync.Mutex
	reason     string
	partitions int // of the topic, as the running worker knows it
	restart    context.CancelFunc
	tallies    map[int32]*tally
}

func (r *reader) rule() Rule { return *r.current.Load() }

func newReader(cfg *Config, topics protocol.Topics, want Desired, count func(result, int)) *reader {
	r := &reader{cfg: cfg, topics: topics, key: want.Rule.Key(), topic: want.Rule.Topic(), since: want.Since, count: count,
		done: make(chan struct{}), tallies: map[int32]*tally{}}
	r.log = cfg.Logger.With("binding", r.key, "topic", r.topic)
	r.current.Store(&want.Rule)
	return r
}

const (
	restartMin = time.Second
	restartMax = 30 * time.Second
)

// run reads until ctx ends. Whatever ends a worker before that is said, and tried again.
func (r *reader) run(ctx context.Context) {
	defer close(r.done)
	wait := restartMin
	for ctx.Err() == nil {
		began := r.cfg.Clock()
		err := r.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, topology.ErrCrash) {
			r.say(err.Error())
			<-ctx.Done() // a test kills the process
			return
		}
		if r.cfg.Clock().Sub(began) > restartMax {
			wait = restartMin
		}
		if err != nil {
			r.say(err.Error())
			r.log.Warn("the binding does not read", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, restartMax)
	}
}

func (r *reader) say(reason string) {
	r.mu.Lock()
	r.reason = reason
	r.mu.Unlock()
}

// once runs one worker. It ends when ctx does, when the partitions of the topic have changed, and when it
// fails.
func (r *reader) once(ctx context.Context) error {
	if strings.HasPrefix(r.topic, r.topics.Intake[:len(r.topics.Intake)-len("intake")]) && r.topic != r.topics.Lifecycle {
		return fmt.Errorf("topic %s belongs to the engine: a binding on it would go round for ever", r.topic)
	}
	cl, err := kgo.NewClient(r.cfg.Client...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	partitions, err := partitionsOf(ctx, adm, r.topic)
	if err != nil {
		return err
	}
	if err := r.changelog(ctx, adm, partitions); err != nil {
		return err
	}
	w, err := topology.New(r.config(adm))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	r.reason, r.partitions, r.restart = "", partitions, cancel
	r.mu.Unlock()
	r.worker.Store(w)
	defer r.worker.Store(nil)
	r.log.Info("binding reads", "partitions", partitions)
	return w.Run(ctx)
}

func partitionsOf(ctx context.Context, adm *kadm.Client, topic string) (int, error) {
	found, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("topic %s: %w", topic, err)
	}
	d, ok := found[topic]
	switch {
	case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
		return 0, fmt.Errorf("topic %s is not there yet", topic)
	case d.Err != nil:
		return 0, fmt.Errorf("topic %s: %w", topic, d.Err)
	case len(d.Partitions) == 0:
		return 0, fmt.Errorf("topic %s shows no partitions yet", topic)
	}
	return len(d.Partitions), nil
}

// MaxTasks bounds the tasks of a rule, and so the partitions of its changelog, unless Config.Tasks says otherwise:
// each has two transactional clients, and a rule has no state to spread.
const MaxTasks = 3

// changelog makes the topic of the position, when it is missing.
func (r *reader) changelog(ctx context.Context, adm *kadm.Client, partitions int) error {
	name := Changelog(r.cfg.Namespace, r.key)
	have, err := adm.ListTopics(ctx, name)
	if err != nil {
		return fmt.Errorf("topic %s: %w", name, err)
	}
	if have.Has(name) {
		return nil
	}
	replication := r.cfg.Replication
	if replication == 0 {
		brokers, err := adm.ListBrokers(ctx)
		if err != nil {
			return fmt.Errorf("list brokers: %w", err)
		}
		replication = int16(min(3, max(1, len(brokers))))
	}
	tasks := min(int32(partitions), MaxTasks)
	if r.cfg.Tasks > 0 {
		tasks = min(int32(partitions), r.cfg.Tasks)
	}
	plan := protocol.ChangelogPlan(name, tasks, replication)
	if !r.cfg.CreateTopics {
		return fmt.Errorf("topic %s is missing: create it with cleanup.policy=compact and %d partitions, or let processes create topics", name, tasks)
	}
	settings := make(map[string]*string, len(plan.Settings))
	for _, s := range plan.Settings {
		settings[s.Key] = &s.Value
	}
	if _, err := adm.CreateTopic(ctx, plan.Partitions, plan.Replication, settings, plan.Name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	r.log.Info("topic created", "changelog", name, "partitions", plan.Partitions)
	return nil
}

// config is that of the rule's worker.
func (r *reader) config(adm *kadm.Client) topology.Config {
	c := topology.Config{
		App: App(r.cfg.Namespace, r.key), Inputs: []string{r.topic}, Changelog: Changelog(r.cfg.Namespace, r.key), InMemory: true,
		CacheBytes: 1 << 20, Standbys: -1,
		Client: r.cfg.Client, Advertise: r.cfg.Advertise, InstanceID: r.cfg.InstanceID, Logger: r.log, Clock: r.cfg.Clock,
		Timing: r.cfg.Timing, Limits: r.cfg.Limits, Failpoint: r.cfg.Failpoint,
		AllowTruncatedInput: true, AllowLostInput: true,
		Begin: func(ctx context.Context, topic string, partition int32, first int64) (int64, error) {
			return r.begin(ctx, adm, topic, partition, first)
		},
		Processor: func(task int32) topology.Processor { return &processor{r: r, tally: r.tally(task)} },
		Hooks: topology.Hooks{
			Cycle:     func(s topology.CycleStats) { r.tally(s.Task).settle(true, r.count) },
			Aborted:   func(task int32, _ string, _ error) { r.tally(task).settle(false, r.count) },
			Postponed: func(task int32) { r.tally(task).postponed() },
		},
	}
	if c.Timing.Drain == 0 {
		c.Timing.Drain = -1 // there is no state that another process would have to restore
	}
	return c
}

// begin is where to begin in a partition without a position.
func (r *reader) begin(ctx context.Context, adm *kadm.Client, topic string, partition int32, first int64) (int64, error) {
	if r.rule().From() == sagas.FromEarliest {
		return first, nil
	}
	at, err := adm.ListOffsetsAfterMilli(ctx, r.since.UnixMilli(), topic)
	if err != nil {
		return 0, err
	}
	o, ok := at.Lookup(topic, partition)
	switch {
	case !ok:
		return 0, fmt.Errorf("%s/%d: no answer", topic, partition)
	case o.Err != nil:
		return 0, o.Err
	}
	return o.Offset, nil
}

func (r *reader) tally(task int32) *tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tallies[task]
	if t == nil {
		t = &tally{}
		r.tallies[task] = t
	}
	return t
}

// look restarts the worker when the topic has other partitions than it knows.
func (r *reader) look(partitions int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.restart != nil && r.worker.Load() != nil && partitions != r.partitions {
		r.log.Info("the topic has other partitions, taking them up", "had", r.partitions, "has", partitions)
		r.partitions = partitions
		r.restart()
	}
}

// state is what the reader does now.
func (r *reader) state() State {
	r.mu.Lock()
	s := State{Key: r.key, Topic: r.topic, Reason: r.reason}
	r.mu.Unlock()
	w := r.worker.Load()
	if w == nil {
		return s
	}
	s.Running = true
	for _, t := range w.Tasks() {
		if t.State == topology.TaskRunning {
			s.Tasks++
		}
		if t.Reason != "" && s.Reason == "" {
			s.Reason = t.Reason
		}
	}
	return s
}

// positions are the next offsets of the partitions that are read here.
func (r *reader) positions() map[int32]int64 {
	out := map[int32]int64{}
	if w := r.worker.Load(); w != nil {
		for _, t := range w.Tasks() {
			if t.State != topology.TaskRunning {
				continue
			}
			for _, at := range t.Inputs {
				if at.Topic == r.topic {
					out[at.Partition] = at.Next
				}
			}
		}
	}
	return out
}
