// Package telemetry carries what happens in a namespace to where people look: traces to an OpenTelemetry
// collector, and alerts on instances that need a person to a webhook or a topic. Metrics and logs are
// those of package orchestrator.
//
// Traces (trace.go). A Tracer takes the spans of committed cycles and exports them over OTLP/HTTP. It is
// made only when the standard variables OTEL_EXPORTER_OTLP_* name a collector; without it the engine
// builds no span. A saga may take a week, so no span does: each event is a span of its own, what it sends
// are its children, and an answer links back to the command that it answers. All of one run have one
// trace ID, which is also in the traceparent header of its commands.
//
// Alerts (alert.go, follow.go). Alerts follows the lifecycle topic as a consumer group of its own:
//
//   - Every attention fact that is committed to the topic is delivered at least once: positions are
//     committed after the delivery, and a crash between the two delivers again.
//   - Facts of one saga, step and reason are one alert with a count and some workflow IDs, gathered over a
//     window; one delivery carries all alerts of a window. So ten thousand instances that meet the same
//     fault are one call, not ten thousand.
//   - A receiver that fails is tried again with growing pauses, and nothing is read on meanwhile: memory
//     is bounded, and nothing is lost as long as the topic keeps its records.
//
// Neither spans nor alerts hold a payload, an answer's message or a text of the machine: only names of
// definitions, codes, positions and workflow IDs.
package telemetry
