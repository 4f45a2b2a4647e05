package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/protocol"
)

// sendTimeout bounds one write to Kafka.
const sendTimeout = 15 * time.Second

// sendIntake opens a client, lets send write one record to the intake topic, and says in the words of
// the command line what went wrong.
func sendIntake(ctx context.Context, conn *connection, send func(context.Context, *client.Client) error) error {
	cl, err := client.New(client.Config{Namespace: conn.Namespace, Client: conn.kafka(kgo.RecordDeliveryTimeout(sendTimeout))})
	if err != nil {
		return usage("%w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, sendTimeout+time.Second)
	defer cancel()
	err = send(ctx, cl)
	var refused *protocol.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &refused):
		return usage("%w", err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return &orchestrator.Error{Code: orchestrator.CodeTopicMissing, Class: orchestrator.ErrNotFound,
			Cause: fmt.Sprintf("namespace %q has no intake topic", conn.Namespace), Fix: "Check --namespace, or run `amends apply` first."}
	}
	return &orchestrator.Error{Code: orchestrator.CodeUnreachable, Class: orchestrator.ErrUnreachable, Err: err,
		Cause: fmt.Sprintf("cannot write to the intake of namespace %q at %v", conn.Namespace, conn.Brokers), Fix: "Check --brokers."}
}
