package sagas

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/internal/nearest"
)

var (
	callFields    = []string{"call", "kind", "with", "keep", "attempt", "within", "retry", "onUnknown", "inquire", "undo", "alertAfter", "onReject", "lease", "heartbeat"}
	retryFields   = []string{"attempts", "backoff", "max", "factor", "jitter", "nonRetryable"}
	undoFields    = []string{"call", "with", "attempt", "retry", "alertAfter", "after"}
	inquireFields = []string{"call", "every", "for", "attempt", "with"}
)

// callNode reads what a call has beside the common fields.
func (dec *decoder) callNode(n *node, path string, st *StepDef) {
	st.Kind = dec.kind(n.child("kind"), path)
	st.Call = dec.call(n, path)
	st.With = notEmpty(dec.tree(n.child("with"), path+"/with"))
	st.Keep = dec.keep(n.child("keep"), path+"/keep")
	withinDefault := DefaultWithin
	alertDefault := time.Duration(0)
	if st.Kind == Retriable {
		withinDefault = 0
		alertDefault = DefaultRetriableAlert
	} else if dec.d.Deadline > 0 {
		withinDefault = min(withinDefault, dec.d.Deadline)
	}
	st.Within = dec.duration(n, path, "within", withinDefault, true)
	attemptDefault := DefaultAttempt
	if st.Within > 0 {
		attemptDefault = min(attemptDefault, st.Within)
	}
	st.Attempt = dec.duration(n, path, "attempt", attemptDefault, false)
	if st.Within > 0 && n.child("within") == nil {
		st.Within = max(st.Within, st.Attempt) // a longer attempt alone is no contradiction
	}
	st.AlertAfter = dec.duration(n, path, "alertAfter", alertDefault, true)
	st.Heartbeat = dec.duration(n, path, "heartbeat", 0, true)
	st.OnReject = dec.choice(n.child("onReject"), path+"/onReject", "onReject", []string{"", "fail", "continue"}, 1) == 2
	st.Lease = dec.expression(n.child("lease"), path+"/lease")
	st.Retry = dec.retry(n.child("retry"), path+"/retry", true)
	st.OnUnknown = dec.onUnknown(n.child("onUnknown"), path, st)
	dec.inquire(n.child("inquire"), path+"/inquire", st)
	dec.undo(n.child("undo"), path+"/undo", st)
}

func (dec *decoder) call(n *node, path string) string {
	c := n.child("call")
	if c == nil {
		dec.fault(n.at, "SG01", path, "Add call: participant.command.", "call is missing")
		return ""
	}
	s, ok := dec.str(c, path+"/call", "call")
	if !ok {
		return ""
	}
	if why := callName(s); why != "" {
		dec.fault(c.at, "SG03", path+"/call", "", "%s", why)
		return ""
	}
	return s
}

