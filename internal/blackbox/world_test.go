package blackbox

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
)

// world is a namespace with the card-payment saga, its three participants
// and all that is known about its instances.
type world struct {
	t                *testing.T
	c                *kafkatest.Cluster
	seed             uint64
	rng              *rand.Rand // of the test's goroutine
	psp, stock, ship *participant
	// open, when positive, is how many instances may be open at a time: starts wait for ends.
	open int
	// input makes the input of an instance from its amount. Default: that of the example.
	input func(i int, amount int64) string

	mu      sync.Mutex
	amounts map[string]int64    // by workflow ID, of what was started
	facts   map[string][]string // by workflow ID: kinds in order of seq
	ended   int
	gaps    []string
	changed chan struct{} // a token when ended grew
	errors  atomic.Int64
}

func newWorld(t *testing.T, c *kafkatest.Cluster) *world {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("AMENDS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("AMENDS_SEED: %v", err)
		}
	}
	t.Logf("seed %d (AMENDS_SEED=%d repeats the choices)", seed, seed)
	return &world{
		t: t, c: c, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)),
		amounts: make(map[string]int64), facts: make(map[string][]string), changed: make(chan struct{}, 1),
	}
}

// apply publishes the example's definition with participants of this test's
// own and the given attempt timeout, and starts the participants.
func (w *world) apply(attempt time.Duration, refuseCapture, silent uint64) {
	w.t.Helper()
	src, err := os.ReadFile("../../examples/card-payment/saga.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	own := func(s, pattern, replacement string) string {
		re := regexp.MustCompile("(?m)" + pattern)
		if !re.MatchString(s) {
			w.t.Fatalf("the example's definition has no %q: adapt this test", pattern)
		}
		return re.ReplaceAllString(s, replacement)
	}
	def := own(string(src), `call: (psp|stock|ship)\.`, "call: "+w.c.Name("")+"${1}.")
	def = own(def, `^  (psp|stock|ship):`, "  "+w.c.Name("")+"${1}:")
	def = own(def, `attempt: \d+s`, "attempt: "+attempt.String())
	def = own(def, `every: \d+s`, "every: 1s")
	def = own(def, `    kind: retriable$`, "    kind: retriable\n    retry: {backoff: 500ms, max: 2s}")
	file := filepath.Join(w.t.TempDir(), "saga.yaml")
	if err := os.WriteFile(file, []byte(def), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.t.Log(amends(w.t, "apply", "--brokers", w.c.Seeds()[0], "--namespace", w.c.Namespace(), "-f", file))

	serve := func(name string, refuse map[string]uint64) *participant {
		return startParticipant(w.t, w.c, &participant{
			topic: "cmd." + w.c.Name(name), seed: w.seed, refuse: refuse, silent: silent,
		})
	}
	w.psp = serve("psp", map[string]uint64{"capture": refuseCapture})
	w.stock = serve("stock", nil)
	w.ship = serve("ship", nil)
}

func (w *world) participants() []*participant { return []*participant{w.psp, w.stock, w.ship} }

// begin puts n starts on the intake, spread over the given time, in the
// background. It returns at once; done is closed when all are acknowledged.
func (w *world) begin(n int, over time.Duration) (done <-chan struct{}) {
	w.t.Helper()
	cl, err := kgo.NewClient(w.c.Opts(kgo.ProducerLinger(2 * time.Millisecond))...)
	if err != nil {
		w.t.Fatal(err)
	}
	amounts := make([]int64, n)
	w.mu.Lock()
	for i := range n {
		amounts[i] = 1 + w.rng.Int64N(100_000)
		w.amounts[workflowID(i)] = amounts[i]
	}
	w.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	all := make(chan struct{})
	go func() {
		defer close(all)
		defer cl.Close()
		began := time.Now()
		for i := range n {
			if late := time.Until(began.Add(over * time.Duration(i) / time.Duration(n))); late > 0 {
				select {
				case <-time.After(late):
				case <-ctx.Done():
					return
				}
			}
			for w.open > 0 && i-w.endedCount() >= w.open {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
					return
				}
			}
			input := fmt.Sprintf(`{"amount":%d,"items":["sku-%d"]}`, amounts[i], i%7)
			if w.input != nil {
				input = w.input(i, amounts[i])
			}
			value := fmt.Appendf(nil, `{"type":"card-payment","id":"order-%d","input":%s}`, i, input)
			cl.Produce(ctx, &kgo.Record{Topic: w.c.Namespace() + ".saga.intake", Key: []byte(workflowID(i)), Value: value}, func(_ *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					w.t.Errorf("start %s: %v", workflowID(i), err)
				}
			})
		}
		_ = cl.Flush(ctx)
	}()
	w.t.Cleanup(func() {
		stop()
		<-all
	})
	return all
}

