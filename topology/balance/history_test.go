package balance

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// world is a group as the protocol makes it: members join, tell what they have,
// get their share, let go of what was taken away and join again. Copies are filled
// between rounds.
type world struct {
	t        *rapid.T
	standbys int
	warmUps  int
	lag      int64
	ends     []int64
	members  []*node
	born     int
	gen      int32
	log      []string

	// While it settles.
	owners [][]string // by task: those it has had
	taken  int        // tasks taken from a living owner
}

// node is a member of a world.
type node struct {
	Member
	stores map[int32]int64
	copies []int32
}

func (w *world) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// tells is what a node says, as coarsely as the wire does.
func (w *world) tells(n *node) Member {
	m := n.Member
	m.Held = nil
	for _, t := range slices.Sorted(maps.Keys(n.stores)) {
		h := Held{Task: t, Position: n.stores[t], End: -1}
		if slices.Contains(n.Active, t) || slices.Contains(n.copies, t) {
			h.End = coarse(w.ends[t])
			h.Position = h.End - coarse(w.ends[t]-n.stores[t])
		}
		m.Held = append(m.Held, h)
	}
	return m
}

// coarse rounds up to a power of two.
func coarse(v int64) int64 {
	c := int64(0)
	for c < v {
		c = max(1, 2*c)
	}
	return c
}

func (w *world) input() Input {
	in := Input{Tasks: int32(len(w.ends)), Standbys: w.standbys, Lag: w.lag, WarmUps: w.warmUps}
	for _, n := range w.members {
		in.Members = append(in.Members, w.tells(n))
	}
	return in
}

// rebalance plays rounds until nothing has to be revoked.
func (w *world) rebalance() (out Output) {
	for round := 0; ; round++ {
		if round > len(w.ends)+4 { // a store at rest may turn out warm as soon as it is opened
			w.fail("the group does not come out of its rounds")
		}
		in := w.input()
		out = Plan(in)
		w.check(in, out)
		w.gen++
		runs := make(map[int32]*node)
		for _, n := range w.members {
			for _, t := range n.Active {
				if r := runs[t]; r == nil || n.Generation > r.Generation {
					runs[t] = n
				}
			}
		}
		claimed := make(map[int32]map[*node]bool)
		for _, n := range w.members {
			for _, t := range n.Active {
				if claimed[t] == nil {
					claimed[t] = make(map[*node]bool)
				}
				claimed[t][n] = true
			}
		}
		again := false
		for i, n := range w.members {
			to := out.Members[i]
			var active, later []int32
			for _, t := range to.Active {
				if others := len(claimed[t]); others > 1 || others == 1 && !claimed[t][n] {
					if runs[t] != n {
						later = append(later, t)
						continue
					}
				}
				active = append(active, t)
			}
			for _, t := range n.Active {
				again = again || !slices.Contains(active, t)
			}
			for _, t := range active {
				if w.owners != nil && (len(w.owners[t]) == 0 || w.owners[t][len(w.owners[t])-1] != n.ID) {
					w.owners[t] = append(w.owners[t], n.ID)
				}
				n.stores[t] = w.ends[t] // it restores before it runs
			}
			n.Active, n.Generation = active, w.gen
			n.copies = slices.Concat(to.Standby, to.WarmUp, later)
			n.Next = slices.Sorted(slices.Values(slices.Concat(to.Next, later)))
		}
		w.note("  round %d: %s", w.gen, strings.ReplaceAll(strings.TrimSpace(formatPlan(out)), "\n", " | "))
		if !again {
			return out
		}
	}
}

