package orchestrator

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amendsio/amends/sagas"
)

// pulse is how the sagas of this process do over time: what it committed, by minute, and how long runs and steps
// took. It is memory only: after a start it begins anew, and says since when it counts.
//
// Its size is bounded: a saga takes at most 36 KiB (a day of minutes, allocated by the hour, and two histograms),
// a step at most 2.2 KiB; so maxPulseSagas and maxPulseSteps make 16 MiB at the very most. What comes above is
// not counted, which is said.
//
// Its minutes are those of the machine, whatever clock the sagas go by.
type pulse struct {
	clock func() time.Time
	since int64 // ms

	mu    sync.Mutex
	sagas map[string]*sagaPulse
	steps map[stepRef]*stepPulse
	cut   bool
	marks []Mark // the oldest first
}

const (
	maxPulseSagas = 200
	maxPulseSteps = 4000
	maxMarks      = 200

	pulseHours = 25 // a day, and the hour that has begun
	minuteMs   = int64(time.Minute / time.Millisecond)
	hourMs     = int64(time.Hour / time.Millisecond)
)

type stepRef struct {
	typ     string
	version uint32
	step    string
}

// Ends counts runs.
type Ends struct {
	Started     uint32 `json:"started,omitempty"`
	Completed   uint32 `json:"completed,omitempty"`
	Compensated uint32 `json:"compensated,omitempty"`
	Closed      uint32 `json:"closed,omitempty"`
	Attention   uint32 `json:"attention,omitempty"` // times that one began to need a person
}

// Add adds the counts of another.
func (e *Ends) Add(o Ends) {
	e.Started += o.Started
	e.Completed += o.Completed
	e.Compensated += o.Compensated
	e.Closed += o.Closed
	e.Attention += o.Attention
}

type sagaPulse struct {
	hours [pulseHours]*pulseHour
	took  spread
}

type pulseHour struct {
	n       int64 // hours since 1970
	minutes [60]Ends
}

type stepPulse struct {
	sent, done, refused, failed, undone uint32
	took                                spread
}

func newPulse(clock func() time.Time) *pulse {
	p := &pulse{clock: clock, since: clock().UnixMilli(), sagas: map[string]*sagaPulse{}, steps: map[stepRef]*stepPulse{}}
	p.marks = []Mark{{At: p.since, Kind: MarkStarted}}
	return p
}

// beat is one thing that a pulse counts. ms is how long it took, negative = nothing is measured.
type beat struct {
	what beatKind
	ref  stepRef // without a step: about the run
	ms   int64
}

type beatKind uint8

const (
	beatStarted beatKind = iota + 1
	beatCompleted
	beatCompensated
	beatClosed
	beatAttention
	beatSent
	beatDone
	beatRefused
	beatFailed
	beatUndone
)

// beatOf says what a fact counts as; 0 = nothing.
func beatOf(kind sagas.Kind) beatKind {
	switch kind {
	case sagas.KindStarted:
		return beatStarted
	case sagas.KindCompleted:
		return beatCompleted
	case sagas.KindCompensated:
		return beatCompensated
	case sagas.KindClosed:
		return beatClosed
	case sagas.KindAttention:
		return beatAttention
	case sagas.KindStepDone:
		return beatDone
	case sagas.KindStepRejected:
		return beatRefused
	case sagas.KindStepFailed, sagas.KindStepUnknown:
		return beatFailed
	case sagas.KindStepUndone:
		return beatUndone
	}
	return 0
}

// take counts what a committed cycle did, and notes what people did in it.
func (p *pulse) take(beats []beat, acts []Mark) {
	if p == nil || len(beats)+len(acts) == 0 {
		return
	}
	for _, m := range acts {
		p.mark(m)
	}
	now := p.clock().UnixMilli()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range beats {
		b := &beats[i]
		if b.what <= beatAttention {
			if s := p.saga(b.ref.typ); s != nil {
				s.count(b.what, now)
				s.took.add(now, b.ms)
			}
			continue
		}
		if s := p.step(b.ref); s != nil {
			s.count(b.what)
			s.took.add(now, b.ms)
		}
	}
}

// saga finds the counts of a type, nil when there are too many types.
func (p *pulse) saga(typ string) *sagaPulse {
	s := p.sagas[typ]
	if s == nil {
		if len(p.sagas) >= maxPulseSagas {
			p.cut = true
			return nil
		}
		s = &sagaPulse{}
		p.sagas[strings.Clone(typ)] = s
	}
	return s
}

func (p *pulse) step(ref stepRef) *stepPulse {
	s := p.steps[ref]
	if s == nil {
		if len(p.steps) >= maxPulseSteps {
			p.cut = true
			return nil
		}
		s = &stepPulse{}
		p.steps[stepRef{strings.Clone(ref.typ), ref.version, strings.Clone(ref.step)}] = s
	}
	return s
}

