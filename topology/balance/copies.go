package balance

import (
	"cmp"
	"slices"
)

// spread places the copies. Warm ones that exist stay; what is missing goes to
// where the task is to move, to another zone, to where a copy has been begun, and
// to members that have few.
func (p *planner) spread() {
	if p.in.Standbys <= 0 {
		return
	}
	goal := make([]int, len(p.owner))
	for i := range goal {
		goal[i] = -1
	}
	for _, m := range p.pending {
		goal[m.task] = m.to
	}
	var choice []int // tasks with more warm copies than wanted
	for t := range p.owner {
		warm := p.keepers(t, func(i int) bool { return p.kept(i, t) })
		if len(warm) > p.in.Standbys {
			choice = append(choice, t)
			continue
		}
		for _, i := range warm {
			p.copy(t, i)
		}
	}
	for _, t := range choice {
		for range p.in.Standbys {
			p.copy(t, best(p.keepers(t, func(i int) bool { return p.kept(i, t) }), func(a, b int) int {
				return cmp.Or(
					cmp.Compare(p.zones(t, -1, b), p.zones(t, -1, a)),
					cmp.Compare(p.standby[a], p.standby[b]),
					cmp.Compare(p.lag[a][t], p.lag[b][t]))
			}))
		}
	}
	for t := range p.owner {
		for len(p.copies[t]) < p.in.Standbys {
			can := p.keepers(t, func(int) bool { return true })
			if len(can) == 0 {
				break
			}
			p.copy(t, best(can, func(a, b int) int {
				return cmp.Or(
					compareBool(b == goal[t], a == goal[t]),
					cmp.Compare(p.zones(t, -1, b), p.zones(t, -1, a)),
					compareBool(p.follows[b][t], p.follows[a][t]),
					compareBool(p.warm(b, t), p.warm(a, t)),
					cmp.Compare(p.standby[a], p.standby[b]),
					cmp.Compare(p.lag[a][t], p.lag[b][t]))
			}))
		}
	}
}

// keepers are the members that could get a copy of a task and have none.
func (p *planner) keepers(t int, can func(i int) bool) []int {
	return p.takersWho(func(i int) bool {
		return p.m[i].Warms && i != p.owner[t] && !slices.Contains(p.copies[t], i) && can(i)
	})
}

// kept says that a member keeps a warm copy.
func (p *planner) kept(i, t int) bool { return p.follows[i][t] && p.warm(i, t) }

func (p *planner) copy(t, i int) {
	p.copies[t] = append(p.copies[t], i)
	p.standby[i]++
}

// zones counts the zones in which a task would be with a copy at to instead of at
// from; -1 for none.
func (p *planner) zones(t, from, to int) int {
	seen := []string{p.m[p.owner[t]].Zone}
	for _, i := range append(slices.Clone(p.copies[t]), to) {
		if i >= 0 && i != from && !slices.Contains(seen, p.m[i].Zone) {
			seen = append(seen, p.m[i].Zone)
		}
	}
	return len(seen)
}

// warmUp begins copies for the moves that wait, as many as are allowed at a time.
// A target that has a standby of the task needs none.
func (p *planner) warmUp() {
	p.probe = len(p.pending) > 0
	list := slices.Clone(p.pending)
	slices.SortStableFunc(list, func(a, b move) int {
		return cmp.Or(
			compareBool(p.taker[a.from], p.taker[b.from]),
			compareBool(p.promised(b.to, b.task), p.promised(a.to, a.task)),
			cmp.Compare(p.lag[a.to][a.task], p.lag[b.to][b.task]),
			cmp.Compare(a.task, b.task))
	})
	for _, m := range list {
		if len(p.warmUps) < p.in.WarmUps && !slices.Contains(p.copies[m.task], m.to) {
			p.warmUps = append(p.warmUps, m)
		}
	}
}

// improve moves copies to where they are worth more: into another zone, then to
// members that have at least two fewer. A warm copy is given up only for one that
// is warm or as good as that, so most of this begins with a warm-up.
func (p *planner) improve() {
	warming := make([]bool, len(p.owner)) // by task: it is about to move, or a copy is
	for _, m := range p.pending {
		warming[m.task] = true
	}
	for {
		m, ok := p.improvement(warming)
		if !ok {
			return
		}
		soon := p.sure[m.to][m.task] && p.warm(m.to, m.task)
		cold := !p.kept(m.from, m.task) && p.lag[m.to][m.task] <= p.lag[m.from][m.task]
		if soon || cold || p.in.WarmUps <= 0 {
			at := slices.Index(p.copies[m.task], m.from)
			p.copies[m.task][at] = m.to
			p.standby[m.from]--
			p.standby[m.to]++
			continue
		}
		p.probe = true
		if len(p.warmUps) >= p.in.WarmUps {
			return
		}
		p.warmUps = append(p.warmUps, m)
		warming[m.task] = true
		p.standby[m.from]-- // as it will be
		p.standby[m.to]++
	}
}

func (p *planner) improvement(skip []bool) (move, bool) {
	var moves []move
	for t, copies := range p.copies {
		if skip[t] || len(copies) == 0 {
			continue
		}
		have := p.zones(t, -1, -1)
		for _, to := range p.keepers(t, func(int) bool { return true }) {
			for _, from := range copies {
				gain := p.zones(t, from, to) - have
				if gain > 0 || gain == 0 && p.standby[from]-p.standby[to] >= 2 {
					moves = append(moves, move{t, from, to})
				}
			}
		}
	}
	if len(moves) == 0 {
		return move{}, false
	}
	return best(moves, func(a, b move) int {
		return cmp.Or(
			cmp.Compare(p.zones(b.task, b.from, b.to), p.zones(a.task, a.from, a.to)),
			cmp.Compare(p.standby[b.from]-p.standby[b.to], p.standby[a.from]-p.standby[a.to]),
			cmp.Compare(p.lag[a.to][a.task], p.lag[b.to][b.task]))
	}), true
}
