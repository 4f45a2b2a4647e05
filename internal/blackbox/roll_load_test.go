package blackbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

const rollDefinition = `saga: roll
version: 1
deadline: 30m
input:
  required: [n]
  properties: {n: {type: integer}}
participants:
  ONE: {ops: [do, undo]}
  TWO: {ops: [do, undo]}
steps:
  - id: first
    call: ONE.take
    with: {amount: '=input.n'}
    attempt: 30s
    undo: {call: ONE.give}
  - id: nap
    sleep: {for: NAP}
  - id: second
    call: TWO.put
    with: {amount: '=input.n'}
    attempt: 30s
    undo: {call: TWO.drop}
retention: {state: 1m, marker: 1h}
`

const rollFiller = `saga: filler
version: 1
deadline: 30d
input:
  required: [pad]
  properties: {pad: {type: string}}
participants:
  ONE: {ops: [do, undo]}
steps:
  - id: rest
    sleep: {for: 10d}
  - id: end
    call: ONE.take
    with: {amount: 1}
    undo: {call: ONE.give}
`

// roller is the load and what is known of it.
type roller struct {
	t        *testing.T
	c        *kafkatest.Cluster
	one, two *participant

	mu      sync.Mutex
	started int                   // sagas that Kafka has acknowledged
	ended   map[string]int        // terminal facts by workflow ID
	kinds   map[string]int        // terminal facts by kind
	times   map[int32][]time.Time // completions by partition
	slept   map[string]time.Time  // when the nap began
	naps    []nap

	phase    string
	deadline time.Time // of the whole test
}

// nap is how late the step behind it came.
type nap struct {
	due  time.Time
	late time.Duration
}

// newRoller begins the time of the test, and says every while how it is getting on:
// what waits for too long is named in the output before it fails.
func newRoller(t *testing.T, c *kafkatest.Cluster) *roller {
	r := &roller{
		t: t, c: c, ended: make(map[string]int), kinds: make(map[string]int),
		times: make(map[int32][]time.Time), slept: make(map[string]time.Time),
		deadline: time.Now().Add(*rollWithin),
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		busy, last := cpuTimes(), 0
		for began := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(15 * time.Second):
			}
			r.mu.Lock()
			t.Logf("%v: %s: %d started, %d ended (%d since the last line), processors busy %s", time.Since(began).Round(time.Second),
				r.phase, r.started, len(r.ended), len(r.ended)-last, busy.since())
			busy, last = cpuTimes(), len(r.ended)
			r.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
	})
	return r
}

// enter names what the test does from here on.
func (r *roller) enter(phase string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = phase
}

// left is at most how long a wait may take: as asked, or up to the end of the test.
func (r *roller) left(most time.Duration) time.Duration {
	r.t.Helper()
	left := time.Until(r.deadline)
	if left <= 0 {
		r.t.Fatalf("the test has taken %v (-roll.within)", *rollWithin)
	}
	return min(most, left)
}

func (r *roller) apply() {
	r.t.Helper()
	one, two := r.c.Name("one"), r.c.Name("two")
	for name, text := range map[string]string{"roll": rollDefinition, "filler": rollFiller} {
		file := filepath.Join(r.t.TempDir(), name+".yaml")
		text = strings.NewReplacer("ONE", one, "TWO", two, "NAP", rollNap.String()).Replace(text)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
		r.t.Log(amends(r.t, "apply", "--brokers", r.c.Seeds()[0], "--namespace", r.c.Namespace(), "-f", file))
	}
	r.one = startParticipant(r.t, r.c, &participant{topic: "cmd." + one, lazy: time.Second, seen: func(wid, _ string) { r.at(&r.slept, wid) }})
	r.two = startParticipant(r.t, r.c, &participant{topic: "cmd." + two, lazy: time.Second, seen: func(wid, _ string) { r.woke(wid) }})
}

// at notes the first time of a workflow ID.
func (r *roller) at(times *map[string]time.Time, wid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, found := (*times)[wid]; !found {
		(*times)[wid] = time.Now()
	}
}

// woke notes how late the command behind the nap is. The nap began after the
// first command was answered, so the hop of that answer counts as lateness too.
func (r *roller) woke(wid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if began, found := r.slept[wid]; found && !began.IsZero() {
		r.naps = append(r.naps, nap{began.Add(rollNap), time.Since(began) - rollNap})
		r.slept[wid] = time.Time{}
	}
}

