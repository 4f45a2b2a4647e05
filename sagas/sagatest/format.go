package sagatest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// keyNames shortens idempotency keys to k1, k2, … in order of first sight, so that a script shows
// at a glance which attempts share a key.
type keyNames struct{ seen map[string]string }

func (k *keyNames) short(key string) string {
	if key == "" {
		return "-"
	}
	if k.seen == nil {
		k.seen = make(map[string]string)
	}
	name, ok := k.seen[key]
	if !ok {
		name = "k" + strconv.Itoa(len(k.seen)+1)
		k.seen[key] = name
	}
	return name
}

// address is the short form of one attempt: auth#2, with the round and the run when they are not
// the first.
func address(a sagas.Address) string {
	var b strings.Builder
	b.WriteString(a.Path)
	if a.Run > 1 {
		fmt.Fprintf(&b, "/run%d", a.Run)
	}
	if a.Round > 1 {
		fmt.Fprintf(&b, "/round%d", a.Round)
	}
	fmt.Fprintf(&b, "#%d", a.Attempt)
	return b.String()
}

// since is a time relative to another: +1m30s, -2h, now, or none.
func since(t, origin sagas.Time) string {
	switch {
	case t == 0:
		return "none"
	case t == origin:
		return "now"
	case t > origin:
		return "+" + short(time.Duration(t-origin)*time.Millisecond)
	}
	return "-" + short(time.Duration(origin-t)*time.Millisecond)
}

// short is a duration without its zero parts, whole days as days.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	var b strings.Builder
	if d >= day {
		fmt.Fprintf(&b, "%dd", d/day)
		d %= day
		if d == 0 {
			return b.String()
		}
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	b.WriteString(text)
	return b.String()
}

func compact(json []byte) string {
	if len(json) == 0 {
		return ""
	}
	return " " + string(json)
}

// formatEffect is one line about an effect.
func formatEffect(e sagas.Effect, now sagas.Time, keys *keyNames) string {
	switch e := e.(type) {
	case sagas.Command:
		var b strings.Builder
		fmt.Fprintf(&b, "> %s %s %s.%s key=%s", e.Op, address(e.Address), e.Participant, e.Name, keys.short(e.Key))
		if e.ForwardKey != "" {
			fmt.Fprintf(&b, " fwd=%s", keys.short(e.ForwardKey))
		}
		if e.Deadline != 0 {
			fmt.Fprintf(&b, " deadline=%s", since(e.Deadline, now))
		}
		if e.Topic != "cmd."+e.Participant {
			fmt.Fprintf(&b, " topic=%s", e.Topic)
		}
		b.WriteString(compact(e.Payload))
		return b.String()
	case sagas.Lifecycle:
		var b strings.Builder
		fmt.Fprintf(&b, "* %d %s", e.Seq, e.Kind)
		if e.Path != "" {
			fmt.Fprintf(&b, " %s", e.Path)
		}
		if e.Cause != "" {
			fmt.Fprintf(&b, " cause=%s", quoteIfNeeded(e.Cause))
		}
		for _, kv := range e.Detail {
			value := kv.Value
			switch kv.Key {
			case "digest": // changes with every character of the definition
				continue
			case "until":
				if at, err := strconv.ParseInt(value, 10, 64); err == nil {
					value = since(sagas.Time(at), now)
				}
			}
			if value != "" {
				fmt.Fprintf(&b, " %s=%s", kv.Key, quoteIfNeeded(value))
			}
		}
		return b.String()
	case sagas.DeadLetter:
		return fmt.Sprintf("! dead letter %s: %s", e.Class, e.Message)
	case sagas.Result:
		line := fmt.Sprintf("= result to %s: %s", e.Topic, e.Phase)
		if e.Cause != "" {
			line += " cause=" + quoteIfNeeded(e.Cause)
		}
		return line + compact(e.Output)
	case sagas.Ignored:
		return "~ ignored: " + e.Reason
	}
	if line, ok := formatPeople(e, keys); ok {
		return line
	}
	return fmt.Sprintf("%#v", e)
}

func quoteIfNeeded(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\"") {
		return strconv.Quote(s)
	}
	return s
}

// formatEvent is one line about an event that is not the script's own verb.
func formatEvent(ev sagas.Event) string {
	switch ev := ev.(type) {
	case sagas.Reply:
		line := fmt.Sprintf("%s %s %s", ev.Op, address(ev.Address), ev.Outcome)
		if ev.Code != "" {
			line += " code=" + ev.Code
		}
		if ev.Effect != "" {
			line += " effect=" + string(ev.Effect)
		}
		if ev.Noop {
			line += " noop"
		}
		if ev.Replayed {
			line += " replayed"
		}
		return line
	case sagas.Timers:
		return "timer"
	}
	return eventName(ev)
}

var kindNames = map[sagas.StepKind]string{
	sagas.Compensatable: "compensatable",
	sagas.Pivot:         "pivot",
	sagas.Retriable:     "retriable",
	sagas.Optional:      "optional",
	sagas.ReadOnly:      "readonly",
}
