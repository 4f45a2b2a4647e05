package sagas

import "time"

// Limits of the machine. Each is checked before anything is stored or sent.
const (
	// MaxRecordBytes bounds an encoded instance.
	MaxRecordBytes = 900 << 10
	// MaxInputBytes bounds the input of a start. Over it the start is rejected.
	MaxInputBytes = 256 << 10
	// MaxPayloadBytes bounds the payload of one command. Over it nothing is sent (attention TOO_LARGE).
	MaxPayloadBytes = 256 << 10
	// MaxOutputBytes bounds what one step keeps of its output. Over it the step is done, but its
	// output is dropped (attention OUTPUT).
	MaxOutputBytes = 64 << 10
	// MaxPaths bounds the steps of one instance.
	MaxPaths = 2000
	// MaxFrames bounds the items, rounds and lanes that an instance remembers.
	MaxFrames = 4000

	maxForwardBytes = 800 << 10 // forward work may fill a record to here
	maxUndoBytes    = 860 << 10 // undos may fill it to here; the rest is for what people and replies say
	maxStartBytes   = 64 << 10  // all names, tags and ids of a start together
	maxTransitions  = 10_000    // of one event; more is a bug (attention LIVELOCK)
	maxCancels      = 16        // cancel requests that an instance remembers
	maxAdminIDs     = 16        // operator requests that an instance remembers
	maxRequestID    = 128       // bytes of a request ID
	maxCode         = 128       // bytes kept of a reply's code
	maxMessage      = 512       // bytes kept of a reply's message
	stepWeight      = 192       // most bytes of a step that was not sent yet, beside its path
	frameWeight     = 40        // most bytes of a frame, beside its key and item
	undoRoundsMax   = 2         // the first undo and one more after "nothing to undo" of a done step
)

const (
	drainMax        = 30 * time.Second    // how long an attempt in flight may still answer once the saga compensates
	parkedMax       = 5 * time.Minute     // how long a start waits for its definition
	voidDefault     = 30 * 24 * time.Hour // how long a cancel before the start forbids it
	voidMax         = 400 * 24 * time.Hour
	retryAfterMax   = 24 * time.Hour
	slowInquiryMax  = time.Hour // pause of the questions about a step that nothing but an answer can free
	slowInquiryRate = 10        // such a pause is this many times Inquire.Every

	// maxTime keeps every moment exact in a JSON number. Sums saturate here.
	maxTime = Time(1 << 53)
)

// after returns t + d, saturating.
func after(t Time, d time.Duration) Time { return afterMillis(t, millis(d)) }

func afterMillis(t Time, ms int64) Time {
	if ms <= 0 {
		return t
	}
	if ms >= int64(maxTime-t) {
		return maxTime
	}
	return t + Time(ms)
}

// millis rounds up, so that a positive duration is never nothing.
func millis(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Millisecond) + 1
}

// orDefault is d, or def when d is not set: plans that Compile made have every duration set.
func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// clip bounds a text from outside to n bytes without cutting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// weight is an upper bound of the encoded size of the instance, cheap enough to ask before each growth.
func (i *Instance) weight() int {
	n := 512 + len(i.WorkflowID) + len(i.Type) + len(i.StartID) + len(i.Input) + len(i.ReplyTo) + len(i.Trace) + len(i.Output) +
		len(i.Cause.Path) + len(i.Cause.Code) + len(i.Cause.Message)
	for _, t := range i.Tags {
		n += 6 + len(t.Key) + len(t.Value)
	}
	for _, c := range i.Cancels {
		n += 4 + len(c.ID)
	}
	for k := range i.Attention {
		a := &i.Attention[k]
		n += 20 + len(a.Path) + len(a.Reason) + len(a.Text)
	}
	for _, r := range i.Residue {
		n += 4 + len(r)
	}
	if i.dynamic() || len(i.Latest) > 0 || len(i.Signals) > 0 || len(i.AdminIDs) > 0 || len(i.SeenSignals) > 0 || i.Parent != nil {
		n += i.weightV2()
	}
	for k := range i.Steps {
		n += i.Steps[k].weight(sameBytes)
	}
	if i.shelf != nil {
		n += i.shelf.hidden.weight + i.shelf.inputBytes
	}
	return n
}

// weight is the share of a step that format 1 has. same says whether two payloads are kept once.
func (s *StepState) weight(same func(a, b []byte) bool) int {
	n := 160 + len(s.Path) + len(s.Code) + len(s.Message) + len(s.Payload) + len(s.Question) + len(s.Output) +
		len(s.Record.Participant) + len(s.Record.Command) + len(s.Record.Topic)
	if !same(s.Payload, s.Record.Payload) {
		n += len(s.Record.Payload)
	}
	return n
}

// weightV2 is the share of a step that format 1 does not have.
func (s *StepState) weightV2() int {
	n := 32 + len(s.Child)
	for _, v := range s.Votes {
		n += 16 + len(v.Actor) + len(v.Comment)
	}
	return n
}

func (f *Frame) weight() int {
	return frameWeight + len(f.Key) + len(f.Item) + len(f.Cause.Path) + len(f.Cause.Code) + len(f.Cause.Message)
}

// weightV2 is the share of what format 1 does not have.
func (i *Instance) weightV2() int {
	n := 64 + len(i.FinishedAs) + 9*len(i.SeenSignals)
	if i.Parent != nil {
		n += 16 + len(i.Parent.WorkflowID) + len(i.Parent.Path)
	}
	for k := range i.Frames {
		n += i.Frames[k].weight()
	}
	for k := range i.Signals {
		s := &i.Signals[k]
		n += 30 + len(s.Name) + len(s.ID) + len(s.Actor) + len(s.Payload)
	}
	for k := range i.Latest {
		n += 8 + len(i.Latest[k].Name) + len(i.Latest[k].Value)
	}
	for _, id := range i.AdminIDs {
		n += 4 + len(id)
	}
	for k := range i.Steps {
		n += i.Steps[k].weightV2()
	}
	return n
}

// sameBytes says whether two slices are the same memory; equal content elsewhere counts as different.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
