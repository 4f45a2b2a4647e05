package orchestrator_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/topology"
)

// TestCrashEverywhere kills the process at each failpoint while sagas run, with none, half or all of
// what was not synced lost, starts it again, and proves that every saga ends as it should, that each
// effect happened once, and that the store is what the changelog says, byte for byte.
func TestCrashEverywhere(t *testing.T) {
	points := topology.Failpoints
	if testing.Short() { // under the race detector: one of each part of the walk
		points = []string{topology.FailRestored, topology.FailStage, topology.FailFlush, topology.FailEnded}
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			virtual(t, func(t *testing.T, r *rig) { crashAt(t, r, point) })
		})
	}
}

// TestCrashOnCluster is the same where it matters most to a broker.
func TestCrashOnCluster(t *testing.T) {
	for _, point := range []string{topology.FailStage, topology.FailEnd, topology.FailEnded, topology.FailApplied} {
		t.Run(point, func(t *testing.T) { crashAt(t, newRig(t, kafkatest.Real(t)), point) })
	}
}

func crashAt(t *testing.T, r *rig, point string) {
	r.cfg.InstanceID = "a"
	r.cfg.Partitions, r.cfg.Tasks = 4, 2
	r.cfg.Limits.CycleRecords = 3
	// Every third order is refused at the pivot, every fifth authorisation is lost once.
	refused := func(wid string) bool { return strings.HasSuffix(wid, "0") || strings.HasSuffix(wid, "3") }
	r.people.on("do", "capture", func(c protocol.Command, _ []byte, _ int) *answer {
		if refused(c.WorkflowID) {
			return no("OVER_LIMIT")
		}
		return ok("{}")
	})
	r.people.on("do", "authorise", func(c protocol.Command, _ []byte, n int) *answer {
		if strings.HasSuffix(c.WorkflowID, "5") && n == 1 {
			return silence()
		}
		return ok("{}")
	})
	// Every fourth trip has no ticket, and takes its child back.
	soldOut := func(wid string) bool { return strings.HasSuffix(wid, "3") }
	r.people.on("do", "ticket", func(c protocol.Command, _ []byte, _ int) *answer {
		if soldOut(c.WorkflowID) {
			return no("SOLD_OUT")
		}
		return ok("{}")
	})
	r.people.on("do", "charge", func(protocol.Command, []byte, int) *answer { return ok(`{"ref":"b-1"}`) })
	src, topics := r.orderSaga()
	tripSrc, tripTopics, events := r.tripSagas()
	// A fleet has many items and lies in pages; the second one is not sealed and unpacks them all.
	unsealed := func(wid string) bool { return wid == "fleet/1" }
	r.people.on("do", "seal", func(c protocol.Command, _ []byte, _ int) *answer {
		if unsealed(c.WorkflowID) {
			return no("NO_SEAL")
		}
		return ok("{}")
	})
	fleetSrc, fleetTopics := r.fleetSaga()
	r.apply(src + "---" + tripSrc + "---" + fleetSrc)
	r.people.serve(append(append(topics, tripTopics...), fleetTopics...)...)

	var all, trips, fleets []string
	for round, percent := range []int{100, 50, 0} {
		hits := new(atomic.Int32)
		crashed := new(atomic.Pointer[kafkatest.Disk])
		disk := r.disk
		r.cfg.Failpoint = func(name string, _ int32) error {
			after := int32(4)
			if name == topology.FailTakeover || name == topology.FailRestore || name == topology.FailRestored {
				after = 2
			}
			if name != point || hits.Add(1) != after {
				return nil
			}
			crashed.Store(disk.Crash(percent, uint64(round)))
			return topology.ErrCrash
		}
		r.start()
		fleets = append(fleets, r.fleet(fmt.Sprint(round)))
		for i := range 8 {
			all = append(all, r.begin("order", fmt.Sprintf("%d-%d", round, i), map[string]any{"amount": i}))
		}
		for i := range 4 {
			id := fmt.Sprintf("%d-t%d", round, i)
			pay := func() { r.signal("trip/"+id, "paid", "s-"+id, map[string]any{"amount": 100}, "ttl", "1h") }
			if i%2 == 0 {
				pay() // waits in the mailbox
			}
			trips = append(trips, r.trip(id))
			pay() // again, or only now
		}
		err := <-r.done
		if !errors.Is(err, topology.ErrCrash) {
			t.Fatalf("the process ended with %v", err)
		}
		r.o, r.disk = nil, crashed.Load()

		r.cfg.Failpoint = nil
		r.start()
		r.ready()
		for _, wid := range all {
			if refused(wid) {
				r.ends(wid, "compensated", 50*time.Millisecond)
			} else {
				r.ends(wid, "completed", 50*time.Millisecond)
			}
		}
		for _, wid := range trips {
			phase := "completed"
			if soldOut(wid) {
				phase = "compensated"
			}
			r.ends(wid, phase, 50*time.Millisecond)
			r.ends(billOf(wid), phase, 50*time.Millisecond)
		}
		for _, wid := range fleets {
			phase := "completed"
			if unsealed(wid) {
				phase = "compensated"
			}
			r.ends(wid, phase, 50*time.Millisecond)
		}
		want := r.dump()
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		// A process with an empty disk has nothing but the changelog.
		keep := r.disk
		r.disk = kafkatest.NewDisk()
		r.start()
		r.ready()
		if got := r.dump(); got != want {
			t.Fatalf("store and changelog differ\nstore:\n%s\nchangelog:\n%s", want, got)
		}
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		r.disk = keep
	}
	for _, wid := range all {
		r.once(wid, refused(wid))
	}
	published := map[string]int{}
	list, _ := r.events(events)
	for _, e := range list {
		published[e.WorkflowID]++
	}
	for _, wid := range trips {
		r.tripOnce(wid, soldOut(wid))
		if published[wid] != 1 {
			t.Errorf("%s published %d events", wid, published[wid])
		}
	}
	for _, wid := range fleets {
		r.fleetOnce(wid, unsealed(wid))
	}
	if d := r.deadLetters(); len(d) > 0 {
		t.Errorf("dead letter: %+v", d[0].why)
	}
}

