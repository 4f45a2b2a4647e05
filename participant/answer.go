package participant

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/amendsio/amends/protocol"
)

// Answer is the reply to one command and the value that goes with it.
type Answer struct {
	protocol.Reply
	Output []byte // JSON object, or nil
}

// Deferrer is an Inbox whose transactions only become durable after Answer has returned. A new
// external call is handed to Defer, in the transaction that starts it, instead of being made; the
// adapter gives the same command to Answer again once that transaction is durable, and Answer then
// makes the call because the row is there.
type Deferrer interface {
	Defer(s Store, cmd protocol.Command, payload []byte) error
}

// ErrDeferred is returned by Answer when there is nothing to reply yet: the command was handed to
// Deferrer.Defer.
var ErrDeferred = errors.New("deferred")

// Answer executes one command by the contract of docs/protocol.md. now is the time of the
// participant. The error is ErrDeferred or nil: everything that goes wrong is an answer.
func (h *Handlers) Answer(ctx context.Context, inbox Inbox, cmd protocol.Command, payload []byte, now time.Time) (Answer, error) {
	x := &execution{Handlers: h, ctx: ctx, inbox: inbox, cmd: cmd, payload: payload, now: now.UnixMilli(), sum: sumOf(cmd, payload)}
	var a Answer
	var err error
	switch cmd.Op {
	case protocol.OpDo:
		a, err = x.do()
	case protocol.OpUndo:
		a, err = x.undo()
	case protocol.OpInquire:
		a, err = x.inquire()
	default:
		a = failed(protocol.OutcomeFailedFatal, CodeBadCommand)
	}
	if err == ErrDeferred {
		return Answer{}, err
	}
	if err != nil {
		a = x.fault(err)
	}
	a.Token, a.Trace = cmd.Token, cmd.Trace
	if a.Output != nil {
		a.ContentType = protocol.ContentJSON
	}
	return a, nil
}

// Unreadable answers a command whose headers ParseCommand has refused; cmd is what it returned. ok
// is false when there is nobody to answer. A do that is answered so is forbidden for good, if its
// key could be read: else "no effect" would not stay true.
func (h *Handlers) Unreadable(ctx context.Context, inbox Inbox, cmd protocol.Command, cause error, now time.Time) (a Answer, ok bool) {
	if cmd.Token == "" || cmd.WorkflowID == "" || cmd.ReplyTo == "" || cmd.ReplyPartition < 0 {
		return Answer{}, false
	}
	a = failed(protocol.OutcomeFailedFatal, CodeBadCommand)
	a.Token, a.Message = cmd.Token, cause.Error()
	if cmd.Op == protocol.OpUndo || cmd.Op == protocol.OpInquire {
		return a, true
	}
	a.Effect = protocol.EffectNone
	if cmd.Key == "" {
		return a, true
	}
	row := Row{Status: Failed, At: now.UnixMilli(), Effect: protocol.EffectNone, Code: CodeBadCommand, Message: a.Message}
	err := inbox.Update(ctx, func(s Store) error {
		old, inserted, err := s.Insert(cmd.Key, row)
		if err == nil && !inserted {
			a = replay(old)
			a.Token = cmd.Token
		}
		return err
	})
	if err != nil {
		h.log.Warn("inbox is not available", "workflow_id", cmd.WorkflowID, "error", err)
		a = failed(protocol.OutcomeFailedRetriable, CodeInbox)
		a.Token = cmd.Token
	}
	return a, true
}

// execution is one command under way.
type execution struct {
	*Handlers
	ctx     context.Context
	inbox   Inbox
	cmd     protocol.Command
	payload []byte
	now     int64
	sum     [32]byte
}

// answered carries an answer out of a transaction that must not be committed.
type answered struct{ a Answer }

func (answered) Error() string { return "answered" }

// fromHandler carries a handler's error out of the transaction, so that it is not taken for one of
// the inbox.
type fromHandler struct{ err error }

func (e fromHandler) Error() string { return e.err.Error() }

// Unwrap lets an inbox see that a statement of the handler has met another transaction.
func (e fromHandler) Unwrap() error { return e.err }

