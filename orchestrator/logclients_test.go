package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLogClients reads overlapping parts of one topic again and again over few clients, some of the readings cut
// short: each has to see its own records, all of them and no other.
func TestLogClients(t *testing.T) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	cfg := Config{Brokers: broker.ListenAddrs()}.withDefaults()
	cl, err := kgo.NewClient(cfg.clientOpts(kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	const records = 200
	for n := range records {
		for p := range int32(3) {
			cl.Produce(t.Context(), &kgo.Record{Topic: "log", Partition: p, Value: fmt.Appendf(nil, "%d/%d", p, n)}, nil)
		}
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	l := newLogReader(cfg)
	l.clients.open()
	read := func(i int) error {
		p, from := int32(i%3), int64(i*7%150)
		to, stop := from+40, int64(40)
		if i%2 == 1 {
			stop = 5 // the caller has enough
		}
		next := from
		whole, unread, err := l.read(t.Context(), func(context.Context, *kadm.Client) ([]span, []string, error) {
			return []span{{"log", p, from, to}}, nil, nil
		}, func(rec *kgo.Record) bool {
			if want := fmt.Sprintf("%d/%d", p, next); string(rec.Value) != want || rec.Offset != next {
				err = errors.Join(err, fmt.Errorf("reading %d: record %s, want %s", i, rec.Value, want))
			}
			next++
			return next < from+stop
		})
		if err == nil && (!whole || len(unread) > 0 || next != from+stop) {
			err = fmt.Errorf("reading %d: whole %v, unread %v, came to %d of %d", i, whole, unread, next, from+stop)
		}
		return err
	}
	var readers sync.WaitGroup
	for r := range 8 { // twice as many as there are slots
		readers.Go(func() {
			for i := range 12 {
				if err := read(r*12 + i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Wait()
	if n := len(l.clients.idle); n == 0 || n > logReaders {
		t.Errorf("%d clients are kept, of at most %d", n, logReaders)
	}

	// What does not come to its end is not kept.
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	before := len(l.clients.idle)
	whole, _, err := l.read(short, func(context.Context, *kadm.Client) ([]span, []string, error) {
		return []span{{"log", 0, 0, records + 10}}, nil, nil
	}, func(*kgo.Record) bool { return true })
	if whole || err != nil || len(l.clients.idle) != before-1 {
		t.Errorf("whole %v, %v; %d clients are kept, before %d", whole, err, len(l.clients.idle), before)
	}

	l.clients.close()
	if err := read(0); err != nil || len(l.clients.idle) != 0 {
		t.Errorf("after the end: %v, %d clients are kept", err, len(l.clients.idle))
	}
}
