package web

import "strings"

// look is how a state is shown: a tone, a shape and a word. The shape and the word alone are enough.
type look struct{ tone, icon, word string }

var statusLooks = map[string]look{
	"running":      {"blue", "dots", "Running"},
	"finishing":    {"blue", "dots", "Finishing"},
	"compensating": {"amber", "undo", "Compensating"},
	"attention":    {"red", "alert", "Needs attention"},
	"completed":    {"green", "check", "Completed"},
	"compensated":  {"amber-quiet", "undo", "Compensated"},
	"closed":       {"grey", "stop", "Closed"},
	"parked":       {"violet", "pause", "Parked"},
	"mailbox":      {"violet", "pause", "Mailbox"},
	"void":         {"grey", "stop", "Void"},
	"marker":       {"grey", "stop", "Expired"},
	"suspended":    {"violet", "pause", "Suspended"},

	"ready":     {"green", "check", "Ready"},
	"restoring": {"blue", "dots", "Restoring"},
	"draining":  {"amber", "undo", "Draining"},
	"joining":   {"blue", "dots", "Joining"},
	"gone":      {"red", "alert", "Gone"},
	"unowned":   {"red", "alert", "No owner"},
	"open":      {"green", "check", "Open"},
	"blocked":   {"red", "alert", "Held back"},
	"probing":   {"amber", "dots", "Probing"},

	"paused":  {"violet", "pause", "Paused"},
	"stopped": {"grey", "stop", "Stopped"},
	"done":    {"green", "check", "Done"},
	"waiting": {"grey", "dots", "Waiting"},
	"refused": {"red", "cross", "Refused"},
	"failed":  {"red", "alert", "Failed"},
}

func lookOf(state string) look {
	if l, ok := statusLooks[state]; ok {
		return l
	}
	return look{"grey", "dots", state}
}

var stepLooks = map[string]look{
	"IDLE":      {"grey", "ring", "not reached"},
	"READY":     {"blue", "dots", "ready"},
	"PENDING":   {"blue", "dots", "sent"},
	"BACKOFF":   {"amber", "clock", "waits to retry"},
	"INQUIRING": {"amber", "dots", "asks what became of it"},
	"OPEN":      {"blue", "dots", "open"},
	"DONE":      {"green", "check", "done"},
	"REFUSED":   {"red", "cross", "refused"},
	"FAILED":    {"red", "alert", "failed"},
	"UNKNOWN":   {"red", "alert", "outcome unknown"},
	"SKIPPED":   {"grey", "minus", "skipped"},
	"ABANDONED": {"grey", "minus", "never sent"},

	"OWED":        {"amber", "ring", "undo owed"},
	"U_PENDING":   {"amber", "undo", "undo sent"},
	"U_BACKOFF":   {"amber", "clock", "undo waits to retry"},
	"U_INQUIRING": {"amber", "dots", "undo is asked about"},
	"U_STOPPED":   {"red", "alert", "undo stopped"},
	"UNDONE":      {"amber-quiet", "undo", "undone"},
	"UNDO_NOOP":   {"amber-quiet", "undo", "nothing to undo"},
	"WAIVED":      {"grey", "minus", "waived"},
}

func stepLook(state string) look {
	if l, ok := stepLooks[state]; ok {
		return l
	}
	return look{"grey", "ring", strings.ToLower(state)}
}

