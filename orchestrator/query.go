package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
type Lag = topology.Lag

// GetStale is Get from whatever copy of the instance this process has: that of its task, or that of a
// standby, which may be behind by the lag. Without a copy here it is Get. An instance that is not found
// in a standby may have begun since.
func (o *Orchestrator) GetStale(ctx context.Context, workflowID string) (sagas.View, Lag, error) {
	if w := o.worker.Load(); w != nil {
		if view, lag, ok := w.StaleView(w.TaskOf([]byte(workflowID))); ok {
			v, err := o.read(view, workflowID)
			return v, lag, err
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
	plan := o.definitions.current.Load().plan(inst.DefinitionRef())
	v := inst.View(plan)
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
	w := o.worker.Load()
	if w == nil {
		return Page{}, nil
	}
	var rows []Row
	var covered []int32
	for _, t := range w.Tasks() {
		view, ok := w.View(t.Task)
		if !ok {
			continue
		}
		part, err := listTask(view, f)
		switch {
		case errors.Is(err, topology.ErrNotRunning):
			continue
		case err != nil:
			return Page{}, &Error{Code: CodeInternal, Class: ErrUnreachable, Cause: "the store cannot be read", Err: err}
		}
		rows, covered = append(rows, part...), append(covered, t.Task)
	}
	return MergePages(f.Limit, Page{Instances: rows, Tasks: covered}), nil
}

// MergePages makes one page of what several tasks or processes returned for one filter.
func MergePages(limit int, pages ...Page) Page {
	if limit == 0 {
		limit = 100
	}
	out := Page{}
	rows := []Row{}
	more := false
	for _, p := range pages {
		rows = append(rows, p.Instances...)
		more = more || p.Next != ""
		out.Tasks = append(out.Tasks, p.Tasks...)
	}
	slices.Sort(out.Tasks)
	out.Tasks = slices.Compact(out.Tasks)
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.WorkflowID, b.WorkflowID) })
	// While a partition moves, two processes may both show it.
	rows = slices.CompactFunc(rows, func(a, b Row) bool { return a.WorkflowID == b.WorkflowID })
	out.Instances = rows
	if len(rows) > limit {
		out.Instances, more = rows[:limit], true
	}
	if more && len(out.Instances) > 0 {
		out.Next = out.Instances[len(out.Instances)-1].WorkflowID
	}
	return out
}

// listTask returns up to Limit + 1 rows of one store: one more tells that there is a next page.
func listTask(view topology.View, f Filter) ([]Row, error) {
	var rows []Row
	prefix, after := []byte(nil), []byte(f.Cursor)
	if f.Type != "" {
		prefix = []byte(f.Type + "/")
	}
	add := func(key, value []byte) bool {
		if isPage(key) {
			return true
		}
		s, err := sagas.Summarise(value)
		if err != nil || s.WorkflowID == "" || f.Status == "" && s.Phase == sagas.Marker {
			return true
		}
		if row := rowOf(s); f.Status == "" || row.Status == f.Status || row.Phase == f.Status {
			rows = append(rows, row)
		}
		return len(rows) <= f.Limit
	}
	if f.Status == "" {
		return rows, view.Scan(prefix, after, add)
	}
	attr := attrStatusPrefix + f.Status
	if f.Status == StatusAttention {
		attr = attrAttention
	}
	if bytes.Compare(after, prefix) < 0 {
		after = prefix
	}
	var keys [][]byte
	if err := view.ScanAttr(attr, after, func(key []byte) bool {
		if !bytes.HasPrefix(key, prefix) {
			return bytes.Compare(key, prefix) < 0
		}
		keys = append(keys, bytes.Clone(key))
		return len(keys) <= f.Limit
	}); err != nil {
		return nil, err
	}
	for _, key := range keys {
		value, found, err := view.Get(key)
		if err != nil {
			return nil, err
		}
		if found {
			s, err := sagas.Summarise(value)
			if err == nil {
				rows = append(rows, rowOf(s))
			}
		}
	}
	return rows, nil
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
