package balance

import (
	"fmt"
	"testing"
)

// group makes k members that share n tasks and their copies evenly.
func group(k, n int, zones int) Input {
	in := Input{Tasks: int32(n), Standbys: 1, Lag: 10_000, WarmUps: 2}
	for i := range k {
		m := Member{ID: fmt.Sprintf("m%03d", i), Warms: true, Generation: 1, Zone: fmt.Sprint(i % zones)}
		for t := range n {
			if t%k == i {
				m.Active = append(m.Active, int32(t))
			}
			if t%k == i || (t+1)%k == i {
				m.Held = append(m.Held, Held{Task: int32(t), Position: 1 << 30, End: 1 << 30})
			}
		}
		in.Members = append(in.Members, m)
	}
	return in
}

// BenchmarkPlan: the largest namespace, when nothing changes, when one of the
// members dies, when one is new, and when all are.
func BenchmarkPlan(b *testing.B) {
	for _, size := range []struct{ members, tasks int }{{3, 12}, {12, 256}, {50, 1024}} {
		rest := group(size.members, size.tasks, 3)
		died, joined, fresh := rest, rest, rest
		died.Members = rest.Members[1:]
		joined.Members = append(rest.Members[:len(rest.Members):len(rest.Members)], Member{ID: "new", Warms: true, Zone: "1", Generation: -1})
		fresh.Members = nil
		for _, m := range rest.Members {
			fresh.Members = append(fresh.Members, Member{ID: m.ID, Zone: m.Zone, Warms: true, Generation: -1})
		}
		for _, c := range []struct {
			name string
			in   Input
		}{{"rest", rest}, {"died", died}, {"joined", joined}, {"fresh", fresh}} {
			b.Run(fmt.Sprintf("%d-members-%d-tasks/%s", size.members, size.tasks, c.name), func(b *testing.B) {
				for b.Loop() {
					Plan(c.in)
				}
			})
		}
	}
}