// factWords say what a fact means, and how it is shown.
var factWords = map[string]look{
	"started": {"blue", "play", "Started"}, "rejected": {"red", "cross", "Start refused"}, "duplicate": {"grey", "minus", "Same start again"},
	"conflict": {"red", "alert", "Another start with this id"}, "parked": {"violet", "pause", "Waits for its definition"}, "voided": {"grey", "stop", "Cancelled before its start"},
	"step-sent": {"blue", "arrow", "Command sent"}, "step-done": {"green", "check", "Done"}, "step-rejected": {"red", "cross", "Refused"},
	"step-failed": {"red", "alert", "Failed"}, "step-unknown": {"red", "alert", "Outcome unknown"}, "step-skipped": {"grey", "minus", "Skipped"},
	"inquired": {"amber", "dots", "Asked what became of it"}, "committed": {"green", "flag", "Point of no return passed"},
	"cancel-requested": {"amber", "stop", "Cancel asked for"}, "cancel-refused": {"grey", "minus", "Cancel refused"}, "cancel-acked": {"amber", "stop", "Cancel accepted"},
	"deadline-hit": {"red", "clock", "Deadline passed"}, "compensating": {"amber", "undo", "Turned round"}, "undo-sent": {"amber", "undo", "Undo sent"},
	"step-undone": {"amber-quiet", "undo", "Undone"}, "attention": {"red", "alert", "Needs a person"}, "attention-cleared": {"green", "check", "Settled"},
	"contract-violation": {"red", "alert", "Contract broken"}, "late-effect": {"red", "clock", "Late effect"}, "phantom": {"amber", "alert", "Undo that nobody sent"},
	"reopened": {"amber", "undo", "Opened again"}, "completed": {"green", "check", "Completed"}, "compensated": {"amber-quiet", "undo", "Compensated"},
	"closed": {"grey", "stop", "Closed by a person"}, "expired": {"grey", "minus", "Retention passed"}, "entered": {"blue", "play", "Entered"},
	"resolved": {"green", "check", "Went through"}, "caught": {"amber", "undo", "Failure caught"}, "timed-out": {"red", "clock", "Time is over"},
	"task-opened": {"violet", "person", "People are asked"}, "task-reminded": {"violet", "person", "People are asked again"}, "task-decided": {"violet", "person", "Decided"},
	"signalled": {"violet", "mail", "Signal came"}, "signal-used": {"violet", "mail", "Signal taken"}, "signal-dropped": {"grey", "minus", "Signal dropped"},
	"operator": {"violet", "person", "Operator"}, "continued": {"blue", "play", "Next run"}, "child-started": {"blue", "arrow", "Child started"},
	"child-ended": {"green", "check", "Child ended"}, "emitted": {"blue", "mail", "Event published"},
}

// FactText is what a kind of fact means, in words.
func FactText(kind string) string { return factLook(kind).word }

// ReasonText is what a reason of attention means; "" = not known.
func ReasonText(reason string) string { return reasonWords[reason] }

func factLook(kind string) look {
	if l, ok := factWords[kind]; ok {
		return l
	}
	return look{"grey", "ring", kind}
}

// reasonWords say what a reason of attention means, in one sentence.
var reasonWords = map[string]string{
	"EXPR": "An expression failed; nothing was sent because of it.", "TOO_LARGE": "A payload is over its limit; it was not sent.",
	"OUTPUT": "The step is done, but its output could not be kept.", "UNKNOWN_OUTCOME": "Whether the step took effect is not known, and no rule may decide it.",
	"BUDGET_SPENT": "The step used its attempts; retries go on slowly.", "SLOW": "It takes longer than its alert time; retries go on.",
	"REFUSED": "A step that may not fail was refused.", "CONTRADICTION": "Two definite answers for one key disagree.",
	"PHANTOM": "An undo that was never sent is said to have happened.", "DEADLINE": "The deadline passed while the point of no return was in flight.",
	"UNDO_SLOW": "The undo takes longer than its alert time; retries go on.", "UNDO_FAILED": "The participant cannot undo; retries have stopped.",
	"UNDO_NOOP": "The step was done, yet twice there was nothing to undo.", "KEY_WINDOW": "The key may be forgotten: another undo could pay twice.",
	"NO_UNDO": "There is an effect that no undo can take back.", "LATE_EFFECT": "It took effect after it was counted as without effect.",
	"TWICE": "An earlier key took effect beside the fresh one.", "LIVELOCK": "One event caused too many transitions.",
	"CHILD_CLOSED": "A child was closed by an operator: its effects are not known here.", "SIGNALS": "The buffer of signals is full.",
}
