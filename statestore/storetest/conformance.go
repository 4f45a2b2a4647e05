package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/statestore"
)

// Conformance runs random operations on a store and on the model. It checks
// the answers of each, and the whole dump after each Apply, Load and reopen.
func Conformance(t *rapid.T) {
	c := &conformance{t: t, fs: vfs.NewMem(), model: NewModel(Index)}
	// None, so little that it is always full, and more than is needed.
	c.objects = rapid.SampledFrom([]int{0, 1000, 1 << 20}).Draw(t, "bytes for objects")
	c.open()
	defer func() { c.check(c.store.Close()) }()
	t.Repeat(map[string]func(*rapid.T){
		"put":      c.put,
		"delete":   c.delete,
		"get":      c.get,
		"mark":     c.mark,
		"rollback": c.rollback,
		"prepare":  func(*rapid.T) { c.check(c.store.Prepare(c.batch)) },
		"apply":    c.apply,
		"drop":     func(*rapid.T) { c.reset() },
		"load":     c.load,
		"due":      c.due,
		"scan":     c.scan,
		"attr":     c.attr,
		"flush":    func(*rapid.T) { c.check(c.store.Flush()) },
		"reopen":   func(*rapid.T) { c.check(c.store.Close()); c.open() },
	})
	c.same()
}

type conformance struct {
	t     *rapid.T
	fs    vfs.FS
	store *statestore.Store
	model *Model
	batch *statestore.Batch

	objects int // bytes for what is kept of values

	writes []statestore.Mutation // what the batch holds, in order, with repeats
	marks  []savepoint
}

type savepoint struct {
	at     statestore.Savepoint
	writes int
}

var (
	anyKey   = rapid.SampledFrom([]string{"a", "b", "ab", "b\x00", "c", "p/1", "p/2", "p\xff", "\x00progress", "\xff", "\xff\xff"})
	anyValue = rapid.Custom(func(t *rapid.T) []byte {
		b := []byte{byte(rapid.IntRange(0, 9).Draw(t, "due"))}
		return append(b, rapid.SliceOfN(rapid.SampledFrom([]byte("abcdz{")), 0, 4).Draw(t, "attrs")...)
	})
)

func (c *conformance) open() {
	var err error
	c.store, err = statestore.Open(statestore.Options{Dir: "task", FS: c.fs, Index: Index, Identity: statestore.Identity{Format: 1}, ObjectBytes: c.objects})
	c.check(err)
	c.batch = c.store.NewBatch()
	c.reset()
	c.same()
}

func (c *conformance) check(err error) {
	if err != nil {
		c.t.Fatalf("%v", err)
	}
}

// reset uses the same batch again, so that its reuse is tested too.
func (c *conformance) reset() {
	c.batch.Reset()
	c.writes, c.marks = nil, nil
}

func (c *conformance) put(t *rapid.T) {
	key, value := []byte(anyKey.Draw(t, "key")), anyValue.Draw(t, "value")
	if rapid.IntRange(0, 9).Draw(t, "empty") == 0 {
		value = []byte{}
	}
	if rapid.Bool().Draw(t, "with object") {
		c.batch.PutObject(key, value, string(value), len(value))
	} else {
		c.batch.Put(key, value)
	}
	c.writes = append(c.writes, statestore.Mutation{Key: key, Value: value})
}

func (c *conformance) delete(t *rapid.T) {
	key := []byte(anyKey.Draw(t, "key"))
	c.batch.Delete(key)
	c.writes = append(c.writes, statestore.Mutation{Key: key})
}

func (c *conformance) get(t *rapid.T) {
	key := anyKey.Draw(t, "key")
	want, wantFound := c.model.Data[key]
	value, found, err := c.store.Get([]byte(key))
	c.check(err)
	if string(value) != want || found != wantFound {
		t.Fatalf("store: get %q: %q %v, want %q %v", key, value, found, want, wantFound)
	}
	view := c.model.Clone()
	view.Apply(c.writes, view.Position)
	want, wantFound = view.Data[key]
	value, found, err = c.batch.Get([]byte(key))
	c.check(err)
	if string(value) != want || found != wantFound || found && value == nil {
		t.Fatalf("batch: get %q: %q %v, want %q %v", key, value, found, want, wantFound)
	}
	if object := c.batch.Object([]byte(key)); object != nil && (object != want || !wantFound) {
		t.Fatalf("object of %q: %q, want that of %q %v", key, object, want, wantFound)
	}
}

func (c *conformance) mark(*rapid.T) {
	c.marks = append(c.marks, savepoint{c.batch.Mark(), len(c.writes)})
}

func (c *conformance) rollback(t *rapid.T) {
	if len(c.marks) == 0 {
		t.Skip()
	}
	i := rapid.IntRange(0, len(c.marks)-1).Draw(t, "mark")
	c.batch.Rollback(c.marks[i].at)
	c.writes = c.writes[:c.marks[i].writes]
	c.marks = c.marks[:i+1]
	c.sameBatch()
}

func (c *conformance) apply(t *rapid.T) {
	c.sameBatch()
	p := c.next(t)
	c.check(c.store.Apply(c.batch, p))
	c.model.Apply(c.writes, p)
	c.reset()
	c.same()
	if again := rapid.IntRange(0, 9).Draw(t, "new batch"); again == 0 {
		c.batch = c.store.NewBatch()
		for key := range c.model.Data {
			if c.batch.Object([]byte(key)) != nil {
				t.Fatalf("object of %q after NewBatch", key)
			}
		}
		c.reset()
	}
}

