package blackbox

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestParticipant shows that the simulated participant keeps the rules of the
// protocol page: a test of the measure, without Kafka.
func TestParticipant(t *testing.T) {
	p := &participant{inbox: make(map[string]*row), effects: make(map[string]*entry), refuse: map[string]uint64{"capture": 100}}
	now := time.UnixMilli(1_000_000)
	send := func(op, cmd, key, fwd, value string) string {
		r := &kgo.Record{Key: []byte("w/1"), Value: []byte(value)}
		h := map[string]string{
			"saga-token": "t", "saga-wid": "w/1", "saga-op": op, "saga-cmd": cmd, "saga-key": key, "idempotency-key": key,
			"saga-attempt": "1", "saga-reply-to": "replies", "saga-reply-partition": "3", "saga-def": "w@1", "content-type": "application/json",
		}
		if fwd != "" {
			h["saga-fwd-key"] = fwd
		}
		if op != "undo" {
			h["saga-deadline"] = "1000001"
			if strings.HasPrefix(key, "late") {
				h["saga-deadline"] = "999999"
			}
		}
		for k, v := range h {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
		reply := p.handle(r, now)
		if reply.Topic != "replies" || reply.Partition != 3 {
			t.Errorf("the reply goes to %s[%d]", reply.Topic, reply.Partition)
		}
		var out []string
		for _, h := range reply.Headers[1:] {
			out = append(out, string(h.Value))
		}
		return strings.Join(out, " ")
	}
	for i, c := range []struct{ op, cmd, key, fwd, want string }{
		{"do", "reserve", "k1", "", "ok"},
		{"do", "reserve", "k1", "", "ok"},                               // rule 3
		{"inquire", "reserve", "q1", "k1", "executed"},                  // rule 9
		{"undo", "release", "u1", "k1", "ok"},                           // rule 4
		{"undo", "release", "u1", "k1", "ok"},                           // rule 3
		{"undo", "release", "u2", "k2", "ok true"},                      // rule 4: nothing ran
		{"do", "reserve", "k2", "", "rejected SUPPRESSED"},              // rule 5
		{"do", "reserve", "late1", "", "failed-retriable none EXPIRED"}, // rule 6
		{"inquire", "reserve", "q3", "k3", "not-executed"},              // rule 9
		{"do", "reserve", "k3", "", "rejected SUPPRESSED"},              // rule 9: stays true
		{"do", "capture", "k4", "", "rejected DECLINED"},
		{"do", "capture", "k4", "", "rejected DECLINED"}, // rule 3: refusals too
		{"undo", "refund", "u4", "k4", "ok true"},        // rule 4: refused
	} {
		if got := send(c.op, c.cmd, c.key, c.fwd, `{"amount":5}`); got != c.want {
			t.Errorf("%d: %s %s is answered %q, want %q", i, c.op, c.key, got, c.want)
		}
	}
	if e := p.effects["k1"]; e.done != 1 || e.undone != 1 || e.amount != 5 || len(p.effects) != 1 {
		t.Errorf("the ledger holds %d lines, %+v", len(p.effects), e)
	}
	if len(p.faults) != 0 {
		t.Errorf("faults: %v", p.faults)
	}
	if got := send("do", "reserve", "k1", "", `{"amount":6}`); got != "failed-fatal KEY_REUSED" || len(p.faults) != 1 { // rule 10
		t.Errorf("another payload is answered %q with faults %v", got, p.faults)
	}
}
