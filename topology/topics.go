package topology

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
)

// layout is what the topics say about the work: how many tasks there are and
// which partitions belong to which.
type layout struct {
	cluster    string
	changelog  [16]byte // topic id
	tasks      int32    // partitions of the changelog
	partitions int32    // of each input
	inputs     map[string][16]byte

	deleteRetention time.Duration // of the changelog; 0 when it may not be read
}

// errLayout marks what an operator has to mend at the topics.
var errLayout = errors.New("topics do not fit")

// readLayout asks the cluster for the topics and checks that they fit.
func readLayout(ctx context.Context, cl *kgo.Client, cfg *Config) (*layout, error) {
	var l layout
	var err error
	l.cluster, l.changelog, l.tasks, err = changelog.TopicIdentity(ctx, cl, cfg.Changelog)
	if err != nil {
		return nil, fmt.Errorf("changelog %s: %w", cfg.Changelog, err)
	}
	details, err := kadm.NewClient(cl).ListTopics(ctx, cfg.Inputs...)
	if err != nil {
		return nil, fmt.Errorf("list inputs: %w", err)
	}
	l.inputs = make(map[string][16]byte, len(cfg.Inputs))
	for _, topic := range cfg.Inputs {
		d, ok := details[topic]
		if !ok {
			return nil, fmt.Errorf("input %s: %w", topic, kerr.UnknownTopicOrPartition)
		}
		if d.Err != nil {
			return nil, fmt.Errorf("input %s: %w", topic, d.Err)
		}
		n := int32(len(d.Partitions))
		if l.partitions == 0 {
			l.partitions = n
		}
		if n != l.partitions {
			return nil, fmt.Errorf("%w: input %s has %d partitions, %s has %d; they must be equal",
				errLayout, topic, n, cfg.Inputs[0], l.partitions)
		}
		l.inputs[topic] = d.ID
	}
	if l.tasks > l.partitions {
		return nil, fmt.Errorf("%w: changelog %s has %d partitions, more than the %d of the inputs",
			errLayout, cfg.Changelog, l.tasks, l.partitions)
	}
	return &l, l.readConfig(ctx, cl, cfg)
}

// readConfig refuses a changelog that Kafka would delete from. Without the
// right to read the settings the check is left out.
func (l *layout) readConfig(ctx context.Context, cl *kgo.Client, cfg *Config) error {
	configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, cfg.Changelog)
	if err == nil && len(configs) == 1 {
		err = configs[0].Err
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) { // by this broker, so far
		return fmt.Errorf("settings of changelog %s: %w", cfg.Changelog, err)
	}
	if err != nil || len(configs) != 1 {
		cfg.Logger.Warn("settings of the changelog cannot be read; cleanup.policy is not checked",
			"topic", cfg.Changelog, "error", err)
		return nil
	}
	for _, c := range configs[0].Configs {
		switch c.Key {
		case "cleanup.policy":
			if policy := c.MaybeValue(); strings.Contains(policy, "delete") || !strings.Contains(policy, "compact") {
				return fmt.Errorf("%w: changelog %s has cleanup.policy=%s and would lose state; set it to compact",
					errLayout, cfg.Changelog, policy)
			}
		case "delete.retention.ms":
			if ms, err := strconv.ParseInt(c.MaybeValue(), 10, 64); err == nil && ms > 0 {
				l.deleteRetention = time.Duration(min(ms, maxMillis)) * time.Millisecond
			}
		}
	}
	return nil
}

const maxMillis = int64(1<<63-1) / int64(time.Millisecond)

// awaitLayout waits for the topics, for as long as Timing.Start allows. What
// does not fit is refused at once: waiting does not mend it.
func awaitLayout(ctx context.Context, cl *kgo.Client, cfg *Config) (*layout, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timing.Start)
	defer cancel()
	for {
		l, err := readLayout(ctx, cl, cfg)
		switch {
		case err == nil:
			return l, nil
		case errors.Is(err, errLayout):
			return nil, fmt.Errorf("%w: %w", ErrFatal, err)
		}
		cfg.Logger.Warn("waiting for the topics", "error", err)
		if !sleep(ctx, cfg.Timing.Backoff) {
			return nil, fmt.Errorf("%w: topics are not there: %w", ErrFatal, err)
		}
	}
}

// changed says in which way now differs from l, or nil.
func (l *layout) changed(now *layout, cfg *Config) error {
	switch {
	case now.cluster != l.cluster:
		return halt("the cluster id changed from %q to %q", l.cluster, now.cluster)
	case now.changelog != l.changelog:
		return halt("changelog %s was deleted and created again; the local stores are kept", cfg.Changelog)
	case now.tasks != l.tasks:
		return halt("changelog %s has %d partitions, had %d; start again after a migration", cfg.Changelog, now.tasks, l.tasks)
	case now.partitions != l.partitions:
		return halt("inputs have %d partitions, had %d; start again after a migration", now.partitions, l.partitions)
	}
	for topic, id := range l.inputs {
		if now.inputs[topic] != id {
			return halt("input %s was deleted and created again", topic)
		}
	}
	return nil
}

// inputs lists the input partitions of a task.
func (l *layout) owned(cfg *Config, task int32, visit func(topic string, partition int32)) {
	for _, topic := range cfg.Inputs {
		for partition := task; partition < l.partitions; partition += l.tasks {
			visit(topic, partition)
		}
	}
}

// sleep waits for d, or reports false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
