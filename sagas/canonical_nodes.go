package sagas

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

func canonicalList(list []StepDef) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i].canonical(afterOf(list, i))
	}
	return out
}

// canonical is a node; after is nil when it waits for the one before it.
func (s *StepDef) canonical(after []string) *object {
	s = s.filled()
	o := &object{}
	o.set("id", s.ID)
	setExpr(o, "when", s.When)
	if after != nil {
		o.set("after", []any{})
		setStrings(o, "after", after)
	}
	if why := strings.TrimSpace(s.Why); why != "" {
		o.set("why", why)
	}
	switch s.Node {
	case NodeCall:
		s.canonicalCall(o)
	case NodeParallel:
		o.set("parallel", canonicalLanes(s.Lanes))
	case NodeChoose:
		o.set("choose", canonicalBranches(s.Lanes))
	case NodeEach:
		o.set("each", s.Each.canonical())
		s.setBody(o)
	case NodeRace:
		o.set("race", &object{fields: []field{{"first", int64(s.Race.First)}}})
		o.set("lanes", canonicalLanes(s.Lanes))
	case NodeScope:
		o.set("scope", s.canonicalScope())
		s.setBody(o)
	case NodeRepeat:
		o.set("repeat", s.Repeat.canonical())
		s.setBody(o)
	case NodeSaga:
		o.set("saga", s.Saga.canonical())
		o.set("kind", s.Kind.String())
		setStrings(o, "keep", s.Keep)
	case NodeAwait:
		o.set("await", s.canonicalAwait())
		setStrings(o, "keep", s.Keep)
	case NodeSleep:
		o.set("sleep", s.Sleep.canonical())
	case NodeApprove:
		o.set("approve", s.canonicalApprove())
	case NodeEmit:
		e := &object{}
		e.set("topic", s.Emit.Topic)
		e.set("type", s.Emit.Type)
		setExpr(e, "key", s.Emit.Key)
		setTree(e, "with", notEmpty(s.Emit.With))
		o.set("emit", e)
	case NodeSet:
		o.set("set", &object{})
		setTree(o, "set", s.Set)
	case NodeFail:
		f := &object{}
		f.set("code", s.Fail.Code)
		if s.Fail.Message != "" {
			f.set("message", s.Fail.Message)
		}
		o.set("fail", f)
	case NodeFinish:
		o.set("finish", s.Finish.Code)
	case NodeContinue:
		c := &object{}
		c.set("input", &object{})
		setTree(c, "input", s.Continue.Input)
		o.set("continue", c)
	}
	return o
}

func (s *StepDef) canonicalCall(o *object) {
	o.set("call", s.Call)
	o.set("kind", s.Kind.String())
	setTree(o, "with", s.With)
	setStrings(o, "keep", s.Keep)
	o.set("attempt", formatDuration(s.Attempt))
	o.set("within", limitText(s.Within > 0, formatDuration(s.Within)))
	o.set("retry", s.Retry.canonical())
	o.set("onUnknown", s.OnUnknown.String())
	if q := s.Inquire; q != nil {
		i := &object{}
		i.set("call", q.Call)
		i.set("every", formatDuration(q.Every))
		i.set("for", formatDuration(q.For))
		i.set("attempt", formatDuration(q.Attempt))
		setTree(i, "with", q.With)
		o.set("inquire", i)
	}
	switch u := s.Undo; {
	case u != nil:
		x := &object{}
		x.set("call", u.Call)
		setTree(x, "with", u.With)
		x.set("attempt", formatDuration(u.Attempt))
		x.set("retry", u.Retry.canonical())
		x.set("alertAfter", limitText(u.AlertAfter > 0, formatDuration(u.AlertAfter)))
		setStrings(x, "after", u.After)
		o.set("undo", x)
	case s.Kind == Compensatable:
		o.set("undo", "none")
	}
	o.set("alertAfter", limitText(s.AlertAfter > 0, formatDuration(s.AlertAfter)))
	if s.OnReject {
		o.set("onReject", "continue")
	}
	setExpr(o, "lease", s.Lease)
	if s.Heartbeat > 0 {
		o.set("heartbeat", formatDuration(s.Heartbeat))
	}
}

func setExpr(o *object, key, text string) {
	if text != "" {
		o.set(key, "="+text)
	}
}

// lane is the lane of that name, nil without one.
func (s *StepDef) lane(name string) *LaneDef {
	if i := slices.IndexFunc(s.Lanes, func(l LaneDef) bool { return l.Name == name }); i >= 0 {
		return &s.Lanes[i]
	}
	return nil
}

func (s *StepDef) setBody(o *object) {
	if l := s.lane(LaneDo); l != nil {
		o.set("do", canonicalList(l.Steps))
	}
}

