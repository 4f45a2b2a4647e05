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
	avroName        = nameRule{"the name of an input record", 249, "._", "a letter, then letters, digits, dots and underscores", false}
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

// nearest is the known name that s was probably meant to be, "" when none is near.
func nearest(s string, known []string) string {
	if s == "" || len(s) > MaxNameBytes {
		return ""
	}
	best, bestDistance := "", 4
	for _, k := range known {
		limit := min(bestDistance-1, max(1, max(len(s), len(k))/2))
		d := distance(strings.ToLower(s), strings.ToLower(k))
		if d <= limit && (d < 2 || strings.EqualFold(s[:1], k[:1])) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours between two
// names.
func distance(a, b string) int {
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
