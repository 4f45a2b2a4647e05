package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/amendsio/amends/sagas"
)

// line is one step, or one undo, of an instance.
type line struct {
	text  string
	key   string // leg and state: what makes it another line
	mark  string
	final bool // it will not change in the normal course of things
}

const (
	markDone    = "✓"
	markFailed  = "✗"
	markUndone  = "↶"
	markWaiting = "…"
	markIdle    = "·"
)

var colours = map[string]string{markDone: "\x1b[32m", markFailed: "\x1b[31m", markUndone: "\x1b[33m"}

func (l line) coloured() string {
	if c := colours[l.mark]; c != "" {
		return strings.Replace(l.text, l.mark, c+l.mark+"\x1b[0m", 1)
	}
	return l.text
}

// word is how a state reads.
type word struct {
	mark, text string
	final      bool
}

var forwardWords = map[string]word{
	"IDLE":      {markIdle, "not reached", false},
	"READY":     {markWaiting, "ready", false},
	"PENDING":   {markWaiting, "waiting for the answer", false},
	"BACKOFF":   {markWaiting, "waiting to try again", false},
	"INQUIRING": {markWaiting, "asking what became of it", false},
	"DONE":      {markDone, "done", true},
	"REFUSED":   {markFailed, "refused", true},
	"FAILED":    {markFailed, "failed", true},
	"UNKNOWN":   {markFailed, "outcome unknown", true},
	"SKIPPED":   {markIdle, "skipped", true},
	"ABANDONED": {markIdle, "never sent", true},
	"OPEN":      {markWaiting, "open", false},
}

var undoWords = map[string]word{
	"OWED":        {markWaiting, "undo owed", false},
	"U_PENDING":   {markWaiting, "undo waiting for the answer", false},
	"U_BACKOFF":   {markWaiting, "undo waiting to try again", false},
	"U_INQUIRING": {markWaiting, "asking whether it still stands", false},
	"U_STOPPED":   {markFailed, "undo stopped", true},
	"UNDONE":      {markUndone, "undone", true},
	"UNDO_NOOP":   {markUndone, "nothing to undo", true},
	"WAIVED":      {markUndone, "undo waived", true},
}

// stepLines shows the steps in the order of the plan, then the undos in reverse. With a trail it says how long
// each took, and the records: the last command and the answer.
func stepLines(v sagas.View, known *trail) []line {
	width := 0
	for _, s := range v.Steps {
		width = max(width, utf8.RuneCountInString(s.Path))
	}
	var lines []line
	add := func(l leg, w word, remark string) {
		text := fmt.Sprintf("  %s %-*s  ", w.mark, width, l.path)
		if known != nil {
			took, places := known.text(l)
			text += fmt.Sprintf("%8s  ", took)
			if places != "" {
				remark += "  " + places
			}
		}
		lines = append(lines, line{text: text + w.text + remark, key: fmt.Sprint(l, w.text), mark: w.mark, final: w.final})
	}
	for _, s := range v.Steps {
		add(leg{path: s.Path}, lookUp(forwardWords, s.State), stepRemark(s))
	}
	for _, s := range slices.Backward(v.Steps) {
		if s.Undo != "" {
			add(leg{s.Path, true}, lookUp(undoWords, s.Undo), attemptRemark(s.UndoAttempts))
		}
	}
	return lines
}

func lookUp(words map[string]word, state string) word {
	if w, ok := words[state]; ok {
		return w
	}
	return word{markWaiting, strings.ToLower(state), false}
}

func stepRemark(s sagas.StepView) string {
	remark := ""
	if s.State != "DONE" && (s.Code != "" || s.Message != "") {
		remark = ": " + strings.TrimSpace(s.Code+" "+s.Message)
	}
	return remark + attemptRemark(s.Attempts)
}

func attemptRemark(n uint32) string {
	if n > 1 {
		return fmt.Sprintf(" (%d attempts)", n)
	}
	return ""
}

func headline(v sagas.View) string {
	if v.Version == 0 {
		return v.WorkflowID
	}
	return fmt.Sprintf("%s  v%d", v.WorkflowID, v.Version)
}

// summary is the last line of a watch.
func summary(v sagas.View) string {
	s := v.Phase
	if took := time.Duration(v.EndedAt-v.StartedAt) * time.Millisecond; v.EndedAt > 0 && took >= 0 {
		s += " in " + took.String()
	}
	if v.Phase == "compensated" && len(v.Obligations) == 0 {
		s += ": nothing is left done"
	}
	if v.Cause != "" {
		s += " (" + v.Cause + ")"
	}
	if len(v.Residue) > 0 {
		s += ", may have effects: " + strings.Join(v.Residue, ", ")
	}
	for _, a := range v.Attention {
		s += "\nneeds a person: " + strings.TrimSpace(a.Reason+" "+a.Path)
		if a.Text != "" {
			s += ": " + a.Text
		}
	}
	return s
}
