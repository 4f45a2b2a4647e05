package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

// MaxPage is the most instances that one List returns.
const MaxPage = 1000

// Row is one instance of a list.
type Row struct {
	WorkflowID string     `json:"workflowId"`
	Type       string     `json:"type"`
	Version    uint32     `json:"version"`
	Run        uint32     `json:"run"`
	Phase      string     `json:"phase"`
	Status     string     `json:"status"`
	StartedAt  sagas.Time `json:"startedAt"`
	UpdatedAt  sagas.Time `json:"updatedAt"`
	Due        sagas.Time `json:"due,omitempty"`
	Rev        uint64     `json:"rev"`

	Tags      []sagas.TagView       `json:"tags,omitempty"`
	Attention []sagas.AttentionView `json:"attention,omitempty"`

	task int32 // whose store it is in
}

// Filter says which instances to list.
type Filter struct {
	Status string // a phase, "attention", or "" for all but markers
	Type   string // "" for all
	Limit  int    // 0 means 100
	Cursor string // the last workflow ID of the page before
}

// Page is a part of a list, in the order of workflow IDs.
type Page struct {
	Instances []Row `json:"instances"`
	// Next is the cursor of the next page, empty at the end.
	Next string `json:"next,omitempty"`
	// Tasks are those whose instances were looked at. While a task moves, nobody may have it.
	Tasks []int32 `json:"tasks,omitempty"`
}

// StatusAttention is the status of an instance that needs a person.
const StatusAttention = "attention"

var statuses = func() []string {
	s := []string{StatusAttention}
	for ph := sagas.Running; ph <= sagas.Mailbox; ph++ {
		s = append(s, ph.String())
	}
	return s
}()

// Check says what is wrong with a filter.
func (f Filter) Check() error {
	switch {
	case f.Status != "" && !slices.Contains(statuses, f.Status):
		return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: fmt.Sprintf("status %q is not one of %s", f.Status, strings.Join(statuses, ", "))}
	case f.Limit < 0 || f.Limit > MaxPage:
		return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: fmt.Sprintf("limit %d is not between 1 and %d", f.Limit, MaxPage)}
	case strings.ContainsAny(f.Type, "/\x00"):
		return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: "type holds a character that no type has"}
	}
	return nil
}

// Get shows one instance. When another process owns it the error is a *MovedError; when nobody does
// for the moment it is of class ErrMoving.
func (o *Orchestrator) Get(ctx context.Context, workflowID string) (sagas.View, error) {
	w := o.worker.Load()
	if w == nil {
		return sagas.View{}, movingError(nil)
	}
	key := []byte(workflowID)
	task := w.TaskOf(key)
	if view, ok := w.View(task); ok {
		return o.read(view, workflowID)
	}
	address, self, err := w.Owner(ctx, task)
	if err != nil || self || address == "" {
		return sagas.View{}, movingError(err) // self: it is being restored here
	}
	return sagas.View{}, &MovedError{Address: address}
}

// Lag is how far a standby is behind the changelog.
type Lag struct {
	topology.Lag
	Copy bool // a standby answered, not the owner
}

// GetStale is Get from whatever copy of the instance this process has: that of its task, or that of a
// standby, which may be behind by the lag. Without a copy here it is Get. An instance that is not found
// in a standby may have begun since.
func (o *Orchestrator) GetStale(ctx context.Context, workflowID string) (sagas.View, Lag, error) {
	if w := o.worker.Load(); w != nil {
		if view, lag, ok := w.StaleView(w.TaskOf([]byte(workflowID))); ok {
			v, err := o.read(view, workflowID)
			return v, Lag{lag, true}, err
		}
	}
	v, err := o.Get(ctx, workflowID)
	return v, Lag{}, err
}

// read shows one instance of a store.
func (o *Orchestrator) read(view topology.View, workflowID string) (sagas.View, error) {
	inst, err := readWhole(view, workflowID)
	switch {
	case errors.Is(err, topology.ErrNotRunning):
		return sagas.View{}, movingError(err)
	case errors.Is(err, sagas.ErrCorrupt), errors.Is(err, sagas.ErrNewerFormat):
		return sagas.View{}, &Error{Code: CodeInternal, Class: ErrUnreachable, Cause: "the stored instance cannot be read", Err: err}
	case err != nil:
		return sagas.View{}, &Error{Code: CodeInternal, Class: ErrUnreachable, Cause: "the store cannot be read", Err: err}
	case inst == nil:
		return sagas.View{}, &Error{Code: CodeNotFound, Class: ErrNotFound, Cause: fmt.Sprintf("no instance %q", workflowID)}
	}
	known := o.definitions.current.Load()
	plan := known.plan(inst.DefinitionRef())
	private := plan.Private()
	if plan == nil {
		private = known.private(inst.Type, 0)
	}
	v := private.View(inst, inst.View(plan))
	if w := o.worker.Load(); w != nil {
		v.Waiting = waiting(inst.Waiting(plan), w.Destinations())
	}
	return v, nil
}

