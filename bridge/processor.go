package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/participant/durable"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// processor answers the commands of one task. It lives from one takeover of the task to the next.
//
// The rules are those of participant.Handlers, which are asked twice for each call: without a result
// the handler says that it wants one and nothing is written; with it, the handler's answer is the
// result. So what the inbox decides (a stored answer, an undo that came first, a do that still runs) is
// decided again at the end.
type processor struct {
	r    *Runner
	task int32

	fresh   []*call  // of this cycle: they begin when it is committed
	mark    int      // those of fresh that are not of the present record
	scanned bool     // calls that former owners have left were begun
	written []string // keys whose results this cycle has written
	single  int      // so many cycles take one result each
}

// visit is what a handler and the processor tell one another during one Answer.
type visit struct {
	result  *result // nil: none yet
	wanted  bool
	forward participant.Forward
}

type visitKey struct{}

// errWanted is what a handler returns when it wants a call.
var errWanted = participant.Retry(participant.CodeBusy, 0)

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// handlers are those of the file, for package participant.
func handlers(b *Bridge, h *participant.Handlers) {
	for name, c := range b.commands {
		if c.ops[protocol.OpDo] != nil {
			participant.Do(h, name, func(ctx context.Context, _ participant.Tx, _ json.RawMessage) (json.RawMessage, error) {
				return visitOf(ctx).answer(participant.Forward{})
			}, participant.External(0))
		}
		if c.ops[protocol.OpUndo] != nil {
			participant.Undo(h, name, func(ctx context.Context, _ participant.Tx, _ json.RawMessage, fwd participant.Forward) error {
				_, err := visitOf(ctx).answer(fwd)
				return err
			})
		}
		if c.ops[protocol.OpInquire] != nil {
			participant.Inquire(h, name, func(ctx context.Context, _ participant.Tx, fwd participant.Forward) (json.RawMessage, error) {
				return visitOf(ctx).answer(fwd)
			})
		}
	}
}

// answer gives the result as package participant wants to hear it.
func (v *visit) answer(fwd participant.Forward) (json.RawMessage, error) {
	if v.result == nil {
		v.wanted, v.forward = true, fwd
		return nil, errWanted
	}
	r := v.result
	switch r.Outcome {
	case protocol.OutcomeOK, protocol.OutcomeExecuted:
		if r.Noop {
			return nil, participant.ErrNoop
		}
		return r.Output, nil
	case protocol.OutcomeNotExecuted:
		return nil, participant.ErrNotExecuted
	case protocol.OutcomeRunning:
		return nil, participant.ErrRunning
	}
	return nil, &participant.Failure{Outcome: r.Outcome, Effect: r.Effect, Code: r.Code, Message: r.Message,
		RetryAfter: time.Duration(r.RetryAfter) * time.Millisecond}
}

// box is the inbox of one cycle. A do whose row is new is not made at once.
type box struct{ *durable.Inbox }

// Defer implements participant.Deferrer.
func (box) Defer(participant.Store, protocol.Command, []byte) error { return nil }

// message is what Decode makes of a record.
type message struct {
	protocol.Command
	err error // of ParseCommand
}

// Decode implements topology.Processor: do, undo and inquire of a step have one record key.
func (p *processor) Decode(rec *topology.Record) (any, []byte) {
	headers := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = protocol.Header(h)
	}
	cmd, err := protocol.ParseCommand(headers)
	return message{cmd, err}, rec.Key
}

// Process implements topology.Processor.
func (p *processor) Process(c *topology.Cycle, rec *topology.Record, msg any) error {
	p.mark = len(p.fresh)
	m, ok := msg.(message)
	if !ok {
		return fmt.Errorf("unexpected message %T", msg)
	}
	if err := c.Failpoint(topology.FailDecode); err != nil {
		return err
	}
	if m.err == nil && !isObject(rec.Value) {
		m.err = errPayload // found out before anything is sent
	}
	if m.err != nil {
		b := box{durable.NewInbox(c)}
		a, ok := p.r.Handlers.Unreadable(p.r.work, b, m.Command, m.err, time.UnixMilli(c.Now()))
		if err := b.Fault(); err != nil {
			return err
		}
		if !ok {
			p.r.skip(participant.SkippedBadCommand, rec, m.err)
			return nil
		}
		p.emit(c, m.Command, a)
		return c.Failpoint(topology.FailStage)
	}
	if err := c.Failpoint(topology.FailAdvance); err != nil {
		return err
	}
	if err := p.command(c, m.Command, rec.Value); err != nil {
		return err
	}
	return c.Failpoint(topology.FailStage)
}

