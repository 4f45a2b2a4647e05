package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// topicRow is one topic as the command shows it.
type topicRow struct {
	Name        string            `json:"name"`
	Purpose     string            `json:"purpose"`
	Exists      bool              `json:"exists"`
	Partitions  int32             `json:"partitions"`
	Replication int16             `json:"replication"`
	Settings    map[string]string `json:"settings"`
	Faults      []string          `json:"faults,omitempty"`
	Advice      []string          `json:"advice,omitempty"`
	Note        string            `json:"note,omitempty"`
}

func rowOfTopic(s orchestrator.TopicState) topicRow {
	return topicRow{s.Name, s.Purpose, s.Exists, s.Partitions, s.Replication, settingsOf(s.TopicPlan), s.Faults, s.Advice, s.Note}
}

func settingsOf(p protocol.TopicPlan) map[string]string {
	m := map[string]string{}
	for _, s := range p.Settings {
		m[s.Key] = s.Value
	}
	return m
}

var topicColumns = []column[topicRow]{
	{head: "TOPIC", text: func(r topicRow) string { return r.Name }},
	{head: "PARTITIONS", text: func(r topicRow) string {
		if r.Partitions == 0 {
			return "-"
		}
		return strconv.Itoa(int(r.Partitions))
	}},
	{head: "REPLICAS", text: func(r topicRow) string { return strconv.Itoa(int(r.Replication)) }},
	{head: "STATE", text: func(r topicRow) string {
		if all := append(append([]string{}, r.Faults...), r.Advice...); len(all) > 0 {
			return strings.Join(all, "; ")
		}
		if r.Note != "" {
			return r.Note
		}
		return "ok"
	}},
	{head: "PURPOSE", wide: true, text: func(r topicRow) string { return r.Purpose }},
}

func topicFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceP("file", "f", nil, "definitions whose command and event topics belong to it")
	f.Int("partitions", 0, "partitions of the namespace when it is created (default 12)")
	f.Int("tasks", 0, "tasks of the namespace when it is created, at most --partitions (default: as many)")
	f.Int("replication-factor", 0, "of topics that are created (default 3, or the number of brokers if smaller)")
}

// topicConfig is what the flags of a topic command say, and the definitions in the files that they name.
func topicConfig(cmd *cobra.Command) (cfg orchestrator.Config, defs []*sagas.Definition, err error) {
	s, err := readSettings(cmd, "")
	if err != nil {
		return cfg, nil, &codedError{exitUsage, err}
	}
	var conn connection
	if err := conn.take(s); err != nil {
		return cfg, nil, &codedError{exitUsage, err}
	}
	cfg = conn.orchestrator()
	cfg.Partitions, cfg.Tasks, cfg.ReplicationFactor = int32(s.number("partitions")), int32(s.number("tasks")), int16(s.number("replication-factor"))
	files, _ := cmd.Flags().GetStringSlice("file")
	defs, err = readDefinitions(files)
	return cfg, defs, err
}

func newTopicPlanCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Compare the topics that a namespace needs with what the cluster has; nothing is changed",
		Long: `Compare the topics that a namespace needs, and with -f those of definitions, with what the cluster has.
Nothing is changed. The exit code is 5 when a process would refuse to start.`,
		Example: "  amends topic plan --namespace pay -f card-payment.yaml\n  amends topic plan -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, defs, err := topicConfig(cmd)
			if err != nil {
				return err
			}
			states, err := orchestrator.PlanTopics(cmd.Context(), cfg, defs)
			if err != nil {
				return err
			}
			var rows []topicRow
			faults := 0
			for _, s := range states {
				rows = append(rows, rowOfTopic(s))
				faults += len(s.Faults)
			}
			if err := printList(cmd, t, rows, func(r topicRow) string { return r.Name }, topicColumns); err != nil {
				return err
			}
			if faults > 0 {
				return &codedError{code: exitFindings}
			}
			return nil
		},
	}
	topicFlags(cmd)
	kafkaFlags(cmd)
	outputFlag(cmd)
	return cmd
}

func newTopicApplyCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Create the topics that are missing; those that are there are never altered",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, defs, err := topicConfig(cmd)
			if err != nil {
				return err
			}
			before, err := orchestrator.PlanTopics(cmd.Context(), cfg, defs)
			if err != nil {
				return err
			}
			dry, _ := cmd.Flags().GetBool("dry-run")
			if !dry {
				if err := orchestrator.CreateTopics(cmd.Context(), cfg, defs); err != nil {
					return err
				}
			}
			for _, s := range before {
				if !s.Exists && s.Partitions > 0 {
					t.say("%s", s.Name)
				}
			}
			return nil
		},
	}
	cmd.Flags().Bool("dry-run", false, "print the topics that would be created and stop")
	topicFlags(cmd)
	kafkaFlags(cmd)
	return cmd
}

func newTopicExportCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export --strimzi",
		Short: "Write the topics, and the rights of the engine, for a platform that creates them",
		Long: `Write the topics of a namespace, and with -f those of definitions, as resources of Strimzi: a KafkaTopic
each, and a KafkaUser with the rights that amends run needs. No broker is asked.`,
		Example: "  amends topic export --strimzi --namespace pay -f card-payment.yaml --cluster kafka | kubectl apply -f -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strimzi, _ := cmd.Flags().GetBool("strimzi"); !strimzi {
				return usage("name a form: --strimzi")
			}
			cluster, _ := cmd.Flags().GetString("cluster")
			cfg, defs, err := topicConfig(cmd)
			if err != nil {
				return err
			}
			plans, err := orchestrator.OfflinePlan(cfg, defs)
			if err != nil {
				return err
			}
			events, err := eventTopics(defs)
			if err != nil {
				return err
			}
			if err := writeStrimzi(t.out, cfg.Namespace, cluster, plans, events); err != nil {
				return err
			}
			readers, err := orchestrator.ReaderTopics(cfg.Namespace, defs)
			for _, r := range readers { // how many partitions they have a broker would have to say
				fmt.Fprintf(t.out, "# %s: %s\n", r.Name, r.Note())
			}
			return err
		},
	}
	cmd.Flags().Bool("strimzi", false, "KafkaTopic and KafkaUser")
	cmd.Flags().String("cluster", "kafka", "name of the Kafka resource")
	topicFlags(cmd)
	kafkaFlags(cmd)
	return cmd
}

type object = map[string]any

// eventTopics are the topics of others that definitions read, sorted.
func eventTopics(defs []*sagas.Definition) ([]string, error) {
	var names []string
	for _, d := range defs {
		plan, err := sagas.Compile(d)
		if err != nil {
			return nil, err
		}
		for _, b := range plan.Bindings {
			names = append(names, b.Topic)
		}
		for _, r := range plan.Routes {
			names = append(names, r.Topic)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// writeStrimzi writes the resources, one document each. events are topics of others that are read.
func writeStrimzi(w io.Writer, namespace, cluster string, plans []protocol.TopicPlan, events []string) error {
	labels := object{"strimzi.io/cluster": cluster}
	resource := func(kind, name string, spec object) object {
		return object{"apiVersion": "kafka.strimzi.io/v1", "kind": kind, "metadata": object{"name": name, "labels": labels}, "spec": spec}
	}
	var docs []object
	acl := func(kind, name, pattern string, operations ...string) object {
		return object{"resource": object{"type": kind, "name": name, "patternType": pattern}, "operations": operations}
	}
	app := protocol.App(namespace)
	acls := []object{
		acl("topic", app, "prefix", "Read", "Write", "Describe", "DescribeConfigs"),
		acl("group", app, "prefix", "Read", "Describe"),
		acl("transactionalId", app, "prefix", "Write", "Describe"),
	}
	for _, p := range plans {
		docs = append(docs, resource("KafkaTopic", p.Name, object{
			"partitions": p.Partitions, "replicas": p.Replication, "config": settingsOf(p),
		}))
		if !strings.HasPrefix(p.Name, app) {
			acls = append(acls, acl("topic", p.Name, "literal", "Write", "Describe"))
		}
	}
	if len(events) > 0 { // each binding has a group, ids and a topic of its own, whose names begin so
		readers := namespace + ".bind."
		acls = append(acls, acl("topic", readers, "prefix", "Read", "Write", "Create", "Describe"),
			acl("group", readers, "prefix", "Read", "Describe"), acl("transactionalId", readers, "prefix", "Write", "Describe"))
	}
	for _, name := range events {
		acls = append(acls, acl("topic", name, "literal", "Read", "Describe"))
	}
	docs = append(docs, resource("KafkaUser", namespace+"-amends", object{
		"authentication": object{"type": "scram-sha-512"},
		"authorization":  object{"type": "simple", "acls": acls},
	}))
	for _, d := range docs {
		out, err := yaml.Marshal(d)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "---\n%s", out)
	}
	return nil
}
