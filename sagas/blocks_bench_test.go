package sagas

import (
	"strings"
	"testing"
	"time"
)

// benchRun feeds one saga of blocks its own replies, from the bytes of the record and back, and reports
// what an event costs at the beginning and at the end of the run: the two should be of one size.
func benchRun(b *testing.B, src, input string, events int) {
	d, err := ParseDefinition("bench", []byte(src))
	if err != nil {
		b.Fatal(err)
	}
	p, err := Compile(d)
	if err != nil {
		b.Fatal(err)
	}
	p.Namespace = "bench"
	start := startEvent()
	start.WorkflowID, start.Type, start.Version = p.Type+"/1", p.Type, p.Version
	if start.Input, err = CanonicalJSON([]byte(input)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var waiting []Command
		take := func(effects []Effect) {
			for _, e := range effects {
				if c, ok := e.(Command); ok {
					waiting = append(waiting, c)
				}
			}
		}
		now := epoch
		inst, effects := Step(p, nil, start, now)
		take(effects)
		buf := inst.Append(nil)
		size, window := 0, max(events/20, 1)
		var first, last time.Duration
		fed := 0
		for ; len(waiting) > 0; fed++ {
			began := time.Now()
			c := waiting[0]
			waiting = waiting[1:]
			now++
			inst, err := DecodeInstance(buf)
			if err != nil {
				b.Fatal(err)
			}
			next, effects := Step(p, inst, Reply{Address: c.Address, Outcome: OutcomeOK, Output: []byte(`{"ref":"r-1"}`)}, now)
			buf = next.Append(buf[:0])
			take(effects)
			size = max(size, len(buf))
			switch took := time.Since(began); {
			case fed < window:
				first += took
			case fed >= events-window:
				last += took
			}
		}
		inst, err = DecodeInstance(buf)
		if err != nil || inst.Phase != Completed || fed != events {
			b.Fatalf("%v after %d events: %v", inst.Phase, fed, err)
		}
		b.ReportMetric(float64(first.Nanoseconds())/float64(window), "ns/first-event")
		b.ReportMetric(float64(last.Nanoseconds())/float64(window), "ns/last-event")
		b.ReportMetric(float64(size), "state-B")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
}

// BenchmarkEach1000 is a saga over 1 000 items, each with an effect that may have to be undone: its
// state grows, and no event may cost more than a pass over it.
func BenchmarkEach1000(b *testing.B) {
	items := strings.TrimSuffix(strings.Repeat("0,", 1000), ",")
	benchRun(b, `{"saga": "each", "version": 1, "participants": {"svc": {"ops": ["do", "undo"]}}, "steps": [
		{"id": "lines", "each": {"in": "=input.lines", "as": "line", "key": "='k' + string(index)", "atOnce": 8, "max": 1000},
		 "do": [{"id": "reserve", "call": "svc.reserve", "with": {"line": "=line"}, "undo": {"call": "svc.free"}}]}]}`,
		`{"lines":[`+items+`]}`, 1000)
}

// BenchmarkRepeat50000 is a loop of 25 000 rounds, each with a command and its answer. It owes nothing,
// so its state stays as it is.
func BenchmarkRepeat50000(b *testing.B) {
	benchRun(b, `{"saga": "loop", "version": 1, "participants": {"svc": {"ops": ["do"]}}, "steps": [
		{"id": "again", "repeat": {"rounds": 25000, "until": "=false"},
		 "do": [{"id": "look", "call": "svc.look", "kind": "readonly", "keep": ["ref"]}]}]}`, `{}`, 25000)
}
