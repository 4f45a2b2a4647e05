package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/unread"
)

// desk is what people leave for one another: who looks after a task, what became of a dead letter, bulk
// actions. It lies in the members topic, under keys that no member has, and every process holds all of it. The
// newest record of a key counts; nothing in the engine depends on it.
type desk struct {
	topic string
	log   *slog.Logger

	mu      sync.Mutex
	next    int64
	values  map[string][]byte
	changed chan struct{} // closed and replaced with every change
}

// Keys of the desk. deskPrefix begins no id of a group member.
const (
	deskPrefix = "!"
	deskClaim  = "!claim/"  // + workflow ID + 0x00 + path
	deskLetter = "!letter/" // + offset in the dead-letter topic
	deskBatch  = "!batch/"  // + id

	maxDesk      = 50_000
	maxDeskValue = 64 << 10
)

func newDesk(topic string, log *slog.Logger) *desk {
	return &desk{topic: topic, log: log, values: map[string][]byte{}, changed: make(chan struct{})}
}

// tail follows the topic until ctx ends.
func (d *desk) tail(ctx context.Context, cfg Config) {
	cl, err := kgo.NewClient(cfg.clientOpts(readerOpts()...)...)
	if err != nil {
		d.log.Warn("what people left cannot be read", "err", err)
		return
	}
	defer cl.Close()
	consumeDefinitions(cl, d.topic)
	var faults unread.Faults
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		faults.After(ctx, fetches, func(_ string, _ int32, err error) {
			d.log.Warn("what people left cannot be read", "topic", d.topic, "err", err)
		})
		d.absorb(fetches.Records())
	}
}

func (d *desk) absorb(recs []*kgo.Record) {
	if len(recs) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rec := range recs {
		d.next = rec.Offset + 1
		key := string(rec.Key)
		switch {
		case rec.Attrs.IsControl() || !strings.HasPrefix(key, deskPrefix):
		case rec.Value == nil:
			delete(d.values, key)
		case len(rec.Value) > maxDeskValue:
			d.log.Warn("a record is too large and ignored", "topic", d.topic, "offset", rec.Offset)
		default:
			if _, there := d.values[key]; !there && len(d.values) >= maxDesk {
				d.log.Warn("people left too many things, this one is ignored", "topic", d.topic, "offset", rec.Offset, "limit", maxDesk)
				continue
			}
			d.values[key] = rec.Value
		}
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// get reads one value; false when there is none.
func (d *desk) get(key string, into any) bool {
	d.mu.Lock()
	value, ok := d.values[key]
	d.mu.Unlock()
	return ok && json.Unmarshal(value, into) == nil
}

// under gives the values whose keys begin with a prefix, by what follows it.
func (d *desk) under(prefix string) map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string][]byte{}
	for key, value := range maps.All(d.values) {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			out[rest] = value
		}
	}
	return out
}

// deskPatience bounds how long a writer waits to see what it wrote.
const deskPatience = 5 * time.Second

// put writes a value, nil to remove it, and returns when this process has it.
func (d *desk) put(ctx context.Context, cl *kgo.Client, key string, value any) error {
	if cl == nil {
		return movingError(errors.New("this process does not run yet, or no more"))
	}
	rec := &kgo.Record{Topic: d.topic, Key: []byte(key)}
	if value != nil {
		b, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if len(b) > maxDeskValue {
			return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: "it is too large to be kept"}
		}
		rec.Value = b
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return unreachable("write to topic "+d.topic, err)
	}
	patience := time.NewTimer(deskPatience)
	defer patience.Stop()
	for {
		d.mu.Lock()
		have, changed := d.next > rec.Offset, d.changed
		d.mu.Unlock()
		if have {
			return nil
		}
		select {
		case <-changed:
		case <-patience.C:
			return nil // it is written; this process will see it later
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
