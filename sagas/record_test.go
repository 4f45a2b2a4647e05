package sagas_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/sagas/sagasgen"
	"github.com/amendsio/amends/sagas/sagatest"
)

// stored is an instance as a store has it: "" is the key of the head.
type stored struct {
	records map[sagas.PageKey][]byte

	steps, parts, most int // events; those for which a part was enough; pages at most
	read, written      int // bytes
}

func (s *stored) get(key sagas.PageKey) ([]byte, error) {
	s.read += len(s.records[key])
	return s.records[key], nil
}

func (s *stored) put(key sagas.PageKey, value []byte) {
	s.written += len(value)
	if value == nil {
		delete(s.records, key)
		return
	}
	s.records[key] = bytes.Clone(value)
}

func (s *stored) open() (*sagas.Record, error) {
	if s.records == nil {
		s.records = map[sagas.PageKey][]byte{}
	}
	head, ok := s.records[""]
	if !ok {
		return nil, nil
	}
	s.read += len(head)
	return sagas.OpenRecord(head, s.get)
}

// step is one event for a stored instance.
func (s *stored) step(p *sagas.Plan, ev sagas.Event, now sagas.Time) ([]sagas.Effect, error) {
	rec, err := s.open()
	if err != nil {
		return nil, err
	}
	before, next, effects, err := rec.Step(p, ev, now, nil)
	if err != nil {
		return nil, err
	}
	if head := rec.Head(); head != nil {
		if pages, _ := head.Parts(); pages > 0 {
			s.steps++
			s.most = max(s.most, pages)
			if n, there := before.Parts(); there < n {
				s.parts++
			}
		}
	}
	switch {
	case next == before:
	case next == nil:
		rec.Drop(s.put)
		s.put("", nil)
	default:
		s.put("", rec.Write(nil, next, s.put))
	}
	return effects, nil
}

// check compares the store with the instance that it should have: the same instance, in the same records
// as if it had just been written for the first time.
func (s *stored) check(want *sagas.Instance) error {
	rec, err := s.open()
	if err != nil {
		return err
	}
	got, err := rec.Instance()
	if err != nil {
		return err
	}
	if (got == nil) != (want == nil) || got != nil && !bytes.Equal(got.Append(nil), want.Append(nil)) {
		return fmt.Errorf("the stored instance is another one:\n%+v\n%+v", got, want)
	}
	fresh := stored{records: map[sagas.PageKey][]byte{}}
	if want != nil {
		fresh.put("", (*sagas.Record)(nil).Write(nil, want, fresh.put))
		sum, err := sagas.Summarise(s.records[""])
		if err != nil || sum.Due != want.NextDue() || sum.WorkflowID != want.WorkflowID || sum.Phase != want.Phase || sum.Rev != want.Rev {
			return fmt.Errorf("summary %+v (%v)", sum, err)
		}
	}
	if !maps.EqualFunc(s.records, fresh.records, bytes.Equal) {
		return fmt.Errorf("there are two encodings: records %q, written anew %q", slices.Sorted(maps.Keys(s.records)), slices.Sorted(maps.Keys(fresh.records)))
	}
	for key, value := range s.records {
		if key == "" {
			continue
		}
		if key[0] != 0 {
			return fmt.Errorf("key %q", key)
		}
		if sum, err := sagas.Summarise(value); err == nil {
			return fmt.Errorf("page %q is taken for an instance: %+v", key, sum)
		}
	}
	return nil
}

// shadow lets a stored instance go through the same events as the world, and compares.
func shadow(s *stored, w *sagatest.World, failf func(string, ...any)) func(sagatest.Record) {
	return func(rec sagatest.Record) {
		before := maps.Clone(s.records)
		effects, err := s.step(w.Plan, rec.Event, rec.Now)
		if err == nil && text(effects) != text(rec.Effects) {
			err = fmt.Errorf("other effects:\n%s\ninstead of\n%s", text(effects), text(rec.Effects))
		}
		if err == nil {
			err = s.check(rec.After)
		}
		if err == nil && bytes.Equal(before[""], s.records[""]) && !maps.EqualFunc(before, s.records, bytes.Equal) {
			err = errors.New("pages were written and the head was not")
		}
		if err != nil {
			failf("%T %+v: %v", rec.Event, rec.Event, err)
		}
	}
}

