package bindings

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
)

// Span is a part of a topic by the times of its records: [From, To).
type Span struct{ From, To time.Time }

// Reread says what reading a part of a topic again came to.
type Reread struct {
	Records int      `json:"records"` // read
	Matched int      `json:"matched"`
	Passed  int      `json:"passed"`
	Dead    int      `json:"dead"`    // have no outputs; nothing was written for them
	Written int      `json:"written"` // records on the intake
	Reasons []string `json:"reasons,omitempty"`
}

// MaxReplay bounds the records of one replay.
const MaxReplay = 100_000

// maxReasons bounds the reasons that a replay repeats.
const maxReasons = 10

// ErrTooMany says that a replay would read more than MaxReplay records.
var ErrTooMany = errors.New("too many records for one replay")

// one evaluates single records, beside any reader.
type one struct {
	r   reader
	ev  Event
	kvs []sagas.KV
}

func (r *Router) one(rule Rule) *one {
	o := &one{r: reader{cfg: &r.cfg, topics: r.topics, key: rule.Key(), topic: rule.Topic()}}
	o.r.current.Store(&rule)
	return o
}

func (o *one) evaluate(ctx context.Context, rec *kgo.Record) ([]*kgo.Record, error) {
	if rec.Value == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, decodePatience)
	defer cancel()
	if err := o.r.take(ctx, &o.ev, rec, &o.kvs); err != nil {
		return nil, err
	}
	outs, err := o.r.rule().Evaluate(&o.ev, nil)
	if err != nil {
		return nil, err
	}
	var list []*kgo.Record
	for i := range outs {
		list = append(list, o.r.record(&outs[i], o.r.cfg.Clock().UnixMilli()))
	}
	return list, nil
}

// Again evaluates one record, as of a dead letter, and gives what it becomes now. The error is a *Fault when it
// would be a dead letter again.
func (r *Router) Again(ctx context.Context, rule Rule, rec *kgo.Record) ([]*kgo.Record, error) {
	return r.one(rule).evaluate(ctx, rec)
}

// Replay reads a part of the topic of a rule again and, unless dry, writes what it becomes by write. The
// position of the rule stays where it is. Events keep their ids, so what was taken before is a duplicate.
func (r *Router) Replay(ctx context.Context, rule Rule, span Span, dry bool, write func(context.Context, []*kgo.Record) error) (Reread, error) {
	var out Reread
	at, ends, err := r.offsets(ctx, rule.Topic(), span)
	if err != nil || len(at) == 0 {
		return out, err
	}
	cl, err := kgo.NewClient(append(r.cfg.Client[:len(r.cfg.Client):len(r.cfg.Client)], kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{rule.Topic(): at}), kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		return out, err
	}
	defer cl.Close()
	one := r.one(rule)
	for len(ends) > 0 {
		fetches := cl.PollRecords(ctx, 1000)
		if err := ctx.Err(); err != nil {
			return out, err
		}
		var failed error
		fetches.EachError(func(_ string, _ int32, err error) { failed = err })
		if failed != nil {
			return out, fmt.Errorf("read topic %s: %w", rule.Topic(), failed)
		}
		var batch []*kgo.Record
		for _, rec := range fetches.Records() {
			end, ok := ends[rec.Partition]
			if !ok {
				continue
			}
			if rec.Offset+1 >= end {
				delete(ends, rec.Partition)
			}
			if rec.Offset >= end || rec.Attrs.IsControl() {
				continue
			}
			out.Records++
			list, err := one.evaluate(ctx, rec)
			var f *Fault
			switch {
			case errors.As(err, &f):
				out.Dead++
				if len(out.Reasons) < maxReasons {
					out.Reasons = append(out.Reasons, fmt.Sprintf("%s/%d@%d: %s", rec.Topic, rec.Partition, rec.Offset, f.Message))
				}
			case errors.Is(err, schema.ErrUnavailable), err != nil:
				return out, err
			case len(list) == 0:
				out.Passed++
			default:
				out.Matched++
				batch = append(batch, list...)
			}
		}
		if !dry && len(batch) > 0 {
			if err := write(ctx, batch); err != nil {
				return out, err
			}
			out.Written += len(batch)
		}
	}
	return out, nil
}

// offsets are where a span begins and ends, of the partitions in which it is not empty.
func (r *Router) offsets(ctx context.Context, topic string, span Span) (map[int32]kgo.Offset, map[int32]int64, error) {
	cl, err := kgo.NewClient(r.cfg.Client...)
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := adm.ListOffsetsAfterMilli(ctx, span.From.UnixMilli(), topic)
	if err != nil {
		return nil, nil, err
	}
	committed, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	until := kadm.ListedOffsets{}
	if !span.To.IsZero() {
		if until, err = adm.ListOffsetsAfterMilli(ctx, span.To.UnixMilli(), topic); err != nil {
			return nil, nil, err
		}
	}
	at, ends, records := map[int32]kgo.Offset{}, map[int32]int64{}, int64(0)
	for partition, from := range starts[topic] {
		end, ok := committed.Lookup(topic, partition)
		if !ok || from.Err != nil || end.Err != nil {
			return nil, nil, fmt.Errorf("offsets of %s/%d: %w", topic, partition, errors.Join(from.Err, end.Err))
		}
		to := end.Offset
		if u, ok := until.Lookup(topic, partition); ok && u.Err == nil {
			to = min(to, u.Offset)
		}
		if from.Offset < to {
			at[partition], ends[partition] = kgo.NewOffset().At(from.Offset), to
			records += to - from.Offset
		}
	}
	if records > MaxReplay {
		return nil, nil, fmt.Errorf("%w: %d in topic %s, at most %d; narrow the times", ErrTooMany, records, topic, MaxReplay)
	}
	return at, ends, nil
}