var errPayload = errors.New("the payload is not a JSON object")

// isObject says that a payload is a JSON object; nothing stands for an empty one.
func isObject(payload []byte) bool {
	payload = bytes.TrimSpace(payload)
	return len(payload) == 0 || payload[0] == '{' && json.Valid(payload)
}

// command answers a command, begins its call, or lets the call that is under way answer it.
func (p *processor) command(c *topology.Cycle, cmd protocol.Command, payload []byte) error {
	if len(payload) > participant.MaxOutput {
		p.refuse(c, cmd, protocol.OutcomeFailedFatal, participant.CodeBadCommand)
		return nil
	}
	mine, err := p.pending(c, cmd.Key)
	if err != nil {
		return err
	}
	if mine != nil {
		if mine.Command.Op != cmd.Op || mine.Command.Name != cmd.Name || !bytes.Equal(mine.payload, payload) {
			p.refuse(c, cmd, protocol.OutcomeFailedFatal, participant.CodeKeyReused)
			return nil
		}
		// All of them hear of it: who was committed past is owed a reply.
		mine.Earlier = append(mine.Earlier, mine.Command)
		mine.Earlier = mine.Earlier[max(0, len(mine.Earlier)-maxEarlier):]
		mine.Command = cmd
		return p.write(c, mine)
	}
	if cmd.Op != protocol.OpDo {
		do, err := p.pending(c, cmd.ForwardKey)
		switch {
		case err != nil:
			return err
		case do != nil && cmd.Op == protocol.OpUndo:
			p.refuse(c, cmd, protocol.OutcomeFailedRetriable, participant.CodeBusy)
			return nil
		case do != nil:
			p.refuse(c, cmd, protocol.OutcomeRunning, participant.CodeBusy)
			return nil
		}
	}
	if p.r.cfg.Bridge.operation(cmd) == nil {
		// A file that no longer knows a command that was begun cannot say that it has no effect.
		row, found, err := p.row(c, cmd.Key)
		if err != nil {
			return err
		}
		if found && row.Status == participant.Started {
			p.refuse(c, cmd, protocol.OutcomeFailedFatal, participant.CodeUnknownCommand)
			return nil
		}
	}
	a, v, err := p.ask(c, cmd, payload, nil)
	switch {
	case errors.Is(err, participant.ErrDeferred):
		return p.begin(c, &pending{Command: cmd, Started: c.Now(), Clean: true, payload: payload})
	case err != nil:
		return err
	case v.wanted:
		fwd := pending{Command: cmd, Started: c.Now(), Known: v.forward.Known, Output: v.forward.Output, payload: payload}
		if cmd.Op == protocol.OpDo {
			row, found, err := p.row(c, cmd.Key)
			if err != nil {
				return err
			}
			if found {
				fwd.Started = row.At
			}
		}
		return p.begin(c, &fwd)
	}
	p.emit(c, cmd, a)
	return nil
}

// ask has package participant decide. The error is ErrDeferred or one of the store.
func (p *processor) ask(c *topology.Cycle, cmd protocol.Command, payload []byte, res *result) (participant.Answer, *visit, error) {
	v := &visit{result: res}
	b := box{durable.NewInbox(c)}
	a, err := p.r.Handlers.Answer(context.WithValue(p.r.work, visitKey{}, v), b, cmd, payload, time.UnixMilli(c.Now()))
	if fault := b.Fault(); fault != nil {
		return a, v, fault
	}
	return a, v, err
}

