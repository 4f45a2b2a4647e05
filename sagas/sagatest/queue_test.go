package sagatest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
)

// queued is a command in a participant's queue.
type queued struct {
	at    sagas.Time
	world int
	c     sagas.Command
}

// TestQueueLongerThanAnAttempt lets 1 000 instances begin at once before a participant that reads 20 commands a
// second, expired ones as slowly as others: the queue takes 50 s and an attempt 10. Each silence adds a command for
// each instance, faster than the participant reads. All of them end, because the attempts get more room.
func TestQueueLongerThanAnAttempt(t *testing.T) {
	const instances, each = 1_000, 50 // ms
	def, err := sagas.ParseDefinition("queue.yaml", []byte(`
saga: queue
version: 1
deadline: none
participants:
  slow: {ops: [do]}
steps:
  - {id: work, call: slow.work, kind: retriable, attempt: 10s, retry: {backoff: 500ms, max: 3s}}
`))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := sagas.Compile(def)
	if err != nil {
		t.Fatal(err)
	}
	var queue []queued
	worlds := make([]*sagatest.World, instances)
	parts := sagatest.Participants{}
	for i := range worlds {
		w := sagatest.New(plan)
		w.Observe = func(r sagatest.Record) {
			for _, e := range r.Effects {
				if c, ok := e.(sagas.Command); ok {
					queue = append(queue, queued{at: r.Now, world: i, c: c})
				}
			}
		}
		worlds[i] = w
		w.Start(fmt.Sprint(i), nil)
	}
	now, read, ended, expired := sagatest.Epoch, 0, 0, 0
	for ; ended < instances && read < 10*instances; now += each {
		for _, w := range worlds {
			w.Advance(time.Duration(now-w.Now()) * time.Millisecond)
		}
		if len(queue) == 0 {
			continue
		}
		slices.SortStableFunc(queue, func(a, b queued) int { return int(a.at - b.at) })
		q := queue[0]
		queue = queue[1:]
		read++
		reply, _ := parts.Handle(q.c, now)
		if reply.Code == "EXPIRED" {
			expired++
		}
		before := sagatest.Terminal(worlds[q.world].Instance())
		worlds[q.world].Feed(*reply)
		if !before && sagatest.Terminal(worlds[q.world].Instance()) {
			ended++
		}
	}
	t.Logf("%d of %d ended after %v: %d commands read, %d of them too late, %d left", ended, instances,
		time.Duration(now-sagatest.Epoch)*time.Millisecond, read, expired, len(queue))
	if ended < instances {
		t.Errorf("%d of %d instances never end: their commands are always read too late", instances-ended, instances)
	}
}
