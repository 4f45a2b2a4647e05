package statestore

// objects remembers, beside the store, what its user has made of some values, so
// that who reads an entry soon after it was written need not ask Pebble and
// parse again. It changes only where the store does, in write, and there for
// each key of the batch. So what it has under a key is always that of the value
// that the store has, whatever was rolled back or dropped before.
//
// It belongs to the goroutine that writes the store.
type objects struct {
	limit int // of bytes; 0: nothing is kept
	bytes int
	of    map[string]*object
	ring  object // the newest is ring.next, the oldest ring.last
}

type object struct {
	key        string
	value      any
	entry      Entry // what the Indexer gave for the value that is stored
	weight     int
	next, last *object
}

// objectOverhead is about what an object takes beside its key and what its user
// said it weighs.
const objectOverhead = 192

func (o *objects) init(limit int) {
	o.limit = limit
	o.clear()
}

// clear forgets everything.
func (o *objects) clear() {
	o.bytes, o.of = 0, nil
	if o.limit > 0 {
		o.of = make(map[string]*object)
	}
	o.ring.next, o.ring.last = &o.ring, &o.ring
}

// find is nil when nothing is kept under key.
func (o *objects) find(key []byte) *object { return o.of[string(key)] }

// use is find for a reader: what is read is forgotten last.
func (o *objects) use(key []byte) any {
	x := o.find(key)
	if x == nil {
		return nil
	}
	o.unlink(x)
	o.link(x)
	return x.value
}

// set follows a write of key. A nil value: nothing is to be kept of what was
// written.
func (o *objects) set(key []byte, value any, entry Entry, weight int) {
	if o.limit == 0 {
		return
	}
	x := o.of[string(key)]
	if x != nil {
		o.unlink(x)
		o.bytes -= x.size()
	}
	if weight += objectOverhead; value == nil || len(key)+weight > o.limit/4 {
		if x != nil {
			delete(o.of, x.key)
		}
		return
	}
	if x == nil {
		x = &object{key: string(key)}
		o.of[x.key] = x
	}
	x.value, x.entry, x.weight = value, entry, weight
	o.link(x)
	o.bytes += x.size()
	for o.bytes > o.limit {
		oldest := o.ring.last
		o.unlink(oldest)
		o.bytes -= oldest.size()
		delete(o.of, oldest.key)
	}
}

func (x *object) size() int { return len(x.key) + x.weight }

func (o *objects) link(x *object) {
	x.next, x.last = o.ring.next, &o.ring
	x.next.last, o.ring.next = x, x
}

func (o *objects) unlink(x *object) {
	x.last.next, x.next.last = x.next, x.last
}
