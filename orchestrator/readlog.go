package orchestrator

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
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

// logReader reads parts of topics for questions. A reading has a client to itself, so that it can end at any
// moment and shares no positions with anybody.
type logReader struct{ clients *logClients }

func newLogReader(cfg Config) *logReader {
	return &logReader{newLogClients(logReaders, cfg.clientOpts(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))...)}
}

// span is a part of one partition; To is exclusive.
type span struct {
	Topic     string
	Partition int32
	From, To  int64
}

// spansOf says what is to be read, and what cannot be: each a topic or topic[partition], and why.
type spansOf func(context.Context, *kadm.Client) (list []span, unread []string, err error)

// read visits the committed records of the spans until fn returns false. Not whole: it gave up before it had
// come to the ends, or a part could not be listed; unread says which.
func (l *logReader) read(ctx context.Context, spans spansOf, fn func(*kgo.Record) bool) (whole bool, unread []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	cl, err := l.clients.take(ctx)
	switch {
	case ctx.Err() != nil && err != nil:
		return false, nil, &Error{Code: CodeUnreachable, Class: ErrUnreachable, Cause: "too many readers of the log at once", Fix: "Ask again in a moment."}
	case err != nil:
		return false, nil, &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	clean := false
	defer func() { cl.release(clean) }()
	list, unread, err := spans(ctx, kadm.NewClient(cl.Client))
	if err != nil {
		return false, unread, unreachable("read the log", err)
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
		clean = true
		return len(unread) == 0, unread, nil
	}
	cl.consume(from)
	records, bytes, idle := 0, 0, 0
	for len(left) > 0 {
		// Markers are shown, so an end that does not come is a slow broker, or gone by compaction: which of the two
		// it is nobody says, so that what was read does not count as the whole.
		poll, stop := context.WithTimeout(ctx, 700*time.Millisecond)
		fetches := cl.PollFetches(poll)
		stop()
		if ctx.Err() != nil {
			return false, unread, nil
		}
		var failed error
		fetches.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				failed = err
			}
		})
		if failed != nil {
			return false, unread, unreachable("read the log", failed)
		}
		recs := fetches.Records()
		if len(recs) == 0 {
			if idle++; idle == logIdle {
				return false, unread, nil
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
					clean = true
					return len(unread) == 0, unread, nil
				}
				if records >= logRecordsMax || bytes >= logBytesMax {
					return false, unread, nil
				}
			}
			if rec.Offset >= to-1 {
				delete(left, at)
				cl.PauseFetchPartitions(map[string][]int32{rec.Topic: {rec.Partition}})
			}
		}
	}
	clean = true
	return len(unread) == 0, unread, nil
}

// since gives the spans of some partitions from a moment (ms; 0 = the beginning) to another (0 = the end), and the
// partitions that could not be listed.
func since(from, to int64, partitions map[string][]int32) spansOf {
	return func(ctx context.Context, adm *kadm.Client) (list []span, unread []string, err error) {
		var topics []string
		for topic := range partitions {
			topics = append(topics, topic)
		}
		// All at once: a page waits for this.
		var starts, ends, after, before kadm.ListedOffsets
		var asked errgroup
		asked.run(func() (err error) { starts, err = adm.ListStartOffsets(ctx, topics...); return err })
		asked.run(func() (err error) { ends, err = adm.ListCommittedOffsets(ctx, topics...); return err })
		if from > 0 {
			asked.run(func() (err error) { after, err = adm.ListOffsetsAfterMilli(ctx, from, topics...); return err })
		}
		if to > 0 {
			asked.run(func() (err error) { before, err = adm.ListOffsetsAfterMilli(ctx, to+1, topics...); return err })
		}
		if err := asked.wait(); err != nil {
			return nil, nil, err
		}
		after.Each(func(o kadm.ListedOffset) {
			if s, ok := starts.Lookup(o.Topic, o.Partition); ok && o.Err == nil && o.Offset > s.Offset {
				s.Offset = o.Offset
				starts[o.Topic][o.Partition] = s
			}
		})
		before.Each(func(o kadm.ListedOffset) {
			if e, ok := ends.Lookup(o.Topic, o.Partition); ok && o.Err == nil && o.Offset >= 0 && o.Offset < e.Offset {
				e.Offset = o.Offset
				ends[o.Topic][o.Partition] = e
			}
		})
		for topic, all := range partitions {
			if all == nil {
				for p := range ends[topic] {
					if p >= 0 {
						all = append(all, p)
					}
				}
				if len(all) == 0 {
					unread = append(unread, topic+": "+reason(ends[topic][-1].Err, starts[topic][-1].Err, errNotListed))
				}
			}
			for _, p := range all {
				s, ok := starts.Lookup(topic, p)
				e, ok2 := ends.Lookup(topic, p)
				if !ok || !ok2 || s.Err != nil || e.Err != nil {
					unread = append(unread, topic+"["+strconv.Itoa(int(p))+"]: "+reason(e.Err, s.Err, errNotListed))
					continue
				}
				list = append(list, span{topic, p, s.Offset, e.Offset})
			}
		}
		slices.Sort(unread)
		return list, unread, nil
	}
}

var errNotListed = errors.New("no broker lists it")

// reason is the first error that there is.
func reason(errs ...error) string {
	for _, err := range errs {
		if err != nil {
			return err.Error()
		}
	}
	return ""
}

// errgroup runs questions beside one another.
type errgroup struct {
	running sync.WaitGroup
	mu      sync.Mutex
	first   error
}

func (g *errgroup) run(fn func() error) {
	g.running.Go(func() {
		if err := fn(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.first == nil {
				g.first = err
			}
		}
	})
}

func (g *errgroup) wait() error {
	g.running.Wait()
	return g.first
}
