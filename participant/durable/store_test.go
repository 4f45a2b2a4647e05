package durable

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
)

// committed is what a changelog holds: the writes of the transactions that were committed.
type committed struct {
	turn    chan struct{}
	entries map[string][]byte
}

func (c *committed) Get(key []byte) ([]byte, bool, error) {
	v, found := c.entries[string(key)]
	return v, found, nil
}

func (c *committed) Put(key, value []byte) { c.entries[string(key)] = bytes.Clone(value) }

func (c *committed) Delete(key []byte) { delete(c.entries, string(key)) }

// oneByOne is the inbox as a task uses it: by one goroutine at a time, and every transaction a cycle
// of its own.
type oneByOne struct {
	*Inbox
	c *committed
}

func (o oneByOne) Update(ctx context.Context, fn func(participant.Store) error) error {
	o.c.turn <- struct{}{}
	defer func() { <-o.c.turn }()
	return o.Inbox.Update(ctx, fn)
}

// Reopen gives what a restore from the changelog gives.
func (o oneByOne) Reopen(*testing.T) participant.Inbox {
	c := &committed{turn: make(chan struct{}, 1), entries: maps.Clone(o.c.entries)}
	return oneByOne{&Inbox{state: c}, c}
}

func TestConformance(t *testing.T) {
	participant.Conformance(t, func(*testing.T) participant.Inbox {
		c := &committed{turn: make(chan struct{}, 1), entries: map[string][]byte{}}
		return oneByOne{&Inbox{state: c}, c}
	})
}

var errDisk = errors.New("disk is gone")

type broken struct{ committed }

func (*broken) Get([]byte) ([]byte, bool, error) { return nil, false, errDisk }

// A store that fails is not for the handler to hide: the runtime has to hear of it.
func TestStoreFaultIsKept(t *testing.T) {
	b := &Inbox{state: &broken{}}
	err := b.Update(t.Context(), func(s participant.Store) error {
		_, _, _ = s.Get("x") // a careless handler
		return nil
	})
	if !errors.Is(err, errDisk) || !errors.Is(b.fault, errDisk) {
		t.Errorf("got %v, %v", err, b.fault)
	}
}

func TestIndex(t *testing.T) {
	x := Index(time.Hour)
	row := participant.Row{Status: participant.Done, At: 1000}.Append(nil)
	for _, c := range []struct {
		key  string
		want int64
	}{{"ik", 1000 + 3_600_000}, {"pk", 1}, {"dk", 0}, {"", 0}} {
		if got := x([]byte(c.key), row).Due; got != c.want {
			t.Errorf("%q: due %d, want %d", c.key, got, c.want)
		}
	}
}

func sample() protocol.Command {
	return protocol.Command{Token: "t", WorkflowID: "order/1", Op: protocol.OpDo, Name: "charge", Key: "k", Attempt: 2, Deadline: 5,
		ReplyTo: "r", ReplyPartition: 4, Definition: "order@1", Trace: "00-x", ContentType: protocol.ContentJSON}
}

func TestPendingRoundTrip(t *testing.T) {
	b := appendCommand(nil, sample(), []byte(`{"a":1}`))
	cmd, payload, err := decodeCommand(b)
	if err != nil || !cmp.Equal(cmd, sample()) || string(payload) != `{"a":1}` {
		t.Errorf("got %+v %s, %v", cmd, payload, err)
	}
	headers := len(b) - len(`{"a":1}`)
	for n := range headers {
		if _, _, err := decodeCommand(b[:n]); err == nil {
			t.Errorf("%d bytes of %d were accepted", n, len(b))
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	f.Add(appendCommand(nil, sample(), []byte("{}")))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		cmd, payload, err := decodeCommand(b)
		if err != nil {
			return
		}
		again, rest, err := decodeCommand(appendCommand(nil, cmd, payload))
		if err != nil || again != cmd || !bytes.Equal(rest, payload) {
			t.Fatalf("got %+v, %v; want %+v", again, err, cmd)
		}
	})
}
