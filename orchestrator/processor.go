package orchestrator

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/topology"
)

var (
	errInstanceTooLarge   = errors.New("the instance would be larger than 900 KiB")
	errInstanceUnreadable = errors.New("the stored instance cannot be read")
	errAboveLevel         = errors.New("the instance would need a higher feature level than the namespace has")
)

// processor runs the sagas of one task. It is used by one goroutine; what it shares with other tasks
// (cfg, topics, definitions) is immutable or synchronised by itself.
type processor struct {
	cfg         Config
	topics      protocol.Topics
	group       string
	partitions  int32 // of the replies topic
	definitions *definitions
	counts      *tally
	again       func() // asks for another Wake

	headers []protocol.Header // scratch of Decode
	encoded []byte            // scratch of store: the cycle copies what is put
	fact    []byte            // scratch of lifecycle
	wid     []byte            // scratch of key

	outgoing []protocol.Header // scratch of command
	source   protocol.Source   // scratch of lifecycle
}

// Process is the walk of one record: decode (already done) -> load -> advance -> stage. All that it
// stages commits in one transaction with the position of rec, or not at all.
func (p *processor) Process(c *topology.Cycle, rec *topology.Record, msg any) error {
	in := msg.(*input)
	p.counts.mark()
	if err := c.Failpoint(topology.FailDecode); err != nil {
		return err
	}
	if in.fault != nil {
		p.deadLetter(c, rec, in.wid, *in.fault)
		return nil
	}
	if in.later != nil {
		return later(in.later)
	}
	return p.walk(c, rec, in.wid, in.event, in.version)
}

// Timer takes the time that has passed to an instance that waits for it: an event like any other.
func (p *processor) Timer(c *topology.Cycle, key []byte) error {
	return p.walk(c, nil, string(key), sagas.Timers{}, 0)
}

// walk is load -> advance -> stage for one event.
func (p *processor) walk(c *topology.Cycle, rec *topology.Record, wid string, ev sagas.Event, version uint32) error {
	// load, through the writes of this cycle
	if err := c.Failpoint(topology.FailLoad); err != nil {
		return err
	}
	stored, err := p.open(c, wid)
	if err != nil {
		return err
	}

	// advance: pure
	if err := c.Failpoint(topology.FailAdvance); err != nil {
		return err
	}
	plan, ev := p.plan(stored.Head(), ev, version)
	before, next, effects, err := stored.Step(plan, ev, sagas.Time(c.Now()), p.gate(c))
	if err != nil {
		return unreadable(wid, err)
	}

	// stage: state and effects of one event belong together
	if err := c.Failpoint(topology.FailStage); err != nil {
		return err
	}
	return p.stage(c, &origin{rec: rec, wid: wid, event: ev, stored: stored, before: before}, next, effects)
}

// gate lets the machine send where the breakers and limits of the runtime allow it.
func (p *processor) gate(c *topology.Cycle) sagas.Gate {
	return func(topic string, what sagas.Sending) bool { return c.May(topic, what == sagas.SendAgain) }
}

// Release lets an instance send what waited for topic.
func (p *processor) Release(c *topology.Cycle, topic string, key []byte) error {
	return p.walk(c, nil, string(key), sagas.Released{Topic: topic}, 0)
}

// plan finds the plan that the event is for. A run keeps the version it was started with, also when
// it continues; a start takes the one it asks for, else the active one, and so does one that may reuse
// the workflow ID of a run that has ended; a parked instance takes what it waits for.
func (p *processor) plan(inst *sagas.Instance, ev sagas.Event, version uint32) (*sagas.Plan, sagas.Event) {
	known := p.definitions.current.Load()
	start, isStart := ev.(sagas.Start)
	if inst != nil && len(inst.Steps) > 0 && !(isStart && inst.Phase.Terminal()) {
		return known.plan(inst.DefinitionRef()), ev
	}
	if isStart {
		plan, resolved := known.resolve(start.Type, version)
		start.Version = resolved
		return plan, start
	}
	if inst == nil {
		return nil, ev
	}
	if inst.Phase == sagas.Parked {
		plan, _ := known.resolve(inst.Type, inst.Version)
		return plan, ev
	}
	return known.plan(inst.DefinitionRef()), ev
}

// wakeSlice bounds the parked instances that one cycle takes up.
const wakeSlice = 200

