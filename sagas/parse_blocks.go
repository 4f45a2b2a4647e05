package sagas

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	eachFields   = []string{"in", "as", "key", "atOnce", "max", "onItemFailure"}
	raceFields   = []string{"first"}
	scopeFields  = []string{"retry", "catch"}
	repeatFields = []string{"rounds", "wait", "wake", "until"}
)

// lanes reads a map of named lanes. They are independent of each other, so their order is that of
// their names.
func (dec *decoder) lanes(n *node, path, what string, depth int) []LaneDef {
	if !n.isMap {
		dec.fault(n.at, "SG01", path, "Write a list of steps below the name of each lane.", "%s must be a map of lanes, got %s", what, n.kind())
		return nil
	}
	if len(n.entries) > MaxLanes {
		dec.fault(n.at, "SG01", path, "", "%d lanes, the limit is %d", len(n.entries), MaxLanes)
		return nil
	}
	var lanes []LaneDef
	for _, e := range n.entries {
		p := join(path, e.key)
		dec.src.places[p] = e.at
		if why := laneName.check(e.key); why != "" {
			dec.fault(e.at, "SG03", p, "", "%s", why)
			continue
		}
		lanes = append(lanes, LaneDef{Name: e.key, Steps: dec.list(e.val, p, depth+1)})
	}
	slices.SortFunc(lanes, func(a, b LaneDef) int { return cmp.Compare(a.Name, b.Name) })
	return lanes
}

// choose reads the branches: conditions in order, and else as the last.
func (dec *decoder) choose(n *node, path string, depth int) []LaneDef {
	if !n.isList {
		dec.fault(n.at, "SG01", path, "Write a dash before each branch.", "choose must be a list of branches, got %s", n.kind())
		return nil
	}
	if len(n.items) > MaxLanes {
		dec.fault(n.at, "SG01", path, "", "%d branches, the limit is %d", len(n.items), MaxLanes)
		return nil
	}
	var lanes []LaneDef
	for i, x := range n.items {
		p := join(path, strconv.Itoa(i+1))
		dec.src.places[p] = x.at
		if !x.isMap {
			dec.fault(x.at, "SG01", p, "", "a branch must be a map, got %s", x.kind())
			continue
		}
		last := i == len(n.items)-1
		if other := x.child(LaneElse); other != nil {
			dec.fields(x, p, "else", []string{LaneElse}, nil)
			if !last {
				dec.fault(x.at, "SG01", p, "Move it to the end.", "else must be the last branch")
				continue
			}
			lanes = append(lanes, LaneDef{Name: LaneElse, Steps: dec.list(other, join(p, LaneElse), depth+1)})
			continue
		}
		dec.fields(x, p, "a branch", []string{"when", "do"}, nil)
		l := LaneDef{Name: strconv.Itoa(i + 1)}
		if w := dec.required(x, p, "when", "Say when the branch is taken, or make it else."); w != nil {
			l.When = dec.expression(w, join(p, "when"))
		}
		if do := dec.required(x, p, "do", "Add do: with a list of steps; do: [] does nothing."); do != nil {
			l.Steps = dec.list(do, join(p, "do"), depth+1)
		}
		lanes = append(lanes, l)
	}
	if len(n.items) == 0 || n.items[len(n.items)-1].child(LaneElse) == nil {
		dec.fault(n.at, "SG01", path, "Add - else: with a list of steps; else: [] does nothing.", "choose has no else")
	}
	return lanes
}

var itemFailureNames = []string{"", ItemFails: "fail", ItemCollect: "collect", ItemTolerate: "tolerate"}

