package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/protocol"
)

// emptyBroker starts an embedded broker for a test.
func emptyBroker(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

func TestTopicCommands(t *testing.T) {
	emptyHome(t)
	broker, def := emptyBroker(t), write(t, "hello.yaml", goodDefinition)
	args := func(verb ...string) []string {
		return append(append([]string{"topic"}, verb...), "--brokers", broker, "--namespace", "pay", "-f", def)
	}
	code, out, talk := execute(t, args("plan")...)
	if code != exitFindings || strings.Count(out, "is missing") != 9 || !strings.Contains(out, "cmd.psp") {
		t.Fatalf("plan of nothing: %d\n%s%s", code, out, talk)
	}
	if code, out, _ := execute(t, args("apply", "--dry-run")...); code != exitOK || strings.Count(out, "\n") != 9 {
		t.Errorf("dry run: %d %q", code, out)
	}
	if code, out, talk := execute(t, args("apply")...); code != exitOK || strings.Count(out, "\n") != 9 {
		t.Errorf("apply: %d %q %q", code, out, talk)
	}
	if code, out, _ := execute(t, args("plan")...); code != exitOK || strings.Contains(out, "missing") {
		t.Errorf("plan after apply: %d\n%s", code, out)
	}
	if code, out, _ := execute(t, args("apply")...); code != exitOK || out != "" {
		t.Errorf("apply again: %d %q", code, out)
	}
	code, out, _ = execute(t, "topic", "export", "--strimzi", "--namespace", "pay", "-f", def, "--replication-factor", "2")
	if code != exitOK || strings.Count(out, "kind: KafkaTopic") != 9 || !strings.Contains(out, "name: pay-amends") || !strings.Contains(out, "replicas: 2") || !strings.Contains(out, "transactionalId") {
		t.Errorf("export: %d\n%s", code, out)
	}
	bound := write(t, "bound.yaml", "saga: refunds\nversion: 1\nid: =input.id\nstart: {topic: refunds.requested}\nsteps:\n- {id: nap, sleep: {for: 1s}}\n")
	if code, out, _ := execute(t, "topic", "export", "--strimzi", "--namespace", "pay", "-f", bound); code != exitOK || strings.Count(out, "name: pay.bind.") != 3 ||
		!strings.Contains(out, "name: refunds.requested") || strings.Count(out, "kind: KafkaTopic") != 8 ||
		!strings.Contains(out, "# pay.bind.refunds.refunds-requested.state: made at run time, with as many partitions as refunds.requested, at most 3\n") {
		t.Errorf("export of a binding: %d\n%s", code, out)
	}
	if code, _, _ := execute(t, "topic", "export"); code != exitUsage {
		t.Errorf("export of no form: %d", code)
	}
}

// The changelogs of bindings, and of events that are awaited, are planned after the topics that are read. Nobody has to
// make them; topic apply does when it can.
func TestTopicsOfReaders(t *testing.T) {
	emptyHome(t)
	broker := emptyBroker(t)
	bound := write(t, "bound.yaml", `saga: refunds
version: 1
id: =input.id
deadline: 2d
start: {topic: refunds.requested}
steps:
- {id: nap, sleep: {for: 1s}}
- {id: paid, await: {topic: bank.paid, match: =event.id, equals: =input.id, within: 1d}}
`)
	run := func(want int, verb ...string) string {
		t.Helper()
		code, out, talk := execute(t, append(verb, "--brokers", broker, "--namespace", "pay")...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", verb, code, want, out, talk)
		}
		return out
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	const changelog = "pay.bind.refunds.refunds-requested.state"
	rowOf := func(name string) (row topicRow) {
		t.Helper()
		code, out, talk := execute(t, "topic", "plan", "-f", bound, "-o", "jsonl", "--brokers", broker, "--namespace", "pay")
		for line := range strings.Lines(out) {
			var r topicRow
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("exit %d: %v\n%s%s", code, err, out, talk)
			}
			if r.Name == name {
				return r
			}
		}
		t.Fatalf("no %s in\n%s", name, out)
		return row
	}
	if r := rowOf(changelog); r.Exists || r.Partitions != 0 || len(r.Faults) > 0 || r.Note != "made at run time, with as many partitions as refunds.requested, at most 3" {
		t.Errorf("nothing is there: %+v", r)
	}
	for topic, partitions := range map[string]int32{"refunds.requested": 2, "bank.paid": 6} {
		if _, err := adm.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	if r := rowOf(changelog); r.Exists || r.Partitions != 2 || len(r.Faults) > 0 {
		t.Errorf("the source is there: %+v", r)
	}
	if out := run(exitOK, "topic", "apply", "-f", bound); !strings.Contains(out, changelog) || strings.Count(out, "pay.bind.") != 2 {
		t.Errorf("apply: %s", out)
	}
	if out := run(exitOK, "topic", "plan", "-f", bound); strings.Contains(out, "run time") || strings.Count(out, "pay.bind.") != 2 {
		t.Errorf("after apply: %s", out)
	}
	details, err := adm.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range details {
		if strings.HasPrefix(d.Topic, "pay.bind.correlate.") && len(d.Partitions) != 3 {
			t.Errorf("%s has %d partitions", d.Topic, len(d.Partitions))
		}
	}

	// What is published the doctor knows.
	run(exitOK, "def", "apply", bound)
	if out := run(exitOK, "doctor", "--server", "http://127.0.0.1:1"); !strings.Contains(out, "✓ topics     4 topics of bindings and correlation") {
		t.Errorf("doctor:\n%s", out)
	}
	policy := "delete"
	if _, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, changelog); err != nil {
		t.Fatal(err)
	}
	if out := run(exitFindings, "doctor", "--server", "http://127.0.0.1:1"); !strings.Contains(out, "✗ topics     "+changelog+": cleanup.policy") {
		t.Errorf("doctor of a changed one:\n%s", out)
	}
	if _, err := adm.DeleteTopic(t.Context(), changelog); err != nil {
		t.Fatal(err)
	}
	if out := run(exitOK, "doctor", "--server", "http://127.0.0.1:1"); !strings.Contains(out, "! topics     "+changelog+" is not there: made at run time") {
		t.Errorf("doctor of a missing one:\n%s", out)
	}
}

// TestDoctor plants faults and wants each found, with its cure.
func TestDoctor(t *testing.T) {
	emptyHome(t)
	broker := emptyBroker(t)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	}))
	defer slow.Close()
	examined := func(want int, args ...string) string {
		t.Helper()
		code, out, talk := execute(t, append([]string{"doctor", "--namespace", "pay"}, args...)...)
		if code != want {
			t.Errorf("doctor %v: exit %d, want %d\n%s%s", args, code, want, out, talk)
		}
		return out
	}
	wants := func(out string, says ...string) {
		t.Helper()
		for _, s := range says {
			if !strings.Contains(out, s) {
				t.Errorf("nothing of %q in:\n%s", s, out)
			}
		}
	}
	wants(examined(exitFindings, "--brokers", broker, "--server", slow.URL), "✓ brokers    1 broker, Kafka", "✗ topics     missing, or not to be seen: pay.saga.", "amends topic apply --namespace pay", "away from this machine", "NTP")
	if code, _, talk := execute(t, "topic", "apply", "--brokers", broker, "--namespace", "pay"); code != exitOK {
		t.Fatal(talk)
	}
	wants(examined(exitOK, "--brokers", broker, "--server", "http://127.0.0.1:1"), "✓ topics     8 topics of namespace pay", "✓ rights", "! processes  no process runs this namespace", "! api", "keys")

	// A topic that was altered, and a producer that hashes keys as librdkafka does, an hour ahead.
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	policy := "delete"
	if _, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, "pay.saga.state"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		r := &kgo.Record{Topic: "pay.saga.intake", Key: []byte(key), Partition: int32(crcOf(key) % 12), Timestamp: time.Now().Add(time.Hour / 2)}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	out := examined(exitFindings, "--brokers", broker, "-o", "json")
	var found []diagnosis
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	wants(out, "kafka-configs.sh --alter --topic pay.saga.state --add-config cleanup.policy=", "hashed with CRC32", "partitioner=murmur2_random", "in the future")

	right := func(op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: protocol.App("pay"), Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: op, Allow: true}
	}
	// A person who may only write to the intake.
	strict := emptyBroker(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "root"), kfake.User("PLAIN", "clerk", "clerk",
		kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: protocol.App("pay"), Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: kmsg.ACLOperationDescribe, Allow: true}), kfake.User("PLAIN", "half", "half",
		right(kmsg.ACLOperationRead), right(kmsg.ACLOperationWrite), right(kmsg.ACLOperationDescribe)))
	login := func(user string) []string {
		return []string{"--brokers", strict, "--sasl-mechanism", "PLAIN", "--sasl-user", user, "--sasl-password", user}
	}
	if code, _, talk := execute(t, append([]string{"topic", "apply", "--namespace", "pay"}, login("root")...)...); code != exitOK {
		t.Fatal(talk)
	}
	payments := write(t, "payments.yaml", "saga: payments\nversion: 1\nid: =input.id\nparticipants: {psp: {}}\nstart: {topic: pay.requested}\nsteps:\n- {id: charge, call: psp.charge, kind: pivot}\n")
	if code, _, talk := execute(t, append([]string{"def", "apply", payments, "--namespace", "pay"}, login("root")...)...); code != exitOK {
		t.Fatal(talk)
	}
	wants(examined(exitOK, login("root")...), "✓ rights     read, write, describe and settings of every topic of the namespace, and what the definitions need on")
	wants(examined(exitFindings, login("half")...), "✗ rights     no WRITE on cmd.psp, which a definition needs", "--allow-principal User:half --operation WRITE --topic cmd.psp\n", "no READ on pay.requested", "no DESCRIBE_CONFIGS on pay.saga.intake")
	wants(examined(exitFindings, login("clerk")...), "PLAIN as clerk without TLS", "✗ rights     no WRITE on pay.saga.intake", "kafka-acls.sh --add --allow-principal User:clerk --operation WRITE --topic pay.saga. --resource-pattern-type prefixed")
	wants(examined(exitFindings, "--brokers", strict, "--sasl-mechanism", "PLAIN", "--sasl-user", "root", "--sasl-password", "wrong"), "✗ brokers", "--sasl-password-file")
	wants(examined(exitFindings, "--brokers", "127.0.0.1:1"), "✗ brokers", "is a broker listening")
}