// lateness is that of the naps that were over between two moments.
func (r *roller) lateness(from, to time.Time) (s samples) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.naps {
		if n.due.After(from) && n.due.Before(to) {
			s.add(n.late)
		}
	}
	return s
}

// fill starts sagas that sleep for days, so that every process has its state.
func (r *roller) fill() {
	n := *rollState * *rollProcesses << 20 / rollPad
	if n == 0 {
		return
	}
	began := time.Now()
	cl := r.c.Client(kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(1000))
	pad := make([]byte, rollPad)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		for j := range pad { // nothing that compresses
			pad[j] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[random.Uint32()&63]
		}
		value := fmt.Appendf(nil, `{"type":"filler","id":"f-%d","input":{"pad":"%s"}}`, i, pad)
		cl.Produce(r.t.Context(), &kgo.Record{Topic: r.c.Namespace() + ".saga.intake", Key: fmt.Appendf(nil, "filler/f-%d", i), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				r.t.Errorf("fill: %v", err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), r.left(5*time.Minute))
	defer cancel()
	if err := cl.Flush(ctx); err != nil {
		r.t.Fatalf("fill: %v", err)
	}
	r.t.Logf("%d sagas that sleep, %d MB for each process, offered in %v", n, *rollState, time.Since(began).Round(time.Second))
}

// offer starts sagas at the rate until stop is called. The producer gathers for 50 ms: what a record by itself
// costs three brokers is their work, not ours.
func (r *roller) offer() (stop func()) {
	cl, err := kgo.NewClient(r.c.Opts(kgo.ProducerLinger(50 * time.Millisecond))...)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cl.Close()
		began := time.Now()
		ids := evenIDs(int32(*rollPartitions))
		for i := 0; ctx.Err() == nil; i++ {
			if wait := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(*rollRate))); wait > 0 {
				time.Sleep(wait)
			}
			id := ids()
			value := fmt.Appendf(nil, `{"type":"roll","id":"%s","input":{"n":%d}}`, id, i%1000+1)
			cl.Produce(context.Background(), &kgo.Record{Topic: r.c.Namespace() + ".saga.intake", Key: []byte("roll/" + id), Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					r.t.Errorf("start %d: %v", i, err)
					return
				}
				r.mu.Lock()
				r.started++
				r.mu.Unlock()
			})
		}
		flush, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cl.Flush(flush); err != nil {
			r.t.Errorf("starts that Kafka does not take: %v", err)
		}
	}()
	end := sync.OnceFunc(func() {
		cancel()
		<-done
	})
	r.t.Cleanup(end)
	return end
}

// evenIDs gives ids of which each partition gets one in turn: otherwise chance
// would make gaps of its own, seconds long at a low rate.
func evenIDs(partitions int32) func() string {
	ready := make([][]string, partitions)
	next, turn := 0, int32(0)
	return func() string {
		for len(ready[turn]) == 0 {
			id := fmt.Sprintf("r-%d", next)
			next++
			at := protocol.Partition([]byte("roll/"+id), partitions)
			ready[at] = append(ready[at], id)
		}
		id := ready[turn][0]
		ready[turn] = ready[turn][1:]
		turn = (turn + 1) % partitions
		return id
	}
}

// followPace spares the brokers a fetch for each append. The gaps are as exact as that.
const followPace = 20 * time.Millisecond

