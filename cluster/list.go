package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/query"
)

// DefaultLimit is the length of a page when the caller does not say, MaxLimit the most it may say.
const (
	DefaultLimit = 100
	MaxLimit     = orchestrator.MaxPage
)

// Query says which instances are meant. The zero value means all but the markers of those whose retention
// has ended.
type Query struct {
	CEL    string // a condition of package query
	Status string // a phase, or "attention"
	Type   string
	Limit  int    // of a page; 0 = DefaultLimit
	Cursor string // Page.Next of the page before
	// Partial accepts a page that lacks tasks which nobody answers for.
	Partial bool
}

// Page is a part of a list, in the order of workflow IDs.
type Page struct {
	Instances []orchestrator.Row `json:"instances"`
	// Next is the cursor of the next page, empty at the end. A page may be short, and even empty, and have one.
	Next string `json:"next,omitempty"`
	// Missing are the tasks that nobody answered for, of a partial page.
	Missing []int32 `json:"missing,omitempty"`
}

// Tally is a number of instances.
type Tally struct {
	N int64 `json:"n"`
	// AtLeast says that there were too many to look at all of them.
	AtLeast bool    `json:"atLeast,omitempty"`
	Missing []int32 `json:"missing,omitempty"`
}

// Census is the number of instances by type, version and status.
type Census struct {
	Rows    []orchestrator.CensusRow `json:"rows"`
	Missing []int32                  `json:"missing,omitempty"`
}

type findRequest struct {
	CEL    string `json:"cel,omitempty"`
	Status string `json:"status,omitempty"`
	Type   string `json:"type,omitempty"`
	Now    int64  `json:"now"` // ms
	After  string `json:"after,omitempty"`
	Limit  int    `json:"limit"`
}

// compile checks a request as well.
func (r findRequest) compile() (*query.Query, error) {
	f := orchestrator.Filter{Status: r.Status, Type: r.Type, Limit: r.Limit}
	if err := f.Check(); err != nil {
		return nil, err
	}
	q, err := query.Compile(r.CEL, time.UnixMilli(r.Now))
	if err != nil {
		return nil, &orchestrator.Error{Code: orchestrator.CodeBadRequest, Class: orchestrator.ErrInvalid, Cause: err.Error(),
			Fix: `A query is a condition such as status == "running" && tags.customer == "c-17".`}
	}
	return q.And(r.Status, r.Type), nil
}

// cursor is what Page.Next holds.
type cursor struct {
	After string `json:"a"`
	Now   int64  `json:"n"`
	Of    string `json:"q"` // of the query that it belongs to
}

func (q Query) mark() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{q.CEL, q.Status, q.Type}, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// request reads the cursor.
func (c *Cluster) request(q Query) (findRequest, error) {
	r := findRequest{CEL: q.CEL, Status: q.Status, Type: q.Type, Limit: q.Limit, Now: c.now().UnixMilli()}
	if r.Limit == 0 {
		r.Limit = DefaultLimit
	}
	if q.Cursor != "" {
		var at cursor
		b, err := base64.RawURLEncoding.DecodeString(q.Cursor)
		if err != nil || len(b) > 2048 || json.Unmarshal(b, &at) != nil {
			return r, invalid("the cursor is not one of ours")
		}
		if at.Of != q.mark() {
			return r, invalid("the cursor belongs to another query")
		}
		r.After, r.Now = at.After, at.Now
	}
	_, err := r.compile()
	return r, err
}

// List asks all owners and merges.
func (c *Cluster) List(ctx context.Context, q Query) (Page, error) {
	req, err := c.request(q)
	if err != nil {
		return Page{}, err
	}
	merged, missing, err := c.find(ctx, req, q.Partial)
	if err != nil {
		return Page{}, err
	}
	page := Page{Instances: merged.Instances, Missing: missing}
	if merged.Next != "" {
		b, err := json.Marshal(cursor{After: merged.Next, Now: req.Now, Of: q.mark()})
		if err != nil {
			return Page{}, err
		}
		page.Next = base64.RawURLEncoding.EncodeToString(b)
	}
	return page, nil
}

func (c *Cluster) find(ctx context.Context, req findRequest, partial bool) (orchestrator.Page, []int32, error) {
	parts, missing, err := gather(ctx, c, opFind, req, func(ctx context.Context) (orchestrator.Part, error) { return answerFind(ctx, c.local, req) },
		func(p orchestrator.Part) []int32 {
			tasks := make([]int32, len(p.Tasks))
			for i, t := range p.Tasks {
				tasks[i] = t.Task
			}
			return tasks
		}, partial)
	if err != nil {
		return orchestrator.Page{}, nil, err
	}
	return orchestrator.MergeParts(req.Limit, parts...), missing, nil
}

