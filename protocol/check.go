package protocol

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// SplitWorkflowID splits <type>/<id> at the first slash and checks both parts.
func SplitWorkflowID(wid string) (typ, id string, err error) {
	typ, id, found := strings.Cut(wid, "/")
	if !found {
		return "", "", malformed("wid", "want <type>/<id>")
	}
	if err := checkType(typ); err != nil {
		return "", "", err
	}
	if err := checkID(id); err != nil {
		return "", "", err
	}
	return typ, id, nil
}

// checkType accepts a superset of the names that a definition may have, so that a start with an
// unknown type gets that answer and not a complaint about its spelling.
func checkType(typ string) error {
	if typ == "" {
		return malformed("type", "the field is missing")
	}
	if len(typ) > MaxType {
		return tooLarge("type", "longer than "+strconv.Itoa(MaxType)+" bytes")
	}
	for i := 0; i < len(typ); i++ {
		c := typ[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_' && c != '.') {
			return malformed("type", "want letters, digits, '-', '_' and '.'")
		}
	}
	return nil
}

func checkID(id string) error {
	if id == "" {
		return malformed("id", "the field is missing")
	}
	return checkName("id", id, MaxID)
}

// checkName accepts any printable text.
func checkName(field, s string, max int) error {
	if len(s) > max {
		return tooLarge(field, "longer than "+strconv.Itoa(max)+" bytes")
	}
	if !utf8.ValidString(s) {
		return malformed(field, "not UTF-8")
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return malformed(field, "a control character")
		}
	}
	return nil
}

// checkProse accepts text of several lines.
func checkProse(field, s string, max int) error {
	if len(s) > max {
		return tooLarge(field, "longer than "+strconv.Itoa(max)+" bytes")
	}
	if !utf8.ValidString(s) {
		return malformed(field, "not UTF-8")
	}
	return nil
}

func checkTime(field string, ms int64) error {
	if ms < 0 || ms > MaxTime {
		return malformed(field, "not a time between 1970 and 9999")
	}
	return nil
}

func checkTexts(field string, m map[string]string, most, max int) error {
	if len(m) > most {
		return tooLarge(field, "more than "+strconv.Itoa(most)+" entries")
	}
	for k, v := range m {
		if k == "" {
			return malformed(field, "an entry without a name")
		}
		if err := checkName(field, k, max); err != nil {
			return err
		}
		if err := checkProse(field, v, max); err != nil {
			return err
		}
	}
	return nil
}

func checkTopic(field, topic string) error {
	if topic == "" {
		return nil
	}
	if len(topic) > MaxTopic {
		return tooLarge(field, "longer than "+strconv.Itoa(MaxTopic)+" bytes")
	}
	if topic == "." || topic == ".." {
		return malformed(field, "not a topic name")
	}
	for i := 0; i < len(topic); i++ {
		c := topic[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return malformed(field, "not a topic name")
		}
	}
	return nil
}

// firstError returns the first of errs that is not nil. The arguments are evaluated all; each check
// is cheap.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Start) check() error {
	if s.ID != "" {
		if err := checkID(s.ID); err != nil {
			return err
		}
	}
	if s.Parent != nil {
		return &Error{Class: ClassUnsupported, Field: "parent", Text: "only the orchestrator starts a child"}
	}
	if s.NotBefore != 0 {
		return &Error{Class: ClassUnsupported, Field: "notBefore", Text: "delayed starts are not supported by this version"}
	}
	if s.Causation != nil {
		if err := checkTopic("causation", s.Causation.Topic); err != nil {
			return err
		}
	}
	return firstError(
		checkType(s.Type),
		checkName("startId", s.StartID, MaxID),
		checkTopic("replyTo", s.ReplyTo),
		checkTime("issuedAt", s.IssuedAt),
		checkTexts("tags", s.Tags, MaxTags, MaxTagBytes),
	)
}

func (c *Cancel) check() error {
	return firstError(
		checkType(c.Type),
		checkID(c.ID),
		checkName("requestId", c.RequestID, MaxID),
		checkProse("reason", c.Reason, MaxReason),
		checkName("actor", c.Actor, MaxName),
		checkTime("voidTtlMs", c.VoidTTL),
	)
}

func (a *Admin) check() error {
	if a.Operator == "" {
		return malformed("operator", "the field is missing")
	}
	if a.Reason == "" {
		return malformed("reason", "the field is missing")
	}
	return firstError(
		checkType(a.Type),
		checkID(a.ID),
		checkAction(a.Action),
		checkName("requestId", a.RequestID, MaxID),
		checkName("path", a.Path, MaxPath),
		checkTexts("args", a.Args, MaxArgs, MaxReason),
		checkName("operator", a.Operator, MaxName),
		checkName("approver", a.Approver, MaxName),
		checkProse("reason", a.Reason, MaxReason),
	)
}

func checkAction(a Action) error {
	if a == "" {
		return malformed("action", "the field is missing")
	}
	names := make([]string, len(actions))
	for i, known := range actions {
		if a == known {
			return nil
		}
		names[i] = string(known)
	}
	err := malformed("action", "not an action")
	if near := nearest(string(a), names); near != "" {
		err.Hint = "Did you mean " + strconv.Quote(near) + "?"
	}
	return err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