// billOf is the child of a trip.
func billOf(wid string) string { return "bill/of-" + strings.TrimPrefix(wid, "trip/") }

// tripOnce checks the effects and the history of one trip and its child.
func (r *rig) tripOnce(wid string, soldOut bool) {
	r.t.Helper()
	r.kinds(billOf(wid))
	used := 0
	for _, k := range r.kinds(wid) {
		if k == "signal-used" {
			used++
		}
	}
	if used != 1 {
		r.t.Errorf("%s used %d signals", wid, used)
	}
	r.people.mu.Lock()
	defer r.people.mu.Unlock()
	undone := 0
	if soldOut {
		undone = 1
	}
	for name, n := range map[string]int{
		"do hold " + wid: 1, "do charge " + billOf(wid): 1, "do ticket " + wid: 1,
		"undo release " + wid: undone, "undo refund " + billOf(wid): undone, "undo refund " + wid: 0,
	} {
		if got := r.people.effects[name]; got != n {
			r.t.Errorf("%s took effect %d times, want %d", name, got, n)
		}
	}
}

// once checks the effects and the history of one order.
func (r *rig) once(wid string, refused bool) {
	r.t.Helper()
	r.kinds(wid)
	r.people.mu.Lock()
	defer r.people.mu.Unlock()
	want := map[string]int{"do reserve": 1, "do authorise": 1, "do capture": 1, "do create": 1, "undo void": 0, "undo release": 0}
	if refused {
		want = map[string]int{"do reserve": 1, "do authorise": 1, "do capture": 1, "do create": 0, "undo void": 1, "undo release": 1}
	}
	for name, n := range want {
		if got := r.people.effects[name+" "+wid]; got != n {
			r.t.Errorf("%s of %s took effect %d times, want %d", name, wid, got, n)
		}
	}
}

// dump lists everything in the stores, derived entries included.
func (r *rig) dump() string {
	r.t.Helper()
	var b strings.Builder
	w := r.o.Worker()
	for _, info := range w.Tasks() {
		view, ok := w.View(info.Task)
		if !ok {
			r.t.Fatalf("task %d does not run: %v %s", info.Task, info.State, info.Reason)
		}
		fmt.Fprintf(&b, "task %d\n", info.Task)
		if err := view.Dump(func(kind byte, key, value []byte) { fmt.Fprintf(&b, "%c %q %x\n", kind, key, value) }); err != nil {
			r.t.Fatal(err)
		}
	}
	return b.String()
}