func movingError(err error) error {
	return &Error{Code: CodeMoving, Class: ErrMoving, Cause: "the partition of the instance is changing hands", Fix: "Ask again in a moment.", Err: err}
}

// List returns the instances that this process owns. Other processes own others: see Owners.
func (o *Orchestrator) List(f Filter) (Page, error) {
	if err := f.Check(); err != nil {
		return Page{}, err
	}
	if f.Limit == 0 {
		f.Limit = 100
	}
	q, err := query.Compile("", time.Time{})
	if err != nil {
		return Page{}, err
	}
	part, err := o.Find(context.Background(), q.And(f.Status, f.Type), f.Cursor, f.Limit)
	if err != nil {
		return Page{}, err
	}
	return MergeParts(f.Limit, part), nil
}

// MergePages makes one page of what several tasks or processes returned for one filter.
func MergePages(limit int, pages ...Page) Page {
	parts := make([]Part, len(pages))
	for i, p := range pages {
		parts[i].Rows = p.Instances
		for _, task := range p.Tasks {
			parts[i].Tasks = append(parts[i].Tasks, TaskPart{Task: task, Upto: p.Next})
		}
	}
	return MergeParts(limit, parts...)
}

// MergeParts makes one page of what several processes found for one query. What is behind the place where
// one of them stopped is left for the next page, so that no page ever leaves out what belongs before its end.
func MergeParts(limit int, parts ...Part) Page {
	if limit == 0 {
		limit = 100
	}
	out := Page{}
	rows := []Row{}
	bound := ""
	for _, p := range parts {
		rows = append(rows, p.Rows...)
		for _, t := range p.Tasks {
			out.Tasks = append(out.Tasks, t.Task)
			if t.Upto != "" && (bound == "" || t.Upto < bound) {
				bound = t.Upto
			}
		}
	}
	slices.Sort(out.Tasks)
	out.Tasks = slices.Compact(out.Tasks)
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.WorkflowID, b.WorkflowID) })
	// While a partition moves, two processes may both show it.
	rows = slices.CompactFunc(rows, func(a, b Row) bool { return a.WorkflowID == b.WorkflowID })
	if bound != "" {
		if i := slices.IndexFunc(rows, func(r Row) bool { return r.WorkflowID > bound }); i >= 0 {
			rows = rows[:i]
		}
	}
	out.Instances, out.Next = rows, bound
	if len(rows) > limit {
		out.Instances = rows[:limit]
		out.Next = rows[limit-1].WorkflowID
	}
	return out
}

func rowOf(s sagas.Summary) Row {
	r := Row{WorkflowID: s.WorkflowID, Type: s.Type, Version: s.Version, Run: s.Run, Phase: s.Phase.String(),
		StartedAt: s.StartedAt, UpdatedAt: s.UpdatedAt, Due: s.Due, Rev: s.Rev}
	r.Status = r.Phase
	if s.Attention && s.Phase.Active() {
		r.Status = StatusAttention
	}
	return r
}

// Complete says whether the page holds every task of the namespace.
func (o *Orchestrator) Complete(p Page) bool {
	return o.worker.Load() != nil && len(p.Tasks) == int(o.layout.tasks)
}

// Owners are the API addresses of the other processes that own tasks. The error is of class ErrMoving
// when a task has no owner that can be asked, so that a list would not be complete.
func (o *Orchestrator) Owners(ctx context.Context) ([]string, error) {
	w := o.worker.Load()
	if w == nil {
		return nil, movingError(nil)
	}
	var addresses []string
	for task := range o.layout.tasks {
		if _, here := w.View(task); here {
			continue
		}
		address, self, err := w.Owner(ctx, task)
		if err != nil || self || address == "" {
			return nil, movingError(err)
		}
		addresses = append(addresses, address)
	}
	slices.Sort(addresses)
	return slices.Compact(addresses), nil
}

// DefinitionInfo is one published version.
type DefinitionInfo struct {
	Type    string `json:"type"`
	Version uint32 `json:"version"`
	Digest  string `json:"digest"`
	Active  bool   `json:"active"`
	// Fault says why this process does not use the version. Empty normally.
	Fault string   `json:"fault,omitempty"`
	Steps []string `json:"steps,omitempty"`
}

// Definitions lists what is published, by type and version.
func (o *Orchestrator) Definitions() []DefinitionInfo {
	known := o.definitions.current.Load()
	out := make([]DefinitionInfo, 0, len(known.versions))
	for ref, l := range known.versions {
		d := DefinitionInfo{Type: ref.typ, Version: ref.version, Digest: l.digest.String(), Active: known.active[ref.typ] == ref.version, Fault: l.fault}
		if l.plan != nil {
			for i := range l.plan.Steps {
				d.Steps = append(d.Steps, l.plan.Steps[i].Path)
			}
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b DefinitionInfo) int {
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		return int(a.Version) - int(b.Version)
	})
	return out
}
