package orchestrator_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

// release is what a process of an earlier release left in a namespace of four partitions: its
// definitions and its state records, byte for byte, with what it showed of the instances.
type release struct {
	Release string
	At      int64 // ms
	Defs    []keyed
	State   []keyed
	Phases  map[string]string            // status by workflow ID
	Steps   map[string]map[string]string // "<state> <undo>" by workflow ID and path
}

type keyed struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

func readRelease(t *testing.T, name string) release {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var f release
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestUpgrade: what the first release stored goes on under this one, unchanged: instances in flight,
// backing off, compensating, beyond the pivot, with an unknown pivot, ended, forbidden and parked, on
// two versions of a definition. And as long as the namespace is at level 1, what this release stores
// has the format that the first one reads, so that there is a way back.
func TestUpgrade(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		left := readRelease(t, "first-release.json")
		time.Sleep(time.Until(time.UnixMilli(left.At)))
		src, topics := r.orderSaga()
		r.firstRelease(src)
		for _, d := range left.Defs {
			r.c.Produce(&kgo.Record{Topic: r.topics.Defs, Key: []byte(d.Key), Value: d.Value})
		}
		for _, s := range left.State {
			key := []byte(s.Key)
			r.c.ProduceTo(protocol.Partition(key, 4), &kgo.Record{Topic: r.topics.State, Key: key, Value: s.Value})
		}
		// The inputs of the old cluster are not here: each task begins with those of this one.
		for task := range int32(4) {
			var at []changelog.InputPosition
			for _, topic := range []string{r.topics.Control, r.topics.Intake, r.topics.Replies} {
				at = append(at, changelog.InputPosition{Topic: topic, Partition: task})
			}
			r.c.ProduceTo(task, &kgo.Record{Topic: r.topics.State, Key: []byte(changelog.ProgressKey),
				Value: (&changelog.Progress{Inputs: at, Time: left.At, Epoch: 1, Owner: "old", Commit: 1}).Append(nil)})
		}

		// First the process alone: it shows what the old one showed.
		r.start()
		r.ready()
		if l := r.levels(); l.Level != 1 {
			t.Errorf("level: %+v", l)
		}
		for wid, status := range left.Phases {
			v, ok := r.get(wid)
			if !ok || v.Status != status {
				t.Errorf("%s: %q, was %q", wid, v.Status, status)
			}
			steps := map[string]string{}
			for _, s := range v.Steps {
				steps[s.Path] = strings.TrimSpace(s.State + " " + s.Undo)
			}
			if len(steps) > 0 {
				equal(t, wid, steps, left.Steps[wid])
			}
		}

		// Then with participants, who know nothing of what they were asked before.
		r.people.on("do", "reserve", func(protocol.Command, []byte, int) *answer { return ok(`{"ref":"r-2"}`) })
		r.people.serve(topics...)
		for _, id := range []string{"reserving", "authorising", "backoff", "finishing", "capturing"} {
			v := r.ends("order/"+id, "completed", time.Second)
			want := `{"ref":"r-1"}`
			if id == "reserving" {
				want = `{"ref":"r-2"}`
			}
			equal(t, id+"'s output", string(v.Output), want)
			if version := uint32(1); id != "capturing" && v.Version != version || id == "capturing" && v.Version != 2 {
				t.Errorf("%s runs version %d", id, v.Version)
			}
		}
		for _, id := range []string{"undoing", "cancelled"} {
			r.ends("order/"+id, "compensated", time.Second)
		}
		// The answer to a question that the old process asked.
		token := protocol.Token{WorkflowID: "order/unknown", Run: 1, Path: "capture", Op: protocol.OpDo, Round: 1, Attempt: 1}.Encode(nil)
		late := &kgo.Record{Topic: r.topics.Replies, Key: []byte("order/unknown"), Value: []byte("{}")}
		for _, h := range (protocol.Reply{Token: token, Outcome: protocol.OutcomeOK}).Headers() {
			late.Headers = append(late.Headers, kgo.RecordHeader(h))
		}
		r.c.Produce(late)
		r.ends("order/unknown", "completed", time.Second)

		// What has ended answers as before.
		in := map[string]any{"amount": 1500, "note": "caf\u00e9"}
		r.begin("order", "completed", in)
		r.begin("order", "void", in)
		r.until("the duplicate is told", often, func() bool {
			return slices.Contains(r.facts("order/completed"), "duplicate") && slices.Contains(r.facts("order/void"), "rejected")
		})
		// The parked one has waited long enough.
		r.until("nobody brought its definition", time.Second, func() bool { return len(r.deadLetters()) == 1 })
		equal(t, "class", r.deadLetters()[0].why.Class, "UNKNOWN_DEFINITION")

		for _, rec := range r.c.ReadAll(r.topics.State) {
			if len(rec.Key) > 0 && rec.Key[0] != 0 && len(rec.Value) > 0 && rec.Value[0] != 1 {
				t.Errorf("%s was stored in format %d", rec.Key, rec.Value[0])
			}
		}
		want := r.dump()
		if err := r.shut(); err != nil {
			t.Fatal(err)
		}
		r.disk = kafkatest.NewDisk()
		r.start()
		r.ready()
		if got := r.dump(); got != want {
			t.Errorf("store and changelog differ\nstore:\n%s\nchangelog:\n%s", want, got)
		}
	})
}

// facts lists the kinds of the lifecycle facts of an instance, whatever their numbers.
func (r *rig) facts(wid string) []string {
	r.t.Helper()
	var kinds []string
	for _, l := range r.lifecycle(wid) {
		kinds = append(kinds, l.Kind)
	}
	return kinds
}
