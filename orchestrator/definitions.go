package orchestrator

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/unread"
	"github.com/amendsio/amends/sagas"
)

// maxDefinitions bounds the versions that one process keeps, so that a runaway publisher cannot
// exhaust its memory.
const maxDefinitions = 10_000

// readIdle is how long a reader waits without a record before it trusts that nothing is left below
// the end it was told: the last offsets of a compacted log may be transaction markers that are gone.
const readIdle = 2 * time.Second

// definitionRef names one version.
type definitionRef struct {
	typ     string
	version uint32
}

func (r definitionRef) String() string {
	return r.typ + "@" + strconv.FormatUint(uint64(r.version), 10)
}

// loaded is one version as this process knows it.
type loaded struct {
	plan   *sagas.Plan // nil when the version cannot be used
	open   bool        // new instances may start: the topics that it sends to exist
	digest sagas.Digest
	source []byte // canonical JSON
	fault  string // why plan is nil, or open is false
	at     int64  // ms, when it was published
}

// catalog is everything that was published. It is immutable: the reader makes a new one.
type catalog struct {
	versions map[definitionRef]*loaded
	active   map[string]uint32
	since    map[string]time.Time // when the active version became it
	level    uint32               // feature level as published; 0 = never

	secrets   map[string]secret // by type: see private
	anySecret bool
}

// plan finds the plan of a pinned version, nil when this process cannot use it. The digest must
// agree: a version is never taken for another of the same number.
func (c *catalog) plan(typ string, version uint32, digest sagas.Digest) *sagas.Plan {
	l := c.versions[definitionRef{typ, version}]
	if l == nil || l.plan == nil || l.digest != digest {
		return nil
	}
	return l.plan
}

// resolve finds the plan for a new instance: the version that was asked for or the active one. The
// version is 0 when none is known.
func (c *catalog) resolve(typ string, version uint32) (*sagas.Plan, uint32) {
	if version == 0 {
		version = c.active[typ]
	}
	if l := c.versions[definitionRef{typ, version}]; l != nil && l.open {
		return l.plan, version
	}
	return nil, version
}

// definitions keeps the catalog of one process up to date with the definitions topic.
type definitions struct {
	namespace string
	topic     string
	log       *slog.Logger
	current   atomic.Pointer[catalog]

	// usable is asked before new instances may take a plan, and again for those it refused; nil = all
	// are. It says why a plan cannot be used yet.
	usable func(ctx context.Context, plans []*sagas.Plan) map[*sagas.Plan]error
	// changed is called after the catalog gained a usable plan or an alias moved.
	changed func()

	waiting map[definitionRef]*sagas.Plan // compiled, not open yet; owned by the reader
}

func newDefinitions(namespace, topic string, log *slog.Logger) *definitions {
	d := &definitions{namespace: namespace, topic: topic, log: log, waiting: map[definitionRef]*sagas.Plan{}}
	d.current.Store(&catalog{versions: map[definitionRef]*loaded{}, active: map[string]uint32{}, since: map[string]time.Time{}})
	return d
}

// load reads the topic to the end that it has now. cl consumes nothing else.
func (d *definitions) load(ctx context.Context, cl *kgo.Client) error {
	end, err := committedEnd(ctx, cl, d.topic)
	if err != nil {
		return err
	}
	consumeDefinitions(cl, d.topic)
	return readTo(ctx, cl, end, func(recs []*kgo.Record) { d.absorb(ctx, recs) })
}

// raise takes a level that was just published and not read back yet. Only before tail.
func (d *definitions) raise(level uint32) {
	next := *d.current.Load()
	next.level = max(next.level, level)
	d.current.Store(&next)
}

// tail follows the topic until ctx ends.
func (d *definitions) tail(ctx context.Context, cl *kgo.Client) {
	const recheck = 10 * time.Second
	var faults unread.Faults
	for ctx.Err() == nil {
		poll, cancel := context.WithCancel(ctx)
		if len(d.waiting) > 0 { // for their topics, which nobody announces
			time.AfterFunc(recheck, cancel)
		}
		fetches := cl.PollFetches(poll)
		faults.After(poll, fetches, func(_ string, _ int32, err error) {
			d.log.Warn("cannot read definitions", "topic", d.topic, "err", err)
		})
		cancel()
		if recs := fetches.Records(); len(recs) > 0 || len(d.waiting) > 0 {
			d.absorb(ctx, recs)
		}
	}
}

