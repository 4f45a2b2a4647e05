package orchestrator

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactionFeature is Kafka's name of the transaction protocol, and transactionFloor the level from
// which each transaction has an epoch of its own (KIP-890). Below it a commit that was delayed in the
// network can end a later transaction: records are then lost or shown although they were aborted.
const (
	transactionFeature = "transaction.version"
	transactionFloor   = 2
)

// checkBrokers refuses a cluster whose transactions do not keep our promises, unless cfg takes the
// risk.
func checkBrokers(ctx context.Context, cl *kgo.Client, cfg Config) error {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "amends", "0"
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return unreachable("ask the brokers for their features", err)
	}
	level := int16(0)
	for _, f := range resp.FinalizedFeatures {
		if f.Name == transactionFeature {
			level = f.MaxVersionLevel
		}
	}
	if level >= transactionFloor {
		return nil
	}
	if cfg.AllowOldTransactions {
		cfg.Logger.Warn("the brokers' transactions are weaker than exactly once: a delayed commit can end a later transaction",
			"feature", transactionFeature, "level", level, "want", transactionFloor)
		return nil
	}
	return &Error{Code: CodeBrokers, Class: ErrConfig,
		Cause: "the brokers run an old transaction protocol, in which a delayed commit can end a later transaction (" + transactionFeature + " is below 2)",
		Fix:   "Use Kafka 4.0 or newer and finalize transaction.version=2, or take the risk with --allow-old-transactions."}
}
