package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// Approval is a decision that waits for people.
type Approval struct {
	WorkflowID string           `json:"workflowId"`
	Type       string           `json:"type"`
	Version    uint32           `json:"version"`
	Rev        uint64           `json:"rev"`
	Path       string           `json:"path"`
	Roles      []string         `json:"roles,omitempty"` // who may decide
	Quorum     uint32           `json:"quorum"`          // approvals that are needed
	Votes      []sagas.VoteView `json:"votes,omitempty"`
	Due        sagas.Time       `json:"due,omitempty"` // when it decides itself
	StartedAt  sagas.Time       `json:"startedAt"`     // of the instance
	Tags       []sagas.TagView  `json:"tags,omitempty"`
	Claim      *Claim           `json:"claim,omitempty"`
}

// Claim says who looks after an approval. It is for people: it stops nobody from deciding.
type Claim struct {
	By string `json:"by"`
	At int64  `json:"at"` // ms
}

// Approvals are those of one process.
type Approvals struct {
	Approvals []Approval `json:"approvals"`
	Tasks     []int32    `json:"tasks,omitempty"`
	Partial   bool       `json:"partial,omitempty"` // there were too many instances to look at
}

// maxApprovals bounds what one process answers.
const maxApprovals = 1000

// Approvals lists the decisions that wait for people in the instances of this process. Only instances of
// definitions that ask people are looked at.
func (o *Orchestrator) Approvals(ctx context.Context) (Approvals, error) {
	out := Approvals{Approvals: []Approval{}}
	w := o.worker.Load()
	if w == nil {
		return out, nil
	}
	var types []string
	for ref, l := range o.definitions.current.Load().versions {
		if l.plan != nil && slices.ContainsFunc(l.plan.Steps, func(s sagas.PlanStep) bool { return s.Approve != nil }) {
			types = append(types, ref.typ)
		}
	}
	slices.Sort(types)
	types = slices.Compact(types)
	base, err := query.Compile("active", o.cfg.Clock())
	if err != nil {
		return out, err
	}
	for _, t := range w.Tasks() {
		view, ok := w.View(t.Task)
		if !ok {
			continue
		}
		err := o.approvalsIn(ctx, view, base, types, &out)
		switch {
		case errors.Is(err, topology.ErrNotRunning):
			continue
		case err != nil:
			return Approvals{}, storeError(err)
		}
		out.Tasks = append(out.Tasks, t.Task)
	}
	if !out.Partial {
		o.forgetClaims(ctx, out)
	}
	for i := range out.Approvals {
		a := &out.Approvals[i]
		a.Claim = o.Claimed(a.WorkflowID, a.Path)
	}
	return out, nil
}

func (o *Orchestrator) approvalsIn(ctx context.Context, view topology.View, base *query.Query, types []string, out *Approvals) error {
	examined := 0
	for _, typ := range types {
		err := walk(view, base.And("", typ), "", func(key, value []byte) bool {
			if examined++; examined > maxExamined || len(out.Approvals) >= maxApprovals || ctx.Err() != nil {
				out.Partial = true
				return false
			}
			if s, err := sagas.Summarise(value); err != nil || !s.Phase.Active() {
				return true
			}
			v, err := o.read(view, string(key))
			if err == nil {
				out.Approvals = append(out.Approvals, approvalsOf(v)...)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// approvalsOf are the open ones of an instance.
func approvalsOf(v sagas.View) (out []Approval) {
	for _, s := range v.Steps {
		if s.Node == sagas.NodeApprove.String() && s.State == sagas.StepOpen.String() {
			out = append(out, Approval{WorkflowID: v.WorkflowID, Type: v.Type, Version: v.Version, Rev: v.Rev, Path: s.Path, Roles: s.Roles,
				Quorum: max(s.Quorum, 1), Votes: s.Votes, Due: s.Until, StartedAt: v.StartedAt, Tags: v.Tags})
		}
	}
	return out
}

func claimKey(workflowID, path string) string { return deskClaim + workflowID + "\x00" + path }

// Claimed is who looks after an approval, nil for nobody.
func (o *Orchestrator) Claimed(workflowID, path string) *Claim {
	var c Claim
	if o.desk.get(claimKey(workflowID, path), &c) {
		return &c
	}
	return nil
}

// Claim notes who looks after an approval, or with release that nobody does. The error is of class ErrConflict
// when somebody else does, unless take says to take it over.
func (o *Orchestrator) Claim(ctx context.Context, workflowID, path, by string, take, release bool) error {
	have := o.Claimed(workflowID, path)
	if have != nil && have.By != by && !take {
		return &Error{Code: CodeConflict, Class: ErrConflict, Cause: fmt.Sprintf("%s looks after %s of %s", have.By, path, workflowID), Fix: "Ask them, or take it over."}
	}
	if release {
		return o.desk.put(ctx, o.sender.Load(), claimKey(workflowID, path), nil)
	}
	if have != nil && have.By == by {
		return nil
	}
	return o.desk.put(ctx, o.sender.Load(), claimKey(workflowID, path), Claim{By: by, At: o.cfg.Clock().UnixMilli()})
}

// forgetClaims removes the claims of approvals in these tasks that are not open any more.
func (o *Orchestrator) forgetClaims(ctx context.Context, open Approvals) {
	for rest := range o.desk.under(deskClaim) {
		wid, path, _ := strings.Cut(rest, "\x00")
		if !slices.Contains(open.Tasks, o.TaskOf(wid)) ||
			slices.ContainsFunc(open.Approvals, func(a Approval) bool { return a.WorkflowID == wid && a.Path == path }) {
			continue
		}
		if err := o.desk.put(ctx, o.sender.Load(), deskClaim+rest, nil); err != nil {
			o.cfg.Logger.Debug("an old claim stays", "err", err)
			return
		}
	}
}
