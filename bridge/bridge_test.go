package bridge_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// story is what a participant meets first.
func (s *shop) story() (recs []*kgo.Record, want string) {
	recs = []*kgo.Record{
		s.record(s.do("order/1", "do1"), `{"amount":5}`),
		s.record(s.do("order/2", "no"), `{"fail":true}`),
		s.record(s.undo("order/3", "undo9", "do9"), `{}`),
		s.record(s.do("order/3", "do9"), `{}`),
		s.record(s.ask("order/4", "ask8", "do8"), `{}`),
		s.record(s.do("order/4", "do8"), `{}`),
		s.record(s.command(protocol.OpDo, "teleport", "order/5", "unknown", ""), `{}`),
	}
	return recs, `ask8 not-executed
do1 ok {"id":"ch-do1"}
do8 rejected SUPPRESSED replayed
do9 rejected SUPPRESSED replayed
no rejected NO_FUNDS
undo9 ok noop
unknown failed-fatal effect=none UNKNOWN_COMMAND`
}

func TestStory(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		recs, want := s.story()
		k.Produce(recs...)
		s.until(len(recs), nil)
		s.want(want)
		if n := s.psp.did("POST /v1/charges do1"); n != 1 || len(s.psp.effects) != 1 {
			t.Errorf("charged %d times, effects %v", n, s.psp.effects)
		}
		h := s.psp.headers[0]
		if h.Get("Traceparent") == "" || h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
	})
}

// What was answered is answered again, and what was done is undone once.
func TestDuplicatesAndUndo(t *testing.T) {
	both(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		k.Produce(s.record(s.do("order/1", "do1"), `{}`), s.record(s.do("order/2", "no"), `{"fail":true}`))
		s.until(2, nil)
		k.Produce(
			s.record(s.do("order/1", "do1"), `{}`),
			s.record(s.do("order/1", "do1"), `{"other":1}`),
			s.record(s.do("order/2", "no"), `{"fail":true}`),
			s.record(s.undo("order/2", "undo-no", "no"), `{}`),
			s.record(s.ask("order/1", "ask1", "do1"), `{}`),
		)
		s.until(7, nil)
		k.Produce(s.record(s.undo("order/1", "undo1", "do1"), `{}`))
		s.until(8, nil)
		k.Produce(
			s.record(s.undo("order/1", "undo1", "do1"), `{}`),
			s.record(s.undo("order/1", "undo1b", "do1"), `{}`),
			s.record(s.ask("order/1", "ask2", "do1"), `{}`),
			s.record(s.do("order/1", "do1"), `{}`),
		)
		s.until(12, nil)
		s.want(`ask1 executed {"id":"ch-do1"}
ask2 not-executed UNDONE
do1 failed-fatal KEY_REUSED
do1 ok {"id":"ch-do1"}
do1 ok {"id":"ch-do1"} replayed
do1 ok {"id":"ch-do1"} replayed
no rejected NO_FUNDS
no rejected NO_FUNDS replayed
undo-no ok noop
undo1 ok
undo1 ok replayed
undo1b ok`)
		if n := s.psp.did("POST /v1/charges do1"); n != 1 {
			t.Errorf("charged %d times", n)
		}
		if n := s.psp.did("DELETE /v1/charges/ch-do1 undo1"); n != 1 || s.psp.did("DELETE") != 1 || len(s.psp.effects) != 0 {
			t.Errorf("%d undos, effects %v", n, s.psp.effects)
		}
	})
}

// One process dies at each point of its cycle; the next one has another disk or the same one. Every
// command has one committed answer, the same as without a crash, and each key took effect once.
func TestCrashAnywhere(t *testing.T) {
	for i, point := range topology.Failpoints {
		if point == topology.FailLoad {
			continue // a bridge's cycle has no such point
		}
		for nth := 1; nth <= 3; nth++ {
			t.Run(point, func(t *testing.T) {
				kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
					s := newShop(t, k)
					recs, want := s.story()
					k.Produce(recs...)
					hits := 0
					crashed := s.until(len(recs), func(name string, _ int32) error {
						s.psp.mu.Lock()
						defer s.psp.mu.Unlock()
						if name != point {
							return nil
						}
						if hits++; hits == nth {
							return topology.ErrCrash
						}
						return nil
					})
					if !crashed && nth == 1 {
						t.Error("the bridge did not crash")
					}
					if i%2 == 0 {
						s.disk = kafkatest.NewDisk()
					}
					s.until(len(recs), nil)
					s.want(want)
					if n := s.psp.did("POST /v1/charges do1"); n < 1 || n > 2 || len(s.psp.effects) != 1 {
						t.Errorf("called %d times, effects %v", n, s.psp.effects)
					}
				})
			})
		}
	}
}
