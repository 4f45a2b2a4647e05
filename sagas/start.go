package sagas

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// start handles rows 1, 2, 3, 6 and 7.
func (m *machine) start(ev *Start) string {
	if m.inst != nil {
		return m.startAgain(ev)
	}
	p := m.p
	if p != nil && (p.Type != ev.Type || (ev.Version != 0 && ev.Version != p.Version)) {
		p = nil
	}
	if err := checkStart(ev); err != nil { // row 3
		return m.refuseStart(ev, ClassInvalidInput, err.Error())
	}
	if p != nil {
		if class, err := admissible(p, ev.Input, ev.IssuedAt, m.now); err != nil { // row 3
			return m.refuseStart(ev, class, err.Error())
		}
	}
	m.inst = &Instance{
		WorkflowID: ev.WorkflowID,
		Type:       ev.Type,
		Version:    ev.Version,
		Run:        1,
		Rev:        1,
		StartID:    ev.StartID,
		InputHash:  sha256.Sum256(ev.Input),
		Input:      ev.Input,
		ReplyTo:    ev.ReplyTo,
		Trace:      ev.Trace,
		Tags:       sortedTags(ev.Tags),
		IssuedAt:   min(max(ev.IssuedAt, 0), maxTime),
		StartedAt:  m.now,
		LastNow:    m.now,
	}
	m.effects = make([]Effect, 0, 4)
	if p == nil { // row 2
		m.inst.Phase = Parked
		m.inst.Expires = after(m.now, parkedMax)
		m.fact(KindParked, "", KV{"until", strconv.FormatInt(int64(m.inst.Expires), 10)})
		return ""
	}
	m.run()
	return ""
}

// run is row 1: the instance has its input and gets its plan. REQUIRES: m.p is that plan.
func (m *machine) run() {
	inst, p := m.inst, m.p
	inst.Phase = Running
	inst.Version = p.Version
	inst.Digest = p.Digest
	inst.StartedAt = m.now
	inst.Expires = 0
	if p.Deadline > 0 {
		inst.Deadline = after(m.now, p.Deadline)
	}
	inst.Level = p.level()
	inst.Steps = make([]StepState, 0, len(p.Steps))
	for node := 0; node < len(p.Steps); {
		inst.Steps = append(inst.Steps, newStep(p, node, 0, p.Steps[node].Path))
		if inst.dynamic() {
			node = p.next(node)
		} else {
			node++
		}
	}
	detail := make([]KV, 0, 3)
	detail = append(detail, KV{"digest", p.Digest.String()})
	if inst.StartID != "" {
		detail = append(detail, KV{"startId", inst.StartID})
	}
	if inst.Trace != "" {
		detail = append(detail, KV{"trace", inst.Trace})
	}
	m.fact(KindStarted, "", detail...)
	m.advance()
}

// startAgain answers a start for a workflow ID that has a record, be it only a marker.
func (m *machine) startAgain(ev *Start) string {
	inst := m.inst
	if inst.Phase == Void { // row 4
		m.fact(KindRejected, "", KV{"code", "CANCELLED_BEFORE_START"})
		return ""
	}
	same := ev.StartID != "" && ev.StartID == inst.StartID
	if same || sha256.Sum256(ev.Input) == inst.InputHash { // row 6
		m.fact(KindDuplicate, "", KV{"status", m.status()})
		return ""
	}
	m.fact(KindConflict, "", KV{"status", m.status()}) // row 7
	m.deadLetter(ClassConflict, "workflow ID "+inst.WorkflowID+" already has a run with another input")
	return ""
}

// status is the phase, in a marker the one in which the run ended.
func (m *machine) status() string {
	if m.inst.Phase == Marker {
		return m.inst.Ended.String()
	}
	return m.inst.Phase.String()
}

// refuseStart tells of a start that leaves no record.
func (m *machine) refuseStart(ev *Start, class, message string) string {
	m.effects = append(m.effects, Lifecycle{
		WorkflowID: clip(ev.WorkflowID, maxStartBytes), Type: clip(ev.Type, maxStartBytes), Version: ev.Version, Run: 1,
		At: m.now, Kind: KindRejected,
		Detail: []KV{{"code", class}, {"message", clip(message, maxMessage)}},
	})
	m.deadLetter(class, message)
	m.dropped = true
	return ""
}

// checkStart is the part of row 3 that needs no plan.
func checkStart(ev *Start) error {
	size := len(ev.WorkflowID) + len(ev.Type) + len(ev.StartID) + len(ev.ReplyTo) + len(ev.Trace)
	for k, v := range ev.Tags {
		size += len(k) + len(v)
	}
	switch {
	case ev.WorkflowID == "":
		return errors.New("the start has no workflow ID")
	case ev.Type == "":
		return errors.New("the start has no saga type")
	case size > maxStartBytes:
		return fmt.Errorf("ids and tags take %d bytes, at most %d are allowed", size, maxStartBytes)
	case len(ev.Input) > MaxInputBytes:
		return fmt.Errorf("the input takes %d bytes, at most %d are allowed", len(ev.Input), MaxInputBytes)
	case len(ev.Input) == 0 || ev.Input[0] != '{':
		return errors.New("the input is not a JSON object")
	}
	return nil
}

// admissible is the part of row 3 that needs the plan.
func admissible(p *Plan, input []byte, issuedAt, now Time) (class string, err error) {
	if len(p.Steps) > MaxPaths {
		return ClassUnknownDefinition, fmt.Errorf("the definition has %d steps, at most %d are allowed", len(p.Steps), MaxPaths)
	}
	if p.Input != nil {
		if err := p.Input.Check(input); err != nil {
			return ClassInvalidInput, err
		}
	}
	// When the marker of an ended run is gone, nothing remembers that this start already ran. So no
	// start that is older than markers live is ever accepted.
	if keep := orDefault(p.MarkerRetention, DefaultMarkerRetention); issuedAt > 0 && afterMillis(issuedAt, millis(keep)) <= now {
		return ClassStaleStart, fmt.Errorf("the start was issued at %d, longer ago than %s", issuedAt, keep)
	}
	return "", nil
}

func sortedTags(tags map[string]string) []KV {
	if len(tags) == 0 {
		return nil
	}
	out := make([]KV, 0, len(tags))
	for k, v := range tags {
		out = append(out, KV{k, v})
	}
	slices.SortFunc(out, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	return out
}
