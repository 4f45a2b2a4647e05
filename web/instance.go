package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/amendsio/amends/diagram"
	"github.com/amendsio/amends/sagas"
)

type tabLink struct {
	ID, Title string
	Count     int
}

func tabsOf(in Instance) []tabLink {
	related := len(in.Children)
	if in.View.Parent != "" {
		related++
	}
	return []tabLink{
		{"", "Run", 0}, {"history", "History", len(in.Facts)}, {"messages", "Messages", len(in.Messages)}, {"state", "State", 0}, {"related", "Related", related},
	}
}

// headStatus is the status of the head: suspended covers what it would be.
func headStatus(v sagas.View) string {
	if v.Suspended && v.Status != "attention" {
		return "suspended"
	}
	return v.Status
}

// outcome says in a sentence how the instance stands.
func outcome(in Instance) string {
	v := &in.View
	count := func(states ...string) int {
		n := 0
		for _, s := range v.Steps {
			if slices.Contains(states, s.Undo) {
				n++
			}
		}
		return n
	}
	switch v.Phase {
	case "completed":
		if v.FinishedAs != "" {
			return "It ended early and well: " + v.FinishedAs + "."
		}
		return "Every step went through."
	case "compensated":
		s := "Nothing is left of it."
		if n := count("UNDONE", "UNDO_NOOP"); n > 0 {
			s = plural(n, "step was", "steps were") + " taken back; nothing is left of them."
		}
		if n := len(v.Residue); n > 0 {
			s = plural(n, "effect was", "effects were") + " left behind: " + strings.Join(v.Residue, ", ") + "."
		}
		return because(v) + s
	case "compensating":
		return because(v) + fmt.Sprintf("%d taken back, %d still to go.", count("UNDONE", "UNDO_NOOP", "WAIVED"), len(v.Obligations))
	case "closed":
		return "A person closed it. " + because(v)
	case "running":
		return plural(done(v), "step is", "steps are") + " done. Everything can still be taken back."
	case "finishing":
		return plural(done(v), "step is", "steps are") + " done. The point of no return is passed: it only goes forward."
	case "parked":
		return "It waits for its definition."
	}
	return ""
}

func done(v *sagas.View) int {
	n := 0
	for _, s := range v.Steps {
		if s.State == "DONE" {
			n++
		}
	}
	return n
}

func because(v *sagas.View) string {
	if v.Cause == "" {
		return ""
	}
	for _, s := range v.Steps {
		if s.Message != "" && strings.Contains(v.Cause, s.Path) {
			return v.Cause + " (" + s.Message + "). "
		}
	}
	return v.Cause + ". "
}

// drawing is the picture of the definition with the run over it.
func drawing(p page, in Instance) string {
	return string(diagram.New(in.Definition).SVG(diagram.Options{
		Overlay: diagram.OverlayOf(in.View), NoTitle: true, NoStyle: true, Theme: p.Theme,
	}))
}

func tickClass(x float64) string {
	switch {
	case x <= 0:
		return "tl-tick"
	case x >= 100:
		return "tl-tick tick-end"
	}
	return "tl-tick tick-middle"
}

func doing(s sagas.StepView) string {
	if s.Participant != "" {
		return s.Participant + "." + s.Command
	}
	if s.Node != "" {
		return s.Node
	}
	return s.Kind
}

func stepChip(v sagas.View, s sagas.StepView) look {
	for _, a := range v.Attention {
		if a.Path == s.Path && s.Undo == "" {
			l := stepLook(s.State)
			return look{"red", "alert", l.word}
		}
	}
	return stepLook(s.State)
}

func offerText(o Offer) string {
	switch {
	case o.Refused != "":
		return o.Refused
	case o.Path != "":
		return o.Path + " · " + o.Text
	}
	return o.Text
}

// undoPair is a step and what took it back, in the order in which it was.
type undoPair struct {
	Undo, Does, Output string
	State              look
}

func undoPairs(in Instance) []undoPair {
	when := map[string]int{}
	for i, f := range in.Facts {
		if f.Kind == "undo-sent" || f.Kind == "step-undone" {
			when[f.Path] = i
		}
	}
	undo := map[string]string{}
	if in.Definition != nil {
		undo = undoCalls(in.Definition.Steps, undo)
	}
	type at struct {
		pair undoPair
		i    int
	}
	var list []at
	for i := len(in.View.Steps) - 1; i >= 0; i-- {
		s := in.View.Steps[i]
		if s.Undo == "" {
			continue
		}
		pair := undoPair{Undo: undo[s.Path[strings.LastIndexByte(s.Path, '/')+1:]], Does: s.Path, State: stepLook(s.Undo), Output: string(s.Output)}
		if pair.Undo == "" {
			pair.Undo = "undo"
		}
		n, ok := when[s.Path]
		if !ok {
			n = len(in.Facts)
		}
		list = append(list, at{pair, n})
	}
	slices.SortStableFunc(list, func(a, b at) int { return a.i - b.i })
	var out []undoPair
	for _, l := range list {
		out = append(out, l.pair)
	}
	return out
}

func undoCalls(steps []sagas.StepDef, into map[string]string) map[string]string {
	for _, s := range steps {
		if s.Undo != nil {
			into[s.ID] = s.Undo.Call
		}
		for _, l := range s.Lanes {
			undoCalls(l.Steps, into)
		}
	}
	return into
}

// since is how long after the fact before it a fact came.
func since(facts []Fact, i int) string {
	if i == 0 {
		return ""
	}
	return "+" + span(int64(facts[i].At-facts[i-1].At))
}

var outcomeLooks = map[string]look{
	"ok": {"green", "check", "ok"}, "executed": {"green", "check", "executed"}, "rejected": {"red", "cross", "rejected"},
	"failed-retriable": {"amber", "clock", "later"}, "failed-fatal": {"red", "alert", "failed"}, "progress": {"blue", "dots", "in work"},
	"running": {"blue", "dots", "running"}, "not-executed": {"amber", "minus", "not executed"},
}

func outcomeLook(o string) look {
	if l, ok := outcomeLooks[o]; ok {
		return l
	}
	return look{"grey", "ring", o}
}

// actFormPath is the form of an action. It is no child of the instance's address: an id may hold slashes.
func actFormPath(workflowID string) string {
	return "/act" + strings.TrimPrefix(instancePath(workflowID), "/instances")
}

func actPath(workflowID, action, path string) string {
	q := url.Values{"action": {action}}
	if path != "" {
		q.Set("path", path)
	}
	return actFormPath(workflowID) + "?" + q.Encode()
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}
