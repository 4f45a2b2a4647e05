package sagatest

import (
	"fmt"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// snapshot is what the last answer showed of the instance, so that the next one shows only changes.
type snapshot struct {
	phase     string
	attention string
	residue   string
	steps     map[string]string
}

func (s *Script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format, args...) }

func (s *Script) println(text string) { s.printf("%s\n", text) }

// printPlan shows what the machine will run: each step with its kind and what it waits for.
func (s *Script) printPlan(ref string, p *sagas.Plan) {
	s.println(ref)
	for i := range p.Steps {
		step := &p.Steps[i]
		s.printf("  %s%s", indent(p, i), step.Path)
		if step.Node == sagas.NodeCall {
			s.printf(" %s %s.%s", kindNames[step.Kind], step.Participant, step.Command)
		} else {
			s.printf(" %s", step.Node)
		}
		if step.Parent >= 0 && len(p.Steps[step.Parent].Lanes) > 1 {
			s.printf(" in %s", p.Steps[step.Parent].Lanes[step.Lane].Name)
		}
		if len(step.Deps) > 0 {
			var deps []string
			for _, d := range step.Deps {
				deps = append(deps, p.Steps[d].Path)
			}
			s.printf(" after %s", strings.Join(deps, ","))
		}
		if step.Undo != nil {
			s.printf(" undo %s.%s", step.Undo.Participant, step.Undo.Command)
		}
		if step.Inquire != nil {
			s.printf(" inquire %s", step.Inquire.Command)
		}
		s.println("")
	}
}

// indent shows how deep a node lies in the bodies of others.
func indent(p *sagas.Plan, i int) string {
	out := ""
	for up := p.Steps[i].Parent; up >= 0; up = p.Steps[up].Parent {
		out += "  "
	}
	return out
}

// observe prints the effects of one event and the changes it made. Events that the verb did not
// name itself (timers and replies while time passes) get a line with their time first.
func (s *Script) observe(r Record) {
	s.coverage.note(s.world.Plan, r.After)
	if s.ownEvent {
		s.ownEvent = false
	} else {
		s.printf("[%s] %s\n", since(r.Now, s.origin), formatEvent(r.Event))
	}
	for _, e := range r.Effects {
		s.println(formatEffect(e, r.Now, &s.names))
	}
	s.changes()
}