func (dec *decoder) each(n *node, path string) *EachDef {
	e := &EachDef{As: DefaultItemName, AtOnce: DefaultAtOnce, Max: DefaultMaxItems, OnFailure: ItemFails}
	if !dec.fields(n, path, "each", eachFields, nil) {
		return e
	}
	e.In = dec.expression(dec.required(n, path, "in", "Say which list, for example in: '=input.lines'."), join(path, "in"))
	if as := n.child("as"); as != nil {
		if s, ok := dec.str(as, join(path, "as"), "as"); ok {
			if why := itemName.check(s); why != "" {
				dec.fault(as.at, "SG03", join(path, "as"), "", "%s", why)
			} else if slices.Contains(reservedNames, s) {
				dec.fault(as.at, "SG03", join(path, "as"), "Use another name.", "%q has a meaning in expressions already", s)
			} else {
				e.As = s
			}
		}
	}
	if key := n.child("key"); key == nil {
		dec.fault(n.at, "SG27", path, "Add key:, for example key: '="+e.As+".id'. It names the item in paths and keys, whatever its position.", "each has no key")
	} else {
		e.Key = dec.expression(key, join(path, "key"))
	}
	e.AtOnce = dec.integer(n, path, "atOnce", DefaultAtOnce, 1, MaxItems)
	if m := n.child("max"); m != nil {
		i, ok := m.scalar.(int64)
		switch {
		case !ok || i < 1:
			dec.fault(m.at, "SG01", join(path, "max"), "", "max must be an integer from 1 to %d", MaxItems)
		case i > MaxItems:
			dec.fault(m.at, "SG27", join(path, "max"), "Start a child saga for each part of the list.", "max is %d, the limit is %d items", i, MaxItems)
		default:
			e.Max = uint32(i)
		}
	}
	f := n.child("onItemFailure")
	if f == nil || !f.isMap {
		if e.OnFailure = ItemFailure(dec.choice(f, join(path, "onItemFailure"), "onItemFailure", itemFailureNames, int(ItemFails))); e.OnFailure == ItemTolerate {
			dec.fault(f.at, "SG01", join(path, "onItemFailure"), "Write {tolerate: 3}.", "tolerate needs a number")
		}
	} else if dec.fields(f, join(path, "onItemFailure"), "onItemFailure", []string{"tolerate"}, nil) {
		if dec.required(f, join(path, "onItemFailure"), "tolerate", "Write {tolerate: 3}.") != nil {
			e.OnFailure = ItemTolerate
			e.Tolerate = dec.integer(f, join(path, "onItemFailure"), "tolerate", 1, 1, MaxItems)
		}
	}
	return e
}

func (dec *decoder) race(n, v *node, path string, st *StepDef, depth int) {
	st.Race = &RaceDef{First: 1}
	if lanes := dec.required(n, path, "lanes", "Add lanes: with a list of steps below the name of each."); lanes != nil {
		st.Lanes = dec.lanes(lanes, path+"/lanes", "lanes", depth)
	}
	if !dec.fields(v, path+"/race", "race", raceFields, nil) {
		return
	}
	st.Race.First = dec.integer(v, path+"/race", "first", 1, 1, MaxLanes)
}

func (dec *decoder) scope(n, v *node, path string, st *StepDef, depth int) {
	sc := &ScopeDef{Rounds: 1}
	st.Scope = sc
	st.Lanes = dec.body(n, path, depth)
	path += "/scope"
	if !dec.fields(v, path, "scope", scopeFields, nil) {
		return
	}
	retry, catch := v.child("retry"), v.child("catch")
	if retry == nil && catch == nil {
		dec.fault(v.at, "SG01", path, "Add retry: or catch:.", "a scope does nothing without retry or catch")
	}
	if p := path + "/retry"; retry != nil && dec.fields(retry, p, "retry", []string{"rounds", "on", "wait"}, nil) {
		if dec.required(retry, p, "rounds", "Say how often the body may run.") != nil {
			sc.Rounds = dec.integer(retry, p, "rounds", 2, 2, MaxScopeRounds)
		}
		sc.RetryOn = dec.codes(retry, p)
		sc.Wait = dec.waits(retry.child("wait"), p+"/wait", sc.Rounds-1)
	}
	if p := path + "/catch"; catch != nil && dec.fields(catch, p, "catch", []string{"on", "do"}, nil) {
		sc.CatchOn = dec.codes(catch, p)
		lane := LaneDef{Name: LaneCatch}
		if do := dec.required(catch, p, "do", "Add do: with a list of steps; do: [] does nothing."); do != nil {
			lane.Steps = dec.list(do, p+"/do", depth+1)
		}
		if sc.CatchOn == nil { // a finding; the lane stays a lane
			sc.CatchOn = []string{"*"}
		}
		st.Lanes = append(st.Lanes, lane)
	}
}

