package topology

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/topology/balance"
)

func drawTasks(t *rapid.T, label string) []int32 {
	list := rapid.SliceOfNDistinct(rapid.Int32Range(0, 2000), 0, 20, rapid.ID).Draw(t, label)
	slices.Sort(list)
	if len(list) == 0 {
		return nil
	}
	return list
}

// TestWireRoundTrip: what is said arrives; offsets arrive as the next coarse step.
func TestWireRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 40, maxTextBytes)
		said := tells{
			address: text.Draw(t, "address"), zone: text.Draw(t, "zone"),
			draining: rapid.Bool().Draw(t, "draining"), warms: rapid.Bool().Draw(t, "warms"), next: drawTasks(t, "next"), refuses: drawTasks(t, "refuses"),
		}
		for _, task := range drawTasks(t, "held") {
			h := balance.Held{Task: task, Position: rapid.Int64Range(0, 1<<40).Draw(t, "position"), End: -1}
			if rapid.Bool().Draw(t, "follows") {
				h.End = h.Position + rapid.Int64Range(0, 1<<30).Draw(t, "lag")
			}
			said.held = append(said.held, h)
		}
		heard, ok := decodeTells(said.append(nil))
		if !ok {
			t.Fatal("cannot be read")
		}
		for i, h := range said.held {
			lag, follows := h.Lag()
			got, knows := heard.held[i].Lag()
			if knows != follows || follows && (got < lag || got > max(lag*5/2, 1)) {
				t.Errorf("%+v arrives as %+v", h, heard.held[i])
			}
			if !follows && heard.held[i] != h {
				t.Errorf("%+v arrives as %+v", h, heard.held[i])
			}
		}
		heard.held, said.held = nil, nil
		if !reflect.DeepEqual(heard, said) {
			t.Errorf("%+v arrives as %+v", said, heard)
		}

		s := share{standby: drawTasks(t, "standby"), warmUp: drawTasks(t, "warm-up"), next: drawTasks(t, "to come")}
		for range rapid.IntRange(0, 5).Draw(t, "addresses") {
			s.routes.addresses = append(s.routes.addresses, text.Draw(t, "at"))
		}
		for range rapid.IntRange(0, 9).Draw(t, "tasks") {
			r := route{active: rapid.IntRange(-1, len(s.routes.addresses)-1).Draw(t, "active")}
			for range min(len(s.routes.addresses), rapid.IntRange(0, 3).Draw(t, "copies")) {
				r.standbys = append(r.standbys, rapid.IntRange(0, len(s.routes.addresses)-1).Draw(t, "copy"))
			}
			s.routes.tasks = append(s.routes.tasks, r)
		}
		if got, ok := decodeShare(s.append(nil)); !ok || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v arrives as %+v", s, got)
		}
	})
}

// TestCoarse: the steps are 0, 1, 2, 5, 10 …, and the default limit is one of them.
func TestCoarse(t *testing.T) {
	var steps []int64
	for c := byte(0); c < 8; c++ {
		steps = append(steps, fromCoarse(c))
	}
	if want := []int64{0, 1, 2, 5, 10, 20, 50, 100}; !slices.Equal(steps, want) {
		t.Errorf("%v, want %v", steps, want)
	}
	for _, v := range []int64{0, 1, 10_000} {
		if got := fromCoarse(coarse(v)); got != v {
			t.Errorf("%d is told as %d", v, got)
		}
	}
	if fromCoarse(coarse(1<<63-1)) != 5e18 || fromCoarse(255) != 5e18 {
		t.Error("the largest step is 5e18")
	}
}

// TestWireLimits: what is too long is not said, and what is too long is not read.
func TestWireLimits(t *testing.T) {
	long := tells{address: string(bytes.Repeat([]byte("x"), maxTextBytes+1))}
	if got, ok := decodeTells(long.append(nil)); !ok || got.address != "" {
		t.Errorf("%q, %v", got.address, ok)
	}
	for name, b := range map[string][]byte{
		"nothing":            {},
		"another version":    {9, 0, 0, 0, 0, 0},
		"a text of 1 GB":     {wireVersion, 0, 0x80, 0x80, 0x80, 0x80, 4},
		"a billion tasks":    {wireVersion, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 4},
		"a task beyond all":  {wireVersion, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0},
		"stores without end": {wireVersion, 0, 0, 0, 0, 0xff, 0xff, 3, 1, 1},
		"cut":                (tells{address: "a:1", next: []int32{1, 2}}).append(nil)[:7],
		"too large":          make([]byte, maxToldBytes+1),
	} {
		if _, ok := decodeTells(b); ok {
			t.Errorf("%s is read as something a member says", name)
		}
	}
	if _, ok := decodeShare([]byte{wireVersion, 0, 0, 0, 0, 1, 1, 0}); ok {
		t.Error("a route to an address that is not there is read")
	}
	// What a later release adds at the end is no fault.
	if _, ok := decodeShare(append(share{standby: []int32{3}}.append(nil), 1, 2, 3)); !ok {
		t.Error("a longer message is not read")
	}
}

// FuzzTold: nothing that a member or a leader says harms who reads it, and what
// can be read can be said again.
func FuzzTold(f *testing.F) {
	f.Add(tells{address: "a:1", zone: "z", warms: true, next: []int32{1}, held: []balance.Held{{Task: 1, Position: 5, End: 9}, {Task: 4, Position: 7, End: -1}}}.append(nil))
	f.Add(share{standby: []int32{1, 2}, next: []int32{2}, routes: routeTable{addresses: []string{"a:1"}, tasks: []route{{active: 0}, {active: -1, standbys: []int{0}}}}}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if said, ok := decodeTells(b); ok {
			if again, ok := decodeTells(said.append(nil)); !ok || !reflect.DeepEqual(said, again) {
				t.Errorf("%+v is read again as %+v", said, again)
			}
			m := balance.Member{ID: "x", Warms: said.warms, Draining: said.draining, Next: said.next, Held: said.held, Zone: said.zone}
			balance.Plan(balance.Input{Members: []balance.Member{m, {ID: "y", Warms: true}}, Tasks: 8, Standbys: 1, Lag: 10, WarmUps: 1})
		}
		if said, ok := decodeShare(b); ok {
			if again, ok := decodeShare(said.append(nil)); !ok || !reflect.DeepEqual(said, again) {
				t.Errorf("%+v is read again as %+v", said, again)
			}
			for task := int32(-1); task < 9; task++ {
				said.routes.find(task)
			}
		}
	})
}
