package topology

import (
	"fmt"
)

// Item is what flows through a Stream: one record, decoded. Nothing of it may be changed in place:
// several operators may hold the same bytes.
type Item[V any] struct {
	Key     []byte // nil when the record has none
	Value   V
	Time    int64 // of the record, in milliseconds since 1970
	Headers []Header
}

// Stream is the flow of items out of one node of a topology that is being built. It is a value of a
// few words; using it twice sends every item to both users.
type Stream[V any] struct{ s *stage[V] }

// stage is the typed part of a node: who takes what comes out of it.
type stage[V any] struct {
	node
	b    *Builder
	subs []func(*run) push[V]
}

// push takes one item. Its error sets the record aside from which the item came.
type push[V any] func(*run, Item[V]) error

func newStage[V any](b *Builder, kind, name string, parents ...int) *stage[V] {
	s := &stage[V]{b: b}
	b.add(&s.node, kind, name, parents)
	return s
}

// compile makes the push of one task, once.
func (s *stage[V]) compile(r *run) push[V] {
	if f, ok := r.memo[s.id].(push[V]); ok {
		return f
	}
	outs := make([]push[V], len(s.subs))
	for i, sub := range s.subs {
		outs[i] = sub(r)
	}
	var f push[V]
	switch len(outs) {
	case 0:
		f = func(*run, Item[V]) error { return nil }
	case 1:
		f = outs[0]
	default:
		f = func(r *run, it Item[V]) error {
			for _, out := range outs {
				if err := out(r, it); err != nil {
					return err
				}
			}
			return nil
		}
	}
	r.memo[s.id] = f
	return f
}

// From reads a topic. All topics of a topology have the same number of partitions; items of one
// partition come in order. A record that serde cannot decode is set aside.
func From[V any](b *Builder, topic string, serde Serde[V]) Stream[V] {
	s := newStage[V](b, "from", topic)
	s.detail = serde.Name()
	b.source(topic, func(r *run) func(*run, *Record) error {
		next := s.compile(r)
		return func(r *run, rec *Record) error {
			v, err := serde.Decode(rec.Value)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDecode, err)
			}
			return next(r, Item[V]{Key: rec.Key, Value: v, Time: rec.Timestamp.UnixMilli(), Headers: rec.Headers})
		}
	})
	return Stream[V]{s}
}

// derive adds a node that turns items of A into items of B.
func derive[A, B any](from Stream[A], kind, name string, make func(r *run, next push[B]) push[A]) Stream[B] {
	s := newStage[B](from.s.b, kind, name, from.s.id)
	from.s.subs = append(from.s.subs, func(r *run) push[A] { return make(r, s.compile(r)) })
	return Stream[B]{s}
}

// Filter keeps the items for which keep is true.
func (s Stream[V]) Filter(keep func(Item[V]) bool) Stream[V] {
	return derive(s, "filter", "", func(_ *run, next push[V]) push[V] {
		return func(r *run, it Item[V]) error {
			if !keep(it) {
				return nil
			}
			return next(r, it)
		}
	})
}

// Map replaces every item. Key, time and headers are fn's to keep or to change; an error sets the
// record aside.
func Map[A, B any](s Stream[A], fn func(Item[A]) (Item[B], error)) Stream[B] {
	return derive(s, "map", "", func(_ *run, next push[B]) push[A] {
		return func(r *run, it Item[A]) error {
			out, err := fn(it)
			if err != nil {
				return err
			}
			return next(r, out)
		}
	})
}

// MapValue replaces the value and keeps the rest.
func MapValue[A, B any](s Stream[A], fn func(A) (B, error)) Stream[B] {
	return Map(s, func(it Item[A]) (Item[B], error) {
		v, err := fn(it.Value)
		return Item[B]{Key: it.Key, Value: v, Time: it.Time, Headers: it.Headers}, err
	})
}

// KeyBy replaces the key. The items stay on their task until Through takes them to the one that
// the new key belongs to.
func (s Stream[V]) KeyBy(key func(Item[V]) []byte) Stream[V] {
	return derive(s, "key", "", func(_ *run, next push[V]) push[V] {
		return func(r *run, it Item[V]) error {
			it.Key = key(it)
			return next(r, it)
		}
	})
}

// FlatMap replaces every item by what fn emits, in that order.
func FlatMap[A, B any](s Stream[A], fn func(it Item[A], emit func(Item[B]) error) error) Stream[B] {
	return derive(s, "flatmap", "", func(r *run, next push[B]) push[A] {
		emit := func(out Item[B]) error { return next(r, out) }
		return func(_ *run, it Item[A]) error { return fn(it, emit) }
	})
}

// Branch gives one stream per condition and one more for the rest. An item goes to the first
// condition that holds.
func (s Stream[V]) Branch(conditions ...func(Item[V]) bool) []Stream[V] {
	b := s.s.b
	branch := newStage[V](b, "branch", "", s.s.id)
	outs := make([]*stage[V], len(conditions)+1)
	streams := make([]Stream[V], len(outs))
	for i := range outs {
		outs[i] = newStage[V](b, "case", "", branch.id)
		outs[i].detail = fmt.Sprint(i + 1)
		if i == len(conditions) {
			outs[i].detail = "rest"
		}
		streams[i] = Stream[V]{outs[i]}
	}
	s.s.subs = append(s.s.subs, func(r *run) push[V] {
		next := make([]push[V], len(outs))
		for i := range outs {
			next[i] = outs[i].compile(r)
		}
		return func(r *run, it Item[V]) error {
			for i, holds := range conditions {
				if holds(it) {
					return next[i](r, it)
				}
			}
			return next[len(conditions)](r, it)
		}
	})
	return streams
}

// Merge gives the items of s and of all others, in the order of their arrival.
func (s Stream[V]) Merge(others ...Stream[V]) Stream[V] {
	b := s.s.b
	all := append([]Stream[V]{s}, others...)
	parents := make([]int, len(all))
	for i, o := range all {
		parents[i] = o.s.id
		if o.s.b != b {
			b.fault("merge: a stream belongs to another builder")
			return s
		}
	}
	merged := newStage[V](b, "merge", "", parents...)
	for _, o := range all {
		o.s.subs = append(o.s.subs, merged.compile)
	}
	return Stream[V]{merged}
}

// To writes every item to a topic: its key chooses the partition (murmur2), its time and headers
// become those of the record. An item without a key goes to any partition.
func (s Stream[V]) To(topic string, serde Serde[V]) { s.to("to", topic, serde) }

func (s Stream[V]) to(kind, topic string, serde Serde[V]) {
	b := s.s.b
	n := &node{detail: serde.Name()}
	b.add(n, kind, topic, []int{s.s.id})
	b.sink(topic)
	s.s.subs = append(s.s.subs, func(*run) push[V] {
		return func(r *run, it Item[V]) error {
			value, err := serde.Append(r.out.room(), it.Value)
			if err != nil {
				return fmt.Errorf("%w: for %s: %w", ErrEncode, topic, err)
			}
			r.out.emit(r.c, topic, it.Key, r.out.kept(value), it.Time, it.Headers)
			return nil
		}
	})
}

// Through writes the items to a topic of this topology and reads them back on the task that their
// keys belong to. It costs one hop and changes the order between items of different tasks; items
// of one task with one key stay in order. The topic has as many partitions as the inputs.
func (s Stream[V]) Through(topic string, serde Serde[V]) Stream[V] {
	s.to("through", topic, serde)
	s.s.b.internal(topic)
	return From(s.s.b, topic, serde)
}
