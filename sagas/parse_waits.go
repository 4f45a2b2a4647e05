package sagas

import (
	"slices"
)

var (
	sagaFields    = []string{"type", "version", "id", "input", "reversible"}
	awaitFields   = []string{"signal", "topic", "match", "equals", "ttl", "when", "within", "onTimeout"}
	sleepFields   = []string{"for", "until", "wake"}
	approveFields = []string{"roles", "not", "quorum", "within", "remindEvery", "onTimeout"}
)

// child reads a node that starts another saga.
func (dec *decoder) child(n *node, path string) *SagaDef {
	c := &SagaDef{}
	if !dec.fields(n, path, "saga", sagaFields, nil) {
		return c
	}
	if t := dec.required(n, path, "type", "Name the saga that is started."); t != nil {
		if s, ok := dec.str(t, path+"/type", "type"); ok {
			if why := sagaName.check(s); why != "" {
				dec.fault(t.at, "SG03", path+"/type", "", "%s", why)
			} else {
				c.Type = s
			}
		}
	}
	c.Version = dec.integer(n, path, "version", 0, 1, 1<<31-1)
	c.ID = dec.expression(dec.required(n, path, "id", "Say which id the child gets, for example id: '=input.orderId'."), path+"/id")
	c.Input = notEmpty(dec.tree(n.child("input"), path+"/input"))
	if r := n.child("reversible"); r != nil {
		b, ok := r.scalar.(bool)
		if !ok {
			dec.fault(r.at, "SG01", path+"/reversible", "", "reversible must be true or false, got %s", r.kind())
		}
		c.Reversible = b
	}
	return c
}

func (dec *decoder) await(n *node, path string, st *StepDef, depth int) {
	a := &AwaitDef{OnTimeout: TimeoutFail}
	st.Await = a
	if !dec.fields(n, path, "await", awaitFields, nil) {
		return
	}
	if isEvent(n) {
		dec.awaitEvent(n, path, a)
	} else if s := dec.required(n, path, "signal", "Name the signal that it waits for, or the topic of the events."); s != nil {
		if name, ok := dec.str(s, path+"/signal", "signal"); ok {
			if why := signalName.check(name); why != "" {
				dec.fault(s.at, "SG03", path+"/signal", "", "%s", why)
			} else {
				a.Signal = name
			}
		}
	}
	a.When = dec.expression(n.child("when"), path+"/when")
	a.Within = dec.duration(n, path, "within", 0, true)
	a.OnTimeout = dec.onTimeout(n, path, st, a.Within > 0, depth)
}

var timeoutNames = []string{"", TimeoutFail: "fail", TimeoutContinue: "continue"}

// onTimeout reads what the end of a wait means: a word, or a list of steps.
func (dec *decoder) onTimeout(n *node, path string, st *StepDef, within bool, depth int) TimeoutRule {
	v := n.child("onTimeout")
	path += "/onTimeout"
	if v != nil && !within && !dec.bad[path[:len(path)-len("onTimeout")]+"within"] {
		dec.fault(v.at, "SG01", path, "Add within:.", "the wait has no end, so onTimeout has no meaning")
	}
	if v == nil || !v.isMap {
		return TimeoutRule(dec.choice(v, path, "onTimeout", timeoutNames, int(TimeoutFail)))
	}
	if !dec.fields(v, path, "onTimeout", []string{"do"}, nil) {
		return TimeoutFail
	}
	do := dec.required(v, path, "do", "Add do: with a list of steps.")
	if do == nil {
		return TimeoutFail
	}
	st.Lanes = []LaneDef{{Name: LaneTimeout, Steps: dec.list(do, path+"/do", depth+1)}}
	return TimeoutLane
}

func (dec *decoder) sleep(n *node, path string) *SleepDef {
	s := &SleepDef{}
	if !dec.fields(n, path, "sleep", sleepFields, nil) {
		return s
	}
	s.For = dec.duration(n, path, "for", 0, false)
	s.Until = dec.expression(n.child("until"), path+"/until")
	if hasFor, hasUntil := n.child("for") != nil, n.child("until") != nil; hasFor == hasUntil {
		dec.fault(n.at, "SG01", path, "for: is a duration, until: an expression that gives a time.", "sleep needs either for or until")
	}
	s.Wake = dec.signals(n.child("wake"), path+"/wake")
	return s
}

func (dec *decoder) approve(n *node, path string, st *StepDef, depth int) {
	a := &ApproveDef{Quorum: 1, OnTimeout: TimeoutFail}
	st.Approve = a
	if !dec.fields(n, path, "approve", approveFields, nil) {
		return
	}
	if roles := dec.required(n, path, "roles", "List who may decide."); roles != nil {
		a.Roles = dec.strings(roles, path+"/roles", "roles")
		if roles.isList && len(roles.items) == 0 {
			dec.fault(roles.at, "SG01", path+"/roles", "List who may decide.", "roles is empty")
		}
		for i, r := range a.Roles {
			if r == "" || len(r) > 2*MaxNameBytes {
				dec.fault(roles.items[min(i, len(roles.items)-1)].at, "SG03", path+"/roles", "", "the name of a role has 1 to %d bytes", 2*MaxNameBytes)
			}
		}
		slices.Sort(a.Roles)
	}
	a.Not = dec.expression(n.child("not"), path+"/not")
	a.Quorum = dec.integer(n, path, "quorum", 1, 1, maxQuorum)
	a.Within = dec.duration(n, path, "within", 0, true)
	a.RemindEvery = dec.duration(n, path, "remindEvery", 0, true)
	a.OnTimeout = dec.onTimeout(n, path, st, a.Within > 0, depth)
}

// maxQuorum bounds how many people an approval can need: their names are kept.
const maxQuorum = 20
