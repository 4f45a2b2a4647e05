package sagas

import (
	"fmt"
	"slices"
	"strings"
)

// nameRule says which names are allowed for one kind of thing.
type nameRule struct {
	what  string
	max   int
	extra string // allowed beside letters and digits, not as first character
	shape string // for people
	words bool   // refuse words that an expression cannot have after a dot
}

var (
	sagaName        = nameRule{"a saga name", MaxNameBytes, "._-", "a letter, then letters, digits, dots, underscores and hyphens", false}
	stepName        = nameRule{"a step id", MaxNameBytes, "_", "a letter, then letters, digits and underscores, because expressions say step.<id>", true}
	participantName = nameRule{"a participant name", MaxNameBytes, "_-", "a letter, then letters, digits, underscores and hyphens", false}
	commandName     = nameRule{"a command name", MaxNameBytes, "._-", "a letter, then letters, digits, dots, underscores and hyphens", false}
	avroName        = nameRule{"the name of a record", 249, "._", "a letter, then letters, digits, dots and underscores", false}
	topicName       = nameRule{"a topic name", 249, "._-", "a letter, then letters, digits, dots, underscores and hyphens", false}
	laneName        = nameRule{"the name of a lane", MaxNameBytes, "_-", "a letter, then letters, digits, underscores and hyphens", false}
	itemName        = nameRule{"the name of an item", MaxNameBytes, "_", "a letter, then letters, digits and underscores", true}
	valueName       = nameRule{"the name of a value", MaxNameBytes, "_", "a letter, then letters, digits and underscores, because expressions say step.<id>.<name>", true}
	signalName      = nameRule{"the name of a signal", MaxNameBytes, "._-", "a letter, then letters, digits, dots, underscores and hyphens", false}
	bindingName     = nameRule{"the name of a binding", MaxNameBytes, "_-", "a letter, then letters, digits, underscores and hyphens", false}
	eventName       = nameRule{"the type of an event", 249, "._-/:", "a letter, then letters, digits, and . _ - / :", false}
	codeName        = nameRule{"a code", MaxNameBytes, "._-", "a letter, then letters, digits, dots, underscores and hyphens", false}
)

// reservedWords cannot follow a dot in CEL.
var reservedWords = []string{
	"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in",
	"let", "loop", "namespace", "null", "package", "return", "true", "var", "void", "while",
}

// check says what is wrong with a name, "" when it is right.
func (r nameRule) check(s string) string {
	if s == "" || len(s) > r.max {
		return fmt.Sprintf("%s has 1 to %d characters", r.what, r.max)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		rest := c >= '0' && c <= '9' || strings.IndexByte(r.extra, c) >= 0
		if !letter && (i == 0 || !rest) {
			return fmt.Sprintf("%q is not %s: %s", shorten([]byte(s)), r.what, r.shape)
		}
	}
	if r.words && slices.Contains(reservedWords, s) {
		return fmt.Sprintf("%q is a word of the expression language and cannot be %s", s, r.what)
	}
	return ""
}

// callName checks participant.command.
func callName(s string) string {
	participant, command, ok := strings.Cut(s, ".")
	if !ok {
		return fmt.Sprintf("%q is not participant.command", shorten([]byte(s)))
	}
	if why := participantName.check(participant); why != "" {
		return why
	}
	return commandName.check(command)
}
