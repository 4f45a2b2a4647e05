package cluster

import (
	"context"
	"errors"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// How says how an instance is to be read.
type How struct {
	// Stale lets any copy answer that can do so at once: one in this process first, and that of a standby when
	// the owner does not answer.
	Stale bool `json:"stale,omitempty"`
	// After is the position of something that the answer has to contain.
	After orchestrator.Position `json:"after,omitzero"`
}

// Instance is one instance and where the answer comes from.
type Instance struct {
	View sagas.View `json:"view"`
	Node string     `json:"node"` // the process that answered
	Task int32      `json:"task"`
	// Behind says that a copy answered, and how far it may be behind. nil: the owner answered.
	Behind *Behind `json:"behind,omitempty"`
}

// Behind is how far a copy may be behind.
type Behind struct {
	Records int64 `json:"records"` // state records that it lacks
	Millis  int64 `json:"ms"`      // since it had all of them
}

type getRequest struct {
	WorkflowID string `json:"workflowId"`
	Copy       bool   `json:"copy,omitempty"` // a copy will do
	After      string `json:"after,omitempty"`
}

// Get shows one instance.
func (c *Cluster) Get(ctx context.Context, workflowID string, how How) (Instance, error) {
	req := getRequest{WorkflowID: workflowID, Copy: how.Stale, After: how.After.String()}
	out, err := answerGet(ctx, c.local, req)
	var moved *orchestrator.MovedError
	if !errors.As(err, &moved) {
		return out, err
	}
	req.Copy = false
	owner := moved.Address
	err = c.peers.ask(ctx, owner, opGet, req, &out)
	if err == nil {
		return out, nil
	}
	if !errors.Is(err, errSilent) && !errors.Is(err, orchestrator.ErrMoving) {
		return Instance{Node: owner}, err
	}
	c.log.Warn("the owner of an instance does not answer", "owner", owner, "err", err)
	if how.Stale {
		req.Copy, req.After = true, ""
		for _, other := range c.copies(ctx, workflowID) {
			if other == owner {
				continue
			}
			if c.peers.ask(ctx, other, opGet, req, &out) == nil {
				return out, nil
			}
		}
	}
	return Instance{}, moving("the owner of the instance does not answer", err)
}

func (c *Cluster) copies(ctx context.Context, workflowID string) []string {
	routes, err := c.local.Routes(ctx)
	task := c.local.TaskOf(workflowID)
	if err != nil || task < 0 || int(task) >= len(routes) {
		return nil
	}
	return routes[task].Copies
}

// answerGet answers from this process alone.
func answerGet(ctx context.Context, local Local, r getRequest) (Instance, error) {
	out := Instance{Node: local.Advertise(), Task: local.TaskOf(r.WorkflowID)}
	at, err := orchestrator.ParsePosition(r.After)
	if err != nil {
		return out, err
	}
	if r.Copy && at.IsZero() {
		var lag orchestrator.Lag
		out.View, lag, err = local.GetStale(ctx, r.WorkflowID)
		if err == nil && lag.Copy {
			out.Behind = &Behind{Records: lag.Records, Millis: lag.Age.Milliseconds()}
		}
		return out, err
	}
	out.View, err = local.Get(ctx, r.WorkflowID)
	if at.IsZero() || err != nil && !errors.Is(err, orchestrator.ErrNotFound) {
		return out, err
	}
	// It is here: now it is to be as new as the caller knows it.
	if err := local.Await(ctx, r.WorkflowID, at); err != nil {
		return out, err
	}
	out.View, err = local.Get(ctx, r.WorkflowID)
	return out, err
}

func moving(cause string, err error) error {
	return &orchestrator.Error{Code: orchestrator.CodeMoving, Class: orchestrator.ErrMoving, Cause: cause, Fix: "Ask again in a moment.", Err: err}
}

func invalid(cause string) error {
	return &orchestrator.Error{Code: orchestrator.CodeBadRequest, Class: orchestrator.ErrInvalid, Cause: cause}
}
