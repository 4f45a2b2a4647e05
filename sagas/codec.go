package sagas

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Errors of DecodeInstance and Summarise, by who must act.
var (
	// ErrNewerFormat: the record was written by a later release. Stop the partition and upgrade;
	// nothing was changed.
	ErrNewerFormat = errors.New("the state record has a newer format than this release knows")
	// ErrCorrupt: the bytes are not a state record. Restore the store from the changelog.
	ErrCorrupt = errors.New("the state record is damaged")
)

// The record, format 1. It has one encoding per instance: equal instances give equal bytes, and
// whatever DecodeInstance accepts, Append gives back byte for byte. Numbers are unsigned varints in
// their shortest form unless a width is given; a text or byte string has its length before it; a
// moment is 0 for none, else 1 + zigzag(moment - StartedAt).
//
//	head   format 1B | phase 1B | flags 1B | run 4B | version 4B | rev 8B | due 8B | started 8B | updated 8B | wid | type
//	body   digest 32B | input hash 32B | seq | ended, answered phase 1B each | start id | input | reply-to | trace |
//	       tags | issued, ended, deadline, expires | marker ttl | cancels | cause | attention | residue | output | steps
//	step   path | kind, state, undo 1B each | mask | the fields that the mask names, in its order
//
// The head is big endian and fixed up to wid, so that Summarise reads it in passing. type is
// 2*len+1 when it is the beginning of wid, else 2*len and the text.
const formatV1 = 1

const headBytes = 3 + 4 + 4 + 8 + 8 + 8 + 8

// Flags of the head.
const (
	flagAttention = 1 << iota
	flagCancelRequested
	flagDeadlineHit
	flagsKnown = 1<<iota - 1
)

// Fields of a step that are there only when they are not zero.
const (
	hasStuck = 1 << iota
	hasSeenDone
	hasPhantom
	hasFatal
	hasRound
	hasAsked
	hasUndoRound
	hasFirstSent
	hasAskedAt
	hasUndoSent
	hasTimer
	hasAlert
	hasFailure
	hasPayload
	hasQuestion
	hasOutput
	hasRecord
	hasSharedPayload // the undo record's payload is that of the do
	hasKnown         = 1<<iota - 1
)

// Summary is the fixed head of a state record: what lists and indexes need.
type Summary struct {
	WorkflowID string
	Type       string
	Version    uint32
	Run        uint32
	Phase      Phase
	Attention  bool
	Due        Time
	StartedAt  Time
	UpdatedAt  Time
	Rev        uint64
}

// Append appends the encoded instance to dst. It needs no error: Step keeps every instance within
// the limits that DecodeInstance checks.
func (i *Instance) Append(dst []byte) []byte {
	e := stateWriter{b: dst, base: i.StartedAt}
	e.head(i)
	e.raw(i.Digest[:])
	e.raw(i.InputHash[:])
	e.uint(i.Seq)
	e.byte(byte(i.Ended))
	e.byte(byte(i.Answered))
	e.text(i.StartID)
	e.bytes(i.Input)
	e.text(i.ReplyTo)
	e.text(i.Trace)
	e.uint(uint64(len(i.Tags)))
	for _, t := range i.Tags {
		e.text(t.Key)
		e.text(t.Value)
	}
	e.time(i.IssuedAt)
	e.time(i.EndedAt)
	e.time(i.Deadline)
	e.time(i.Expires)
	e.uint(uint64(i.MarkerTTL))
	e.uint(uint64(len(i.Cancels)))
	for _, c := range i.Cancels {
		e.bool(c.Pending)
		e.text(c.ID)
	}
	e.byte(byte(i.Cause.Kind))
	if i.Cause.Kind != 0 {
		e.text(i.Cause.Path)
		e.text(i.Cause.Code)
		e.text(i.Cause.Message)
	}
	e.uint(uint64(len(i.Attention)))
	for k := range i.Attention {
		a := &i.Attention[k]
		e.text(a.Path)
		e.text(string(a.Reason))
		e.time(a.Since)
		e.text(a.Text)
	}
	e.uint(uint64(len(i.Residue)))
	for _, r := range i.Residue {
		e.text(r)
	}
	e.bytes(i.Output)
	e.uint(uint64(len(i.Steps)))
	for k := range i.Steps {
		e.step(&i.Steps[k])
	}
	return e.b
}

type stateWriter struct {
	b    []byte
	base Time
}

