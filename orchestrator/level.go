package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// A namespace has a feature level, so that a rolling upgrade, and the way back, never leaves a process
// with a record that it cannot read. Nothing above the level is written: definitions that need more
// cannot be published, signals and the newer operator actions are dead letters. An operator raises the
// level once every process supports it.
//
// The level is a record of the definitions topic, which every process reads before it takes a task. A
// namespace that is new begins at the newest level; one without the record is of the first release and
// at level 1.
const (
	// NewestLevel is the highest feature level that this release supports.
	NewestLevel uint32 = sagas.MaxLevel
	// levelFirst is that of the first release: calls, and closing an instance.
	levelFirst uint32 = 1
	// levelFull has every node of the language, signals and all operator actions.
	levelFull uint32 = 2
	// levelBindings has bindings: events of topics of others that start or signal instances.
	levelBindings uint32 = 3

	// levelKey is the record of the definitions topic. The first release takes it for a strange key and
	// goes on.
	levelKey = "!level"

	// firstFormat is the format of state records, their first byte, that processes of level 1 read.
	firstFormat = 1
)

// groupProtocols keep processes of the first release out of a namespace above its level: they offer one
// protocol that processes of this one do not offer there, so the group does not admit them. In a
// namespace of level 1 both are offered, and both releases work side by side. Processes that were
// running when the level was raised offer both until they restart.
func groupProtocols(level uint32) []string {
	if level < levelFull {
		return []string{protocolFull, topology.DefaultGroupProtocol}
	}
	return []string{protocolFull}
}

const protocolFull = "amends-2"

// Level is the feature level of the namespace.
func (c *catalog) Level() uint32 { return max(c.level, levelFirst) }

// levelOf is the feature level that a plan needs.
func levelOf(p *sagas.Plan) uint32 { return max(p.Requires, levelFirst) }

// checkLevel refuses to run in a namespace that is above this release.
func checkLevel(level uint32) error {
	if level <= NewestLevel {
		return nil
	}
	return &Error{Code: CodeLevel, Class: ErrConfig,
		Cause: fmt.Sprintf("the namespace is at feature level %d, and this release supports levels up to %d", level, NewestLevel),
		Fix:   "Upgrade this process."}
}

// aboveLevel says that definitions need more than the namespace allows, nil when they do not.
func aboveLevel(have uint32, plans []*sagas.Plan) error {
	var above []string
	need := have
	for _, p := range plans {
		if l := levelOf(p); l > have {
			above = append(above, fmt.Sprintf("%s@%d needs level %d", p.Type, p.Version, l))
			need = max(need, l)
		}
	}
	if len(above) == 0 {
		return nil
	}
	return &Error{Code: CodeLevel, Class: ErrConflict,
		Cause: fmt.Sprintf("the namespace is at feature level %d: %s", have, strings.Join(above, ", ")),
		Fix:   fmt.Sprintf("When every process runs a release that supports it, raise the level: amends level finalize %d.", need)}
}

// Member is one process of the namespace's group.
type Member struct {
	ID      string `json:"id"`      // of the group; a new one at each start
	Address string `json:"address"` // that it advertises, or its host
	Version string `json:"version,omitempty"`
	// Level is the highest feature level that it supports. 1 for a process that has said nothing: it is
	// of the first release, or has only just joined.
	Level uint32 `json:"level"`
}

// Levels says at which feature level a namespace is, and what its processes support.
type Levels struct {
	Level   uint32   `json:"level"`
	Newest  uint32   `json:"newest"` // that this release supports
	Members []Member `json:"members"`
}

// DescribeLevel reads the feature level of a namespace and what its live processes support.
func DescribeLevel(ctx context.Context, cfg Config) (Levels, error) {
	cfg = cfg.withDefaults()
	var out Levels
	err := withPublisher(ctx, cfg, false, func(p *publisher) error {
		members, err := p.members(ctx)
		out = Levels{Level: p.known.Level(), Newest: NewestLevel, Members: members}
		return err
	})
	return out, err
}

