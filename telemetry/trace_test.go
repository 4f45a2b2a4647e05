package telemetry

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/amendsio/amends/orchestrator"
)

const producers = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// someSpans are a start that sends a command, and the answer to it a week later.
func someSpans() []orchestrator.Span {
	at := time.Unix(1_000_000, 0)
	run := [16]byte{1, 2, 3}
	command := [8]byte{9}
	return []orchestrator.Span{
		{TraceID: run, ID: [8]byte{1}, Start: at, End: at.Add(time.Millisecond), Topic: "ns.saga.intake", Partition: 2, Offset: 7, Group: "ns.saga.engine",
			WorkflowID: "order/1", Type: "order@1", Event: "start", Links: []string{producers, "not a trace", ""}},
		{Send: true, TraceID: run, ID: command, Parent: [8]byte{1}, Start: at, End: at.Add(time.Millisecond), Topic: "cmd.psp", Partition: -1, Offset: -1,
			WorkflowID: "order/1", Type: "order@1", Step: "auth", Event: "do", Command: "authorise", Attempt: 1},
		{TraceID: run, ID: [8]byte{2}, Start: at.Add(7 * 24 * time.Hour), End: at.Add(7*24*time.Hour + time.Millisecond), Topic: "ns.saga.replies", Partition: 2, Offset: 0,
			WorkflowID: "order/1", Type: "order@1", Step: "auth", Event: "reply", Outcome: "ok", Attempt: 1,
			Links: []string{"00-" + hex.EncodeToString(run[:]) + "-" + hex.EncodeToString(command[:]) + "-01"}},
	}
}

func exported(t *testing.T, list []orchestrator.Span) tracetest.SpanStubs {
	t.Helper()
	memory := tracetest.NewInMemoryExporter()
	tr, err := newTracer(t.Context(), sdktrace.WithSyncer(memory), "ns", "node-1", "v1")
	if err != nil {
		t.Fatal(err)
	}
	tr.Spans(list)
	stubs := memory.GetSpans()
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return stubs
}

func TestSpans(t *testing.T) {
	stubs := exported(t, someSpans())
	if len(stubs) != 3 {
		t.Fatalf("%d spans", len(stubs))
	}
	start, send, reply := stubs[0], stubs[1], stubs[2]
	for i, s := range stubs {
		if s.SpanContext.TraceID() != [16]byte{1, 2, 3} {
			t.Errorf("span %d has trace %s", i, s.SpanContext.TraceID())
		}
		if d := s.EndTime.Sub(s.StartTime); d != time.Millisecond {
			t.Errorf("span %d lasts %v", i, d)
		}
	}
	if start.Name != "process ns.saga.intake" || start.Parent.IsValid() || len(start.Links) != 1 || start.Links[0].SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("start: %+v", start)
	}
	if send.Name != "send cmd.psp" || send.Parent.SpanID() != [8]byte{1} || send.SpanContext.SpanID() != [8]byte{9} {
		t.Errorf("command: %+v", send)
	}
	if reply.Name != "process ns.saga.replies" || reply.Parent.IsValid() || len(reply.Links) != 1 || reply.Links[0].SpanContext.SpanID() != [8]byte{9} {
		t.Errorf("reply: %+v", reply)
	}
	have := fmt.Sprint(start.Attributes, send.Attributes, reply.Attributes)
	for _, want := range []string{"messaging.system", "messaging.operation.type", "process", "messaging.destination.name", "messaging.destination.partition.id", "messaging.consumer.group.name",
		"messaging.kafka.offset", "saga.id", "order/1", "saga.type", "saga.step", "saga.outcome", "saga.attempt", "authorise"} {
		if !strings.Contains(have, want) {
			t.Errorf("no attribute has %q: %s", want, have)
		}
	}
	if about := start.Resource.String(); !strings.Contains(about, "service.name=amends") || !strings.Contains(about, "service.namespace=ns") {
		t.Errorf("resource %s", about)
	}
}

// TestSampling: what an event sent is sampled with it.
func TestSampling(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	if stubs := exported(t, someSpans()); len(stubs) != 0 {
		t.Errorf("%d spans, want none", len(stubs))
	}
}

func TestWanted(t *testing.T) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER"} {
		t.Setenv(name, "")
	}
	if Wanted() {
		t.Error("wanted by nobody")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
	if !Wanted() {
		t.Error("an endpoint does not ask for traces")
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if Wanted() {
		t.Error("a disabled SDK makes traces")
	}
}

func TestTraceparent(t *testing.T) {
	for in, ok := range map[string]bool{
		producers: true, "": false, "00-x-y-01": false, "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01":      false,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more": false,
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more": true,
		"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01":      false,
	} {
		if _, got := parseTraceparent(in); got != ok {
			t.Errorf("%q: %v", in, got)
		}
	}
}
