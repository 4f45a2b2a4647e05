package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits bound what one Gather asks of Kafka. A zero field means its default.
type Limits struct {
	Time    time.Duration // for all questions together. Default 3 s
	Groups  int           // consumer groups whose positions are asked for. Default 500
	Records int           // records read to find one command. Default 5 000
	Bytes   int           // bytes read to find one command. Default 8 MiB
	Keep    time.Duration // how long the list of groups of a topic is kept. Default 30 s
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Groups, 500)
	def(&l.Records, 5_000)
	def(&l.Bytes, 8<<20)
	if l.Time <= 0 {
		l.Time = 3 * time.Second
	}
	if l.Keep <= 0 {
		l.Keep = 30 * time.Second
	}
	return l
}

// Cluster answers questions about topics and groups. Errors are Kafka's own.
type Cluster interface {
	// Topic says how many partitions a topic has; state is one of TopicThere, TopicMissing, TopicDenied.
	Topic(ctx context.Context, topic string) (partitions int32, state string, err error)
	// End is where committed records of a partition end now.
	End(ctx context.Context, topic string, partition int32) (int64, error)
	// Find reads a partition from the moment From on, up to End, for the records of a command. err says why
	// not all was read; what was found until then is given all the same.
	Find(ctx context.Context, at Place, limits Limits) (Found, error)
	// Readers lists the groups that have a position on the topic, at most limit groups are looked at.
	// seen is how many groups can be seen at all.
	Readers(ctx context.Context, topic string, limit int) (names []string, seen int, err error)
	// Group tells of one group and one partition.
	Group(ctx context.Context, name, topic string, partition int32) (Group, error)
	// Letter finds the newest dead letter of a workflow ID among the newest records, nil when there is none.
	Letter(ctx context.Context, topic, workflowID string, limits Limits) (*DeadLetter, error)
}

// Place is where a command is looked for.
type Place struct {
	Topic     string
	Partition int32
	From      int64 // ms since 1970
	End       int64
	Key       string // idempotency key
}

// Found is where the attempts of a command lie. Attempt is 0 when none was met.
type Found struct {
	First, Newest int64  // offsets
	Attempt       uint32 // the newest
}

// clockSlack is by how much the clock of a broker, which may stamp records, may be behind ours.
const clockSlack = 2_000

// Gatherer finds the facts that Explain wants. It is safe for use by several goroutines.
type Gatherer struct {
	cluster Cluster
	limits  Limits
	now     func() time.Time
	place   func(key []byte, partitions int32) int32

	mu struct {
		sync.Mutex
		found   map[string]Found   // by key and attempt; records do not move
		readers map[string]readers // by topic
	}
}

type readers struct {
	names []string
	note  string // what was left out
	until time.Time
}

// keepFound bounds what is remembered; all of it is forgotten when it is full.
const keepFound = 4096

// NewGatherer makes a Gatherer. place gives the partition of a key.
func NewGatherer(c Cluster, l Limits, now func() time.Time, place func(key []byte, partitions int32) int32) *Gatherer {
	g := &Gatherer{cluster: c, limits: l.withDefaults(), now: now, place: place}
	g.mu.found, g.mu.readers = map[string]Found{}, map[string]readers{}
	return g
}

// Gather finds what it can within its limits. What it could not find is in Unknown of each.
func (g *Gatherer) Gather(ctx context.Context, asks []Ask) []Command {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Time)
	defer cancel()
	out := make([]Command, len(asks))
	for i, a := range asks {
		out[i] = g.command(ctx, a)
	}
	return out
}

// Letter finds the newest dead letter of a workflow ID. It looks at the newest records of one partition
// only.
func (g *Gatherer) Letter(ctx context.Context, dlq, workflowID string) (*DeadLetter, error) {
	ctx, cancel := context.WithTimeout(ctx, g.limits.Time)
	defer cancel()
	return g.cluster.Letter(ctx, dlq, workflowID, g.limits)
}

