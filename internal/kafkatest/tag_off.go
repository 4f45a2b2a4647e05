//go:build !synctests

package kafkatest

const tagged = false
