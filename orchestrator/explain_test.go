package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// planted is one reason why an instance does not move, and what has to be said about it.
type planted struct {
	name string
	// plant brings an instance into that state. cure repairs what is wrong, after which the instance has to
	// go on by itself; nil = the command of the first action does it, or the case ends there.
	plant func(*rig) (wid string, cure func())
	cause explain.Cause
	by    explain.Holder
	path  string
	says  []string // parts of the sentence; $ is the namespace
	verb  string   // of the first action that is an action on the instance, "" = not looked at
	first string   // part of the first action, its words and its command
	real  bool     // also on a real Kafka
	ends  string   // phase after the cure; "" = not looked at
}

// member reads commands as a participant's group does. It commits what it is told to.
type member struct {
	r  *rig
	cl *kgo.Client
}

func (r *rig) member(group, topic string) *member {
	r.t.Helper()
	cl, err := kgo.NewClient(r.c.GroupOpts(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableClientMetrics())...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	return &member{r, cl}
}

// reads polls n commands and commits the position after them.
func (m *member) reads(n int) {
	m.r.t.Helper()
	ctx, cancel := m.r.c.Context()
	defer cancel()
	for n > 0 {
		fetches := m.cl.PollRecords(ctx, n)
		if err := ctx.Err(); err != nil {
			m.r.t.Fatal(err)
		}
		n -= fetches.NumRecords()
	}
	if err := m.cl.CommitUncommittedOffsets(ctx); err != nil {
		m.r.t.Fatal(err)
	}
}

// leaves ends the membership.
func (m *member) leaves() { m.cl.Close() }

func (r *rig) act(wid string, action protocol.Action, path string) {
	r.t.Helper()
	typ, id, _ := strings.Cut(wid, "/")
	if _, err := r.o.Act(context.Background(), &protocol.Admin{Type: typ, ID: id, Action: action, Path: path, Operator: "test", Reason: "test", RequestID: string(action) + path}); err != nil {
		r.t.Fatal(err)
	}
}

// ordered is a namespace with the order saga, whose psp nobody serves: topics are stock, psp, ship.
func (r *rig) ordered() (topics []string) {
	r.t.Helper()
	src, topics := r.orderSaga()
	r.apply(src)
	r.people.serve(topics[0], topics[2])
	r.start()
	r.ready()
	return topics
}

// authorised starts an order and waits until its command to psp was sent, long ago.
func (r *rig) authorised(id string) string {
	r.t.Helper()
	wid := r.begin("order", id, map[string]any{"amount": 1})
	r.step(wid, "auth", "PENDING")
	r.until("the command was sent long ago", often, func() bool {
		v, _ := r.get(wid)
		return len(v.Steps) > 1 && time.Since(time.UnixMilli(int64(v.Steps[1].FirstSent))) > 6*time.Second
	})
	return wid
}

// heldSaga takes a hold that lapses after a minute, asks people, and then captures.
func (r *rig) heldSaga() (wid string) {
	r.t.Helper()
	stock := r.c.Name("stock")
	r.apply(fmt.Sprintf(`
saga: held
version: 1
participants: {stock: {ops: [do, undo], topic: cmd.%s}}
steps:
- {id: hold, call: stock.hold, keep: [until], lease: '=step.hold.until', undo: {call: stock.release}}
- {id: sign, approve: {roles: [treasury], quorum: 2, within: 30d}}
- {id: capture, call: stock.capture, kind: pivot, attempt: 5s}
`, stock))
	until := time.Now().Add(time.Minute)
	r.people.on("do", "hold", func(protocol.Command, []byte, int) *answer {
		return ok(`{"until":"` + until.UTC().Format(time.RFC3339) + `"}`)
	})
	r.people.serve("cmd." + stock)
	r.start()
	r.ready()
	wid = r.begin("held", "1", map[string]any{})
	r.step(wid, "sign", "OPEN")
	return wid
}

func (r *rig) breaks(topic string, err *kerr.Error) (repair func()) {
	fault := r.c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: err, Count: -1})
	return fault.Remove
}

func (r *rig) waitsFor(wid string) {
	r.t.Helper()
	r.until(wid+" waits", often, func() bool {
		v, found := r.get(wid)
		return found && len(v.Waiting) == 1
	})
}

