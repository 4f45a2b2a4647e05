package sagatest_test

import (
	"time"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
	"pgregory.net/rapid"
)

// scenario is one random life of one instance: a plan, an input, participants in some mood, a wire
// that loses, delays, doubles and reorders, and interventions from outside.
type scenario struct {
	t     *rapid.T
	plan  *sagas.Plan
	w     *sagatest.World
	mood  mood
	calm  bool // participants answer and the wire is perfect: what "fair" means for liveness
	trace []sagatest.Record
	fed   []sagas.Event
	kids  children
	watch func(sagatest.Record)

	outlive           bool // goes on past the retention of an ended instance
	cancelled, closed bool
}

// knobs say which interventions a scenario may have.
type knobs struct {
	plan       func(*rapid.T) *sagas.Plan // nil = drawPlan
	moods      []mood                     // nil = all
	noCancel   bool
	noClose    bool
	noClock    bool // no clock faults
	noFaults   bool // perfect wire, though in any order
	forgetful  bool // participants may break the contract: no stored refusals, no tombstones, no deadlines
	actionsMax int  // 0 = 60
}

func newScenario(t *rapid.T, k knobs, watch func(sagatest.Record)) *scenario {
	if k.plan == nil {
		k.plan = drawPlan
	}
	if k.moods == nil {
		k.moods = moods
	}
	s := &scenario{t: t, plan: k.plan(t), watch: watch, mood: rapid.SampledFrom(k.moods).Draw(t, "mood")}
	s.w = sagatest.New(s.plan)
	s.w.Participants.Forgetful = k.forgetful && rapid.Bool().Draw(t, "forgetful")
	s.w.Auto = func(sagas.Command) bool { return true }
	s.w.Participants.Behaviour = func(c sagas.Command) sagatest.Answer {
		if s.calm {
			return sagatest.Answer{}
		}
		return drawAnswer(t, s.mood, c)
	}
	if !k.noFaults {
		s.w.Faults.Command = func(sagas.Command) sagatest.Fate { return s.fate("command") }
		s.w.Faults.Reply = func(sagas.Reply) sagatest.Fate { return s.fate("reply") }
	}
	s.w.Observe = func(r sagatest.Record) {
		s.trace = append(s.trace, r)
		s.kids.hear(r)
		if s.watch != nil {
			s.watch(r)
		}
	}
	return s
}

func (s *scenario) fate(label string) sagatest.Fate {
	if s.calm {
		return sagatest.Fate{}
	}
	switch rapid.SampledFrom([]string{"now", "now", "now", "now", "now", "later", "much later", "twice", "lost"}).Draw(s.t, label) {
	case "later":
		return sagatest.Fate{Delay: seconds(s.t, "by", 1, 7, 20)}
	case "much later":
		return sagatest.Fate{Delay: seconds(s.t, "by", 60, 400)}
	case "twice":
		return sagatest.Fate{Copies: 1, Spread: seconds(s.t, "apart", 0, 1, 15, 100)}
	case "lost":
		return sagatest.Fate{Lost: true}
	}
	return sagatest.Fate{}
}

func (s *scenario) feed(ev sagas.Event) []sagas.Effect {
	switch ev.(type) {
	case sagas.Start, sagas.Cancel, sagas.Admin:
		s.fed = append(s.fed, ev)
	}
	return s.w.Feed(ev)
}

