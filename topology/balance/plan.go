package balance

import (
	"cmp"
	"slices"
)

// Plan decides. It costs about members² × tasks/member for each task that has to
// move, and nothing that grows with time.
func Plan(in Input) Output {
	p := newPlanner(in)
	if len(p.m) > 0 {
		p.claim()
		p.place()
		p.rescue()
		p.drain()
		p.level()
		p.wish()
		p.spread()
		p.warmUp()
		p.improve()
	}
	return p.output()
}

// planner holds a plan in the making. Members are known by their place in a
// canonical order, so that nothing depends on the order of the input.
type planner struct {
	in     Input
	m      []*Member
	from   []int   // place in in.Members
	takers []int   // may receive: all that do not drain, or all when all drain
	taker  []bool  // the same, by member
	next   [][]int // tasks that a member was promised by the last plan, ascending
	known

	owner  []int  // by task
	runs   []int  // by task: who runs it now; -1 for nobody, so that placing it takes nothing away
	active []int  // number of tasks by member
	gave   []bool // by member: to level the load
	took   []bool

	pending []move  // what waits for a copy to be warm
	copies  [][]int // by task
	standby []int   // number of copies by member
	warmUps []move  // copies beyond those
	probe   bool
}

// move takes a task, or a copy of it, from a member to another.
type move struct{ task, from, to int }

func newPlanner(in Input) *planner {
	k, n := len(in.Members), int(max(in.Tasks, 0))
	p := &planner{
		in: in, from: make([]int, k), taker: make([]bool, k), next: make([][]int, k),
		owner: make([]int, n), active: make([]int, k), gave: make([]bool, k), took: make([]bool, k),
		copies: make([][]int, n), standby: make([]int, k),
	}
	for i := range p.from {
		p.from[i] = i
	}
	slices.SortStableFunc(p.from, func(a, b int) int {
		x, y := &in.Members[a], &in.Members[b]
		return cmp.Or(cmp.Compare(x.Instance, y.Instance), cmp.Compare(x.ID, y.ID))
	})
	for i, at := range p.from {
		p.m = append(p.m, &in.Members[at])
		if !p.m[i].Draining {
			p.takers = append(p.takers, i)
		}
	}
	if len(p.takers) == 0 {
		for i := range p.m {
			p.takers = append(p.takers, i)
		}
	}
	for _, i := range p.takers {
		p.taker[i] = true
	}
	p.known = learn(p.m, n, in.Lag)
	return p
}

// promised says whether the last plan announced the task to the member.
func (p *planner) promised(i, task int) bool {
	_, found := slices.BinarySearch(p.next[i], task)
	return found
}

// claim finds the owners: the newest claim counts. A member that has missed a
// rebalance may claim what runs elsewhere by now.
func (p *planner) claim() {
	at := make([]int32, len(p.owner))
	for t := range p.owner {
		p.owner[t] = -1
	}
	newest := p.m[0].Generation
	for i, m := range p.m {
		newest = max(newest, m.Generation)
		for _, task := range m.Active {
			t := int(task)
			if t < 0 || t >= len(p.owner) || p.owner[t] >= 0 && m.Generation <= at[t] {
				continue
			}
			p.owner[t], at[t] = i, m.Generation
		}
	}
	p.runs = slices.Clone(p.owner)
	for _, i := range p.owner {
		if i >= 0 {
			p.active[i]++
		}
	}
	for i, m := range p.m {
		if m.Generation != newest {
			continue // it was promised things by a plan that is gone
		}
		for _, task := range m.Next {
			p.next[i] = append(p.next[i], int(task))
		}
		slices.Sort(p.next[i])
	}
}

func (p *planner) give(t, to int) {
	if from := p.owner[t]; from >= 0 {
		p.active[from]--
	}
	p.owner[t] = to
	p.active[to]++
}

// place gives tasks that nobody runs to somebody at once: to a member with a warm
// copy if there is one, even if it gets more than its share, because the task
// stands still until then.
func (p *planner) place() {
	for t := range p.owner {
		if p.owner[t] >= 0 {
			continue
		}
		for _, i := range p.takers {
			if p.promised(i, t) && p.nearly(i, t) {
				p.give(t, i)
				break
			}
		}
	}
	for t := range p.owner {
		if p.owner[t] >= 0 {
			continue
		}
		p.give(t, best(p.takers, func(a, b int) int {
			if x, y := p.warm(a, t), p.warm(b, t); x && y {
				return cmp.Or(cmp.Compare(p.active[a], p.active[b]), cmp.Compare(p.lag[a][t], p.lag[b][t]))
			}
			return cmp.Or(cmp.Compare(p.lag[a][t], p.lag[b][t]), cmp.Compare(p.active[a], p.active[b]))
		}))
	}
}

// rescue takes a task from an owner that is far behind, for example because it
// came back without its disk, to a member that has a warm copy.
func (p *planner) rescue() {
	for t, o := range p.owner {
		if p.in.WarmUps <= 0 || p.runs[t] < 0 || !p.follows[o][t] || p.nearly(o, t) {
			continue
		}
		ready := p.takersWho(func(i int) bool { return i != o && p.follows[i][t] && p.warm(i, t) })
		if len(ready) > 0 {
			p.give(t, p.leastActive(ready, t))
		}
	}
}

// movable says whether a member may take a task over at once: it lacks little
// more than who runs it now. One that nobody runs may go to whoever is as good as
// the one that has just been found for it.
func (p *planner) movable(t, to int) bool {
	o := p.owner[t]
	switch now := p.runs[t]; {
	case p.in.WarmUps <= 0:
		return true
	case now < 0:
		return p.warm(to, t) || !p.warm(o, t) && p.lag[to][t] <= p.lag[o][t]
	default:
		return p.sure[to][t] && p.lag[to][t]-p.in.Lag <= p.lag[now][t]
	}
}

