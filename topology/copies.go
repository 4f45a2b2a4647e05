package topology

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/topology/balance"
)

// standbys lists the tasks whose state this process should keep warm without
// running them: standbys, and warm-ups for a task that is to move. It never
// overlaps what is owned.
func (m *member) standbys() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []int32
	for _, task := range slices.Concat(m.mu.share.standby, m.mu.share.warmUp) {
		if !m.mu.owned[task] {
			list = append(list, task)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// expects says that a task is to move here as soon as its copy is warm.
func (m *member) expects(task int32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.mu.share.warmUp, task) || slices.Contains(m.mu.share.next, task)
}

// route tells where a task runs or is about to, and where copies of it are, as
// the last plan said. Not ok when the plan said nothing of it.
func (m *member) route(task int32) (active string, standbys []string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.share.routes.find(task)
}

// addresses are those that the last plan names.
func (m *member) addresses() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mu.share.routes.addresses)
}

// told receives what the leader said, while the rebalance is under way.
func (m *member) told(s share) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.coming = s
}

// begin puts in force what the leader said: what it took away is gone by now.
func (m *member) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.joined = true
	m.mu.share = m.mu.coming
	if len(m.mu.share.next) > 0 {
		m.checkLater()
	}
}

// outside notes that this process is not in the group any more, or yet.
func (m *member) outside() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.joined = false
}

// tells is what this process says of itself when it joins.
func (m *member) tells() tells {
	t := tells{address: m.cfg.Advertise, zone: m.cfg.Zone, warms: m.held != nil}
	var held []balance.Held
	if m.held != nil {
		held = m.held()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// A task that is being taken over does not know for a moment what its store
	// lacks. It is as warm as the copy that it is made from.
	for _, h := range m.mu.told {
		same := func(now balance.Held) bool { return now.Task == h.Task }
		i := slices.IndexFunc(held, same)
		if i >= 0 {
			_, known := held[i].Lag()
			if known {
				continue
			}
		}
		if _, known := h.Lag(); known && m.mu.owned[h.Task] {
			held = append(slices.DeleteFunc(held, same), h)
		}
	}
	t.held = ascending(held)
	m.mu.told = t.held
	stopTimer(&m.mu.probe) // the next leader probes
	t.draining, t.next, t.refuses = m.mu.draining, m.mu.share.next, m.mu.refused
	m.mu.said = m.warm(t.held)
	return t
}

// warm are the stores within the acceptable lag.
func (m *member) warm(held []balance.Held) map[int32]bool {
	set := make(map[int32]bool)
	for _, h := range held {
		if lag, known := h.Lag(); known && lag <= m.cfg.Limits.Lag {
			set[h.Task] = true
		}
	}
	return set
}

// leads notes that this process leads the group. Whether anything waits is not
// known yet: a static member that restarts as leader is not asked for a plan, so
// it makes one soon.
func (m *member) leads() { m.planned(true) }

// planned notes whether the plan waits for a copy to catch up.
func (m *member) planned(waits bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stopTimer(&m.mu.probe)
	if waits && !m.mu.closed {
		m.mu.probe = time.AfterFunc(m.cfg.Timing.Probe, m.rejoin)
	}
}

// checkInterval is how often a member looks whether what it waits for is warm.
const checkInterval = time.Second

// checkLater asks the group for a new plan as soon as a task that is to come
// here is warm; the lock is held.
func (m *member) checkLater() {
	stopTimer(&m.mu.check)
	if m.held == nil || m.mu.closed {
		return
	}
	m.mu.check = time.AfterFunc(min(checkInterval, m.cfg.Timing.Probe), func() {
		warm := m.warm(m.held())
		m.mu.Lock()
		defer m.mu.Unlock()
		news := false
		for _, task := range m.mu.share.next {
			news = news || warm[task] && !m.mu.said[task] && !m.mu.owned[task]
		}
		if news {
			go m.rejoin()
		}
		if len(m.mu.share.next) > 0 {
			m.checkLater()
		}
	})
}

func stopTimer(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}

// rejoin joins the group again: the leader makes a new plan when this process is
// the leader or has news.
func (m *member) rejoin() {
	m.mu.Lock()
	cl, closed := m.cl, m.mu.closed
	m.mu.Unlock()
	if cl != nil && !closed {
		cl.ForceRebalance()
	}
}

// drain says that this process is about to leave: the group moves its tasks to
// members that have a warm copy, and gives it nothing more. The tasks of which
// nobody has one stay until leave.
func (m *member) drain() {
	m.mu.Lock()
	m.mu.draining = true
	m.mu.Unlock()
	m.rejoin()
}

// noTakers says that, as far as the present plan knows, nobody would take a task
// over that a drain gives away: all members drain, or the group shares its tasks
// by the plain protocol, which knows no drain.
func (m *member) noTakers() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.share.noTakers
}

// refuse replaces the list of tasks that this process cannot run for now. It no
// longer claims them, so the next plan gives them to somebody else, first to who
// has a warm copy. Nobody else may be there: then they are still given to this
// process.
func (m *member) refuse(tasks []int32) {
	m.mu.Lock()
	m.mu.refused = slices.Sorted(slices.Values(tasks))
	m.mu.Unlock()
	m.rejoin()
}

// claims are the tasks of those given that this process can run.
func (m *member) claims(tasks []int32) []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(tasks), func(task int32) bool { return slices.Contains(m.mu.refused, task) })
}

// leave ends the membership, so that the tasks move on at once. A static member
// stays in the group until its session ends, because a restart within it should
// move nothing; it leaves as well when a drain has moved all its tasks.
func (m *member) leave() {
	m.mu.Lock()
	m.mu.closed = true
	stopTimer(&m.mu.probe)
	stopTimer(&m.mu.check)
	drained := m.mu.draining && len(m.mu.owned) == 0
	m.mu.Unlock()
	m.cl.Close()
	if m.cfg.InstanceID == "" || !drained {
		return
	}
	cl, err := kgo.NewClient(m.base...)
	if err != nil {
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), m.cfg.Timing.Session)
	defer cancel()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group(m.cfg.App)
	gone := kmsg.NewLeaveGroupRequestMember()
	gone.InstanceID = kmsg.StringPtr(m.cfg.InstanceID)
	req.Members = append(req.Members, gone)
	_, _ = req.RequestWith(ctx, cl) // the session ends it otherwise
}