func (g *Gatherer) command(ctx context.Context, a Ask) Command {
	c := Command{Path: a.Path, Participant: a.Participant, Topic: a.Topic, TopicState: TopicUnknown, Partition: -1, First: -1, Offset: -1, End: -1}
	if a.Op != 0 {
		c.Op = a.Op.String()
	}
	unknown := func(what string, err error) { c.Unknown = append(c.Unknown, what+": "+reasonOf(err)) }

	partitions, state, err := g.cluster.Topic(ctx, a.Topic)
	if err != nil {
		unknown("whether topic "+a.Topic+" exists", err)
		return c
	}
	c.TopicState = state
	if state == TopicDenied {
		c.Unknown = append(c.Unknown, "where the command lies and who reads it: this process may not describe topic "+a.Topic)
	}
	if state != TopicThere || a.Key == "" {
		return c
	}
	c.Partition = g.place([]byte(a.WorkflowID), partitions)
	if c.End, err = g.cluster.End(ctx, a.Topic, c.Partition); err != nil {
		c.End = -1
		unknown(fmt.Sprintf("the end of %s[%d]", a.Topic, c.Partition), err)
	} else {
		g.find(ctx, a, &c, unknown)
	}
	g.groups(ctx, a, &c, unknown)
	return c
}

// find looks up the offset of the newest attempt.
func (g *Gatherer) find(ctx context.Context, a Ask, c *Command, unknown func(string, error)) {
	id := fmt.Sprintf("%s/%s#%d", a.Topic, a.Key, a.Attempt)
	g.mu.Lock()
	at, ok := g.mu.found[id]
	g.mu.Unlock()
	if ok {
		c.First, c.Offset, c.Attempt = at.First, at.Newest, at.Attempt
		return
	}
	at, err := g.cluster.Find(ctx, Place{Topic: a.Topic, Partition: c.Partition, From: max(0, int64(a.From)-clockSlack), End: c.End, Key: a.Key}, g.limits)
	if err != nil {
		unknown(fmt.Sprintf("the offset of the newest command of %s on %s[%d]", a.Path, a.Topic, c.Partition), err)
	}
	if at.Attempt == 0 {
		if err == nil {
			c.Unknown = append(c.Unknown, fmt.Sprintf("the offset of the command of %s: it is not on %s[%d] any more, or not visible yet", a.Path, a.Topic, c.Partition))
		}
		return
	}
	c.First, c.Offset, c.Attempt = at.First, at.Newest, at.Attempt
	if at.Attempt != a.Attempt {
		return // a newer one may come into sight
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.mu.found) >= keepFound {
		clear(g.mu.found)
	}
	g.mu.found[id] = at
}

// groups asks who reads the topic. Which groups do is kept for a while; where they are is asked anew.
func (g *Gatherer) groups(ctx context.Context, a Ask, c *Command, unknown func(string, error)) {
	g.mu.Lock()
	r, ok := g.mu.readers[a.Topic]
	g.mu.Unlock()
	if !ok || !g.now().Before(r.until) {
		names, seen, err := g.cluster.Readers(ctx, a.Topic, g.limits.Groups)
		if err != nil {
			unknown("which groups read topic "+a.Topic, err)
			return
		}
		r = readers{names: names, until: g.now().Add(g.limits.Keep)}
		if seen > g.limits.Groups {
			r.note = fmt.Sprintf("further groups of topic %s: there are %d groups, and %d were looked at", a.Topic, seen, g.limits.Groups)
		}
		if len(names) > 0 { // a group that comes now must be seen at once
			g.mu.Lock()
			if len(g.mu.readers) >= keepFound {
				clear(g.mu.readers)
			}
			g.mu.readers[a.Topic] = r
			g.mu.Unlock()
		}
	}
	if r.note != "" {
		c.Unknown = append(c.Unknown, r.note)
	}
	for _, name := range r.names[:min(len(r.names), maxReaders)] {
		one, err := g.cluster.Group(ctx, name, a.Topic, c.Partition)
		if err != nil {
			unknown("the state of group "+name, err)
			if one.Name == "" {
				continue
			}
		}
		one.Lag = -1
		if one.Position >= 0 && c.End >= 0 {
			one.Lag = max(0, c.End-one.Position)
		}
		c.Groups = append(c.Groups, one)
	}
	c.GroupsKnown = len(c.Groups) > 0 || len(r.names) == 0
	c.choose()
}

// maxReaders bounds the groups of one topic that are described.
const maxReaders = 16

// reasonOf is an error as one short clause.
func reasonOf(err error) string {
	if timedOut(err) {
		return "Kafka did not answer in time"
	}
	if Denied(err.Error()) {
		code, _, _ := strings.Cut(err.Error(), ":")
		return "this process may not see it (" + code + ")"
	}
	return err.Error()
}

// sortedNames gives names in order, those that look like the participant's first.
func sortedNames(names []string, topic string) []string {
	own := strings.TrimPrefix(topic, "cmd.")
	slices.SortFunc(names, func(a, b string) int {
		if ra, rb := strings.HasPrefix(a, own), strings.HasPrefix(b, own); ra != rb {
			if ra {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return names
}
