package explain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Kafka is a Cluster that asks a real one. It changes nothing there.
type Kafka struct {
	adm     *kadm.Client
	readers Readers
}

// Readers lends a client, made with ReaderOpts, that consumes one partition from an offset and nothing else. done
// gives it back; clean says that the reading came to its end.
type Readers func(ctx context.Context, topic string, partition int32, from int64) (cl *kgo.Client, done func(clean bool), err error)

// ReaderOpts are what a client of Readers needs beside the addresses and credentials.
func ReaderOpts() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(1 << 20), kgo.FetchMaxPartitionBytes(1 << 20), kgo.MaxConcurrentFetches(1), kgo.DisableClientMetrics(),
		kgo.FetchMaxWait(500 * time.Millisecond),
	}
}

// NewKafka makes a Cluster. Questions go over cl, searches over clients of readers.
func NewKafka(cl *kgo.Client, readers Readers) *Kafka {
	return &Kafka{adm: kadm.NewClient(cl), readers: readers}
}

// Topic implements Cluster.
func (k *Kafka) Topic(ctx context.Context, topic string) (int32, string, error) {
	details, err := k.adm.ListTopics(ctx, topic)
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return 0, TopicDenied, nil
	case err != nil:
		return 0, TopicUnknown, err
	}
	d := details[topic]
	switch {
	case errors.Is(d.Err, kerr.TopicAuthorizationFailed):
		return 0, TopicDenied, nil
	case errors.Is(d.Err, kerr.UnknownTopicOrPartition), errors.Is(d.Err, kerr.InvalidTopicException), d.Err == nil && len(d.Partitions) == 0:
		return 0, TopicMissing, nil
	case d.Err != nil:
		return 0, TopicUnknown, d.Err
	}
	return int32(len(d.Partitions)), TopicThere, nil
}

// End implements Cluster.
func (k *Kafka) End(ctx context.Context, topic string, partition int32) (int64, error) {
	return lookup(topic, partition)(k.adm.ListCommittedOffsets(ctx, topic))
}

// lookup takes one partition out of an answer about offsets.
func lookup(topic string, partition int32) func(kadm.ListedOffsets, error) (int64, error) {
	return func(all kadm.ListedOffsets, err error) (int64, error) {
		o, ok := all.Lookup(topic, partition)
		switch {
		case ok && o.Err != nil:
			return 0, o.Err
		case ok:
			return o.Offset, nil
		case err != nil:
			return 0, err
		}
		return 0, fmt.Errorf("no partition %d", partition)
	}
}

// errBounded ends a search that has read as much as it may.
var errBounded = errors.New("too much lies behind the moment at which it was sent")

// Find implements Cluster.
func (k *Kafka) Find(ctx context.Context, at Place, limits Limits) (found Found, err error) {
	start, err := lookup(at.Topic, at.Partition)(k.adm.ListOffsetsAfterMilli(ctx, at.From, at.Topic))
	if err != nil {
		return found, err
	}
	if start < 0 || start >= at.End {
		return found, nil
	}
	err = k.read(ctx, at.Topic, at.Partition, start, at.End, limits, func(rec *kgo.Record) {
		if header(rec, protocol.HeaderKey) != at.Key {
			return
		}
		n, err := strconv.ParseUint(header(rec, protocol.HeaderAttempt), 10, 32)
		if err != nil || uint32(n) < found.Attempt {
			return
		}
		if found.Attempt == 0 {
			found.First = rec.Offset
		}
		found.Newest, found.Attempt = rec.Offset, uint32(n)
	})
	return found, err
}