func (s *sagaPulse) count(what beatKind, now int64) {
	n := now / hourMs
	h := s.hours[n%pulseHours]
	if h == nil || h.n != n {
		h = &pulseHour{n: n}
		s.hours[n%pulseHours] = h
	}
	m := &h.minutes[now%hourMs/minuteMs]
	switch what {
	case beatStarted:
		m.Started++
	case beatCompleted:
		m.Completed++
	case beatCompensated:
		m.Compensated++
	case beatClosed:
		m.Closed++
	case beatAttention:
		m.Attention++
	}
}

// parts adds the minutes up in even parts of a window that begins at a whole minute.
func (s *sagaPulse) parts(from, part int64, n int) []Ends {
	out := make([]Ends, n)
	for _, h := range s.hours {
		if h == nil {
			continue
		}
		for i, m := range h.minutes {
			at := h.n*hourMs + int64(i)*minuteMs
			if k := (at - from) / part; at >= from && k < int64(n) {
				out[k].Add(m)
			}
		}
	}
	return out
}

func (s *stepPulse) count(what beatKind) {
	switch what {
	case beatSent:
		s.sent++
	case beatDone:
		s.done++
	case beatRefused:
		s.refused++
	case beatFailed:
		s.failed++
	case beatUndone:
		s.undone++
	}
}

// spread is a histogram of the last half day to day.
type spread struct {
	at       int64 // half days since 1970, of now
	now, old *[spreadBuckets]uint32
}

const (
	halfDayMs     = 12 * hourMs
	spreadBuckets = 128
	perOctave     = 4 // so that a bucket is 19 % wide
)

// bucketOf is the bucket of a time: 0 for under a millisecond, then four to each doubling, up to 50 days.
func bucketOf(ms int64) int {
	if ms < 1 {
		return 0
	}
	return min(1+int(perOctave*math.Log2(float64(ms))), spreadBuckets-1)
}

// BucketMs is a time in the middle of a bucket of a Spread.
func BucketMs(bucket int) int64 {
	if bucket <= 0 {
		return 0
	}
	return int64(math.Round(math.Exp2((float64(bucket) - 0.5) / perOctave)))
}

func (s *spread) add(now, ms int64) {
	if ms < 0 {
		return
	}
	if n := now / halfDayMs; s.now == nil || s.at != n {
		s.old = s.now
		if n != s.at+1 {
			s.old = nil
		}
		s.at, s.now = n, new([spreadBuckets]uint32)
	}
	s.now[bucketOf(ms)]++
}

// Spread is a histogram: bucket and count in turn, without those that are empty.
type Spread []uint32

func (s *spread) counts(now int64) Spread {
	var out Spread
	behind := now/halfDayMs - s.at
	for i := range spreadBuckets {
		var n uint32
		if s.now != nil && behind <= 1 {
			n += s.now[i]
		}
		if s.old != nil && behind <= 0 {
			n += s.old[i]
		}
		if n > 0 {
			out = append(out, uint32(i), n)
		}
	}
	return out
}

// Kinds of marks.
const (
	MarkStarted = "started" // a process started
	MarkGained  = "gained"  // partitions came to it
	MarkLost    = "lost"    // partitions were taken from it
	MarkBlocked = "blocked" // a topic of others takes nothing
	MarkFlows   = "flows"   // it takes records again
	MarkVersion = "version" // a version of a definition was published
	MarkActive  = "active"  // new starts take a version
	MarkPerson  = "person"  // a person acted on instances
)

// marksTogether is the time within which the same is one mark, in ms.
const marksTogether = 10_000

// Mark is something that happened to the cluster or its definitions.
type Mark struct {
	At      int64  `json:"at"` // ms
	Kind    string `json:"kind"`
	Node    string `json:"node,omitempty"`
	N       int    `json:"n,omitempty"` // of partitions, or of instances that somebody acted on
	Topic   string `json:"topic,omitempty"`
	Type    string `json:"type,omitempty"`
	Version uint32 `json:"version,omitempty"`

	// What a person did: who, what, and to which instance when it was one.
	Actor      string `json:"actor,omitempty"`
	Action     string `json:"action,omitempty"`
	WorkflowID string `json:"workflowId,omitempty"`
}

// mark notes what happened. What is the same within ten seconds is one mark.
func (p *pulse) mark(m Mark) {
	m.At = p.clock().UnixMilli()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.marks) - 1; i >= 0 && m.At-p.marks[i].At < marksTogether; i-- {
		if k := &p.marks[i]; k.Kind == m.Kind && k.Topic == m.Topic && k.Actor == m.Actor && k.Action == m.Action && k.Type == m.Type {
			k.At, k.N = m.At, k.N+m.N
			if k.WorkflowID != m.WorkflowID {
				k.WorkflowID = ""
			}
			return
		}
	}
	if len(p.marks) >= maxMarks {
		p.marks = slices.Delete(p.marks, 0, 1)
	}
	p.marks = append(p.marks, m)
}