var plantedReasons = []planted{
	{
		name: "participant down: nobody ever read its topic", real: true,
		plant: func(r *rig) (string, func()) { r.ordered(); return r.authorised("1"), nil },
		cause: explain.CauseParticipantDown, path: "auth",
		says: []string{"psp has not answered authorise of step auth", "its command is at cmd.$-psp[", "]@", "no consumer group", "deadline"}, first: "start psp",
	},
	{
		name: "participant down: it went away with the command", real: true,
		plant: func(r *rig) (string, func()) {
			topics := r.ordered()
			psp := r.member(r.c.Name("psp"), topics[1])
			wid := r.authorised("1")
			psp.reads(1)
			psp.leaves()
			return wid, nil
		},
		cause: explain.CauseParticipantDown, path: "auth",
		says: []string{"has read", "; it went away with it and has no members now"}, first: "start psp",
	},
	{
		name: "group without members", real: true,
		plant: func(r *rig) (string, func()) {
			r.cfg.Partitions = 1
			topics := r.ordered()
			r.authorised("before")
			psp := r.member(r.c.Name("psp"), topics[1])
			psp.reads(1)
			psp.leaves()
			return r.authorised("1"), nil
		},
		cause: explain.CauseNoMembers, path: "auth",
		says: []string{"at cmd.$-psp[0]@", "group $-psp has read to 1 (lag ", "and has no members"}, first: "start psp",
	},
	{
		name: "lag", real: true,
		plant: func(r *rig) (string, func()) {
			r.cfg.Partitions = 1
			topics := r.ordered()
			psp := r.member(r.c.Name("psp"), topics[1])
			r.authorised("before")
			psp.reads(1)
			return r.authorised("1"), nil
		},
		cause: explain.CauseLag, path: "auth",
		says: []string{"at cmd.$-psp[0]@", "group $-psp (1 member) has read to 1 (lag "}, first: "more members",
	},
	{
		name: "participant silent", real: true,
		plant: func(r *rig) (string, func()) {
			topics := r.ordered()
			psp := r.member(r.c.Name("psp"), topics[1])
			wid := r.authorised("1")
			psp.reads(1)
			return wid, nil
		},
		cause: explain.CauseParticipantSilent, path: "auth",
		says: []string{"group $-psp (1 member) has read"}, first: "look at the log of psp",
	},
	{
		name: "breaker open",
		plant: func(r *rig) (string, func()) {
			topics := r.ordered()
			cure := r.breaks(topics[1], kerr.NotEnoughReplicas)
			wid := r.begin("order", "1", map[string]any{"amount": 1})
			r.waitsFor(wid)
			return wid, cure
		},
		cause: explain.CauseBreakerOpen, by: explain.HeldByBreaker, path: "auth",
		says: []string{"Topic cmd.$-psp takes nothing (", "held by the breaker"}, first: "see to the brokers", verb: "compensate",
	},
	{
		name: "no such topic", real: true,
		plant: func(r *rig) (string, func()) {
			topics := r.ordered()
			if _, err := r.c.Admin().DeleteTopics(r.t.Context(), topics[1]); err != nil {
				r.t.Fatal(err)
			}
			wid := r.begin("order", "1", map[string]any{"amount": 1})
			r.waitsFor(wid)
			return wid, nil
		},
		cause: explain.CauseNoTopic, by: explain.HeldByBreaker, path: "auth",
		says: []string{"Topic cmd.$-psp does not exist"}, first: "kafka-topics.sh --bootstrap-server BROKER --create --topic cmd.$-psp",
	},
	{
		name: "ACL missing",
		plant: func(r *rig) (string, func()) {
			topics := r.ordered()
			cure := r.breaks(topics[1], kerr.TopicAuthorizationFailed)
			wid := r.begin("order", "1", map[string]any{"amount": 1})
			r.waitsFor(wid)
			return wid, cure
		},
		cause: explain.CauseACLMissing, by: explain.HeldByBreaker, path: "auth",
		says: []string{"Kafka does not let this process write to cmd.$-psp"}, first: "--operation Write --operation Describe --topic cmd.$-psp",
	},
	{
		name: "ACL missing: the broker's own", real: true,
		plant: func(r *rig) (string, func()) {
			if !r.c.IsReal() {
				return "", nil // the case before is this one
			}
			topics := r.ordered()
			acl := func() *kadm.ACLBuilder {
				return kadm.NewACLs().Topics(topics[1]).Allow("User:ANONYMOUS").AllowHosts("*").Operations(kadm.OpDescribe)
			}
			made, err := r.c.Admin().CreateACLs(r.t.Context(), acl())
			if err != nil || made[0].Err != nil {
				r.t.Fatalf("this broker takes no ACLs, start it with deploy/kafka/kafka.sh: %v, %+v", err, made)
			}
			cure := func() { // a topic without any ACL is everybody's
				if _, err := r.c.Admin().DeleteACLs(context.Background(), acl().ResourcePatternType(kadm.ACLPatternLiteral)); err != nil {
					r.t.Error(err)
				}
			}
			r.t.Cleanup(cure)
			time.Sleep(time.Second) // the broker takes it over in its own time, and nothing tells when
			wid := r.begin("order", "1", map[string]any{"amount": 1})
			r.waitsFor(wid)
			return wid, cure
		},
		cause: explain.CauseACLMissing, by: explain.HeldByBreaker, path: "auth",
		says: []string{"Kafka does not let this process write to cmd.$-psp (TOPIC_AUTHORIZATION_FAILED"}, first: "--operation Write",
	},
	{
		name:  "approval pending",
		plant: func(r *rig) (string, func()) { return r.heldSaga(), nil },
		cause: explain.CauseApproval, by: explain.HeldByPerson, path: "sign",
		says: []string{"sign waits for a person of treasury to decide: 0 of 2 approvals", "it times out in 29d"}, first: "amends approve held/1 sign",
	},
	{
		name: "lease passed",
		plant: func(r *rig) (string, func()) {
			wid := r.heldSaga()
			time.Sleep(2 * time.Minute)
			return wid, nil
		},
		cause: explain.CauseLeasePassed, by: explain.HeldByLease, path: "hold",
		says: []string{"The hold of hold lapsed 1m", "capture will not be sent", "only turn round"}, first: "amends compensate held/1 --reason", verb: "compensate", ends: "compensated",
	},
	{
		name: "undo failing: it is tried on",
		plant: func(r *rig) (string, func()) {
			topics := r.ordered()
			r.people.on("undo", "release", func(protocol.Command, []byte, int) *answer { return retry("LOCKED") })
			cure := r.breaks(topics[1], kerr.NotEnoughReplicas)
			wid := r.begin("order", "1", map[string]any{"amount": 1})
			r.waitsFor(wid)
			cure()
			r.act(wid, protocol.ActionCompensate, "")
			r.step(wid, "reserve", "U_BACKOFF")
			return wid, func() {
				r.people.on("undo", "release", func(protocol.Command, []byte, int) *answer { return ok("{}") })
			}
		},
		cause: explain.CauseUndoFailing, by: explain.HeldByPause, path: "reserve",
		says: []string{"The effect of reserve has to be undone, and stock answers LOCKED to release", "the next attempt is in"}, first: "find out from stock", verb: "retry", ends: "compensated",
	},
	{
		name: "undo failing: nothing more is tried",
		plant: func(r *rig) (string, func()) {
			topics := r.ordered()
			r.people.on("undo", "release", func(protocol.Command, []byte, int) *answer { return no("NEVER") })
			cure := r.breaks(topics[1], kerr.NotEnoughReplicas)
			wid := r.begin("order", "1", map[string]any{"amount": 1})
			r.waitsFor(wid)
			cure()
			r.act(wid, protocol.ActionCompensate, "")
			r.step(wid, "reserve", "U_STOPPED")
			return wid, func() { r.act(wid, protocol.ActionWaive, "reserve") }
		},
		cause: explain.CauseUndoFailing, by: explain.HeldByPerson, path: "reserve",
		says: []string{"reserve needs a person (UNDO_FAILED", "cannot undo it: NEVER"}, first: "amends retry order/1 --path reserve --reason", verb: "retry", ends: "closed",
	},
	{
		name: "unknown version", real: true,
		plant: func(r *rig) (string, func()) {
			r.ordered()
			r.intake("order/1", map[string]any{"type": "order", "id": "1", "version": 9, "input": map[string]any{"amount": 1}})
			r.until("it is parked", often, func() bool { v, _ := r.get("order/1"); return v.Phase == "parked" })
			return "order/1", nil
		},
		cause: explain.CauseUnknownVersion, by: explain.HeldByDefinition,
		says: []string{"Version order@9 is not published", "it is set aside in"}, first: "amends apply FILE",
	},
	{
		name: "suspended", real: true,
		plant: func(r *rig) (string, func()) {
			r.ordered()
			wid := r.authorised("1")
			r.act(wid, protocol.ActionSuspend, "")
			r.until("it is suspended", often, func() bool { v, _ := r.get(wid); return v.Suspended })
			return wid, nil
		},
		cause: explain.CauseSuspended, by: explain.HeldByPause,
		says: []string{"An operator suspended it"}, first: "amends resume order/1 --reason", verb: "resume",
	},
	{
		name: "poison: answers that cannot be read", real: true,
		plant: func(r *rig) (string, func()) {
			src, topics := r.orderSaga()
			r.apply(src)
			r.people.on("do", "authorise", func(_ protocol.Command, _ []byte, n int) *answer {
				if n == 1 {
					return &answer{outcome: protocol.OutcomeFailedRetriable, value: []byte("not JSON")}
				}
				return ok("{}")
			})
			r.people.serve(topics...)
			r.start()
			r.ready()
			wid := r.begin("order", "1", map[string]any{"amount": 1})
			r.step(wid, "auth", "BACKOFF")
			return wid, func() {}
		},
		cause: explain.CausePoison, by: explain.HeldByPause, path: "auth",
		says: []string{"psp answers authorise of step auth with records that cannot be read", "dead letters"}, first: "correct the answers of psp", verb: "retry", ends: "completed",
	},
	{
		name: "poison: a start that cannot be read", real: true,
		plant: func(r *rig) (string, func()) {
			r.ordered()
			r.c.Produce(&kgo.Record{Topic: r.topics.Intake, Key: []byte("order/1"), Value: []byte("{")})
			r.until("it is a dead letter", often, func() bool { return len(r.deadLetters()) == 1 })
			return "order/1", nil
		},
		cause: explain.CausePoison, by: explain.HeldByPerson,
		says: []string{"There is no instance order/1: its record $.saga.intake[", "was set aside as MALFORMED", "is at $.saga.dlq["}, first: "correct what the dead letter names",
	},
}