// check holds one plan against what package balance promises.
func (w *world) check(in Input, out Output) {
	ran, warmUps := make(map[int32]string), 0
	takers := 0
	for _, m := range in.Members {
		if !m.Draining {
			takers++
		}
	}
	for i, a := range out.Members {
		if a.ID != in.Members[i].ID {
			w.fail("plan is out of order")
		}
		has := make(map[int32]bool)
		for _, t := range a.Active {
			if ran[t] != "" {
				w.fail("task %d runs on %s and %s", t, ran[t], a.ID)
			}
			ran[t], has[t] = a.ID, true
		}
		for _, t := range slices.Concat(a.Standby, a.WarmUp) {
			if has[t] {
				w.fail("%s has task %d twice", a.ID, t)
			}
			has[t] = true
		}
		for _, t := range a.Next {
			if !has[t] || slices.Contains(a.Active, t) {
				w.fail("%s waits for task %d without a copy", a.ID, t)
			}
		}
		warmUps += len(a.WarmUp)
		if in.Members[i].Draining && takers > 0 && len(a.Standby)+len(a.WarmUp) > 0 {
			w.fail("%s is draining and gets copies", a.ID)
		}
	}
	if len(ran) != int(in.Tasks) {
		w.fail("%d tasks run, of %d", len(ran), in.Tasks)
	}
	if warmUps > w.warmUps {
		w.fail("%d warm-ups", warmUps)
	}
	w.checkMoves(in, out)

	// The order of members makes no difference.
	turned := in
	k := rapid.IntRange(0, len(in.Members)-1).Draw(w.t, "turn")
	turned.Members = slices.Concat(in.Members[k:], in.Members[:k])
	again := Plan(turned)
	if again.Members = slices.Concat(again.Members[len(in.Members)-k:], again.Members[:len(in.Members)-k]); !reflect.DeepEqual(out, again) {
		w.fail("another order of members gives another plan:\n%s\n%s", formatPlan(out), formatPlan(again))
	}
}

// checkMoves: a task leaves a living owner for a reason, and arrives where it is warm.
func (w *world) checkMoves(in Input, out Output) {
	k := learn(pointers(in.Members), int(in.Tasks), in.Lag)
	owner, at := make(map[int32]int), make(map[int32]int32)
	for i, m := range in.Members {
		for _, t := range m.Active {
			if _, ok := owner[t]; !ok || m.Generation > at[t] {
				owner[t], at[t] = i, m.Generation
			}
		}
	}
	all := true
	for _, m := range in.Members {
		all = all && m.Draining
	}
	for i, a := range out.Members {
		for _, t := range a.Active {
			o, ok := owner[t]
			if !ok || o == i {
				continue
			}
			w.taken++
			if in.Members[i].Draining && !all {
				w.fail("task %d moves to %s, which is draining", t, a.ID)
			}
			if behind := k.lag[i][t] - k.lag[o][t]; w.warmUps > 0 && in.Members[i].Warms && behind > in.Lag {
				w.fail("task %d moves from %s to %s, which lacks %d more", t, in.Members[o].ID, a.ID, behind)
			}
			rescue := k.lag[o][t] > in.Lag
			if !in.Members[o].Draining && !rescue && len(out.Members[i].Active) > len(out.Members[o].Active)+1 {
				w.fail("task %d moves from %s to %s for no reason", t, in.Members[o].ID, a.ID)
			}
		}
	}
}

func pointers(members []Member) (list []*Member) {
	for i := range members {
		list = append(list, &members[i])
	}
	return list
}

// fill lets every copy read up to n records, and forgets some stores at rest.
func (w *world) fill(n int64) {
	for _, m := range w.members {
		for _, t := range m.copies {
			m.stores[t] = min(w.ends[t], m.stores[t]+n)
		}
		for _, t := range m.Active {
			m.stores[t] = w.ends[t]
		}
	}
}

func (w *world) join(zone string, warms bool, stores map[int32]int64) *node {
	w.born++
	n := &node{Member: Member{ID: fmt.Sprintf("m%d", (w.born*7)%31*100+w.born), Zone: zone, Warms: warms, Generation: -1}, stores: stores}
	w.members = append(w.members, n)
	w.note("%s joins, zone %q, warms %v, stores %v", n.ID, zone, warms, stores)
	return n
}

