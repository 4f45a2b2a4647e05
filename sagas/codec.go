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

// The record, formats 1 and 2. It has one encoding per instance: equal instances give equal bytes, and
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
//
// Format 2 adds what frames, waits, signals and children need. It is written only when an instance has
// some of it: see needsV2. Between output and steps it has
//
//	more   level | finished as | parent | number of the newest frame | frames | signals | latest | seen signals | admin ids
//	parent flags 1B | wid, run, path when the first flag is set
//	frame  number | in | node | lane | key | item number | state 1B | item | cause
//
// and in each step node and frame before the mask, whose last fields are the newer ones. In format 1
// the node of a step is its position, and its frame 0.
const (
	formatV1 = 1
	formatV2 = 2
)

const headBytes = 3 + 4 + 4 + 8 + 8 + 8 + 8

// Flags of the head.
const (
	flagAttention = 1 << iota
	flagCancelRequested
	flagDeadlineHit
	flagsV1       = 1<<iota - 1
	flagSuspended = flagsV1 + 1
	flagsV2       = flagsV1 | flagSuspended
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
	hasV1            = 1<<iota - 1
	hasLane          = hasV1 + 1
	hasUntil         = hasLane << 1
	hasChild         = hasLane << 2
	hasVotes         = hasLane << 3
	hasLease         = hasLane << 4
	hasBudget        = hasLane << 5
	hasV2            = hasLane<<6 - 1
)

// Flags of a parent.
const (
	parentSet = 1 << iota
	parentReversible
	parentReversing
	parentReleased
	parentKnown = 1<<iota - 1
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
	e := stateWriter{b: dst, base: i.StartedAt, v2: i.needsV2()}
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
	e.cause(&i.Cause)
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
	if e.v2 {
		e.more(i)
	}
	e.uint(uint64(len(i.Steps)))
	for k := range i.Steps {
		e.step(&i.Steps[k])
	}
	return e.b
}

// needsV2 says whether format 1 has no place for something in the instance.
func (i *Instance) needsV2() bool {
	if i.Level != 0 || i.Phase > Marker || i.Ended > Marker || i.Answered > Marker || i.Cause.Kind > CauseLateEffect ||
		i.Suspended || i.Parent != nil || i.FinishedAs != "" || i.Frame != 0 ||
		len(i.Frames) > 0 || len(i.Signals) > 0 || len(i.Latest) > 0 || len(i.SeenSignals) > 0 || len(i.AdminIDs) > 0 {
		return true
	}
	for k := range i.Steps {
		s := &i.Steps[k]
		if s.Node^k|int(s.Frame)|s.Lane|int(s.Until)|int(s.Lease)|int(s.Spared)|int(s.BudgetAt)|len(s.Child)|len(s.Votes) != 0 ||
			s.State > StepAbandoned || s.Timer.Kind > TimerPause {
			return true
		}
	}
	return false
}

type stateWriter struct {
	b    []byte
	base Time
	v2   bool
}

func (e *stateWriter) more(i *Instance) {
	e.uint(uint64(i.Level))
	e.text(i.FinishedAs)
	if p := i.Parent; p == nil {
		e.byte(0)
	} else {
		flags := byte(parentSet)
		if p.Reversible {
			flags |= parentReversible
		}
		if p.Reversing {
			flags |= parentReversing
		}
		if p.Released {
			flags |= parentReleased
		}
		e.byte(flags)
		e.text(p.WorkflowID)
		e.uint(uint64(p.Run))
		e.text(p.Path)
	}
	e.uint(uint64(i.Frame))
	e.uint(uint64(len(i.Frames)))
	for k := range i.Frames {
		f := &i.Frames[k]
		e.uint(uint64(f.ID))
		e.uint(uint64(f.In))
		e.uint(uint64(f.Node))
		e.uint(uint64(f.Lane))
		e.text(f.Key)
		e.uint(uint64(f.Number))
		e.byte(byte(f.State))
		e.bytes(f.Item)
		e.cause(&f.Cause)
	}
	e.uint(uint64(len(i.Signals)))
	for k := range i.Signals {
		s := &i.Signals[k]
		e.text(s.Name)
		e.text(s.ID)
		e.text(s.Actor)
		e.bytes(s.Payload)
		e.time(s.At)
		e.time(s.Expires)
	}
	e.uint(uint64(len(i.Latest)))
	for k := range i.Latest {
		e.text(i.Latest[k].Name)
		e.bytes(i.Latest[k].Value)
	}
	e.uint(uint64(len(i.SeenSignals)))
	for _, h := range i.SeenSignals {
		e.b = binary.BigEndian.AppendUint64(e.b, h)
	}
	e.uint(uint64(len(i.AdminIDs)))
	for _, id := range i.AdminIDs {
		e.text(id)
	}
}

