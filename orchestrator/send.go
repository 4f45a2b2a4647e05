package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// sendTimeout bounds one write to an input topic.
const sendTimeout = 10 * time.Second

// Act writes an operator action to the control topic and returns once Kafka has it, with its place. What becomes of it
// is in the lifecycle: an action that the state of the instance does not allow changes nothing. The
// error is of class ErrInvalid when the control topic would refuse the record, and of class ErrConflict
// when the feature level does not allow the action.
func (o *Orchestrator) Act(ctx context.Context, a *protocol.Admin) (Position, error) {
	value, err := checkAction(a, o.definitions.current.Load().Level())
	if err != nil {
		return Position{}, err
	}
	return o.send(ctx, o.topics.Control, a.WorkflowID(), value)
}

// checkAction encodes an action as the control topic takes it.
func checkAction(a *protocol.Admin, level uint32) ([]byte, error) {
	value, err := protocol.AppendAvro(nil, a)
	if err == nil {
		_, err = protocol.DecodeControl(nil, value, nil)
	}
	if err != nil {
		return nil, badRecord(err)
	}
	if a.Action != protocol.ActionClose && level < levelFull {
		return nil, needsLevel("the action "+string(a.Action), level)
	}
	return value, nil
}

// Signal writes a signal to the intake topic and returns once Kafka has it. Errors are as those of Act.
func (o *Orchestrator) Signal(ctx context.Context, s *protocol.Signal) (Position, error) {
	value, err := protocol.AppendAvro(nil, s)
	if err == nil {
		_, err = protocol.DecodeIntake(nil, value, nil)
	}
	if err != nil {
		return Position{}, badRecord(err)
	}
	if level := o.definitions.current.Load().Level(); level < levelFull {
		return Position{}, needsLevel("a signal", level)
	}
	return o.send(ctx, o.topics.Intake, s.WorkflowID(), value)
}

// Start writes a start to the intake topic and returns once Kafka has it. The definition may make the id:
// then there is no position to wait for. Errors are as those of Act.
func (o *Orchestrator) Start(ctx context.Context, s *protocol.Start) (Position, error) {
	value, err := protocol.AppendAvro(nil, s)
	if err == nil {
		_, err = protocol.DecodeIntake(nil, value, nil)
	}
	if err != nil {
		return Position{}, badRecord(err)
	}
	at, err := o.send(ctx, o.topics.Intake, s.WorkflowID(), value)
	if s.ID == "" {
		at = Position{}
	}
	return at, err
}

// Cancel writes a cancel to the intake topic and returns once Kafka has it. Errors are as those of Act.
func (o *Orchestrator) Cancel(ctx context.Context, c *protocol.Cancel) (Position, error) {
	value, err := protocol.AppendAvro(nil, c)
	if err == nil {
		_, err = protocol.DecodeIntake(nil, value, nil)
	}
	if err != nil {
		return Position{}, badRecord(err)
	}
	return o.send(ctx, o.topics.Intake, c.WorkflowID(), value)
}

func badRecord(err error) error {
	var refused *protocol.Error
	if errors.As(err, &refused) {
		cause := refused.Text
		if refused.Field != "" {
			cause = refused.Field + ": " + cause
		}
		return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: cause, Fix: refused.Hint}
	}
	return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: err.Error()}
}

func needsLevel(what string, have uint32) error {
	return &Error{Code: CodeLevel, Class: ErrConflict, Cause: fmt.Sprintf("%s needs feature level %d, and the namespace is at %d", what, levelFull, have),
		Fix: fmt.Sprintf("When every process runs a release that supports it, raise the level: amends level finalize %d.", levelFull)}
}

func (o *Orchestrator) send(ctx context.Context, topic, wid string, value []byte) (Position, error) {
	cl := o.sender.Load()
	if cl == nil {
		return Position{}, movingError(errors.New("this process does not run yet, or no more"))
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	rec := &kgo.Record{Topic: topic, Value: value, Headers: []kgo.RecordHeader{kgo.RecordHeader(contentAvro)}}
	if wid != "" {
		rec.Key = []byte(wid)
	}
	if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return Position{}, unreachable("write to topic "+topic, err)
	}
	return positionOf(o.topics, topic, rec.Partition, rec.Offset), nil
}
