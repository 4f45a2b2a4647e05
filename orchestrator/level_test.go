package orchestrator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// firstRelease makes the namespace what the first release left: its topics, and a definition without a
// feature level.
func (r *rig) firstRelease(src string) {
	r.t.Helper()
	for _, p := range r.topics.Plan(r.cfg.Partitions, r.cfg.Partitions, 1) {
		settings := map[string]string{}
		for _, s := range p.Settings {
			settings[s.Key] = s.Value
		}
		r.c.CreateTopic(p.Name, p.Partitions, settings)
	}
	def, err := sagas.ParseDefinition("first.yaml", []byte(src))
	if err != nil {
		r.t.Fatal(err)
	}
	r.c.Produce(
		&kgo.Record{Topic: r.topics.Defs, Key: []byte(def.Ref()), Value: def.Canonical()},
		&kgo.Record{Topic: r.topics.Defs, Key: []byte(def.Saga + "@active"), Value: []byte("1")})
}

func (r *rig) levels() orchestrator.Levels {
	r.t.Helper()
	ctx, cancel := r.c.Context()
	defer cancel()
	l, err := orchestrator.DescribeLevel(ctx, r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func (r *rig) finalize(level uint32) error {
	r.t.Helper()
	ctx, cancel := r.c.Context()
	defer cancel()
	_, err := orchestrator.FinalizeLevel(ctx, r.cfg, level)
	return err
}

// control writes an operator action.
func (r *rig) control(wid, rest string) {
	r.t.Helper()
	typ, id := sagas.SplitWorkflowID(wid)
	r.c.Produce(&kgo.Record{Topic: r.topics.Control, Key: []byte(wid),
		Value: []byte(`{"kind":"admin","type":"` + typ + `","id":"` + id + `","operator":"ann","reason":"test",` + rest + `}`)})
}

// announced waits until the process has said what it supports.
func (r *rig) announced() {
	r.t.Helper()
	r.until("the process has announced itself", often, func() bool {
		l := r.levels()
		return len(l.Members) == 1 && l.Members[0].Level == orchestrator.NewestLevel
	})
}

func wantLevelError(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	var known *orchestrator.Error
	if !errors.As(err, &known) || known.Code != orchestrator.CodeLevel {
		t.Errorf("%s: got %v, want %s", what, err, orchestrator.CodeLevel)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: %q is not in: %v", what, s, err)
		}
	}
}

// TestNewNamespaceIsAtNewestLevel: whoever comes first, a publisher or a process, sets the level.
func TestNewNamespaceIsAtNewestLevel(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, _ := r.orderSaga()
		r.apply(src)
		if l := r.levels(); l.Level != orchestrator.NewestLevel || len(l.Members) != 0 {
			t.Errorf("after apply: %+v", l)
		}
	})
	everywhere(t, func(t *testing.T, r *rig) {
		r.start()
		r.ready()
		r.announced()
		l := r.levels()
		if l.Level != orchestrator.NewestLevel || l.Members[0].Version != orchestrator.Version || l.Members[0].Address != "127.0.0.1:8480" {
			t.Errorf("after the first process: %+v", l)
		}
	})
}

// TestCoordinatorIsAway: in a cluster that is new nobody coordinates groups for a while.
func TestCoordinatorIsAway(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		left := 5
		r.c.Kfake().ControlKey(int16(kmsg.FindCoordinator), func(req kmsg.Request) (kmsg.Response, error, bool) {
			r.c.Kfake().KeepControl()
			ask := req.(*kmsg.FindCoordinatorRequest)
			if ask.CoordinatorType != 0 || left < 0 { // 0: of groups
				return nil, nil, false
			}
			left--
			resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
			for _, key := range ask.CoordinatorKeys {
				c := kmsg.NewFindCoordinatorResponseCoordinator()
				c.Key, c.NodeID, c.ErrorCode = key, -1, kerr.CoordinatorNotAvailable.Code
				resp.Coordinators = append(resp.Coordinators, c)
			}
			return resp, nil, true
		})
		src, _ := r.orderSaga()
		r.apply(src)
		if l := r.levels(); l.Level != orchestrator.NewestLevel || left >= 0 {
			t.Errorf("level %+v, %d answers left", l, left)
		}
	})
}

// TestFirstReleaseIsKeptOut: in a namespace above its level, a process of the first release cannot join the
// group. It would set aside signals, and the starts of children, as records that it does not know.
func TestFirstReleaseIsKeptOut(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.start()
		r.ready()
		ctx, cancel := r.c.Context()
		defer cancel()
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.ProtocolType = protocol.Group(r.cfg.Namespace), "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = "cooperative-sticky", kgo.CooperativeStickyBalancer().JoinGroupMetadata([]string{r.topics.State}, nil, -1)
		req.Protocols = append(req.Protocols, p)
		resp, err := req.RequestWith(ctx, r.c.Client())
		if err != nil || !errors.Is(kerr.ErrorForCode(resp.ErrorCode), kerr.InconsistentGroupProtocol) {
			t.Errorf("the group answers %v, %v", resp, err)
		}
	})
}