// FinalizeLevel raises the feature level of a namespace. It is refused while a live process does not
// support the level, and there is no way back: records of the new level may exist from then on. A
// process of an older release that joins later stops at the first record that it cannot read, and
// loses nothing.
func FinalizeLevel(ctx context.Context, cfg Config, level uint32) (Levels, error) {
	cfg = cfg.withDefaults()
	if level < levelFirst || level > NewestLevel {
		return Levels{}, &Error{Code: CodeBadRequest, Class: ErrInvalid,
			Cause: fmt.Sprintf("level %d is not between %d and %d, the newest of this release", level, levelFirst, NewestLevel)}
	}
	var out Levels
	err := withPublisher(ctx, cfg, true, func(p *publisher) error {
		have := p.known.Level()
		members, err := p.members(ctx)
		if err != nil {
			return err
		}
		out = Levels{Level: have, Newest: NewestLevel, Members: members}
		if level < have {
			return &Error{Code: CodeLevel, Class: ErrConflict, Cause: fmt.Sprintf("the namespace is at feature level %d already, and a level is never lowered", have)}
		}
		var behind []string
		for _, m := range members {
			if m.Level < level {
				behind = append(behind, fmt.Sprintf("%s supports %d", m.Address, m.Level))
			}
		}
		if len(behind) > 0 {
			return &Error{Code: CodeLevel, Class: ErrConflict,
				Cause: fmt.Sprintf("not every process supports level %d: %s", level, strings.Join(behind, ", ")),
				Fix:   "Upgrade them, or try again in a moment when one has just started."}
		}
		if p.known.level >= level {
			return nil
		}
		out.Level = level
		return p.write(ctx, levelRecord(p.topics.Defs, level))
	})
	return out, err
}

func levelRecord(topic string, level uint32) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(levelKey), Value: strconv.AppendUint(nil, uint64(level), 10)}
}

// beginLevel gives a namespace that is new the newest level that its processes support. It returns the
// level that the namespace has then, 0 when it is not new and has no record of one.
func beginLevel(ctx context.Context, cfg Config) (level uint32, err error) {
	err = withPublisher(ctx, cfg, true, func(p *publisher) error {
		begin, err := p.newLevel(ctx)
		if level = max(begin, p.known.level); err != nil || begin == 0 {
			return err
		}
		return p.write(ctx, levelRecord(p.topics.Defs, begin))
	})
	return level, err
}

// newLevel is the level that a new namespace begins with; 0 when it has one, or is not new: somebody
// has published a definition, or stored state, or runs without saying what he supports.
func (p *publisher) newLevel(ctx context.Context) (uint32, error) {
	if p.known.level != 0 || len(p.known.versions) > 0 {
		return 0, nil
	}
	ends, err := p.adm.ListEndOffsets(ctx, p.topics.State)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, unreachable("read the end of topic "+p.topics.State, err)
	}
	used := false
	ends.Each(func(o kadm.ListedOffset) { used = used || o.Offset > 0 })
	if used {
		return 0, nil
	}
	members, err := p.members(ctx)
	if err != nil {
		return 0, err
	}
	level := NewestLevel
	for _, m := range members {
		level = min(level, m.Level)
	}
	if level == levelFirst {
		return 0, nil
	}
	return level, nil
}

// publisher is the one who may write definitions: others that have begun are refused by the broker.
type publisher struct {
	cfg    Config
	topics protocol.Topics
	cl     *kgo.Client
	adm    *kadm.Client
	known  *catalog
}

// publisherTries is how often a publisher that was fenced by another one begins again.
const publisherTries = 30

// withPublisher reads the definitions topic to its end and calls fn. With exclusive it first fences
// every other publisher, and begins again when it was fenced itself. The topics must be there.
func withPublisher(ctx context.Context, cfg Config, exclusive bool, fn func(*publisher) error) error {
	if err := configError(cfg.faults()); err != nil {
		return err
	}
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "Namespace: " + err.Error()}
	}
	for try := 1; ; try++ {
		err := publisherOnce(ctx, cfg, topics, exclusive, fn)
		if err == nil || !isFenced(err) || try == publisherTries {
			return err
		}
		// Processes that start together on a new namespace fence one another: an uneven pause parts them.
		select {
		case <-time.After(10*time.Millisecond + rand.N(time.Duration(min(try, 10))*50*time.Millisecond)):
		case <-ctx.Done():
			return err
		}
	}
}