// codes reads the failure codes of a scope. "*" alone stands for all.
func (dec *decoder) codes(n *node, path string) []string {
	on := dec.required(n, path, "on", "List the codes, or ['*'] for all.")
	if on == nil {
		return nil
	}
	codes := dec.strings(on, path+"/on", "on")
	if on.isList && len(on.items) == 0 {
		dec.fault(on.at, "SG01", path+"/on", "List the codes, or ['*'] for all.", "on is empty")
	}
	for i, c := range codes {
		p := path + "/on/" + strconv.Itoa(i)
		if c == "*" && len(codes) > 1 {
			dec.fault(dec.src.place(p), "SG01", p, "Take the others out.", "\"*\" stands for all codes")
		} else if c == "" || len(c) > maxCode {
			dec.fault(dec.src.place(p), "SG03", p, "", "a code has 1 to %d bytes", maxCode)
		}
	}
	slices.Sort(codes)
	return codes
}

// waits reads a list of pauses. There is no use in more than most of them, because the last one
// also stands for all that follow.
func (dec *decoder) waits(n *node, path string, most uint32) []time.Duration {
	if n == nil {
		return nil
	}
	if !n.isList {
		dec.fault(n.at, "SG01", path, "Write a list, for example [10s, 1m]; the last one also stands for all later rounds.", "wait must be a list of durations, got %s", n.kind())
		return nil
	}
	if uint64(len(n.items)) > uint64(most) {
		dec.fault(n.at, "SG01", path, "", "%d pauses, but there are at most %d", len(n.items), most)
		return nil
	}
	var out []time.Duration
	for i, x := range n.items {
		p := join(path, strconv.Itoa(i))
		dec.src.places[p] = x.at
		s, ok := x.scalar.(string)
		if v, isInt := x.scalar.(int64); isInt && v == 0 {
			s, ok = "0", true
		}
		if !ok {
			dec.fault(x.at, "SG01", p, "Add a unit, for example 30s.", "a pause must be a duration, got %s", x.kind())
			continue
		}
		d, err := parseDuration(s)
		if err != nil {
			dec.fault(x.at, "SG01", p, "", "the pause is %q: %s", s, err.Error())
			continue
		}
		out = append(out, d)
	}
	return normalWaits(out)
}

// normalWaits drops what the rule for the last pause says anyway.
func normalWaits(waits []time.Duration) []time.Duration {
	n := len(waits)
	for n > 1 && waits[n-1] == waits[n-2] {
		n--
	}
	if n == 0 || n == 1 && waits[0] == 0 {
		return nil
	}
	return waits[:n:n]
}

func (dec *decoder) repeat(n *node, path string) *RepeatDef {
	r := &RepeatDef{Rounds: 1}
	if !dec.fields(n, path, "repeat", repeatFields, nil) {
		return r
	}
	if rounds := n.child("rounds"); rounds == nil {
		dec.fault(n.at, "SG28", path, "Add rounds:, the most rounds that it may run.", "repeat has no end")
	} else {
		r.Rounds = dec.integer(n, path, "rounds", 1, 1, MaxRounds)
	}
	r.Wait = dec.waits(n.child("wait"), join(path, "wait"), r.Rounds)
	r.Wake = dec.signals(n.child("wake"), join(path, "wake"))
	if r.Wake != nil && len(r.Wait) == 0 {
		dec.fault(dec.src.place(join(path, "wake")), "SG01", join(path, "wake"), "Add wait:.", "there is no wait that a signal could end")
	}
	r.Until = dec.expression(dec.required(n, path, "until", "Say when it is satisfied; it is asked after each round."), join(path, "until"))
	return r
}

// signals reads a list of names of signals.
func (dec *decoder) signals(n *node, path string) []string {
	names := dec.strings(n, path, path[strings.LastIndexByte(path, '/')+1:])
	for i, s := range names {
		if why := signalName.check(s); why != "" {
			p := join(path, strconv.Itoa(i))
			dec.fault(dec.src.place(p), "SG03", p, "", "%s", why)
		}
	}
	slices.Sort(names)
	return names
}
