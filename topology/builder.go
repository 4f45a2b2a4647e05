package topology

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/amendsio/amends/statestore"
)

// Builder collects the nodes of a Topology. It is used by one goroutine; Build reports everything that
// is wrong together.
//
//	b := topology.NewBuilder("payments")
//	paid := topology.From(b, "bank.payments", topology.JSON[Payment]())
//	large := paid.Filter(func(p topology.Item[Payment]) bool { return p.Value.Amount > 1000 })
//	large.To("bank.payments.large", topology.JSON[Payment]())
//	b.SetAside("bank.payments.dead")
//	t, err := b.Build()
//	…
//	w, err := topology.New(t.Config(topology.Config{App: "large.", Changelog: "large.state", …}))
type Builder struct {
	name     string
	nodes    []*node
	sources  []source
	sinks    []string
	within   []string
	stores   []storeEntry
	alone    *alone
	setAside func(rec *Record, err error) *Record
	aside    string
	faults   []error
}

// node is the part of a node that can be printed.
type node struct {
	id      int
	kind    string
	name    string
	detail  string
	parents []int
	uses    Uses
}

// source is a topic that is read.
type source struct {
	topic   string
	compile func(*run) func(*run, *Record) error
}

type storeEntry struct {
	node string
	spec StoreSpec
}

// alone is a Processor that is the whole topology.
type alone struct {
	topics []string
	make   func(task int32) Processor
	index  statestore.Indexer
}

// NewBuilder begins a topology. The name is printed; nothing depends on it.
func NewBuilder(name string) *Builder { return &Builder{name: name} }

func (b *Builder) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Errorf(format, args...))
}

func (b *Builder) add(n *node, kind, name string, parents []int) {
	n.id, n.kind, n.name, n.parents = len(b.nodes), kind, name, parents
	b.nodes = append(b.nodes, n)
}

func (b *Builder) source(topic string, compile func(*run) func(*run, *Record) error) {
	switch {
	case topic == "":
		b.fault("from: a topic has no name")
	case slices.ContainsFunc(b.sources, func(s source) bool { return s.topic == topic }):
		b.fault("from: %s is read twice; use the stream twice instead", topic)
	}
	b.sources = append(b.sources, source{topic, compile})
}

func (b *Builder) sink(topic string) {
	if topic == "" {
		b.fault("to: a topic has no name")
	}
	if !slices.Contains(b.sinks, topic) {
		b.sinks = append(b.sinks, topic)
	}
}

func (b *Builder) internal(topic string) { b.within = append(b.within, topic) }

func (b *Builder) uses(n *node, u Uses) {
	n.uses = u
	if !nameValid(n.name) {
		b.fault("process: %q is not a name of letters, digits, '-', '_' and '.'", n.name)
	}
	for _, other := range b.nodes {
		if other != n && other.kind == n.kind && other.name == n.name {
			b.fault("process: the name %s is used twice", n.name)
		}
	}
	for _, spec := range u.Stores {
		if !nameValid(spec.Name) {
			b.fault("process %s: %q is not a store name of letters, digits, '-', '_' and '.'", n.name, spec.Name)
		}
		for _, s := range b.stores {
			if s.spec.Name == spec.Name {
				b.fault("process %s: store %s belongs to process %s", n.name, spec.Name, s.node)
			}
		}
		b.stores = append(b.stores, storeEntry{n.name, spec})
	}
	if u.Wall < 0 || u.Stream < 0 || u.Wall > 0 && u.Wall.Milliseconds() == 0 || u.Stream > 0 && u.Stream.Milliseconds() == 0 {
		b.fault("process %s: an interval of punctuation is 0 or at least 1 ms", n.name)
	}
}

// nameMax bounds the names of nodes and stores: they are part of keys.
const nameMax = 100

