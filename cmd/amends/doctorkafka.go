package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/protocol"
)

// unknownRights is what a broker says of rights that it was not asked for, or does not tell.
const unknownRights = -1 << 31

// rights says what this principal may not do, and the commands that would allow it. A process needs all of
// it; whoever only starts sagas needs to write to the intake.
func (d *doctor) rights(ctx context.Context, cl *kgo.Client) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	t, err := protocol.NewTopics(d.conn.Namespace)
	if err != nil {
		d.say("rights", stateFault, "Correct --namespace.", "%v", err)
		return
	}
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	for _, name := range []string{t.Intake, t.Replies, t.Control, t.Lifecycle, t.State, t.Defs, t.Members, t.DLQ} {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, one)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		d.say("rights", stateUnknown, "", "the brokers do not tell: %v", err)
		return
	}
	need := []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe}
	lacks, told := map[kmsg.ACLOperation][]string{}, 0
	for _, topic := range resp.Topics {
		name := *topic.Topic
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case err == kerr.TopicAuthorizationFailed:
			told++
			for _, op := range need {
				lacks[op] = append(lacks[op], name)
			}
		case err != nil, topic.AuthorizedOperations == unknownRights:
		default:
			told++
			for _, op := range need {
				if topic.AuthorizedOperations&(1<<uint(op)) == 0 {
					lacks[op] = append(lacks[op], name)
				}
			}
		}
	}
	switch {
	case told == 0:
		d.say("rights", stateUnknown, "", "the brokers tell nothing of the rights on the topics")
	case len(lacks) == 0:
		d.say("rights", stateOK, "", "read, write and describe on every topic of the namespace")
	default:
		for _, op := range need {
			if names := lacks[op]; len(names) > 0 {
				user := d.user
				if user == "" {
					user = "USER"
				}
				d.say("rights", stateFault, fmt.Sprintf("kafka-acls.sh --add --allow-principal User:%s --operation %s --topic %s --resource-pattern-type prefixed", user, op, protocol.App(d.conn.Namespace)),
					"no %s on %s", strings.ToUpper(op.String()), strings.Join(names, ", "))
			}
		}
	}
}

// Sampling of producers.
const (
	sampleRecords = 200 // of each topic, the newest
	sampleWait    = 3 * time.Second
)

// producers looks at which partitions the newest keys are on. The engine forwards what stands on the wrong
// one; others who join by key do not.
func (d *doctor) producers(ctx context.Context, cl *kgo.Client, more []string) {
	t, err := protocol.NewTopics(d.conn.Namespace)
	if err != nil {
		return
	}
	for _, topic := range append([]string{t.Intake, t.Replies}, more...) {
		records, partitions, err := d.sample(ctx, cl, topic)
		if err != nil {
			d.say("producers", stateUnknown, "", "%s cannot be read: %v", topic, err)
			continue
		}
		d.judge(topic, records, partitions)
	}
}

// judge says how the keys of a sample were hashed, and whether its times can be.
func (d *doctor) judge(topic string, records []*kgo.Record, partitions int32) {
	keyed, murmur, crc := 0, 0, 0
	var ahead time.Duration
	for _, r := range records {
		ahead = max(ahead, time.Until(r.Timestamp))
		if len(r.Key) == 0 {
			continue
		}
		keyed++
		if protocol.Partition(r.Key, partitions) == r.Partition {
			murmur++
		}
		if int32(crcOf(string(r.Key))%uint32(partitions)) == r.Partition {
			crc++
		}
	}
	if ahead > maxSkew {
		d.say("clocks", stateFault, "Let the producer's machine keep time (NTP).", "%s has a record that is %s in the future", topic, ahead.Round(time.Second))
	}
	switch {
	case keyed == 0:
		d.say("producers", stateOK, "", "%s: no keys among the newest %s", topic, plural(len(records), "record"))
	case partitions == 1 || murmur == keyed:
		d.say("producers", stateOK, "", "%s: the keys of %s are where Java clients put them", topic, plural(keyed, "record"))
	case crc == keyed:
		d.say("producers", stateAdvice, "Set partitioner=murmur2_random in the producer (librdkafka, and what is made of it).",
			"%s: keys are hashed with CRC32, so one key can be on two partitions when a Java client writes too", topic)
	default:
		d.say("producers", stateAdvice, "Let all producers use murmur2 (librdkafka: partitioner=murmur2_random).",
			"%s: %d of %s with a key are not where Java clients put them (%d are where CRC32 puts them)", topic, keyed-murmur, plural(keyed, "record"), crc)
	}
}

// crcOf is the hash of librdkafka's default partitioner.
func crcOf(key string) uint32 { return crc32.ChecksumIEEE([]byte(key)) }

// sample reads the newest records of a topic.
func (d *doctor) sample(ctx context.Context, cl *kgo.Client, topic string) (records []*kgo.Record, partitions int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, sampleWait)
	defer cancel()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, 0, err
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, 0, err
	}
	partitions = int32(len(ends[topic]))
	from, last := map[int32]kgo.Offset{}, map[int32]int64{}
	each := int64(max(1, sampleRecords/max(1, int(partitions))))
	for p, end := range ends[topic] {
		start := starts[topic][p]
		if first := max(start.Offset, end.Offset-each); first < end.Offset {
			from[p], last[p] = kgo.NewOffset().At(first), end.Offset
		}
	}
	if len(from) == 0 {
		return nil, partitions, nil
	}
	reader, err := kgo.NewClient(d.conn.kafka(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchMaxWait(200*time.Millisecond))...)
	if err != nil {
		return nil, partitions, err
	}
	defer reader.Close()
	for len(last) > 0 && len(records) < sampleRecords {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			break // markers at the end of a partition give no record
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return records, partitions, errs[0].Err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records = append(records, r)
			if r.Offset+1 >= last[r.Partition] {
				delete(last, r.Partition)
			}
		})
	}
	return slices.Clip(records), partitions, nil
}
