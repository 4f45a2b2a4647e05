package participant

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/amendsio/amends/protocol"
)

// Codes that the kit itself puts into replies.
const (
	CodeSuppressed     = "SUPPRESSED"      // rejected: the undo came before the do
	CodeExpired        = "EXPIRED"         // failed-retriable: the do came after its deadline
	CodeBusy           = "BUSY"            // failed-retriable: the do is still running
	CodeKeyReused      = "KEY_REUSED"      // failed-fatal: same key, another payload
	CodeBadCommand     = "BAD_COMMAND"     // failed-fatal: the command cannot be read
	CodeUnknownCommand = "UNKNOWN_COMMAND" // failed-fatal: no handler of this name
	CodeBadOutput      = "BAD_OUTPUT"      // failed-fatal: the handler's output is not a JSON object, or too large
	CodeUndoRefused    = "UNDO_REFUSED"    // failed-fatal: an undo handler returned Reject
	CodeKeyWindow      = "KEY_WINDOW"      // failed-fatal: a started call is too old to be repeated
	CodeInterrupted    = "INTERRUPTED"     // stored for a do that never ended and was undone
	CodeHandlerError   = "HANDLER_ERROR"   // failed-retriable: the handler returned another error
	CodeTimeout        = "TIMEOUT"         // failed-retriable: the handler ran out of time
	CodePanic          = "PANIC"           // failed-retriable: the handler panicked
	CodeInbox          = "INBOX"           // failed-retriable: the inbox is not available
	CodeNotExecuted    = "NOT_EXECUTED"    // stored for a do that an inquire handler denied
	CodeUndone         = "UNDONE"          // not-executed: the do was executed and undone since
)

// Failure is an answer other than ok. Handlers make it with Reject, Retry or Fatal.
type Failure struct {
	Outcome    protocol.Outcome // rejected, failed-retriable or failed-fatal
	Effect     protocol.Effect  // "" = the default of the outcome
	Code       string
	Message    string
	RetryAfter time.Duration
}

func (f *Failure) Error() string {
	s := string(f.Outcome)
	if f.Code != "" {
		s += " " + f.Code
	}
	if f.Message != "" {
		s += ": " + f.Message
	}
	return s
}

// Reject is a business no: nothing remains, and every redelivery hears the same. What the handler
// wrote is undone.
func Reject(code, message string) error {
	return &Failure{Outcome: protocol.OutcomeRejected, Code: code, Message: message}
}

// Retry asks for the same command again, after a pause if after is positive. What the handler wrote
// is undone; nothing is remembered.
func Retry(code string, after time.Duration) error {
	return &Failure{Outcome: protocol.OutcomeFailedRetriable, Code: code, RetryAfter: after}
}

// Fatal says that a retry is useless. State effect none only when it is certain that nothing
// remains; "" is unknown. What the handler wrote through its Tx is undone.
func Fatal(code string, effect protocol.Effect) error {
	return &Failure{Outcome: protocol.OutcomeFailedFatal, Effect: effect, Code: code}
}

var (
	// ErrNoop is returned by an undo handler that found nothing to undo.
	ErrNoop = errors.New("nothing to undo")
	// ErrNotExecuted is returned by an inquire handler: the do did not and will not take effect.
	ErrNotExecuted = errors.New("not executed")
	// ErrRunning is returned by an inquire handler: it is not decided yet.
	ErrRunning = errors.New("still running")

	// ErrBusy is returned by an Inbox whose row is held by a transaction that has not ended.
	ErrBusy = errors.New("row is in use")
	// ErrTxClosed is returned by a Tx after its handler returned.
	ErrTxClosed = errors.New("the handler has returned, its transaction is over")
	// ErrTooLarge is returned by a Tx for a key or value over the limit.
	ErrTooLarge = errors.New("too large")
)

// tidy makes a failure fit for headers.
func (f *Failure) tidy() Failure {
	t := *f
	t.Code = fit(t.Code, protocol.MaxCode)
	t.Message = fit(t.Message, protocol.MaxMessage)
	switch t.Outcome {
	case protocol.OutcomeRejected, protocol.OutcomeFailedRetriable:
		t.Effect = ""
	case protocol.OutcomeFailedFatal:
		if !t.Effect.Valid() {
			t.Effect = protocol.EffectUnknown
		}
	default:
		t = Failure{Outcome: protocol.OutcomeFailedRetriable, Code: CodeHandlerError, Message: fmt.Sprintf("the handler answered %q", t.Outcome)}
	}
	return t
}

func fit(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
