package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// TopicState is one topic that a namespace needs: how it should be, and what differs.
type TopicState struct {
	protocol.TopicPlan
	Exists bool
	// Faults have to be repaired before a process starts; Advice is slow or wasteful.
	Faults []string
	Advice []string
	// Note says of a topic that is missing why that is no fault. Partitions is 0 when it is not known yet.
	Note string
}

// OfflinePlan is every topic of a namespace and of the definitions, as it should be when nothing is there.
// Partitions, tasks and replication factor are those of cfg, or 12, as many, and 3.
func OfflinePlan(cfg Config, defs []*sagas.Definition) ([]protocol.TopicPlan, error) {
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Class: ErrConfig, Cause: "Namespace: " + err.Error()}
	}
	rf := cfg.ReplicationFactor
	if rf == 0 {
		rf = 3
	}
	return plannedTopics(cfg, topics, defs, planLayout(cfg, topics, nil), rf)
}

func plannedTopics(cfg Config, topics protocol.Topics, defs []*sagas.Definition, l layout, rf int16) ([]protocol.TopicPlan, error) {
	plans, err := Check(defs)
	if err != nil {
		return nil, err
	}
	all := topics.Plan(l.partitions, l.tasks, rf)
	if correlates(plans) {
		all = append(all, topics.CorrelationPlan(l.partitions, l.partitions, rf)...)
	}
	for _, name := range allCommandTopics(plans) {
		all = append(all, protocol.CommandTopicPlan(name, l.partitions, rf))
	}
	for _, name := range allEventTopics(plans) {
		all = append(all, protocol.EventTopicPlan(name, l.partitions, rf))
	}
	return all, nil
}

// PlanTopics compares the topics of a namespace and of definitions with what the cluster has. It changes
// nothing.
func PlanTopics(ctx context.Context, cfg Config, defs []*sagas.Definition) ([]TopicState, error) {
	var out []TopicState
	err := withAdmin(cfg, func(cfg Config, _ *kgo.Client, adm *kadm.Client) error {
		topics, err := protocol.NewTopics(cfg.Namespace)
		if err != nil {
			return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "Namespace: " + err.Error()}
		}
		sketch, err := plannedTopics(cfg, topics, defs, layout{1, 1}, 1)
		if err != nil {
			return err
		}
		var names []string
		for _, p := range sketch {
			names = append(names, p.Name)
		}
		have, err := listTopics(ctx, adm, names)
		if err != nil {
			return err
		}
		rf, err := replicationFactor(ctx, adm, cfg)
		if err != nil {
			return err
		}
		plans, err := plannedTopics(cfg, topics, defs, planLayout(cfg, topics, have), rf)
		if err != nil {
			return err
		}
		configs, err := settingsIn(ctx, adm, plans, have)
		if err != nil {
			return err
		}
		for _, p := range plans {
			out = append(out, compareTopic(cfg, p, have, configs))
		}
		readers, err := ReaderTopics(cfg.Namespace, defs)
		if err != nil {
			return err
		}
		states, err := readerStates(ctx, adm, readers, rf)
		out = append(out, states...)
		return err
	})
	return out, err
}

// settingsIn reads the settings of those planned topics that exist, by name.
func settingsIn(ctx context.Context, adm *kadm.Client, plans []protocol.TopicPlan, have map[string]topicShape) (map[string]kadm.ResourceConfig, error) {
	configs := map[string]kadm.ResourceConfig{}
	var names []string
	for _, p := range plans {
		if _, there := have[p.Name]; there {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return configs, nil
	}
	described, err := adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, unreachable("describe topic settings", err)
	}
	for _, rc := range described {
		configs[rc.Name] = rc
	}
	return configs, nil
}

// compareTopic says what is wrong with one topic. Topics of participants are theirs as much as ours, so only
// that they exist is checked.
func compareTopic(cfg Config, p protocol.TopicPlan, have map[string]topicShape, configs map[string]kadm.ResourceConfig) TopicState {
	s := TopicState{TopicPlan: p}
	shape, there := have[p.Name]
	if s.Exists = there; !there {
		s.Faults = append(s.Faults, "is missing")
		return s
	}
	if ownTopic(cfg.Namespace, p.Name) {
		s.compare(shape, configs[p.Name])
	}
	return s
}

