package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/amendsio/amends/explain"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Desk answers what people need to operate a namespace. Errors are those of Reader.
type Desk interface {
	Reader
	// Preview says what a *protocol.Admin, *Signal, *Cancel or *Start would do now. Nothing is written.
	Preview(ctx context.Context, msg any) (orchestrator.Preview, error)
	// Explain says why an instance does not move.
	Explain(ctx context.Context, workflowID string) (explain.Explanation, error)
	// Approvals are the decisions that wait for people, the most urgent first.
	Approvals(ctx context.Context, partial bool) (Approvals, error)
	// History is the lifecycle of an instance, from the facts after a number.
	History(ctx context.Context, workflowID string, after uint64) (orchestrator.History, error)
	// Messages are the records that an instance received and sent.
	Messages(ctx context.Context, workflowID string) (orchestrator.Messages, error)
	// PreviewBatch counts what a batch would mean and previews it for the first few instances.
	PreviewBatch(ctx context.Context, b orchestrator.Batch) (BatchPreview, error)
}

// Approvals are the decisions that wait for people.
type Approvals struct {
	Approvals []orchestrator.Approval `json:"approvals"`
	Partial   bool                    `json:"partial,omitempty"` // there are more than were looked at
	Missing   []int32                 `json:"missing,omitempty"`
}

// BatchPreview is what a batch would mean.
type BatchPreview struct {
	Count    Tally                  `json:"count"`
	Previews []orchestrator.Preview `json:"previews"`
}

// previewed is the number of instances that a preview of a batch looks at.
const previewed = 10

// Preview asks the owner.
func (c *Cluster) Preview(ctx context.Context, msg any) (orchestrator.Preview, error) {
	p, err := c.local.Propose(msg)
	if err != nil {
		return orchestrator.Preview{}, err
	}
	out, err := c.local.Preview(ctx, p)
	var moved *orchestrator.MovedError
	if !errors.As(err, &moved) {
		return out, err
	}
	if err = c.peers.ask(ctx, moved.Address, opPreview, p, &out); errors.Is(err, errSilent) {
		err = moving("the owner of the instance does not answer", err)
	}
	return out, err
}

// Explain asks the owner.
func (c *Cluster) Explain(ctx context.Context, workflowID string) (explain.Explanation, error) {
	out, err := c.local.Explain(ctx, workflowID)
	var moved *orchestrator.MovedError
	if !errors.As(err, &moved) {
		return out, err
	}
	if err = c.peers.ask(ctx, moved.Address, opExplain, getRequest{WorkflowID: workflowID}, &out); errors.Is(err, errSilent) {
		err = moving("the owner of the instance does not answer", err)
	}
	return out, err
}

// Approvals asks all owners.
func (c *Cluster) Approvals(ctx context.Context, partial bool) (Approvals, error) {
	parts, missing, err := gather(ctx, c, opApprovals, struct{}{}, c.local.Approvals,
		func(p orchestrator.Approvals) []int32 { return p.Tasks }, partial)
	if err != nil {
		return Approvals{}, err
	}
	out := Approvals{Approvals: []orchestrator.Approval{}, Missing: missing}
	for _, p := range parts {
		out.Approvals, out.Partial = append(out.Approvals, p.Approvals...), out.Partial || p.Partial
	}
	slices.SortFunc(out.Approvals, func(a, b orchestrator.Approval) int {
		if (a.Due == 0) != (b.Due == 0) { // what has no end comes last
			return cmp.Compare(b.Due, a.Due)
		}
		return cmp.Or(cmp.Compare(a.Due, b.Due), strings.Compare(a.WorkflowID, b.WorkflowID), strings.Compare(a.Path, b.Path))
	})
	out.Approvals = slices.CompactFunc(out.Approvals, func(a, b orchestrator.Approval) bool { return a.WorkflowID == b.WorkflowID && a.Path == b.Path })
	return out, nil
}

// History looks at the instance first, to know what part of the log is about it.
func (c *Cluster) History(ctx context.Context, workflowID string, after uint64) (orchestrator.History, error) {
	v, err := c.viewOf(ctx, workflowID)
	if err != nil {
		return orchestrator.History{}, err
	}
	return c.local.History(ctx, workflowID, v, after)
}

// Messages looks at the instance first, as History does.
func (c *Cluster) Messages(ctx context.Context, workflowID string) (orchestrator.Messages, error) {
	v, err := c.viewOf(ctx, workflowID)
	if err != nil {
		return orchestrator.Messages{}, err
	}
	return c.local.Messages(ctx, workflowID, v)
}

func (c *Cluster) viewOf(ctx context.Context, workflowID string) (sagas.View, error) {
	inst, err := c.Get(ctx, workflowID, How{})
	return inst.View, err
}

// PreviewBatch counts and previews.
func (c *Cluster) PreviewBatch(ctx context.Context, b orchestrator.Batch) (BatchPreview, error) {
	q := Query{CEL: b.CEL, Status: b.Status, Type: b.Type, Limit: previewed}
	count, err := c.Count(ctx, q)
	if err != nil {
		return BatchPreview{}, err
	}
	page, err := c.List(ctx, q)
	if err != nil {
		return BatchPreview{}, err
	}
	out := BatchPreview{Count: count, Previews: []orchestrator.Preview{}}
	for _, row := range page.Instances {
		p, err := c.Preview(ctx, b.Admin(row.WorkflowID))
		switch {
		case errors.Is(err, orchestrator.ErrNotFound):
			continue
		case err != nil:
			return BatchPreview{}, err
		}
		out.Previews = append(out.Previews, p)
	}
	return out, nil
}

// Matching is the work of a batch: see orchestrator.BatchWork.
func (c *Cluster) Matching(ctx context.Context, b orchestrator.Batch, limit int) (workflowIDs []string, next string, err error) {
	r := findRequest{CEL: b.CEL, Status: b.Status, Type: b.Type, Now: b.Now, After: b.After, Limit: limit}
	page, _, err := c.find(ctx, r, false)
	if err != nil {
		return nil, "", err
	}
	for _, row := range page.Instances {
		workflowIDs = append(workflowIDs, row.WorkflowID)
	}
	return workflowIDs, page.Next, nil
}

// WouldRefuse is the work of a batch: see orchestrator.BatchWork.
func (c *Cluster) WouldRefuse(ctx context.Context, a *protocol.Admin) (reason string, err error) {
	p, err := c.Preview(ctx, a)
	return p.Refused, err
}
