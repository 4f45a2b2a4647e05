package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Load says how sagas are started.
type Load struct {
	Sagas int
	// InFlight keeps that many sagas running (closed loop). Not used with Rate.
	InFlight int
	// Rate starts that many sagas per second, whatever becomes of them (open loop). 0 is a closed loop.
	Rate float64
	// Refused of 100 sagas are refused by a participant and compensated, evenly spread.
	Refused int
}

// Outcome is what a load saw.
type Outcome struct {
	Completed, Compensated int
	Took                   time.Duration   // from the first start to the last end
	Latency                []time.Duration // of each saga, sorted: from its start record to the fact that it has ended
}

// Driver starts sagas as a producer does, and sees them end as a reader of committed facts does.
type Driver struct {
	client *kgo.Client
	topics protocol.Topics
	work   *Workload
}

// NewDriver connects to the cluster that opts name.
func NewDriver(opts []kgo.Opt, topics protocol.Topics, work *Workload) (*Driver, error) {
	cl, err := kgo.NewClient(append(opts[:len(opts):len(opts)],
		kgo.ConsumeTopics(topics.Lifecycle),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1<<20),
		kgo.DisableClientMetrics(),
	)...)
	if err != nil {
		return nil, err
	}
	return &Driver{client: cl, topics: topics, work: work}, nil
}

// Close ends the connections.
func (d *Driver) Close() { d.client.Close() }

// ErrNotEnded is in the error of Run when ctx ends before the last saga does.
var ErrNotEnded = errors.New("sagas have not ended")

// Run drives one load. prefix makes the workflow IDs; no two runs of a namespace share one.
func (d *Driver) Run(ctx context.Context, l Load, prefix string) (Outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun := make(map[string]time.Time, max(l.InFlight, 1024))
	out := Outcome{Latency: make([]time.Duration, 0, l.Sagas)}
	started := 0
	start := func(at time.Time) {
		refused := l.Refused > 0 && started*l.Refused/100 != (started+1)*l.Refused/100
		wid, value := d.work.Start(prefix, started, refused)
		started++
		begun[wid] = at
		d.client.Produce(ctx, &kgo.Record{Topic: d.topics.Intake, Key: []byte(wid), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("start: %w", err))
			}
		})
	}
	first := time.Now()
	// due is how many sagas should have been started by now. In an open loop each counts from the moment
	// at which it should have started, so that a stall is not hidden by starting late.
	fill := func() {
		if l.Rate == 0 {
			for started < l.Sagas && len(begun) < l.InFlight {
				start(time.Now())
			}
			return
		}
		for started < l.Sagas {
			at := first.Add(time.Duration(float64(started) / l.Rate * float64(time.Second)))
			if time.Now().Before(at) {
				return
			}
			start(at)
		}
	}
	for len(out.Latency) < l.Sagas {
		fill()
		poll, stop := ctx, context.CancelFunc(func() {})
		if l.Rate > 0 && started < l.Sagas {
			next := first.Add(time.Duration(float64(started) / l.Rate * float64(time.Second)))
			poll, stop = context.WithDeadline(ctx, next)
		}
		fetches := d.client.PollFetches(poll)
		stop()
		if ctx.Err() != nil {
			return out, fmt.Errorf("%d of %d %w: %w", l.Sagas-len(out.Latency), l.Sagas, ErrNotEnded, context.Cause(ctx))
		}
		now := time.Now()
		fetches.EachRecord(func(r *kgo.Record) {
			at, mine := begun[string(r.Key)]
			if !mine {
				return
			}
			switch kindOf(r) {
			case sagas.KindCompleted:
				out.Completed++
			case sagas.KindCompensated:
				out.Compensated++
			default:
				return
			}
			delete(begun, string(r.Key))
			out.Latency = append(out.Latency, now.Sub(at))
		})
	}
	out.Took = time.Since(first)
	slices.Sort(out.Latency)
	return out, nil
}

func kindOf(r *kgo.Record) sagas.Kind {
	for i := range r.Headers {
		if r.Headers[i].Key == protocol.HeaderKind {
			return sagas.Kind(r.Headers[i].Value)
		}
	}
	return ""
}

// Percentile of sorted durations, p from 0 to 100.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p/100))]
}