// follow reads the lifecycle: who ended, when, on which partition.
func (r *roller) follow() {
	cl, err := kgo.NewClient(r.c.Opts(
		kgo.ConsumeTopics(r.c.Namespace()+".saga.lifecycle"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(r.fact)
			time.Sleep(followPace)
		}
	}()
	r.t.Cleanup(func() {
		stop()
		<-stopped
		cl.Close()
	})
}

func (r *roller) fact(rec *kgo.Record) {
	wid := string(rec.Key)
	if !strings.HasPrefix(wid, "roll/") {
		return
	}
	for _, h := range rec.Headers {
		if h.Key != "saga-kind" || !terminal(string(h.Value)) {
			continue
		}
		r.mu.Lock()
		r.ended[wid]++
		r.kinds[string(h.Value)]++
		r.times[rec.Partition] = append(r.times[rec.Partition], time.Now())
		r.mu.Unlock()
	}
}

// settle waits until sagas complete as fast as they are offered: a saga takes a
// nap, so a few seconds' worth of them are always under way.
func (r *roller) settle() {
	r.t.Helper()
	want := *rollRate * 3
	deadline := time.Now().Add(r.left(4 * time.Minute))
	for {
		r.mu.Lock()
		ended, behind := len(r.ended), r.started-len(r.ended)
		r.mu.Unlock()
		if ended > want && behind < *rollRate*3 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("this machine does not carry %d sagas/s (-roll.rate): %d have ended, %d are behind", *rollRate, ended, behind)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// gaps is the longest time without a completion of each partition between two
// moments. The time from the last completion before them counts, and the time up
// to the first one after.
func (r *roller) gaps(from, to time.Time) (found []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for partition, times := range r.times {
		longest, last := time.Duration(0), from
		look := func(at time.Time) {
			if gap := at.Sub(last); gap > longest {
				longest = gap
			}
			if at.Sub(last) > rollGap {
				r.t.Logf("partition %d completed nothing for %v from %s on", partition, at.Sub(last).Round(time.Millisecond), last.Format("15:04:05.000"))
			}
			last = at
		}
		for _, at := range times {
			if at.Before(from) {
				last = at
				continue
			}
			look(at)
			if at.After(to) {
				break
			}
		}
		if last.Before(to) {
			look(to)
		}
		found = append(found, longest)
	}
	return found
}

// awaitAll waits until each partition has completed something after the session of
// a process that died at since has ended: until then it may only be what was under
// way.
func (r *roller) awaitAll(since time.Time, within time.Duration) {
	r.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		behind := 0
		r.mu.Lock()
		for _, times := range r.times {
			if last := times[len(times)-1]; last.Before(since.Add(rollSession)) {
				behind++
			}
		}
		r.mu.Unlock()
		if behind == 0 && time.Since(since) > rollSession+rollQuiet {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d partitions have completed nothing for %v", behind, time.Since(since))
		}
	}
}

// waitWarm waits until all processes say that they are ready.
func (r *roller) waitWarm(processes []*process) {
	r.t.Helper()
	for _, p := range processes {
		p.waitReady(r.left(2 * time.Minute))
	}
	time.Sleep(rollQuiet)
}

// waitAll waits until every saga that was started has ended.
func (r *roller) waitAll(stuck time.Duration) {
	r.t.Helper()
	last, at := -1, time.Now()
	for {
		r.mu.Lock()
		started, ended := r.started, len(r.ended)
		r.mu.Unlock()
		switch {
		case ended >= started:
			return
		case ended > last:
			last, at = ended, time.Now()
		case time.Since(at) > stuck:
			r.t.Fatalf("%d of %d sagas have ended, none in the last %v", ended, started, stuck)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// check wants every saga to have ended once and completed, and each of its two
// commands to have had one effect.
func (r *roller) check() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ended) != r.started || r.kinds["completed"] != r.started {
		r.t.Errorf("%d sagas were started, %d have ended: %v", r.started, len(r.ended), r.kinds)
	}
	for wid, n := range r.ended {
		if n != 1 {
			r.t.Errorf("%s ended %d times", wid, n)
		}
	}
	for _, p := range []*participant{r.one, r.two} {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.effects) != r.started {
			r.t.Errorf("%s has %d effects, %d sagas were started", p.topic, len(p.effects), r.started)
		}
		for key, e := range p.effects {
			if e.done != 1 || e.undone != 0 {
				r.t.Errorf("%s %s: key %s took effect %d times and was undone %d times", e.wid, e.command, key, e.done, e.undone)
			}
		}
		for _, f := range p.faults {
			r.t.Errorf("%s: %s", p.topic, f)
		}
		r.t.Logf("%s: %d commands, %d answered again", p.topic, p.counts.deliveries, p.counts.replayed)
	}
	if dead := r.c.ReadAll(r.c.Namespace() + ".saga.dlq"); len(dead) > 0 {
		r.t.Errorf("%d dead letters, the first: key %q headers %v", len(dead), dead[0].Key, dead[0].Headers)
	}
	r.t.Logf("%d sagas, each completed once", r.started)
}