func publisherOnce(ctx context.Context, cfg Config, topics protocol.Topics, exclusive bool, fn func(*publisher) error) error {
	opts := readerOpts()
	if exclusive {
		opts = append(opts,
			kgo.TransactionalID(protocol.App(cfg.Namespace)+"publisher"),
			kgo.TransactionTimeout(10*time.Second),
			kgo.RequiredAcks(kgo.AllISRAcks()))
	}
	cl, err := kgo.NewClient(cfg.clientOpts(opts...)...)
	if err != nil {
		return &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer cl.Close()
	if exclusive {
		// From here on every other publisher that has begun is refused by the broker.
		if _, _, err := cl.ProducerID(ctx); err != nil {
			return unreachable("become the publisher", err)
		}
	}
	known := newDefinitions(cfg.Namespace, topics.Defs, cfg.Logger)
	if err := known.load(ctx, cl); err != nil {
		return err
	}
	return fn(&publisher{cfg: cfg, topics: topics, cl: cl, adm: kadm.NewClient(cl), known: known.current.Load()})
}

// write commits records in one transaction, or none of them.
func (p *publisher) write(ctx context.Context, recs ...*kgo.Record) error {
	if err := p.cl.BeginTransaction(); err != nil {
		return unreachable("begin the transaction", err)
	}
	produced := p.cl.ProduceSync(ctx, recs...).FirstErr()
	if err := p.cl.EndTransaction(ctx, kgo.TransactionEndTry(produced == nil)); produced == nil {
		produced = err
	}
	if produced != nil {
		return unreachable("publish", produced)
	}
	return nil
}

// members are the live processes: those of the group, with what they said of themselves in the members
// topic. Records there are found by the group's id of the member, which is a new one at each start, so
// that what another process said at the same address before never counts.
func (p *publisher) members(ctx context.Context) ([]Member, error) {
	group := protocol.Group(p.cfg.Namespace)
	described, err := p.describeGroup(ctx, group)
	if err != nil {
		return nil, unreachable("describe group "+group, err)
	}
	if len(described.Members) == 0 {
		return []Member{}, nil
	}
	said, err := p.readMembers(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Member, 0, len(described.Members))
	for _, m := range described.Members {
		member := Member{ID: m.MemberID, Address: strings.TrimPrefix(m.ClientID, "amends/"), Level: levelFirst}
		if member.Address == "" {
			member.Address = m.ClientHost
		}
		if s, ok := said[m.MemberID]; ok {
			member.Version, member.Level = s.Version, max(s.Level, levelFirst)
		}
		out = append(out, member)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Address+"\x00"+a.ID, b.Address+"\x00"+b.ID) })
	return out, nil
}

// describeGroup asks for the group, patiently: in a cluster that is new nobody coordinates groups yet.
// A group that was never there has no members.
func (p *publisher) describeGroup(ctx context.Context, group string) (kadm.DescribedGroup, error) {
	until := time.Now().Add(topicPatience)
	for {
		groups, err := p.adm.DescribeGroups(ctx, group)
		described := groups[group]
		if err == nil {
			err = described.Err
		}
		switch {
		case err == nil:
			return described, nil
		case errors.Is(err, kerr.GroupIDNotFound): // newer brokers; older ones say it is dead
			return kadm.DescribedGroup{}, nil
		case !isCoordinatorAway(err) || time.Now().After(until):
			return kadm.DescribedGroup{}, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return kadm.DescribedGroup{}, ctx.Err()
		}
	}
}

func isCoordinatorAway(err error) bool {
	for _, e := range []error{kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// readMembers reads the members topic to its end.
func (p *publisher) readMembers(ctx context.Context) (map[string]memberRecord, error) {
	cl, err := kgo.NewClient(p.cfg.clientOpts(readerOpts()...)...)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer cl.Close()
	end, err := committedEnd(ctx, cl, p.topics.Members)
	if err != nil {
		return nil, err
	}
	consumeDefinitions(cl, p.topics.Members)
	out := map[string]memberRecord{}
	err = readTo(ctx, cl, end, func(recs []*kgo.Record) {
		for _, rec := range recs {
			if rec.Attrs.IsControl() {
				continue
			}
			if m, ok := decodeMember(rec.Value); ok {
				out[string(rec.Key)] = m
			} else {
				delete(out, string(rec.Key))
			}
		}
	})
	return out, err
}
