package sagatest_test

import (
	"fmt"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagatest"
	"pgregory.net/rapid"
)

// children are the instances that a scenario's saga started. They keep the contract of a child: each
// ends once, goes back when it is asked to, and tells its end as often as it is asked.
type children struct{ known []*child }

type child struct {
	start      sagas.Start
	phase      sagas.Phase // 0 = it runs
	cancelled  bool
	owesAnswer bool
}

// hear takes what a Step says to children.
func (c *children) hear(r sagatest.Record) {
	for _, e := range r.Effects {
		switch e := e.(type) {
		case sagas.StartChild:
			if k := c.find(e.Start.WorkflowID); k != nil && k.start.StartID == e.Start.StartID {
				k.owesAnswer = true
				continue
			}
			c.known = append(c.known, &child{start: e.Start, owesAnswer: true})
		case sagas.TellChild:
			k := c.find(e.WorkflowID)
			if k == nil {
				continue
			}
			switch e.Event.(type) {
			case sagas.Cancel:
				k.cancelled = true
			case sagas.Reverse:
				if k.phase == sagas.Completed {
					k.phase = sagas.Compensated
				}
				k.owesAnswer = true
			}
		}
	}
}

// find is the newest child of that workflow ID.
func (c *children) find(wid string) *child {
	for i := len(c.known) - 1; i >= 0; i-- {
		if c.known[i].start.WorkflowID == wid {
			return c.known[i]
		}
	}
	return nil
}

// tellEnd ends a child, if it runs, and tells its parent.
func (s *scenario) tellEnd(k *child, fails bool) {
	if k.phase == 0 {
		k.phase = sagas.Completed
		if fails || k.cancelled {
			k.phase = sagas.Compensated
		}
	}
	k.owesAnswer = false
	done := sagas.ChildDone{Run: k.start.Parent.Run, Path: k.start.Parent.Path, Child: k.start.WorkflowID, Phase: k.phase}
	if k.phase == sagas.Completed {
		done.Output = []byte(`{"v":1}`)
	} else {
		done.Code = "REFUSED"
	}
	s.w.Feed(done)
}

// signal sends one: for a wait, or the decision of a person on an open approve.
func (s *scenario) signal() {
	ev := sagas.Signal{
		WorkflowID: s.plan.Type + "/x", Name: rapid.SampledFrom([]string{"go", "stop"}).Draw(s.t, "signal"),
		ID: fmt.Sprintf("s%d", rapid.IntRange(0, 9).Draw(s.t, "signal id")), IssuedAt: s.w.Now(), Payload: []byte(`{"v":2}`),
	}
	if inst := s.w.Instance(); inst != nil {
		for i := range inst.Steps {
			if step := &inst.Steps[i]; step.State == sagas.StepOpen && s.plan.Steps[step.Node].Approve != nil && rapid.Bool().Draw(s.t, "decide") {
				ev.Name, ev.Actor = "decision/"+step.Path, rapid.SampledFrom([]string{"ann", "bob"}).Draw(s.t, "actor")
				ev.Payload = []byte(rapid.SampledFrom([]string{`{"decision":"approve"}`, `{"decision":"refuse"}`}).Draw(s.t, "decision"))
				break
			}
		}
	}
	s.feed(ev)
}