func (e *stateWriter) head(i *Instance) {
	flags := byte(0)
	if len(i.Attention) > 0 {
		flags |= flagAttention
	}
	if i.CancelRequested {
		flags |= flagCancelRequested
	}
	if i.DeadlineHit {
		flags |= flagDeadlineHit
	}
	e.b = append(e.b, formatV1, byte(i.Phase), flags)
	e.b = binary.BigEndian.AppendUint32(e.b, i.Run)
	e.b = binary.BigEndian.AppendUint32(e.b, i.Version)
	e.b = binary.BigEndian.AppendUint64(e.b, i.Rev)
	e.b = binary.BigEndian.AppendUint64(e.b, uint64(i.NextDue()))
	e.b = binary.BigEndian.AppendUint64(e.b, uint64(i.StartedAt))
	e.b = binary.BigEndian.AppendUint64(e.b, uint64(i.LastNow))
	e.text(i.WorkflowID)
	if strings.HasPrefix(i.WorkflowID, i.Type) {
		e.uint(uint64(len(i.Type))<<1 | 1)
		return
	}
	e.uint(uint64(len(i.Type)) << 1)
	e.b = append(e.b, i.Type...)
}

func (e *stateWriter) step(s *StepState) {
	mask := uint64(0)
	set := func(cond bool, bit uint64) {
		if cond {
			mask |= bit
		}
	}
	t := &s.Timer
	shared := s.Record.Set() && len(s.Payload) > 0 && string(s.Payload) == string(s.Record.Payload)
	set(s.Stuck, hasStuck)
	set(s.SeenDone, hasSeenDone)
	set(s.Phantom, hasPhantom)
	set(s.Fatal, hasFatal)
	set(s.Round != 0 || s.Attempts != 0, hasRound)
	set(s.Asked != 0, hasAsked)
	set(s.UndoRound != 0 || s.UndoAttempts != 0, hasUndoRound)
	set(s.FirstSent != 0, hasFirstSent)
	set(s.AskedAt != 0, hasAskedAt)
	set(s.UndoSent != 0, hasUndoSent)
	set(*t != Timer{} || s.Gen != 0, hasTimer)
	set(s.Alert != 0, hasAlert)
	set(s.Code != "" || s.Message != "", hasFailure)
	set(len(s.Payload) > 0, hasPayload)
	set(len(s.Question) > 0, hasQuestion)
	set(len(s.Output) > 0, hasOutput)
	set(s.Record.Set(), hasRecord)
	set(shared, hasSharedPayload)

	e.text(s.Path)
	e.b = append(e.b, byte(s.Kind), byte(s.State), byte(s.Undo))
	e.uint(mask)
	if mask&hasRound != 0 {
		e.uint(uint64(s.Round))
		e.uint(uint64(s.Attempts))
	}
	if mask&hasAsked != 0 {
		e.uint(uint64(s.Asked))
	}
	if mask&hasUndoRound != 0 {
		e.uint(uint64(s.UndoRound))
		e.uint(uint64(s.UndoAttempts))
	}
	if mask&hasFirstSent != 0 {
		e.time(s.FirstSent)
	}
	if mask&hasAskedAt != 0 {
		e.time(s.AskedAt)
	}
	if mask&hasUndoSent != 0 {
		e.time(s.UndoSent)
	}
	if mask&hasTimer != 0 {
		e.uint(uint64(s.Gen))
		e.byte(byte(t.Kind))
		if t.Kind != 0 {
			e.byte(byte(t.Op))
			e.uint(uint64(t.Round))
			e.uint(uint64(t.Attempt))
			e.uint(uint64(t.Gen))
			e.time(t.Due)
		}
	}
	if mask&hasAlert != 0 {
		e.time(s.Alert)
	}
	if mask&hasFailure != 0 {
		e.text(s.Code)
		e.text(s.Message)
	}
	if mask&hasPayload != 0 {
		e.bytes(s.Payload)
	}
	if mask&hasQuestion != 0 {
		e.bytes(s.Question)
	}
	if mask&hasOutput != 0 {
		e.bytes(s.Output)
	}
	if mask&hasRecord != 0 {
		e.text(s.Record.Participant)
		e.text(s.Record.Command)
		e.text(s.Record.Topic)
		e.raw(s.Record.ForwardKey[:])
		if !shared {
			e.bytes(s.Record.Payload)
		}
	}
}