func workflowID(i int) string { return fmt.Sprintf("card-payment/order-%d", i) }

// follow reads the lifecycle in the background: saga-kind and saga-seq of
// every fact, read_committed.
func (w *world) follow() {
	w.t.Helper()
	topic := w.c.Namespace() + ".saga.lifecycle"
	cl, err := kgo.NewClient(w.c.Opts(
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(w.fact)
		}
	}()
	w.t.Cleanup(func() {
		stop()
		<-stopped
		cl.Close()
	})
}

func (w *world) fact(r *kgo.Record) {
	var kind, seq string
	for _, h := range r.Headers {
		switch h.Key {
		case "saga-kind":
			kind = string(h.Value)
		case "saga-seq":
			seq = string(h.Value)
		}
	}
	wid := string(r.Key)
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.facts[wid]
	if want := strconv.Itoa(len(before) + 1); seq != want && len(w.gaps) < 20 {
		w.gaps = append(w.gaps, fmt.Sprintf("%s: %s has seq %s, want %s (after %v)", wid, kind, seq, want, before))
	}
	w.facts[wid] = append(before, kind)
	if terminal(kind) {
		w.ended++
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func terminal(kind string) bool {
	return kind == "completed" || kind == "compensated" || kind == "closed"
}

func (w *world) endedCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// waitEnded waits until n instances have ended. It gives up when none ends
// for a while: that is stuck, not slow.
func (w *world) waitEnded(n int, stuck time.Duration) {
	w.t.Helper()
	for w.endedCount() < n {
		select {
		case <-w.changed:
		case <-time.After(stuck):
			w.t.Fatalf("%d of %d instances have ended, none in the last %v. Open: %s", w.endedCount(), n, stuck, w.openSample())
		}
	}
}

// openSample shows a few instances that have not ended, by their last facts.
func (w *world) openSample() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var open []string
	for wid := range w.amounts {
		f := w.facts[wid]
		if len(f) == 0 || !terminal(f[len(f)-1]) {
			open = append(open, fmt.Sprintf("%s %v", wid, f))
		}
	}
	sort.Strings(open)
	return fmt.Sprintf("%d, for example %v", len(open), open[:min(5, len(open))])
}

// errorf reports a fault; only the first faults are printed.
func (w *world) errorf(format string, args ...any) {
	w.t.Helper()
	switch n := w.errors.Add(1); {
	case n <= 40:
		w.t.Errorf(format, args...)
	case n == 41:
		w.t.Error("and more of the kind")
	}
}

// check is the audit: what every instance says, what every participant has.
func (w *world) check(processes []*process) {
	w.t.Helper()
	w.mu.Lock()
	gaps, amounts, facts := w.gaps, w.amounts, w.facts
	w.mu.Unlock()
	for _, g := range gaps {
		w.errorf("lifecycle: %s", g)
	}
	completed := w.checkEnds(amounts, facts)
	w.checkLedgers(amounts, facts)
	w.checkCommands()
	w.checkObligations(processes, amounts)
	if dead := w.c.ReadAll(w.c.Namespace() + ".saga.dlq"); len(dead) > 0 {
		w.errorf("%d dead letters, the first: key %q headers %v", len(dead), dead[0].Key, dead[0].Headers)
	}
	var sum counts
	for _, p := range w.participants() {
		for _, f := range p.faults {
			w.errorf("%s: %s", p.topic, f)
		}
		sum.deliveries += p.counts.deliveries
		sum.replayed += p.counts.replayed
		sum.refused += p.counts.refused
		sum.silent += p.counts.silent
		sum.expired += p.counts.expired
		sum.noops += p.counts.noops
		sum.inquiries += p.counts.inquiries
	}
	if n := w.errors.Load(); n > 0 {
		w.t.Logf("%d faults in all", n)
	}
	w.t.Logf("seed %d: %d instances, %d completed, %d compensated; commands delivered %d, answered again %d, refused %d, left unanswered %d, expired %d, inquiries %d, undos of nothing %d",
		w.seed, len(amounts), completed, len(amounts)-completed,
		sum.deliveries, sum.replayed, sum.refused, sum.silent, sum.expired, sum.inquiries, sum.noops)
}

// checkEnds wants each instance started once and ended once.
func (w *world) checkEnds(amounts map[string]int64, facts map[string][]string) (completed int) {
	for wid := range amounts {
		started, ended := 0, ""
		for _, kind := range facts[wid] {
			switch {
			case kind == "started":
				started++
			case terminal(kind) && ended != "":
				w.errorf("%s ended twice: %v", wid, facts[wid])
			case terminal(kind):
				ended = kind
			case kind == "phantom", kind == "contract-violation", kind == "conflict", kind == "rejected":
				w.errorf("%s: %s: %v", wid, kind, facts[wid])
			}
		}
		if started != 1 || ended == "" || ended == "closed" {
			w.errorf("%s started %d times and ended as %q: %v", wid, started, ended, facts[wid])
		}
		if ended == "completed" {
			completed++
		}
	}
	if len(facts) != len(amounts) {
		w.errorf("%d instances are known to the lifecycle, %d were started", len(facts), len(amounts))
	}
	return completed
}

// checkLedgers wants each key's effect once, and of each instance all or
// nothing.
func (w *world) checkLedgers(amounts map[string]int64, facts map[string][]string) {
	type line struct{ once, amount int64 }
	live := make(map[string]map[string]line) // workflow ID, command
	for _, p := range w.participants() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for key, e := range p.effects {
			if e.done != 1 || e.undone > 1 {
				w.errorf("%s %s: key %s took effect %d times and was undone %d times", e.wid, e.command, key, e.done, e.undone)
			}
			if live[e.wid] == nil {
				live[e.wid] = make(map[string]line)
			}
			l := live[e.wid][e.command]
			n := int64(e.done - e.undone)
			live[e.wid][e.command] = line{l.once + n, l.amount + n*e.amount}
		}
	}
	for wid, amount := range amounts {
		var want int64
		if f := facts[wid]; len(f) > 0 && f[len(f)-1] == "completed" {
			want = 1
		}
		for _, command := range []string{"authorise", "reserve", "capture", "create"} {
			got := live[wid][command]
			if got.once != want {
				w.errorf("%s: %s stands %d times, want %d: %v", wid, command, got.once, want, facts[wid])
			}
			if command == "authorise" || command == "capture" {
				if got.amount != want*amount {
					w.errorf("%s: %s stands at %d, want %d", wid, command, got.amount, want*amount)
				}
			}
		}
	}
}