// Wake tells parked instances that their definition is known by now.
func (p *processor) Wake(c *topology.Cycle) error {
	var keys []string
	err := c.ScanAttr(attrStatus(sagas.Parked), nil, func(key []byte) bool {
		wid := string(key)
		stored, err := p.open(c, wid)
		inst := stored.Head()
		if err != nil || inst == nil || inst.Phase != sagas.Parked {
			return true // unreadable: a record or timer of its own will say so
		}
		if plan, _ := p.plan(inst, sagas.DefLoaded{}, 0); plan != nil {
			keys = append(keys, wid)
		}
		return len(keys) < wakeSlice
	})
	if err != nil {
		return err
	}
	for _, wid := range keys {
		if err := p.walk(c, nil, wid, sagas.DefLoaded{}, 0); err != nil {
			return err
		}
	}
	if len(keys) == wakeSlice {
		p.again()
	}
	return nil
}

// Poison is the way out for what Process or Timer could not do. A record goes to the dead letters; an
// instance whose timer fails is set aside for a person. A record that a newer version of this
// program has written stops the task: to guess at it could lose an obligation.
func (p *processor) Poison(c *topology.Cycle, rec *topology.Record, key []byte, err error) {
	if errors.Is(err, sagas.ErrNewerFormat) {
		panic(fmt.Errorf("%w: upgrade this process", err))
	}
	f := faultOfPoison(err)
	p.cfg.Logger.Error("record or timer set aside", "workflow_id", string(key), "class", f.class, "err", err)
	p.deadLetter(c, rec, string(key), f)
	switch ev := p.eventOf(rec).(type) {
	case sagas.Start:
		if ev.Parent != nil {
			// The parent would wait for ever.
			if err := p.rejectChild(c, &ev, f.class, f.message); err != nil {
				panic(err)
			}
		}
	case sagas.ChildDone: // nobody says it again
		p.setAside(c, string(key), f)
	default:
		if rec == nil && key != nil {
			p.setAside(c, string(key), f)
		}
	}
}

// eventOf reads the event of a record of the control topic again; nil for others.
func (p *processor) eventOf(rec *topology.Record) sagas.Event {
	if rec == nil || rec.Topic != p.topics.Control {
		return nil
	}
	return p.decode(rec).event
}

// setAsidePause is how long an instance that was set aside waits before its timers run again.
const setAsidePause = 10 * 60 * 1000

// setAside asks for a person's attention and moves every due timer of the instance into the future.
// It panics when the instance cannot be read: the task then stops, with the reason.
func (p *processor) setAside(c *topology.Cycle, wid string, f fault) {
	stored, err := p.open(c, wid)
	if err != nil {
		panic(err)
	}
	inst, err := stored.Instance()
	if err != nil {
		panic(unreadable(wid, err))
	}
	if inst == nil {
		return
	}
	now := sagas.Time(c.Now())
	later := func(t *sagas.Time) {
		if *t != 0 && *t <= now {
			*t = now + setAsidePause
		}
	}
	next := *inst
	next.Steps = slices.Clone(inst.Steps)
	later(&next.Deadline)
	later(&next.Expires)
	for i := range next.Steps {
		later(&next.Steps[i].Timer.Due)
		later(&next.Steps[i].Alert)
	}
	next.Signals = slices.Clone(inst.Signals)
	for i := range next.Signals {
		later(&next.Signals[i].Expires)
	}
	next.Rev++
	next.LastNow = max(next.LastNow, now)
	var effects []sagas.Effect
	reason := sagas.Reason(f.class)
	if next.Phase.Active() && !slices.ContainsFunc(next.Attention, func(a sagas.Attention) bool { return a.Path == "" && a.Reason == reason }) {
		next.Attention = append(slices.Clone(next.Attention), sagas.Attention{Reason: reason, Since: now, Text: f.message})
		slices.SortFunc(next.Attention, func(a, b sagas.Attention) int {
			return strings.Compare(a.Path+"\x00"+string(a.Reason), b.Path+"\x00"+string(b.Reason))
		})
		next.Seq++
		open := make([]string, len(next.Attention))
		for i, a := range next.Attention {
			open[i] = a.String()
		}
		effects = append(effects, sagas.Lifecycle{
			WorkflowID: wid, Type: next.Type, Version: next.Version, Run: next.Run, Seq: next.Seq, Rev: next.Rev, At: now,
			Kind: sagas.KindAttention, Phase: next.Phase, Attention: open, Detail: []sagas.KV{{Key: "reason", Value: f.class}},
		})
	}
	if err := p.stage(c, &origin{wid: wid, stored: stored, before: inst}, &next, effects); err != nil {
		panic(err)
	}
}