func (e *stateWriter) byte(b byte)   { e.b = append(e.b, b) }
func (e *stateWriter) raw(b []byte)  { e.b = append(e.b, b...) }
func (e *stateWriter) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *stateWriter) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *stateWriter) text(s string) {
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *stateWriter) bytes(s []byte) {
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *stateWriter) time(t Time) {
	if t == 0 {
		e.b = append(e.b, 0)
		return
	}
	d := int64(t - e.base)
	e.b = binary.AppendUvarint(e.b, (uint64(d)<<1^uint64(d>>63))+1)
}

// DecodeInstance is the inverse of Append. It keeps no reference to b, rejects trailing bytes, and
// checks every count against the bytes that are left before it allocates.
func DecodeInstance(b []byte) (*Instance, error) {
	if err := checkFormat(b); err != nil {
		return nil, err
	}
	// Two copies serve all fields: texts share the one, byte strings the other.
	d := stateReader{s: string(b), b: append([]byte(nil), b...)}
	inst := new(Instance)
	due, flags := d.head(inst)
	d.body(inst)
	if d.err == nil && len(d.s) != d.at {
		d.fail("%d bytes are left over", len(d.s)-d.at)
	}
	if d.err == nil && (due != inst.NextDue() || (flags&flagAttention != 0) != (len(inst.Attention) > 0)) {
		d.fail("the head does not fit the body")
	}
	if d.err != nil {
		return nil, d.err
	}
	return inst, nil
}

// Summarise reads the head of an encoded instance and nothing else.
func Summarise(b []byte) (Summary, error) {
	if err := checkFormat(b); err != nil {
		return Summary{}, err
	}
	end, n := headBytes, 0
	for range 2 { // the two texts of the head
		if end > len(b) {
			break
		}
		l, w := binary.Uvarint(b[end:])
		if w <= 0 || l > uint64(2*len(b)) {
			break
		}
		n = int(l)
		if end > headBytes { // the type
			if n&1 != 0 {
				n = 0
			}
			n >>= 1
		}
		end += w + n
	}
	d := stateReader{s: string(b[:min(end, len(b))])}
	var inst Instance
	due, flags := d.head(&inst)
	if d.err != nil {
		return Summary{}, d.err
	}
	return Summary{
		WorkflowID: inst.WorkflowID, Type: inst.Type, Version: inst.Version, Run: inst.Run, Phase: inst.Phase,
		Attention: flags&flagAttention != 0, Due: due, StartedAt: inst.StartedAt, UpdatedAt: inst.LastNow, Rev: inst.Rev,
	}, nil
}

func checkFormat(b []byte) error {
	switch {
	case len(b) == 0:
		return fmt.Errorf("%w: it is empty", ErrCorrupt)
	case b[0] > formatV1:
		return fmt.Errorf("%w: format %d, known up to %d", ErrNewerFormat, b[0], formatV1)
	case b[0] != formatV1:
		return fmt.Errorf("%w: format %d", ErrCorrupt, b[0])
	case len(b) > MaxRecordBytes:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrCorrupt, len(b), MaxRecordBytes)
	}
	return nil
}

// stateReader reads s; b is a copy of the same bytes. After the first error every read gives zero.
type stateReader struct {
	s    string
	b    []byte
	at   int
	base Time
	err  error
}

func (d *stateReader) head(i *Instance) (due Time, flags byte) {
	h := d.take(headBytes)
	if d.err != nil {
		return 0, 0
	}
	flags = h[2]
	i.Phase = Phase(h[1])
	i.CancelRequested = flags&flagCancelRequested != 0
	i.DeadlineHit = flags&flagDeadlineHit != 0
	i.Run = be32(h[3:])
	i.Version = be32(h[7:])
	i.Rev = be64(h[11:])
	due = d.moment(be64(h[19:]))
	i.StartedAt = d.moment(be64(h[27:]))
	i.LastNow = d.moment(be64(h[35:]))
	d.base = i.StartedAt
	if flags&^flagsKnown != 0 || i.Phase == 0 || i.Phase > Marker {
		d.fail("phase %d, flags %#x", h[1], flags)
	}
	i.WorkflowID = d.text()
	n := d.uint()
	l := n >> 1
	switch {
	case n&1 == 0:
		if l > uint64(len(d.s)-d.at) {
			d.fail("a text of %d bytes", l)
		}
		i.Type = d.take(int(l))
		if d.err == nil && strings.HasPrefix(i.WorkflowID, i.Type) {
			d.fail("the type is not in its shortest form")
		}
	case l > uint64(len(i.WorkflowID)):
		d.fail("a type of %d bytes", l)
	default:
		i.Type = i.WorkflowID[:l]
	}
	return due, flags
}

