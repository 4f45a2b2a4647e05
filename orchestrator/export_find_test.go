package orchestrator

import (
	"context"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/statestore"
)

// Index is what the stores derive.
var Index = index

// FindAll is what the tasks of a process find.
func FindAll(ctx context.Context, stores map[int32]*statestore.Store, q *query.Query, after string, limit int) (Part, error) {
	var list []frontier
	for task, s := range stores {
		list = append(list, frontier{task: task, view: s})
	}
	return findAll(ctx, list, q, after, limit)
}

// CountIn is what one task counts.
func CountIn(ctx context.Context, s *statestore.Store, q *query.Query) (int64, bool, error) {
	return countIn(ctx, s, q)
}
