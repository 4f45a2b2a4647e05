package orchestrator

import (
	"context"

	"github.com/amendsio/amends/query"
	"github.com/amendsio/amends/statestore"
)

// Index is what the stores derive.
var Index = index

// FindIn is what one task finds.
func FindIn(ctx context.Context, s *statestore.Store, q *query.Query, after string, limit int) ([]Row, string, error) {
	return findIn(ctx, s, q, after, limit)
}

// CountIn is what one task counts.
func CountIn(ctx context.Context, s *statestore.Store, q *query.Query) (int64, bool, error) {
	return countIn(ctx, s, q)
}
