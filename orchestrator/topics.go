package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/amendsio/amends/protocol"
)

// layout is what the topics of a namespace look like once they are checked.
type layout struct {
	partitions int32 // of intake, replies and control
	tasks      int32 // partitions of the state topic
}

// ensureNamespace creates what is missing, when allowed, and checks what is there.
func ensureNamespace(ctx context.Context, adm *kadm.Client, cfg Config, t protocol.Topics) (layout, error) {
	var all []string
	for _, p := range t.Plan(1, 1, 1) {
		all = append(all, p.Name)
	}
	have, err := listTopics(ctx, adm, all)
	if err != nil {
		return layout{}, err
	}
	l := planLayout(cfg, t, have)
	if err := ensureTopics(ctx, adm, cfg, have, func(rf int16) []protocol.TopicPlan {
		return t.Plan(l.partitions, l.tasks, rf)
	}); err != nil {
		return layout{}, err
	}
	if have, err = awaitTopics(ctx, adm, all); err != nil {
		return layout{}, err
	}
	if err := checkCounts(cfg, t, have); err != nil {
		return layout{}, err
	}
	l = layout{partitions: have[t.Intake].partitions, tasks: have[t.State].partitions}
	return l, checkSettings(ctx, adm, cfg, t, l, have)
}

// ensureCommands creates the command topics that are missing, when allowed. They belong to the
// participants as much as to us, so their settings are not checked.
func ensureCommands(ctx context.Context, adm *kadm.Client, cfg Config, topics []string, partitions int32) error {
	return ensureOthers(ctx, adm, cfg, topics, "commands", "Give the participant another topic.", func(name string, rf int16) protocol.TopicPlan {
		return protocol.CommandTopicPlan(name, partitions, rf)
	})
}

// ensureEvents does the same for the topics of domain events.
func ensureEvents(ctx context.Context, adm *kadm.Client, cfg Config, topics []string, partitions int32) error {
	return ensureOthers(ctx, adm, cfg, topics, "domain events", "Emit to another topic.", func(name string, rf int16) protocol.TopicPlan {
		return protocol.EventTopicPlan(name, partitions, rf)
	})
}

func ensureOthers(ctx context.Context, adm *kadm.Client, cfg Config, topics []string, what, fix string, plan func(name string, rf int16) protocol.TopicPlan) error {
	if len(topics) == 0 {
		return nil
	}
	for _, name := range topics {
		if ownTopic(cfg.Namespace, name) {
			return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: what + " cannot go to " + name + ", a topic of the engine", Fix: fix}
		}
	}
	have, err := listTopics(ctx, adm, topics)
	if err != nil {
		return err
	}
	err = ensureTopics(ctx, adm, cfg, have, func(rf int16) []protocol.TopicPlan {
		plans := make([]protocol.TopicPlan, len(topics))
		for i, name := range topics {
			plans[i] = plan(name, rf)
		}
		return plans
	})
	if err == nil {
		_, err = awaitTopics(ctx, adm, topics)
	}
	return err
}

// ownTopic says whether only the engine may write to topic: whatever starts with the prefix of the
// namespace, also what later versions may add to it.
func ownTopic(namespace, topic string) bool {
	return strings.HasPrefix(topic, protocol.App(namespace))
}

// planLayout sizes the topics that are missing after those that exist.
func planLayout(cfg Config, t protocol.Topics, have map[string]topicShape) layout {
	l := layout{partitions: cfg.Partitions, tasks: cfg.Tasks}
	for _, name := range []string{t.Intake, t.Replies, t.Control} {
		if shape, ok := have[name]; ok {
			l.partitions = shape.partitions
			break
		}
	}
	if l.partitions == 0 {
		l.partitions = protocol.DefaultPartitions
	}
	if shape, ok := have[t.State]; ok {
		l.tasks = shape.partitions
	}
	if l.tasks == 0 {
		l.tasks = l.partitions
	}
	return l
}

// topicShape is what an existing topic looks like.
type topicShape struct {
	partitions  int32
	replication int16
}

// listTopics describes those of topics that exist.
func listTopics(ctx context.Context, adm *kadm.Client, topics []string) (map[string]topicShape, error) {
	details, err := adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, unreachable("list topics", err)
	}
	have := make(map[string]topicShape, len(topics))
	for _, d := range details {
		switch {
		case d.Err != nil && isNewTopic(d.Err), d.Err == nil && len(d.Partitions) == 0: // the latter: not known everywhere yet
		case d.Err != nil:
			return nil, unreachable("describe topic "+d.Topic, d.Err)
		default:
			have[d.Topic] = topicShape{int32(len(d.Partitions)), int16(d.Partitions.NumReplicas())}
		}
	}
	return have, nil
}