func (d *stateReader) body(i *Instance) {
	copy(i.Digest[:], d.take(len(i.Digest)))
	copy(i.InputHash[:], d.take(len(i.InputHash)))
	i.Seq = d.uint()
	i.Ended = Phase(d.enum(byte(Marker)))
	i.Answered = Phase(d.enum(byte(Marker)))
	i.StartID = d.text()
	i.Input = d.bytes()
	i.ReplyTo = d.text()
	i.Trace = d.text()
	if n := d.count(2); n > 0 {
		i.Tags = make([]KV, n)
		for k := range i.Tags {
			i.Tags[k] = KV{d.text(), d.text()}
		}
	}
	i.IssuedAt = d.time()
	i.EndedAt = d.time()
	i.Deadline = d.time()
	i.Expires = d.time()
	i.MarkerTTL = int64(d.moment(d.uint()))
	if n := d.count(2); n > 0 {
		i.Cancels = make([]CancelRequest, n)
		for k := range i.Cancels {
			i.Cancels[k] = CancelRequest{Pending: d.enum(1) != 0, ID: d.text()}
		}
	}
	if i.Cause.Kind = CauseKind(d.enum(byte(CauseLateEffect))); i.Cause.Kind != 0 {
		i.Cause.Path, i.Cause.Code, i.Cause.Message = d.text(), d.text(), d.text()
	}
	if n := d.count(4); n > 0 {
		i.Attention = make([]Attention, n)
		for k := range i.Attention {
			i.Attention[k] = Attention{Path: d.text(), Reason: Reason(d.text()), Since: d.time(), Text: d.text()}
		}
	}
	if n := d.count(1); n > 0 {
		i.Residue = make([]string, n)
		for k := range i.Residue {
			i.Residue[k] = d.text()
		}
	}
	i.Output = d.bytes()
	n := d.count(5)
	if n > MaxPaths {
		d.fail("%d steps", n)
		return
	}
	if n > 0 {
		i.Steps = make([]StepState, n)
		for k := range i.Steps {
			d.step(&i.Steps[k])
		}
	}
}

func (d *stateReader) step(s *StepState) {
	s.Path = d.text()
	s.Kind = StepKind(d.enum(byte(ReadOnly)))
	s.State = StepStatus(d.enum(byte(StepAbandoned)))
	s.Undo = UndoStatus(d.enum(byte(UndoWaived)))
	mask := d.uint()
	if s.Kind == 0 || s.State == 0 || mask&^uint64(hasKnown) != 0 {
		d.fail("step kind %d, state %d, fields %#x", s.Kind, s.State, mask)
	}
	if d.err != nil {
		return
	}
	s.Stuck = mask&hasStuck != 0
	s.SeenDone = mask&hasSeenDone != 0
	s.Phantom = mask&hasPhantom != 0
	s.Fatal = mask&hasFatal != 0
	if mask&hasRound != 0 {
		s.Round, s.Attempts = d.uint32(), d.uint32()
	}
	if mask&hasAsked != 0 {
		s.Asked = d.uint32()
	}
	if mask&hasUndoRound != 0 {
		s.UndoRound, s.UndoAttempts = d.uint32(), d.uint32()
	}
	if mask&hasFirstSent != 0 {
		s.FirstSent = d.time()
	}
	if mask&hasAskedAt != 0 {
		s.AskedAt = d.time()
	}
	if mask&hasUndoSent != 0 {
		s.UndoSent = d.time()
	}
	if mask&hasTimer != 0 {
		s.Gen = d.uint32()
		if s.Timer.Kind = TimerKind(d.enum(byte(TimerPause))); s.Timer.Kind != 0 {
			s.Timer.Op = Op(d.enum(byte(OpInquire)))
			s.Timer.Round, s.Timer.Attempt, s.Timer.Gen = d.uint32(), d.uint32(), d.uint32()
			s.Timer.Due = d.time()
		}
	}
	if mask&hasAlert != 0 {
		s.Alert = d.time()
	}
	if mask&hasFailure != 0 {
		s.Code, s.Message = d.text(), d.text()
	}
	if mask&hasPayload != 0 {
		s.Payload = d.bytes()
	}
	if mask&hasQuestion != 0 {
		s.Question = d.bytes()
	}
	if mask&hasOutput != 0 {
		s.Output = d.bytes()
	}
	if mask&hasRecord != 0 {
		s.Record.Participant, s.Record.Command, s.Record.Topic = d.text(), d.text(), d.text()
		copy(s.Record.ForwardKey[:], d.take(len(s.Record.ForwardKey)))
		if mask&hasSharedPayload != 0 {
			s.Record.Payload = s.Payload
		} else {
			s.Record.Payload = d.bytes()
		}
	}
	d.canonical(s, mask)
}

