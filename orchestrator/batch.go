package orchestrator

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/sagas"
)

// Batch is one operator action for all instances that match a query. It is kept in Kafka; the process that owns
// task 0 works on it, and whoever takes that task over goes on. An instance gets the action under a request ID
// that is made from the batch and the workflow ID, so that it takes it once, whoever does it how often.
type Batch struct {
	ID     string `json:"id"`
	State  string `json:"state"` // running, paused, done or cancelled
	Note   string `json:"note,omitempty"`
	CEL    string `json:"query,omitempty"`
	Status string `json:"status,omitempty"`
	Type   string `json:"type,omitempty"`
	Now    int64  `json:"now"` // ms; what the query means by now

	Action   string            `json:"action"`
	Path     string            `json:"path,omitempty"`
	Args     map[string]string `json:"args,omitempty"`
	Operator string            `json:"operator"`
	Reason   string            `json:"reason"`
	Rate     int               `json:"rate"` // instances per second

	Created int64        `json:"created"` // ms
	Updated int64        `json:"updated"`
	By      string       `json:"by,omitempty"` // who changed the state last
	Total   int64        `json:"total"`        // that matched when it was made
	Sent    int64        `json:"sent"`         // instances that the action was written for
	Refused int64        `json:"refused"`      // instances whose state does not allow the action: nothing was written
	Failed  int64        `json:"failed"`
	After   string       `json:"after,omitempty"`  // the last workflow ID that was dealt with
	Errors  []BatchError `json:"errors,omitempty"` // the newest few
}

// BatchError is one instance that was not dealt with.
type BatchError struct {
	WorkflowID string `json:"workflowId"`
	Text       string `json:"text"`
}

// States of batches.
const (
	BatchRunning   = "running"
	BatchPaused    = "paused"
	BatchDone      = "done"
	BatchCancelled = "cancelled"
)

// Limits of batches.
const (
	MaxBatchRate  = 500
	maxBatches    = 200 // that are kept, and how many of them run is up to their rates
	maxBatchNotes = 10
)

// Admin is the action of a batch for one instance.
func (b *Batch) Admin(workflowID string) *protocol.Admin {
	typ, id := sagas.SplitWorkflowID(workflowID)
	return &protocol.Admin{Type: typ, ID: id, RequestID: "batch-" + b.ID, Action: protocol.Action(b.Action), Path: b.Path, Args: b.Args,
		Operator: b.Operator, Reason: b.Reason}
}

// Batches lists the batches, newest first.
func (o *Orchestrator) Batches() []Batch {
	out := o.batches()
	for i := range out {
		out[i] = o.maskBatch(out[i])
	}
	return out
}

