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
// it; whoever only starts sagas needs to write to the intake. Of the topics of others it reads some and
// writes some.
func (d *doctor) rights(ctx context.Context, cl *kgo.Client, read, written []string) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	t, err := protocol.NewTopics(d.conn.Namespace)
	if err != nil {
		d.say("rights", stateFault, "Correct --namespace.", "%v", err)
		return
	}
	own := []string{t.Intake, t.Replies, t.Control, t.Lifecycle, t.State, t.Defs, t.Members, t.DLQ}
	need := map[kmsg.ACLOperation][]string{
		kmsg.ACLOperationRead:     slices.Concat(own, read),
		kmsg.ACLOperationWrite:    slices.Concat(own, written),
		kmsg.ACLOperationDescribe: slices.Concat(own, read, written),

		kmsg.ACLOperationDescribeConfigs: own,
	}
	req := kmsg.NewPtrMetadataRequest()
	req.IncludeTopicAuthorizedOperations = true
	asked := slices.Clone(need[kmsg.ACLOperationDescribe])
	slices.Sort(asked)
	for _, name := range slices.Compact(asked) {
		one := kmsg.NewMetadataRequestTopic()
		one.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, one)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		d.say("rights", stateUnknown, "", "the brokers do not tell: %v", err)
		return
	}
	may := map[string]int32{} // by topic, of those that the brokers tell of
	for _, topic := range resp.Topics {
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case err == kerr.TopicAuthorizationFailed:
			may[*topic.Topic] = 0
		case err != nil, topic.AuthorizedOperations == unknownRights:
		default:
			may[*topic.Topic] = topic.AuthorizedOperations
		}
	}
	if len(may) == 0 {
		d.say("rights", stateUnknown, "", "the brokers tell nothing of the rights on the topics")
		return
	}
	lacking := false
	for _, op := range []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs} {
		var ours, theirs []string
		for _, name := range need[op] {
			switch rights, told := may[name]; {
			case !told || rights&(1<<uint(op)) != 0:
			case slices.Contains(own, name):
				ours = append(ours, name)
			default:
				theirs = append(theirs, name)
			}
		}
		lacking = lacking || len(ours)+len(theirs) > 0
		if len(ours) > 0 {
			d.say("rights", stateFault, d.grant(op, protocol.App(d.conn.Namespace))+" --resource-pattern-type prefixed", "no %s on %s", op, strings.Join(ours, ", "))
		}
		for _, name := range slices.Compact(theirs) {
			d.say("rights", stateFault, d.grant(op, name), "no %s on %s, which a definition needs", op, name)
		}
	}
	if lacking {
		return
	}
	text := "read, write, describe and settings of every topic of the namespace"
	if n := len(may) - len(own); n > 0 {
		text += fmt.Sprintf(", and what the definitions need on %s of others", plural(n, "topic"))
	}
	d.say("rights", stateOK, "", "%s", text)
}

// grant is the command that gives this principal a right on a topic.
func (d *doctor) grant(op kmsg.ACLOperation, topic string) string {
	user := d.user
	if user == "" {
		user = "USER"
	}
	return fmt.Sprintf("kafka-acls.sh --add --allow-principal User:%s --operation %s --topic %s", user, strings.ReplaceAll(op.String(), "_", ""), topic) // that tool knows DESCRIBECONFIGS
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
	topics := append([]string{t.Intake, t.Replies}, more...)
	for i, topic := range topics {
		if slices.Contains(topics[:i], topic) {
			continue
		}
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
	if ahead > maxSkew+d.ahead {
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
