package blackbox

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// The scale of TestKafkaRoll. The defaults are those of the suite; make roll sets
// what the limits are stated for.
var (
	rollRate      = flag.Int("roll.rate", 40, "sagas offered per second")
	rollRounds    = flag.Int("roll.rounds", 2, "rolling restarts of all processes")
	rollKills     = flag.Int("roll.kills", 1, "processes killed with -9 after that, one at a time")
	rollProcesses = flag.Int("roll.processes", 2, "processes")
	rollState     = flag.Int("roll.state", 0, "MB of state that each process holds")
	rollLimits    = flag.Bool("roll.limits", false, "fail when a limit is not held; otherwise it is only printed")
)

// The limits.
const (
	rollGap     = time.Second      // longest pause in the completions of a partition around a restart, p99
	rollLate    = 2 * time.Second  // of any timer
	rollBack    = 10 * time.Second // from kill -9 to the next completion of a partition, p99
	rollSession = 6 * time.Second  // after which the group notices a death
	rollAfter   = 2 * time.Second  // from there, since a standby is warm
)

const (
	rollNap   = time.Second // between the two steps of each saga
	rollPad   = 8 << 10     // bytes of state of a saga that only sleeps
	rollQuiet = 3 * time.Second
)

// TestKafkaRoll restarts all processes of a namespace one after the other, as a
// rolling update does (SIGTERM, wait for the end, start, wait until it is ready),
// while sagas are offered at a steady rate; then it kills some. It prints how long
// each partition stood still, and wants no saga lost or doubled.
func TestKafkaRoll(t *testing.T) {
	c := kafkatest.Real(t)
	r := newRoller(t, c)
	processes := startMembers(t, c, *rollProcesses)
	r.apply()
	r.fill()
	r.follow()
	stop := r.offer()
	r.settle()

	var steady, gaps, back samples
	since := time.Now()
	time.Sleep(2 * rollQuiet)
	steady.add(r.gaps(since, time.Now())...)
	for round := range *rollRounds {
		for _, p := range processes {
			since := time.Now()
			p.terminate(time.Minute)
			down := time.Since(since)
			p.start()
			p.waitReady(5 * time.Minute)
			ready := time.Since(since)
			time.Sleep(rollQuiet)
			found := r.gaps(since, time.Now())
			gaps.add(found...)
			t.Logf("round %d: %s down after %v, ready after %v, longest gap of a partition %v", round+1, p.name,
				down.Round(time.Millisecond), ready.Round(time.Millisecond), slices.Max(found).Round(time.Millisecond))
		}
	}
	for kill := range *rollKills {
		p := processes[kill%len(processes)]
		r.waitWarm(processes)
		since := time.Now()
		p.kill()
		r.awaitAll(since, 2*time.Minute)
		found := r.gaps(since, time.Now())
		back.add(found...)
		t.Logf("kill %d: %s is gone, longest gap of a partition %v", kill+1, p.name, slices.Max(found).Round(time.Millisecond))
		p.start()
		p.waitReady(5 * time.Minute)
	}
	stop()
	r.waitAll(2 * time.Minute)

	t.Logf("longest gaps without a restart, per partition:\n%s", &steady)
	t.Logf("longest gaps around a restart, per partition and restart:\n%s", &gaps)
	t.Logf("longest gaps around kill -9, per partition and kill:\n%s", &back)
	fenced, before := takeovers(t, processes)
	t.Logf("takeovers, from fencing the former owner to the end of the changelog:\n%s", &fenced)
	t.Logf("takeovers, what was read before that:\n%s", &before)
	late := r.lateness()
	t.Logf("timers' lateness, with the hops around them:\n%s", &late)
	limit := func(what string, got, most time.Duration) {
		if verdict := fmt.Sprintf("%s: %v, limit %v", what, got.Round(time.Millisecond), most); got <= most || !*rollLimits {
			t.Log(verdict)
		} else {
			t.Error(verdict)
		}
	}
	limit("gap at a restart, p99", gaps.percentile(99), rollGap)
	limit("latest timer", late.percentile(100), rollLate)
	if *rollKills > 0 {
		limit("gap at kill -9, p99", back.percentile(99), rollBack)
		limit("gap at kill -9 after the session's end, p99", back.percentile(99)-rollSession, rollAfter)
	}
	r.check()
	for _, p := range processes {
		p.terminate(time.Minute)
	}
}

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
	naps    []time.Duration       // lateness
}

func newRoller(t *testing.T, c *kafkatest.Cluster) *roller {
	return &roller{
		t: t, c: c, ended: make(map[string]int), kinds: make(map[string]int),
		times: make(map[int32][]time.Time), slept: make(map[string]time.Time),
	}
}