func (o *Orchestrator) batches() []Batch {
	out := []Batch{}
	for _, value := range o.desk.under(deskBatch) {
		var b Batch
		if json.Unmarshal(value, &b) == nil {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b Batch) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Batch shows one.
func (o *Orchestrator) Batch(id string) (Batch, error) {
	b, err := o.batch(id)
	return o.maskBatch(b), err
}

// maskBatch masks what its action carries.
func (o *Orchestrator) maskBatch(b Batch) Batch {
	x := o.private(b.Type, 0)
	if b.Type == "" && o.definitions.current.Load().anySecret {
		x = sagas.AllPrivate
	}
	b.Args = maskArgs(x, b.Path, b.Args)
	return b
}

func (o *Orchestrator) batch(id string) (Batch, error) {
	var b Batch
	if !o.desk.get(deskBatch+id, &b) {
		return b, &Error{Code: CodeNotFound, Class: ErrNotFound, Cause: fmt.Sprintf("no batch %q", id)}
	}
	return b, nil
}

// CreateBatch checks a batch and keeps it; ID, State and the counters are filled in here. The same id twice is the
// same batch.
func (o *Orchestrator) CreateBatch(ctx context.Context, b Batch) (Batch, error) {
	b, err := o.createBatch(ctx, b)
	return o.maskBatch(b), err
}

func (o *Orchestrator) createBatch(ctx context.Context, b Batch) (Batch, error) {
	if b.ID == "" {
		b.ID = strings.ToLower(rand.Text()[:12])
	}
	if len(b.ID) > 64 || strings.ContainsAny(b.ID, "/\x00") {
		return b, badBatch("the id of a batch has at most 64 bytes and no slash")
	}
	if old, err := o.batch(b.ID); err == nil {
		return old, nil
	}
	if b.Rate == 0 {
		b.Rate = 50
	}
	switch {
	case b.Rate < 1 || b.Rate > MaxBatchRate:
		return b, badBatch("a rate is between 1 and %d instances per second", MaxBatchRate)
	case b.CEL == "" && b.Status == "" && b.Type == "":
		return b, badBatch("a batch needs a query, a status or a type")
	}
	now := o.cfg.Clock().UnixMilli()
	if b.Now == 0 {
		b.Now = now
	}
	if _, err := b.query(); err != nil {
		return b, err
	}
	if _, err := checkAction(b.Admin("check/check"), o.definitions.current.Load().Level()); err != nil {
		return b, err
	}
	all := o.batches()
	if len(all) >= maxBatches {
		slices.Reverse(all)
		oldest := slices.IndexFunc(all, func(b Batch) bool { return b.State == BatchDone || b.State == BatchCancelled })
		if oldest < 0 {
			return b, &Error{Code: CodeConflict, Class: ErrConflict, Cause: fmt.Sprintf("%d batches are not done yet", len(all))}
		}
		if err := o.desk.put(ctx, o.sender.Load(), deskBatch+all[oldest].ID, nil); err != nil {
			return b, err
		}
	}
	b.State, b.Created, b.Updated, b.By = BatchRunning, now, now, b.Operator
	b.Sent, b.Refused, b.Failed, b.After, b.Errors = 0, 0, 0, "", nil
	return b, o.desk.put(ctx, o.sender.Load(), deskBatch+b.ID, b)
}

func (b *Batch) query() (*query.Query, error) {
	f := Filter{Status: b.Status, Type: b.Type}
	if err := f.Check(); err != nil {
		return nil, err
	}
	q, err := query.Compile(b.CEL, time.UnixMilli(b.Now))
	if err != nil {
		return nil, &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: err.Error()}
	}
	return q.And(b.Status, b.Type), nil
}

// Steer pauses, resumes or cancels a batch, or changes its rate (0 = as it is).
func (o *Orchestrator) Steer(ctx context.Context, id, state string, rate int, by string) (Batch, error) {
	b, err := o.batch(id)
	if err != nil {
		return b, err
	}
	if rate < 0 || rate > MaxBatchRate {
		return b, badBatch("a rate is between 1 and %d instances per second", MaxBatchRate)
	}
	if b.State == BatchDone || b.State == BatchCancelled {
		if state == b.State || state == "" {
			return b, nil
		}
		return b, &Error{Code: CodeConflict, Class: ErrConflict, Cause: "the batch is " + b.State}
	}
	switch state {
	case "":
	case BatchRunning, BatchPaused, BatchCancelled:
		b.State, b.Note = state, ""
	default:
		return b, badBatch("a batch can be %s, %s or %s", BatchRunning, BatchPaused, BatchCancelled)
	}
	if rate > 0 {
		b.Rate = rate
	}
	b.By, b.Updated = by, o.cfg.Clock().UnixMilli()
	return b, o.desk.put(ctx, o.sender.Load(), deskBatch+b.ID, b)
}

// BatchWork is what a batch needs of the whole namespace: the instances after a workflow ID that match, and what
// an action would do to one. Next is empty at the end.
type BatchWork interface {
	Matching(ctx context.Context, b Batch, limit int) (workflowIDs []string, next string, err error)
	WouldRefuse(ctx context.Context, a *protocol.Admin) (reason string, err error)
}

// BatchKeeper is an *Orchestrator, as far as batches go.
type BatchKeeper interface {
	Batches() []Batch
	Batch(id string) (Batch, error)
	CreateBatch(ctx context.Context, b Batch) (Batch, error)
	Steer(ctx context.Context, id, state string, rate int, by string) (Batch, error)
	RunBatches(ctx context.Context, work BatchWork)
}

// RunBatches works on the batches while this process owns task 0, until ctx ends.
func (o *Orchestrator) RunBatches(ctx context.Context, work BatchWork) {
	for {
		o.desk.mu.Lock()
		changed := o.desk.changed
		o.desk.mu.Unlock()
		busy := false
		if w := o.worker.Load(); w != nil {
			if _, mine := w.View(0); mine && !w.Draining() {
				for _, b := range o.batches() {
					if b.State == BatchRunning {
						busy = true
						o.workOn(ctx, work, b)
					}
				}
			}
		}
		if busy {
			changed = nil // the progress that was noted is a change too
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(time.Second):
		}
	}
}

// workOn deals with about a second's worth of a batch and notes how far it came.
func (o *Orchestrator) workOn(ctx context.Context, work BatchWork, b Batch) {
	limit := b.Rate
	ids, next, err := work.Matching(ctx, b, limit)
	if err != nil {
		if !errors.Is(err, ErrMoving) && ctx.Err() == nil {
			o.cfg.Logger.Warn("a batch does not get on", "batch", b.ID, "err", err)
		}
		return
	}
	stopped := false
	for _, wid := range ids {
		if stopped = o.deal(ctx, work, &b, wid); stopped {
			break // the next time it goes on from here
		}
		b.After = wid
	}
	var now Batch
	if !o.desk.get(deskBatch+b.ID, &now) {
		return
	}
	// What a person said meanwhile counts.
	b.State, b.Rate, b.By, b.Note = now.State, now.Rate, now.By, now.Note
	switch {
	case stopped:
	case next != "":
		b.After = next
	case b.State == BatchRunning:
		b.State = BatchDone
	}
	b.Updated = o.cfg.Clock().UnixMilli()
	if err := o.desk.put(ctx, o.sender.Load(), deskBatch+b.ID, b); err != nil && ctx.Err() == nil {
		o.cfg.Logger.Warn("the progress of a batch cannot be noted", "batch", b.ID, "err", err)
	}
}

// deal does what a batch says for one instance. Stopped: not now, because its partition moves.
func (o *Orchestrator) deal(ctx context.Context, work BatchWork, b *Batch, wid string) (stopped bool) {
	a := b.Admin(wid)
	refused, err := work.WouldRefuse(ctx, a)
	if err == nil && refused == "" {
		_, err = o.Act(ctx, a)
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, ErrMoving):
		return true
	case refused != "" || errors.Is(err, ErrNotFound):
		b.Refused++
	case err != nil:
		b.failed(wid, err)
	default:
		b.Sent++
	}
	return false
}

func (b *Batch) failed(wid string, err error) {
	b.Failed++
	b.Errors = append(b.Errors, BatchError{wid, err.Error()})
	if len(b.Errors) > maxBatchNotes {
		b.Errors = b.Errors[len(b.Errors)-maxBatchNotes:]
	}
}
