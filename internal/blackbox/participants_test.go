package blackbox

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/participant/conformance"
)

// TestKafkaParticipants plays the conformance cases against the example participants of all languages, built and run
// as their READMEs say, on a real Kafka and a real PostgreSQL, with kills in between.
func TestKafkaParticipants(t *testing.T) {
	c := kafkatest.Real(t)
	postgres(t)
	var lives sync.WaitGroup
	for _, lang := range languages {
		if only := os.Getenv("PARTICIPANTS"); only != "" && !strings.Contains(only, lang) {
			t.Logf("%s is left out: PARTICIPANTS is %s", lang, only)
			continue
		}
		name := c.Name(lang)
		c.CreateTopic("cmd."+name, 4, nil)
		f := prepareForeign(t, c, lang, name) // one after another: they compile
		lives.Go(func() { conform(t, c, f) })
	}
	lives.Wait()
}

func conform(t *testing.T, c *kafkatest.Cluster, f *foreign) {
	if err := f.start(); err != nil {
		t.Errorf("%s: %v", f.lang, err)
		return
	}
	report, err := conformance.Run(t.Context(), conformance.Config{
		Participant: f.name, Client: c.Opts(kgo.ClientID("conformance")), Do: "reserve", Undo: "release", Inquire: "reserve",
		Accept: json.RawMessage(`{"amount":5}`), Refuse: json.RawMessage(`{"amount":2000000}`), Slow: json.RawMessage(`{"amount":5,"sleepMs":1500}`),
		Ready: 2 * time.Minute, Wait: time.Minute,
		Restart: func(context.Context) error { f.kill(); return f.start() },
		Effects: f.standing,
	})
	if err != nil {
		t.Errorf("%s: %v", f.lang, err)
		return
	}
	t.Logf("%s: %s", f.lang, report.Summary())
	for _, one := range report.Results {
		if one.Verdict() != "passed" {
			t.Errorf("%s: %s: %s %s %s", f.lang, one.Case, one.Verdict(), one.Skipped, strings.Join(one.Faults, "; "))
		}
		for _, note := range one.Notes {
			t.Logf("%s: %s: note: %s", f.lang, one.Case, note)
		}
	}
	if !f.alive() {
		t.Errorf("%s: the process has ended by itself", f.lang)
	}
	f.checkLedger()
}

// standing is how often the effect of a do stands: the line, and the lines that take it back.
func (f *foreign) standing(ctx context.Context, key string) (n int, err error) {
	err = f.db.QueryRowContext(ctx, "select count(*) filter (where k = $1) - count(*) filter (where fwd = $1) from ledger", key).Scan(&n)
	return n, err
}

// checkLedger wants each key to have taken effect once, and each effect to be taken back once at most.
func (f *foreign) checkLedger() {
	for what, query := range map[string]string{
		"keys that took effect more than once":  "select count(*) from (select k from ledger group by k having count(*) > 1) x",
		"effects that were taken back twice":    "select count(*) from (select fwd from ledger where fwd is not null group by fwd having count(*) > 1) x",
		"lines that take back what nobody did":  "select count(*) from ledger u where fwd is not null and not exists (select 1 from ledger d where d.k = u.fwd)",
		"lines that take back a wrong amount":   "select count(*) from ledger u join ledger d on d.k = u.fwd where u.amount <> -d.amount",
		"ledgers without a line (want a count)": "select case when count(*) > 0 then 0 else 1 end from ledger",
	} {
		var n int
		if err := f.db.QueryRow(query).Scan(&n); err != nil || n != 0 {
			f.t.Errorf("%s: %d %s: %v", f.lang, n, what, err)
		}
	}
}

// TestForeignAreShort keeps what README.md of the examples says: under 60 lines of code in each file of a participant.
func TestForeignAreShort(t *testing.T) {
	comment := regexp.MustCompile(`^\s*($|//|#|/\*\*)`)
	for _, file := range []string{"go/main.go", "python/participant.py", "java/src/main/java/Participant.java", "java/src/main/java/Inbox.java", "node/participant.js", "node/inbox.js"} {
		b, err := os.ReadFile("../../examples/participants/" + file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(b)) {
			if !comment.MatchString(line) {
				n++
			}
		}
		if n >= 60 {
			t.Errorf("%s has %d lines of code, the README says under 60", file, n)
		}
	}
}
