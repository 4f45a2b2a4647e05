// Package bench measures the engine as a whole: closed loops of sagas through one process, a
// participant that answers at once, and Kafka (embedded, or real when KAFKA_SEEDS is set).
//
// Figures are for comparison within one run on one machine. docs/performance.md has the method and
// the figures that were seen.
package bench
