package topology

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/statestore"
)

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want class
	}{
		{errors.New("anything"), classRetry},
		{kerr.CoordinatorNotAvailable, classRetry},
		{kerr.InvalidProducerIDMapping, classRetry},
		{kerr.TransactionalIDAuthorizationFailed, classRetry},
		{statestore.ErrFailed, classRetry},
		{changelog.ErrRetry, classRetry},
		{kerr.ProducerFenced, classFenced},
		{kerr.InvalidProducerEpoch, classFenced},
		{statestore.ErrCorrupt, classCorrupt},
		{changelog.ErrTruncated, classCorrupt},
		{statestore.ErrNewerFormat, classHalt},
		{&statestore.IdentityError{}, classHalt},
		{changelog.ErrLost, classHalt},
		{halt("why: %w", kerr.OffsetOutOfRange), classHalt},
		{halt("why: %w", (&recordError{topic: "t", err: kerr.MessageTooLarge}).cause()), classHalt},
		{&recordError{topic: "t", err: kerr.MessageTooLarge}, classRecord},
		{statestore.ErrLocked, classFatal},
		{ErrCrash, classFatal},
		{errStopped, classStopped},
	} {
		if got := classify(fmt.Errorf("wrapped: %w", tc.err)); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}

// TestTaskStates: every legal transition stays within the picture, and no state
// but closed is a dead end that nothing leads out of.
func TestTaskStates(t *testing.T) {
	for from, tos := range legal {
		if from.String() == "invalid" || len(tos) == 0 {
			t.Errorf("%v: %v", from, tos)
		}
		closes := from == TaskClosed
		for _, to := range tos {
			closes = closes || to == TaskClosed
		}
		if !closes {
			t.Errorf("%v cannot be closed", from)
		}
	}
}
