package sagatest

import (
	"fmt"
	"time"

	"github.com/amendsio/amends/sagas"
)

// Answer is what a virtual participant does with one delivery of a command it has not answered yet.
// The zero value is an immediate ok.
type Answer struct {
	Outcome    sagas.Outcome   // "" = the operation's success: ok, or the truth for inquire
	Effect     sagas.Certainty // stated beside the outcome; "" = the outcome's default
	Code       string
	Output     []byte // JSON
	RetryAfter time.Duration

	// Executes says that the command takes effect although the outcome does not say so: a
	// failed-retriable or failed-fatal whose effect is unknown, or silence after the work.
	Executes bool
	// Silent keeps the reply back. The work is done or not as Executes says; a later delivery of the
	// same key finds it.
	Silent bool
	// Work is how long the command stays in progress before the rest happens. Meanwhile the
	// participant answers BUSY to others of the key.
	Work time.Duration
}

// OK, Reject and the other constructors name the usual answers.
func OK() Answer { return Answer{Outcome: sagas.OutcomeOK, Executes: true} }

// Reject is the business no: nothing remains and every redelivery hears the same.
func Reject(code string) Answer { return Answer{Outcome: sagas.OutcomeRejected, Code: code} }

// Retriable is a passing failure that left no effect.
func Retriable(code string) Answer {
	return Answer{Outcome: sagas.OutcomeFailedRetriable, Code: code}
}

// Fatal is a failure that no retry cures; executes says whether it took effect all the same.
func Fatal(code string, executes bool) Answer {
	return Answer{Outcome: sagas.OutcomeFailedFatal, Code: code, Executes: executes}
}

// Silent loses the command before any work was done.
func Silent() Answer { return Answer{Silent: true} }

// SilentDone does the work and loses the reply.
func SilentDone() Answer { return Answer{Outcome: sagas.OutcomeOK, Silent: true, Executes: true} }

// Slow is an ok after the work took d.
func Slow(d time.Duration) Answer {
	return Answer{Outcome: sagas.OutcomeOK, Executes: true, Work: d}
}

// ParseAnswer reads the script form of an answer: ok, reject, retriable, fatal, fatal-done,
// fatal-none, silent, silent-done, running, or slow (with the delay of the verb).
func ParseAnswer(s string) (Answer, error) {
	switch s {
	case "ok":
		return OK(), nil
	case "reject":
		return Reject("REFUSED"), nil
	case "retriable":
		return Retriable("UNAVAILABLE"), nil
	case "fatal":
		return Fatal("BROKEN", false), nil
	case "fatal-done":
		return Fatal("BROKEN", true), nil
	case "fatal-none":
		return Answer{Outcome: sagas.OutcomeFailedFatal, Effect: sagas.EffectNone, Code: "BROKEN"}, nil
	case "silent":
		return Silent(), nil
	case "silent-done":
		return SilentDone(), nil
	case "running":
		return Answer{Outcome: sagas.OutcomeRunning}, nil
	}
	return Answer{}, fmt.Errorf("%q is not an answer (ok, reject, retriable, fatal, fatal-done, fatal-none, silent, silent-done, running)", s)
}