func (w *world) remove(n *node) {
	w.members = slices.DeleteFunc(w.members, func(m *node) bool { return m == n })
}

// settle plays the time after the last event and demands rest.
func (w *world) settle() {
	w.owners, w.taken = make([][]string, len(w.ends)), 0
	newest := make([]int32, len(w.ends))
	for _, n := range w.members {
		for _, t := range n.Active {
			if len(w.owners[t]) == 0 || n.Generation > newest[t] {
				w.owners[t], newest[t] = []string{n.ID}, n.Generation
			}
		}
	}
	// A task that has to be got off a member that drains or has lost its disk goes
	// to whoever has a copy, and another may have to make room for it.
	orderly := true
	for _, n := range w.members {
		for _, t := range n.Active {
			orderly = orderly && !n.Draining && coarse(w.ends[t]-n.stores[t]) <= w.lag
		}
	}
	load, takers, free := make(map[string]int), 0, 0
	for _, owners := range w.owners {
		if len(owners) == 0 {
			free++
		} else {
			load[owners[0]]++
		}
	}
	for _, n := range w.members {
		if !n.Draining {
			takers++
		}
	}
	// What nobody runs may go to a full member that has a copy, and move on. And a
	// member in the middle may take from the fullest before it gives to the emptiest.
	most := free + takers
	for _, n := range w.members {
		if takers > 0 {
			most += max(0, load[n.ID]-len(w.ends)/takers)
		}
	}
	w.note("settle, orderly %v", orderly)
	biggest := slices.Max(w.ends)
	limit := 8*len(w.ends) + 20
	var last Output
	for round := 0; ; round++ {
		if round > limit {
			w.fail("no rest after %d rounds", round)
		}
		out := w.rebalance()
		if round > 0 && !out.Probe && reflect.DeepEqual(out, last) {
			break
		}
		last = out
		w.fill(max(1, biggest/2+1))
	}
	for t, owners := range w.owners {
		sorted := slices.Sorted(slices.Values(owners))
		if orderly && len(slices.Compact(sorted)) != len(owners) {
			w.fail("task %d goes to and fro: %v", t, owners)
		}
		if len(owners) > 4 {
			w.fail("task %d has had the owners %v", t, owners)
		}
	}
	if orderly && w.taken > most {
		w.fail("%d moves, at most %d are in order", w.taken, most)
	}
	w.rested(last)
}

// rested is what holds once the group has come to rest.
func (w *world) rested(out Output) {
	var takers, keepers []int
	zones := make(map[string]bool)
	for i, n := range w.members {
		if !n.Draining {
			takers = append(takers, i)
			if n.Warms {
				keepers = append(keepers, i)
				zones[n.Zone] = true
			}
		}
	}
	if len(takers) == 0 {
		return
	}
	least, most := len(w.ends), 0
	for i, a := range out.Members {
		if w.members[i].Draining {
			if len(a.Active) > 0 {
				w.fail("%s is draining and has kept tasks", a.ID)
			}
			continue
		}
		least, most = min(least, len(a.Active)), max(most, len(a.Active))
	}
	if most-least > 1 {
		w.fail("from %d to %d tasks on a member", least, most)
	}
	for t := range int32(len(w.ends)) {
		copies, seen := 0, make(map[string]bool)
		others := len(keepers)
		for i, a := range out.Members {
			if slices.Contains(a.Active, t) {
				seen[w.members[i].Zone] = true
				if slices.Contains(keepers, i) {
					others--
				}
			}
			if slices.Contains(a.Standby, t) {
				copies++
				seen[w.members[i].Zone] = true
			}
		}
		if copies != min(w.standbys, others) {
			w.fail("task %d has %d copies, of %d", t, copies, min(w.standbys, others))
		}
		for i, a := range out.Members {
			if slices.Contains(a.Active, t) {
				zones[w.members[i].Zone] = true
				if want := min(len(zones), copies+1); len(seen) < want && w.warmUps > 0 {
					w.fail("task %d is in %d zones, want %d", t, len(seen), want)
				}
				if !slices.Contains(keepers, i) {
					zones = make(map[string]bool)
					for _, k := range keepers {
						zones[w.members[k].Zone] = true
					}
				}
			}
		}
	}
}