// update runs fn and turns its error back into an answer, if it is one.
func (x *execution) update(fn func(s Store) (Answer, error)) (a Answer, err error) {
	err = x.inbox.Update(x.ctx, func(s Store) error {
		var err error
		a, err = fn(s)
		return err
	})
	var done answered
	if errors.As(err, &done) {
		return done.a, nil
	}
	return a, err
}

func (x *execution) do() (Answer, error) {
	h := x.byName[name{protocol.OpDo, x.cmd.Name}]
	if h == nil {
		return x.unknown()
	}
	run := false // the call is to be made outside this transaction
	a, err := x.update(func(s Store) (Answer, error) {
		run = false // an adapter may call this again after a conflict
		row := Row{Status: Started, At: x.now, Until: x.until(), Sum: x.sum}
		old, inserted, err := s.Insert(x.cmd.Key, row)
		switch {
		case err != nil:
			return Answer{}, err
		case !inserted && !x.same(old):
			return failed(protocol.OutcomeFailedFatal, CodeKeyReused), nil
		case !inserted && old.Status == Started && h.external:
			return x.again(h, s, old, &run)
		case !inserted:
			return replay(old), nil
		case x.cmd.Deadline > 0 && x.now > x.cmd.Deadline:
			a := failed(protocol.OutcomeFailedRetriable, CodeExpired)
			a.Effect = protocol.EffectNone
			return Answer{}, answered{a}
		case h.external:
			if d, ok := x.inbox.(Deferrer); ok {
				return Answer{}, d.Defer(s, x.cmd, x.payload)
			}
			run = true
			return Answer{}, nil
		}
		out, err := x.call(s, func(ctx context.Context, tx Tx) ([]byte, error) { return x.perform(ctx, tx, h) })
		if err != nil {
			return Answer{}, fromHandler{err}
		}
		row.Status, row.Until, row.Output = Done, 0, out
		return fresh(row), s.Set(x.cmd.Key, row)
	})
	var theirs fromHandler
	switch {
	case errors.As(err, &theirs):
		return x.settle(theirs.err)
	case err != nil:
		return Answer{}, err
	case run:
		return x.external(h)
	case a.Outcome == "":
		return Answer{}, ErrDeferred
	}
	return a, nil
}

// unknown answers a do that nobody here handles. It is forbidden for good, unless an earlier release that did handle it
// has begun: that row stays, and what became of it is not known.
func (x *execution) unknown() (Answer, error) {
	return x.update(func(s Store) (Answer, error) {
		a := failed(protocol.OutcomeFailedFatal, CodeUnknownCommand)
		old, inserted, err := s.Insert(x.cmd.Key, Row{Status: Failed, At: x.now, Sum: x.sum, Effect: protocol.EffectNone, Code: CodeUnknownCommand})
		switch {
		case err != nil:
			return Answer{}, err
		case inserted:
			a.Effect = protocol.EffectNone
		case !x.same(old):
			return failed(protocol.OutcomeFailedFatal, CodeKeyReused), nil
		case old.Status == Started:
			a.Effect = protocol.EffectUnknown
		default:
			return replay(old), nil
		}
		return a, nil
	})
}

// again decides on an external do that was started before and has not ended: this process or
// another one may have died in the middle of the call.
func (x *execution) again(h *handler, s Store, old Row, run *bool) (Answer, error) {
	if h.window > 0 && x.now-old.At > h.window.Milliseconds() {
		return failed(protocol.OutcomeFailedFatal, CodeKeyWindow), nil
	}
	old.Until = x.until()
	*run = true
	return Answer{}, s.Set(x.cmd.Key, old)
}

