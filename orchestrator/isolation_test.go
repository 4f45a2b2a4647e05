package orchestrator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestParticipantRefuses: a participant whose topic takes nothing holds back its own commands only.
// Attempts have no clock meanwhile; over a restart from the changelog alone each command is sent once
// when the topic is back, and every saga ends as if nothing had been.
func TestParticipantRefuses(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.cfg.Partitions, r.cfg.Tasks = 4, 2
		src, topics := r.orderSaga()
		r.apply(src)
		r.people.serve(topics...)
		r.start()
		r.ready()
		done := r.begin("order", "before", map[string]any{"amount": 1})
		r.ends(done, "completed", often)

		fault := r.c.Kfake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topics[1], Err: kerr.NotEnoughReplicas, Count: -1})
		var held []string
		for i := range 12 {
			held = append(held, r.begin("order", fmt.Sprint(i), map[string]any{"amount": i}))
		}
		waits := func() bool {
			n := 0
			for _, wid := range held {
				if v, ok := r.get(wid); ok && len(v.Waiting) == 1 && v.Waiting[0].Path == "auth" && v.Steps[0].State == "DONE" && v.Steps[1].State == "READY" {
					n++
				}
			}
			return n == len(held)
		}
		r.until("every order waits for psp", often, waits)
		time.Sleep(20 * time.Minute) // attempts have 5 s, steps a minute, the sagas an hour
		if !waits() {
			t.Fatal("time passed for what was never sent")
		}
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		r.disk = kafkatest.NewDisk()
		r.start()
		r.ready()
		r.until("every order waits again", often, waits)
		fault.Remove()
		for _, wid := range held {
			r.ends(wid, "completed", often)
			r.once(wid, false)
			if n := r.people.sent("do authorise", wid); n != 1 {
				t.Errorf("%s: authorise was sent %d times", wid, n)
			}
		}
		if len(r.deadLetters()) > 0 {
			t.Errorf("dead letter: %+v", r.deadLetters()[0].why)
		}
	})
}
