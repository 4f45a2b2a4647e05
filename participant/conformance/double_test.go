package conformance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// double is a participant written from the protocol page alone, with a place for each of the usual mistakes. Its
// partitions are served at the same time, as by processes of their own; its database is a map under a lock.
type double struct {
	fault string
	topic string

	mu      sync.Mutex
	rows    map[string]*row
	effects map[string]int // by saga-key of the do
	serial  int
}

type row struct {
	outcome, code, output, sum string
	noop, undone, running      bool
}

// serve answers commands until the test ends.
func serve(t *testing.T, k *kafkatest.Cluster, topic, fault string) *double {
	d := &double{fault: fault, topic: topic, rows: map[string]*row{}, effects: map[string]int{}}
	level := kgo.ReadCommitted()
	if fault == "reads uncommitted" {
		level = kgo.ReadUncommitted()
	}
	cl, err := kgo.NewClient(k.Opts(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var lives sync.WaitGroup
	lanes := map[int32]chan *kgo.Record{}
	lives.Go(func() {
		defer func() {
			for _, lane := range lanes {
				close(lane)
			}
		}()
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
				lane := lanes[rec.Partition]
				if lane == nil {
					lane = make(chan *kgo.Record, 1000)
					lanes[rec.Partition] = lane
					lives.Go(func() {
						for rec := range lane {
							if reply := d.handle(rec); reply != nil {
								cl.Produce(ctx, reply, nil)
							}
						}
					})
				}
				lane <- rec
			})
		}
	})
	t.Cleanup(func() {
		stop()
		lives.Wait()
		cl.Close()
	})
	return d
}

func (d *double) handle(rec *kgo.Record) *kgo.Record {
	h := map[string]string{}
	for _, x := range rec.Headers {
		h[x.Key] = string(x.Value)
	}
	if h["saga-token"] == "" {
		return nil
	}
	r, effect := d.answer(h, rec.Value)
	partition, _ := strconv.Atoi(h["saga-reply-partition"])
	if d.fault == "echoes no partition" { // as librdkafka's default partitioner
		partition = int(crc32.ChecksumIEEE([]byte(h["saga-wid"])) % 6)
	}
	reply := &kgo.Record{Topic: h["saga-reply-to"], Partition: int32(partition), Key: []byte(h["saga-wid"]), Value: []byte(r.output)}
	add := func(k, v string) {
		if v != "" {
			reply.Headers = append(reply.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
	}
	add("saga-token", h["saga-token"])
	add("saga-outcome", r.outcome)
	add("saga-code", r.code)
	add("saga-effect", effect)
	if r.noop {
		add("saga-noop", "true")
	}
	return reply
}

func (d *double) answer(h map[string]string, payload []byte) (r row, effect string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	op, key, fwd := h["saga-op"], h["saga-key"], h["saga-fwd-key"]
	sum := op + string(payload)
	deadline, _ := strconv.ParseInt(h["saga-deadline"], 10, 64)
	expired := op == "do" && time.Now().UnixMilli() > deadline
	if expired && d.fault == "looks at the deadline first" {
		return row{outcome: "failed-retriable", code: "EXPIRED"}, "none"
	}
	tombstone := row{outcome: "rejected", code: "SUPPRESSED"}
	if d.fault == "success on a tombstone" {
		tombstone = row{outcome: "ok", output: "{}"}
	}
	var was *row
	if op != "do" {
		if was = d.rows[fwd]; was == nil && d.fault != "checks, then acts" && (op != "inquire" || d.fault != "inquires without a tombstone") {
			was = &tombstone
			d.rows[fwd] = was
			was.noop = true // here: nothing ran
		}
		if was != nil && was.running && d.fault != "checks, then acts" {
			return row{outcome: "failed-retriable", code: "BUSY"}, ""
		}
		if was != nil && was.running {
			was = nil // it sees no row of a transaction that is open
		}
	}
	if op == "inquire" {
		if was != nil && was.outcome == "ok" && !was.undone && !was.noop {
			return row{outcome: "executed", output: was.output}, ""
		}
		return row{outcome: "not-executed"}, ""
	}
	if old := d.rows[key]; old != nil && d.fault != "does the effect twice" {
		switch {
		case old.running:
			return row{outcome: "failed-retriable", code: "BUSY"}, ""
		case old.sum != "" && old.sum != sum && d.fault != "takes a key twice":
			return row{outcome: "failed-fatal", code: "KEY_REUSED"}, ""
		case old.sum == "" || old.sum == sum:
			again := *old
			again.noop = again.noop && op == "undo"
			return again, ""
		}
	}
	if expired {
		return row{outcome: "failed-retriable", code: "EXPIRED"}, "none"
	}
	r = row{outcome: "ok", output: "{}", sum: sum}
	if op == "undo" {
		switch {
		case was == nil, was.noop, was.outcome == "rejected":
			r.noop = true
		case was.undone && d.fault != "undoes twice":
		default:
			was.undone = true
			d.effects[fwd]--
		}
		d.keep(key, r)
		return r, ""
	}
	var in struct {
		Refuse bool  `json:"refuse"`
		Slow   int64 `json:"slow"`
	}
	if json.Unmarshal(payload, &in) != nil {
		r = row{outcome: "failed-fatal", code: "BAD_COMMAND", sum: sum}
		d.keep(key, r)
		return r, "none"
	}
	if in.Refuse {
		r = row{outcome: "rejected", code: "NO", sum: sum}
		if d.fault != "forgets refusals" {
			d.keep(key, r)
		}
		return r, ""
	}
	if in.Slow > 0 {
		d.rows[key] = &row{running: true, sum: sum}
		d.mu.Unlock()
		time.Sleep(time.Duration(in.Slow) * time.Millisecond)
		d.mu.Lock()
	}
	d.serial++
	d.effects[key]++
	r.output = fmt.Sprintf(`{"id":"%d"}`, d.serial)
	d.keep(key, r)
	return r, ""
}

// keep stores a copy: others change it while the caller still returns its own.
func (d *double) keep(key string, r row) { d.rows[key] = &r }

// count is what the business says of a do.
func (d *double) count(_ context.Context, key string) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.effects[key], nil
}
