package topology

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/amendsio/amends/statestore"
)

// Handler is the work of a Process node on one task. It is called from one goroutine. What it must
// remember belongs into stores: a field that changes with a record is wrong after that record was
// rolled back.
type Handler[A, B any] interface {
	Handle(c *Context[B], it Item[A]) error
}

// DueHandler is a Handler of a node one of whose stores has entries with due times.
type DueHandler[B any] interface {
	// Due is called for an entry at or after its due time. It must write or delete the entry. An
	// error halts the task: there is no record to set aside.
	Due(c *Context[B], store string, key []byte) error
}

// Punctuator is a Handler of a node with Uses.Wall or Uses.Stream.
type Punctuator[B any] interface {
	// Punctuate is called when a time has come. After a pause it is called once, not once for each
	// time that was missed. After an error what it did is undone, and it is called again at the
	// next time.
	Punctuate(c *Context[B], p Punctuation) error
}

// Punctuation says which time has come.
type Punctuation struct {
	Clock PunctuationClock
	At    int64 // the time that it was due, in milliseconds since 1970
}

// PunctuationClock is the clock of a punctuation.
type PunctuationClock uint8

// The clocks.
const (
	// WallClock goes on by itself, also without records.
	WallClock PunctuationClock = iota + 1
	// StreamClock is the highest time of the records that this task has read: it stands still
	// without records, and it never falls.
	StreamClock
)

func (p PunctuationClock) String() string {
	if p == StreamClock {
		return "stream"
	}
	return "wall"
}

// Uses says what a Process node needs. The zero value is a node without state.
type Uses struct {
	// Stores of this node. No other node sees them.
	Stores []StoreSpec
	// Wall and Stream call Punctuate at multiples of that duration. 0 = never; at least 1 ms.
	Wall, Stream time.Duration
}

// StoreSpec is one store of a Process node.
type StoreSpec struct {
	// Name is unique in the topology: letters, digits, '-', '_' and '.'. It is part of the stored
	// keys, so another name is another store.
	Name string
	// Index derives due times and attributes from an entry; a pure function. Default: none.
	Index statestore.Indexer
}

// Process calls a handler for every item. make is called once per takeover of a task. name is unique
// in the topology; the times of punctuation are kept under it.
func Process[A, B any](s Stream[A], name string, make func(task int32) Handler[A, B], uses Uses) Stream[B] {
	b := s.s.b
	out := newStage[B](b, "process", name, s.s.id)
	b.uses(&out.node, uses)
	s.s.subs = append(s.s.subs, func(r *run) push[A] {
		h := make(r.task)
		ctx := &Context[B]{r: r, next: out.compile(r), node: name}
		for _, spec := range uses.Stores {
			ctx.stores = append(ctx.stores, newState(r, spec.Name))
		}
		late, isLate := h.(DueHandler[B])
		for _, spec := range uses.Stores {
			store := spec.Name
			r.due[store] = func(key []byte) error {
				if !isLate {
					return fmt.Errorf("process %s: store %s has due entries and %T has no method Due", name, store, h)
				}
				return late.Due(ctx, store, key)
			}
		}
		punctuate := func(p Punctuation) error {
			if f, ok := h.(Punctuator[B]); ok {
				return f.Punctuate(ctx, p)
			}
			return fmt.Errorf("process %s: %T has no method Punctuate", name, h)
		}
		if uses.Wall > 0 {
			r.clocks = append(r.clocks, newTicker(WallClock, name, uses.Wall, punctuate))
		}
		if uses.Stream > 0 {
			r.clocks = append(r.clocks, newTicker(StreamClock, name, uses.Stream, punctuate))
		}
		return func(_ *run, it Item[A]) error { return h.Handle(ctx, it) }
	})
	return Stream[B]{out}
}

// Context is what a Handler sees of its task while it is called.
type Context[B any] struct {
	r      *run
	next   push[B]
	node   string
	stores []*State
}

// Forward sends an item to the nodes behind this one. They have handled it when Forward returns.
func (c *Context[B]) Forward(it Item[B]) error { return c.next(c.r, it) }

// Now is the time of the cycle in milliseconds since 1970, see Cycle.Now.
func (c *Context[B]) Now() int64 { return c.r.c.Now() }

