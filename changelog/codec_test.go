package changelog_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

func openStore(t testing.TB) *statestore.Store {
	t.Helper()
	s, err := statestore.Open(statestore.Options{Dir: "task", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func input(topic string, partition int32, next int64) changelog.InputPosition {
	return changelog.InputPosition{Topic: topic, Partition: partition, Next: next}
}

func FuzzRecordCodec(f *testing.F) {
	f.Add([]byte("card-payment/1"), []byte("{}"), false)
	f.Add([]byte("card-payment/1"), []byte{}, false)
	f.Add([]byte("\x00progress"), []byte{1}, true)
	f.Add(bytes.Repeat([]byte("k"), statestore.KeyMax+1), []byte{}, false)
	s := openStore(f)
	f.Fuzz(func(t *testing.T, key, value []byte, remove bool) {
		if value == nil {
			value = []byte{}
		}
		b := s.NewBatch()
		if remove {
			b.Delete(key)
		} else {
			b.Put(key, value)
		}
		records := changelog.Records("state", 3, b, nil, func() *kgo.Record { return new(kgo.Record) })
		if len(key) == 0 || len(key) > statestore.KeyMax {
			if b.Err() == nil || len(records) != 0 {
				t.Fatalf("key of %d bytes: %v, %d records", len(key), b.Err(), len(records))
			}
			if _, err := changelog.Decode(&kgo.Record{Key: key, Value: value}); !errors.Is(err, changelog.ErrFatal) {
				t.Fatalf("decode key of %d bytes: %v", len(key), err)
			}
			return
		}
		if len(records) != 1 || records[0].Topic != "state" || records[0].Partition != 3 {
			t.Fatalf("records %+v", records)
		}
		m, err := changelog.Decode(records[0])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Key, key) || (m.Value == nil) != remove || !remove && !bytes.Equal(m.Value, value) {
			t.Fatalf("got %q %q, want %q %q, deleted %v", m.Key, m.Value, key, value, remove)
		}
	})
}

func FuzzDecodeProgress(f *testing.F) {
	full := changelog.Progress{
		Inputs: []changelog.InputPosition{input("a", 0, 7), input("a", 12, math.MaxInt64), input("b", math.MaxInt32, 0)},
		Time:   1_790_000_000_000, Epoch: -1, Owner: "pod-3:8080", Commit: math.MaxUint64,
	}
	f.Add(full.Append(nil))
	full.Ahead = []changelog.InputSpan{{Input: 0, From: 9, To: 10}, {Input: 0, From: 12, To: math.MaxInt64}, {Input: 2, From: 1, To: 3}}
	f.Add(full.Append(nil))
	f.Add((&changelog.Progress{}).Append(nil))
	f.Add([]byte{1, 0, 0, 0, 0, 1, 1, 'a', 255, 255, 255, 255, 15})
	f.Add([]byte{1, 0x80, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := changelog.DecodeProgress(b)
		if err != nil {
			if !errors.Is(err, changelog.ErrFatal) {
				t.Fatalf("not classed: %v", err)
			}
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, p, again)
		}
	})
}

func TestProgressRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := changelog.Progress{
			Time:   rapid.Int64Min(0).Draw(t, "time"),
			Epoch:  rapid.Int64().Draw(t, "epoch"),
			Owner:  rapid.StringN(0, -1, 1000).Draw(t, "owner"),
			Commit: rapid.Uint64().Draw(t, "commit"),
		}
		for range rapid.IntRange(0, 20).Draw(t, "inputs") {
			p.Inputs = append(p.Inputs, changelog.InputPosition{
				Topic:     rapid.SampledFrom([]string{"pay.saga.intake", "pay.saga.replies", "x"}).Draw(t, "topic"),
				Partition: rapid.Int32Min(0).Draw(t, "partition"),
				Next:      rapid.Int64Min(0).Draw(t, "next"),
			})
		}
		for i, in := range p.Inputs {
			at := in.Next
			for range rapid.IntRange(0, 3).Draw(t, "spans") {
				if at > math.MaxInt64-20 {
					break
				}
				from := at + rapid.Int64Range(1, 9).Draw(t, "gap")
				at = from + rapid.Int64Range(1, 9).Draw(t, "length")
				p.Ahead = append(p.Ahead, changelog.InputSpan{Input: i, From: from, To: at})
			}
		}
		got, err := changelog.DecodeProgress(p.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, p) {
			t.Fatalf("got %+v, want %+v", got, p)
		}
	})
}

func TestDecodeProgressRefuses(t *testing.T) {
	good := (&changelog.Progress{Inputs: []changelog.InputPosition{input("a", 1, 2)}, Time: 3, Owner: "o", Commit: 4}).Append(nil)
	for n := range good {
		if _, err := changelog.DecodeProgress(good[:n]); !errors.Is(err, changelog.ErrFatal) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(good), err)
		}
	}
	newer := bytes.Clone(good)
	newer[0]++
	for name, b := range map[string][]byte{
		"one byte more":    append(bytes.Clone(good), 0),
		"another format":   newer,
		"long number":      {1, 0x80, 0, 0, 0, 0, 0},
		"two runs of one":  {1, 0, 0, 0, 0, 2, 1, 'a', 1, 0, 0, 1, 'a', 1, 1, 0},
		"empty run":        {1, 0, 0, 0, 0, 1, 1, 'a', 0},
		"no topic":         {1, 0, 0, 0, 0, 1, 0, 1, 0, 0},
		"negative next":    {1, 0, 0, 0, 0, 1, 1, 'a', 1, 0, 1},
		"negative time":    {1, 0, 1, 0, 0, 0},
		"more than paid":   {1, 0, 0, 0, 0, 1, 1, 'a', 0xff, 0xff, 3, 0, 0},
		"partition 2^31":   {1, 0, 0, 0, 0, 1, 1, 'a', 1, 0x80, 0x80, 0x80, 0x80, 8, 0},
		"owner of 2^40":    {1, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20},
		"runs of nothing":  {1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"no spans":         {2, 0, 0, 0, 0, 1, 1, 'a', 1, 0, 4, 0},
		"span of nothing":  {2, 0, 0, 0, 0, 1, 1, 'a', 1, 0, 4, 1, 0, 1, 0},
		"span at Next":     {2, 0, 0, 0, 0, 1, 1, 'a', 1, 0, 4, 1, 0, 0, 1},
		"span of no input": {2, 0, 0, 0, 0, 1, 1, 'a', 1, 0, 4, 1, 1, 1, 1},
		"spans of 2^40":    {2, 0, 0, 0, 0, 1, 1, 'a', 1, 0, 4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0, 1, 1},
		"empty":            {},
		"only the format":  {1},
		"number too large": {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0},
	} {
		if p, err := changelog.DecodeProgress(b); !errors.Is(err, changelog.ErrFatal) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