// topicPatience is how long a new topic may take to be known to the broker that is asked.
const topicPatience = 30 * time.Second

// sinceNew asks about topics that are known to exist, again and again while the broker that is asked does
// not know one: each broker hears of a new topic in its own time, so what one has shown another may deny.
// After topicPatience the last answer counts.
func sinceNew(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, topicPatience)
	defer cancel()
	var last error
	for {
		err := ask(ctx)
		if err != nil && last != nil && ctx.Err() != nil {
			return last // it says more than that time is over
		}
		if err == nil || !isNewTopic(err) {
			return err
		}
		last = err
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// isNewTopic says that an error is what a broker answers that has not heard of a topic yet, or not that
// it leads one of its partitions.
func isNewTopic(err error) bool {
	for _, e := range []error{kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.LeaderNotAvailable, kerr.NotLeaderForPartition} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// awaitTopics describes topics that exist, as soon as metadata shows all of them: a topic that was
// just created may not be known everywhere yet.
func awaitTopics(ctx context.Context, adm *kadm.Client, topics []string) (map[string]topicShape, error) {
	ctx, cancel := context.WithTimeout(ctx, topicPatience)
	defer cancel()
	for {
		have, err := listTopics(ctx, adm, topics)
		if err != nil {
			return nil, err
		}
		if len(have) == len(topics) {
			return have, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			missing := slices.DeleteFunc(slices.Clone(topics), func(t string) bool { _, ok := have[t]; return ok })
			return nil, unreachable(fmt.Sprintf("see topics %v, which were created", missing), ctx.Err())
		}
	}
}

// ensureTopics creates those of the planned topics that are not in have.
func ensureTopics(ctx context.Context, adm *kadm.Client, cfg Config, have map[string]topicShape, plan func(rf int16) []protocol.TopicPlan) error {
	isMissing := func(p protocol.TopicPlan) bool { _, ok := have[p.Name]; return !ok }
	if !slices.ContainsFunc(plan(1), isMissing) {
		return nil
	}
	rf, err := replicationFactor(ctx, adm, cfg)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(plan(rf), func(p protocol.TopicPlan) bool { return !isMissing(p) })
	if !cfg.CreateTopics {
		return missingError(missing)
	}
	for _, p := range missing {
		settings := make(map[string]*string, len(p.Settings))
		for _, s := range p.Settings {
			settings[s.Key] = &s.Value
		}
		created, err := adm.CreateTopic(ctx, p.Partitions, p.Replication, settings, p.Name)
		switch {
		case errors.Is(err, kerr.TopicAlreadyExists): // another process was faster; the checks follow
		case errors.Is(err, kerr.InvalidReplicationFactor), errors.Is(err, kerr.InvalidConfig), errors.Is(err, kerr.PolicyViolation):
			return &Error{Code: CodeTopicSetting, Class: ErrConfig, Err: err,
				Cause: fmt.Sprintf("topic %s cannot be created (%s): %s", p.Name, describePlan(p), created.ErrMessage),
				Fix:   "Create it by hand, or choose another replication factor."}
		case err != nil:
			return unreachable("create topic "+p.Name, err)
		default:
			cfg.Logger.Info("topic created", "topic", p.Name, "partitions", p.Partitions, "replication_factor", p.Replication)
		}
	}
	return nil
}

// replicationFactor is the configured one, or 3, or as many as there are brokers if fewer.
func replicationFactor(ctx context.Context, adm *kadm.Client, cfg Config) (int16, error) {
	if cfg.ReplicationFactor > 0 {
		return cfg.ReplicationFactor, nil
	}
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return 0, unreachable("list brokers", err)
	}
	return int16(min(3, max(1, len(brokers)))), nil
}

func describePlan(p protocol.TopicPlan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "partitions=%d replication=%d", p.Partitions, p.Replication)
	for _, s := range p.Settings {
		b.WriteString(" " + s.Key + "=" + s.Value)
	}
	return b.String()
}

func missingError(missing []protocol.TopicPlan) error {
	var lines []string
	for _, p := range missing {
		lines = append(lines, fmt.Sprintf("%s (%s)", p.Name, describePlan(p)))
	}
	return &Error{Code: CodeTopicMissing, Class: ErrConfig,
		Cause: "missing topics: " + strings.Join(lines, ", "),
		Fix:   "Create them, or allow it with --create-topics."}
}

