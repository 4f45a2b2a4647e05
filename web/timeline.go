package web

import (
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// timeline is what happened, on an axis: one line per step, and below the axis one per undo.
type timeline struct {
	Forward []lane
	Back    []lane
	Folds   []fold
	Ticks   []tick
	Marks   []mark
}

// lane is the line of one step or undo.
type lane struct {
	Path  string
	Label string
	State look
	Bars  []bar
	Pips  []pip
	Took  string
}

// bar is a stretch of time.
type bar struct {
	X, W  float64
	Kind  string // work, wait, good, bad, undo
	Title string
}

// pip is an attempt.
type pip struct {
	X     float64
	Title string
}

// mark is a moment of the whole run.
type mark struct {
	X    float64
	Kind string
	Text string
}

// track gathers the facts of one path and one direction.
type track struct {
	path string
	undo bool
	from sagas.Time
	to   sagas.Time
	sent []sagas.Time
	wait bool // a wait, a decision or a pause: hatched
	end  string
}

var ends = map[string]string{
	"step-done": "good", "resolved": "good", "step-undone": "undo", "step-rejected": "bad", "step-failed": "bad",
	"step-unknown": "bad", "timed-out": "bad", "child-ended": "good", "caught": "bad",
}

// timelineOf folds the history of an instance. Facts are the oldest first.
func timelineOf(in *Instance, now sagas.Time) timeline {
	var tl timeline
	if len(in.Facts) == 0 {
		return tl
	}
	kind := map[string]string{}
	for _, s := range in.View.Steps {
		kind[s.Path] = s.Node
	}
	tracks := map[string]*track{}
	var order []*track
	get := func(path string, undo bool, at sagas.Time) *track {
		key := path
		if undo {
			key += "\x00"
		}
		t := tracks[key]
		if t == nil {
			t = &track{path: path, undo: undo, from: at, wait: !undo && isWait(kind[path])}
			tracks[key], order = t, append(order, t)
		}
		return t
	}
	moments := []sagas.Time{in.Facts[0].At}
	var marks []Fact
	for _, f := range in.Facts {
		moments = append(moments, f.At)
		switch f.Kind {
		case "step-sent", "entered", "task-opened", "child-started", "inquired":
			t := get(f.Path, false, f.At)
			if f.Kind == "step-sent" {
				t.sent = append(t.sent, f.At)
			}
			t.to, t.end = 0, ""
		case "undo-sent":
			t := get(f.Path, true, f.At)
			t.sent = append(t.sent, f.At)
			t.to, t.end = 0, ""
		case "step-done", "step-rejected", "step-failed", "step-unknown", "resolved", "timed-out", "child-ended", "caught":
			t := get(f.Path, false, f.At)
			t.to, t.end = f.At, ends[f.Kind]
		case "step-undone":
			t := get(f.Path, true, f.At)
			t.to, t.end = f.At, "undo"
		case "compensating", "committed", "deadline-hit", "completed", "compensated", "closed", "cancel-requested", "operator", "signalled":
			marks = append(marks, f)
		}
	}
	if p := in.View.Phase; p == "running" || p == "finishing" || p == "compensating" {
		moments = append(moments, now)
	}
	a := newAxis(moments)
	end := moments[len(moments)-1]
	for _, t := range order {
		l := lane{Path: t.path, Label: t.path, State: stateOf(in, t.path, t.undo)}
		to := t.to
		if to == 0 {
			to = max(end, t.from)
		}
		l.Took = span(int64(to - t.from))
		l.Bars = t.bars(a, to)
		for i, s := range t.sent {
			l.Pips = append(l.Pips, pip{X: a.x(s), Title: "attempt " + number(i+1) + " at " + utc(s)})
		}
		if t.undo {
			tl.Back = append(tl.Back, l)
		} else {
			tl.Forward = append(tl.Forward, l)
		}
	}
	for _, f := range marks {
		tl.Marks = append(tl.Marks, mark{X: a.x(f.At), Kind: factLook(f.Kind).tone, Text: factLook(f.Kind).word + " " + utc(f.At)})
	}
	tl.Folds, tl.Ticks = a.folds, a.ticks()
	return tl
}

// bars are the stretches of a track. Between two attempts it waits.
func (t *track) bars(a *axis, to sagas.Time) []bar {
	kind := t.end
	if kind == "" {
		kind = "work"
	}
	piece := func(from, to sagas.Time, kind, what string) bar {
		x := a.x(from)
		return bar{X: x, W: a.x(to) - x, Kind: kind, Title: t.path + ": " + what + " " + span(int64(to-from))}
	}
	if t.wait {
		return []bar{piece(t.from, to, "wait", "waits")}
	}
	if t.undo && kind == "work" {
		kind = "undo"
	}
	var out []bar
	for i := 1; i < len(t.sent); i++ {
		out = append(out, piece(t.sent[i-1], t.sent[i], "wait", "no answer, tried again after"))
	}
	from := t.from
	if len(t.sent) > 0 {
		from = t.sent[len(t.sent)-1]
	}
	return append(out, piece(from, to, kind, "took"))
}

func isWait(node string) bool { return node == "await" || node == "sleep" || node == "approve" }

// stateOf is how a step, or its undo, stands now.
func stateOf(in *Instance, path string, undo bool) look {
	i := slices.IndexFunc(in.View.Steps, func(s sagas.StepView) bool { return s.Path == path })
	switch {
	case i < 0:
		return look{"grey", "minus", "forgotten"}
	case undo:
		return stepLook(in.View.Steps[i].Undo)
	case slices.ContainsFunc(in.View.Attention, func(a sagas.AttentionView) bool { return a.Path == path }) && in.View.Steps[i].Undo == "":
		return look{"red", "alert", "needs a person"}
	}
	return stepLook(in.View.Steps[i].State)
}

// change is what one fact changed in the state.
type change struct {
	Fact Fact
	Rows []stateDiff
}

// stateDiff is a field before and after.
type stateDiff struct{ Field, Before, After string }

var doAfter = map[string]string{
	"step-sent": "PENDING", "step-done": "DONE", "step-rejected": "REFUSED", "step-failed": "FAILED", "step-unknown": "UNKNOWN",
	"step-skipped": "SKIPPED", "inquired": "INQUIRING", "entered": "OPEN", "task-opened": "OPEN", "resolved": "DONE", "timed-out": "REFUSED",
	"child-started": "OPEN",
}

// changesOf folds the history: what each fact changed. Facts of a revision belong together.
func changesOf(in *Instance) []change {
	phase, attention := "", ""
	steps, undos := map[string]string{}, map[string]string{}
	attempts := map[string]string{}
	var out []change
	for _, f := range in.Facts {
		c := change{Fact: f}
		set := func(field string, was *string, now string) {
			if *was != now {
				c.Rows = append(c.Rows, stateDiff{field, *was, now})
				*was = now
			}
		}
		put := func(m map[string]string, field, now string) {
			was := m[f.Path]
			set(field, &was, now)
			m[f.Path] = now
		}
		set("phase", &phase, f.Phase)
		set("attention", &attention, strings.Join(f.Attention, ", "))
		if to := doAfter[f.Kind]; to != "" && f.Path != "" {
			put(steps, f.Path+".state", to)
		}
		switch f.Kind {
		case "step-sent":
			put(attempts, f.Path+".attempts", detail(f, "attempt"))
		case "undo-sent":
			put(undos, f.Path+".undo", "U_PENDING")
		case "step-undone":
			to := "UNDONE"
			if detail(f, "noop") == "true" {
				to = "UNDO_NOOP"
			}
			put(undos, f.Path+".undo", to)
		}
		out = append(out, c)
	}
	return out
}

func detail(f Fact, name string) string {
	for _, d := range f.Detail {
		if d.Name == name {
			return d.Value
		}
	}
	return ""
}