// run plays the random part: the start and then up to actionsMax actions.
func (s *scenario) run(k knobs) {
	if k.actionsMax == 0 {
		k.actionsMax = 60
	}
	actions := []string{"arrive", "arrive", "arrive", "any", "any", "time", "time", "pause", "crash", "tick", "again"}
	if s.plan.Type == "drawn" {
		actions = append(actions, "child", "child", "signal", "signal")
	}
	if !k.noCancel {
		actions = append(actions, "cancel")
	}
	if !k.noClose {
		actions = append(actions, "close")
	}
	if !k.noClock {
		actions = append(actions, "clock")
	}
	start := sagas.Start{
		WorkflowID: s.plan.Type + "/x",
		Type:       s.plan.Type,
		Version:    s.plan.Version,
		Input:      drawInput(s.t, s.plan),
		IssuedAt:   s.w.Now(),
	}
	if !k.noCancel && rapid.IntRange(0, 30).Draw(s.t, "cancel first") == 30 {
		s.cancel()
	}
	s.feed(start)
	s.outlive = rapid.IntRange(0, 9).Draw(s.t, "outlive") == 9
	n := rapid.IntRange(0, k.actionsMax).Draw(s.t, "actions")
	for range n {
		s.act(rapid.SampledFrom(actions).Draw(s.t, "act"))
	}
}

func (s *scenario) act(action string) {
	switch action {
	case "arrive": // the next thing, in order of time; few scenarios are about what outlives the end
		if s.w.InFlight() > 0 || !sagatest.Terminal(s.w.Instance()) || s.outlive {
			s.w.Step()
		}
	case "any": // anything on its way, out of order
		if n := s.w.InFlight(); n > 0 {
			s.w.Deliver(rapid.IntRange(0, n-1).Draw(s.t, "which"))
		}
	case "time":
		s.w.Advance(seconds(s.t, "advance", 1, 6, 31, 130))
	case "pause":
		s.w.Advance(seconds(s.t, "long", 700, 4000))
	case "crash":
		if err := s.w.Crash(); err != nil {
			s.t.Fatalf("crash: %v", err)
		}
	case "child":
		if len(s.kids.known) > 0 {
			child := s.kids.known[rapid.IntRange(0, len(s.kids.known)-1).Draw(s.t, "which child")]
			s.tellEnd(child, rapid.IntRange(0, 2).Draw(s.t, "child fails") == 2)
		}
	case "signal":
		s.signal()
	case "tick":
		s.w.Feed(sagas.Timers{})
	case "again": // an event that was fed before comes once more
		if n := len(s.trace); n > 0 {
			s.w.Feed(s.trace[rapid.IntRange(0, n-1).Draw(s.t, "which event")].Event)
		}
	case "cancel":
		if rapid.IntRange(0, 4).Draw(s.t, "really cancel") == 0 {
			s.cancel()
		}
	case "close":
		if rapid.IntRange(0, 12).Draw(s.t, "really close") == 0 {
			s.closed = true
			s.feed(sagas.Admin{Action: sagas.AdminClose, Operator: "op", Reason: "test"})
		}
	case "clock": // not where the record may be gone: nothing else remembers the time
		if s.outlive {
			return
		}
		s.w.Jump(seconds(s.t, "clock jumps", -3600, -30, -1, 1, 30, 3600))
	}
}

func (s *scenario) cancel() {
	s.cancelled = true
	s.feed(sagas.Cancel{WorkflowID: s.plan.Type + "/x", RequestID: rapid.SampledFrom([]string{"r1", "r2"}).Draw(s.t, "request"), Reason: "test", Actor: "op"})
}

// settle is the fair part: from now on everybody answers, at once, and time goes on until the end
// of the instance, or as long as anything can still happen within the limit. What is still on its
// way arrives too.
func (s *scenario) settle() {
	s.calm = true
	const limit = 12 * time.Hour // far below the retention of an ended instance
	const busy = 5000            // events: no fair half day needs more
	before := len(s.trace)
	s.w.Run(limit, func() bool {
		if len(s.trace) > before+busy {
			s.trace = append(s.trace[:before:before], s.trace[len(s.trace)-20:]...)
			failf(s.t, s, "it goes on and on")
		}
		for i := 0; i < len(s.kids.known); i++ { // children end, and tell it; others may start meanwhile
			if child := s.kids.known[i]; child.owesAnswer {
				s.tellEnd(child, false)
			}
		}
		return sagatest.Terminal(s.w.Instance()) && s.w.InFlight() == 0
	})
	if err := s.w.Err(); err != nil {
		s.t.Fatalf("%v", err)
	}
}
