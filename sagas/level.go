package sagas

// MaxLevel is the highest feature level that this release knows. Level 1 is a list of plain calls;
// level 2 adds all other nodes, order and undo edges by `after`, tags, policies, and the names and
// functions that expressions got with them. Level 3 adds bindings, correlation,
// commands in Avro, and pii.
const MaxLevel = 3

// instanceLevel is the highest level of an instance: what came later is not in its record.
const instanceLevel = 2

// Level is the feature level that a process needs to run the definition: what it uses asks for it,
// and `requires` may raise it.
func (d *Definition) Level() uint32 {
	level := max(d.usedLevel(), d.Requires)
	if level < MaxLevel && d.src == nil {
		// A definition made in Go has not been through the checks, which look at the expressions.
		if parsed, err := ParseDefinition("", d.Canonical()); err == nil {
			return parsed.Level()
		}
	}
	return level
}

// usedLevel is the level by what the definition uses.
func (d *Definition) usedLevel() uint32 {
	if len(d.On) > 0 || len(d.PII) > 0 || d.usesFormats() || d.correlates() {
		return 3
	}
	return d.machineLevel()
}

// correlates says whether events come to instances, or from participants, by a value.
func (d *Definition) correlates() bool {
	for _, p := range d.Participants {
		if p.Correlate != nil {
			return true
		}
	}
	return awaitsEvents(d.Steps)
}

func awaitsEvents(list []StepDef) bool {
	for i := range list {
		if a := list[i].Await; a != nil && a.Topic != "" {
			return true
		}
		for k := range list[i].Lanes {
			if awaitsEvents(list[i].Lanes[k].Steps) {
				return true
			}
		}
	}
	return false
}

// machineLevel is the level by what instances do.
func (d *Definition) machineLevel() uint32 {
	if len(d.Tags) > 0 || d.OnFailure > Drain || d.Reuse > ReuseNever || d.src != nil && d.src.newExprs {
		return 2
	}
	for i := range d.Steps {
		if d.Steps[i].usedLevel() > 1 {
			return 2
		}
	}
	return 1
}

func (s *StepDef) usedLevel() uint32 {
	if s.Node != NodeCall || s.After != nil || s.OnReject || s.Lease != "" || s.Heartbeat > 0 || s.Undo != nil && len(s.Undo.After) > 0 {
		return 2
	}
	return 1
}