// canonical refuses a field that is there though it is zero: there is one encoding per instance.
func (d *stateReader) canonical(s *StepState, mask uint64) {
	shared := s.Record.Set() && len(s.Payload) > 0 && string(s.Payload) == string(s.Record.Payload)
	empty := mask&hasRound != 0 && s.Round == 0 && s.Attempts == 0 ||
		mask&hasAsked != 0 && s.Asked == 0 ||
		mask&hasUndoRound != 0 && s.UndoRound == 0 && s.UndoAttempts == 0 ||
		mask&hasFirstSent != 0 && s.FirstSent == 0 ||
		mask&hasAskedAt != 0 && s.AskedAt == 0 ||
		mask&hasUndoSent != 0 && s.UndoSent == 0 ||
		mask&hasTimer != 0 && s.Gen == 0 && s.Timer == Timer{} ||
		mask&hasAlert != 0 && s.Alert == 0 ||
		mask&hasFailure != 0 && s.Code == "" && s.Message == "" ||
		mask&hasPayload != 0 && len(s.Payload) == 0 ||
		mask&hasQuestion != 0 && len(s.Question) == 0 ||
		mask&hasOutput != 0 && len(s.Output) == 0 ||
		mask&hasRecord != 0 && !s.Record.Set() ||
		(mask&hasSharedPayload != 0) != shared
	if d.err == nil && empty {
		d.fail("step %s is not in its shortest form", s.Path)
	}
}

func (d *stateReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: at byte %d: %s", ErrCorrupt, d.at, fmt.Sprintf(format, args...))
	}
}

// take reads n bytes as text.
func (d *stateReader) take(n int) string {
	if d.err != nil {
		return ""
	}
	if n > len(d.s)-d.at {
		d.fail("it ends too early")
		return ""
	}
	s := d.s[d.at : d.at+n]
	d.at += n
	return s
}

func (d *stateReader) uint() uint64 {
	if d.err != nil {
		return 0
	}
	var n uint64
	for shift := uint(0); shift < 64; shift += 7 {
		if d.at >= len(d.s) {
			break
		}
		c := d.s[d.at]
		d.at++
		if c < 0x80 {
			if (c == 0 && shift > 0) || (shift == 63 && c > 1) {
				break // not the shortest form, or over 64 bits
			}
			return n | uint64(c)<<shift
		}
		n |= uint64(c&0x7f) << shift
	}
	d.fail("a bad number")
	return 0
}

func (d *stateReader) uint32() uint32 {
	n := d.uint()
	if n > 1<<32-1 {
		d.fail("a number over 32 bits")
		return 0
	}
	return uint32(n)
}

// enum reads one byte that is at most most.
func (d *stateReader) enum(most byte) byte {
	s := d.take(1)
	if d.err != nil {
		return 0
	}
	if s[0] > most {
		d.fail("value %d, at most %d is known", s[0], most)
		return 0
	}
	return s[0]
}

// count reads the number of elements of which each takes at least size bytes.
func (d *stateReader) count(size int) int {
	n := d.uint()
	if n > uint64((len(d.s)-d.at)/size) {
		d.fail("%d elements", n)
		return 0
	}
	return int(n)
}

func (d *stateReader) text() string {
	n := d.uint()
	if n > uint64(len(d.s)-d.at) {
		d.fail("a text of %d bytes", n)
		return ""
	}
	return d.take(int(n))
}

// bytes reads a byte string; an empty one is nil.
func (d *stateReader) bytes() []byte {
	n := len(d.text())
	if n == 0 {
		return nil
	}
	return d.b[d.at-n : d.at : d.at]
}

func (d *stateReader) time() Time {
	n := d.uint()
	if n == 0 {
		return 0
	}
	n--
	t := d.moment(uint64(d.base) + (n>>1 ^ -(n & 1)))
	if t == 0 {
		d.fail("a moment that is none")
	}
	return t
}

// moment checks that a number is a moment that Step can have made.
func (d *stateReader) moment(n uint64) Time {
	if n > uint64(maxTime) {
		d.fail("a moment out of range")
		return 0
	}
	return Time(n)
}

func be32(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

func be64(s string) uint64 { return uint64(be32(s))<<32 | uint64(be32(s[4:])) }
