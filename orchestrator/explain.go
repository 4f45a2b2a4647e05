package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Explain says why an instance does not move: what its state waits for, joined with what Kafka knows of
// its commands. It takes at most the time of Config.Explain. Errors are those of Get; a workflow ID
// without an instance is explained, too, when a record of it is among the newest dead letters.
func (o *Orchestrator) Explain(ctx context.Context, workflowID string) (explain.Explanation, error) {
	w := o.worker.Load()
	if w == nil {
		return explain.Explanation{}, movingError(nil)
	}
	task := w.TaskOf([]byte(workflowID))
	view, here := w.View(task)
	if !here {
		address, self, err := w.Owner(ctx, task)
		if err != nil || self || address == "" {
			return explain.Explanation{}, movingError(err)
		}
		return explain.Explanation{}, &MovedError{Address: address}
	}
	inst, err := readWhole(view, workflowID)
	switch {
	case errors.Is(err, topology.ErrNotRunning):
		return explain.Explanation{}, movingError(err)
	case err != nil:
		return explain.Explanation{}, &Error{Code: CodeInternal, Class: ErrUnreachable, Cause: "the stored instance cannot be read", Err: err}
	}
	in := o.toExplain(inst, workflowID)
	o.gather(ctx, &in)
	if inst == nil && in.DeadLetter == nil {
		return explain.Explanation{}, &Error{Code: CodeNotFound, Class: ErrNotFound, Cause: fmt.Sprintf("no instance %q", workflowID)}
	}
	e := explain.Explain(in)
	if inst == nil {
		typ, _ := sagas.SplitWorkflowID(workflowID)
		if o.private(typ, 0) != nil && in.DeadLetter != nil {
			in.DeadLetter.Message = sagas.Masked
			e = explain.Explain(in)
		}
		return e, nil
	}
	return maskExplanation(o.private(inst.Type, inst.Version).Words(inst), e), nil
}

// toExplain is what this process knows by itself.
func (o *Orchestrator) toExplain(inst *sagas.Instance, workflowID string) explain.Input {
	in := explain.Input{Instance: inst, WorkflowID: workflowID, Now: sagas.Time(o.cfg.Clock().UnixMilli())}
	if inst != nil {
		known := o.definitions.current.Load()
		in.Now = max(in.Now, inst.LastNow)
		in.Plan = known.plan(inst.DefinitionRef())
		in.Definition.Active = known.active[inst.Type]
		ref := definitionRef{inst.Type, inst.Version}
		if ref.version == 0 {
			ref.version = in.Definition.Active
		}
		if l := known.versions[ref]; l != nil {
			in.Definition.Published, in.Definition.Fault = true, l.fault
		}
	}
	for _, d := range o.Destinations() {
		in.Breakers = append(in.Breakers, explain.Breaker{Topic: d.Topic, State: d.State.String(), Reason: d.Reason, Since: sagas.Time(d.Since)})
	}
	return in
}

// gather adds what Kafka knows.
func (o *Orchestrator) gather(ctx context.Context, in *explain.Input) {
	g := o.facts.Load()
	if g == nil {
		in.Unknown = append(in.Unknown, "what Kafka knows of it: this process is starting or stopping")
		return
	}
	in.Commands = g.Gather(ctx, explain.Asks(in.Instance, in.Plan))
	if in.Instance != nil && !letterWanted(in.Instance) {
		return
	}
	var err error
	if in.DeadLetter, err = g.Letter(ctx, o.topics.DLQ, in.WorkflowID); err != nil && in.DeadLetter == nil {
		in.Unknown = append(in.Unknown, "whether a record of it is among the dead letters: "+err.Error())
	}
}

// letterWanted says whether a dead letter could say more about the instance.
func letterWanted(i *sagas.Instance) bool {
	return slices.ContainsFunc(i.Attention, func(a sagas.Attention) bool { return len(a.Reason.Helps()) == 0 }) ||
		slices.ContainsFunc(i.Steps, func(s sagas.StepState) bool { return s.Code == sagas.ClassBadReply })
}