// absorb takes records in and replaces the catalog once.
func (d *definitions) absorb(ctx context.Context, recs []*kgo.Record) {
	old := d.current.Load()
	next := &catalog{versions: maps.Clone(old.versions), active: maps.Clone(old.active), since: maps.Clone(old.since), level: old.level}
	news := false
	for _, rec := range recs {
		if rec.Attrs.IsControl() {
			continue
		}
		if string(rec.Key) == levelKey {
			if n, err := strconv.ParseUint(string(rec.Value), 10, 32); err == nil {
				next.level, news = uint32(n), true
				if err := checkLevel(next.level); err != nil {
					d.log.Error("the feature level was raised above what this process supports", "level", n, "err", err)
				}
			}
			continue
		}
		typ, version, ok := splitDefinitionKey(string(rec.Key))
		switch {
		case !ok:
			d.log.Warn("record in the definitions topic has a strange key", "topic", d.topic, "offset", rec.Offset)
		case version == activeAlias:
			if n, err := strconv.ParseUint(string(rec.Value), 10, 32); err == nil && n > 0 {
				next.active[typ], next.since[typ], news = uint32(n), rec.Timestamp, true
			} else {
				delete(next.active, typ)
				delete(next.since, typ)
				news = true
			}
		case rec.Value == nil:
			if n, err := strconv.ParseUint(version, 10, 32); err == nil {
				delete(next.versions, definitionRef{typ, uint32(n)})
				delete(d.waiting, definitionRef{typ, uint32(n)})
			}
		default:
			ref, l := d.compile(typ, version, rec.Value)
			if l == nil {
				d.log.Error("definition cannot be read", "saga", typ, "version", version, "offset", rec.Offset)
				continue
			}
			if known := next.versions[ref]; known != nil && known.digest == l.digest {
				continue
			}
			if len(next.versions) >= maxDefinitions {
				d.log.Error("too many definitions, this one is not used", "definition", ref.String(), "limit", maxDefinitions)
				continue
			}
			l.at = rec.Timestamp.UnixMilli()
			if l.plan != nil {
				d.waiting[ref], l.fault = l.plan, "not checked yet"
			} else {
				d.log.Error("definition does not compile here, its instances wait", "definition", ref.String(), "err", l.fault)
			}
			next.versions[ref] = l
		}
	}
	if d.admit(ctx, next) {
		news = true
	}
	next.seal()
	d.current.Store(next)
	if news && d.changed != nil {
		d.changed()
	}
}

// admit offers the plans that are usable by now.
func (d *definitions) admit(ctx context.Context, next *catalog) (news bool) {
	if len(d.waiting) == 0 {
		return false
	}
	var faults map[*sagas.Plan]error
	plans := slices.Collect(maps.Values(d.waiting))
	if d.usable != nil {
		faults = d.usable(ctx, plans)
	}
	for _, p := range plans {
		if err := aboveLevel(next.Level(), []*sagas.Plan{p}); err != nil {
			if faults == nil {
				faults = map[*sagas.Plan]error{}
			}
			faults[p] = err
		}
	}
	for ref, plan := range d.waiting {
		l := *next.versions[ref]
		if err := faults[plan]; err != nil {
			if l.fault != err.Error() {
				d.log.Error("definition cannot be used yet, new instances wait", "definition", ref.String(), "err", err)
			}
			l.fault = err.Error()
		} else {
			l.open, l.fault, news = true, "", true
			delete(d.waiting, ref)
			d.log.Info("definition loaded", "definition", ref.String(), "digest", l.digest.String())
		}
		next.versions[ref] = &l
	}
	return news
}

// compile reads one published definition; nil when it is not the definition its key claims.
func (d *definitions) compile(typ, version string, value []byte) (definitionRef, *loaded) {
	def, err := sagas.ParseDefinition(typ+"@"+version, value)
	if err != nil || def.Ref() != typ+"@"+version {
		return definitionRef{}, nil
	}
	ref := definitionRef{def.Saga, def.Version}
	l := &loaded{digest: def.Digest(), source: def.Canonical()}
	plan, err := sagas.Compile(def)
	if err != nil {
		l.fault = err.Error()
		return ref, l
	}
	plan.Namespace = d.namespace
	l.plan = plan
	return ref, l
}

// activeAlias is the version part of the key that holds the number of the active version.
const activeAlias = "active"

func splitDefinitionKey(key string) (typ, version string, ok bool) {
	i := strings.LastIndexByte(key, '@')
	if i <= 0 || i == len(key)-1 {
		return "", "", false
	}
	return key[:i], key[i+1:], true
}

// committedEnd is the offset after the last decided record of a topic with one partition.
func committedEnd(ctx context.Context, cl *kgo.Client, topic string) (end int64, err error) {
	err = sinceNew(ctx, func(ctx context.Context) error {
		ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return unreachable("read the end of topic "+topic, err)
		}
		o, ok := ends.Lookup(topic, 0)
		if !ok {
			return unreachable("read the end of topic "+topic, fmt.Errorf("no partition 0: %w", kerr.UnknownTopicOrPartition))
		}
		end = o.Offset
		return nil
	})
	return end, err
}

// consumeDefinitions points cl, which must have been made with readerOpts, at the topic's start.
func consumeDefinitions(cl *kgo.Client, topic string) {
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})
}

// readerOpts are what a client needs that reads a definitions topic to its end. Control records are
// kept, because they count as offsets.
func readerOpts() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
	}
}

// readTo reads until the position is end.
func readTo(ctx context.Context, cl *kgo.Client, end int64, take func([]*kgo.Record)) error {
	var next int64
	for next < end {
		poll, cancel := context.WithTimeout(ctx, readIdle)
		fetches := cl.PollFetches(poll)
		idle := poll.Err() != nil
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		recs := fetches.Records()
		if len(recs) > 0 {
			next = recs[len(recs)-1].Offset + 1
			take(recs)
			continue
		}
		var failed error
		fetches.EachError(func(_ string, _ int32, err error) { failed = err })
		switch {
		case idle:
			return nil
		case failed != nil:
			return unreachable("read the definitions", failed)
		}
	}
	return nil
}