// external makes the call of a started do between two transactions.
func (x *execution) external(h *handler) (Answer, error) {
	var staged Tx
	out, err := x.call(nil, func(ctx context.Context, tx Tx) ([]byte, error) {
		staged = tx
		return x.perform(ctx, tx, h)
	})
	if err != nil {
		a, err := x.settle(err)
		if err == nil && a.Outcome == protocol.OutcomeFailedRetriable {
			err = x.ended()
		}
		return a, err
	}
	return x.update(func(s Store) (Answer, error) {
		row := Row{Status: Done, At: x.now, Sum: x.sum, Output: out}
		old, inserted, err := s.Insert(x.cmd.Key, row)
		if err != nil {
			return Answer{}, err
		}
		if !inserted {
			if old.Status == Done {
				return replay(old), nil // another delivery was faster
			}
			// Started, as we left it; or an undo has given up on us. The call has succeeded all the
			// same: say so, and the undo comes again.
			row.At = old.At
			if err := s.Set(x.cmd.Key, row); err != nil {
				return Answer{}, err
			}
		}
		return fresh(row), staged.apply(s)
	})
}

// ended notes that a started call is not running any more, so that an undo need not wait for it.
func (x *execution) ended() error {
	return x.inbox.Update(x.ctx, func(s Store) error {
		row, inserted, err := s.Insert(x.cmd.Key, Row{Status: Started, At: x.now, Sum: x.sum})
		if err != nil || inserted || row.Status != Started {
			return err
		}
		row.Until = 0
		return s.Set(x.cmd.Key, row)
	})
}

// settle answers a do that failed, and remembers the answer if it is a final one.
func (x *execution) settle(err error) (Answer, error) {
	f := x.failure(err)
	a := Answer{Reply: protocol.Reply{Outcome: f.Outcome, Effect: f.Effect, Code: f.Code, Message: f.Message, RetryAfter: f.RetryAfter.Milliseconds()}}
	row := Row{At: x.now, Sum: x.sum, Effect: f.Effect, Code: f.Code, Message: f.Message}
	switch f.Outcome {
	case protocol.OutcomeRejected:
		row.Status = Rejected
	case protocol.OutcomeFailedFatal:
		row.Status = Failed
	default:
		return a, nil
	}
	return x.update(func(s Store) (Answer, error) {
		old, inserted, err := s.Insert(x.cmd.Key, row)
		if err != nil || inserted {
			return a, err
		}
		if old.Status == Started && x.same(old) {
			row.At = old.At
			if f.Outcome == protocol.OutcomeFailedFatal && f.Effect != protocol.EffectNone {
				row.Output = old.Output // an undo may need the handle
			}
			return a, s.Set(x.cmd.Key, row)
		}
		return replay(old), nil
	})
}

func (x *execution) undo() (Answer, error) {
	h := x.byName[name{protocol.OpUndo, x.cmd.Name}]
	a, err := x.update(func(s Store) (Answer, error) {
		// First of all, before looking at anything: from here on the do cannot begin.
		fwd, nothing, err := s.Insert(x.cmd.ForwardKey, tombstone(x.now))
		if err != nil {
			return Answer{}, err
		}
		row := Row{Status: Done, At: x.now, Sum: x.sum}
		old, inserted, err := s.Insert(x.cmd.Key, row)
		switch {
		case err != nil:
			return Answer{}, err
		case !inserted && !x.same(old):
			return failed(protocol.OutcomeFailedFatal, CodeKeyReused), nil
		case !inserted:
			return replay(old), nil
		}
		switch {
		case nothing, fwd.Status == Rejected, fwd.Status == Failed && fwd.Effect == protocol.EffectNone:
			row.Noop = true
			return fresh(row), s.Set(x.cmd.Key, row)
		case fwd.Undone:
			// Another undo, under another key, was first. What it reversed must not be reversed twice.
			return fresh(row), nil
		case fwd.Status == Started && x.now <= fwd.Until:
			return Answer{}, answered{failed(protocol.OutcomeFailedRetriable, CodeBusy)}
		case h == nil:
			return Answer{}, answered{failed(protocol.OutcomeFailedFatal, CodeUnknownCommand)}
		case fwd.Status == Started:
			// The do never ended and its time is over. It may have taken effect.
			fwd.Status, fwd.Effect, fwd.Code, fwd.Until = Failed, protocol.EffectUnknown, CodeInterrupted, 0
		}
		_, err = x.call(s, func(ctx context.Context, tx Tx) ([]byte, error) {
			payload, err := x.whole(ctx, x.payload, true)
			if err != nil {
				return nil, err
			}
			was := forward(x.cmd.ForwardKey, fwd)
			if was.Output, err = x.whole(ctx, was.Output, true); err != nil {
				return nil, err
			}
			return nil, h.undo(ctx, tx, payload, was)
		})
		switch {
		case errors.Is(err, ErrNoop):
			row.Noop = true
		case err != nil:
			return Answer{}, fromHandler{err}
		default:
			fwd.Undone = true
		}
		if err := s.Set(x.cmd.ForwardKey, fwd); err != nil {
			return Answer{}, err
		}
		return fresh(row), s.Set(x.cmd.Key, row)
	})
	var theirs fromHandler
	if !errors.As(err, &theirs) {
		return a, err
	}
	// Nothing is remembered, not even what is fatal: an undo is tried until it succeeds, by the engine
	// or after a person has mended something. The row of the do was there, so it still keeps the do
	// from beginning.
	f := x.failure(theirs.err)
	if f.Outcome == protocol.OutcomeRejected {
		f.Outcome, f.Code, f.Message = protocol.OutcomeFailedFatal, CodeUndoRefused, f.Code
	}
	return Answer{Reply: protocol.Reply{Outcome: f.Outcome, Code: f.Code, Message: f.Message, RetryAfter: f.RetryAfter.Milliseconds()}}, nil
}