func nameValid(name string) bool {
	if name == "" || len(name) > nameMax {
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}

// SetAside names the topic for records that cannot be handled: original bytes and headers, and headers
// that say why. Without it such a record halts its task, so that nothing is lost unseen.
func (b *Builder) SetAside(topic string) {
	if topic == "" {
		b.fault("set aside: the topic has no name")
	}
	b.SetAsideBy(topic, func(rec *Record, err error) *Record { return deadLetter(topic, rec, err) })
}

// SetAsideBy is SetAside with records of the caller's making: make returns the record that takes the
// place of rec, or nil to drop it. topic is only printed.
func (b *Builder) SetAsideBy(topic string, make func(rec *Record, err error) *Record) {
	b.setAside, b.aside = make, topic
}

// Run makes a Processor the whole topology: it reads the topics, has all of the store, and writes to
// the topics writes, which are only printed. There is no layer between it and the runtime.
func (b *Builder) Run(name string, topics []string, make func(task int32) Processor, index statestore.Indexer, writes ...string) {
	if b.alone != nil {
		b.fault("run: a second processor, %s", name)
	}
	b.alone = &alone{topics: topics, make: make, index: index}
	var parents []int
	for _, topic := range topics {
		n := &node{detail: "records"}
		b.add(n, "from", topic, nil)
		parents = append(parents, n.id)
	}
	p := &node{}
	b.add(p, "process", name, parents)
	for _, topic := range writes {
		b.add(&node{detail: "records"}, "to", topic, []int{p.id})
	}
}

// Topology is what a Builder has built. It is immutable; any number of workers may run it.
type Topology struct {
	name     string
	nodes    []*node
	sources  []source
	sinks    []string
	within   []string
	stores   []storeEntry
	alone    *alone
	setAside func(rec *Record, err error) *Record
	aside    string
}

// Build checks everything and gives the topology.
func (b *Builder) Build() (*Topology, error) {
	faults := slices.Clone(b.faults)
	switch {
	case b.alone != nil && len(b.sources) > 0:
		faults = append(faults, errors.New("run: a processor that is the whole topology stands beside streams"))
	case b.alone == nil && len(b.sources) == 0:
		faults = append(faults, errors.New("nothing is read"))
	}
	for _, s := range b.sources {
		if slices.Contains(b.sinks, s.topic) && !slices.Contains(b.within, s.topic) {
			faults = append(faults, fmt.Errorf("%s is read and written: use Through, or records go round for ever", s.topic))
		}
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("topology %s: %w", b.name, errors.Join(faults...))
	}
	return &Topology{
		name: b.name, nodes: b.nodes, sources: b.sources, sinks: b.sinks, within: b.within, stores: b.stores,
		alone: b.alone, setAside: b.setAside, aside: b.aside,
	}, nil
}

// Inputs are the topics that the topology reads.
func (t *Topology) Inputs() []string {
	if t.alone != nil {
		return slices.Clone(t.alone.topics)
	}
	list := make([]string, len(t.sources))
	for i, s := range t.sources {
		list[i] = s.topic
	}
	return list
}

// Internal are the topics of Through. They are the topology's own: as many partitions as the inputs.
func (t *Topology) Internal() []string { return slices.Clone(t.within) }

// Processor makes the processor of one task.
func (t *Topology) Processor(task int32) Processor {
	if t.alone != nil {
		return t.alone.make(task)
	}
	return newRun(t, task)
}

// Index derives what the stores of the topology derive; it also makes punctuation due.
func (t *Topology) Index(key, value []byte) statestore.Entry {
	if t.alone != nil {
		if t.alone.index == nil {
			return statestore.Entry{}
		}
		return t.alone.index(key, value)
	}
	switch {
	case len(key) == 0:
	case key[0] == keyWall && len(value) == 8:
		return statestore.Entry{Due: int64(binary.BigEndian.Uint64(value))}
	case key[0] == keyStore:
		end := bytes.IndexByte(key, 0)
		if end < 0 {
			break
		}
		for i := range t.stores {
			s := &t.stores[i]
			if s.spec.Name != string(key[1:end]) || s.spec.Index == nil {
				continue
			}
			e := s.spec.Index(key[end+1:], value)
			attrs := make([]string, len(e.Attrs))
			for j, attr := range e.Attrs {
				attrs[j] = s.spec.Name + "/" + attr
			}
			e.Attrs = attrs
			return e
		}
	}
	return statestore.Entry{}
}

// Config fills in what the topology decides: Inputs, Processor and Index.
func (t *Topology) Config(cfg Config) Config {
	cfg.Inputs, cfg.Processor, cfg.Index = t.Inputs(), t.Processor, t.Index
	return cfg
}
