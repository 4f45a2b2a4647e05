package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// ReaderTopic is the changelog of one reader of a topic of others: of a binding, or of the events that instances wait
// for by a value. Processes make it when they begin to read, with as many partitions as Source has, at most
// bindings.MaxTasks.
type ReaderTopic struct {
	Name   string
	Source string
}

// Note says of one that is not there when it will be.
func (r ReaderTopic) Note() string {
	return fmt.Sprintf("made at run time, with as many partitions as %s, at most %d", r.Source, bindings.MaxTasks)
}

// ReaderTopics are those of definitions, in the order of their names.
func ReaderTopics(namespace string, defs []*sagas.Definition) ([]ReaderTopic, error) {
	plans, err := Check(defs)
	if err != nil {
		return nil, err
	}
	return readersOf(namespace, plans, plans), nil
}

// readersOf are the readers for plans whose bindings, and for plans whose routes are read.
func readersOf(namespace string, bound, routed []*sagas.Plan) []ReaderTopic {
	rules := bindings.Of(bound)
	for _, c := range bindings.CorrelationsOf(routed, "") {
		rules = append(rules, c)
	}
	var out []ReaderTopic
	for _, r := range rules {
		out = append(out, ReaderTopic{bindings.Changelog(namespace, r.Key()), r.Topic()})
	}
	slices.SortFunc(out, func(a, b ReaderTopic) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b ReaderTopic) bool { return a.Name == b.Name })
}

// planReaders says how the changelogs of readers should be. Those whose source cannot be seen have no partitions.
func planReaders(ctx context.Context, adm *kadm.Client, readers []ReaderTopic, rf int16) (plans []protocol.TopicPlan, have map[string]topicShape, err error) {
	if len(readers) == 0 {
		return nil, nil, nil
	}
	var names []string
	for _, r := range readers {
		names = append(names, r.Name, r.Source)
	}
	slices.Sort(names)
	details, err := adm.ListTopics(ctx, slices.Compact(names)...)
	if err != nil {
		return nil, nil, unreachable("list topics", err)
	}
	have = map[string]topicShape{}
	for _, d := range details {
		if d.Err == nil && len(d.Partitions) > 0 { // a source may be somebody's whom we may not ask
			have[d.Topic] = topicShape{int32(len(d.Partitions)), int16(d.Partitions.NumReplicas())}
		}
	}
	for _, r := range readers {
		p := protocol.ChangelogPlan(r.Name, min(have[r.Source].partitions, bindings.MaxTasks), rf)
		p.Purpose = "position of what is read from " + r.Source
		if shape, ok := have[r.Name]; ok { // it keeps the partitions that it was made with, whatever becomes of the source
			p.Partitions = shape.partitions
		}
		plans = append(plans, p)
	}
	return plans, have, nil
}

// readerStates compares the changelogs of readers with what the cluster has. One that is missing is no fault.
func readerStates(ctx context.Context, adm *kadm.Client, readers []ReaderTopic, rf int16) ([]TopicState, error) {
	plans, have, err := planReaders(ctx, adm, readers, rf)
	if err != nil {
		return nil, err
	}
	configs, err := settingsIn(ctx, adm, plans, have)
	if err != nil {
		return nil, err
	}
	var out []TopicState
	for i, p := range plans {
		s := TopicState{TopicPlan: p}
		if shape, ok := have[p.Name]; ok {
			s.Exists = true
			s.compare(shape, configs[p.Name])
		} else {
			s.Note = readers[i].Note()
		}
		out = append(out, s)
	}
	return out, nil
}

// PlanPublished compares with what the cluster has the topics that the published definitions of a namespace need
// beside those that every namespace has: of correlation, and the changelogs of what reads topics of others. It changes
// nothing.
func PlanPublished(ctx context.Context, cfg Config) ([]TopicState, error) {
	var bound, routed []*sagas.Plan
	err := withPublisher(ctx, cfg.withDefaults(), false, func(p *publisher) error {
		bound, routed = nil, nil
		for ref, l := range p.known.versions {
			if l.plan == nil || p.known.active[ref.typ] == 0 {
				continue
			}
			routed = append(routed, l.plan)
			if p.known.active[ref.typ] == ref.version {
				bound = append(bound, l.plan)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []TopicState
	err = withAdmin(cfg, func(cfg Config, _ *kgo.Client, adm *kadm.Client) error {
		topics, err := protocol.NewTopics(cfg.Namespace)
		if err != nil {
			return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "Namespace: " + err.Error()}
		}
		rf, err := replicationFactor(ctx, adm, cfg)
		if err != nil {
			return err
		}
		if correlates(routed) {
			names := []string{topics.Intake, topics.State, topics.Correlation, topics.CorrelationState}
			have, err := listTopics(ctx, adm, names)
			if err != nil {
				return err
			}
			l := planLayout(cfg, topics, have)
			plans := topics.CorrelationPlan(l.partitions, l.partitions, rf)
			configs, err := settingsIn(ctx, adm, plans, have)
			if err != nil {
				return err
			}
			for _, p := range plans {
				out = append(out, compareTopic(cfg, p, have, configs))
			}
		}
		states, err := readerStates(ctx, adm, readersOf(cfg.Namespace, bound, routed), rf)
		out = append(out, states...)
		return err
	})
	return out, err
}

// ensureReaders creates the changelogs of readers that are missing and whose source is there.
func ensureReaders(ctx context.Context, adm *kadm.Client, cfg Config, plans []*sagas.Plan) error {
	readers := readersOf(cfg.Namespace, plans, plans)
	if len(readers) == 0 {
		return nil
	}
	rf, err := replicationFactor(ctx, adm, cfg)
	if err != nil {
		return err
	}
	wanted, have, err := planReaders(ctx, adm, readers, rf)
	if err != nil {
		return err
	}
	wanted = slices.DeleteFunc(wanted, func(p protocol.TopicPlan) bool { return p.Partitions == 0 })
	return ensureTopics(ctx, adm, cfg, have, func(int16) []protocol.TopicPlan { return wanted })
}