// begin writes a call, which is made when this cycle is committed; or refuses it, because too many wait.
func (p *processor) begin(c *topology.Cycle, x *pending) error {
	op := p.r.cfg.Bridge.operation(x.Command)
	s := p.r.services[op.dest]
	waiting := int(s.load.Load())
	for _, f := range p.fresh {
		if p.r.cfg.Bridge.operation(f.cmd).dest == op.dest {
			waiting++
		}
	}
	if waiting >= s.pending {
		effect := protocol.Effect("")
		if x.Clean {
			c.Delete(durable.RowKey(x.Command.Key)) // it was never begun
			effect = protocol.EffectNone
		}
		outcome := protocol.OutcomeFailedRetriable
		p.emit(c, x.Command, participant.Answer{Reply: protocol.Reply{Token: x.Command.Token, Outcome: outcome, Effect: effect,
			Code: CodeOverloaded, RetryAfter: time.Second.Milliseconds(), Trace: x.Command.Trace}})
		return nil
	}
	if err := p.write(c, x); err != nil {
		return err
	}
	p.fresh = append(p.fresh, p.call(x, x.Clean))
	return nil
}

func (p *processor) call(x *pending, clean bool) *call {
	return &call{task: p.task, cmd: x.Command, payload: x.payload, output: x.Output, known: x.Known, started: x.Started, clean: clean}
}

// pending reads a call that is under way; nil when there is none.
func (p *processor) pending(c *topology.Cycle, sagaKey string) (*pending, error) {
	value, found, err := c.Get(pendingKey(sagaKey))
	if err != nil || !found {
		return nil, err
	}
	return decodePending(value)
}

func (p *processor) write(c *topology.Cycle, x *pending) error {
	value, err := x.append(nil)
	if err != nil {
		return err
	}
	c.Put(pendingKey(x.Command.Key), value)
	return nil
}

func (p *processor) row(c *topology.Cycle, sagaKey string) (participant.Row, bool, error) {
	value, found, err := c.Get(durable.RowKey(sagaKey))
	if err != nil || !found {
		return participant.Row{}, false, err
	}
	row, err := participant.DecodeRow(value)
	return row, err == nil, err
}

// Timer implements topology.Processor: a row is too old, or a call has ended.
func (p *processor) Timer(c *topology.Cycle, key []byte) error {
	p.mark = len(p.fresh)
	if key[0] != pendingPrefix {
		c.Delete(key)
		return nil
	}
	value, found, err := c.Get(key)
	if err != nil || !found {
		return err
	}
	x, err := decodePending(value)
	if err != nil {
		return err
	}
	c.Delete(key)
	if x.Result == nil {
		return fmt.Errorf("%w: it has no result", errPending)
	}
	if err := c.Failpoint(topology.FailAdvance); err != nil {
		return err
	}
	if err := p.finish(c, x); err != nil {
		return err
	}
	return c.Failpoint(topology.FailStage)
}

// finish writes what came of a call, and answers.
func (p *processor) finish(c *topology.Cycle, x *pending) error {
	cmd, res := x.Command, x.Result
	answer := func(a participant.Answer) error {
		p.emit(c, cmd, a)
		for _, earlier := range x.Earlier {
			a.Token, a.Trace = earlier.Token, earlier.Trace
			p.emit(c, earlier, a)
		}
		return nil
	}
	if cmd.Op == protocol.OpDo && x.Clean && res.Unsent && res.Outcome == protocol.OutcomeFailedRetriable {
		// Nothing was ever sent for this key: it is as if the command had not come.
		c.Delete(durable.RowKey(cmd.Key))
		return answer(participant.Answer{Reply: protocol.Reply{Token: cmd.Token, Outcome: res.Outcome, Effect: protocol.EffectNone, Code: res.Code,
			Message: res.Message, RetryAfter: res.RetryAfter, Trace: cmd.Trace}})
	}
	if p.r.cfg.Bridge.operation(cmd) == nil { // the file was changed since
		p.refuse(c, cmd, protocol.OutcomeFailedFatal, participant.CodeUnknownCommand)
		return nil
	}
	a, _, err := p.ask(c, cmd, x.payload, res)
	if err != nil {
		return err
	}
	if cmd.Op == protocol.OpDo && a.Outcome == protocol.OutcomeFailedRetriable {
		if err := p.settle(c, cmd); err != nil {
			return err
		}
	}
	return answer(a)
}

