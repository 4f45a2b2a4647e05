package balance

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestPlan plays the goldens: a block is a group as its members told of
// themselves, and the plan that comes out. A member is
//
//	<id> [draining] [cold] [zone=<z>] [gen=<n>] [active=0,1] [next=2] [refuses=3] [held=0,1:900,2:50/900]
//
// cold is a member that keeps no copies. Held is a task whose store is complete,
// or how much is in it, or how much of how much; the first two of a block with
// end=<n> are of that many. A held task with a question mark is a store at rest:
// its member knows what is in it, and not what is missing.
func TestPlan(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			in := parseInput(t, d)
			out := Plan(in)
			for range len(in.Members) { // the order of members makes no difference
				in.Members = append(in.Members[1:], in.Members[0])
				out.Members = append(out.Members[1:], out.Members[0])
				if again := Plan(in); !reflect.DeepEqual(again, out) {
					t.Errorf("%s: another order of members gives another plan", d.Pos)
				}
			}
			return formatPlan(out)
		})
	})
}

func parseInput(t *testing.T, d *datadriven.TestData) Input {
	in := Input{Standbys: 1, Lag: 10_000, WarmUps: 2}
	end := int64(1_000_000)
	for _, arg := range d.CmdArgs {
		n, err := strconv.ParseInt(arg.Vals[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch arg.Key {
		case "tasks":
			in.Tasks = int32(n)
		case "standbys":
			in.Standbys = int(n)
		case "warmups":
			in.WarmUps = int(n)
		case "lag":
			in.Lag = n
		case "end":
			end = n
		default:
			d.Fatalf(t, "%s: what is that?", arg.Key)
		}
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			d.Fatalf(t, "%v", err)
		}
		return n
	}
	tasks := func(s string) (list []int32) {
		for _, one := range strings.Split(s, ",") {
			list = append(list, int32(number(one)))
		}
		return list
	}
	for _, line := range strings.Split(d.Input, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		m := Member{ID: words[0], Warms: true, Generation: 1}
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "draining":
				m.Draining = true
			case "cold":
				m.Warms = false
			case "zone":
				m.Zone = value
			case "gen":
				m.Generation = int32(number(value))
			case "active":
				m.Active = tasks(value)
			case "next":
				m.Next = tasks(value)
			case "refuses":
				m.Refuses = tasks(value)
			case "held":
				for _, one := range strings.Split(value, ",") {
					task, at, _ := strings.Cut(one, ":")
					h := Held{Task: int32(number(task)), Position: end, End: end}
					at, rest := strings.CutSuffix(at, "?")
					if at, of, ok := strings.Cut(at, "/"); ok {
						h.Position, h.End = number(at), number(of)
					} else if at != "" {
						h.Position = number(at)
					}
					if rest {
						h.End = -1
					}
					m.Held = append(m.Held, h)
				}
			default:
				d.Fatalf(t, "%s: what is that?", word)
			}
		}
		in.Members = append(in.Members, m)
	}
	return in
}

func formatPlan(out Output) string {
	var b strings.Builder
	list := slices.Clone(out.Members)
	slices.SortFunc(list, func(a, b Assignment) int { return strings.Compare(a.ID, b.ID) })
	for _, a := range list {
		b.WriteString(a.ID)
		for _, part := range []struct {
			name  string
			tasks []int32
		}{{"active", a.Active}, {"standby", a.Standby}, {"warm-up", a.WarmUp}, {"next", a.Next}} {
			if len(part.tasks) > 0 {
				fmt.Fprintf(&b, "  %s %s", part.name, strings.Trim(fmt.Sprint(part.tasks), "[]"))
			}
		}
		b.WriteString("\n")
	}
	if out.Probe {
		b.WriteString("probe\n")
	}
	return b.String()
}