// TestFirstReleaseIsAtLevelOne: in a namespace of the release before, nothing is written that its
// processes could not read, until the level is raised; and it is not raised while one of them lives.
func TestFirstReleaseIsAtLevelOne(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, topics := r.orderSaga()
		r.firstRelease(src)
		r.people.on("do", "authorise", func(protocol.Command, []byte, int) *answer { return silence() })
		r.people.serve(topics...)
		r.start()
		r.ready()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.until("authorise was sent", often, func() bool { return r.people.sent("do authorise", wid) > 0 })
		if l := r.levels(); l.Level != 1 {
			t.Fatalf("level: %+v", l)
		}
		r.intake(wid, map[string]any{"kind": "signal", "type": "order", "id": "1", "name": "n"})
		r.control(wid, `"action":"suspend"`)
		r.until("both are dead letters", often, func() bool { return len(r.deadLetters()) == 2 })
		for _, d := range r.deadLetters() {
			if d.why.Class != "FEATURE_LEVEL" || d.why.WorkflowID != wid || !strings.Contains(d.why.Message, "amends level finalize") {
				t.Errorf("dead letter: %+v", d.why)
			}
		}
		// What the first release could do is there, and leaves a record that it can read.
		shut := r.begin("order", "shut", map[string]any{"amount": 1})
		r.until("authorise was sent", often, func() bool { return r.people.sent("do authorise", shut) > 0 })
		r.control(shut, `"action":"close","requestId":"q-1"`)
		r.ends(shut, "closed", often)
		for _, rec := range r.c.ReadAll(r.topics.State) {
			if string(rec.Key) == shut && len(rec.Value) > 0 && rec.Value[0] != 1 {
				t.Errorf("%s was stored in format %d", shut, rec.Value[0])
			}
		}
		two := strings.Replace(src, "version: 1", "version: 2\nrequires: 2", 1)
		_, err := r.tryApply(two)
		wantLevelError(t, "apply", err, "order@2 needs level 2", "amends level finalize 2")

		// A process of the first release takes part in the group and says nothing of itself.
		old := r.c.Client(kgo.ClientID("amends/10.0.0.9:8480"), kgo.ConsumerGroup(protocol.Group(r.cfg.Namespace)),
			kgo.ConsumeTopics(r.topics.State), kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(),
			kgo.SessionTimeout(45*time.Second), kgo.RebalanceTimeout(45*time.Second))
		polling, stopPolling := context.WithCancel(context.Background())
		polled := make(chan struct{})
		go func() {
			defer close(polled)
			for polling.Err() == nil {
				old.PollFetches(polling)
			}
		}()
		r.until("it is a member", often, func() bool { return len(r.levels().Members) == 2 })
		wantLevelError(t, "finalize with an old process", r.finalize(2), "10.0.0.9:8480 supports 1")
		stopPolling()
		<-polled
		old.Close()
		r.until("it has left", often, func() bool { return len(r.levels().Members) == 1 })

		r.announced()
		if err := r.finalize(2); err != nil {
			t.Fatal(err)
		}
		if err := r.finalize(2); err != nil {
			t.Errorf("again: %v", err)
		}
		wantLevelError(t, "lower", r.finalize(1), "never lowered")
		if _, err := r.tryApply(two); err != nil {
			t.Errorf("apply after finalize: %v", err)
		}
		r.until("the process takes actions of level 2", often, func() bool {
			r.control(wid, `"action":"suspend"`)
			return slices.Contains(r.facts(wid), "operator")
		})
		if err := r.finalize(orchestrator.NewestLevel + 1); !errors.Is(err, orchestrator.ErrInvalid) {
			t.Errorf("above the newest: %v", err)
		}
	})
}

// TestNamespaceAboveProcess: a process does not join a namespace whose level it does not support.
func TestNamespaceAboveProcess(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		src, _ := r.orderSaga()
		r.firstRelease(src)
		r.c.Produce(&kgo.Record{Topic: r.topics.Defs, Key: []byte("!level"), Value: []byte("4")})
		r.start()
		err := <-r.done
		r.done <- nil
		wantLevelError(t, "run", err, "feature level 4", "Upgrade this process")
		if !errors.Is(err, orchestrator.ErrConfig) {
			t.Errorf("a restart would not help: %v", err)
		}
	})
}

// TestRecordAboveProcess: a process that meets a record of a newer format stops the task, says that it
// has to be upgraded, and harms nothing: no other task stops, nothing is written, nothing is set aside.
func TestRecordAboveProcess(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		r.running()
		wid := r.begin("order", "1", map[string]any{"amount": 1})
		r.ends(wid, "completed", often)
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		partition := protocol.Partition([]byte(wid), 4)
		var newest []byte
		for _, rec := range r.c.ReadAll(r.topics.State) {
			if string(rec.Key) == wid {
				newest = rec.Value
			}
		}
		newer := append([]byte{99}, newest[1:]...)
		r.c.ProduceTo(partition, &kgo.Record{Topic: r.topics.State, Key: []byte(wid), Value: newer})
		end := len(r.c.ReadAll(r.topics.State))

		r.start()
		r.begin("order", "1", map[string]any{"amount": 1})
		var reason string
		r.until("the task halts", often, func() bool {
			for _, info := range r.o.Tasks() {
				if info.State == topology.TaskHalted {
					reason = info.Reason
					return info.Task == partition
				}
			}
			return false
		})
		if !strings.Contains(reason, "newer format") || !strings.Contains(reason, "upgrade") {
			t.Errorf("reason: %s", reason)
		}
		// Another task goes on.
		for i := range 50 {
			id := "other-" + string(rune('a'+i%26)) + string(rune('a'+i/26))
			if protocol.Partition([]byte("order/"+id), 4) != partition {
				r.begin("order", id, map[string]any{"amount": 1})
				r.ends("order/"+id, "completed", often)
				break
			}
		}
		for _, rec := range r.c.ReadAll(r.topics.State)[end:] {
			if string(rec.Key) == wid {
				t.Errorf("the record was overwritten with %x", rec.Value)
			}
		}
		if d := r.deadLetters(); len(d) > 0 {
			t.Errorf("dead letter: %+v", d[0].why)
		}
	})
}