// TestExplain plants each reason of being stuck and asks.
func TestExplain(t *testing.T) {
	for _, c := range plantedReasons {
		t.Run(c.name, func(t *testing.T) {
			t.Run("bubble", func(t *testing.T) {
				kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) { c.run(newRig(t, k)) })
			})
			if c.real {
				t.Run("real", func(t *testing.T) { c.run(newRig(t, kafkatest.Real(t))) })
			}
		})
	}
}

func (c planted) run(r *rig) {
	t := r.t
	wid, cure := c.plant(r)
	if wid == "" {
		return
	}
	e, err := r.o.Explain(context.Background(), wid)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%+v\n%+v", e.Sentence, e, e.Actions)
	if e.Cause != c.cause || e.Path != c.path || c.by != "" && e.HeldBy != c.by {
		t.Errorf("it is %s by %q at %q, want %s by %q at %q", e.Cause, e.HeldBy, e.Path, c.cause, c.by, c.path)
	}
	for _, part := range c.says {
		if part = strings.ReplaceAll(part, "$", r.c.Namespace()); !strings.Contains(e.Sentence, part) {
			t.Errorf("the sentence lacks %q: %s", part, e.Sentence)
		}
	}
	if len(e.Unknown) > 0 {
		t.Errorf("not known: %q", e.Unknown)
	}
	if len(e.Actions) == 0 {
		t.Fatal("no action is named")
	}
	first := e.Actions[0]
	if want := strings.ReplaceAll(c.first, "$", r.c.Namespace()); !strings.Contains(first.Do+" "+first.Command, want) {
		t.Errorf("the first action is %+v, want %q in it", first, want)
	}
	at := slices.IndexFunc(e.Actions, func(a explain.Action) bool { return a.Verb != "" })
	if c.verb != "" && (at < 0 || e.Actions[at].Verb != c.verb || !strings.HasPrefix(e.Actions[at].Command, "amends "+c.verb+" "+wid)) {
		t.Errorf("the actions are %+v, want %s first", e.Actions, c.verb)
	}
	if c.ends == "" {
		return
	}
	if cure == nil {
		cure = func() { r.act(wid, protocol.Action(e.Actions[at].Verb), e.Actions[at].Path) }
	}
	cure()
	r.ends(wid, c.ends, often)
	if e, err = r.o.Explain(context.Background(), wid); err != nil || e.Cause != explain.CauseEnded {
		t.Errorf("after the end: %+v, %v", e, err)
	}
}

// TestExplainNobody: a workflow ID that nobody knows is an error, not an explanation.
func TestExplainNobody(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.ordered()
		if _, err := r.o.Explain(context.Background(), "order/none"); !errors.Is(err, orchestrator.ErrNotFound) {
			t.Errorf("answered with %v", err)
		}
	})
}
