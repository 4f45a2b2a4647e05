package topologytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/topology"
)

// Start is what the clock shows when a Driver is made.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Options change a Driver. The zero value is one task with one partition.
type Options struct {
	// Partitions of each input, and Tasks. Default 1 each; tasks at most partitions.
	Partitions, Tasks int32
	// Change has the last word on the configuration, for limits and hooks.
	Change func(*topology.Config)
}

// Driver runs one topology. It fails its test when the topology fails.
type Driver struct {
	t     testing.TB
	d     *topology.Driver
	clock *time.Time
	out   map[string][]*topology.Record // not asked for yet, by topic
	all   []*topology.Record
}

// New runs t on one task.
func New(tb testing.TB, t *topology.Topology) *Driver { return NewWith(tb, t, Options{}) }

// NewWith runs t as o says.
func NewWith(tb testing.TB, t *topology.Topology, o Options) *Driver {
	tb.Helper()
	return NewConfig(tb, t.Config(topology.Config{}), o)
}

// NewConfig runs the processor of a configuration that no builder made. cfg has Inputs, Processor and
// Index.
func NewConfig(tb testing.TB, cfg topology.Config, o Options) *Driver {
	tb.Helper()
	now := Start
	x := &Driver{t: tb, clock: &now, out: make(map[string][]*topology.Record)}
	cfg.Clock = func() time.Time { return *x.clock }
	if o.Change != nil {
		o.Change(&cfg)
	}
	d, err := topology.NewDriver(cfg, max(o.Partitions, 1), max(o.Tasks, 1))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	x.d = d
	x.settle()
	return x
}

// cyclesMax ends a topology that feeds itself for ever.
const cyclesMax = 100_000

// settle runs cycles until nothing is left to do now.
func (x *Driver) settle() {
	x.t.Helper()
	if err := x.Try(); err != nil {
		x.t.Fatal(err)
	}
}

// Try runs cycles until nothing is left to do now, and returns the error that would halt a task.
func (x *Driver) Try() error {
	defer x.collect()
	for range cyclesMax {
		worked, err := x.d.Cycle(context.Background())
		if err != nil {
			return err
		}
		if !worked {
			return nil
		}
	}
	return errors.New("the topology does not come to rest")
}

func (x *Driver) collect() {
	for _, rec := range x.d.Output() {
		x.out[rec.Topic] = append(x.out[rec.Topic], rec)
		x.all = append(x.all, rec)
	}
}

// Pipe gives one record to the topology and runs it. An empty key is none. The record's time is now.
func (x *Driver) Pipe(topic, key, value string) {
	x.t.Helper()
	rec := topology.Record{Topic: topic, Partition: topology.ByKey, Value: []byte(value)}
	if key != "" {
		rec.Key = []byte(key)
	}
	x.PipeRecord(rec)
}

// PipeRecord gives records as they are and runs them together; a record without time gets the
// clock's. Partition is taken when zero or above.
func (x *Driver) PipeRecord(records ...topology.Record) {
	x.t.Helper()
	x.Queue(records...)
	x.settle()
}

// Queue gives records and does not run them yet: Try, or the next call that runs, takes them.
func (x *Driver) Queue(records ...topology.Record) {
	x.t.Helper()
	for _, rec := range records {
		if rec.Timestamp.IsZero() {
			rec.Timestamp = *x.clock
		}
		if _, err := x.d.Input(rec); err != nil {
			x.t.Fatal(err)
		}
	}
}

// Read takes what was committed to a topic since the last Read of it.
func (x *Driver) Read(topic string) []*topology.Record {
	list := x.out[topic]
	delete(x.out, topic)
	return list
}

// All lists everything that was committed to any topic, in order.
func (x *Driver) All() []*topology.Record { return slices.Clone(x.all) }

// Want reads a topic and compares it with records written as "key=value".
func (x *Driver) Want(topic string, want ...string) {
	x.t.Helper()
	got := []string{}
	for _, rec := range x.Read(topic) {
		got = append(got, fmt.Sprintf("%s=%s", rec.Key, rec.Value))
	}
	if !slices.Equal(got, want) && len(got)+len(want) > 0 {
		x.t.Fatalf("topic %s\n got %s\nwant %s", topic, strings.Join(got, "  "), strings.Join(want, "  "))
	}
}

// Now is what the clock shows.
func (x *Driver) Now() time.Time { return *x.clock }

// Advance moves the wall clock on. It stops at each due time on the way, so that what is due runs at
// its time and what that makes due runs too.
func (x *Driver) Advance(d time.Duration) {
	x.t.Helper()
	end := x.clock.Add(d)
	for {
		due, ok := x.d.NextDue()
		at := time.UnixMilli(due)
		if !ok || at.After(end) {
			break
		}
		if at.After(*x.clock) {
			*x.clock = at.UTC()
		}
		x.settle()
		if next, ok := x.d.NextDue(); ok && next <= due && !x.clock.Before(end) {
			break // kept due: settle has said why, or it is due now for good
		}
	}
	*x.clock = end
	x.settle()
}

// Crash loses all memory and all disks; everything comes back from the changelog. What was queued and
// not run is read again.
func (x *Driver) Crash() {
	x.t.Helper()
	if err := x.d.Restart(); err != nil {
		x.t.Fatal(err)
	}
	x.settle()
}

// Refuse has the broker refuse outputs for which fn gives an error, as kerr.MessageTooLarge; nil ends
// that.
func (x *Driver) Refuse(fn func(rec *topology.Record) error) { x.d.Refuse(fn) }

// Store lists a store of a built topology over all tasks, as key → value.
func (x *Driver) Store(name string) map[string]string {
	x.t.Helper()
	prefix := "s" + name + "\x00"
	all := make(map[string]string)
	for task := range x.d.Tasks() {
		err := x.d.View(task).Scan([]byte(prefix), nil, func(key, value []byte) bool {
			all[string(key[len(prefix):])] = string(value)
			return true
		})
		if err != nil {
			x.t.Fatal(err)
		}
	}
	return all
}

// View reads the raw store of a task.
func (x *Driver) View(task int32) topology.View { return x.d.View(task) }

// TaskOf is the task that a key belongs to.
func (x *Driver) TaskOf(key string) int32 { return x.d.TaskOf([]byte(key)) }