func text(effects []sagas.Effect) string {
	var b strings.Builder
	for _, e := range effects {
		if start, ok := e.(sagas.StartChild); ok {
			fmt.Fprintf(&b, "%#v ", *start.Start.Parent)
			start.Start.Parent = nil
			e = start
		}
		fmt.Fprintf(&b, "%#v\n", e)
	}
	return b.String()
}

// bodies are what items do in the property below.
var bodies = []string{
	`{"id":"a","call":"svc.a","undo":{"call":"svc.b"}}`,
	`{"id":"a","call":"svc.a","with":{"x":"=x","n":"=input.n"},"undo":{"call":"svc.b"},"keep":["v"],"alertAfter":"1s"},{"id":"c","call":"svc.c","kind":"optional","with":{"v":"=step.a.?v.orValue(0)"}}`,
	`{"id":"a","call":"svc.a","onReject":"continue","undo":{"call":"svc.b"}},{"id":"w","await":{"signal":"go","within":"1m","onTimeout":"continue"}}`,
	`{"id":"s","scope":{"retry":{"rounds":2,"on":["*"],"wait":["1s"]},"catch":{"on":["*"],"do":[{"id":"k","call":"svc.k","kind":"readonly"}]}},"do":[{"id":"a","call":"svc.a","undo":{"call":"svc.b"}}]}`,
	`{"id":"l","repeat":{"rounds":3,"wait":["1s"],"wake":["go"],"until":"=round.n == 2"},"do":[{"id":"a","call":"svc.a","kind":"readonly"}]}`,
	`{"id":"q","race":{"first":1},"lanes":{"f":[{"id":"a","call":"svc.a","undo":{"call":"svc.b"}}],"g":[{"id":"g","call":"svc.g","undo":{"call":"svc.b"}}]}}`,
	`{"id":"o","parallel":{"f":[{"id":"a","call":"svc.a","undo":{"call":"svc.b"}}],"g":[{"id":"y","sleep":{"for":"2s","wake":["go"]}}]}}`,
	`{"id":"e","each":{"in":"=input.inner","as":"y"},"do":[{"id":"a","call":"svc.a","undo":{"call":"svc.b"}}]}`,
	`{"id":"h","choose":[{"when":"=x == 'i1'","do":[{"id":"a","call":"svc.a","undo":{"call":"svc.b"}}]},{"else":[{"id":"z","set":{"v":"=index"}}]}]}`,
}

// TestStoredInstanceTakesTheSameSteps: an instance in pages, of which each event reads what it touches, goes
// through every life as the one that is read whole: the same effects, the same state, and the same records
// as if it were written for the first time.
func TestStoredInstanceTakesTheSameSteps(t *testing.T) {
	parts := 0
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		defer sagas.Paging(2+draw("paged", 2), 1+draw("page", 3), 1+40*draw("apart", 2))()
		items := 2 + draw("items", 12)
		var list []string
		for k := range items {
			list = append(list, fmt.Sprintf(`"i%d"`, k))
		}
		onFailure := []string{`"fail"`, `"collect"`, `{"tolerate":1}`}[draw("failure", 3)]
		key := []string{``, `"key":"=x",`, `"key":"=string(index+1)",`}[draw("key", 3)]
		each := fmt.Sprintf(`{"id":"lines","each":{"in":"=input.lines","as":"x",%s"atOnce":%d,"onItemFailure":%s},"do":[%s]}`,
			key, 1+draw("at once", 4), onFailure, bodies[draw("body", len(bodies))])
		beside := `{"id":"b","call":"svc.x","after":[],"undo":{"call":"svc.b"}}`
		nodes := [][]string{
			{each},
			{each, beside},
			{`{"id":"f","call":"svc.x","undo":{"call":"svc.b"}}`, each, `{"id":"p","call":"svc.p","kind":"pivot"}`, `{"id":"r","call":"svc.r","kind":"retriable"}`},
			{`{"id":"t","scope":{"retry":{"rounds":2,"on":["*"]}},"do":[` + each + `]}`},
			{`{"id":"par","parallel":{"u":[` + each + `],"v":[{"id":"p","call":"svc.p","kind":"readonly"},{"id":"fin","finish":"EARLY"}]}}`},
			{`{"id":"t","repeat":{"rounds":2,"until":"=false"},"do":[` + each + `]}`},
			{each, `{"id":"two","each":{"in":"=input.lines","as":"x2","atOnce":2},"after":[],"do":[{"id":"d","call":"svc.d","undo":{"call":"svc.b"}}]}`},
		}[draw("shape", 7)]
		src := `{"saga":"t","version":1,"deadline":"30m","participants":{"svc":{"ops":["do","undo","inquire"]}},"steps":[` + strings.Join(nodes, ",") + `]}`
		def, err := sagas.ParseDefinition("t", []byte(src))
		if err != nil {
			t.Skip(err) // some combinations are refused: a pivot beside an early end
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		live(t, plan, []byte(`{"inner":[1,2,3],"lines":[`+strings.Join(list, ",")+`],"n":1}`), &parts)
	})
	if parts == 0 {
		t.Error("no event was for a part of an instance")
	}
}