// startMembers starts processes that hand their tasks over: dynamic members. The
// first one makes the topics.
func startMembers(t *testing.T, c *kafkatest.Cluster, n int) []*process {
	t.Helper()
	flags := func(string) []string { return []string{"--replication-factor", strconv.Itoa(replicas(c))} }
	all := startProcessesWith(t, c, 1, flags)
	all = append(all, startProcessesWith(t, c, n-1, flags)...)
	for i, p := range all {
		p.name = fmt.Sprintf("n%d", i+1)
	}
	return all
}

func replicas(c *kafkatest.Cluster) int { return min(3, len(c.Seeds())) }

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
	r.one = startParticipant(r.t, r.c, &participant{topic: "cmd." + one, seen: func(wid, _ string) { r.at(&r.slept, wid) }})
	r.two = startParticipant(r.t, r.c, &participant{topic: "cmd." + two, seen: func(wid, _ string) { r.woke(wid) }})
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
		r.naps = append(r.naps, time.Since(began)-rollNap)
		r.slept[wid] = time.Time{}
	}
}

func (r *roller) lateness() (s samples) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.add(r.naps...)
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
	if err := cl.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("%d sagas that sleep, %d MB for each process, offered in %v", n, *rollState, time.Since(began).Round(time.Second))
}

// offer starts sagas at the rate until stop is called.
func (r *roller) offer() (stop func()) {
	cl, err := kgo.NewClient(r.c.Opts(kgo.ProducerLinger(2 * time.Millisecond))...)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cl.Close()
		began := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			if wait := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(*rollRate))); wait > 0 {
				time.Sleep(wait)
			}
			value := fmt.Appendf(nil, `{"type":"roll","id":"r-%d","input":{"n":%d}}`, i, i%1000+1)
			cl.Produce(context.Background(), &kgo.Record{Topic: r.c.Namespace() + ".saga.intake", Key: fmt.Appendf(nil, "roll/r-%d", i), Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					r.t.Errorf("start %d: %v", i, err)
					return
				}
				r.mu.Lock()
				r.started++
				r.mu.Unlock()
			})
		}
		_ = cl.Flush(context.Background())
	}()
	end := sync.OnceFunc(func() {
		cancel()
		<-done
	})
	r.t.Cleanup(end)
	return end
}

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

// settle waits until sagas complete as fast as they are offered.
func (r *roller) settle() {
	r.t.Helper()
	want := *rollRate * 3
	deadline := time.Now().Add(5 * time.Minute)
	for {
		r.mu.Lock()
		ended, behind := len(r.ended), r.started-len(r.ended)
		r.mu.Unlock()
		if ended > want && behind < *rollRate*3 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the processes do not keep up: %d ended, %d behind", ended, behind)
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
	for _, times := range r.times {
		longest, last := time.Duration(0), from
		for _, at := range times {
			if at.Before(from) {
				last = at
				continue
			}
			longest = max(longest, at.Sub(last))
			last = at
			if at.After(to) {
				break
			}
		}
		if last.Before(to) {
			longest = max(longest, to.Sub(last))
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
		p.waitReady(5 * time.Minute)
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

// takeovers reads from the processes' logs how long each task stood still by the
// taking over alone, and how long it took to get ready for that.
func takeovers(t *testing.T, processes []*process) (still, before samples) {
	t.Helper()
	for _, p := range processes {
		b, err := os.ReadFile(p.log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var said struct {
				Msg                       string
				Warming, Fencing, Reading time.Duration
			}
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "taken over" {
				still.add(said.Fencing + said.Reading)
				before.add(said.Warming)
			}
		}
	}
	return still, before
}

// samples are durations that print as a histogram.
type samples struct{ all []time.Duration }

func (s *samples) add(d ...time.Duration) { s.all = append(s.all, d...) }

// percentile is the smallest sample that p in a hundred do not exceed.
func (s *samples) percentile(p int) time.Duration {
	if len(s.all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.all))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func (s *samples) String() string {
	if len(s.all) == 0 {
		return "  none"
	}
	edges := []time.Duration{50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, 8000, 10000, 15000}
	counts := make([]int, len(edges)+1)
	for _, d := range s.all {
		i := 0
		for i < len(edges) && d > edges[i]*time.Millisecond {
			i++
		}
		counts[i]++
	}
	var b strings.Builder
	for i, n := range counts {
		if n == 0 {
			continue
		}
		label := "more"
		if i < len(edges) {
			label = "<= " + (edges[i] * time.Millisecond).String()
		}
		fmt.Fprintf(&b, "  %-9s %6d %s\n", label, n, strings.Repeat("#", max(1, n*50/len(s.all))))
	}
	fmt.Fprintf(&b, "  %d samples, p50 %v, p90 %v, p99 %v, max %v", len(s.all), s.percentile(50).Round(time.Millisecond),
		s.percentile(90).Round(time.Millisecond), s.percentile(99).Round(time.Millisecond), s.percentile(100).Round(time.Millisecond))
	return b.String()
}
