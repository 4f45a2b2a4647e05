//go:build !race

package kafkatest

const raced = false