// compare notes what differs in a topic that exists.
func (s *TopicState) compare(shape topicShape, rc kadm.ResourceConfig) {
	p := s.TopicPlan
	if shape.partitions != p.Partitions {
		s.Faults = append(s.Faults, fmt.Sprintf("partitions: have %d, want %d", shape.partitions, p.Partitions))
	}
	if shape.replication < p.Replication {
		s.Advice = append(s.Advice, fmt.Sprintf("replication factor: have %d, want %d", shape.replication, p.Replication))
	}
	if rc.Err != nil {
		s.Advice = append(s.Advice, "settings: "+rc.Err.Error())
		return
	}
	for _, want := range p.Settings {
		value, reported := settingOf(rc, want.Key)
		says := fmt.Sprintf("%s: have %q, want %q", want.Key, value, want.Value)
		switch {
		case !reported || want.Weight == protocol.Initial || settingHolds(want, value):
		case want.Weight == protocol.Required:
			s.Faults = append(s.Faults, says)
		default:
			s.Advice = append(s.Advice, says)
		}
	}
}

// CreateTopics creates the topics of a namespace and of definitions that are missing, and checks the rest as
// a process does when it starts. It never alters one.
func CreateTopics(ctx context.Context, cfg Config, defs []*sagas.Definition) error {
	cfg.CreateTopics = true
	plans, err := Check(defs)
	if err != nil {
		return err
	}
	return withAdmin(cfg, func(cfg Config, _ *kgo.Client, adm *kadm.Client) error {
		topics, err := protocol.NewTopics(cfg.Namespace)
		if err != nil {
			return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "Namespace: " + err.Error()}
		}
		l, err := ensureNamespace(ctx, adm, cfg, topics)
		if err != nil {
			return err
		}
		return errors.Join(ensureCommands(ctx, adm, cfg, allCommandTopics(plans), l.partitions), ensureEvents(ctx, adm, cfg, allEventTopics(plans), l.partitions),
			ensureCorrelation(ctx, adm, cfg, topics, plans, l), ensureReaders(ctx, adm, cfg, plans))
	})
}

// CheckBrokers says whether the brokers' transactions keep our promises, as a process asks when it starts.
func CheckBrokers(ctx context.Context, cfg Config) error {
	return withAdmin(cfg, func(cfg Config, cl *kgo.Client, _ *kadm.Client) error { return checkBrokers(ctx, cl, cfg) })
}

// OtherTopics reads from the definitions of a namespace which topics of others its processes use, sorted: read
// are those of bindings and of events that instances wait for, of the active versions; written are those of
// commands and of domain events, of every version, because instances may run on it. Nothing is changed.
func OtherTopics(ctx context.Context, cfg Config) (read, written []string, err error) {
	err = withPublisher(ctx, cfg.withDefaults(), false, func(p *publisher) error {
		for ref, l := range p.known.versions {
			if l.plan == nil {
				continue
			}
			written = append(append(written, commandTopics(l.plan)...), allEventTopics([]*sagas.Plan{l.plan})...)
			if p.known.active[ref.typ] != ref.version {
				continue
			}
			for i := range l.plan.Bindings {
				read = append(read, l.plan.Bindings[i].Topic)
			}
			for i := range l.plan.Routes {
				read = append(read, l.plan.Routes[i].Topic)
			}
		}
		slices.Sort(read)
		slices.Sort(written)
		read, written = slices.Compact(read), slices.Compact(written)
		return nil
	})
	return read, written, err
}

// withAdmin calls fn with a client of its own.
func withAdmin(cfg Config, fn func(Config, *kgo.Client, *kadm.Client) error) error {
	cfg = cfg.withDefaults()
	if err := configError(cfg.faults()); err != nil {
		return err
	}
	cl, err := kgo.NewClient(cfg.clientOpts()...)
	if err != nil {
		return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer cl.Close()
	return fn(cfg, cl, kadm.NewClient(cl))
}