// read gives the committed records of [start, end) to take, within the limits.
func (k *Kafka) read(ctx context.Context, topic string, partition int32, start, end int64, limits Limits, take func(*kgo.Record)) error {
	cl, done, err := k.readers(ctx, topic, partition, start)
	if err != nil {
		return err
	}
	clean := false
	defer func() { done(clean) }()
	records, bytes := 0, 0
	for next := start; next < end; {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, f := range fetches.Errors() {
			return f.Err
		}
		for _, rec := range fetches.Records() {
			next = rec.Offset + 1
			records++
			bytes += len(rec.Value)
			if rec.Attrs.IsControl() || rec.Offset >= end {
				continue
			}
			take(rec)
		}
		if next < end && (records >= limits.Records || bytes >= limits.Bytes) {
			return errBounded
		}
	}
	clean = true
	return nil
}

func header(rec *kgo.Record, key string) string {
	for i := range rec.Headers {
		if rec.Headers[i].Key == key {
			return string(rec.Headers[i].Value)
		}
	}
	return ""
}

// Readers implements Cluster.
func (k *Kafka) Readers(ctx context.Context, topic string, limit int) ([]string, int, error) {
	all, err := k.adm.ListGroups(ctx)
	if err != nil && len(all) == 0 {
		return nil, 0, err
	}
	names := sortedNames(slices.Collect(maps.Keys(all)), topic)
	seen := len(names)
	if names = names[:min(seen, limit)]; seen == 0 {
		return nil, 0, nil
	}
	var out []string
	for name, r := range k.adm.FetchManyOffsets(ctx, names...) {
		if r.Err == nil && len(r.Fetched[topic]) > 0 {
			out = append(out, name)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, seen, err
	}
	return sortedNames(out, topic), seen, nil
}

// Group implements Cluster. Groups of both protocols are known.
func (k *Kafka) Group(ctx context.Context, name, topic string, partition int32) (Group, error) {
	g := Group{Name: name, Members: -1, Position: -1, Lag: -1}
	offsets, err := k.adm.FetchOffsetsForTopics(ctx, name, topic)
	if err != nil {
		return Group{}, err
	}
	if o, ok := offsets.Lookup(topic, partition); ok && o.Err == nil {
		g.Position = o.At // -1: it has no position on this partition yet
	}
	described, err := k.adm.DescribeGroups(ctx, name)
	if d, ok := described[name]; err == nil && ok && d.Err == nil && d.State != "Dead" {
		g.State, g.Members = d.State, len(d.Members)
		return g, nil
	}
	modern, err := k.adm.DescribeConsumerGroups(ctx, name)
	d, ok := modern[name]
	switch {
	case err == nil && ok && d.Err == nil:
		g.State, g.Members = d.State, len(d.Members)
	case err == nil && ok && errors.Is(d.Err, kerr.GroupIDNotFound):
		g.State, g.Members = "Dead", 0
	case err == nil:
		err = d.Err
	}
	return g, err
}

// Letter implements Cluster.
func (k *Kafka) Letter(ctx context.Context, topic, workflowID string, limits Limits) (*DeadLetter, error) {
	partitions, state, err := k.Topic(ctx, topic)
	if err != nil || state != TopicThere {
		return nil, err
	}
	partition := protocol.Partition([]byte(workflowID), partitions)
	end, err := k.End(ctx, topic, partition)
	if err != nil {
		return nil, err
	}
	begin, err := lookup(topic, partition)(k.adm.ListStartOffsets(ctx, topic))
	if err != nil {
		return nil, err
	}
	var newest *DeadLetter
	err = k.read(ctx, topic, partition, max(begin, end-int64(limits.Records)), end, limits, func(rec *kgo.Record) {
		headers := make([]protocol.Header, len(rec.Headers))
		for i := range rec.Headers {
			headers[i] = protocol.Header(rec.Headers[i])
		}
		d, err := protocol.ParseDeadLetter(headers)
		if err != nil || d.WorkflowID != workflowID && string(rec.Key) != workflowID {
			return
		}
		newest = &DeadLetter{Topic: topic, Partition: partition, Offset: rec.Offset,
			Source: fmt.Sprintf("%s[%d]@%d", d.Topic, d.Partition, d.Offset), Class: d.Class, Message: d.Message}
	})
	return newest, err
}

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
