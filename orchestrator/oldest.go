package orchestrator

import (
	"sync"
	"time"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
)

const (
	oldestFor      = 15 * time.Second // that an answer is kept
	oldestExamined = 20_000           // instances that one look takes in
)

// oldest remembers the start of the oldest running instance of this process. There is no order by start in the
// stores, so it is looked for, and not for every page that shows it.
type oldest struct {
	mu    sync.Mutex
	until time.Time
	start int64
}

// at is the start in ms, 0 = none.
func (c *oldest) at(o *Orchestrator) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, now := o.worker.Load(), time.Now()
	if now.Before(c.until) || w == nil {
		return c.start
	}
	c.until, c.start = now.Add(oldestFor), 0
	q, err := query.Compile("active", now)
	if err != nil {
		return 0
	}
	examined := 0
	for _, t := range w.Tasks() {
		view, ok := w.View(t.Task)
		if !ok {
			continue
		}
		// A store that is being closed has been looked at in part.
		_ = walk(view, q, "", func(_, value []byte) bool {
			if s, err := sagas.Summarise(value); err == nil && s.Phase.Active() && (c.start == 0 || int64(s.StartedAt) < c.start) {
				c.start = int64(s.StartedAt)
			}
			examined++
			return examined < oldestExamined
		})
	}
	return c.start
}