// changes prints how the instance differs from what was shown last.
func (s *Script) changes() {
	next := s.take()
	prev := s.before
	s.before = next
	inst := s.world.Instance()
	if inst != nil {
		for i := range inst.Steps {
			path := inst.Steps[i].Path
			was, is := prev.steps[path], next.steps[path]
			if was != is && !(was == "" && is == "IDLE") {
				if was == "" {
					was = "IDLE"
				}
				s.printf("  %s: %s -> %s\n", path, was, is)
			}
		}
	}
	if prev.phase != next.phase {
		s.printf("  phase: %s -> %s\n", prev.phase, next.phase)
	}
	if prev.attention != next.attention {
		s.printf("  attention: %s\n", orNone(next.attention))
	}
	if prev.residue != next.residue {
		s.printf("  residue: %s\n", orNone(next.residue))
	}
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func (s *Script) take() snapshot {
	inst := s.world.Instance()
	if inst == nil {
		return snapshot{phase: "none"}
	}
	next := snapshot{phase: inst.Phase.String(), steps: make(map[string]string), residue: strings.Join(inst.Residue, ", ")}
	var reasons []string
	for _, a := range inst.Attention {
		reasons = append(reasons, a.String())
	}
	next.attention = strings.Join(reasons, ", ")
	for i := range inst.Steps {
		next.steps[inst.Steps[i].Path] = stepState(&inst.Steps[i])
	}
	return next
}

// stepState is the forward state with its attempt, and the undo's beside it: DONE, PENDING(2),
// DONE+U_PENDING(1).
func stepState(s *sagas.StepState) string {
	text := s.State.String()
	switch s.State {
	case sagas.StepPending, sagas.StepBackoff:
		text += fmt.Sprintf("(%d)", s.Attempts)
	case sagas.StepInquiring:
		text += fmt.Sprintf("(%d)", s.Asked)
	}
	if s.Round > 1 {
		text += fmt.Sprintf("/round%d", s.Round)
	}
	if s.Stuck && s.Undo == sagas.UndoNone {
		text += "!"
	}
	if s.Undo == sagas.UndoNone {
		return text
	}
	text += "+" + s.Undo.String()
	switch s.Undo {
	case sagas.UndoPending, sagas.UndoBackoff:
		text += fmt.Sprintf("(%d)", s.UndoAttempts)
	}
	if s.UndoRound > 1 {
		text += fmt.Sprintf("/round%d", s.UndoRound)
	}
	return text
}

// state prints the whole instance.
func (s *Script) state(_ *arguments, _ string) error {
	inst := s.world.Instance()
	if inst == nil {
		s.println("none")
		return nil
	}
	v := s.world.View()
	now := s.world.Now()
	s.printf("%s run=%d phase=%s status=%s", v.WorkflowID, v.Run, v.Phase, v.Status)
	if v.Version != 0 {
		s.printf(" version=%d", v.Version)
	}
	if v.EndedAs != "" {
		s.printf(" ended-as=%s", v.EndedAs)
	}
	if v.Cause != "" {
		s.printf(" cause=%s", quoteIfNeeded(v.Cause))
	}
	if v.CancelRequested {
		s.printf(" cancel-requested")
	}
	if v.DeadlineHit {
		s.printf(" deadline-hit")
	}
	if inst.Suspended {
		s.printf(" suspended")
	}
	if inst.FinishedAs != "" {
		s.printf(" finished-as=%s", inst.FinishedAs)
	}
	s.println("")
	for i := range inst.Steps {
		step := &inst.Steps[i]
		s.printf("  %s: %s", step.Path, stepState(step))
		if step.Code != "" {
			s.printf(" code=%s", step.Code)
		}
		s.println(compact(step.Output))
	}
	for _, a := range v.Attention {
		s.printf("attention %s", a.Reason)
		if a.Path != "" {
			s.printf(" %s", a.Path)
		}
		if a.Text != "" {
			s.printf(": %s", a.Text)
		}
		s.println("")
	}
	for _, o := range v.Obligations {
		s.printf("owes %s: %s", o.Path, o.State)
		if o.Undo != "" {
			s.printf(" %s", o.Undo)
		}
		s.println("")
	}
	for _, path := range v.Residue {
		s.printf("residue %s\n", path)
	}
	for _, f := range v.Frames {
		s.printf("frame %s[%s] %s", f.Path, f.Key, f.State)
		if f.Cause != "" {
			s.printf(" cause=%s", quoteIfNeeded(f.Cause))
		}
		s.println("")
	}
	for i := range inst.Steps {
		step := &inst.Steps[i]
		if step.Timer.Due != 0 {
			what := "answer to"
			switch step.Timer.Kind {
			case sagas.TimerPause:
				what = "next"
			case sagas.TimerWait, sagas.TimerRemind:
				s.printf("timer %s: %s %s\n", since(step.Timer.Due, now), waitNames[step.Timer.Kind], step.Path)
				continue
			}
			s.printf("timer %s: %s %s %s\n", since(step.Timer.Due, now), what, step.Timer.Op, step.Path)
		}
		if step.Alert != 0 {
			s.printf("timer %s: alert %s\n", since(step.Alert, now), step.Path)
		}
	}
	if inst.Deadline != 0 {
		s.printf("timer %s: deadline\n", since(inst.Deadline, now))
	}
	if inst.Expires != 0 {
		s.printf("timer %s: expires\n", since(inst.Expires, now))
	}
	s.statePeople(inst, now)
	if len(inst.Output) > 0 {
		s.printf("output%s\n", compact(inst.Output))
	}
	return nil
}

var waitNames = map[sagas.TimerKind]string{sagas.TimerWait: "end of the wait of", sagas.TimerRemind: "reminder of"}

// ledger prints what the virtual participants executed and reversed.
func (s *Script) ledger(_ *arguments, _ string) error {
	for _, e := range s.world.Participants.Ledger() {
		s.printf("%s executed=%d reversed=%d\n", e.Path, e.Executed, e.Reversed)
	}
	return nil
}

// Describe is a record as text: the event, the effects, and the state after it.
func Describe(r Record) string {
	var names keyNames
	var b strings.Builder
	fmt.Fprintf(&b, "[%s] %s", since(r.Now, Epoch), formatEvent(r.Event))
	for _, e := range r.Effects {
		fmt.Fprintf(&b, "\n      %s", formatEffect(e, r.Now, &names))
	}
	if r.After == nil {
		b.WriteString("\n      = none")
		return b.String()
	}
	fmt.Fprintf(&b, "\n      = %s", r.After.Phase)
	for i := range r.After.Steps {
		fmt.Fprintf(&b, " %s:%s", r.After.Steps[i].Path, stepState(&r.After.Steps[i]))
	}
	for _, a := range r.After.Attention {
		fmt.Fprintf(&b, " attention(%s)", a)
	}
	return b.String()
}
