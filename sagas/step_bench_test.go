package sagas

import "testing"

// benchSaga is a saga of four steps whose second awaits its answer: the state and the event of the
// hot path.
func benchSaga(b *testing.B) (p *Plan, state []byte, ev Event) {
	p = planOf("reserve", "authorise", "capture!", "ship+")
	for i := range p.Steps {
		p.Steps[i].Keep = []string{"id"}
	}
	w := newWorld(b, p)
	start := startEvent()
	start.Input = []byte(`{"amount":"12.50","card":"tok_1234567890","currency":"EUR","customer":"c-4711","items":[{"qty":1,"sku":"a-1"},{"qty":2,"sku":"b-2"}],"orderId":"o-4711"}`)
	w.send(start)
	w.reply("reserve", OutcomeOK, output(`{"id":"r-1"}`))
	r := Reply{Address: Address{Run: 1, Path: "authorise", Op: OpDo, Round: 1, Attempt: 1}, Outcome: OutcomeOK, Output: []byte(`{"id":"a-1","more":[1,2,3]}`)}
	return p, w.inst.Append(nil), r
}

// BenchmarkStepReply is what one reply costs the machine: decode, Step, encode.
func BenchmarkStepReply(b *testing.B) {
	p, state, ev := benchSaga(b)
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(state)))
	b.ReportAllocs()
	for b.Loop() {
		inst, err := DecodeInstance(state)
		if err != nil {
			b.Fatal(err)
		}
		next, _ := Step(p, inst, ev, epoch+1)
		buf = next.Append(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "state-B")
}

func BenchmarkStepOnly(b *testing.B) {
	p, state, ev := benchSaga(b)
	inst, _ := DecodeInstance(state)
	b.ReportAllocs()
	for b.Loop() {
		Step(p, inst, ev, epoch+1)
	}
}

func BenchmarkDecode(b *testing.B) {
	_, state, _ := benchSaga(b)
	b.ReportAllocs()
	for b.Loop() {
		DecodeInstance(state)
	}
}

func BenchmarkAppend(b *testing.B) {
	_, state, _ := benchSaga(b)
	inst, _ := DecodeInstance(state)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = inst.Append(buf[:0])
	}
}

func BenchmarkSummarise(b *testing.B) {
	_, state, _ := benchSaga(b)
	b.ReportAllocs()
	for b.Loop() {
		Summarise(state)
	}
}
