package orchestrator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/orchestrator"
)

// TestOldTransactions: a cluster that does not report transaction.version 2 is refused, with the way
// out in the error, and taken when the configuration says so.
func TestOldTransactions(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.c.Kfake().ControlKey(int16(kmsg.ApiVersions), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			r.c.Kfake().KeepControl()
			req := kreq.(*kmsg.ApiVersionsRequest)
			if req.ClientSoftwareName != "amends" {
				return nil, nil, false
			}
			return req.ResponseKind(), nil, true // no features at all
		})
		ctx, cancel := r.c.Context()
		defer cancel()
		o, err := orchestrator.New(r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = o.Run(ctx)
		var known *orchestrator.Error
		if !errors.As(err, &known) || known.Code != orchestrator.CodeBrokers || !errors.Is(err, orchestrator.ErrConfig) {
			t.Fatalf("run: %v", err)
		}
		if !strings.Contains(err.Error(), "transaction.version") || !strings.Contains(known.Fix, "--allow-old-transactions") {
			t.Errorf("the error does not help: %v", err)
		}

		r.cfg.AllowOldTransactions = true
		r.running()
	})
}
