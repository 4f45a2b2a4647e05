package kafkatest

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Produce writes records and waits for the acknowledgements. The partition
// comes from the key, hashed as Java clients do.
func (c *Cluster) Produce(recs ...*kgo.Record) {
	c.t.Helper()
	cl, err := kgo.NewClient(c.Opts()...)
	if err != nil {
		c.t.Fatalf("open a producer: %v", err)
	}
	defer cl.Close()
	c.produce(cl, recs)
}

// ProduceTo writes records to one partition, whatever their keys say: what a
// producer with another partitioner does.
func (c *Cluster) ProduceTo(partition int32, recs ...*kgo.Record) {
	c.t.Helper()
	for _, r := range recs {
		r.Partition = partition
	}
	c.produce(c.adminClient(), recs)
}

func (c *Cluster) produce(cl *kgo.Client, recs []*kgo.Record) {
	c.t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		c.t.Fatalf("produce %d records: %v", len(recs), err)
	}
}

// Consume reads a topic from its start, read_committed, and returns the first
// n records in the order of arrival. It waits for them.
func (c *Cluster) Consume(topic string, n int) []*kgo.Record {
	c.t.Helper()
	var got []*kgo.Record
	c.ConsumeUntil(topic, func(r *kgo.Record) bool {
		got = append(got, r)
		return len(got) >= n
	})
	return got
}

// ConsumeUntil reads a topic from its start, read_committed, and calls fn for
// each record until fn returns true.
func (c *Cluster) ConsumeUntil(topic string, fn func(*kgo.Record) (done bool)) {
	c.t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	cl, err := kgo.NewClient(c.Opts(
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)...)
	if err != nil {
		c.t.Fatalf("open a consumer: %v", err)
	}
	defer cl.Close()
	seen := 0
	for {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			c.t.Fatalf("consume %s: %v after %d records", topic, err, seen)
		}
		if errs := fs.Errors(); len(errs) > 0 {
			c.t.Fatalf("consume %s: %v after %d records", topic, errs[0].Err, seen)
		}
		for it := fs.RecordIter(); !it.Done(); {
			seen++
			if fn(it.Next()) {
				return
			}
		}
	}
}

// ReadAll returns what is committed in a topic: partition after partition, in
// offset order. A real cluster writes the markers of a transaction after it
// acknowledged the end, so ReadAll first waits until no transaction is open
// below the high watermark that it found. To look while one is open on
// purpose, use ReadStable.
func (c *Cluster) ReadAll(topic string) []*kgo.Record {
	c.t.Helper()
	c.settle(topic)
	return c.read(topic, kgo.ReadCommitted(), false)
}

// ReadStable returns what a read_committed consumer sees at this moment, up
// to the last stable offset. It waits for nothing.
func (c *Cluster) ReadStable(topic string) []*kgo.Record {
	c.t.Helper()
	return c.read(topic, kgo.ReadCommitted(), false)
}

// settle waits until each partition's last stable offset has reached the high
// watermark of now.
func (c *Cluster) settle(topic string) {
	c.t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	adm := c.Admin()
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		c.t.Fatalf("read %s: %v", topic, err)
	}
	for {
		stable, err := adm.ListCommittedOffsets(ctx, topic)
		if err != nil {
			c.t.Fatalf("read %s: a transaction stays open: %v", topic, err)
		}
		open := false
		ends.Each(func(end kadm.ListedOffset) {
			at, ok := stable.Lookup(topic, end.Partition)
			open = open || !ok || at.Offset < end.Offset
		})
		if !open {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ReadUncommitted returns everything in a topic up to the high watermark:
// also aborted and open transactions, and the control records.
func (c *Cluster) ReadUncommitted(topic string) []*kgo.Record {
	c.t.Helper()
	return c.read(topic, kgo.ReadUncommitted(), true)
}

func (c *Cluster) read(topic string, level kgo.IsolationLevel, control bool) []*kgo.Record {
	c.t.Helper()
	ctx, cancel := c.Context()
	defer cancel()
	cl, adm := c.adminClient(), c.Admin()
	md, err := adm.Metadata(ctx, topic)
	if err != nil {
		c.t.Fatalf("read %s: %v", topic, err)
	}
	td := md.Topics[topic]
	if td.Err != nil {
		c.t.Fatalf("read %s: %v", topic, td.Err)
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		c.t.Fatalf("read %s: %v", topic, err)
	}
	list := adm.ListEndOffsets
	if !control {
		list = adm.ListCommittedOffsets
	}
	ends, err := list(ctx, topic)
	if err != nil {
		c.t.Fatalf("read %s: %v", topic, err)
	}
	parts := td.Partitions.Sorted()
	sort.Slice(parts, func(i, j int) bool { return parts[i].Partition < parts[j].Partition })
	var all []*kgo.Record
	for _, p := range parts {
		from, _ := starts.Lookup(topic, p.Partition)
		to, _ := ends.Lookup(topic, p.Partition)
		r := partitionReader{
			cl: cl, topic: td, partition: p, level: level, control: control,
		}
		recs, err := r.between(ctx, from.Offset, to.Offset)
		if err != nil {
			c.t.Fatalf("read %s[%d]: %v", topic, p.Partition, err)
		}
		all = append(all, recs...)
	}
	return all
}

// partitionReader reads one partition by raw fetches: only they say where a
// batch ends, and so when control records, aborted records or compaction
// leave nothing more to see before an offset.
type partitionReader struct {
	cl        *kgo.Client
	topic     kadm.TopicDetail
	partition kadm.PartitionDetail
	level     kgo.IsolationLevel
	control   bool
}

func (r partitionReader) between(ctx context.Context, from, to int64) ([]*kgo.Record, error) {
	var recs []*kgo.Record
	for at := from; at < to; {
		rp, err := r.fetch(ctx, at)
		if err != nil {
			return nil, err
		}
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset:             at,
			IsolationLevel:     r.level,
			KeepControlRecords: r.control,
			Topic:              r.topic.Topic,
			Partition:          r.partition.Partition,
		}, rp, kgo.DefaultDecompressor(), nil)
		if fp.Err != nil {
			return nil, fp.Err
		}
		for _, rec := range fp.Records {
			if rec.Offset < to {
				recs = append(recs, rec)
			}
		}
		if next <= at {
			return recs, nil // the rest was compacted away
		}
		at = next
	}
	return recs, nil
}

func (r partitionReader) fetch(ctx context.Context, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = 100
	req.MinBytes = 1
	req.MaxBytes = 16 << 20
	if r.level == kgo.ReadCommitted() {
		req.IsolationLevel = 1
	}
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = r.topic.Topic, r.topic.ID
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition = r.partition.Partition
	rp.FetchOffset = at
	rp.PartitionMaxBytes = 8 << 20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, r.cl.Broker(int(r.partition.Leader)))
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("the fetch response holds %d topics", len(resp.Topics))
	}
	return &resp.Topics[0].Partitions[0], nil
}
