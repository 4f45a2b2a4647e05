package protocol

import "math"

// Command is the envelope of one command to a participant. The value of the record is the payload
// and is not part of it.
type Command struct {
	Token          string // encoded
	WorkflowID     string
	Op             Op
	Name           string // e.g. reserve
	Key            string // idempotency key of this operation: the same for every attempt
	ForwardKey     string // undo and inquire: the key of the do
	Attempt        uint32
	Deadline       int64 // ms since the epoch; 0 = none, always so on undo
	ReplyTo        string
	ReplyPartition int32
	Definition     string // type@version
	Trace          string // W3C traceparent
	ContentType    string
}

// Headers returns the record headers. They share one buffer.
func (c Command) Headers() []Header {
	return c.AppendHeaders(make([]Header, 0, CommandHeaders), make([]byte, 0, c.HeaderBytes()))
}

// CommandHeaders is the most headers that a command has.
const CommandHeaders = 14

// HeaderBytes bounds what the values of the headers need together.
func (c *Command) HeaderBytes() int {
	const numbers = 3 * 20
	return numbers + len(c.Token) + len(c.WorkflowID) + len(c.Op) + len(c.Name) + 2*len(c.Key) +
		len(c.ForwardKey) + len(c.ReplyTo) + len(c.Definition) + len(c.Trace) + len(c.ContentType)
}

// AppendHeaders is Headers in the caller's memory: the headers behind dst, their values behind buf, which has
// room for HeaderBytes more.
func (c *Command) AppendHeaders(dst []Header, buf []byte) []Header {
	w := headerWriter{dst, buf}
	w.add(HeaderToken, c.Token)
	w.add(HeaderWorkflowID, c.WorkflowID)
	w.add(HeaderOp, string(c.Op))
	w.add(HeaderCommand, c.Name)
	w.add(HeaderKey, c.Key)
	w.addSome(HeaderForwardKey, c.ForwardKey)
	w.addInt(HeaderAttempt, int64(c.Attempt))
	if c.Deadline != 0 && c.Op != OpUndo {
		w.addInt(HeaderDeadline, c.Deadline)
	}
	w.add(HeaderReplyTo, c.ReplyTo)
	w.addInt(HeaderReplyPartition, int64(c.ReplyPartition))
	w.add(HeaderDefinition, c.Definition)
	w.add(HeaderIdempotencyKey, c.Key)
	w.addSome(HeaderTraceparent, c.Trace)
	w.addSome(HeaderContentType, c.ContentType)
	return w.hs
}

// ParseCommand reads the headers of a command. When it fails, the returned Command still holds
// Token, WorkflowID, Op, Key, ReplyTo and ReplyPartition as far as they could be read (-1 is no
// partition), so that a participant can answer failed-fatal instead of staying silent.
func ParseCommand(h []Header) (Command, error) {
	if err := checkHeaders(h); err != nil {
		return commandAddress(h), err
	}
	r := headerReader{hs: h}
	c := Command{
		Token:      r.must(HeaderToken, MaxToken),
		WorkflowID: r.must(HeaderWorkflowID, MaxWorkflowID),
		Op:         Op(r.must(HeaderOp, 16)),
		Name:       r.must(HeaderCommand, MaxName),
		Key:        r.must(HeaderKey, MaxName),
	}
	c.ForwardKey, _ = r.text(HeaderForwardKey, MaxName)
	c.Attempt = uint32(r.number(HeaderAttempt, 1, math.MaxUint32, true))
	c.Deadline = r.number(HeaderDeadline, 1, MaxTime, c.Op == OpDo)
	c.ReplyTo = r.must(HeaderReplyTo, MaxTopic)
	c.ReplyPartition = int32(r.number(HeaderReplyPartition, 0, math.MaxInt32, true))
	c.Definition, _ = r.text(HeaderDefinition, MaxType+11)
	c.Trace, _ = r.text(HeaderTraceparent, 256)
	c.ContentType, _ = r.text(HeaderContentType, 256)
	switch {
	case r.err != nil:
	case !c.Op.Valid():
		r.fail(malformed(HeaderOp, "want do, undo or inquire"))
	case c.Op != OpDo && c.ForwardKey == "":
		r.fail(malformed(HeaderForwardKey, "the header is missing"))
	case c.Op == OpDo && c.ForwardKey != "":
		r.fail(malformed(HeaderForwardKey, "a do has no forward key"))
	case c.Op == OpUndo && c.Deadline != 0:
		r.fail(malformed(HeaderDeadline, "an undo has no deadline"))
	}
	if r.err != nil {
		return commandAddress(h), r.err
	}
	return c, nil
}

// commandAddress reads what a reply needs, each header on its own.
func commandAddress(h []Header) Command {
	var c Command
	one := func(read func(r *headerReader)) {
		r := headerReader{hs: h}
		read(&r)
	}
	one(func(r *headerReader) { c.Token, _ = r.text(HeaderToken, MaxToken) })
	one(func(r *headerReader) { c.WorkflowID, _ = r.text(HeaderWorkflowID, MaxWorkflowID) })
	one(func(r *headerReader) {
		if op, _ := r.text(HeaderOp, 16); Op(op).Valid() {
			c.Op = Op(op)
		}
	})
	one(func(r *headerReader) { c.Key, _ = r.text(HeaderKey, MaxName) })
	one(func(r *headerReader) { c.ReplyTo, _ = r.text(HeaderReplyTo, MaxTopic) })
	c.ReplyPartition = -1
	one(func(r *headerReader) {
		if n := r.number(HeaderReplyPartition, 0, math.MaxInt32, true); r.err == nil {
			c.ReplyPartition = int32(n)
		}
	})
	return c
}
