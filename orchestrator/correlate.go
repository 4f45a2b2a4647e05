package orchestrator

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// subscribe is the record that says who waits for which value: in the transaction of the step that waits.
func (p *processor) subscribe(e *sagas.Subscribe) *topology.Record {
	c := protocol.Correlation{
		Kind: protocol.CorrelateSubscribe, Route: e.Route, Value: e.Value, WorkflowID: e.WorkflowID, Run: e.Run, Path: e.Path,
		Group: e.Group, Signal: e.Signal, Until: int64(e.Until),
	}
	if a := e.Reply; a != nil {
		c.Op = protocol.Op(a.Op.String())
		c.Token = protocol.Token{WorkflowID: e.WorkflowID, Run: a.Run, Path: a.Path, Op: c.Op, Round: a.Round, Attempt: a.Attempt}.Encode(p.cfg.TokenSecret)
	}
	return p.correlation(c)
}

// unsubscribe takes that back.
func (p *processor) unsubscribe(e *sagas.Unsubscribe) *topology.Record {
	return p.correlation(protocol.Correlation{
		Kind: protocol.CorrelateUnsubscribe, Route: e.Route, Value: e.Value, WorkflowID: e.WorkflowID, Run: e.Run, Path: e.Path,
	})
}

func (p *processor) correlation(c protocol.Correlation) *topology.Record {
	return &topology.Record{
		Topic: p.topics.Correlation, Partition: topology.ByKey, Key: protocol.CorrelationKey(c.Route, c.Value), Headers: recordHeaders(c.Headers()),
	}
}

// correlates says whether events come to the instances of a plan by a value.
func correlates(plans []*sagas.Plan) bool {
	return slices.ContainsFunc(plans, func(p *sagas.Plan) bool { return len(p.Routes) > 0 })
}

// ensureCorrelation creates the topics of correlation when a plan needs them: a namespace without such a
// plan has none. Each partition is a task.
func ensureCorrelation(ctx context.Context, adm *kadm.Client, cfg Config, t protocol.Topics, plans []*sagas.Plan, l layout) error {
	if !correlates(plans) {
		return nil
	}
	names := []string{t.Correlation, t.CorrelationState}
	have, err := listTopics(ctx, adm, names)
	if err != nil {
		return err
	}
	err = ensureTopics(ctx, adm, cfg, have, func(rf int16) []protocol.TopicPlan { return t.CorrelationPlan(l.partitions, l.partitions, rf) })
	if err == nil {
		_, err = awaitTopics(ctx, adm, names)
	}
	return err
}