// drain moves what draining members run to members with a warm copy.
func (p *planner) drain() {
	for t, o := range p.owner {
		if p.taker[o] {
			continue
		}
		if ready := p.takersWho(func(i int) bool { return p.movable(t, i) }); len(ready) > 0 {
			p.give(t, p.leastActive(ready, t))
		}
	}
}

// level moves tasks to members that have at least two fewer and may take them at
// once, until there are none. Nobody gives below its share, takes above it, or
// does both, so that no task moves which need not.
func (p *planner) level() {
	for {
		m, ok := p.leveling()
		if !ok {
			return
		}
		p.give(m.task, m.to)
		p.gave[m.from], p.took[m.to] = true, true
	}
}

func (p *planner) leveling() (move, bool) {
	order := slices.Clone(p.takers)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.active[a], p.active[b]) })
	tasks := p.tasksOf()
	floor := len(p.owner) / len(p.takers)
	ceil := (len(p.owner) + len(p.takers) - 1) / len(p.takers)
	for _, from := range slices.Backward(order) {
		for _, to := range order {
			if p.took[from] || p.gave[to] {
				continue
			}
			if p.active[from]-p.active[to] < 2 || p.active[from] <= floor || p.active[to] >= ceil {
				break
			}
			ready := slices.DeleteFunc(slices.Clone(tasks[from]), func(t int) bool { return !p.movable(t, to) })
			if len(ready) == 0 {
				continue
			}
			return move{best(ready, func(a, b int) int {
				return cmp.Or(
					compareBool(p.runs[b] < 0, p.runs[a] < 0), // takes nothing away
					compareBool(p.promised(to, b), p.promised(to, a)),
					cmp.Compare(p.lag[to][a], p.lag[to][b]))
			}), from, to}, true
		}
	}
	return move{}, false
}

// wish lists the moves that are left: those to members that have to get a warm
// copy first. What was wished for the last time comes first, then what is nearly
// warm, so that a wish lasts until it is fulfilled.
func (p *planner) wish() {
	load := slices.Clone(p.active)
	done := make([]bool, len(p.owner))
	add := func(m move) {
		p.pending = append(p.pending, m)
		done[m.task] = true
		load[m.from]--
		load[m.to]++
	}
	for t, o := range p.owner {
		if !p.taker[o] {
			add(move{t, o, best(p.takers, func(a, b int) int {
				return cmp.Or(
					compareBool(p.promised(b, t), p.promised(a, t)),
					cmp.Compare(p.lag[a][t], p.lag[b][t]),
					cmp.Compare(load[a], load[b]))
			})})
		}
	}
	tasks := p.tasksOf()
	for {
		least, most := load[p.takers[0]], load[p.takers[0]]
		for _, i := range p.takers {
			least, most = min(least, load[i]), max(most, load[i])
		}
		if most-least < 2 {
			return
		}
		var moves []move
		for _, from := range p.takers {
			if load[from] != most {
				continue
			}
			for _, to := range p.takers {
				if load[to] != least {
					continue
				}
				for _, t := range tasks[from] {
					if !done[t] {
						moves = append(moves, move{t, from, to})
					}
				}
			}
		}
		if len(moves) == 0 {
			return
		}
		add(best(moves, func(a, b move) int {
			return cmp.Or(
				compareBool(p.promised(b.to, b.task), p.promised(a.to, a.task)),
				compareBool(p.took[a.from], p.took[b.from]),
				cmp.Compare(p.lag[a.to][a.task], p.lag[b.to][b.task]))
		}))
	}
}

func (p *planner) takersWho(can func(i int) bool) []int {
	return slices.DeleteFunc(slices.Clone(p.takers), func(i int) bool { return !can(i) })
}

func (p *planner) leastActive(of []int, t int) int {
	return best(of, func(a, b int) int {
		return cmp.Or(
			compareBool(p.promised(b, t), p.promised(a, t)),
			cmp.Compare(p.active[a], p.active[b]),
			cmp.Compare(p.lag[a][t], p.lag[b][t]))
	})
}

// tasksOf are the tasks of each member, ascending.
func (p *planner) tasksOf() [][]int {
	of := make([][]int, len(p.m))
	for t, o := range p.owner {
		of[o] = append(of[o], t)
	}
	return of
}

// best is the least element, the first of equals.
func best[T any](of []T, compare func(a, b T) int) T {
	return slices.MinFunc(of, compare)
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

func (p *planner) output() Output {
	out := Output{Members: make([]Assignment, len(p.m)), Probe: p.probe}
	for i, at := range p.from {
		out.Members[at].ID = p.m[i].ID
	}
	if len(p.m) == 0 {
		return out
	}
	for t, o := range p.owner {
		to := &out.Members[p.from[o]]
		to.Active = append(to.Active, int32(t))
		for _, i := range p.copies[t] {
			to := &out.Members[p.from[i]]
			to.Standby = append(to.Standby, int32(t))
		}
	}
	for _, m := range p.warmUps {
		to := &out.Members[p.from[m.to]]
		to.WarmUp = append(to.WarmUp, int32(m.task))
	}
	for _, m := range p.pending {
		to := &out.Members[p.from[m.to]]
		if slices.Contains(to.Standby, int32(m.task)) || slices.Contains(to.WarmUp, int32(m.task)) {
			to.Next = append(to.Next, int32(m.task))
		}
	}
	for i := range out.Members {
		slices.Sort(out.Members[i].WarmUp)
		slices.Sort(out.Members[i].Next)
	}
	return out
}
