package sagas

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of DecodeInstance and Summarise, by who must act.
var (
	// ErrNewerFormat: the record was written by a later release. Stop the partition and upgrade;
	// nothing was changed.
	ErrNewerFormat = errors.New("the state record has a newer format than this release knows")
	// ErrCorrupt: the bytes are not a state record. Restore the store from the changelog.
	ErrCorrupt = errors.New("the state record is damaged")
)

// The record, formats 1 and 2 (format 3 is in codec_pages.go). It has one encoding per instance: equal instances give equal bytes, and
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
	formatV1    = 1
	formatV2    = 2
	formatPaged = 3
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

// Append appends the encoded instance to dst, as one record. It needs no error: Step keeps every
// instance within the limits that DecodeInstance checks. REQUIRES: the instance is whole.
func (i *Instance) Append(dst []byte) []byte {
	e := stateWriter{b: dst, base: i.StartedAt, v2: i.needsV2()}
	e.instance(i, nil)
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

// DecodeInstance is the inverse of Append. It keeps no reference to b, rejects trailing bytes, and
// checks every count against the bytes that are left before it allocates.
func DecodeInstance(b []byte) (*Instance, error) {
	if err := checkFormat(b, formatV2); err != nil {
		return nil, err
	}
	// Two copies serve all fields: texts share the one, byte strings the other.
	d := stateReader{s: string(b), b: append([]byte(nil), b...), v2: b[0] == formatV2}
	inst := new(Instance)
	due, flags := d.head(inst)
	d.body(inst, nil)
	d.end()
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
	if err := checkFormat(b, formatPaged); err != nil {
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
	d := stateReader{s: string(b[:min(end, len(b))]), v2: b[0] > formatV1}
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

// checkFormat says whether b may be a record of a format up to known.
func checkFormat(b []byte, known byte) error {
	switch {
	case len(b) == 0:
		return fmt.Errorf("%w: it is empty", ErrCorrupt)
	case b[0] > formatPaged:
		return fmt.Errorf("%w: format %d, known up to %d", ErrNewerFormat, b[0], formatPaged)
	case b[0] > known:
		return fmt.Errorf("%w: the head of an instance in pages, which OpenRecord reads", ErrCorrupt)
	case b[0] < formatV1:
		return fmt.Errorf("%w: format %d", ErrCorrupt, b[0])
	case len(b) > MaxRecordBytes:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrCorrupt, len(b), MaxRecordBytes)
	}
	return nil
}
