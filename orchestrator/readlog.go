package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of one reading of a log. What they cut off is said in the answer.
const (
	logReaders    = 4       // at a time, in one process
	logRecordsMax = 300_000 // that one reading may look at
	logBytesMax   = 128 << 20
	logPatience   = 5 * time.Second
	logIdle       = 4 // polls without a record
)

// logReader reads parts of topics for questions. Each reading has a client of its own, so that it can end
// at any moment and shares no positions with anybody.
type logReader struct {
	cfg   Config
	slots chan struct{}
}

func newLogReader(cfg Config) *logReader {
	return &logReader{cfg: cfg, slots: make(chan struct{}, logReaders)}
}

// span is a part of one partition; To is exclusive.
type span struct {
	Topic     string
	Partition int32
	From, To  int64
}

// read visits the committed records of the spans until fn returns false. Not whole: it gave up before it had
// come to the ends.
func (l *logReader) read(ctx context.Context, spans func(context.Context, *kadm.Client) ([]span, error), fn func(*kgo.Record) bool) (whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return false, &Error{Code: CodeUnreachable, Class: ErrUnreachable, Cause: "too many readers of the log at once", Fix: "Ask again in a moment."}
	}
	cl, err := kgo.NewClient(l.cfg.clientOpts(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))...)
	if err != nil {
		return false, &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer cl.Close()
	list, err := spans(ctx, kadm.NewClient(cl))
	if err != nil {
		return false, unreachable("read the log", err)
	}
	type place struct {
		topic     string
		partition int32
	}
	left := map[place]int64{}
	from := map[string]map[int32]kgo.Offset{}
	for _, s := range list {
		if s.From >= s.To {
			continue
		}
		left[place{s.Topic, s.Partition}] = s.To
		if from[s.Topic] == nil {
			from[s.Topic] = map[int32]kgo.Offset{}
		}
		from[s.Topic][s.Partition] = kgo.NewOffset().At(s.From)
	}
	if len(left) == 0 {
		return true, nil
	}
	cl.AddConsumePartitions(from)
	records, bytes, idle := 0, 0, 0
	for len(left) > 0 {
		// Markers are shown, so an end that does not come is a slow broker, or gone by compaction: which of the two
		// it is nobody says, so that what was read does not count as the whole.
		poll, stop := context.WithTimeout(ctx, 700*time.Millisecond)
		fetches := cl.PollFetches(poll)
		stop()
		if ctx.Err() != nil {
			return false, nil
		}
		var failed error
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				failed = err
			}
		})
		if failed != nil {
			return false, unreachable("read the log", failed)
		}
		recs := fetches.Records()
		if len(recs) == 0 {
			if idle++; idle == logIdle {
				return false, nil
			}
			continue
		}
		idle = 0
		for _, rec := range recs {
			at := place{rec.Topic, rec.Partition}
			to, open := left[at]
			if !open {
				continue
			}
			if rec.Offset < to && !rec.Attrs.IsControl() {
				records, bytes = records+1, bytes+len(rec.Value)
				if !fn(rec) {
					return true, nil
				}
				if records >= logRecordsMax || bytes >= logBytesMax {
					return false, nil
				}
			}
			if rec.Offset >= to-1 {
				delete(left, at)
				cl.PauseFetchPartitions(map[string][]int32{rec.Topic: {rec.Partition}})
			}
		}
	}
	return true, nil
}

// since gives the spans of some partitions from a moment (ms; 0 = the beginning) to another (0 = the end).
func since(from, to int64, partitions map[string][]int32) func(context.Context, *kadm.Client) ([]span, error) {
	return func(ctx context.Context, adm *kadm.Client) ([]span, error) {
		var topics []string
		for topic := range partitions {
			topics = append(topics, topic)
		}
		starts, err := adm.ListStartOffsets(ctx, topics...)
		if err != nil {
			return nil, err
		}
		if from > 0 {
			after, err := adm.ListOffsetsAfterMilli(ctx, from, topics...)
			if err != nil {
				return nil, err
			}
			after.Each(func(o kadm.ListedOffset) {
				if s, ok := starts.Lookup(o.Topic, o.Partition); ok && o.Err == nil && o.Offset > s.Offset {
					s.Offset = o.Offset
					starts[o.Topic][o.Partition] = s
				}
			})
		}
		ends, err := adm.ListCommittedOffsets(ctx, topics...)
		if err != nil {
			return nil, err
		}
		if to > 0 {
			before, err := adm.ListOffsetsAfterMilli(ctx, to+1, topics...)
			if err != nil {
				return nil, err
			}
			before.Each(func(o kadm.ListedOffset) {
				if e, ok := ends.Lookup(o.Topic, o.Partition); ok && o.Err == nil && o.Offset >= 0 && o.Offset < e.Offset {
					e.Offset = o.Offset
					ends[o.Topic][o.Partition] = e
				}
			})
		}
		var out []span
		for topic, list := range partitions {
			all := list
			if all == nil {
				for p := range ends[topic] {
					all = append(all, p)
				}
			}
			for _, p := range all {
				s, ok := starts.Lookup(topic, p)
				e, ok2 := ends.Lookup(topic, p)
				if ok && ok2 && s.Err == nil && e.Err == nil {
					out = append(out, span{topic, p, s.Offset, e.Offset})
				}
			}
		}
		return out, nil
	}
}
