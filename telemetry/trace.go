package telemetry

import (
	"context"
	"encoding/hex"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/amendsio/amends/orchestrator"
)

// Tracer exports spans. Its queue is bounded: while a collector does not keep up, spans are dropped, and
// the engine never waits. Sampling, batching, the resource and the collector are set by the standard
// OTEL_* variables.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// Wanted says whether the environment asks for traces.
func Wanted() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || strings.EqualFold(os.Getenv("OTEL_TRACES_EXPORTER"), "none") {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// NewTracer makes a Tracer that exports over OTLP/HTTP to what the environment names. namespace and node
// describe this process; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES stand above them. It does not
// wait for the collector. Close it.
func NewTracer(ctx context.Context, namespace, node, version string) (*Tracer, error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	return newTracer(ctx, sdktrace.WithBatcher(exporter), namespace, node, version)
}

func newTracer(ctx context.Context, how sdktrace.TracerProviderOption, namespace, node, version string) (*Tracer, error) {
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "amends"), attribute.String("service.version", version),
		attribute.String("service.namespace", namespace), attribute.String("service.instance.id", node),
	), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, err
	}
	p := sdktrace.NewTracerProvider(how, sdktrace.WithResource(about), sdktrace.WithIDGenerator(given{}))
	return &Tracer{provider: p, tracer: p.Tracer("github.com/amendsio/amends")}, nil
}

// Close exports what is left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// ids are those that the next span must have: they are in headers that are already sent.
type ids struct {
	trace trace.TraceID
	span  trace.SpanID
}

type idsKey struct{}

// given is an ID generator that takes the ids of the context.
type given struct{}

func (given) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	i, _ := ctx.Value(idsKey{}).(ids)
	return i.trace, i.span
}

func (given) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	i, _ := ctx.Value(idsKey{}).(ids)
	return i.span
}

// Spans exports the spans of a committed cycle: it is a Config.Tracer.
func (t *Tracer) Spans(list []orchestrator.Span) {
	var event trace.SpanContext // the one before: what it sent follows it
	for i := range list {
		if c := t.span(&list[i], event); !list[i].Send {
			event = c
		}
	}
}

func (t *Tracer) span(s *orchestrator.Span, event trace.SpanContext) trace.SpanContext {
	ctx := context.WithValue(context.Background(), idsKey{}, ids{s.TraceID, s.ID})
	kind, operation, name := trace.SpanKindConsumer, "process", "process "+s.Topic
	switch {
	case s.Send:
		kind, operation, name = trace.SpanKindProducer, "send", "send "+s.Topic
	case s.Topic == "":
		kind, name = trace.SpanKindInternal, "process "+s.Event
	}
	if event.SpanID() == trace.SpanID(s.Parent) && s.Parent != [8]byte{} {
		ctx = trace.ContextWithSpanContext(ctx, event) // sampled with it, or not at all
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithTimestamp(s.Start), trace.WithAttributes(attributes(s, operation)...)}
	if links := linksOf(s.Links); len(links) > 0 {
		opts = append(opts, trace.WithLinks(links...))
	}
	_, span := t.tracer.Start(ctx, name, opts...)
	span.End(trace.WithTimestamp(s.End))
	return span.SpanContext()
}

// attributes are those of the messaging conventions, and where the record belongs.
func attributes(s *orchestrator.Span, operation string) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, 14)
	text := func(key, value string) {
		if value != "" {
			out = append(out, attribute.String(key, value))
		}
	}
	if s.Topic != "" {
		text("messaging.system", "kafka")
		text("messaging.operation.type", operation)
		text("messaging.operation.name", operation)
		text("messaging.destination.name", s.Topic)
		text("messaging.consumer.group.name", s.Group)
		if s.Partition >= 0 {
			text("messaging.destination.partition.id", strconv.Itoa(int(s.Partition)))
		}
		if s.Offset >= 0 {
			out = append(out, attribute.Int64("messaging.kafka.offset", s.Offset))
		}
	}
	text("saga.id", s.WorkflowID)
	text("saga.type", s.Type)
	text("saga.step", s.Step)
	text("saga.event", s.Event)
	text("saga.command", s.Command)
	text("saga.outcome", s.Outcome)
	text("saga.phase", s.Phase)
	if s.Attempt > 0 {
		out = append(out, attribute.Int64("saga.attempt", int64(s.Attempt)))
	}
	return out
}

// linksOf reads traceparents. What is none is left out: producers write what they like.
func linksOf(parents []string) (links []trace.Link) {
	for _, p := range parents {
		if c, ok := parseTraceparent(p); ok {
			links = append(links, trace.Link{SpanContext: c})
		}
	}
	return links
}

// parseTraceparent reads version-trace-span-flags of W3C trace context.
func parseTraceparent(s string) (trace.SpanContext, bool) {
	parts := strings.Split(s, "-")
	if len(parts) < 4 || len(parts[0]) != 2 || parts[0] == "ff" || len(parts[1]) != 32 || len(parts[2]) != 16 || len(parts[3]) != 2 || parts[0] == "00" && len(parts) != 4 {
		return trace.SpanContext{}, false
	}
	var traceID trace.TraceID
	var spanID trace.SpanID
	var flags [1]byte
	if _, err := hex.Decode(traceID[:], []byte(parts[1])); err != nil {
		return trace.SpanContext{}, false
	}
	if _, err := hex.Decode(spanID[:], []byte(parts[2])); err != nil {
		return trace.SpanContext{}, false
	}
	if _, err := hex.Decode(flags[:], []byte(parts[3])); err != nil {
		return trace.SpanContext{}, false
	}
	c := trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true})
	return c, c.IsValid()
}
