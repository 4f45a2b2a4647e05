package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/topology/balance"
)

// member is this process in the consumer group. It subscribes to the changelog
// topic, and an assigned partition of it is an assigned task; it never fetches.
//
// The group decides only who should own a task, and who should keep a copy of
// its state. Nothing depends on it for safety, so the callbacks of the client
// record what they are told and return.
type member struct {
	cfg     *Config
	base    []kgo.Opt
	held    func() []balance.Held // nil when this process keeps no copies
	cl      *kgo.Client
	changed chan struct{} // has a token when what is owned or to be kept warm has changed

	mu struct {
		sync.Mutex
		joined   bool
		owned    map[int32]bool
		assigned []int32 // since the last rebalance call, for hooks
		revoked  []int32

		share    share // of the present assignment
		coming   share // of one that was received and is not in force yet
		draining bool
		closed   bool
		refused  []int32        // tasks that this process does not claim, though they were given to it
		told     []balance.Held // at the last join
		said     map[int32]bool // the copies that were within the acceptable lag at the last join
		probe    *time.Timer    // on the leader, while something waits
		check    *time.Timer    // while tasks are to come here
	}
}

// group is the consumer group of an application.
func group(app string) string { return app + "engine" }

// newMember joins the group. held lists the stores of this process, for the
// leader to know what is warm where; any goroutine may call it, and it must not
// wait for the group. A nil held says that this process keeps no copies.
func newMember(cfg *Config, base []kgo.Opt, held func() []balance.Held) (*member, error) {
	m := &member{cfg: cfg, base: base, held: held, changed: make(chan struct{}, 1)}
	m.mu.owned = make(map[int32]bool)
	opts := append(base[:len(base):len(base)],
		kgo.ConsumerGroup(group(cfg.App)),
		kgo.ConsumeTopics(cfg.Changelog),
		kgo.Balancers(m.balancers(cfg.GroupProtocols)...),
		kgo.HeartbeatInterval(cfg.Timing.Heartbeat),
		kgo.SessionTimeout(cfg.Timing.Session),
		kgo.RebalanceTimeout(max(cfg.Timing.Session, 2*cfg.Timing.Heartbeat)),
		kgo.DisableAutoCommit(),
		// The position is never used; the end needs no committed offset.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		// Called at the end of every rebalance, also when nothing was added.
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			m.begin()
			m.record(topics[cfg.Changelog], nil)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			m.record(nil, topics[cfg.Changelog])
		}),
		// Called as well, without tasks, when the group does not let this process in.
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			m.outside()
			m.record(nil, topics[cfg.Changelog])
		}),
	)
	if cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(cfg.InstanceID))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: group client: %w", ErrFatal, err)
	}
	cl.PauseFetchTopics(cfg.Changelog)
	m.mu.Lock()
	m.cl = cl
	m.mu.Unlock()
	return m, nil
}

// record notes what the group said.
func (m *member) record(assigned, revoked []int32) {
	m.mu.Lock()
	for _, task := range assigned {
		m.mu.owned[task] = true
	}
	for _, task := range revoked {
		delete(m.mu.owned, task)
	}
	m.mu.assigned = append(m.mu.assigned, assigned...)
	m.mu.revoked = append(m.mu.revoked, revoked...)
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// owned lists the tasks that this process should run, and what changed since
// the last call.
func (m *member) owned() (tasks, assigned, revoked []int32) {
	tasks = m.peek()
	m.mu.Lock()
	defer m.mu.Unlock()
	assigned, revoked = m.mu.assigned, m.mu.revoked
	m.mu.assigned, m.mu.revoked = nil, nil
	return tasks, assigned, revoked
}

// peek lists the tasks that this process should run.
func (m *member) peek() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	tasks := make([]int32, 0, len(m.mu.owned))
	for task := range m.mu.owned {
		tasks = append(tasks, task)
	}
	slices.Sort(tasks)
	return tasks
}

// owns reports whether the group gave the task to this process.
func (m *member) owns(task int32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.owned[task]
}

// joined reports whether this process is in the group, as far as it knows.
func (m *member) joined() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.joined
}

// confirm asks the coordinator whether this process is still a member of the
// present generation. A process that slept through its session believes what it
// was told before; this is how it finds out.
func (m *member) confirm(ctx context.Context) error {
	id, generation := m.cl.GroupMetadata()
	if id == "" {
		return errors.New("heartbeat: not a member")
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group(m.cfg.App), id, generation
	if m.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(m.cfg.InstanceID)
	}
	resp, err := req.RequestWith(ctx, m.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}

// commit writes plain offsets for people's lag tools. They are never read back.
func (m *member) commit(ctx context.Context, at []changelog.InputPosition, ids map[string][16]byte) error {
	id, generation := m.cl.GroupMetadata()
	if id == "" || len(at) == 0 {
		return nil
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = group(m.cfg.App), id, generation
	if m.cfg.InstanceID != "" {
		req.InstanceID = kmsg.StringPtr(m.cfg.InstanceID)
	}
	for _, pos := range at {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != pos.Topic {
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.TopicID = pos.Topic, ids[pos.Topic]
			req.Topics = append(req.Topics, topic)
		}
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = pos.Partition, pos.Next
		topic := &req.Topics[len(req.Topics)-1]
		topic.Partitions = append(topic.Partitions, part)
	}
	resp, err := req.RequestWith(ctx, m.cl)
	if err != nil {
		return err
	}
	for _, topic := range resp.Topics {
		for _, part := range topic.Partitions {
			if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}
