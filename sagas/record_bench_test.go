package sagas_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
)

// bigRun is one life of an instance as a store has it, measured event by event: open, Step and write. What
// the store reads, and what goes to the store and its changelog, is counted with the keys.
type bigRun struct {
	b       *testing.B
	p       *sagas.Plan
	store   stored
	now     sagas.Time
	waiting []sagas.Command

	events        int
	began         time.Duration // of CPU
	read, written int
}

func newBigRun(b *testing.B, src, input string) *bigRun {
	d, err := sagas.ParseDefinition("bench", []byte(src))
	if err != nil {
		b.Fatal(err)
	}
	r := &bigRun{b: b, now: 1_700_000_000_000}
	if r.p, err = sagas.Compile(d); err != nil {
		b.Fatal(err)
	}
	r.p.Namespace = "bench"
	in, err := sagas.CanonicalJSON([]byte(input))
	if err != nil {
		b.Fatal(err)
	}
	r.feed(sagas.Start{WorkflowID: r.wid(), Type: r.p.Type, Version: r.p.Version, Input: in, IssuedAt: r.now})
	return r
}

func (r *bigRun) wid() string { return r.p.Type + "/1" }

func (r *bigRun) feed(ev sagas.Event) {
	r.now++
	r.store.read, r.store.written = 0, 0
	rec, err := r.store.open()
	if err != nil {
		r.b.Fatal(err)
	}
	before, next, effects, err := rec.Step(r.p, ev, r.now, nil)
	if err != nil {
		r.b.Fatal(err)
	}
	switch {
	case next == before:
	case next == nil:
		r.b.Fatal("the instance is gone")
	default:
		r.store.put("", rec.Write(nil, next, r.store.put))
	}
	r.events++
	r.read += r.store.read
	r.written += r.store.written
	for _, e := range effects {
		if c, ok := e.(sagas.Command); ok {
			r.waiting = append(r.waiting, c)
		}
	}
}

// answer gives the oldest command its answer.
func (r *bigRun) answer(outcome sagas.Outcome) {
	c := r.waiting[0]
	r.waiting = r.waiting[1:]
	r.feed(sagas.Reply{Address: c.Address, Outcome: outcome, Output: []byte(`{"ref":"r-1"}`)})
}

// mark forgets what was measured so far.
func (r *bigRun) mark() { r.events, r.began, r.read, r.written = 0, used(), 0, 0 }

// used is the CPU time of this process, its garbage collection included: the time that passes says little
// beside other work.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r *bigRun) phase(want sagas.Phase) {
	r.b.Helper()
	rec, err := r.store.open()
	if err != nil {
		r.b.Fatal(err)
	}
	inst, err := rec.Instance()
	if err != nil || inst.Phase != want {
		r.b.Fatalf("%v, want %s (%v)", inst.Phase, want, err)
	}
}

// cost is what one event took.
type cost struct{ ns, read, written float64 }

func (r *bigRun) cost() cost {
	n := float64(r.events)
	return cost{float64((used() - r.began).Nanoseconds()) / n, float64(r.read) / n, float64(r.written) / n}
}

func eachSource(atOnce int, failure string) string {
	return fmt.Sprintf(`{"saga": "each", "version": 1, "participants": {"svc": {"ops": ["do", "undo"]}}, "steps": [
		{"id": "lines", "each": {"in": "=input.lines", "as": "line", "key": "='k' + string(index)", "atOnce": %d, "max": 1000, "onItemFailure": %q},
		 "do": [{"id": "reserve", "call": "svc.reserve", "with": {"line": "=line"}, "undo": {"call": "svc.free"}}]}]}`, atOnce, failure)
}

func linesOf(items int) string {
	return `{"lines":[` + strings.TrimSuffix(strings.Repeat("0,", items), ",") + `]}`
}

// eachCost answers all items but the last, and gives the cost of one event between the beginning and the end of the run.
func eachCost(b *testing.B, items, atOnce int) cost {
	r := newBigRun(b, eachSource(atOnce, "fail"), linesOf(items))
	r.mark()
	for len(r.waiting) > 1 {
		r.answer(sagas.OutcomeOK)
	}
	out := r.cost()
	r.answer(sagas.OutcomeOK)
	r.phase(sagas.Completed)
	return out
}

