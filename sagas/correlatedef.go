package sagas

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// Correlation: an event of a topic of others that knows some value, and not the workflow ID. Its match
// value brings it to whoever waits for that value.

// CorrelateDef lets a participant answer by events of a topic, because it cannot echo a token. The event's
// Match is compared with the saga-key of the command, or with Equals over the command.
type CorrelateDef struct {
	Topic   string
	When    string // expression over the event without its "="; "" = every event
	Match   string // expression over the event
	Equals  string // expression over the command: input is its value, key its saga-key; "" = the saga-key
	Op      string // expression over the event: do, undo or inquire, when one value names several commands; "" = each has its own
	Outcome string // expression over the event: an outcome of the protocol
	Code    string // expression over the event; "" = none
	Effect  string // expression over the event: none, done or unknown; "" = the default of the outcome
	TTL     time.Duration
}

// CorrelatePlan is a compiled CorrelateDef.
type CorrelatePlan struct {
	Name   string // of its route
	Equals *Expr  // nil = the saga-key
}

// Route is one way in which events of a topic come to those who wait for them. Two routes of one name are
// equal, but for group and TTL, whatever definition they come from. It is immutable.
type Route struct {
	Name    string // the topic and a hash of the expressions
	Topic   string
	Group   string        // the saga type whose awaits it serves; "" = replies
	When    *Expr         // over the event; nil = every event
	Match   *Expr         // over the event: the value
	Op      *Expr         // of replies: the operation that is answered; nil = any
	Outcome *Expr         // of replies
	Code    *Expr         // nil = none
	Effect  *Expr         // nil = the default of the outcome
	TTL     time.Duration // how long an early event waits; 0 = not at all
}

// Reply says whether the events of the route are replies of a participant.
func (r *Route) Reply() bool { return r.Outcome != nil }

const (
	// DefaultEventTTL is how long an event waits for an await that has not begun.
	DefaultEventTTL = time.Hour
	// MaxEventTTL bounds it.
	MaxEventTTL = 30 * 24 * time.Hour
	// MaxMatchBytes bounds a match value.
	MaxMatchBytes = 512

	// eventSignalPrefix begins the names of signals that events become. Authors cannot give such a name.
	eventSignalPrefix = "event/"
)

// routeName is the name of the route that reads topic by these expressions.
func routeName(topic string, parts ...string) string {
	return topic + "/" + shortHash(parts...)
}

// eventSignal is the name of the signal that an event with this value becomes. It has the value in it, so
// that awaits of other values do not take it, and later awaits of this one do.
func eventSignal(name, value string) string {
	return eventSignalPrefix + name + "/" + shortHash(value)
}

// shortHash is 16 hexadecimal digits that tell lists of texts apart.
func shortHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p))))
		h.Write([]byte{' '})
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
