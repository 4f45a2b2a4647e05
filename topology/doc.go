// Package topology runs processors over Kafka: it shares partitions between
// identical processes, keeps each task's state in a local store whose truth is a
// compacted changelog topic, and ends each round of work in one Kafka
// transaction. It knows nothing of what the records mean.
package topology
