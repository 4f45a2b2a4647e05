package topology

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// clientPrefix marks the client ids of this product; the rest is the address.
const clientPrefix = "amends/"

// owners knows which process runs which task when the leader's plan did not say
// it (member.route): among processes of two releases, or in a very large group.
// The group has each member's assignment, and the member's client id carries its
// address. The answer is believed for Timing.OwnerCache and asked again when a
// task is missing.
type owners struct {
	w    *Worker
	slot chan struct{} // held by the one who asks

	mu struct {
		sync.Mutex
		at    time.Time
		tasks map[int32]string
	}
}

// missAfter is how long a task without an owner is believed to have none, so
// that a rebalance does not turn every query into a question to the group.
const missAfter = 100 * time.Millisecond

func newOwners(w *Worker) *owners { return &owners{w: w, slot: make(chan struct{}, 1)} }

// find gives the address of the owner of a task; empty when the group has none.
func (o *owners) find(ctx context.Context, task int32) (string, error) {
	if address, ok := o.cached(task); ok {
		return address, nil
	}
	select {
	case o.slot <- struct{}{}:
		defer func() { <-o.slot }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	// Somebody may have asked while this call waited.
	if address, ok := o.cached(task); ok {
		return address, nil
	}
	tasks, err := o.ask(ctx)
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.at, o.mu.tasks = time.Now(), tasks
	return tasks[task], nil
}

func (o *owners) cached(task int32) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	age := time.Since(o.mu.at)
	if o.mu.tasks == nil || age >= o.w.cfg.Timing.OwnerCache {
		return "", false
	}
	address, ok := o.mu.tasks[task]
	return address, ok || age < missAfter
}

// forget drops the cache: the group has changed.
func (o *owners) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.tasks = nil
}

// ask describes the group.
func (o *owners) ask(ctx context.Context) (map[int32]string, error) {
	name := group(o.w.cfg.App)
	groups, err := kadm.NewClient(o.w.admin).DescribeGroups(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", name, err)
	}
	described, ok := groups[name]
	if !ok || described.Err != nil {
		return nil, fmt.Errorf("describe group %s: %w", name, described.Err)
	}
	tasks := make(map[int32]string)
	for _, m := range described.Members {
		address, ok := strings.CutPrefix(m.ClientID, clientPrefix)
		if !ok {
			continue
		}
		assigned, ok := m.Assigned.AsConsumer()
		if !ok {
			continue
		}
		for _, topic := range assigned.Topics {
			if topic.Topic != o.w.cfg.Changelog {
				continue
			}
			for _, task := range topic.Partitions {
				tasks[task] = address
			}
		}
	}
	return tasks, nil
}
