package balance

import (
	"cmp"
	"slices"
)

// Plan decides.
func Plan(in Input) Output {
	out := Output{Members: make([]Assignment, len(in.Members))}
	if len(in.Members) == 0 {
		return out
	}
	order := make([]int, len(in.Members))
	var takers []int
	for i, m := range in.Members {
		order[i] = i
		out.Members[i].ID = m.ID
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := in.Members[a], in.Members[b]
		return cmp.Or(cmp.Compare(x.Instance, y.Instance), cmp.Compare(x.ID, y.ID))
	})
	for _, i := range order {
		if !in.Members[i].Draining {
			takers = append(takers, i)
		}
	}
	if len(takers) == 0 {
		takers = order
	}
	owner := make([]int, in.Tasks)
	at := make([]int32, in.Tasks)
	for t := range owner {
		owner[t] = -1
	}
	for _, i := range order {
		for _, t := range in.Members[i].Active {
			if t >= 0 && t < in.Tasks && (owner[t] < 0 || in.Members[i].Generation > at[t]) {
				owner[t], at[t] = i, in.Members[i].Generation
			}
		}
	}
	load := make([]int, len(in.Members))
	for t := range owner {
		if owner[t] >= 0 && !slices.Contains(takers, owner[t]) {
			owner[t] = -1
		}
		if owner[t] >= 0 {
			load[owner[t]]++
		}
	}
	least := func(of []int, not int) int {
		best := -1
		for _, i := range of {
			if i != not && (best < 0 || load[i] < load[best]) {
				best = i
			}
		}
		return best
	}
	for t := range owner {
		if owner[t] < 0 {
			owner[t] = least(takers, -1)
			load[owner[t]]++
		}
	}
	for t := range owner {
		if to := least(takers, -1); load[owner[t]] > load[to]+1 {
			load[owner[t]]--
			owner[t] = to
			load[to]++
		}
	}
	load = make([]int, len(in.Members))
	for t, o := range owner {
		out.Members[o].Active = append(out.Members[o].Active, int32(t))
		var warm []int
		for _, i := range takers {
			if in.Members[i].Warms && i != o {
				warm = append(warm, i)
			}
		}
		for range min(in.Standbys, len(warm)) {
			i := least(warm, -1)
			load[i]++
			warm = slices.DeleteFunc(warm, func(j int) bool { return j == i })
			out.Members[i].Standby = append(out.Members[i].Standby, int32(t))
		}
	}
	return out
}