func (x *execution) inquire() (Answer, error) {
	h := x.byName[name{protocol.OpInquire, x.cmd.Name}]
	a, err := x.update(func(s Store) (Answer, error) {
		fwd, nothing, err := s.Insert(x.cmd.ForwardKey, tombstone(x.now))
		switch {
		case err != nil:
			return Answer{}, err
		case nothing, fwd.Status == Rejected, fwd.Status == Failed && fwd.Effect == protocol.EffectNone:
			return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeNotExecuted, Code: fwd.Code}}, nil
		case fwd.Undone:
			return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeNotExecuted, Code: CodeUndone}}, nil
		case fwd.Status == Done, fwd.Status == Failed && fwd.Effect == protocol.EffectDone:
			return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeExecuted}, Output: forward(x.cmd.ForwardKey, fwd).Output}, nil
		case h == nil, fwd.Status == Started && x.now <= fwd.Until:
			return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeRunning, Code: fwd.Code}}, nil
		}
		out, err := x.call(s, func(ctx context.Context, tx Tx) ([]byte, error) {
			out, err := h.inquire(ctx, tx, forward(x.cmd.ForwardKey, fwd))
			if err != nil {
				return nil, err
			}
			return x.fitting(ctx, out)
		})
		switch {
		case errors.Is(err, ErrRunning):
			return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeRunning}}, nil
		case errors.Is(err, ErrNotExecuted):
			fwd.Status, fwd.Effect, fwd.Code, fwd.Message, fwd.Until = Rejected, "", CodeNotExecuted, "", 0
			return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeNotExecuted}}, s.Set(x.cmd.ForwardKey, fwd)
		case err != nil:
			return Answer{}, fromHandler{err}
		}
		fwd.Status, fwd.Effect, fwd.Code, fwd.Message, fwd.Until, fwd.Output = Done, "", "", "", 0, out
		return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeExecuted}, Output: out}, s.Set(x.cmd.ForwardKey, fwd)
	})
	var theirs fromHandler
	if errors.Is(err, ErrBusy) {
		return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeRunning, Code: CodeBusy}}, nil
	}
	if !errors.As(err, &theirs) {
		return a, err
	}
	f := x.failure(theirs.err)
	return Answer{Reply: protocol.Reply{Outcome: protocol.OutcomeFailedRetriable, Code: f.Code, Message: f.Message, RetryAfter: f.RetryAfter.Milliseconds()}}, nil
}

