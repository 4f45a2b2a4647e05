package topology_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/statestore"
	"github.com/amendsio/amends/topology"
	"github.com/amendsio/amends/topology/topologytest"
)

type order struct {
	ID     string   `json:"id"`
	Amount int      `json:"amount"`
	Lines  []string `json:"lines,omitempty"`
}

// shop uses every operator once.
func shop(t *testing.T) *topology.Topology {
	b := topology.NewBuilder("shop")
	orders := topology.From(b, "orders", topology.JSON[order]())
	paid := orders.Filter(func(it topology.Item[order]) bool { return it.Value.Amount > 0 })
	sizes := paid.Branch(
		func(it topology.Item[order]) bool { return it.Value.Amount >= 1000 },
		func(it topology.Item[order]) bool { return it.Value.Amount >= 100 },
	)
	sizes[0].To("large", topology.JSON[order]())
	lines := topology.FlatMap(sizes[1].Merge(sizes[2]), func(it topology.Item[order], emit func(topology.Item[string]) error) error {
		for _, line := range it.Value.Lines {
			if line == "" {
				return errors.New("an order has an empty line")
			}
			if err := emit(topology.Item[string]{Key: it.Key, Value: line, Time: it.Time}); err != nil {
				return err
			}
		}
		return nil
	})
	byLine := lines.KeyBy(func(it topology.Item[string]) []byte { return []byte(it.Value) }).Through("lines", topology.Text())
	counted := topology.Process(byLine, "count", func(int32) topology.Handler[string, int] { return &counts{} }, topology.Uses{
		Stores: []topology.StoreSpec{{Name: "counts", Index: indexCounts}},
		Wall:   time.Hour, Stream: time.Minute,
	})
	text := topology.MapValue(counted, func(n int) (string, error) { return strconv.Itoa(n), nil })
	text.To("counts", topology.Text())
	b.SetAside("dead")
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// counts counts the items of each key. An entry is count and due time, 8 bytes each: it is deleted 90
// minutes after the last item.
type counts struct{}

func indexCounts(_, value []byte) statestore.Entry {
	n := binary.BigEndian.Uint64(value)
	return statestore.Entry{Due: int64(binary.BigEndian.Uint64(value[8:])), Attrs: []string{"n/" + strconv.FormatUint(n, 10)}}
}

func (*counts) Handle(c *topology.Context[int], it topology.Item[string]) error {
	n := uint64(0)
	if b, found, err := c.Store("counts").Get(it.Key); err != nil {
		return err
	} else if found {
		n = binary.BigEndian.Uint64(b)
	}
	n++
	entry := binary.BigEndian.AppendUint64(nil, n)
	entry = binary.BigEndian.AppendUint64(entry, uint64(c.Now()+90*60_000))
	c.Store("counts").Put(it.Key, entry)
	if it.Value == "bomb" {
		return errors.New("it explodes")
	}
	return c.Forward(topology.Item[int]{Key: it.Key, Value: int(n), Time: it.Time})
}

func (*counts) Due(c *topology.Context[int], store string, key []byte) error {
	c.Store(store).Delete(key)
	return c.Forward(topology.Item[int]{Key: key, Value: -1, Time: c.Now()})
}

func (*counts) Punctuate(c *topology.Context[int], p topology.Punctuation) error {
	n := 0
	if err := c.Store("counts").Scan(nil, nil, func(_, _ []byte) bool { n++; return true }); err != nil {
		return err
	}
	twice := 0
	if err := c.Store("counts").ScanAttr("n/2", nil, func([]byte) bool { twice++; return true }); err != nil {
		return err
	}
	key := fmt.Appendf(nil, "%v@%s", p.Clock, time.UnixMilli(p.At).UTC().Format("15:04"))
	return c.Forward(topology.Item[int]{Key: key, Value: 100*n + twice, Time: c.Now()})
}

func TestStream(t *testing.T) {
	d := topologytest.New(t, shop(t))
	d.Pipe("orders", "o1", `{"id":"o1","amount":2000,"lines":["pen"]}`)
	d.Pipe("orders", "o2", `{"id":"o2","amount":200,"lines":["pen","ink"]}`)
	d.Pipe("orders", "o3", `{"id":"o3","amount":0,"lines":["pen"]}`)
	d.Pipe("orders", "o4", `{"id":"o4","amount":2,"lines":["pen"]}`)
	d.Want("large", `o1={"id":"o1","amount":2000,"lines":["pen"]}`)
	d.Want("lines", "pen=pen", "ink=ink", "pen=pen")
	d.Want("counts", "pen=1", "ink=1", "pen=2")
	for _, rec := range d.All() {
		if !rec.Timestamp.Equal(topologytest.Start) {
			t.Errorf("%s has the time %v", rec.Topic, rec.Timestamp)
		}
	}
	if n := len(d.Store("counts")); n != 2 {
		t.Errorf("the store has %d entries", n)
	}
}

// TestPunctuation moves both clocks: wall time by hand, stream time by records.
func TestPunctuation(t *testing.T) {
	d := topologytest.New(t, shop(t))
	d.Pipe("orders", "o", `{"id":"o","amount":2,"lines":["pen","pen","ink"]}`)
	d.Want("counts", "pen=1", "pen=2", "ink=1")

	d.Advance(59 * time.Minute)
	d.Want("counts")
	d.Advance(2 * time.Minute) // past 01:00: two entries, one counted twice
	d.Want("counts", "wall@01:00=201")
	d.Advance(30 * time.Minute) // past 01:30: the entries are due
	d.Want("counts", "ink=-1", "pen=-1")
	d.Advance(8 * time.Hour) // once for each hour that the test passed through
	if got := d.Read("counts"); len(got) != 8 {
		t.Errorf("%d punctuations in eight hours", len(got))
	}

	// Stream time is that of the records: it went from 00:00 to 09:31, past many minutes, so there is one call.
	d.Pipe("orders", "o", `{"id":"o","amount":2,"lines":["pen"]}`)
	d.Want("counts", "stream@00:01=0", "pen=1")
	d.Crash()
	late := topology.Record{Topic: "orders", Partition: topology.ByKey, Key: []byte("o"), Value: []byte(`{"amount":2}`), Timestamp: topologytest.Start}
	d.PipeRecord(late) // an old record moves nothing
	d.Want("counts")
	next := late
	next.Timestamp = d.Now().Add(time.Minute)
	d.PipeRecord(next)
	d.Want("counts", "stream@09:32=100")
}

// TestPunctuationWhileAway: a time that was missed is made up for once.
func TestPunctuationWhileAway(t *testing.T) {
	d := topologytest.New(t, shop(t))
	d.Pipe("orders", "o", `{"id":"o","amount":2}`)
	d.Crash()
	d.Advance(61 * time.Minute)
	d.Want("counts", "wall@01:00=0")
}

func TestSetAside(t *testing.T) {
	d := topologytest.New(t, shop(t))
	d.PipeRecord(topology.Record{Topic: "orders", Partition: topology.ByKey, Key: []byte("o1"), Value: []byte("{"),
		Headers: []topology.Header{{Key: "trace", Value: []byte("t")}}})
	d.Pipe("orders", "o2", `{"id":"o2","amount":2,"lines":["pen",""]}`)
	d.Pipe("orders", "o3", `{"id":"o3","amount":2,"lines":["bomb","pen"]}`)
	// Nothing of the second order is seen; of the third everything but the bomb, behind the hop of its own.
	d.Want("counts", "pen=1")
	dead := d.Read("dead")
	var got []string
	for _, rec := range dead {
		var headers []protocol.Header
		for _, h := range rec.Headers {
			headers = append(headers, protocol.Header(h))
		}
		why, err := protocol.ParseDeadLetter(headers)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s/%d@%d %s %s %d", rec.Key, why.Topic, why.Partition, why.Offset, why.Class, rec.Value, len(why.Original)))
	}
	want := []string{
		`o1 orders/0@0 MALFORMED { 1`,
		`o2 orders/0@1 FAILED {"id":"o2","amount":2,"lines":["pen",""]} 0`,
		`bomb lines/0@0 FAILED bomb 0`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, found := d.Store("counts")["bomb"]; found {
		t.Error("the bomb was counted, though its record was rolled back")
	}
}

// TestNowhereToSetAside: without a place for it a bad record stops the task, and is not lost.
func TestNowhereToSetAside(t *testing.T) {
	b := topology.NewBuilder("strict")
	topology.From(b, "in", topology.JSON[order]()).To("out", topology.JSON[order]())
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := topologytest.New(t, built)
	d.Queue(topology.Record{Topic: "in", Partition: 0, Value: []byte("{")})
	if err := d.Try(); !errors.Is(err, topology.ErrHalt) {
		t.Fatalf("got %v, want a halt", err)
	}
	d.Want("out")
}

// TestRefusedOutput: what the broker refuses costs the one record.
func TestRefusedOutput(t *testing.T) {
	d := topologytest.New(t, shop(t))
	d.Refuse(func(rec *topology.Record) error {
		if strings.Contains(string(rec.Value), "o7") && rec.Topic == "large" {
			return kerr.MessageTooLarge
		}
		return nil
	})
	var recs []topology.Record
	for i := range 20 {
		recs = append(recs, topology.Record{Topic: "orders", Partition: 0, Value: fmt.Appendf(nil, `{"id":"o%d","amount":5000}`, i)})
	}
	d.PipeRecord(recs...)
	if n, dead := len(d.Read("large")), d.Read("dead"); n != 19 || len(dead) != 1 || !strings.Contains(string(dead[0].Value), "o7") {
		t.Errorf("%d passed, %d set aside", n, len(dead))
	}
}

// TestStreamCrash loses everything at every point of a cycle in turn; the outputs are those of a run
// without a crash.
func TestStreamCrash(t *testing.T) {
	feed := func(d *topologytest.Driver) {
		for i := range 6 {
			d.Queue(topology.Record{Topic: "orders", Partition: int32(i % 2), Value: fmt.Appendf(nil, `{"amount":%d,"lines":["a","b%d"]}`, 1+i, i%3)})
		}
	}
	want := topologytest.NewWith(t, shop(t), topologytest.Options{Partitions: 2, Tasks: 2})
	feed(want)
	if err := want.Try(); err != nil {
		t.Fatal(err)
	}
	crash := errors.New("crash")
	for _, point := range topology.Failpoints[3:] {
		t.Run(point, func(t *testing.T) {
			armed := false
			d := topologytest.NewWith(t, shop(t), topologytest.Options{Partitions: 2, Tasks: 2, Change: func(cfg *topology.Config) {
				cfg.Failpoint = func(name string, _ int32) error {
					if armed && name == point {
						armed = false
						return crash
					}
					return nil
				}
			}})
			armed = true
			feed(d)
			if err := d.Try(); !errors.Is(err, crash) {
				t.Fatalf("got %v, want the crash", err)
			}
			d.Crash()
			if diff := cmp.Diff(want.Store("counts"), d.Store("counts")); diff != "" {
				t.Error(diff)
			}
			for _, topic := range []string{"lines", "counts"} {
				if a, b := len(topicOf(want, topic)), len(topicOf(d, topic)); a != b {
					t.Errorf("%s has %d records, want %d", topic, b, a)
				}
			}
		})
	}
}

func topicOf(d *topologytest.Driver, topic string) (list []*topology.Record) {
	for _, rec := range d.All() {
		if rec.Topic == topic {
			list = append(list, rec)
		}
	}
	return list
}

func TestDescribe(t *testing.T) {
	built := shop(t)
	golden(t, "shop.txt", built.String())
	golden(t, "shop.mmd", built.Mermaid())
	if diff := cmp.Diff([]string{"orders", "lines"}, built.Inputs()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"lines"}, built.Internal()); diff != "" {
		t.Error(diff)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (make golden)\n%s", path, diff)
	}
}

func TestBuilderFaults(t *testing.T) {
	b := topology.NewBuilder("bad")
	if _, err := b.Build(); err == nil {
		t.Error("an empty topology was built")
	}
	in := topology.From(b, "in", topology.Bytes())
	topology.From(b, "in", topology.Bytes())
	in.To("in", topology.Bytes())
	in.To("", topology.Bytes())
	other := topology.From(topology.NewBuilder("other"), "x", topology.Bytes())
	in.Merge(other)
	nothing := func(int32) topology.Handler[[]byte, []byte] { return nil }
	topology.Process(in, "a b", nothing, topology.Uses{Wall: time.Microsecond})
	topology.Process(in, "p", nothing, topology.Uses{Stores: []topology.StoreSpec{{Name: "s"}}})
	topology.Process(in, "p", nothing, topology.Uses{Stores: []topology.StoreSpec{{Name: "s"}, {Name: ""}}})
	b.Run("all", []string{"y"}, nil, nil)
	b.SetAside("")
	_, err := b.Build()
	if err == nil {
		t.Fatal("it was built")
	}
	for _, want := range []string{
		"in is read twice", "in is read and written", "to: a topic has no name", "another builder", `"a b" is not a name`, "at least 1 ms",
		"name p is used twice", "store s belongs to process p", `"" is not a store name`, "stands beside streams", "set aside: the topic has no name",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %q in\n%v", want, err)
		}
	}
}

// TestRunIsBare: a processor that is the whole topology is driven without a layer in between.
func TestRunIsBare(t *testing.T) {
	mine := &bare{}
	b := topology.NewBuilder("bare")
	b.Run("mine", []string{"a", "b"}, func(int32) topology.Processor { return mine }, nil, "out")
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if got := built.Processor(0); got != topology.Processor(mine) {
		t.Errorf("got %T", got)
	}
	golden(t, "bare.txt", built.String())
}

type bare struct{ topology.Processor }
