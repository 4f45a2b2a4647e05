package blackbox

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestKafkaPolyglot runs POLYGLOT card payments whose participants are written in Go, Python, Java and Node, and one
// is a service behind the HTTP bridge, each with a ledger in a PostgreSQL database of its own, while all of them and
// the engine are killed at random. Then the ledgers balance: each key took effect once, and each payment is in all of
// them or in none.
func TestKafkaPolyglot(t *testing.T) {
	c := kafkatest.Real(t)
	sagas, err := strconv.Atoi(os.Getenv("POLYGLOT"))
	if err != nil || sagas < 1 {
		t.Skip("POLYGLOT is not set: make polyglot runs this")
	}
	postgres(t)
	w := newWorld(t, c)
	h := newHouse(w)
	engines := startProcesses(t, c, 2)
	for _, s := range h.all {
		s.up()
	}
	w.input = h.input
	w.follow()
	t.Log(amends(t, "apply", "--brokers", c.Seeds()[0], "--namespace", c.Namespace(), "-f", h.definition()))

	began := time.Now()
	// A closed loop: on a slow machine an open one would queue commands for longer than an attempt lasts, and every one
	// of them would be expired when it is read.
	w.open = 600
	over := time.Duration(sagas) * 5 * time.Millisecond
	published := w.begin(sagas, over)
	kills := max(10, sagas/300)
	killed := map[string]int{}
	next := time.Now()
	h.firstAnswers()
	moves := stall{when: time.Now()}
	for n, ended := 0, 0; n < kills || !closed(published); {
		w.between(500*time.Millisecond, time.Second)
		h.watch()
		// Once all are published and have ended, only the rest of the kills is left.
		if now := w.endedCount(); now < sagas && moves.lasts(now, time.Now()) > stuckAfter {
			t.Fatalf("%d of %d instances have ended, none in the last %v, after %d kills: %v. Open: %s", now, sagas, stuckAfter, n, killed, h.openSample())
		}
		if now := w.endedCount(); now/1000 > ended/1000 {
			ended = now
			t.Logf("%6.1fs: %d of %d instances have ended after %d kills", time.Since(began).Seconds(), ended, sagas, n)
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(time.Duration(2+w.rng.IntN(5)) * time.Second)
		if w.rng.IntN(8) == 0 {
			p := engines[w.rng.IntN(len(engines))]
			p.kill()
			w.between(0, time.Second)
			p.start()
			killed["engine"]++
		} else {
			s := h.all[w.rng.IntN(len(h.all))]
			s.down()
			w.between(0, time.Second)
			s.up()
			killed[s.label]++
		}
		n++
	}
	for _, p := range engines {
		p.waitReady(time.Minute)
	}
	t.Logf("%6.1fs: all are published, killed %v, %d of %d instances have ended", time.Since(began).Seconds(), killed, w.endedCount(), sagas)
	h.waitEnded(sagas, 2*time.Minute)
	took := time.Since(began)
	t.Logf("%6.1fs: all have ended (%.0f a second over all), restarted after an end of their own: %v", took.Seconds(), float64(sagas)/took.Seconds(), h.fell)
	h.check(engines)
	for _, p := range engines {
		p.terminate(30 * time.Second)
	}
}

// stuckAfter is how long it may last until some instance ends: of so many that are under way, one always does.
const stuckAfter = 3 * time.Minute

// stall knows since when a count has not moved.
type stall struct {
	count int
	when  time.Time
}

// lasts is for how long the count has been what it is now.
func (s *stall) lasts(count int, now time.Time) time.Duration {
	if count != s.count {
		s.count, s.when = count, now
	}
	return now.Sub(s.when)
}

// A count that moves is no stall, however slowly; one that stands is.
func TestStall(t *testing.T) {
	began := time.Now()
	s := stall{when: began}
	for i := 1; i <= 5; i++ {
		if d := s.lasts(i, began.Add(time.Duration(i)*stuckAfter)); d != 0 {
			t.Errorf("%d ended: stands for %v", i, d)
		}
	}
	if d := s.lasts(5, began.Add(5*stuckAfter+stuckAfter+1)); d <= stuckAfter {
		t.Errorf("nothing ended: stands for %v", d)
	}
}

// house is what stands around the saga: five services, of which one is a provider behind a bridge.
type house struct {
	*world
	all      []*service
	foreign  map[string]*foreign
	provider *provider
	fell     map[string]int
}

// service is a process that can be killed and started again.
type service struct {
	label string
	up    func()
	down  func()
	alive func() bool
}

func newHouse(w *world) *house {
	h := &house{world: w, foreign: map[string]*foreign{}, fell: map[string]int{}}
	for _, lang := range languages {
		name := w.c.Name(lang)
		w.c.CreateTopic("cmd."+name, 4, nil)
		f := prepareForeign(w.t, w.c, lang, name)
		h.foreign[lang] = f
		h.all = append(h.all, &service{label: lang, down: f.kill, alive: f.alive, up: func() {
			if err := f.start(); err != nil {
				w.t.Errorf("%s: %v", lang, err)
			}
		}})
	}
	h.provider = startProvider(w.t, w.c, w.seed)
	h.all = append(h.all, h.bridge())
	return h
}

// bridge is amends bridge, which makes calls to the provider of the commands of a participant.
func (h *house) bridge() *service {
	name := h.c.Name("http")
	h.c.CreateTopic("cmd."+name, 4, nil)
	dir := h.t.TempDir()
	file := filepath.Join(dir, "bridge.yaml")
	text := fmt.Sprintf(`bridge: %s
destinations:
  api: {url: %q, timeout: 5s}
commands:
  charge:
    keyWindow: 24h
    do:
      path: /charges
      body: {amount: '=input.amount', reference: '=command.workflowId'}
      outcomes:
        - {when: '=status == 402', outcome: rejected, code: '=body.error'}
      output: {id: '=body.id'}
    undo: {method: DELETE, path: '/charges/{key}', params: {key: '=command.forwardKey'}}
    inquire: {path: '/charges/{key}', params: {key: '=command.forwardKey'}, output: {id: '=body.id'}}
`, name, h.provider.url)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	p := &process{t: h.t, name: "bridge", log: filepath.Join(dir, "bridge.log"),
		args: []string{"bridge", "-f", file, "--brokers", strings.Join(h.c.Seeds(), ","), "--data-dir", filepath.Join(dir, "data"), "--instance", "bridge-1"}}
	h.t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
		if h.t.Failed() {
			h.t.Logf("last log lines of the bridge:\n%s", tail(p.log, 40))
		}
	})
	return &service{label: "bridge", up: p.start, down: p.kill, alive: func() bool {
		select {
		case <-p.ended:
			return false
		default:
			return true
		}
	}}
}

