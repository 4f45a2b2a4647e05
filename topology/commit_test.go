package topology

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// script is a commitEnv that logs its calls and fails where it is told to.
type script struct {
	name   string
	log    *[]string
	fail   map[string]error // by call; "produce <topic>" for a promise
	offset int64
	sent   []func()
}

func (s *script) env() commitEnv {
	return commitEnv{
		begin: func() error { return s.say("begin") },
		produce: func(_ context.Context, rec *kgo.Record, done func(*kgo.Record, error)) {
			call := "produce " + rec.Topic
			err := s.say(call)
			rec.Offset = s.offset
			s.offset++
			s.sent = append(s.sent, func() { done(rec, err) })
			if errors.Is(err, errAtOnce) {
				s.answer()
			}
		},
		flush: func(context.Context) error {
			s.answer()
			return s.say("flush")
		},
		end: func(context.Context) error { return s.say("end") },
	}
}

// errAtOnce fails a record before it is buffered.
var errAtOnce = errors.New("at once")

func (s *script) answer() {
	for _, done := range s.sent {
		done()
	}
	s.sent = nil
}

func (s *script) say(call string) error {
	*s.log = append(*s.log, s.name+" "+call)
	return s.fail[call]
}

func testCommitter(fail map[string]error, failpoint func(string) error) (*committer, *[]string) {
	log := new([]string)
	a := &script{name: "a", log: log, fail: fail, offset: 100}
	b := &script{name: "b", log: log, fail: fail, offset: 200}
	if failpoint == nil {
		failpoint = func(name string) error {
			*log = append(*log, "("+name+")")
			return nil
		}
	}
	return &committer{envs: [2]commitEnv{a.env(), b.env()}, topic: "state", app: "state", failpoint: failpoint, timeout: time.Second}, log
}

func rec(topic string) *kgo.Record { return &kgo.Record{Topic: topic} }

// TestCommitOrder holds the order of a commit, and that the ids take turns.
func TestCommitOrder(t *testing.T) {
	p, log := testCommitter(nil, nil)
	next, err := p.commit(t.Context(), []*kgo.Record{rec("state"), rec("state")}, []*kgo.Record{rec("out")})
	if err != nil || next != 103 {
		t.Fatalf("next %d, %v", next, err)
	}
	next, err = p.commit(t.Context(), []*kgo.Record{rec("state")}, nil)
	if err != nil || next != 201 {
		t.Fatalf("next %d, %v", next, err)
	}
	const want = "(begin)|a begin|(produce)|a produce out|a produce state|a produce state|(flush)|a flush|(end)|a end|(ended)|" +
		"(begin)|b begin|(produce)|b produce state|(flush)|b flush|(end)|b end|(ended)"
	if got := strings.Join(*log, "|"); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

// TestCommitStopsAtFirstError: after any failure nothing more is asked of the
// client, above all not to end the transaction, and the class is right.
func TestCommitStopsAtFirstError(t *testing.T) {
	for _, tc := range []struct {
		call  string
		err   error
		class class
		last  string
	}{
		{"begin", kerr.ProducerFenced, classFenced, "a begin"},
		{"begin", errors.New("client"), classRetry, "a begin"},
		{"produce out", errAtOnce, classRetry, "a produce out"},
		{"produce out", kerr.InvalidProducerEpoch, classFenced, "a flush"},
		{"produce out", kerr.InvalidProducerIDMapping, classRetry, "a flush"},
		{"produce out", kerr.MessageTooLarge, classRecord, "a flush"},
		{"produce out", kerr.UnknownTopicOrPartition, classRecord, "a flush"},
		{"produce state", kerr.UnknownTopicOrPartition, classRetry, "a flush"},
		{"produce state", kerr.MessageTooLarge, classRecord, "a flush"},
		{"produce state", kerr.TopicAuthorizationFailed, classRetry, "a flush"},
		{"produce out", kerr.TopicAuthorizationFailed, classRecord, "a flush"}, // a topic of others
		{"flush", context.DeadlineExceeded, classRetry, "a flush"},
		{"end", kerr.ProducerFenced, classFenced, "a end"},
		{"end", errors.New("connection lost"), classRetry, "a end"},
	} {
		t.Run(fmt.Sprint(tc.call, " ", tc.err), func(t *testing.T) {
			p, log := testCommitter(map[string]error{tc.call: tc.err}, func(string) error { return nil })
			_, err := p.commit(t.Context(), []*kgo.Record{rec("state")}, []*kgo.Record{rec("out")})
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if got := classify(err); got != tc.class {
				t.Errorf("class %v, want %v", got, tc.class)
			}
			if got := (*log)[len(*log)-1]; got != tc.last {
				t.Errorf("last call %q, want %q", got, tc.last)
			}
		})
	}
}

// TestCommitFailpoints: a failpoint stops the commit exactly where it stands.
func TestCommitFailpoints(t *testing.T) {
	for point, calls := range map[string]int{FailBegin: 0, FailProduce: 1, FailFlush: 2, FailEnd: 3, FailEnded: 4} {
		crash := errors.New("crash")
		p, log := testCommitter(nil, func(name string) error {
			if name == point {
				return crash
			}
			return nil
		})
		if _, err := p.commit(t.Context(), []*kgo.Record{rec("state")}, nil); !errors.Is(err, crash) {
			t.Fatalf("%s: %v", point, err)
		}
		if len(*log) != calls {
			t.Errorf("%s: calls %v, want %d", point, *log, calls)
		}
	}
}

// TestCommitLanes: what a topic of others answers is held against that topic, if the processor asks.
func TestCommitLanes(t *testing.T) {
	for _, tc := range []struct {
		call  string
		err   error
		class class
	}{
		{"produce out", kerr.UnknownTopicOrPartition, classLane},
		{"produce out", kerr.TopicAuthorizationFailed, classLane},
		{"produce out", kerr.NotEnoughReplicas, classLane},
		{"produce out", kgo.ErrRecordTimeout, classLane},
		{"produce out", kerr.MessageTooLarge, classRecord},
		{"produce out", kerr.InvalidProducerEpoch, classFenced},
		{"produce state", kerr.NotEnoughReplicas, classRetry},
		{"produce state", kerr.TopicAuthorizationFailed, classRetry},
	} {
		p, _ := testCommitter(map[string]error{tc.call: tc.err}, func(string) error { return nil })
		p.lanes, p.patience = true, time.Second
		_, err := p.commit(t.Context(), []*kgo.Record{rec("state")}, []*kgo.Record{rec("out"), rec("out")})
		if got := classify(err); got != tc.class {
			t.Errorf("%s %v: class %v, want %v", tc.call, tc.err, got, tc.class)
		}
		if lane := (*laneError)(nil); errors.As(err, &lane) && (len(lane.faults) != 1 || lane.faults[0].topic != "out" || len(lane.faults[0].sample) == 0) {
			t.Errorf("%s %v: blames %+v", tc.call, tc.err, lane.faults)
		}
	}
}