func (dec *decoder) keep(n *node, path string) []string {
	keep := dec.strings(n, path, "keep")
	out := keep[:0]
	for i, k := range keep {
		p := dec.src.place(join(path, strconv.Itoa(i)))
		switch {
		case k == "" || len(k) > 2*MaxNameBytes:
			dec.fault(p, "SG03", path, "", "a field name has 1 to %d bytes", 2*MaxNameBytes)
		case k == nameState:
			dec.fault(p, "SG03", path, "", "the output field %q cannot be kept, because step.<id>.state is the state of the step", k)
		default:
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

var kindNames = []string{"", Compensatable: "compensatable", Pivot: "pivot", Retriable: "retriable", Optional: "optional", ReadOnly: "readonly"}

// String is the name of the kind in a definition.
func (k StepKind) String() string { return nameAt(kindNames, int(k)) }

func (dec *decoder) kind(n *node, path string) StepKind {
	if n == nil {
		return Compensatable
	}
	s, ok := dec.str(n, path+"/kind", "kind")
	if !ok {
		return Compensatable
	}
	if i := slices.Index(kindNames, s); i > 0 {
		return StepKind(i)
	}
	hint := "Use one of " + strings.Join(kindNames[1:], ", ") + "."
	if near := nearest.Name(s, kindNames[1:]); near != "" {
		hint = fmt.Sprintf("Did you mean %q?", near)
	}
	dec.fault(n.at, "SG01", path+"/kind", hint, "%q is not a kind of call", s)
	return Compensatable
}

// retry reads the retry policy. An undo is never given up, so it has no attempts and no codes that
// end the retries.
func (dec *decoder) retry(n *node, path string, isDo bool) Retry {
	r := Retry{Backoff: DefaultBackoff, BackoffMax: DefaultBackoffMax, Factor: DefaultFactor, Jitter: DefaultJitter}
	if n == nil {
		return r
	}
	if !dec.fields(n, path, "retry", retryFields, nil) {
		return r
	}
	r.Backoff = dec.duration(n, path, "backoff", DefaultBackoff, false)
	r.BackoffMax = dec.duration(n, path, "max", max(DefaultBackoffMax, r.Backoff), false)
	if r.BackoffMax < r.Backoff {
		dec.fault(dec.src.place(path+"/max"), "SG01", path+"/max", "", "max %s is shorter than backoff %s", formatDuration(r.BackoffMax), formatDuration(r.Backoff))
	}
	r.Factor = dec.number(n, path, "factor", DefaultFactor, 1, 100)
	r.Jitter = dec.number(n, path, "jitter", DefaultJitter, 0, 1)
	if a := n.child("attempts"); a != nil {
		i, ok := a.scalar.(int64)
		switch {
		case !isDo:
			dec.fault(a.at, "SG01", path+"/attempts", "Use undo.alertAfter to be told when it takes long.", "an undo is never given up, so it has no attempts")
		case !ok || i < 1 || i > 1_000_000:
			dec.fault(a.at, "SG01", path+"/attempts", "Leave it out for as many as within allows.", "attempts must be an integer from 1 to 1000000")
		default:
			r.Attempts = uint32(i)
		}
	}
	if c := n.child("nonRetryable"); c != nil {
		if !isDo {
			dec.fault(c.at, "SG01", path+"/nonRetryable", "", "an undo is never given up, so every code is retried")
		} else {
			r.NonRetryable = dec.strings(c, path+"/nonRetryable", "nonRetryable")
			slices.Sort(r.NonRetryable)
		}
	}
	return r
}

var onUnknownNames = []string{"", UnknownCompensate: "compensate", UnknownInquire: "inquire", UnknownAttention: "attention"}

// String is the name of the rule in a definition.
func (u OnUnknown) String() string { return nameAt(onUnknownNames, int(u)) }

func (dec *decoder) onUnknown(n *node, path string, st *StepDef) OnUnknown {
	name, _, _ := strings.Cut(st.Call, ".")
	def := UnknownCompensate
	switch {
	case dec.d.Participants[name].Offers(OpInquire):
		def = UnknownInquire
	case st.Kind == Pivot || st.Kind == Retriable:
		def = UnknownAttention
	}
	if n == nil {
		return def
	}
	s, ok := dec.str(n, path+"/onUnknown", "onUnknown")
	if !ok {
		return def
	}
	if i := slices.Index(onUnknownNames, s); i > 0 {
		return OnUnknown(i)
	}
	dec.fault(n.at, "SG01", path+"/onUnknown", "Use inquire, compensate or attention.", "%q is not a rule for an unknown outcome", s)
	return def
}

func (dec *decoder) inquire(n *node, path string, st *StepDef) {
	if st.OnUnknown != UnknownInquire {
		if n != nil {
			dec.fault(n.at, "SG01", path, "Set onUnknown: inquire, or take inquire: out.", "inquire is set, but onUnknown is %s", st.OnUnknown)
		}
		return
	}
	q := &InquireDef{Call: st.Call, Every: DefaultInquireEvery, For: DefaultInquireFor, Attempt: min(st.Attempt, DefaultInquireFor)}
	st.Inquire = q
	if n == nil || !dec.fields(n, path, "inquire", inquireFields, nil) {
		return
	}
	if n.child("call") != nil {
		q.Call = dec.call(n, path)
	}
	q.Every = dec.duration(n, path, "every", DefaultInquireEvery, false)
	q.For = dec.duration(n, path, "for", max(DefaultInquireFor, q.Every), false)
	if q.For < q.Every {
		dec.fault(dec.src.place(path+"/for"), "SG17", path+"/for", "", "for %s is shorter than every %s, so nothing is asked twice", formatDuration(q.For), formatDuration(q.Every))
	}
	q.Attempt = dec.duration(n, path, "attempt", min(st.Attempt, q.For), false)
	if q.Attempt > q.For {
		dec.fault(dec.src.place(path+"/attempt"), "SG17", path+"/attempt", "", "attempt %s is longer than for %s", formatDuration(q.Attempt), formatDuration(q.For))
	}
	q.With = dec.tree(n.child("with"), path+"/with")
}

func (dec *decoder) undo(n *node, path string, st *StepDef) {
	if n == nil {
		return
	}
	if s, ok := n.scalar.(string); ok && s == "none" {
		return
	}
	if !n.isMap {
		hint := "Write undo: none, or undo: with call: participant.command below it."
		dec.fault(n.at, "SG01", path, hint, "undo must be none or a map, got %s", n.kind())
		st.Undo = &UndoDef{} // so that SG10 does not complain as well
		return
	}
	dec.fields(n, path, "undo", undoFields, nil)
	u := &UndoDef{Call: dec.call(n, path), AlertAfter: DefaultUndoAlert}
	u.With = dec.tree(n.child("with"), path+"/with")
	u.Attempt = dec.duration(n, path, "attempt", st.Attempt, false)
	u.Retry = dec.retry(n.child("retry"), path+"/retry", false)
	u.AlertAfter = dec.duration(n, path, "alertAfter", DefaultUndoAlert, true)
	u.After = dec.strings(n.child("after"), path+"/after", "after")
	slices.Sort(u.After)
	st.Undo = u
}
