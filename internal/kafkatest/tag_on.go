//go:build synctests

package kafkatest

// tagged says that the Kafka client was built with mutexes that a bubble can
// see through.
const tagged = true