// call runs a handler with its deadline, its Tx and a net under it.
func (x *execution) call(s Store, fn func(ctx context.Context, tx Tx) ([]byte, error)) (out []byte, err error) {
	ctx, cancel := context.WithTimeout(x.ctx, time.Duration(x.until()-x.now)*time.Millisecond)
	defer cancel()
	tx := Tx{&txState{cmd: x.cmd, store: s, inbox: x.inbox, ctx: ctx}}
	defer func() {
		tx.closed = true
		if p := recover(); p != nil {
			x.log.Error("handler panicked", "step", x.cmd.Name, "workflow_id", x.cmd.WorkflowID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			out, err = nil, &Failure{Outcome: protocol.OutcomeFailedRetriable, Code: CodePanic}
		}
	}()
	return fn(ctx, tx)
}

// until is when a handler that begins now has to end: its own limit, and the command's deadline,
// after which nobody waits for this attempt.
func (x *execution) until() int64 {
	end := x.now + x.timeout.Milliseconds()
	if x.cmd.Deadline > x.now {
		end = min(end, x.cmd.Deadline)
	}
	return end
}

// failure makes a Failure of a handler's error. Texts of foreign errors stay in our log: they may
// hold data.
func (x *execution) failure(err error) Failure {
	var f *Failure
	switch {
	case errors.As(err, &f):
		return f.tidy()
	case errors.Is(err, errBadPayload):
		return Failure{Outcome: protocol.OutcomeFailedFatal, Effect: protocol.EffectNone, Code: CodeBadCommand, Message: err.Error()}
	case errors.Is(err, errBadOutput):
		return Failure{Outcome: protocol.OutcomeFailedFatal, Effect: protocol.EffectUnknown, Code: CodeBadOutput, Message: err.Error()}
	}
	code := CodeHandlerError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code = CodeTimeout
	case errors.Is(err, ErrBusy):
		code = CodeBusy
	}
	x.log.Warn("handler failed", "step", x.cmd.Name, "workflow_id", x.cmd.WorkflowID, "error", err)
	return Failure{Outcome: protocol.OutcomeFailedRetriable, Code: code}
}

// fault answers for an inbox that failed. Whether its transaction was committed is not known; the
// next attempt will see.
func (x *execution) fault(err error) Answer {
	if errors.Is(err, ErrBusy) {
		return failed(protocol.OutcomeFailedRetriable, CodeBusy)
	}
	x.log.Warn("inbox is not available", "workflow_id", x.cmd.WorkflowID, "error", err)
	return failed(protocol.OutcomeFailedRetriable, CodeInbox)
}

// same reports whether a row was made by this very command. A tombstone fits any.
func (x *execution) same(r Row) bool { return r.Sum == x.sum || r.Sum == [32]byte{} }

func failed(outcome protocol.Outcome, code string) Answer {
	return Answer{Reply: protocol.Reply{Outcome: outcome, Code: code}}
}

// fresh answers from a row that was just made.
func fresh(r Row) Answer {
	a := Answer{Reply: protocol.Reply{Effect: r.Effect, Code: r.Code, Message: r.Message, Noop: r.Noop}}
	switch r.Status {
	case Done:
		a.Outcome, a.Output = protocol.OutcomeOK, r.Output
	case Rejected:
		a.Outcome = protocol.OutcomeRejected
	case Failed:
		a.Outcome = protocol.OutcomeFailedFatal
	default:
		a.Outcome, a.Code = protocol.OutcomeFailedRetriable, CodeBusy
	}
	return a
}

// replay answers from a row that was there.
func replay(r Row) Answer {
	a := fresh(r)
	a.Replayed = a.Outcome != protocol.OutcomeFailedRetriable
	return a
}

func tombstone(now int64) Row { return Row{Status: Rejected, At: now, Code: CodeSuppressed} }

func forward(key string, r Row) Forward {
	f := Forward{Key: key, Known: r.Status == Done || r.Status == Failed && r.Effect == protocol.EffectDone}
	if f.Known {
		f.Output = r.Output
	} else {
		f.Handle = r.Output
	}
	return f
}

// sumOf tells one command from another under the same key.
func sumOf(cmd protocol.Command, payload []byte) [32]byte {
	h := sha256.New()
	var n [8]byte
	for _, s := range []string{string(cmd.Op), cmd.Name} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	h.Write(payload)
	return [32]byte(h.Sum(nil))
}