// BenchmarkEachRatio compares an event of an each with 1 000 items with one of an each with 10, in turn, so
// that both see the same load: the CPU time of open, Step and write, and the bytes of all records written.
// The goal is 3 at most.
func BenchmarkEachRatio(b *testing.B) {
	for _, atOnce := range []int{8, 1000} {
		b.Run(fmt.Sprintf("atOnce=%d", atOnce), func(b *testing.B) {
			var small, big cost
			n := 0.0
			add := func(to *cost, c cost) { to.ns, to.read, to.written = to.ns+c.ns, to.read+c.read, to.written+c.written }
			for b.Loop() {
				for range 8 {
					var c cost
					for range 25 {
						one := eachCost(b, 10, atOnce)
						add(&c, cost{one.ns / 25, one.read / 25, one.written / 25})
					}
					add(&small, c)
					add(&big, eachCost(b, 1000, atOnce))
					n++
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(small.ns/n, "cpu-ns/event-10")
			b.ReportMetric(big.ns/n, "cpu-ns/event-1000")
			b.ReportMetric(big.ns/small.ns, "cpu-ratio")
			b.ReportMetric(small.written/n, "B/event-10")
			b.ReportMetric(big.written/n, "B/event-1000")
			b.ReportMetric(big.written/small.written, "bytes-ratio")
			b.ReportMetric(big.read/n, "read-B/event-1000")
		})
	}
}

// report gives the cost of an event in the first and in the last twentieth of a run.
func report(b *testing.B, r *bigRun, events int, step func(k int)) {
	window := max(events/20, 1)
	var first, last cost
	size := 0
	r.mark()
	for k := range events {
		if k == events-window {
			r.mark()
		}
		step(k)
		if k == window-1 {
			first = r.cost()
		}
		if k%97 == 0 {
			n := 0
			for _, v := range r.store.records {
				n += len(v)
			}
			size = max(size, n)
		}
	}
	last = r.cost()
	b.ReportMetric(first.ns, "cpu-ns/first-event")
	b.ReportMetric(last.ns, "cpu-ns/last-event")
	b.ReportMetric(first.written, "B/first-event")
	b.ReportMetric(last.written, "B/last-event")
	b.ReportMetric(float64(size), "state-B")
}

// BenchmarkSignals10000 sends 10 000 signals to one instance: a loop takes each of them.
func BenchmarkSignals10000(b *testing.B) {
	for b.Loop() {
		r := newBigRun(b, `{"saga": "inbox", "version": 1, "participants": {"svc": {"ops": ["do"]}}, "steps": [
			{"id": "again", "repeat": {"rounds": 20000, "until": "=false"},
			 "do": [{"id": "paid", "await": {"signal": "paid", "within": "400d", "onTimeout": "fail"}, "keep": ["amount"]}]}]}`, `{}`)
		report(b, r, 10_000, func(k int) {
			r.feed(sagas.Signal{WorkflowID: r.wid(), Name: "paid", ID: fmt.Sprint("s-", k), Payload: []byte(`{"amount":1500,"note":"................................................................"}`)})
		})
		r.phase(sagas.Running)
	}
}

// BenchmarkSignalsToEach1000 is the same beside 1 000 items that wait for answers.
func BenchmarkSignalsToEach1000(b *testing.B) {
	for b.Loop() {
		r := newBigRun(b, `{"saga": "inbox", "version": 1, "participants": {"svc": {"ops": ["do", "undo"]}}, "steps": [
			{"id": "lines", "each": {"in": "=input.lines", "as": "line", "key": "='k' + string(index)", "atOnce": 1000, "max": 1000}, "do": [{"id": "reserve", "call": "svc.reserve", "undo": {"call": "svc.free"}}]},
			{"id": "again", "after": [], "repeat": {"rounds": 20000, "until": "=false"},
			 "do": [{"id": "paid", "await": {"signal": "paid", "within": "400d", "onTimeout": "fail"}}]}]}`, linesOf(1000))
		report(b, r, 10_000, func(k int) {
			r.feed(sagas.Signal{WorkflowID: r.wid(), Name: "paid", ID: fmt.Sprint("s-", k), Payload: []byte(`{"amount":1500}`)})
		})
		r.phase(sagas.Running)
	}
}

// BenchmarkTransitions50000 is one saga with 50 000 transitions: a loop of 25 000 rounds, each of which
// sends a command and is answered.
func BenchmarkTransitions50000(b *testing.B) {
	for b.Loop() {
		r := newBigRun(b, `{"saga": "loop", "version": 1, "participants": {"svc": {"ops": ["do"]}}, "steps": [
			{"id": "again", "repeat": {"rounds": 25000, "until": "=false"},
			 "do": [{"id": "ask", "call": "svc.ask", "kind": "readonly"}, {"id": "look", "call": "svc.look", "kind": "readonly", "keep": ["ref"]}]}]}`, `{}`)
		report(b, r, 50_000, func(int) { r.answer(sagas.OutcomeOK) })
		r.phase(sagas.Completed)
	}
}

// BenchmarkSleepFiveYears sleeps: it costs what it takes to begin and to end, whatever lies between.
func BenchmarkSleepFiveYears(b *testing.B) {
	for b.Loop() {
		r := newBigRun(b, `{"saga": "nap", "version": 1, "participants": {}, "steps": [{"id": "nap", "sleep": {"for": "1826d"}}]}`, `{}`)
		size := len(r.store.records[""])
		rec, err := r.store.open()
		if err != nil {
			b.Fatal(err)
		}
		due := rec.Head().NextDue()
		if years := time.Duration(due-r.now) * time.Millisecond; years < 1825*24*time.Hour {
			b.Fatalf("due after %v", years)
		}
		r.now = due
		r.feed(sagas.Timers{})
		r.phase(sagas.Completed)
		b.ReportMetric(float64(r.events), "events")
		b.ReportMetric(float64(size), "state-B")
	}
}

// BenchmarkUndoEach1000 takes 1 000 items back: the bytes are those of what changes, the time is that of a
// pass over the instance.
func BenchmarkUndoEach1000(b *testing.B) {
	for b.Loop() {
		r := newBigRun(b, eachSource(1000, "fail"), linesOf(1000))
		for range 999 {
			r.answer(sagas.OutcomeOK)
		}
		r.answer(sagas.OutcomeRejected)
		report(b, r, 999, func(int) { r.answer(sagas.OutcomeOK) })
		r.phase(sagas.Compensated)
	}
}
