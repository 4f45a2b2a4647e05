package orchestrator

import (
	"context"
	"encoding/json"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/topology"
)

// maxMemberBytes bounds one record of the members topic before it is parsed.
const maxMemberBytes = 4 << 10

// memberRecord is what a process says of itself in the members topic, under its id in the group.
type memberRecord struct {
	Level   uint32 `json:"level"` // highest feature level that it supports
	Version string `json:"version"`
	Address string `json:"address,omitempty"`
	At      int64  `json:"at"` // ms
}

func decodeMember(value []byte) (memberRecord, bool) {
	var m memberRecord
	if len(value) == 0 || len(value) > maxMemberBytes || json.Unmarshal(value, &m) != nil {
		return memberRecord{}, false
	}
	return m, true
}

// announcer keeps the process's record in the members topic. It is best effort: a process that could
// not announce itself counts as one of level 1, which only keeps the level from being raised.
type announcer struct {
	cfg    Config
	topic  string
	worker *topology.Worker
	joined chan struct{} // has a token when the group was joined anew, or gave or took tasks
}

func newAnnouncer(cfg Config, topic string) *announcer {
	return &announcer{cfg: cfg, topic: topic, joined: make(chan struct{}, 1)}
}

// rebalanced is a hook of the runtime.
func (a *announcer) rebalanced(_, _ []int32) {
	select {
	case a.joined <- struct{}{}:
	default:
	}
}

// run announces the process whenever its id in the group is a new one, until ctx ends.
func (a *announcer) run(ctx context.Context) {
	cl, err := kgo.NewClient(a.cfg.clientOpts(kgo.RequiredAcks(kgo.AllISRAcks()), kgo.AllowIdempotentProduceCancellation())...)
	if err != nil {
		a.cfg.Logger.Warn("cannot announce this process", "err", err)
		return
	}
	defer cl.Close()
	said := ""
	for {
		select {
		case <-ctx.Done():
			if said != "" {
				// The group forgets the id soon; so does the topic.
				bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
				cl.ProduceSync(bye, &kgo.Record{Topic: a.topic, Key: []byte(said)})
				cancel()
			}
			return
		case <-a.joined:
		}
		id := a.worker.MemberID()
		if id == "" || id == said {
			continue
		}
		value, err := json.Marshal(memberRecord{Level: NewestLevel, Version: Version, Address: a.cfg.Advertise, At: a.cfg.Clock().UnixMilli()})
		if err != nil {
			continue
		}
		recs := []*kgo.Record{{Topic: a.topic, Key: []byte(id), Value: value}}
		if said != "" {
			recs = append(recs, &kgo.Record{Topic: a.topic, Key: []byte(said)})
		}
		if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
			if ctx.Err() == nil {
				a.cfg.Logger.Warn("cannot announce this process: the feature level cannot be raised until it restarts", "topic", a.topic, "err", err)
			}
			continue
		}
		said = id
	}
}
