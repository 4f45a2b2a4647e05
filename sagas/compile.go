package sagas

import "strings"

// Compile turns a definition into a plan: a DAG of calls with compiled expressions. The error is
// Findings. A definition that was made in Go and not by ParseDefinition is checked here in full.
func Compile(d *Definition) (*Plan, error) {
	if d.src == nil {
		parsed, err := ParseDefinition("", d.Canonical())
		if err != nil {
			return nil, err
		}
		d = parsed
	}
	r := &report{file: d.src.report.file, lines: d.src.report.lines}
	plan := checkDefinition(r, d)
	if len(r.found) > 0 {
		return nil, r.found.asError()
	}
	return plan, nil
}

// compilePlan fills in all of a plan but its expressions.
func compilePlan(d *Definition) *Plan {
	p := &Plan{
		Type:            d.Saga,
		Version:         d.Version,
		Pivot:           -1,
		Deadline:        d.Deadline,
		Retention:       d.Retention.State,
		MarkerRetention: d.Retention.Marker,
		Definition:      d,
		Steps:           make([]PlanStep, len(d.Steps)),
	}
	if d.Input != nil {
		p.Input = &InputRule{*d.Input}
	}
	for i := range d.Steps {
		s := &d.Steps[i]
		participant, command, _ := strings.Cut(s.Call, ".")
		ps := PlanStep{
			Path:        s.ID,
			Kind:        s.Kind,
			Participant: participant,
			Command:     command,
			Topic:       d.Participants[participant].Topic,
			Keep:        s.Keep,
			Attempt:     s.Attempt,
			Within:      s.Within,
			Retry:       s.Retry,
			OnUnknown:   s.OnUnknown,
			KeyWindow:   d.Participants[participant].KeyWindow,
			AlertAfter:  s.AlertAfter,
			Parent:      -1,
			End:         i + 1,
		}
		// A list is a chain: each step waits for the one before it.
		if i > 0 {
			ps.Deps = []int{i - 1}
		}
		if i+1 < len(d.Steps) {
			ps.Dependents = []int{i + 1}
		}
		if q := s.Inquire; q != nil {
			_, asked, _ := strings.Cut(q.Call, ".")
			ps.Inquire = &Inquire{Command: asked, Every: q.Every, For: q.For, Attempt: q.Attempt}
		}
		if u := s.Undo; u != nil {
			undoer, undo, _ := strings.Cut(u.Call, ".")
			ps.Undo = &Undo{
				Participant: undoer,
				Command:     undo,
				Topic:       d.Participants[undoer].Topic,
				Attempt:     u.Attempt,
				Retry:       u.Retry,
				AlertAfter:  u.AlertAfter,
			}
		}
		if s.Kind == Pivot && p.Pivot < 0 {
			p.Pivot = i
		}
		p.Steps[i] = ps
	}
	return p
}
