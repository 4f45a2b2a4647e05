package prove

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// state is one point of the exploration: the instance, everything that is on its way, what the
// participants hold, and the books that the properties are judged by.
type state struct {
	inst  *sagas.Instance // nil = no record
	msgs  []message       // sorted; equal ones stand side by side
	steps []books         // sorted by path
	used  used
	moved string // path of the message that led here; not part of what the state is
}

// used is what a run has already had of the things that happen a bounded number of times.
type used struct {
	started   bool
	cancels   uint8
	answered  uint8 // cancels that were answered
	operators uint8
	signals   uint8
	doubled   uint8 // deliveries that came twice
}

// message is a command or a reply on its way.
type message struct {
	reply   bool
	child   bool // to a child instance, or from it
	again   bool // the second delivery of what was delivered already
	path    string
	op      sagas.Op
	round   uint32
	attempt uint32
	forward uint32 // of an undo and a question: round of the do they are about
	answer  answer // of a reply
}

// answer is what a participant says: part of a reply and of an inbox row.
type answer struct {
	outcome outcome
	effect  effect
	code    string
	noop    bool
	output  uint8 // 1 + index into the outputs of the step; 0 = none
}

// outcome is an index of outcomes.
type outcome uint8

const (
	ok outcome = iota + 1
	rejected
	retriable
	fatal
	executed
	notExecuted
	running
)

var outcomes = [...]sagas.Outcome{"", sagas.OutcomeOK, sagas.OutcomeRejected, sagas.OutcomeFailedRetriable, sagas.OutcomeFailedFatal,
	sagas.OutcomeExecuted, sagas.OutcomeNotExecuted, sagas.OutcomeRunning}

// effect is an index of effects.
type effect uint8

const (
	effectDefault effect = iota
	effectNone
)

var effects = [...]sagas.Certainty{sagas.EffectDefault, sagas.EffectNone}

// books are what is known about one path from the outside: what its participant holds, and what went
// to and fro. The machine's own state has no part in it.
type books struct {
	path string
	rows []row // sorted by operation and round

	round    uint32 // newest round of the do
	sent     uint32 // attempts in it
	ever     uint32 // attempts of the do in all rounds, as far as it matters: at most 2
	doHash   uint32 // of the payload of the newest round
	undoRnd  uint32
	undoSent uint32
	undoHash uint32
	asked    uint32
	first    sagas.Time // first do of the round, relative; only while that matters

	done     bool // a reply said that the do took effect
	refused  bool // a reply said definitely that it did not
	onlyOne  bool // ... while a single attempt had been sent
	tooLate  bool // ... while an undo was on its way
	undone   bool // an undo was answered ok, and nothing has contradicted it since
	undoNoop bool // ... with a noop
	tried    bool // an undo was sent
	waived   bool // a person took it on
}

// row is one row of the participant's inbox.
type row struct {
	op       sagas.Op // do or undo
	round    uint32
	kept     answer // outcome 0 = none is stored
	tomb     bool   // do: refused because its undo came first
	executed uint8  // do: how often it took effect; undo: how often it reversed
	reversed uint8  // do: how often it was reversed
}

func (s *state) clone() *state {
	c := *s
	c.msgs = slices.Clone(s.msgs)
	c.steps = slices.Clone(s.steps)
	return &c
}

// find returns the books of a path, nil = there are none.
func (s *state) find(path string) *books {
	i, found := slices.BinarySearchFunc(s.steps, path, func(b books, p string) int { return strings.Compare(b.path, p) })
	if !found {
		return nil
	}
	return &s.steps[i]
}

// open returns the books of a path and makes them when there are none.
func (s *state) open(path string) *books {
	i, found := slices.BinarySearchFunc(s.steps, path, func(b books, p string) int { return strings.Compare(b.path, p) })
	if !found {
		s.steps = slices.Insert(s.steps, i, books{path: path})
	}
	return &s.steps[i]
}

// row returns an inbox row, nil = there is none. It must not be written: see write.
func (b *books) row(op sagas.Op, round uint32) *row {
	for i := range b.rows {
		if r := &b.rows[i]; r.op == op && r.round == round {
			return r
		}
	}
	return nil
}

// write returns a row that may be changed, made when there is none. Rows are shared between states
// until then.
func (b *books) write(op sagas.Op, round uint32) *row {
	b.rows = slices.Clone(b.rows)
	if r := b.row(op, round); r != nil {
		return r
	}
	i, _ := slices.BinarySearchFunc(b.rows, row{op: op, round: round}, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.op, b.op), cmp.Compare(a.round, b.round))
	})
	b.rows = slices.Insert(b.rows, i, row{op: op, round: round})
	return &b.rows[i]
}