// TestHistories plays 1000 membership histories, unless -rapid.checks says otherwise.
func TestHistories(t *testing.T) {
	for i := range 10 {
		t.Run(strconv.Itoa(i), func(t *testing.T) { rapid.Check(t, history) })
	}
}

func history(t *rapid.T) {
	w := &world{
		t:        t,
		standbys: rapid.SampledFrom([]int{1, 1, 1, 0, 2, 3}).Draw(t, "standbys"),
		warmUps:  rapid.SampledFrom([]int{2, 2, 2, 0, 1, 5}).Draw(t, "warm-ups"),
		lag:      rapid.SampledFrom([]int64{0, 1, 1000, 10_000}).Draw(t, "lag"),
	}
	size := rapid.SampledFrom([]int64{0, 100, 100_000, 100_000_000}).Draw(t, "size")
	for range rapid.IntRange(1, 24).Draw(t, "tasks") {
		w.ends = append(w.ends, rapid.Int64Range(0, size).Draw(t, "end"))
	}
	zones := rapid.SampledFrom([][]string{{""}, {"x", "y"}, {"x", "y", "z"}, {"", "x"}}).Draw(t, "zones")
	allWarm := rapid.IntRange(0, 4).Draw(t, "all keep copies") > 0
	join := func(stores map[int32]int64) {
		w.join(rapid.SampledFrom(zones).Draw(t, "zone"), allWarm || rapid.Bool().Draw(t, "keeps copies"), stores)
	}
	for range rapid.IntRange(1, 4).Draw(t, "members") {
		join(map[int32]int64{})
	}
	for range rapid.IntRange(1, 12).Draw(t, "events") {
		n := rapid.SampledFrom(w.members).Draw(t, "member")
		switch event := rapid.SampledFrom([]string{"join", "kill", "kill", "drain", "drain", "leave", "restart", "wipe", "stale", "grow", "fill", "round", "settle"}).Draw(t, "event"); event {
		case "join":
			if len(w.members) < 8 {
				join(map[int32]int64{})
			}
		case "kill", "leave":
			if event == "leave" && !n.Draining {
				continue
			}
			if len(w.members) > 1 {
				w.note("%s is gone", n.ID)
				w.remove(n)
			}
		case "drain":
			w.note("%s drains", n.ID)
			n.Draining = true
		case "restart": // it comes back under another id, with its disk
			w.note("%s restarts", n.ID)
			w.remove(n)
			if len(w.members) > 0 {
				w.rebalance()
			}
			w.join(n.Zone, n.Warms, n.stores)
		case "wipe": // a static member comes back without its disk
			w.note("%s has lost its disk", n.ID)
			for task := range n.stores {
				n.stores[task] = 0
			}
		case "stale": // somebody has missed a rebalance
			old := slices.Clone(n.Active)
			gen := n.Generation
			if len(w.members) > 1 {
				w.note("%s misses a rebalance", n.ID)
				w.remove(n)
				w.rebalance()
				n.Active, n.Generation, n.copies = old, gen, nil
				w.members = append(w.members, n)
			}
		case "grow":
			for task := range w.ends {
				w.ends[task] += rapid.Int64Range(0, size).Draw(t, "more")
			}
		case "fill":
			w.fill(rapid.Int64Range(0, size+1).Draw(t, "records"))
		case "round":
			w.rebalance()
		case "settle":
			w.settle()
			w.owners = nil
		}
	}
	w.settle()
}
