package topology

import (
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Headers of a record that a built topology has set aside. They are those of a dead letter of the
// engine, so the same tools read both.
const (
	headerErrorTopic     = "__saga.errors.topic"
	headerErrorPartition = "__saga.errors.partition"
	headerErrorOffset    = "__saga.errors.offset"
	headerErrorTimestamp = "__saga.errors.timestamp"
	headerErrorClass     = "__saga.errors.class"
	headerErrorMessage   = "__saga.errors.message"
	headerErrorAttempts  = "__saga.errors.attempts"

	errorMessageMax = 1000
)

// deadLetter is rec as it came, with the reason in headers.
func deadLetter(topic string, rec *Record, err error) *Record {
	add := func(key, value string) Header { return Header{Key: key, Value: []byte(value)} }
	return &Record{
		Topic: topic, Partition: ByKey, Key: rec.Key, Value: rec.Value, Timestamp: rec.Timestamp,
		Headers: append(slices.Clip(rec.Headers),
			add(headerErrorTopic, rec.Topic),
			add(headerErrorPartition, strconv.Itoa(int(rec.Partition))),
			add(headerErrorOffset, strconv.FormatInt(rec.Offset, 10)),
			add(headerErrorTimestamp, strconv.FormatInt(rec.Timestamp.UnixMilli(), 10)),
			add(headerErrorClass, errorClass(err)),
			add(headerErrorMessage, errorMessage(err)),
			add(headerErrorAttempts, "1"),
		),
	}
}

// errorClass is a stable word for why a record was set aside.
func errorClass(err error) string {
	switch {
	case errors.Is(err, ErrDecode):
		return "MALFORMED"
	case errors.Is(err, ErrTooLarge):
		return "TOO_LARGE"
	case errors.Is(err, ErrUndeliverable):
		return "UNDELIVERABLE"
	case errors.Is(err, ErrPanic):
		return "PANIC"
	}
	return "FAILED"
}

// errorMessage is for people. The text of a panic has a stack and perhaps data in it: the log has it.
func errorMessage(err error) string {
	if errors.Is(err, ErrPanic) {
		return ErrPanic.Error()
	}
	text := err.Error()
	if len(text) > errorMessageMax {
		text = text[:errorMessageMax]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return text
}
