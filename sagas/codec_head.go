package sagas

import (
	"encoding/binary"
	"strings"
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

// Flags of a parent.
const (
	parentSet = 1 << iota
	parentReversible
	parentReversing
	parentReleased
	parentKnown = 1<<iota - 1
)

func (e *stateWriter) head(i *Instance, paged bool) {
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
	switch {
	case paged:
		format = formatPaged
	case e.v2:
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

// instance writes the whole record, or with lay what of it does not lie in pages.
func (e *stateWriter) instance(i *Instance, lay *layout) {
	e.head(i, lay != nil)
	e.raw(i.Digest[:])
	e.raw(i.InputHash[:])
	e.uint(i.Seq)
	e.byte(byte(i.Ended))
	e.byte(byte(i.Answered))
	e.text(i.StartID)
	if lay != nil && lay.inputBytes > 0 {
		e.uint(uint64(lay.inputBytes)<<1 | 1)
	} else if lay != nil {
		e.uint(uint64(len(i.Input)) << 1)
		e.raw(i.Input)
	} else {
		e.bytes(i.Input)
	}
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
		e.more(i, lay)
	}
	if lay != nil {
		e.shelf(lay)
		e.stepsOf(i.Steps, lay.stepPage, -1)
		return
	}
	e.uint(uint64(len(i.Steps)))
	for k := range i.Steps {
		e.step(&i.Steps[k])
	}
}

func (e *stateWriter) more(i *Instance, lay *layout) {
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
	if lay != nil {
		e.framesOf(i.Frames, lay.framePage, -1)
	} else {
		e.uint(uint64(len(i.Frames)))
		for k := range i.Frames {
			e.frame(&i.Frames[k])
		}
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

// body reads what follows the head; sh takes what a head of format 3 says of its pages.
func (d *stateReader) body(i *Instance, sh *shelf) {
	copy(i.Digest[:], d.take(len(i.Digest)))
	copy(i.InputHash[:], d.take(len(i.InputHash)))
	i.Seq = d.uint()
	i.Ended = Phase(d.enum(d.most(byte(Marker), byte(Mailbox))))
	i.Answered = Phase(d.enum(d.most(byte(Marker), byte(Mailbox))))
	i.StartID = d.text()
	if sh == nil {
		i.Input = d.bytes()
	} else {
		d.inputApart(i, sh)
	}
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
	if sh != nil {
		d.shelf(i, sh)
	}
	d.steps(i)
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
	d.frames(i)
	if n := d.count(6); n > 0 {
		i.Signals = make([]BufferedSignal, n)
		for k := range i.Signals {
			i.Signals[k] = BufferedSignal{Name: d.text(), ID: d.text(), Actor: d.text(), Payload: d.bytes(), At: d.time(), Expires: d.time()}
		}
	}
	if n := d.count(2); n > 0 {
		i.Latest = make([]NamedValue, n)
		for k := range i.Latest {
			i.Latest[k] = NamedValue{Name: d.text(), Value: d.bytes()}
		}
	}
	if n := d.count(8); n > 0 {
		i.SeenSignals = make([]uint64, n)
		for k := range i.SeenSignals {
			if b := d.take(8); d.err == nil {
				i.SeenSignals[k] = be64(b)
			}
		}
	}
	if n := d.count(1); n > 0 {
		i.AdminIDs = make([]string, n)
		for k := range i.AdminIDs {
			i.AdminIDs[k] = d.text()
		}
	}
}

func (d *stateReader) cause() (c Cause) {
	if c.Kind = CauseKind(d.enum(d.most(byte(CauseLateEffect), byte(CauseParent)))); c.Kind != 0 {
		c.Path, c.Code, c.Message = d.text(), d.text(), d.text()
	}
	return c
}
