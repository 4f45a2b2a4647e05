package protocol

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/amendsio/amends/internal/nearest"
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

// ValidateID checks the id part of a workflow ID.
func ValidateID(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	return nil
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

func (s *Signal) check() error {
	if s.Name == "" {
		return malformed("name", "the field is missing")
	}
	if s.ContentType != "" && !isJSON(s.ContentType) {
		return &Error{Class: ClassUnsupported, Field: "contentType", Text: "only JSON payloads are supported by this version"}
	}
	if s.TTL > MaxSignalTTL {
		return tooLarge("ttl", "longer than 30 days")
	}
	return firstError(
		checkType(s.Type),
		checkID(s.ID),
		checkName("name", s.Name, MaxSignalName),
		checkName("signalId", s.SignalID, MaxID),
		checkPayload("payload", s.Payload),
		checkName("actor", s.Actor, MaxName),
		checkTime("issuedAt", s.IssuedAt),
	)
}

// checkAsPart checks the signal that a start may be. Its id is that of the start, which may come later.
func (s *Signal) checkAsPart() error {
	if strings.HasPrefix(s.Name, DecisionPrefix) {
		return &Error{Class: ClassUnsupported, Field: "orSignal", Text: "a person's decision on the intake topic"}
	}
	c := *s
	if c.ID == "" {
		c.ID = "later"
	}
	return c.check()
}

// checkPayload accepts one JSON value, or none.
func checkPayload(field string, b []byte) error {
	if len(b) > MaxSignalBytes {
		return tooLarge(field, "longer than "+strconv.Itoa(MaxSignalBytes)+" bytes")
	}
	if len(b) == 0 {
		return nil
	}
	if what := checkJSON(b, 0); what != "" {
		return malformed(field, what)
	}
	return nil
}

// checkObject accepts one JSON object, or nothing.
func checkObject(field string, b []byte) error {
	if err := checkPayload(field, b); err != nil || len(b) == 0 {
		return err
	}
	if text := bytes.TrimLeft(b, " \t\r\n"); text[0] != '{' {
		return malformed(field, "want a JSON object")
	}
	return nil
}

func (p *Parent) check() error {
	_, _, err := SplitWorkflowID(p.WorkflowID)
	return firstError(err, checkRun(p.Run), checkPath("parent.path", p.Path))
}

func (k *Kin) check() error {
	_, _, err := SplitWorkflowID(k.Parent)
	return firstError(err, checkRun(k.Run), checkPath("path", k.Path))
}

func (d *ChildDone) check() error {
	if !slices.Contains(ends, d.End) {
		return malformed("end", "not an end")
	}
	return firstError(
		checkRun(d.Run),
		checkPath("path", d.Path),
		// Of a child that was rejected it may be what no instance can have.
		checkProse("child", d.Child, 2*MaxWorkflowID),
		checkProse("code", d.Code, MaxReason),
		checkProse("message", d.Message, MaxMessage),
		checkChildOutput(d.Output),
	)
}

// checkChildOutput has no limit of its own: the machine that wrote it has, and the record has.
func checkChildOutput(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if b[0] != '{' {
		return malformed("output", "want a JSON object")
	}
	if what := checkJSON(b, 0); what != "" {
		return malformed("output", what)
	}
	return nil
}

func checkRun(run uint32) error {
	if run == 0 {
		return malformed("run", "want a number from 1")
	}
	return nil
}

func checkPath(field, path string) error {
	if path == "" {
		return malformed(field, "the field is missing")
	}
	return checkName(field, path, MaxPath)
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
		a.checkArgs(),
		checkName("operator", a.Operator, MaxName),
		checkName("approver", a.Approver, MaxName),
		checkProse("reason", a.Reason, MaxReason),
	)
}

// actionArgs says for each action whether it has a path, and which arguments.
var actionArgs = map[Action]struct {
	path need
	args []string
}{
	ActionRetry:       {must, nil},
	ActionRetryNewKey: {must, nil},
	ActionResolve:     {must, []string{ArgEffect, ArgOutput}},
	ActionWaive:       {must, nil},
	ActionSkip:        {must, []string{ArgOutput}},
	ActionCompensate:  {never, nil},
	ActionClose:       {never, nil},
	ActionSuspend:     {never, nil},
	ActionResume:      {never, nil},
	ActionExtend:      {may, []string{ArgBy}},
	ActionSignal:      {never, []string{ArgName, ArgSignalID, ArgPayload}},
}

type need uint8

const (
	never need = iota
	may
	must
)

// checkArgs checks path and arguments against the action.
func (a *Admin) checkArgs() error {
	rule, known := actionArgs[a.Action]
	if !known {
		return &Error{Class: ClassUnsupported, Field: "action", Text: "not supported by this version"}
	}
	switch {
	case rule.path == must && a.Path == "":
		return malformed("path", "the field is missing")
	case rule.path == never && a.Path != "":
		return malformed("path", "this action is about the whole instance")
	case len(a.Args) > MaxArgs:
		return tooLarge("args", "more than "+strconv.Itoa(MaxArgs)+" entries")
	}
	for _, k := range sortedKeys(a.Args) {
		if !slices.Contains(rule.args, k) {
			err := malformed("args."+cut(k, maxCutInErrorBytes), "not an argument of this action")
			if near := nearest.Name(k, rule.args); near != "" {
				err.Hint = "Did you mean " + strconv.Quote(near) + "?"
			}
			return err
		}
	}
	switch a.Action {
	case ActionResolve:
		switch effect := a.Args[ArgEffect]; {
		case effect != string(EffectDone) && effect != string(EffectNone):
			return malformed("args.effect", "want done or none")
		case effect == string(EffectNone) && a.Args[ArgOutput] != "":
			return malformed("args.output", "a step without effect has no output")
		}
	case ActionExtend:
		if ms, ok := parseDecimal(a.Args[ArgBy]); !ok || ms <= 0 || ms > MaxTime {
			return malformed("args.byMs", "want a positive number of ms")
		}
	case ActionSignal:
		if a.Args[ArgName] == "" {
			return malformed("args.name", "the field is missing")
		}
	}
	return firstError(
		checkName("args.name", a.Args[ArgName], MaxSignalName),
		checkName("args.signalId", a.Args[ArgSignalID], MaxID),
		checkPayload("args.payload", []byte(a.Args[ArgPayload])),
		checkObject("args.output", []byte(a.Args[ArgOutput])),
	)
}

// By is the argument of extend in ms, 0 when there is none.
func (a *Admin) By() int64 {
	ms, _ := parseDecimal(a.Args[ArgBy])
	return ms
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
	if near := nearest.Name(string(a), names); near != "" {
		err.Hint = "Did you mean " + strconv.Quote(near) + "?"
	}
	return err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
