package correlate

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Entity is what is known of one value under one name. Step never changes one that it was given.
type Entity struct {
	Name, Value string
	Waits       []Wait   // sorted by Place
	Parked      []Parked // in the order of arrival
	Seen        []Seen   // events that were taken, oldest first
}

// Place is where somebody waits: a step of a run, and for replies the operation.
type Place struct {
	WorkflowID string
	Run        uint32
	Path       string
	Op         string // do, undo or inquire; "" for an await
}

// Wait is one subscription.
type Wait struct {
	Place
	Group string // saga type; "" for replies
	// Signal is the name of the signal that the event becomes; "" when it becomes a reply.
	Signal string
	// Token is that of the command that is answered.
	Token string
	// Keep says that the wait goes on after an event.
	Keep bool
	// Until is when the wait ends by itself, in ms since 1970; 0 = it is taken back by Unsubscribe.
	Until int64
}

// Event is one event whose value is that of the entity.
type Event struct {
	ID      string   // the same for repetitions
	Source  string   // topic/partition/offset, for people
	Binding string   // who read it, for people
	Payload []byte   // JSON
	Groups  []string // who may wait for it
	TTL     int64    // ms that it waits for each of them; 0 = not at all
	Answer  Answer   // of an event that is a reply
}

// Answer is what the event says as the reply of a participant.
type Answer struct {
	Op      string // the operation that it answers; "" = whichever waits
	Outcome string
	Effect  string
	Code    string
}

// Parked is an event that some group has not taken.
type Parked struct {
	Event
	Met     []string // groups that have
	Expires int64
}

// Seen remembers an event that was taken and is not parked any more.
type Seen struct {
	Hash  uint64 // of its id
	Until int64
}

// Limits of one entity. What does not fit becomes a dead letter.
const (
	// DefaultTTL is how long an early event waits unless its author says otherwise.
	DefaultTTL = time.Hour
	// MaxTTL bounds it.
	MaxTTL = 30 * 24 * time.Hour
	// MaxEventBytes bounds the payload of an event, so that it fits into a signal.
	MaxEventBytes = 60 << 10
	// MaxParked and MaxParkedBytes bound the early events of one value.
	MaxParked      = 64
	MaxParkedBytes = 256 << 10
	// MaxWaits and MaxWaitBytes bound who waits for one value at the same time.
	MaxWaits     = 1000
	MaxWaitBytes = 512 << 10
	// MaxSeen bounds the events that are remembered; the oldest are forgotten first.
	MaxSeen = 256
	// MaxGroups bounds the groups of one event.
	MaxGroups = 64
	// MaxValueBytes bounds a value, MaxTextBytes every other text.
	MaxValueBytes = 512
	MaxTextBytes  = 2 << 10

	seenLeast = int64(time.Hour / time.Millisecond)
)

// SignalID is the id of the signal that an event becomes for one instance: the same for repetitions.
func SignalID(name, value, event, workflowID string) string {
	sum := digest(name, value, event, workflowID)
	return "event/" + hex.EncodeToString(sum[:16])
}

func digest(parts ...string) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return [32]byte(h.Sum(nil))
}

func hash(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

func (p Place) compare(q Place) int {
	if c := strings.Compare(p.WorkflowID, q.WorkflowID); c != 0 {
		return c
	}
	if p.Run != q.Run {
		if p.Run < q.Run {
			return -1
		}
		return 1
	}
	if c := strings.Compare(p.Path, q.Path); c != 0 {
		return c
	}
	return strings.Compare(p.Op, q.Op)
}

// Due is when the first thing in the entity ends, in ms since 1970; 0 = nothing does.
func (e *Entity) Due() int64 {
	if e == nil {
		return 0
	}
	var due int64
	at := func(t int64) {
		if t != 0 && (due == 0 || t < due) {
			due = t
		}
	}
	for i := range e.Waits {
		at(e.Waits[i].Until)
	}
	for i := range e.Parked {
		at(e.Parked[i].Expires)
	}
	for i := range e.Seen {
		at(e.Seen[i].Until)
	}
	return due
}

// met says whether a group has had the event.
func (p *Parked) met(group string) bool { return slices.Contains(p.Met, group) }

// suits says whether the event is for a wait: a reply may be to another operation.
func (e *Event) suits(w *Wait) bool { return e.Answer.Op == "" || e.Answer.Op == w.Op }

// over says whether every group that may wait for the event has had it.
func (p *Parked) over() bool {
	for _, g := range p.Groups {
		if !p.met(g) {
			return false
		}
	}
	return true
}

// size is what the event counts for MaxParkedBytes.
func (e *Event) size() int {
	n := len(e.ID) + len(e.Source) + len(e.Binding) + len(e.Payload) + len(e.Answer.Op) + len(e.Answer.Outcome) + len(e.Answer.Effect) + len(e.Answer.Code)
	for _, g := range e.Groups {
		n += len(g)
	}
	return n
}

// size is what the wait counts for MaxWaitBytes.
func (w *Wait) size() int {
	return 32 + len(w.WorkflowID) + len(w.Path) + len(w.Op) + len(w.Group) + len(w.Signal) + len(w.Token)
}
