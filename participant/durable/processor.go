package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// processor answers the commands of one task.
type processor struct {
	p   *Participant
	ctx context.Context
}

// command is what Decode makes of a record.
type command struct {
	protocol.Command
	err error // of ParseCommand
}

// Decode implements topology.Processor. The record's own key routes it: do, undo and inquire of a
// step have the same one, so they meet on one task whatever partitioner wrote them.
func (x *processor) Decode(rec *topology.Record) (any, []byte) {
	headers := make([]protocol.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = protocol.Header(h)
	}
	cmd, err := protocol.ParseCommand(headers)
	return command{cmd, err}, rec.Key
}

// Process implements topology.Processor.
func (x *processor) Process(c *topology.Cycle, rec *topology.Record, msg any) error {
	if err := c.Failpoint(topology.FailDecode); err != nil {
		return err
	}
	cmd, ok := msg.(command)
	if !ok {
		return fmt.Errorf("unexpected message %T", msg)
	}
	if cmd.err == nil {
		return x.answer(c, cmd.Command, rec.Value)
	}
	box := &Inbox{state: c}
	a, ok := x.p.Unreadable(x.ctx, box, cmd.Command, cmd.err, time.UnixMilli(c.Now()))
	if box.fault != nil {
		return box.fault
	}
	if !ok {
		x.p.skip(participant.SkippedBadCommand, rec, cmd.err)
		return nil
	}
	c.Emit(participant.ReplyRecord(cmd.Command, a))
	return c.Failpoint(topology.FailStage)
}

func (x *processor) answer(c *topology.Cycle, cmd protocol.Command, payload []byte) error {
	if err := c.Failpoint(topology.FailAdvance); err != nil {
		return err
	}
	began := x.p.cfg.Clock()
	box := &Inbox{state: c}
	a, err := x.p.Answer(x.ctx, box, cmd, payload, time.UnixMilli(c.Now()))
	if box.fault != nil {
		return box.fault
	}
	if errors.Is(err, participant.ErrDeferred) {
		return c.Failpoint(topology.FailStage)
	}
	if err != nil {
		return err
	}
	c.Emit(participant.ReplyRecord(cmd, a))
	if hook := x.p.cfg.Hooks.Answered; hook != nil {
		hook(cmd, a.Reply, x.p.cfg.Clock().Sub(began))
	}
	return c.Failpoint(topology.FailStage)
}

// Timer implements topology.Processor: a row is too old, or an external call can be made because its
// start is committed.
func (x *processor) Timer(c *topology.Cycle, key []byte) error {
	value, found, err := c.Get(key)
	if err != nil || !found {
		return err
	}
	if key[0] != pendingPrefix {
		c.Delete(key)
		return nil
	}
	cmd, payload, err := decodeCommand(value)
	if err != nil {
		return err
	}
	c.Delete(key)
	return x.answer(c, cmd, payload)
}

// Poison implements topology.Processor. The engine, hearing nothing, sends the command again.
func (x *processor) Poison(c *topology.Cycle, rec *topology.Record, key []byte, err error) {
	if rec != nil {
		reason := participant.SkippedBadCommand
		if errors.Is(err, topology.ErrUndeliverable) || errors.Is(err, topology.ErrTooLarge) {
			reason = participant.SkippedBadReplyAddress
		}
		x.p.skip(reason, rec, err)
		return
	}
	x.p.cfg.Logger.Error("entry dropped", "task", c.Task(), "error", err)
	if key != nil {
		c.Delete(key)
	}
}
