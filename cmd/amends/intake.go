package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// sendTimeout bounds one write to Kafka.
const sendTimeout = 15 * time.Second

// sendIntake writes one JSON record to the intake topic: what any producer in any language can do.
func sendIntake(ctx context.Context, conn connection, key string, body any) error {
	topics, err := protocol.NewTopics(conn.Namespace)
	if err != nil {
		return usage("--namespace: %w", err)
	}
	value, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if len(value) > protocol.MaxRecordBytes {
		return usage("the input is larger than %d bytes", protocol.MaxRecordBytes)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(conn.Brokers...), kgo.ClientID("amends/cli"), kgo.RecordDeliveryTimeout(sendTimeout))
	if err != nil {
		return usage("%w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, sendTimeout+time.Second)
	defer cancel()
	rec := &kgo.Record{Topic: topics.Intake, Value: value,
		Headers: []kgo.RecordHeader{{Key: protocol.HeaderContentType, Value: []byte(protocol.ContentJSON)}}}
	if key != "" {
		rec.Key = []byte(key)
	}
	err = cl.ProduceSync(ctx, rec).FirstErr()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return &orchestrator.Error{Code: orchestrator.CodeTopicMissing, Class: orchestrator.ErrNotFound,
			Cause: fmt.Sprintf("namespace %q has no topic %s", conn.Namespace, topics.Intake), Fix: "Check --namespace, or run `amends apply` first."}
	case errors.Is(err, context.Canceled):
		return err
	}
	return &orchestrator.Error{Code: orchestrator.CodeUnreachable, Class: orchestrator.ErrUnreachable, Err: err,
		Cause: fmt.Sprintf("cannot write to %s at %v", topics.Intake, conn.Brokers), Fix: "Check --brokers."}
}
