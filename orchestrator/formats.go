package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
	"github.com/amendsio/amends/topology"
)

// codecWithin bounds what one record may wait for a registry. A record that needs longer is taken later.
const codecWithin = 5 * time.Second

// reasonEncoding asks for a person because a command does not fit the schema that its participant takes. The machine does not
// know it: each attempt tries again, and the first that can be sent takes it back.
const reasonEncoding sagas.Reason = "ENCODING"

// later is the error of what cannot be handled now: the task stops reading, says why, and tries again.
func later(err error) error { return fmt.Errorf("%w: %w", topology.ErrRetry, err) }

// replyValue is the value of a reply as canonical JSON. What is not framed as Avro is JSON, whatever its content type
// says: so it was before there was Avro.
func (p *processor) replyValue(rec *topology.Record) ([]byte, error) {
	if !schema.Framed(rec.Headers, rec.Value) {
		return sagas.CanonicalJSON(rec.Value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), codecWithin)
	defer cancel()
	value, _, err := p.cfg.Codec.Decode(ctx, rec.Topic, rec.Headers, rec.Value)
	return value, err
}

// unfit says why an input is no value of the Avro record that its definition names, "" when it is one, when the
// definition names none, and when neither is known. An error means later.
func (p *processor) unfit(typ string, version uint32, body []byte) (string, error) {
	check, ok := p.cfg.Codec.(schema.Checker)
	if !ok {
		return "", nil
	}
	plan, _ := p.definitions.current.Load().resolve(typ, version)
	if plan == nil || plan.Definition == nil || plan.Definition.Input == nil || plan.Definition.Input.Name == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), codecWithin)
	defer cancel()
	err := check.Fits(ctx, plan.Definition.Input.Name, body)
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, schema.ErrUnavailable):
		return "", fmt.Errorf("the input of %s: %w", typ, err)
	}
	return "input: " + err.Error(), nil
}

// written is a command in the format of its participant.
type written struct {
	value   []byte
	headers []topology.Header
}

// formats writes the commands among effects whose participants take another format than JSON; done has them by
// their place in effects. One that does not fit its schema is not sent: it is taken out of effects and its step asks
// for a person, with the reason. That ends with the first attempt that can be sent. An error means later.
func (p *processor) formats(next *sagas.Instance, effects []sagas.Effect) (*sagas.Instance, []sagas.Effect, map[int]written, error) {
	if next == nil {
		return next, effects, nil, nil
	}
	var plan *sagas.Plan
	var done map[int]written
	var unfit map[int]string
	for i := range effects {
		e, ok := effects[i].(sagas.Command)
		if !ok {
			continue
		}
		if plan == nil {
			if plan = p.definitions.current.Load().plan(next.DefinitionRef()); plan == nil {
				break
			}
		}
		to := plan.Definition.Participants[e.Participant]
		if !to.Avro() {
			continue
		}
		record := to.Schema.Record(e.Name)
		ctx, cancel := context.WithTimeout(context.Background(), codecWithin)
		value, headers, err := p.cfg.Codec.Encode(ctx, schema.Target{
			Topic: e.Topic, Encoding: schema.Avro, Schema: record, Subject: to.Schema.Subject(e.Topic, record),
		}, e.Payload)
		cancel()
		switch {
		case errors.Is(err, schema.ErrUnavailable):
			return nil, nil, nil, later(fmt.Errorf("%s %s of %s: %w", e.Participant, e.Name, e.WorkflowID, err))
		case err != nil:
			if unfit == nil {
				unfit = map[int]string{}
			}
			unfit[i] = err.Error()
		default:
			if done == nil {
				done = map[int]written{}
			}
			done[i] = written{value, headers}
		}
	}
	if len(unfit) == 0 && (len(done) == 0 || len(next.Attention) == 0) {
		return next, effects, done, nil
	}
	n := *next
	n.Attention = slices.Clone(n.Attention)
	effects = slices.Clone(effects)
	for i := range done {
		n.Attention = slices.DeleteFunc(n.Attention, func(a sagas.Attention) bool {
			cleared := a.Path == effects[i].(sagas.Command).Path && a.Reason == reasonEncoding
			if cleared {
				effects = append(effects, fact(&n, sagas.KindAttentionCleared, a, nil))
			}
			return cleared
		})
	}
	for _, i := range slices.Sorted(keysOf(unfit)) {
		e := effects[i].(sagas.Command)
		a := sagas.Attention{Path: e.Path, Reason: reasonEncoding, Since: n.LastNow, Text: e.Participant + "." + e.Name + " is not sent: " + unfit[i]}
		if !slices.ContainsFunc(n.Attention, func(b sagas.Attention) bool { return b.Path == a.Path && b.Reason == a.Reason }) {
			n.Attention = append(n.Attention, a)
			slices.SortFunc(n.Attention, func(a, b sagas.Attention) int {
				return strings.Compare(a.Path+"\x00"+string(a.Reason), b.Path+"\x00"+string(b.Reason))
			})
			effects = append(effects, fact(&n, sagas.KindAttention, a, []sagas.KV{{Key: "text", Value: a.Text}}))
		}
		effects[i] = sagas.Ignored{Reason: "encoding"}
	}
	if len(n.Attention) == 0 {
		n.Attention = nil
	}
	return &n, effects, done, nil
}

func keysOf[V any](m map[int]V) func(func(int) bool) {
	return func(yield func(int) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// fact is the next fact of an instance, about a reason for attention.
func fact(n *sagas.Instance, kind sagas.Kind, a sagas.Attention, more []sagas.KV) sagas.Lifecycle {
	n.Seq++
	open := make([]string, len(n.Attention))
	for i := range n.Attention {
		open[i] = n.Attention[i].String()
	}
	return sagas.Lifecycle{
		WorkflowID: n.WorkflowID, Type: n.Type, Version: n.Version, Run: n.Run, Seq: n.Seq, Rev: n.Rev, At: n.LastNow,
		Kind: kind, Path: a.Path, Phase: n.Phase, Attention: open, Detail: append([]sagas.KV{{Key: "reason", Value: string(a.Reason)}}, more...),
	}
}

// inFormat replaces the JSON of a command.
func (w written) inFormat(rec *topology.Record) {
	rec.Value = w.value
	for i := range rec.Headers {
		if rec.Headers[i].Key == protocol.HeaderContentType {
			rec.Headers = slices.Delete(rec.Headers, i, i+1)
			break
		}
	}
	rec.Headers = append(rec.Headers, w.headers...)
}
