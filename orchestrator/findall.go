package orchestrator

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/topology"
)

// A page is looked for in the stores of all tasks of a process side by side, a slice at a time, where the least
// key may be: what lies behind the end of the page is then hardly looked at. One after the other each store would
// be looked through for a whole page, and all but one part in the number of tasks be thrown away.

// frontier is how far one store was looked through.
type frontier struct {
	task     int32
	view     store
	after    string // the last key that was looked at
	ended    bool   // there is nothing behind it
	spent    bool   // as many as one page may look at
	examined int
	slice    int
}

// Sizes of a slice: what matches, and what is looked at.
const (
	sliceRows     = 16
	sliceRowsMax  = 256
	sliceExamined = 1024
)

// findAll gives at least the first limit + 1 rows of several stores, in order: one more tells that there is more.
// With fewer, TaskPart says how far each store was looked through.
func findAll(ctx context.Context, stores []frontier, q *query.Query, after string, limit int) (Part, error) {
	var rows []Row
	for i := range stores {
		stores[i].after, stores[i].slice = after, max(sliceRows, (limit+1)/max(len(stores), 1))
	}
	bound := "" // the last key of the page, when there are enough rows for one
	for {
		at := -1
		for i := range stores {
			f := &stores[i]
			if f.view == nil || f.ended || f.spent || bound != "" && f.after >= bound {
				continue
			}
			if at < 0 || f.after < stores[at].after {
				at = i
			}
		}
		if at < 0 {
			break
		}
		found, err := stores[at].next(ctx, q)
		switch {
		case errors.Is(err, topology.ErrNotRunning): // the task has moved: it is answered for elsewhere
			task := &stores[at]
			rows = slices.DeleteFunc(rows, func(r Row) bool { return r.task == task.task })
			task.view, bound = nil, ""
			if len(rows) > limit {
				bound = rows[limit].WorkflowID
			}
			continue
		case err != nil:
			return Part{}, err
		}
		if len(found) == 0 {
			continue
		}
		rows = append(rows, found...)
		slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.WorkflowID, b.WorkflowID) })
		if len(rows) > limit {
			rows = rows[:limit+1]
			bound = rows[limit].WorkflowID
		}
	}
	out := Part{Rows: rows}
	for i := range stores {
		f := &stores[i]
		if f.view == nil {
			continue
		}
		upto := f.after
		if f.ended {
			upto = ""
		}
		if bound != "" && (upto == "" || upto > bound) {
			upto = bound // rows behind it were found, and are not here
		}
		out.Tasks = append(out.Tasks, TaskPart{f.task, upto})
	}
	return out, nil
}

// next looks through the next slice.
func (f *frontier) next(ctx context.Context, q *query.Query) (rows []Row, err error) {
	examined, want := 0, f.slice
	f.slice = min(2*f.slice, sliceRowsMax)
	f.ended = true
	err = walk(f.view, q, f.after, func(key, value []byte) bool {
		if len(rows) >= want || examined >= sliceExamined || f.examined+examined >= maxExamined || examined%256 == 255 && ctx.Err() != nil {
			f.ended = false
			return false
		}
		examined++
		f.after = string(key)
		if row, ok := match(q, value); ok {
			row.task = f.task
			rows = append(rows, row)
		}
		return true
	})
	f.examined += examined
	f.spent = f.examined >= maxExamined
	if err == nil {
		err = ctx.Err()
	}
	return rows, err
}