// checkCommands wants no committed command twice: the same key, operation and
// attempt can come only from two commits of one decision.
func (w *world) checkCommands() {
	for _, p := range w.participants() {
		seen := make(map[string]bool)
		twice := 0
		for _, r := range w.c.ReadAll(p.topic) {
			var id string
			for _, h := range r.Headers {
				if h.Key == "saga-key" || h.Key == "saga-op" || h.Key == "saga-attempt" {
					id += string(h.Value) + " "
				}
			}
			if seen[id] {
				if twice++; twice <= 5 {
					w.errorf("%s holds a command twice: %s of %s", p.topic, id, r.Key)
				}
			}
			seen[id] = true
		}
		if twice > 5 {
			w.errorf("%s holds %d commands twice", p.topic, twice)
		}
	}
}

// checkObligations asks the API for every instance: ended, and nothing owed.
func (w *world) checkObligations(processes []*process, amounts map[string]int64) {
	wids := make(chan string)
	var asked sync.WaitGroup
	for i := range 8 {
		asked.Go(func() {
			for wid := range wids {
				if fault := w.owes(processes[i%len(processes)], wid); fault != "" {
					w.errorf("%s: %s", wid, fault)
				}
			}
		})
	}
	for wid := range amounts {
		wids <- wid
	}
	close(wids)
	asked.Wait()
}

func (w *world) owes(p *process, wid string) string {
	var view struct {
		Phase       string            `json:"phase"`
		Obligations []json.RawMessage `json:"obligations"`
		Attention   []json.RawMessage `json:"attention"`
	}
	var status int
	// A task that has just moved answers 503 until it is restored.
	for range 100 {
		resp, err := http.Get("http://" + p.listen + "/api/v1/instances/" + wid)
		if err != nil {
			return err.Error()
		}
		err = json.NewDecoder(resp.Body).Decode(&view)
		resp.Body.Close()
		status = resp.StatusCode
		if status == http.StatusOK {
			if err != nil {
				return err.Error()
			}
			if (view.Phase != "completed" && view.Phase != "compensated") || len(view.Obligations) > 0 || len(view.Attention) > 0 {
				return fmt.Sprintf("the API says %s, owes %s, attention %s", view.Phase, view.Obligations, view.Attention)
			}
			return ""
		}
		if status != http.StatusServiceUnavailable {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Sprintf("the API answers %d", status)
}
