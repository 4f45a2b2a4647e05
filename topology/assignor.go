package topology

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/topology/balance"
)

// assignor is our way of sharing tasks, as the client asks for it: each member
// tells what it has when it joins, the leader makes the plan of package balance,
// and each member learns its tasks, its copies and who has what. It speaks the
// consumer protocol, so the group can change between it and the plain one at any
// rebalance without anybody giving up a task.
type assignor struct {
	m    *member
	name string
}

// standbySuffix makes the name of our protocol from that of the plain one.
const standbySuffix = "-standby"

// maxTasks bounds what a plan is made for. A namespace has far fewer.
const maxTasks = 1 << 16

func (a *assignor) ProtocolName() string { return a.name }
func (a *assignor) IsCooperative() bool  { return true }

func (a *assignor) JoinGroupMetadata(topics []string, current map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3
	meta.Topics = topics
	meta.Generation = generation
	for topic, partitions := range current {
		owned := kmsg.NewConsumerMemberMetadataOwnedPartition()
		owned.Topic, owned.Partitions = topic, a.m.claims(partitions)
		meta.OwnedPartitions = append(meta.OwnedPartitions, owned)
	}
	slices.SortFunc(meta.OwnedPartitions, func(x, y kmsg.ConsumerMemberMetadataOwnedPartition) int {
		if x.Topic < y.Topic {
			return -1
		}
		return 1
	})
	meta.UserData = a.m.tells().append(nil)
	return meta.AppendTo(nil)
}

func (a *assignor) ParseSyncAssignment(b []byte) (map[string][]int32, error) {
	var assigned kmsg.ConsumerMemberAssignment
	if err := assigned.ReadFrom(b); err != nil {
		return nil, err
	}
	out := make(map[string][]int32, len(assigned.Topics))
	for _, topic := range assigned.Topics {
		out[topic.Topic] = topic.Partitions
	}
	share, _ := decodeShare(assigned.UserData) // what cannot be read is no copies to keep
	a.m.told(share)
	return out, nil
}

// MemberBalancer is called on the leader only.
func (a *assignor) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	a.m.leads()
	clean := slices.Clone(members)
	for i := range clean {
		meta := kmsg.NewConsumerMemberMetadata()
		if meta.ReadFrom(clean[i].ProtocolMetadata) == nil {
			continue
		}
		// A stranger. It is interested in nothing and gets nothing; one member that
		// cannot be read must not keep all others from working.
		clean[i].ProtocolMetadata = (&kmsg.ConsumerMemberMetadata{Generation: -1}).AppendTo(nil)
	}
	b, err := kgo.NewConsumerBalancer(a, clean)
	return b, b.MemberTopics(), err
}

// Balance makes the plan. A task that changes hands is only taken away in this
// round: its owner joins again when it has let go, and the next round gives it.
func (a *assignor) Balance(b *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	cfg := a.m.cfg
	in := balance.Input{
		Tasks:    min(topics[cfg.Changelog], maxTasks),
		Standbys: max(cfg.Standbys, 0),
		Lag:      cfg.Limits.Lag,
		WarmUps:  cfg.Limits.WarmUps,
	}
	ids := make(map[string]bool, len(b.Members()))
	b.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		ids[m.MemberID] = true
		if slices.Contains(meta.Topics, cfg.Changelog) {
			in.Members = append(in.Members, memberOf(m, meta, cfg.Changelog))
		}
	})
	out := balance.Plan(in)
	a.m.planned(out.Probe)

	plan := b.NewPlan()
	for _, to := range out.Members {
		if len(to.Active) > 0 {
			plan.AsMemberIDMap()[to.ID] = map[string][]int32{cfg.Changelog: slices.Clone(to.Active)}
		}
	}
	plan.AdjustCooperative(b)

	now := plan.AsMemberIDMap()
	routes := routesOf(in.Members, out.Members)
	if len(routes.append(nil))*len(ids) > maxRoutesBytes {
		routes = routeTable{}
	}
	takers := slices.ContainsFunc(in.Members, func(m balance.Member) bool { return !m.Draining })
	var sync syncPlan
	shares := make(map[string]share, len(out.Members))
	for _, to := range out.Members {
		s := share{standby: to.Standby, warmUp: to.WarmUp, next: to.Next, routes: routes, noTakers: !takers}
		for _, task := range to.Active {
			if !slices.Contains(now[to.ID][cfg.Changelog], task) {
				// It comes in the next round, and stays warm until then.
				s.standby, s.next = append(s.standby, task), append(s.next, task)
			}
		}
		slices.Sort(s.standby)
		slices.Sort(s.next)
		shares[to.ID] = s
	}
	for id := range ids {
		var assigned kmsg.ConsumerMemberAssignment
		if tasks := now[id][cfg.Changelog]; len(tasks) > 0 {
			topic := kmsg.NewConsumerMemberAssignmentTopic()
			topic.Topic, topic.Partitions = cfg.Changelog, tasks
			slices.Sort(topic.Partitions)
			assigned.Topics = append(assigned.Topics, topic)
		}
		if s, ok := shares[id]; ok {
			assigned.UserData = s.append(nil)
		}
		to := kmsg.NewSyncGroupRequestGroupAssignment()
		to.MemberID, to.MemberAssignment = id, assigned.AppendTo(nil)
		sync = append(sync, to)
	}
	slices.SortFunc(sync, func(x, y kmsg.SyncGroupRequestGroupAssignment) int {
		if x.MemberID < y.MemberID {
			return -1
		}
		return 1
	})
	return sync
}

// memberOf is a member as the plan sees it. What it told may be of another
// release or of a stranger: then it has its claims and nothing else.
func memberOf(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata, changelog string) balance.Member {
	out := balance.Member{ID: m.MemberID, Generation: meta.Generation}
	if m.InstanceID != nil {
		out.Instance = *m.InstanceID
	}
	for _, owned := range meta.OwnedPartitions {
		if owned.Topic == changelog {
			out.Active = append(out.Active, owned.Partitions...)
		}
	}
	if said, ok := decodeTells(meta.UserData); ok {
		out.Address, out.Zone, out.Draining, out.Warms = said.address, said.zone, said.draining, said.warms
		out.Next, out.Held, out.Refuses = said.next, said.held, said.refuses
	}
	return out
}

// syncPlan is the plan as it goes to the coordinator.
type syncPlan []kmsg.SyncGroupRequestGroupAssignment

func (p syncPlan) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment { return p }

// plain is the cooperative sticky balancer under the name of a level. Processes
// that do not know our protocol share this one with us; under it there are no
// copies, and a drain moves nothing.
type plain struct {
	kgo.GroupBalancer
	m    *member
	name string
}

func (p plain) ProtocolName() string { return p.name }

func (p plain) ParseSyncAssignment(b []byte) (map[string][]int32, error) {
	p.m.told(share{noTakers: true})
	return p.GroupBalancer.ParseSyncAssignment(b)
}

// DefaultGroupProtocol is the name of the protocol when Config.GroupProtocols is empty.
const DefaultGroupProtocol = "cooperative-sticky"

// balancers offers our protocol and the plain one under each name, ours first.
// The coordinator admits only members that offer a protocol which all others
// offer too, so a name keeps apart what must not meet.
func (m *member) balancers(names []string) []kgo.GroupBalancer {
	if len(names) == 0 {
		names = []string{DefaultGroupProtocol}
	}
	var list []kgo.GroupBalancer
	for _, name := range names {
		list = append(list, &assignor{m: m, name: name + standbySuffix})
	}
	for _, name := range names {
		list = append(list, plain{kgo.CooperativeStickyBalancer(), m, name})
	}
	return list
}
