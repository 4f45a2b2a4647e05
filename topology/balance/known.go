package balance

import "math"

// known is what the members have told, put together: for each member and task,
// what its store lacks. Without a store it lacks everything there is.
type known struct {
	limit   int64
	lag     [][]int64 // by member and task
	sure    [][]bool  // that lag is not a guess from positions alone
	follows [][]bool  // the member has the store and knows how far it is behind
}

// patience is how many times the acceptable lag a member that has been promised a
// task, or that runs it, may be behind before it counts as not warm any more: what
// was decided at the limit should not be undone at the limit.
const patience = 4

func learn(members []*Member, tasks int, limit int64) known {
	k := known{limit: limit}
	size, told, held := make([]int64, tasks), make([]bool, tasks), make([]bool, tasks)
	each := func(m *Member, do func(t int, h Held)) {
		for _, h := range m.Held {
			if h.Task >= 0 && int(h.Task) < tasks {
				do(int(h.Task), h)
			}
		}
	}
	for _, m := range members {
		each(m, func(t int, h Held) {
			_, knows := h.Lag()
			held[t], told[t] = true, told[t] || knows
			size[t] = max(size[t], h.End, h.Position)
		})
	}
	for _, m := range members {
		lag, sure, follows := make([]int64, tasks), make([]bool, tasks), make([]bool, tasks)
		for t := range lag {
			// Nobody has anything: either there is nothing, or nobody is better off.
			lag[t], sure[t] = size[t], told[t] || !held[t]
		}
		each(m, func(t int, h Held) {
			if own, knows := h.Lag(); knows {
				lag[t], sure[t], follows[t] = own, true, true
			} else {
				lag[t] = size[t] - max(h.Position, 0)
			}
		})
		if !m.Warms {
			// It will never have a copy to wait for.
			for t := range lag {
				lag[t], sure[t], follows[t] = 0, true, false
			}
		}
		for _, task := range m.Refuses {
			if t := int(task); t >= 0 && t < tasks {
				lag[t], sure[t], follows[t] = math.MaxInt64, true, false
			}
		}
		k.lag, k.sure, k.follows = append(k.lag, lag), append(k.sure, sure), append(k.follows, follows)
	}
	return k
}

// warm says that a member can run a task without much to read first.
func (k *known) warm(i, t int) bool { return k.lag[i][t] <= k.limit }

// nearly is warm with patience.
func (k *known) nearly(i, t int) bool { return k.lag[i][t]/patience <= k.limit }
