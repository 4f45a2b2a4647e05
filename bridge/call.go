package bridge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
)

// call is one operation of one command, as it is to be made. It is not changed while it is under way.
type call struct {
	task    int32
	cmd     protocol.Command
	payload []byte
	output  []byte // of the do, nil when it is not known
	known   bool   // the answer of the do is known
	started int64  // ms: when the row of the key was made
	clean   bool   // nothing was sent for this key before
}

// Waits between the tries of one call.
const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
)

// perform makes a call, with its retries, and says what came of it. ctx ends with the process: what is
// cut off so has no result.
func (r *Runner) perform(ctx context.Context, c *call) (res result, ok bool) {
	op := r.cfg.Bridge.operation(c.cmd)
	if op == nil { // the file was changed since the call was begun
		return result{Outcome: protocol.OutcomeFailedFatal, Code: participant.CodeUnknownCommand}, true
	}
	command := r.cfg.Bridge.commands[c.cmd.Name]
	limit := ctx
	if c.cmd.Deadline > 0 {
		var cancel context.CancelFunc
		limit, cancel = context.WithDeadline(ctx, time.UnixMilli(c.cmd.Deadline))
		defer cancel()
	}
	if op.op == protocol.OpDo && !c.clean && r.cfg.Clock().UnixMilli()-c.started > command.keyWindow.Milliseconds() {
		return r.askInstead(ctx, limit, c, command.ops[protocol.OpInquire])
	}
	res = r.tries(limit, c, op)
	return res, ctx.Err() == nil
}

// askInstead finds out what became of a do whose key the destination may have forgotten: another call
// could execute it twice.
func (r *Runner) askInstead(ctx, limit context.Context, c *call, inquire *operation) (result, bool) {
	if inquire == nil {
		return result{Outcome: protocol.OutcomeFailedFatal, Code: participant.CodeKeyWindow}, true
	}
	asked := *c
	asked.cmd.Op, asked.cmd.ForwardKey = protocol.OpInquire, c.cmd.Key
	res := r.tries(limit, &asked, inquire)
	switch res.Outcome {
	case protocol.OutcomeExecuted:
		res.Outcome = protocol.OutcomeOK
	case protocol.OutcomeNotExecuted:
		res = result{Outcome: protocol.OutcomeFailedFatal, Effect: protocol.EffectNone, Code: participant.CodeNotExecuted}
	default:
		res.Outcome, res.Unsent = protocol.OutcomeFailedRetriable, false
		if res.Code == "" {
			res.Code = participant.CodeKeyWindow
		}
	}
	return res, ctx.Err() == nil
}

// tries makes a call until it has an answer that is not to be retried here.
func (r *Runner) tries(ctx context.Context, c *call, op *operation) result {
	s := r.services[op.dest]
	unsent := true
	for try, wait := 0, backoffFirst; ; try, wait = try+1, min(2*wait, backoffMost) {
		if err := s.enter(ctx); err != nil {
			return result{Outcome: protocol.OutcomeFailedRetriable, Code: participant.CodeExpired, Unsent: unsent}
		}
		left, allowed := s.breaker.allow(r.cfg.Clock())
		if !allowed {
			s.leave()
			return result{Outcome: protocol.OutcomeFailedRetriable, Code: CodeCircuitOpen, RetryAfter: max(1, left.Milliseconds()), Unsent: unsent}
		}
		began := r.cfg.Clock()
		res, sent, healthy := r.try(ctx, s, c, op)
		if changed, open := s.breaker.heard(healthy, r.cfg.Clock()); changed {
			r.metrics.breaker(s.name, open)
			r.cfg.Logger.Warn("breaker of a destination", "destination", s.name, "open", open)
		}
		s.leave()
		r.metrics.tried(s.name, c.cmd, res, r.cfg.Clock().Sub(began))
		if sent {
			later := *c
			later.clean = false
			c, unsent = &later, false
		}
		res.Unsent = unsent
		if res.Outcome != protocol.OutcomeFailedRetriable || try >= s.retries {
			return res
		}
		pause := max(wait, time.Duration(res.RetryAfter)*time.Millisecond)
		if pause > backoffMost || sleep(ctx, pause) != nil {
			return res // the orchestrator waits better than we do
		}
	}
}

// try makes one request. sent says that a connection was had, so that the destination may have received
// it; healthy is for the breaker.
func (r *Runner) try(ctx context.Context, s *service, c *call, op *operation) (res result, sent, healthy bool) {
	timeout := s.timeout
	if op.timeout > 0 {
		timeout = op.timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var had atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { had.Store(true) }})
	req, err := op.request(ctx, c, r.cfg.Clock())
	switch {
	case errors.Is(err, errSecret):
		r.cfg.Logger.Error("call cannot be made", "command", c.cmd.Name, "op", c.cmd.Op, "error", err)
		return op.failed(protocol.OutcomeFailedRetriable, CodeSecret), false, true
	case err != nil:
		r.cfg.Logger.Warn("call cannot be made", "command", c.cmd.Name, "op", c.cmd.Op, "workflow_id", c.cmd.WorkflowID, "error", err)
		res := op.failed(protocol.OutcomeFailedFatal, CodeBadRequest)
		if c.clean {
			res.Effect = protocol.EffectNone
		}
		return res, false, true
	}
	resp, err := s.client.Do(req)
	if err != nil {
		code := CodeNoAnswer
		if !had.Load() {
			code = CodeUnreachable
		}
		r.cfg.Logger.Debug("call failed", "destination", s.name, "command", c.cmd.Name, "workflow_id", c.cmd.WorkflowID, "error", err)
		return op.failed(protocol.OutcomeFailedRetriable, code), had.Load(), false
	}
	defer resp.Body.Close()
	body, cut, err := read(resp, s.response)
	if err != nil {
		return op.failed(protocol.OutcomeFailedRetriable, CodeNoAnswer), true, false
	}
	res = op.judge(c, response{status: resp.StatusCode, header: resp.Header, body: body, cut: cut, arrived: r.cfg.Clock()})
	return res, true, resp.StatusCode < 500
}

// read takes a body of at most limit bytes. A longer one is cut: its length is looked at first, and no
// more than the limit is ever held.
func read(resp *http.Response, limit int64) (body []byte, cut bool, err error) {
	if resp.ContentLength > limit {
		return nil, true, nil
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if int64(len(body)) > limit {
		return nil, true, nil
	}
	return body, false, err
}