// Count asks all owners and adds up. Limit and Cursor do not matter.
func (c *Cluster) Count(ctx context.Context, q Query) (Tally, error) {
	q.Cursor, q.Limit = "", 0
	req, err := c.request(q)
	if err != nil {
		return Tally{}, err
	}
	parts, missing, err := gather(ctx, c, opCount, req, func(ctx context.Context) (orchestrator.Tally, error) { return answerCount(ctx, c.local, req) },
		func(t orchestrator.Tally) []int32 { return t.Tasks }, q.Partial)
	if err != nil {
		return Tally{}, err
	}
	out := Tally{Missing: missing}
	for _, p := range parts {
		out.N, out.AtLeast = out.N+p.N, out.AtLeast || p.AtLeast
	}
	return out, nil
}

// Census asks all owners. It is always partial: what it lacks is in Missing.
func (c *Cluster) Census(ctx context.Context) (Census, error) {
	parts, missing, err := gather(ctx, c, opCensus, struct{}{}, func(context.Context) (orchestrator.Census, error) { return c.local.Census() },
		func(p orchestrator.Census) []int32 { return p.Tasks }, true)
	if err != nil {
		return Census{}, err
	}
	var rows []orchestrator.CensusRow
	for _, p := range parts {
		rows = append(rows, p.Rows...)
	}
	return Census{Rows: orchestrator.MergeCensus(rows), Missing: missing}, nil
}

// CensusWithin is a census that may be so old: pages that show numbers beside something else ask so, and all of
// them together do not ask the other processes more than once in that time.
func (c *Cluster) CensusWithin(ctx context.Context, age time.Duration) (Census, error) {
	last := &c.lastCensus
	last.Lock()
	defer last.Unlock() // who asks meanwhile waits for the answer and shares it
	now := c.now()
	if since := now.Sub(last.at); since >= 0 && since < age {
		return last.census, nil
	}
	census, err := c.Census(ctx)
	if err != nil {
		return Census{}, err
	}
	last.at, last.census = now, census
	return census, nil
}

func answerFind(ctx context.Context, local Local, r findRequest) (orchestrator.Part, error) {
	q, err := r.compile()
	if err != nil {
		return orchestrator.Part{}, err
	}
	return local.Find(ctx, q, r.After, r.Limit)
}

func answerCount(ctx context.Context, local Local, r findRequest) (orchestrator.Tally, error) {
	q, err := r.compile()
	if err != nil {
		return orchestrator.Tally{}, err
	}
	return local.Count(ctx, q)
}

// gather asks this process and, at the same time, every other that owns a task. A task that moved in between
// may be answered for by two, or by none: covers says by whom.
func gather[T any](ctx context.Context, c *Cluster, op string, req any, own func(context.Context) (T, error), covers func(T) []int32, partial bool) (parts []T, missing []int32, err error) {
	routes, err := c.local.Routes(ctx)
	if err != nil {
		return nil, nil, err
	}
	var owners []string
	for _, r := range routes {
		if !r.Here && r.Address != "" {
			owners = append(owners, r.Address)
		}
	}
	slices.Sort(owners)
	owners = slices.Compact(owners)
	parts = make([]T, len(owners)+1)
	errs := make([]error, len(owners)+1)
	var asked sync.WaitGroup
	for i, owner := range owners {
		asked.Go(func() {
			if errs[i] = c.peers.ask(ctx, owner, op, req, &parts[i]); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", owner, errs[i])
			}
		})
	}
	parts[len(owners)], errs[len(owners)] = own(ctx)
	asked.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	have := make([]bool, len(routes))
	for i, p := range parts {
		if errs[i] != nil {
			if errors.Is(errs[i], orchestrator.ErrInvalid) {
				return nil, nil, errs[i]
			}
			continue
		}
		for _, task := range covers(p) {
			if task >= 0 && int(task) < len(have) {
				have[task] = true
			}
		}
	}
	for task, ok := range have {
		if !ok {
			missing = append(missing, int32(task))
		}
	}
	if len(missing) > 0 && !partial {
		failed := errors.Join(errs...)
		c.log.Warn("not every task was answered for", "missing", missing, "err", failed)
		return nil, nil, moving("a part of the instances is changing hands, or its process does not answer", failed)
	}
	answered := parts[:0]
	for i := range errs {
		if errs[i] == nil {
			answered = append(answered, parts[i])
		}
	}
	return answered, missing, nil
}
