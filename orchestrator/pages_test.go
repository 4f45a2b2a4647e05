package orchestrator_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

// fleetItems are enough for the items of a fleet to lie in pages.
const fleetItems = 70

// fleetSaga packs many items and seals them; items have keys of their own.
func (r *rig) fleetSaga() (src string, topics []string) {
	dock := r.c.Name("dock")
	src = fmt.Sprintf(`
saga: fleet
version: 1
retention: {state: 1h, marker: 1d}
participants:
  dock: {ops: [do, undo], topic: cmd.%s}
steps:
  - id: lines
    each: {in: '=input.lines', as: line, key: '=line.sku', atOnce: 8}
    do:
      - id: pack
        call: dock.pack
        with: {sku: '=line.sku', note: '=input.note'}
        attempt: 5s
        within: 10m
        undo: {call: dock.unpack}
  - id: seal
    call: dock.seal
    attempt: 5s
    within: 10m
    undo: {call: dock.open}
`, dock)
	return src, []string{"cmd." + dock}
}

// fleet begins one.
func (r *rig) fleet(id string) string {
	var lines []any
	for i := range fleetItems {
		lines = append(lines, map[string]any{"sku": fmt.Sprintf("sku-%d", i*i)})
	}
	return r.begin("fleet", id, map[string]any{"lines": lines, "note": strings.Repeat("n", 300)})
}

// fleetOnce checks that every item was packed once, and unpacked once when the seal was refused.
func (r *rig) fleetOnce(wid string, refused bool) {
	r.t.Helper()
	r.kinds(wid)
	r.people.mu.Lock()
	defer r.people.mu.Unlock()
	unpacked := 0
	if refused {
		unpacked = fleetItems
	}
	for name, n := range map[string]int{"do pack ": fleetItems, "do seal ": 1, "undo unpack ": unpacked, "undo open ": 0} {
		if got := r.people.effects[name+wid]; got != n {
			r.t.Errorf("%s%s took effect %d times, want %d", name, wid, got, n)
		}
	}
}

// stateKeys counts the records that the stores hold of an instance: that under its workflow ID and those
// beside it.
func (r *rig) stateKeys(wid string) (own, beside int) {
	r.t.Helper()
	w := r.o.Worker()
	for _, info := range w.Tasks() {
		view, ok := w.View(info.Task)
		if !ok {
			r.t.Fatalf("task %d does not run", info.Task)
		}
		if err := view.Scan([]byte(wid), nil, func(key, _ []byte) bool {
			switch {
			case string(key) == wid:
				own++
			case bytes.HasPrefix(key, []byte(wid+"\x00")):
				beside++
			}
			return true
		}); err != nil {
			r.t.Fatal(err)
		}
	}
	return own, beside
}

// TestPages: an instance with many items lies in pages. It is shown as a whole and listed once, an event
// writes little of it, a process with an empty disk finds it in the changelog, and when its retention is
// over nothing of the pages remains.
func TestPages(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		src, topics := r.fleetSaga()
		r.apply(src)
		r.people.on("do", "seal", func(protocol.Command, []byte, int) *answer {
			return no("NO_SEAL")
		})
		half := make(chan struct{})
		r.people.on("do", "pack", func(_ protocol.Command, payload []byte, _ int) *answer {
			if bytes.Contains(payload, []byte(`"sku-900"`)) { // the thirtieth
				select {
				case <-half:
				default:
					return silence()
				}
			}
			return ok("{}")
		})
		r.people.serve(topics...)
		r.start()
		r.ready()
		wid := r.fleet("1")
		r.until("all but one item are packed", time.Second, func() bool {
			v, ok := r.get(wid)
			return ok && v.Steps[0].State == "OPEN" && strings.Count(fmt.Sprint(v.Steps), " DONE ") == fleetItems-1
		})
		v, _ := r.get(wid)
		if len(v.Steps) != fleetItems+2 || len(v.Frames) != fleetItems || len(v.Input) < 1000 {
			t.Errorf("%d steps, %d frames, %d bytes of input", len(v.Steps), len(v.Frames), len(v.Input))
		}
		own, beside := r.stateKeys(wid)
		if own != 1 || beside < fleetItems/8 {
			t.Errorf("%d records, %d beside them", own, beside)
		}
		whole, largest := 0, 0
		latest := map[string]int{}
		for _, rec := range r.c.ReadAll(r.topics.State) {
			if strings.HasPrefix(string(rec.Key), wid) {
				latest[string(rec.Key)] = len(rec.Value)
			}
			if string(rec.Key) == wid {
				largest = max(largest, len(rec.Value))
			}
		}
		for _, n := range latest {
			whole += n
		}
		if largest*4 > whole {
			t.Errorf("the record under the workflow ID has up to %d bytes, all of the instance %d", largest, whole)
		}
		for _, id := range []string{wid + "\x00i", wid + "\x00"} {
			if _, ok := r.get(id); ok {
				t.Errorf("%q is shown as an instance", id)
			}
		}
		for _, status := range []string{"", "running"} {
			page, err := r.o.List(filter(status, "fleet", 10))
			if err != nil || len(page.Instances) != 1 || page.Next != "" || page.Instances[0].WorkflowID != wid {
				t.Errorf("list %q: %+v, %v", status, page, err)
			}
		}

		empty := func(what string) {
			want := r.dump()
			if err := r.shut(); err != nil {
				t.Fatal(err)
			}
			r.disk = kafkatest.NewDisk()
			r.start()
			r.ready()
			if got := r.dump(); got != want {
				t.Errorf("%s: store and changelog differ\nstore:\n%s\nchangelog:\n%s", what, want, got)
			}
		}
		empty("half-way")
		close(half)
		r.ends(wid, "compensated", time.Second)
		r.fleetOnce(wid, true)
		empty("at the end")
		time.Sleep(2 * time.Hour)
		r.until("only the marker remains", time.Minute, func() bool {
			own, beside := r.stateKeys(wid)
			return own == 1 && beside == 0
		})
		empty("after the retention")
		time.Sleep(48 * time.Hour)
		r.until("nothing remains", time.Minute, func() bool {
			own, _ := r.stateKeys(wid)
			return own == 0
		})
	})
}
