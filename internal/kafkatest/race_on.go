//go:build race

package kafkatest

// raced says that the race detector is on.
const raced = true
