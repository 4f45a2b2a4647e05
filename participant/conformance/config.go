package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
)

// Config is what a run needs. The zero value of every optional field is its default.
type Config struct {
	// Participant is the name that definitions call it by. Required.
	Participant string

	// Client are the options of every Kafka client: seed brokers, TLS, SASL. Required.
	Client []kgo.Opt

	// Topic of the commands. Default cmd.<Participant>. It must be there.
	Topic string

	// ReplyTopic is where replies are asked to go. Default: a topic of six partitions that is made for the run and
	// deleted after it.
	ReplyTopic string

	// Do, Undo and Inquire are names of commands that belong together. Do is required. Without Undo it is the same
	// name; without Inquire that case is not played.
	Do, Undo, Inquire string

	// Accept is a payload that a do accepts, Refuse one that it rejects for reasons of its business, Slow one that it
	// accepts after a second or more. Each is a JSON object. Accept is required; cases that need another one which
	// is missing are skipped, and the report says so.
	Accept, Refuse, Slow json.RawMessage

	// Wait is how long a case waits for an answer. Default 30 s.
	Wait time.Duration

	// Ready is how long to wait for the very first answer. Default 60 s.
	Ready time.Duration

	// Restart kills the participant without warning and starts it again. It returns when it was started, which need
	// not be when it works. Nil: nothing is killed.
	Restart func(ctx context.Context) error

	// Effects counts how often the effect of a do stands in the participant's business, by saga-key. Nil: not counted.
	Effects func(ctx context.Context, key string) (int, error)

	// Progress hears of each case when it has ended. Nil: nobody does.
	Progress func(Result)
}

func (c *Config) check() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := protocol.ValidateParticipant(c.Participant); err != nil {
		bad("participant: %w", err)
	}
	if len(c.Client) == 0 {
		bad("Kafka client: no options are given")
	}
	if c.Do == "" || len(c.Do) > protocol.MaxName || len(c.Undo) > protocol.MaxName || len(c.Inquire) > protocol.MaxName {
		bad("commands: the name of the do is needed, and none may be longer than %d bytes", protocol.MaxName)
	}
	for name, payload := range map[string]json.RawMessage{"accept": c.Accept, "refuse": c.Refuse, "slow": c.Slow} {
		var object map[string]any
		if (len(payload) > 0 || name == "accept") && json.Unmarshal(payload, &object) != nil {
			bad("%s: want a JSON object", name)
		}
	}
	if c.Wait < 0 || c.Ready < 0 {
		bad("wait, ready: want positive durations")
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	if c.Topic == "" {
		c.Topic = protocol.CommandTopic(c.Participant)
	}
	if c.Undo == "" {
		c.Undo = c.Do
	}
	if c.Wait == 0 {
		c.Wait = 30 * time.Second
	}
	if c.Ready == 0 {
		c.Ready = time.Minute
	}
	return nil
}