func compareMessages(a, b message) int {
	if a.path != b.path {
		return strings.Compare(a.path, b.path)
	}
	return cmp.Or(cmp.Compare(a.op, b.op), cmp.Compare(a.round, b.round), cmp.Compare(a.attempt, b.attempt), cmp.Compare(a.forward, b.forward), compareBool(a.reply, b.reply), compareBool(a.again, b.again),
		cmp.Compare(a.answer.outcome, b.answer.outcome), cmp.Compare(a.answer.effect, b.answer.effect), strings.Compare(a.answer.code, b.answer.code),
		compareBool(a.answer.noop, b.answer.noop), cmp.Compare(a.answer.output, b.answer.output))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (s *state) put(m message) {
	i, _ := slices.BinarySearchFunc(s.msgs, m, compareMessages)
	s.msgs = slices.Insert(s.msgs, i, m)
}

func (s *state) take(i int) { s.msgs = slices.Delete(s.msgs, i, i+1) }

// append encodes the state. Two states with the same bytes have the same future.
func (s *state) append(dst []byte) []byte {
	var rec []byte
	if s.inst != nil {
		rec = s.inst.Append(nil)
	}
	w := writer{dst}
	w.text(string(rec))
	w.bool(s.used.started)
	w.b = append(w.b, s.used.cancels, s.used.answered, s.used.operators, s.used.signals, s.used.doubled)
	w.uint(uint64(len(s.msgs)))
	for i := range s.msgs {
		m := &s.msgs[i]
		w.text(m.path)
		w.bool(m.reply)
		w.bool(m.again)
		w.bool(m.child)
		w.b = append(w.b, byte(m.op))
		w.uint(uint64(m.round))
		w.uint(uint64(m.attempt))
		w.uint(uint64(m.forward))
		if m.reply {
			w.answer(m.answer)
		}
	}
	w.uint(uint64(len(s.steps)))
	for i := range s.steps {
		w.books(&s.steps[i])
	}
	return w.b
}

type writer struct{ b []byte }

func (w *writer) uint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

func (w *writer) text(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) answer(a answer) {
	w.b = append(w.b, byte(a.outcome), byte(a.effect), a.output)
	w.bool(a.noop)
	w.text(a.code)
}

func (w *writer) books(b *books) {
	w.text(b.path)
	flags := uint64(0)
	for i, f := range []bool{b.done, b.refused, b.onlyOne, b.tooLate, b.undone, b.undoNoop, b.tried, b.waived} {
		if f {
			flags |= 1 << i
		}
	}
	for _, n := range []uint64{flags, uint64(b.round), uint64(b.sent), uint64(b.ever), uint64(b.doHash), uint64(b.undoRnd), uint64(b.undoSent), uint64(b.undoHash),
		uint64(b.asked), uint64(b.first)} {
		w.uint(n)
	}
	w.uint(uint64(len(b.rows)))
	for i := range b.rows {
		r := &b.rows[i]
		w.b = append(w.b, byte(r.op), r.executed, r.reversed)
		w.bool(r.tomb)
		w.uint(uint64(r.round))
		w.answer(r.kept)
	}
}

// decodeState is the inverse of append. The instance is read back from its bytes by the machine's own
// codec, so each state that is looked at has survived a crash.
func decodeState(b []byte) (*state, error) {
	r := reader{b}
	s := &state{}
	rec := r.text()
	if len(rec) > 0 {
		inst, err := sagas.DecodeInstance([]byte(rec))
		if err != nil {
			return nil, err
		}
		s.inst = inst
	}
	s.used.started = r.bool()
	for _, to := range []*uint8{&s.used.cancels, &s.used.answered, &s.used.operators, &s.used.signals, &s.used.doubled} {
		*to = r.byte()
	}
	s.msgs = make([]message, r.uint())
	for i := range s.msgs {
		m := &s.msgs[i]
		m.path = r.text()
		m.reply = r.bool()
		m.again = r.bool()
		m.child = r.bool()
		m.op = sagas.Op(r.byte())
		m.round = uint32(r.uint())
		m.attempt = uint32(r.uint())
		m.forward = uint32(r.uint())
		if m.reply {
			m.answer = r.answer()
		}
	}
	s.steps = make([]books, r.uint())
	for i := range s.steps {
		r.books(&s.steps[i])
	}
	return s, nil
}

type reader struct{ b []byte }

func (r *reader) uint() uint64 {
	n, w := binary.Uvarint(r.b)
	r.b = r.b[w:]
	return n
}

func (r *reader) byte() byte {
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bool() bool { return r.byte() != 0 }

func (r *reader) text() string {
	n := r.uint()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) answer() answer {
	a := answer{outcome: outcome(r.byte()), effect: effect(r.byte()), output: r.byte()}
	a.noop = r.bool()
	a.code = r.text()
	return a
}

func (r *reader) books(b *books) {
	b.path = r.text()
	flags := r.uint()
	for i, f := range []*bool{&b.done, &b.refused, &b.onlyOne, &b.tooLate, &b.undone, &b.undoNoop, &b.tried, &b.waived} {
		*f = flags&(1<<i) != 0
	}
	for _, n := range []*uint32{&b.round, &b.sent, &b.ever, &b.doHash, &b.undoRnd, &b.undoSent, &b.undoHash, &b.asked} {
		*n = uint32(r.uint())
	}
	b.first = sagas.Time(r.uint())
	b.rows = make([]row, r.uint())
	for i := range b.rows {
		w := &b.rows[i]
		w.op = sagas.Op(r.byte())
		w.executed, w.reversed = r.byte(), r.byte()
		w.tomb = r.bool()
		w.round = uint32(r.uint())
		w.kept = r.answer()
	}
}