func (e *stateWriter) cause(c *Cause) {
	e.byte(byte(c.Kind))
	if c.Kind != 0 {
		e.text(c.Path)
		e.text(c.Code)
		e.text(c.Message)
	}
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
	format := byte(formatV1)
	if e.v2 {
		format = formatV2
	}
	if i.Suspended {
		flags |= flagSuspended
	}
	e.b = append(e.b, format, byte(i.Phase), flags)
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
	if e.v2 {
		set(s.Lane != 0, hasLane)
		set(s.Until != 0, hasUntil)
		set(s.Child != "", hasChild)
		set(len(s.Votes) > 0, hasVotes)
		set(s.Lease != 0, hasLease)
		set(s.Spared != 0 || s.BudgetAt != 0, hasBudget)
	}

	e.text(s.Path)
	e.b = append(e.b, byte(s.Kind), byte(s.State), byte(s.Undo))
	if e.v2 {
		e.uint(uint64(s.Node))
		e.uint(uint64(s.Frame))
	}
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
	if mask > hasV1 {
		e.newer(s, mask)
	}
}

// newer writes the fields that format 1 does not have.
func (e *stateWriter) newer(s *StepState, mask uint64) {
	if mask&hasLane != 0 {
		e.uint(uint64(s.Lane))
	}
	if mask&hasUntil != 0 {
		e.time(s.Until)
	}
	if mask&hasChild != 0 {
		e.text(s.Child)
	}
	if mask&hasVotes != 0 {
		e.uint(uint64(len(s.Votes)))
		for k := range s.Votes {
			v := &s.Votes[k]
			e.text(v.Actor)
			e.bool(v.Approve)
			e.text(v.Comment)
			e.time(v.At)
		}
	}
	if mask&hasLease != 0 {
		e.time(s.Lease)
	}
	if mask&hasBudget != 0 {
		e.uint(uint64(s.Spared))
		e.time(s.BudgetAt)
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
	d := stateReader{s: string(b), b: append([]byte(nil), b...), v2: b[0] == formatV2}
	inst := new(Instance)
	due, flags := d.head(inst)
	d.body(inst)
	if d.err == nil && len(d.s) != d.at {
		d.fail("%d bytes are left over", len(d.s)-d.at)
	}
	if d.v2 && d.err == nil && !inst.needsV2() {
		d.fail("format %d without need", formatV2)
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
	d := stateReader{s: string(b[:min(end, len(b))]), v2: b[0] == formatV2}
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
	case b[0] > formatV2:
		return fmt.Errorf("%w: format %d, known up to %d", ErrNewerFormat, b[0], formatV2)
	case b[0] < formatV1:
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
	v2   bool
	err  error
}

// most is the last value of an enumeration that the record's format knows.
func (d *stateReader) most(v1, v2 byte) byte {
	if d.v2 {
		return v2
	}
	return v1
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
	i.Suspended = flags&flagSuspended != 0
	if flags&^d.most(flagsV1, flagsV2) != 0 || i.Phase == 0 || byte(i.Phase) > d.most(byte(Marker), byte(Mailbox)) {
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
	i.Ended = Phase(d.enum(d.most(byte(Marker), byte(Mailbox))))
	i.Answered = Phase(d.enum(d.most(byte(Marker), byte(Mailbox))))
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
	i.Cause = d.cause()
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
	if d.v2 {
		d.more(i)
	}
	n := d.count(5)
	if n > MaxPaths {
		d.fail("%d steps", n)
		return
	}
	if n > 0 {
		i.Steps = make([]StepState, n)
		for k := range i.Steps {
			d.step(i, k)
		}
	}
}

func (d *stateReader) cause() (c Cause) {
	if c.Kind = CauseKind(d.enum(d.most(byte(CauseLateEffect), byte(CauseParent)))); c.Kind != 0 {
		c.Path, c.Code, c.Message = d.text(), d.text(), d.text()
	}
	return c
}

func (d *stateReader) more(i *Instance) {
	i.Level = d.uint32()
	i.FinishedAs = d.text()
	if flags := d.enum(parentKnown); flags&parentSet != 0 {
		i.Parent = &Parent{
			WorkflowID: d.text(), Run: d.uint32(), Path: d.text(),
			Reversible: flags&parentReversible != 0, Reversing: flags&parentReversing != 0, Released: flags&parentReleased != 0,
		}
	} else if flags != 0 {
		d.fail("flags %#x of no parent", flags)
	}
	i.Frame = d.uint32()
	n := d.count(9)
	if n > MaxFrames {
		d.fail("%d frames", n)
		return
	}
	if n > 0 {
		i.Frames = make([]Frame, 0, n)
		for range n {
			i.Frames = append(i.Frames, d.frame(i))
		}
	}
	if n = d.count(6); n > 0 {
		i.Signals = make([]BufferedSignal, n)
		for k := range i.Signals {
			i.Signals[k] = BufferedSignal{Name: d.text(), ID: d.text(), Actor: d.text(), Payload: d.bytes(), At: d.time(), Expires: d.time()}
		}
	}
	if n = d.count(2); n > 0 {
		i.Latest = make([]NamedValue, n)
		for k := range i.Latest {
			i.Latest[k] = NamedValue{Name: d.text(), Value: d.bytes()}
		}
	}
	if n = d.count(8); n > 0 {
		i.SeenSignals = make([]uint64, n)
		for k := range i.SeenSignals {
			if b := d.take(8); d.err == nil {
				i.SeenSignals[k] = be64(b)
			}
		}
	}
	if n = d.count(1); n > 0 {
		i.AdminIDs = make([]string, n)
		for k := range i.AdminIDs {
			i.AdminIDs[k] = d.text()
		}
	}
}

// frame reads a frame. Numbers grow, and a frame lies in an older one: so the frames are a tree.
func (d *stateReader) frame(i *Instance) (f Frame) {
	f.ID, f.In = d.uint32(), d.uint32()
	f.Node, f.Lane = d.index(), d.index()
	f.Key = d.text()
	f.Number = d.uint32()
	f.State = FrameState(d.enum(byte(FrameUndone)))
	f.Item = d.bytes()
	f.Cause = d.cause()
	switch {
	case d.err != nil:
	case f.State == 0 || f.ID > i.Frame || f.ID == 0 || len(i.Frames) > 0 && f.ID <= i.Frames[len(i.Frames)-1].ID:
		d.fail("frame %d, state %d", f.ID, f.State)
	case f.In != 0 && (f.In >= f.ID || i.frame(f.In) == nil):
		d.fail("frame %d lies in frame %d", f.ID, f.In)
	}
	return f
}

// index reads the position of a node or lane in a plan.
func (d *stateReader) index() int {
	n := d.uint()
	if n > 1<<20 {
		d.fail("position %d", n)
		return 0
	}
	return int(n)
}

func (d *stateReader) step(i *Instance, k int) {
	s := &i.Steps[k]
	s.Path = d.text()
	s.Kind = StepKind(d.enum(byte(ReadOnly)))
	s.State = StepStatus(d.enum(d.most(byte(StepAbandoned), byte(StepOpen))))
	s.Undo = UndoStatus(d.enum(byte(UndoWaived)))
	s.Node = k
	known := uint64(hasV1)
	if d.v2 {
		s.Node, s.Frame = d.index(), d.uint32()
		if known = hasV2; d.err == nil && s.Frame != 0 && i.frame(s.Frame) == nil {
			d.fail("step %s is in no frame", s.Path)
		}
	}
	mask := d.uint()
	if s.Kind == 0 || s.State == 0 || mask&^known != 0 {
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
		if s.Timer.Kind = TimerKind(d.enum(d.most(byte(TimerPause), byte(TimerRemind)))); s.Timer.Kind != 0 {
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
	if mask > hasV1 {
		d.newer(s, mask)
	}
	d.canonical(s, mask)
}

// newer reads the fields that format 1 does not have.
func (d *stateReader) newer(s *StepState, mask uint64) {
	if mask&hasLane != 0 {
		s.Lane = d.index()
	}
	if mask&hasUntil != 0 {
		s.Until = d.time()
	}
	if mask&hasChild != 0 {
		s.Child = d.text()
	}
	if mask&hasVotes != 0 {
		if n := d.count(4); n > 0 {
			s.Votes = make([]Vote, n)
			for k := range s.Votes {
				s.Votes[k] = Vote{Actor: d.text(), Approve: d.enum(1) != 0, Comment: d.text(), At: d.time()}
			}
		}
	}
	if mask&hasLease != 0 {
		s.Lease = d.time()
	}
	if mask&hasBudget != 0 {
		s.Spared, s.BudgetAt = d.uint32(), d.time()
	}
	if mask&hasLane != 0 && s.Lane == 0 || mask&hasUntil != 0 && s.Until == 0 || mask&hasChild != 0 && s.Child == "" ||
		mask&hasVotes != 0 && len(s.Votes) == 0 || mask&hasLease != 0 && s.Lease == 0 ||
		mask&hasBudget != 0 && s.Spared == 0 && s.BudgetAt == 0 {
		d.fail("step %s is not in its shortest form", s.Path)
	}
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