// settle notes that a do without an answer may still take effect at its destination for a while. An undo
// or an inquiry that came in this time could find nothing, and be wrong soon after.
func (p *processor) settle(c *topology.Cycle, cmd protocol.Command) error {
	row, found, err := p.row(c, cmd.Key)
	if err != nil || !found || row.Status != participant.Started {
		return err
	}
	row.Until = c.Now() + p.r.cfg.Bridge.commands[cmd.Name].settle.Milliseconds()
	c.Put(durable.RowKey(cmd.Key), row.Append(nil))
	return nil
}

// refuse answers without the inbox: nothing is remembered.
func (p *processor) refuse(c *topology.Cycle, cmd protocol.Command, outcome protocol.Outcome, code string) {
	p.emit(c, cmd, participant.Answer{Reply: protocol.Reply{Token: cmd.Token, Outcome: outcome, Code: code, Trace: cmd.Trace}})
}

func (p *processor) emit(c *topology.Cycle, cmd protocol.Command, a participant.Answer) {
	c.Emit(participant.ReplyRecord(cmd, a))
	p.r.metrics.replies.WithLabelValues(p.r.label(cmd.Name), string(cmd.Op), string(a.Outcome)).Inc()
}

// WakeAtStart implements topology.Starter.
func (p *processor) WakeAtStart() bool { return true }

// Wake implements topology.Waker: calls of former owners are begun, results are written.
func (p *processor) Wake(c *topology.Cycle) error {
	p.mark = len(p.fresh)
	if !p.scanned {
		var fault error
		err := c.Scan([]byte{pendingPrefix}, nil, func(_, value []byte) bool {
			x, err := decodePending(value)
			if err != nil {
				fault = err
				return false
			}
			if x.Result == nil {
				p.r.submit(p.call(x, false))
			}
			return true
		})
		if err = errors.Join(err, fault); err != nil {
			return err
		}
		p.scanned = true
	}
	most := wakeMost
	if p.single > 0 {
		most = 1
	}
	p.written = p.written[:0]
	results := p.r.results(p.task)
	for _, done := range results.list() {
		if len(p.written) >= most {
			break
		}
		x, err := p.pending(c, done.key)
		if err != nil {
			return err
		}
		if x == nil || x.Result != nil {
			results.forget(done.key) // another owner was faster
			continue
		}
		res := done.result
		x.Clean, x.Result = done.clean, &res
		if err := p.write(c, x); err != nil {
			return err
		}
		p.written = append(p.written, done.key)
	}
	return nil
}

// wakeMost bounds the results that one cycle writes.
const wakeMost = 200

// Poison implements topology.Processor. The engine, hearing nothing, sends the command again.
func (p *processor) Poison(c *topology.Cycle, rec *topology.Record, key []byte, err error) {
	p.fresh = p.fresh[:min(p.mark, len(p.fresh))]
	switch {
	case rec != nil:
		reason := participant.SkippedBadCommand
		if errors.Is(err, topology.ErrUndeliverable) || errors.Is(err, topology.ErrTooLarge) {
			reason = participant.SkippedBadReplyAddress
		}
		p.r.skip(reason, rec, err)
	case key != nil:
		p.r.cfg.Logger.Error("entry dropped", "task", c.Task(), "error", err)
		p.r.metrics.skipped.WithLabelValues(participant.SkippedBadReplyAddress).Inc()
		c.Delete(key)
	default:
		// One of the results of a cycle cannot be written. They go one by one; what fails alone loses its output.
		p.r.cfg.Logger.Error("results cannot be written", "task", c.Task(), "error", err)
		if list := p.r.results(p.task); p.single > 0 || list.len() <= 1 {
			list.shrink()
		} else {
			p.single = list.len()
		}
		p.written = p.written[:0]
		p.r.wake(p.task)
	}
}

// postponed takes the present record back: it comes again.
func (p *processor) postponed() { p.fresh = p.fresh[:min(p.mark, len(p.fresh))] }

// committed begins the calls of a cycle that was committed, and forgets the results that it has written.
func (p *processor) committed() {
	for _, x := range p.fresh {
		p.r.submit(x)
	}
	clear(p.fresh)
	p.fresh, p.mark = p.fresh[:0], 0
	if len(p.written) == 0 {
		return
	}
	results := p.r.results(p.task)
	results.forget(p.written...)
	p.single, p.written = max(0, p.single-len(p.written)), p.written[:0]
	if results.len() > 0 {
		p.r.wake(p.task)
	}
}