// TestStoredDrawnDefinitions is the same for drawn definitions of every node.
func TestStoredDrawnDefinitions(t *testing.T) {
	parts := 0
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		defer sagas.Paging(2, 1, 1)()
		src := sagasgen.Definition(draw, sagasgen.Options{})
		def, err := sagas.ParseDefinition("t", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := sagas.Compile(def)
		if err != nil {
			t.Fatal(err)
		}
		live(t, plan, []byte(`{"flag":true,"list":[{"k":"x"},{"k":"y"},{"k":"z"}],"n":1}`), &parts)
	})
}

// live is one life, as drawn.
func live(t *rapid.T, plan *sagas.Plan, input []byte, parts *int) {
	draw := func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(t, what) }
	s := &stored{}
	w := sagatest.New(plan)
	w.Auto = func(sagas.Command) bool { return true }
	w.Observe = shadow(s, w, t.Fatalf)
	patience, calm := 40, draw("calm", 3) > 0 // a calm life is that of the items alone
	w.Participants.Behaviour = func(c sagas.Command) sagatest.Answer {
		if patience--; patience < 0 || c.Op != sagas.OpDo && draw("kind", 3) > 0 {
			return sagatest.OK()
		}
		switch draw("answer", map[bool]int{true: 24, false: 12}[calm]) {
		case 7:
			return sagatest.Reject("SOME")
		case 8:
			return sagatest.Retriable("BUSY")
		case 9:
			return sagatest.Silent()
		case 10, 11:
			return sagatest.Fatal("BROKEN", draw("executed", 2) == 1)
		}
		return sagatest.OK()
	}
	w.Start("x", input)
	signals := 0
	for range 120 {
		inst := w.Instance()
		if inst == nil {
			break
		}
		wid := inst.WorkflowID
		switch who := draw("who", 40); {
		case calm && who != 1:
			if !w.Step() {
				w.Advance(time.Minute)
			}
		case who == 0:
			w.Feed(sagas.Cancel{WorkflowID: wid, RequestID: "c"})
		case who <= 3:
			signals++
			w.Feed(sagas.Signal{WorkflowID: wid, Name: []string{"go", "stop"}[draw("signal", 2)], ID: fmt.Sprint("s", signals), Payload: []byte(`{"v":2}`)})
		case who == 4:
			w.Feed(sagas.Admin{Action: []sagas.AdminAction{sagas.AdminSuspend, sagas.AdminResume}[draw("admin", 2)], RequestID: fmt.Sprint("r", signals), Operator: "op"})
		case who == 5:
			if n := len(inst.Steps); n > 0 { // late, early or twice
				path := inst.Steps[draw("step", n)].Path
				w.Feed(sagas.Reply{Address: sagas.Address{Run: 1, Path: path, Op: sagas.Op(1 + draw("op", 3)), Round: uint32(draw("round", 3)), Attempt: uint32(draw("attempt", 3))},
					Outcome: []sagas.Outcome{sagas.OutcomeOK, sagas.OutcomeRejected, sagas.OutcomeProgress}[draw("outcome", 3)]})
			}
		case who == 6:
			w.Feed(sagas.Reply{Address: sagas.Address{Run: 1, Path: "lines[nobody]/a", Op: sagas.OpDo, Round: 1, Attempt: 1}, Outcome: sagas.OutcomeOK})
		default:
			if !w.Step() {
				w.Advance(time.Minute)
			}
		}
	}
	*parts += s.parts
}
