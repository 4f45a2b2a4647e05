package sagas

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// start handles rows 1, 2, 3, 5, 6 and 7.
func (m *machine) start(ev *Start) string {
	if m.inst != nil && m.inst.Phase != Mailbox {
		if m.signalsInstead(ev) {
			return m.signal(ev.OrSignal)
		}
		return m.startAgain(ev)
	}
	return m.startNew(ev, m.p, Instance{Run: 1, Rev: 1})
}

// signalsInstead says whether a start that may be a signal is one: the instance is there, and it was not
// this very start that made it. The same input says nothing here: two events may well be alike.
func (m *machine) signalsInstead(ev *Start) bool {
	inst := m.inst
	switch {
	case ev.OrSignal == nil, inst.Phase == Void:
		return false
	case ev.StartID != "" && ev.StartID == inst.StartID:
		return false
	case inst.Phase == Marker: // which has forgotten the id of its start
		return sha256.Sum256(ev.Input) != inst.InputHash && !m.reusable(ev)
	}
	return !m.reusable(ev)
}

// startNew begins a run. base is what the record keeps of what was there before.
func (m *machine) startNew(ev *Start, p *Plan, base Instance) string {
	if p != nil && (p.Type != ev.Type || (ev.Version != 0 && ev.Version != p.Version)) {
		p = nil
	}
	if err := checkStart(ev); err != nil { // row 3
		return m.refuseStart(ev, ClassInvalidInput, err.Error())
	}
	if ev.Unfit != "" {
		return m.refuseStart(ev, ClassInvalidInput, ev.Unfit)
	}
	if p != nil {
		if class, err := admissible(p, ev.Input, ev.IssuedAt, m.now); err != nil { // row 3
			return m.refuseStart(ev, class, err.Error())
		}
	}
	if box := m.inst; box != nil && box.Phase == Mailbox { // what came before the start waits in the run
		base.Rev, base.Seq = box.Rev, box.Seq
		base.Signals, base.Latest, base.SeenSignals, base.AdminIDs = box.Signals, box.Latest, box.SeenSignals, box.AdminIDs
	}
	m.p = p
	m.inst = &base
	inst := m.inst
	inst.WorkflowID = ev.WorkflowID
	inst.Type = ev.Type
	inst.Version = ev.Version
	inst.StartID = ev.StartID
	inst.InputHash = sha256.Sum256(ev.Input)
	inst.Input = ev.Input
	inst.ReplyTo = ev.ReplyTo
	inst.Trace = ev.Trace
	inst.Tags = sortedTags(ev.Tags)
	inst.IssuedAt = min(max(ev.IssuedAt, 0), maxTime)
	inst.StartedAt = m.now
	inst.LastNow = m.now
	if ev.Parent != nil {
		parent := *ev.Parent
		inst.Parent = &parent
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
	m.setUp()
	m.advance()
}

// setUp is run without its first moves.
func (m *machine) setUp() {
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
	tagged := m.addTags()
	detail := make([]KV, 0, 4)
	detail = append(detail, KV{"digest", p.Digest.String()})
	if inst.StartID != "" {
		detail = append(detail, KV{"startId", inst.StartID})
	}
	if inst.Trace != "" {
		detail = append(detail, KV{"trace", inst.Trace})
	}
	if tagged != nil {
		detail = append(detail, KV{"tags", clip(tagged.Error(), maxMessage)})
	}
	m.fact(KindStarted, "", detail...)
}

// addTags evaluates the tags of the definition. A tag of the start goes before one of the same name.
// Tags are for searching: a fault in them is noted in the fact started and stops nothing.
func (m *machine) addTags() error {
	if m.p.Tags == nil {
		return nil
	}
	raw, err := m.render(-1, m.p.Tags, Key{})
	if err != nil {
		return err
	}
	v, err := parseJSON(raw)
	o, ok := v.(*object)
	if err != nil || !ok {
		return errors.New("the tags are no object")
	}
	tags := slices.Clone(m.inst.Tags)
	size := 0
	for _, f := range o.fields {
		if f.val == nil || slices.ContainsFunc(tags, func(t KV) bool { return t.Key == f.key }) {
			continue
		}
		text, isText := f.val.(string)
		if !isText {
			text = string(appendJSON(nil, f.val))
		}
		if size += len(f.key) + len(text); size > maxTagBytes {
			return fmt.Errorf("the tags take more than %d bytes", maxTagBytes)
		}
		tags = append(tags, KV{f.key, text})
	}
	slices.SortFunc(tags, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	m.inst.Tags = tags
	return nil
}

const maxTagBytes = 4 << 10 // of the tags that a definition adds

// startAgain answers a start for a workflow ID that has a record, be it only a marker.
func (m *machine) startAgain(ev *Start) string {
	inst := m.inst
	if inst.Phase == Void { // row 4
		m.fact(KindRejected, "", KV{"code", codeCancelled})
		m.rejectChild(ev, codeCancelled, "")
		return ""
	}
	same := ev.StartID != "" && ev.StartID == inst.StartID
	if !same && ev.Parent == nil { // a child is the same only as the child of the same step
		same = sha256.Sum256(ev.Input) == inst.InputHash
	}
	if same { // row 6
		m.fact(KindDuplicate, "", KV{"status", m.status()})
		m.tellAgain(ev)
		return ""
	}
	if m.reusable(ev) { // row 7
		return m.startNew(ev, m.given, Instance{Run: inst.Run + 1, Rev: inst.Rev, Seq: inst.Seq, LastNow: inst.LastNow})
	}
	m.fact(KindConflict, "", KV{"status", m.status()}) // row 7
	m.deadLetter(ClassConflict, "workflow ID "+inst.WorkflowID+" already has a run with another input")
	m.rejectChild(ev, ClassConflict, "workflow ID "+inst.WorkflowID+" belongs to another run")
	return ""
}

// codeCancelled is the code of a start that a cancel forbade.
const codeCancelled = "CANCELLED_BEFORE_START"

// reusable says whether the start may begin the next run of a workflow ID whose run has ended. It must
// have been issued later than the start of that run: an older one that comes again has run before.
func (m *machine) reusable(ev *Start) bool {
	inst, p := m.inst, m.given
	if p == nil || p.Reuse < ReuseAfterFailed || p.Type != ev.Type || (ev.Version != 0 && ev.Version != p.Version) {
		return false
	}
	ended := inst.Phase
	if ended == Marker {
		ended = inst.Ended
	}
	if !ended.Terminal() || (p.Reuse == ReuseAfterFailed && ended == Completed) {
		return false
	}
	began := inst.IssuedAt
	if inst.Phase == Marker { // which does not remember it
		began = inst.EndedAt
	}
	if len(inst.Attention) > 0 || (ended == Completed && inst.kept()) || ev.IssuedAt <= began {
		return false
	}
	if checkStart(ev) != nil {
		return false
	}
	_, err := admissible(p, ev.Input, ev.IssuedAt, m.now)
	return err == nil
}

// tellAgain repeats the end of a child to a parent that starts it again.
func (m *machine) tellAgain(ev *Start) {
	inst := m.inst
	switch {
	case ev.Parent == nil:
	case inst.Phase.Terminal():
		m.tellParent()
	case inst.Phase == Marker:
		m.effects = append(m.effects, TellParent{WorkflowID: ev.Parent.WorkflowID, Done: ChildDone{
			Run: ev.Parent.Run, Path: ev.Parent.Path, Child: inst.WorkflowID, Phase: inst.Ended,
		}})
	}
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
	m.rejectChild(ev, class, message)
	m.dropped = m.inst == nil // signals that wait for a start wait on
	return ""
}

// checkStart is the part of row 3 that needs no plan.
func checkStart(ev *Start) error {
	size := len(ev.WorkflowID) + len(ev.Type) + len(ev.StartID) + len(ev.ReplyTo) + len(ev.Trace)
	if ev.Parent != nil {
		size += len(ev.Parent.WorkflowID) + len(ev.Parent.Path)
	}
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