// StreamTime is the highest time of the records that this task has read, 0 before the first. It is
// only kept in topologies that punctuate by it.
func (c *Context[B]) StreamTime() (int64, error) { return c.r.streamTime() }

// Task is the number of the task.
func (c *Context[B]) Task() int32 { return c.r.task }

// Record is the input record under way; nil for a punctuation or a due entry.
func (c *Context[B]) Record() *Record { return c.r.rec }

// Cycle is the cycle under way, for failpoints. Its own Get and Put see the keys of all stores.
func (c *Context[B]) Cycle() *Cycle { return c.r.c }

// Store gives one of the stores that the node uses. It panics for any other name.
func (c *Context[B]) Store(name string) *State {
	for _, s := range c.stores {
		if s.name == name {
			return s
		}
	}
	panic(fmt.Sprintf("process %s does not use a store %q", c.node, name))
}

// State is one store of one task: a map of bytes, in key order, that changes with the cycle's
// transaction or not at all. It is valid during a call of its Handler.
type State struct {
	r      *run
	name   string
	prefix []byte
	key    []byte // scratch
}

func newState(r *run, name string) *State {
	return &State{r: r, name: name, prefix: storePrefix(name)}
}

func (s *State) full(key []byte) []byte {
	s.key = append(append(s.key[:0], s.prefix...), key...)
	return s.key
}

// Get reads an entry, with the writes of this cycle in view. Do not change or keep the value.
func (s *State) Get(key []byte) (value []byte, found bool, err error) {
	return s.r.c.Get(s.full(key))
}

// Put writes an entry. Key and value are copied.
func (s *State) Put(key, value []byte) { s.r.c.Put(s.full(key), value) }

// Delete removes an entry.
func (s *State) Delete(key []byte) { s.r.c.Delete(s.full(key)) }

// Scan visits the entries under prefix behind the key after, in key order, until fn returns false.
// It sees what was committed before this cycle.
func (s *State) Scan(prefix, after []byte, fn func(key, value []byte) bool) error {
	low := append(append([]byte(nil), s.prefix...), prefix...)
	if after != nil {
		after = append(append([]byte(nil), s.prefix...), after...)
	}
	return s.r.c.Scan(low, after, func(key, value []byte) bool { return fn(key[len(s.prefix):], value) })
}

// ScanAttr visits the keys of the entries that have attr, as Scan does.
func (s *State) ScanAttr(attr string, after []byte, fn func(key []byte) bool) error {
	if after != nil {
		after = append(append([]byte(nil), s.prefix...), after...)
	}
	return s.r.c.ScanAttr(s.name+"/"+attr, after, func(key []byte) bool { return fn(key[len(s.prefix):]) })
}

// Keys of a built topology begin with what they are. Names hold no 0x00.
//
//	s<store>0x00<key>   an entry of a store
//	w<node>             next wall-clock punctuation of a node, 8 bytes; it is due then
//	t<node>             next stream-time punctuation of a node, 8 bytes
//	n                   stream time, 8 bytes
const (
	keyStore      = 's'
	keyWall       = 'w'
	keyStream     = 't'
	keyStreamTime = 'n'
)

func storePrefix(name string) []byte {
	return append(append([]byte{keyStore}, name...), 0)
}

// ticker is one punctuation of one node on one task.
type ticker struct {
	clock PunctuationClock
	key   []byte
	every int64
	call  func(Punctuation) error
}

func newTicker(clock PunctuationClock, node string, every time.Duration, call func(Punctuation) error) ticker {
	kind := byte(keyWall)
	if clock == StreamClock {
		kind = keyStream
	}
	return ticker{clock: clock, key: append([]byte{kind}, node...), every: every.Milliseconds(), call: call}
}

// next is the first multiple of every after now.
func (k *ticker) next(now int64) int64 { return (now/k.every + 1) * k.every }

func putTime(c *Cycle, key []byte, at int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(at))
	c.Put(key, b[:])
}

func getTime(c *Cycle, key []byte) (at int64, found bool, err error) {
	b, found, err := c.Get(key)
	if err != nil || !found {
		return 0, false, err
	}
	if len(b) != 8 {
		return 0, false, fmt.Errorf("entry %q has %d bytes, want 8", key, len(b))
	}
	return int64(binary.BigEndian.Uint64(b)), true, nil
}
