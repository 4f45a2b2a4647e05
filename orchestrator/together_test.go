package orchestrator_test

import (
	"sync"
	"testing"

	"github.com/amendsio/amends/orchestrator"
)

// Processes that publish at the same moment, as those that start together on a new namespace do with its
// level, fence one another. All of them get through.
func TestPublishTogether(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		src, _ := r.orderSaga()
		published := r.apply(src)
		ctx, cancel := r.c.Context()
		defer cancel()
		const processes = 6
		errs := make([]error, processes)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = orchestrator.Activate(ctx, r.cfg, "order", published[0].Version) })
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
	})
}