// definition is that of testdata with the names of this run.
func (h *house) definition() string {
	src, err := os.ReadFile("testdata/polyglot.yaml")
	if err != nil {
		h.t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^  (java|python|go|http|node):`).ReplaceAllString(string(src), "  "+h.c.Name("")+"${1}:")
	text = regexp.MustCompile(`call: (java|python|go|http|node)\.`).ReplaceAllString(text, "call: "+h.c.Name("")+"${1}.")
	file := filepath.Join(h.t.TempDir(), "saga.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return file
}

// input has, for some, an amount that one of the participants refuses.
func (h *house) input(i int, amount int64) string {
	at := map[string]int64{"amount": amount, "credit": amount, "stock": amount, "fee": amount, "capture": amount}
	if n := hash(h.seed, fmt.Sprint("refuse", i)) % 100; n < 20 {
		at[[]string{"credit", "stock", "fee", "capture"}[n%4]] = 2_000_000
	}
	return fmt.Sprintf(`{"amount":%d,"credit":%d,"stock":%d,"fee":%d,"capture":%d}`, at["amount"], at["credit"], at["stock"], at["fee"], at["capture"])
}

// firstAnswers waits until something has ended, so that everybody has come up before the first is killed.
func (h *house) firstAnswers() {
	h.t.Helper()
	h.waitFor(3*time.Minute, "an instance has ended", func() bool { return h.endedCount() > 0 })
}

// watch starts again what has ended by itself, as a supervisor does.
func (h *house) watch() {
	for _, s := range h.all {
		if !s.alive() {
			h.fell[s.label]++
			s.down()
			s.up()
		}
	}
}

// waitEnded is that of world, and goes on watching.
func (h *house) waitEnded(n int, stuck time.Duration) {
	h.t.Helper()
	last, when := -1, time.Now()
	for {
		now := h.endedCount()
		if now >= n {
			return
		}
		if now != last {
			last, when = now, time.Now()
		}
		if time.Since(when) > stuck {
			h.t.Fatalf("%d of %d instances have ended, none in the last %v. Open: %s", now, n, stuck, h.openSample())
		}
		h.watch()
		time.Sleep(200 * time.Millisecond)
	}
}

// check is the audit.
func (h *house) check(engines []*process) {
	h.t.Helper()
	h.mu.Lock()
	gaps, amounts, facts := h.gaps, h.amounts, h.facts
	h.mu.Unlock()
	for _, g := range gaps {
		h.errorf("lifecycle: %s", g)
	}
	completed := h.checkEnds(amounts, facts)
	stand := map[string]map[string]int64{} // workflow ID, command: the amounts that stand
	for _, lang := range languages {
		h.foreign[lang].checkLedger()
		readLedger(h, lang, h.foreign[lang].db, stand)
	}
	checked := &foreign{t: h.t, lang: "provider", db: h.provider.db}
	checked.checkLedger()
	readLedger(h, "provider", h.provider.db, stand)
	commands := []string{"authorise", "hold", "reserve", "charge", "capture", "create"}
	var sum int64
	for wid, amount := range amounts {
		f := facts[wid]
		done := len(f) > 0 && f[len(f)-1] == "completed"
		if !done && len(stand[wid]) > 0 {
			h.errorf("%s did not complete, and this stands: %v (%v)", wid, stand[wid], f)
		}
		if done {
			sum += amount
			for _, command := range commands {
				if stand[wid][command] != amount {
					h.errorf("%s completed with %s at %d, want %d", wid, command, stand[wid][command], amount)
				}
			}
		}
	}
	for wid := range stand {
		if _, known := amounts[wid]; !known {
			h.errorf("a ledger knows %s, which nobody started", wid)
		}
	}
	h.checkObligations(engines, amounts)
	if dead := h.c.ReadAll(h.c.Namespace() + ".saga.dlq"); len(dead) > 0 {
		h.errorf("%d dead letters, the first: key %q headers %v", len(dead), dead[0].Key, dead[0].Headers)
	}
	h.t.Logf("seed %d: %d instances, %d completed, %d compensated; every ledger stands at %d; the provider was called %d times, %d answers of it were lost",
		h.seed, len(amounts), completed, len(amounts)-completed, sum, h.provider.calls.Load(), h.provider.lost.Load())
}

// readLedger adds what stands in a ledger, per instance and command.
func readLedger(h *house, name string, db *sql.DB, stand map[string]map[string]int64) {
	rows, err := db.Query("select d.wid, d.command, sum(d.amount + coalesce(u.amount, 0)) from ledger d left join ledger u on u.fwd = d.k where d.fwd is null group by 1, 2")
	if err != nil {
		h.errorf("ledger of %s: %v", name, err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var wid, command string
		var amount int64
		if err := rows.Scan(&wid, &command, &amount); err != nil {
			h.errorf("ledger of %s: %v", name, err)
			return
		}
		if amount == 0 {
			continue
		}
		if stand[wid] == nil {
			stand[wid] = map[string]int64{}
		}
		stand[wid][command] += amount
	}
	if err := rows.Err(); err != nil {
		h.errorf("ledger of %s: %v", name, err)
	}
}
