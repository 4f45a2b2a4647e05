package orchestrator_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/amendsio/amends/orchestrator"
)

// Processes that publish at the same moment, as those that start together on a new namespace do with its
// level, fence one another. All of them get through.
func TestPublishTogether(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, _ := r.orderSaga()
		r.apply(src)
		r.apply(strings.Replace(src, "version: 1", "version: 2", 1))
		ctx, cancel := r.c.Context()
		defer cancel()
		const processes = 8
		errs := make([]error, processes)
		var wg sync.WaitGroup
		for i := range errs {
			version := uint32(1 + i%2) // so that most of them have something to write
			wg.Go(func() { _, errs[i] = orchestrator.Activate(ctx, r.cfg, "order", version) })
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
	})
}