// filled is the node with the defaults of its kind, for definitions made in Go that left them out.
// The fields of a call must be set.
func (s *StepDef) filled() *StepDef {
	c := *s
	switch s.Node {
	case NodeEach:
		e := *orNew(s.Each)
		e.As = cmp.Or(e.As, DefaultItemName)
		e.AtOnce = cmp.Or(e.AtOnce, DefaultAtOnce)
		e.Max = cmp.Or(e.Max, DefaultMaxItems)
		e.OnFailure = cmp.Or(e.OnFailure, ItemFails)
		c.Each = &e
	case NodeRace:
		c.Race = &RaceDef{First: max(orNew(s.Race).First, 1)}
	case NodeScope:
		c.Scope = orNew(s.Scope)
	case NodeRepeat:
		c.Repeat = orNew(s.Repeat)
	case NodeSaga:
		c.Saga = orNew(s.Saga)
		c.Kind = cmp.Or(s.Kind, Compensatable)
	case NodeAwait:
		a := *orNew(s.Await)
		a.OnTimeout = cmp.Or(a.OnTimeout, TimeoutFail)
		c.Await = &a
	case NodeSleep:
		c.Sleep = orNew(s.Sleep)
	case NodeApprove:
		a := *orNew(s.Approve)
		a.Quorum = cmp.Or(a.Quorum, 1)
		a.OnTimeout = cmp.Or(a.OnTimeout, TimeoutFail)
		c.Approve = &a
	case NodeEmit:
		c.Emit = orNew(s.Emit)
	case NodeFail:
		c.Fail = orNew(s.Fail)
	case NodeFinish:
		c.Finish = orNew(s.Finish)
	case NodeContinue:
		c.Continue = orNew(s.Continue)
	}
	return &c
}

func orNew[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}

func canonicalLanes(lanes []LaneDef) *object {
	o := &object{}
	for i := range lanes {
		o.set(lanes[i].Name, canonicalList(lanes[i].Steps))
	}
	return o
}

func canonicalBranches(lanes []LaneDef) []any {
	out := make([]any, len(lanes))
	for i := range lanes {
		b := &object{}
		if lanes[i].Name == LaneElse {
			b.set(LaneElse, canonicalList(lanes[i].Steps))
		} else {
			setExpr(b, "when", lanes[i].When)
			b.set("do", canonicalList(lanes[i].Steps))
		}
		out[i] = b
	}
	return out
}

func (e *EachDef) canonical() *object {
	o := &object{}
	setExpr(o, "in", e.In)
	o.set("as", e.As)
	setExpr(o, "key", e.Key)
	o.set("atOnce", int64(e.AtOnce))
	o.set("max", int64(e.Max))
	if e.OnFailure == ItemTolerate {
		o.set("onItemFailure", &object{fields: []field{{"tolerate", int64(e.Tolerate)}}})
	} else {
		o.set("onItemFailure", nameAt(itemFailureNames, int(e.OnFailure)))
	}
	return o
}

func (s *StepDef) canonicalScope() *object {
	o := &object{}
	if sc := s.Scope; sc.Rounds > 1 {
		r := &object{}
		r.set("rounds", int64(sc.Rounds))
		setStrings(r, "on", sc.RetryOn)
		setWaits(r, sc.Wait)
		o.set("retry", r)
	}
	if l := s.lane(LaneCatch); l != nil {
		c := &object{}
		setStrings(c, "on", s.Scope.CatchOn)
		c.set("do", canonicalList(l.Steps))
		o.set("catch", c)
	}
	return o
}

func setWaits(o *object, waits []time.Duration) {
	waits = normalWaits(waits)
	if len(waits) == 0 {
		return
	}
	out := make([]any, len(waits))
	for i, w := range waits {
		out[i] = formatDuration(w)
	}
	o.set("wait", out)
}

func (r *RepeatDef) canonical() *object {
	o := &object{}
	o.set("rounds", int64(r.Rounds))
	setWaits(o, r.Wait)
	setStrings(o, "wake", r.Wake)
	setExpr(o, "until", r.Until)
	return o
}

func (c *SagaDef) canonical() *object {
	o := &object{}
	o.set("type", c.Type)
	if c.Version > 0 {
		o.set("version", int64(c.Version))
	}
	setExpr(o, "id", c.ID)
	setTree(o, "input", notEmpty(c.Input))
	o.set("reversible", c.Reversible)
	return o
}

func (s *StepDef) canonicalAwait() *object {
	o := &object{}
	if s.Await.Topic == "" {
		o.set("signal", s.Await.Signal)
	} else {
		s.Await.canonicalEvent(o)
	}
	setExpr(o, "when", s.Await.When)
	s.setTimeout(o, s.Await.Within, s.Await.OnTimeout)
	return o
}

func (s *StepDef) setTimeout(o *object, within time.Duration, rule TimeoutRule) {
	o.set("within", limitText(within > 0, formatDuration(within)))
	if within <= 0 {
		return // nothing happens at an end that never comes
	}
	if l := s.lane(LaneTimeout); rule == TimeoutLane && l != nil {
		o.set("onTimeout", &object{fields: []field{{"do", canonicalList(l.Steps)}}})
	} else {
		o.set("onTimeout", nameAt(timeoutNames, int(rule)))
	}
}

func (s *SleepDef) canonical() *object {
	o := &object{}
	if s.For > 0 {
		o.set("for", formatDuration(s.For))
	}
	setExpr(o, "until", s.Until)
	setStrings(o, "wake", s.Wake)
	return o
}

func (s *StepDef) canonicalApprove() *object {
	o, a := &object{}, s.Approve
	setStrings(o, "roles", a.Roles)
	setExpr(o, "not", a.Not)
	o.set("quorum", int64(a.Quorum))
	s.setTimeout(o, a.Within, a.OnTimeout)
	o.set("remindEvery", limitText(a.RemindEvery > 0, formatDuration(a.RemindEvery)))
	return o
}