// checkCounts refuses a namespace whose partition counts disagree with one another or with cfg: two
// different mappings from keys to tasks would run the same instance twice.
func checkCounts(cfg Config, t protocol.Topics, have map[string]topicShape) error {
	var faults []string
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	n, tasks := have[t.Intake].partitions, have[t.State].partitions
	for _, name := range []string{t.Replies, t.Control} {
		if have[name].partitions != n {
			add("topic %s: partitions: have %d, want %d as %s has", name, have[name].partitions, n, t.Intake)
		}
	}
	if tasks > n {
		add("topic %s: partitions: have %d, want at most the %d of %s", t.State, tasks, n, t.Intake)
	}
	if d := have[t.Defs].partitions; d != 1 {
		add("topic %s: partitions: have %d, want 1", t.Defs, d)
	}
	if cfg.Partitions != 0 && cfg.Partitions != n {
		add("topic %s: partitions: have %d, want %d as configured", t.Intake, n, cfg.Partitions)
	}
	if cfg.Tasks != 0 && cfg.Tasks != tasks {
		add("topic %s: partitions (tasks): have %d, want %d as configured", t.State, tasks, cfg.Tasks)
	}
	if len(faults) == 0 {
		return nil
	}
	return &Error{Code: CodePartitions, Class: ErrConfig, Cause: strings.Join(faults, "; "),
		Fix: "The counts of a namespace are fixed when it is created: correct the configuration, or use a new namespace."}
}

// checkSettings compares the settings of the namespace's topics with the plan: a wrong required one
// is refused, a wrong advised one is a warning. What a broker does not report is not checked.
func checkSettings(ctx context.Context, adm *kadm.Client, cfg Config, t protocol.Topics, l layout, have map[string]topicShape) error {
	var configs kadm.ResourceConfigs
	if err := sinceNew(ctx, func(ctx context.Context) (err error) {
		configs, err = describeSettings(ctx, adm, slices.Sorted(maps.Keys(have)))
		return err
	}); err != nil {
		return err
	}
	var faults []string
	for _, rc := range configs {
		for _, p := range t.Plan(l.partitions, l.tasks, have[rc.Name].replication) {
			if p.Name != rc.Name {
				continue
			}
			for _, s := range p.Settings {
				value, reported := settingOf(rc, s.Key)
				switch {
				case !reported || s.Weight == protocol.Initial || settingHolds(s, value):
				case s.Weight == protocol.Required:
					faults = append(faults, fmt.Sprintf("topic %s: %s: have %q, want %q", p.Name, s.Key, value, s.Value))
				default:
					cfg.Logger.Warn("topic setting differs from what is advised", "topic", p.Name, "setting", s.Key, "have", value, "want", s.Value)
				}
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return &Error{Code: CodeTopicSetting, Class: ErrConfig, Cause: strings.Join(faults, "; "),
		Fix: "Alter the topic (kafka-configs --alter) and start again."}
}

// describeSettings reads the settings of all topics, or says which one cannot be read.
func describeSettings(ctx context.Context, adm *kadm.Client, topics []string) (kadm.ResourceConfigs, error) {
	configs, err := adm.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, unreachable("describe topic settings", err)
	}
	for _, rc := range configs {
		if rc.Err != nil {
			return nil, unreachable("describe settings of topic "+rc.Name, rc.Err)
		}
	}
	return configs, nil
}

func settingOf(rc kadm.ResourceConfig, key string) (string, bool) {
	for _, c := range rc.Configs {
		if c.Key == key && c.Value != nil {
			return *c.Value, true
		}
	}
	return "", false
}

// settingHolds says whether an existing value is good enough: more replicas in sync or larger
// messages than planned are.
func settingHolds(s protocol.Setting, have string) bool {
	if have == s.Value {
		return true
	}
	switch s.Key {
	case "min.insync.replicas", "max.message.bytes":
		h, err := strconv.Atoi(have)
		w, err2 := strconv.Atoi(s.Value)
		return err == nil && err2 == nil && h >= w
	}
	return false
}

func unreachable(what string, err error) error {
	return &Error{Code: CodeUnreachable, Class: ErrUnreachable, Cause: "cannot " + what, Err: err,
		Fix: "Check the brokers' addresses and this principal's rights."}
}
