package protocol

import (
	"fmt"
	"strconv"
)

// Topics are the names of one namespace's own topics.
type Topics struct {
	Intake    string // starts, signals, cancels
	Replies   string // replies of participants
	Control   string // operator actions, and what instances tell one another; operators and the orchestrator only
	Lifecycle string // facts about instances
	State     string // compacted changelog; its partitions are the tasks
	Defs      string // compacted definitions
	Members   string // compacted membership
	DLQ       string // dead letters

	Correlation      string // who waits for which value, and the events that have one; there when a definition needs it
	CorrelationState string // compacted changelog of what is known of each value
}

// NewTopics returns the topics of a namespace.
func NewTopics(ns string) (Topics, error) {
	if err := ValidateNamespace(ns); err != nil {
		return Topics{}, err
	}
	app := App(ns)
	return Topics{
		Intake:    app + "intake",
		Replies:   app + "replies",
		Control:   app + "control",
		Lifecycle: app + "lifecycle",
		State:     app + "state",
		Defs:      app + "defs",
		Members:   app + "members",
		DLQ:       app + "dlq",

		Correlation:      app + "correlation",
		CorrelationState: app + "correlation-state",
	}, nil
}

// App returns the prefix of everything that a namespace owns in Kafka.
func App(ns string) string { return ns + ".saga." }

// Group returns the consumer group of a namespace's processes.
func Group(ns string) string { return App(ns) + "engine" }

// TransactionalPrefix returns the prefix of a namespace's transactional ids.
func TransactionalPrefix(ns string) string { return App(ns) + "task-" }

// CommandTopic returns the command topic of a participant.
func CommandTopic(participant string) string { return "cmd." + participant }

// ValidateNamespace checks the name of a namespace.
func ValidateNamespace(ns string) error { return validateName("namespace", ns, MaxNamespace) }

// ValidateParticipant checks the name of a participant.
func ValidateParticipant(name string) error { return validateName("participant", name, MaxName) }

// validateName accepts lower-case letters, digits, '-', and dots as separators: labels that start
// and end with a letter or digit. An underscore is refused because Kafka's metric names cannot tell
// it from a dot.
func validateName(what, s string, max int) error {
	if s == "" {
		return fmt.Errorf("%s: the name is empty", what)
	}
	if len(s) > max {
		return fmt.Errorf("%s: the name is longer than %d bytes", what, max)
	}
	label := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		edge := label == 0 || i+1 == len(s) || s[i+1] == '.'
		switch {
		case alnum:
			label++
		case c == '-' && !edge:
			label++
		case c == '.' && label > 0 && i+1 < len(s):
			label = 0
		default:
			return fmt.Errorf("%s %s: want lower-case letters, digits, '-' inside a word and single dots between words, as in card-payments.eu", what, strconv.Quote(cut(s, maxCutInErrorBytes)))
		}
	}
	return nil
}