func (c *conformance) load(t *rapid.T) {
	var muts []statestore.Mutation
	for range rapid.IntRange(0, 8).Draw(t, "mutations") {
		m := statestore.Mutation{Key: []byte(anyKey.Draw(t, "key"))}
		if rapid.Bool().Draw(t, "put") {
			m.Value = anyValue.Draw(t, "value")
		}
		muts = append(muts, m)
	}
	p := c.next(t)
	c.check(c.store.Load(muts, p))
	c.model.Apply(muts, p)
	// What the open batch has read is out of date now. Its writes are not.
	c.same()
	if len(c.marks) == 0 {
		writes := c.writes
		c.reset()
		for _, m := range writes {
			if m.Value == nil {
				c.batch.Delete(m.Key)
			} else {
				c.batch.Put(m.Key, m.Value)
			}
		}
		c.writes = writes
	} else {
		c.reset()
	}
}

func (c *conformance) next(t *rapid.T) statestore.Position {
	p := c.model.Position
	p.Next += int64(rapid.IntRange(0, 3).Draw(t, "records"))
	p.Time = max(0, p.Time+int64(rapid.IntRange(-2, 5).Draw(t, "time")))
	return p
}

func (c *conformance) due(t *rapid.T) {
	now := int64(rapid.IntRange(0, 10).Draw(t, "now")) * 1000
	limit := rapid.IntRange(0, 6).Draw(t, "limit")
	timers := c.model.Timers()
	next, ok := c.store.NextDue()
	if ok != (len(timers) > 0) || ok && next != timers[0].Due {
		t.Fatalf("next due %d %v, want %v", next, ok, timers)
	}
	var want, got []Timer
	for _, timer := range timers {
		if timer.Due <= now && len(want) < limit {
			want = append(want, timer)
		}
	}
	c.check(c.store.Due(now, limit, func(key []byte, due int64) bool {
		got = append(got, Timer{due, string(key)})
		return true
	}))
	if !slices.Equal(got, want) {
		t.Fatalf("due at %d, limit %d: %v, want %v", now, limit, got, want)
	}
}

func (c *conformance) scan(t *rapid.T) {
	prefix := rapid.SampledFrom([]string{"", "p", "p/", "b", "\xff", "\x00", "none"}).Draw(t, "prefix")
	after := rapid.SampledFrom([]string{"", "a", "b", "p/1", "\xff", "\xff\xff"}).Draw(t, "after")
	var got []string
	c.check(c.store.Scan([]byte(prefix), []byte(after), func(key, value []byte) bool {
		if want := c.model.Data[string(key)]; want != string(value) {
			t.Fatalf("scan %q: %q, want %q", key, value, want)
		}
		got = append(got, string(key))
		return true
	}))
	if want := c.model.Keys(prefix, after); !slices.Equal(got, want) {
		t.Fatalf("scan %q after %q: %q, want %q", prefix, after, got, want)
	}
}

func (c *conformance) attr(t *rapid.T) {
	attr := rapid.SampledFrom([]string{"s/a", "s/b", "s/c", "s/d", "s/", "s"}).Draw(t, "attr")
	var got []string
	c.check(c.store.ScanAttr(attr, nil, func(key []byte) bool { got = append(got, string(key)); return true }))
	want := c.model.With(attr)
	if !slices.Equal(got, want) {
		t.Fatalf("attribute %q: %q, want %q", attr, got, want)
	}
	if n, err := c.store.CountAttr(attr); err != nil || n != int64(len(want)) {
		t.Fatalf("attribute %q: count %d %v, want %d", attr, n, err, len(want))
	}
	if len(want) > 0 {
		got = nil
		c.check(c.store.ScanAttr(attr, []byte(want[0]), func(key []byte) bool { got = append(got, string(key)); return true }))
		if !slices.Equal(got, want[1:]) {
			t.Fatalf("attribute %q after %q: %q, want %q", attr, want[0], got, want[1:])
		}
	}
}

// sameBatch compares what the batch would write: last values, in the order of
// the first write.
func (c *conformance) sameBatch() {
	last := map[string][]byte{}
	var order []string
	bytes := 0
	for _, m := range c.writes {
		if _, ok := last[string(m.Key)]; !ok {
			order = append(order, string(m.Key))
			bytes += len(m.Key)
		}
		bytes += len(m.Value) - len(last[string(m.Key)])
		last[string(m.Key)] = m.Value
	}
	var got []string
	for key, value := range c.batch.All() {
		if want := last[string(key)]; string(value) != string(want) || (value == nil) != (want == nil) {
			c.t.Fatalf("batch: %q is %q, want %q", key, value, want)
		}
		got = append(got, string(key))
	}
	if !slices.Equal(got, order) || c.batch.Len() != len(order) || c.batch.Bytes() != bytes {
		c.t.Fatalf("batch: keys %q, %d, %d bytes; want %q, %d bytes", got, c.batch.Len(), c.batch.Bytes(), order, bytes)
	}
	c.check(c.batch.Err())
}

// same compares position and dump.
func (c *conformance) same() {
	if err := Same(c.store, c.model); err != nil {
		c.t.Fatalf("%v", err)
	}
}

// Same compares the position and the dump of a store with those of the model.
func Same(s *statestore.Store, m *Model) error {
	if got := s.Position(); got != m.Position {
		return fmt.Errorf("position %+v, want %+v", got, m.Position)
	}
	rows, err := Dump(s)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(m.Dump(), rows); diff != "" {
		return errors.New("dump differs (- wanted, + got):\n" + diff)
	}
	return nil
}
