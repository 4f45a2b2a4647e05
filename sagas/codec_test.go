package sagas

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inst := drawInstance(t)
		enc := inst.Append(nil)
		if again := inst.Append([]byte("x")); !bytes.Equal(again[1:], enc) || again[0] != 'x' {
			t.Fatal("Append is not deterministic, or does not append")
		}
		dec, err := DecodeInstance(enc)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(dec, inst) {
			t.Fatalf("decode(encode(s)) differs:\n%+v\n%+v", inst, dec)
		}
		sum, err := Summarise(enc)
		want := Summary{
			WorkflowID: inst.WorkflowID, Type: inst.Type, Version: inst.Version, Run: inst.Run, Phase: inst.Phase,
			Attention: inst.NeedsAttention(), Due: inst.NextDue(), StartedAt: inst.StartedAt, UpdatedAt: inst.LastNow, Rev: inst.Rev,
		}
		if err != nil || sum != want {
			t.Fatalf("summary %+v, want %+v (%v)", sum, want, err)
		}
		if tags, err := ReadTags(enc); err != nil || !slices.Equal(tags, inst.Tags) {
			t.Fatalf("tags %v, want %v (%v)", tags, inst.Tags, err)
		}
		if _, err := DecodeInstance(append(enc, 0)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a trailing byte: %v", err)
		}
		cut := rapid.IntRange(0, len(enc)-1).Draw(t, "cut")
		if _, err := DecodeInstance(enc[:cut]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	})
}

func TestCodecRefuses(t *testing.T) {
	good := func() []byte {
		inst, _ := Step(planOf("a"), nil, startEvent(), epoch)
		return inst.Append(nil)
	}
	newer := good()
	newer[0] = formatPaged + 1
	for _, f := range []func([]byte) error{
		func(b []byte) error { _, err := DecodeInstance(b); return err },
		func(b []byte) error { _, err := Summarise(b); return err },
		func(b []byte) error { _, err := ReadTags(b); return err },
	} {
		if err := f(newer); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("a newer format: %v", err)
		}
		if err := f(append(good(), make([]byte, MaxRecordBytes)...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("over the limit: %v", err)
		}
		if err := f(nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("empty: %v", err)
		}
	}
}

// The bytes of format 1 are those of the first release: a process that was rolled back reads them.
func TestFormat1StaysAsItWas(t *testing.T) {
	w := newWorld(t, planOf("a", "b?", "c!", "d+"))
	var got strings.Builder
	keep := func() {
		fmt.Fprintf(&got, "%x\n", w.inst.Append(nil))
	}
	w.start()
	keep()
	w.reply("a", OutcomeProgress, handle(`{"h":1}`))
	w.reply("a", OutcomeOK)
	w.reply("b", OutcomeFailedRetriable, code("BUSY"))
	keep()
	w.after(time.Second)
	w.reply("b", OutcomeRejected)
	w.send(Cancel{RequestID: "c"})
	keep()
	w.reply("c", OutcomeRejected, code("NO"))
	keep()
	w.send(Admin{Action: AdminClose, Operator: "op", Reason: "test"})
	keep()
	w.after(DefaultStateRetention)
	keep()
	want, err := os.ReadFile("testdata/format1.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	for line := range strings.Lines(string(want)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		inst, err := DecodeInstance(b)
		if err != nil || !bytes.Equal(inst.Append(nil), b) {
			t.Errorf("%s: does not come back (%v)", line, err)
		}
	}
}

func TestDecodeKeepsNoReference(t *testing.T) {
	inst, _ := Step(planOf("a"), nil, startEvent(), epoch)
	b := inst.Append(nil)
	dec, err := DecodeInstance(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(dec, inst) {
		t.Fatal("the instance changed with the buffer")
	}
}

func FuzzDecodeInstance(f *testing.F) {
	w := newWorld(f, planOf("a", "b"))
	seed := func() { f.Add(w.inst.Append(nil)) }
	w.start()
	seed()
	w.reply("a", OutcomeProgress, handle(`{"h":1}`))
	w.reply("a", OutcomeOK)
	seed()
	w.reply("a", OutcomeRejected)
	w.send(Cancel{RequestID: "c"})
	seed()
	w.send(Admin{Action: AdminClose, Operator: "op"})
	seed()
	w.after(DefaultStateRetention)
	seed()
	w = blockWorld(f, tourSource, `{"fast":false,"legs":["x","y"]}`)
	seed()
	w.reply("legs[x]/seat", OutcomeOK)
	w.reply("legs[x]/meal", OutcomeRejected)
	seed()
	tour := w.p
	f.Fuzz(func(t *testing.T, b []byte) {
		inst, err := DecodeInstance(b)
		sum, serr := Summarise(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatalf("unclassed error: %v", err)
			}
			return
		}
		if serr != nil || sum.WorkflowID != inst.WorkflowID || sum.Due != inst.NextDue() {
			t.Fatalf("the head says %+v (%v), the record %+v", sum, serr, inst)
		}
		if again := inst.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("two encodings of one instance:\n%x\n%x", b, again)
		}
		// whatever can be decoded can be stepped and shown
		inst.View(nil)
		for _, ev := range []Event{Timers{}, Cancel{RequestID: "x"}, startEvent(), DefLoaded{}, Admin{Action: AdminClose}} {
			Step(nil, inst, ev, inst.LastNow+1)
			if inst.LastNow < maxTime/2 { // at the end of time every pause is over at once
				Step(tour, inst, ev, inst.LastNow+1)
			}
		}
		inst.View(tour)
	})
}

func drawInstance(t *rapid.T) *Instance {
	text := rapid.StringN(0, 12, -1)
	blob := rapid.Custom(func(t *rapid.T) []byte {
		b := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")
		if len(b) == 0 {
			return nil
		}
		return b
	})
	moment := rapid.Custom(func(t *rapid.T) Time {
		return Time(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(int64(epoch)-1000, int64(epoch)+1e9), rapid.Int64Range(0, int64(maxTime))).Draw(t, "time"))
	})
	n32 := rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32Range(0, 5), rapid.Uint32())
	flag := rapid.Bool()
	inst := &Instance{
		WorkflowID: text.Draw(t, "wid"), Type: text.Draw(t, "type"), Version: n32.Draw(t, "version"), Run: n32.Draw(t, "run"),
		Phase: Phase(rapid.IntRange(1, int(Marker)).Draw(t, "phase")), Ended: Phase(rapid.IntRange(0, int(Marker)).Draw(t, "ended")),
		Rev: rapid.Uint64().Draw(t, "rev"), Seq: rapid.Uint64().Draw(t, "seq"),
		StartID: text.Draw(t, "startID"), Input: blob.Draw(t, "input"), ReplyTo: text.Draw(t, "replyTo"),
		Answered: Phase(rapid.IntRange(0, int(Marker)).Draw(t, "answered")), Trace: text.Draw(t, "trace"),
		IssuedAt: moment.Draw(t, "issued"), StartedAt: moment.Draw(t, "started"), LastNow: moment.Draw(t, "last"),
		EndedAt: moment.Draw(t, "ended"), Deadline: moment.Draw(t, "deadline"), Expires: moment.Draw(t, "expires"),
		MarkerTTL: int64(moment.Draw(t, "ttl")), CancelRequested: flag.Draw(t, "cancel"), DeadlineHit: flag.Draw(t, "hit"),
		Output: blob.Draw(t, "output"),
	}
	if flag.Draw(t, "prefix") {
		inst.WorkflowID = inst.Type + "/" + inst.WorkflowID
	}
	if flag.Draw(t, "hasDigest") {
		inst.Digest, inst.InputHash = Digest{1, 2, 3}, [32]byte{4, 5}
	}
	for range rapid.IntRange(0, 3).Draw(t, "tags") {
		inst.Tags = append(inst.Tags, KV{text.Draw(t, "k"), text.Draw(t, "v")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "cancels") {
		inst.Cancels = append(inst.Cancels, CancelRequest{text.Draw(t, "id"), flag.Draw(t, "pending")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "attention") {
		inst.Attention = append(inst.Attention, Attention{text.Draw(t, "path"), Reason(text.Draw(t, "reason")), moment.Draw(t, "since"), text.Draw(t, "text")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "residue") {
		inst.Residue = append(inst.Residue, text.Draw(t, "path"))
	}
	if flag.Draw(t, "hasCause") {
		inst.Cause = Cause{CauseKind(rapid.IntRange(1, 4).Draw(t, "cause")), text.Draw(t, "path"), text.Draw(t, "code"), text.Draw(t, "message")}
	}
	v2 := flag.Draw(t, "v2")
	if v2 {
		drawNewer(t, inst, text, blob, moment, n32)
	}
	for k := range rapid.IntRange(0, 4).Draw(t, "steps") {
		s := StepState{
			Path: text.Draw(t, "path"), Node: k, Kind: StepKind(rapid.IntRange(1, 5).Draw(t, "kind")),
			State: StepStatus(rapid.IntRange(1, int(StepAbandoned)).Draw(t, "state")), Undo: UndoStatus(rapid.IntRange(0, int(UndoWaived)).Draw(t, "undo")),
			Stuck: flag.Draw(t, "stuck"), SeenDone: flag.Draw(t, "seen"), Phantom: flag.Draw(t, "phantom"), Fatal: flag.Draw(t, "fatal"),
			Round: n32.Draw(t, "round"), Attempts: n32.Draw(t, "attempts"), Asked: n32.Draw(t, "asked"),
			UndoRound: n32.Draw(t, "uround"), UndoAttempts: n32.Draw(t, "uattempts"),
			FirstSent: moment.Draw(t, "first"), AskedAt: moment.Draw(t, "asked"), UndoSent: moment.Draw(t, "usent"), Gen: n32.Draw(t, "gen"),
			Alert: moment.Draw(t, "alert"), Code: text.Draw(t, "code"), Message: text.Draw(t, "message"),
			Payload: blob.Draw(t, "payload"), Question: blob.Draw(t, "question"), Output: blob.Draw(t, "output"),
		}
		if flag.Draw(t, "timer") {
			s.Timer = Timer{TimerKind(rapid.IntRange(1, 2).Draw(t, "tkind")), Op(rapid.IntRange(1, 3).Draw(t, "op")),
				n32.Draw(t, "tround"), n32.Draw(t, "tattempt"), n32.Draw(t, "tgen"), moment.Draw(t, "due")}
		}
		if flag.Draw(t, "record") {
			s.Record = UndoRecord{text.Draw(t, "participant"), text.Draw(t, "command"), text.Draw(t, "topic"), Key{1}, blob.Draw(t, "payload")}
			if flag.Draw(t, "shared") {
				s.Record.Payload = s.Payload
			}
		}
		if v2 {
			drawNewerStep(t, inst, &s, text, moment)
		}
		inst.Steps = append(inst.Steps, s)
	}
	return inst
}

// drawNewer fills in what needs format 2.
func drawNewer(t *rapid.T, inst *Instance, text *rapid.Generator[string], blob *rapid.Generator[[]byte], moment *rapid.Generator[Time], n32 *rapid.Generator[uint32]) {
	flag := rapid.Bool()
	few := rapid.IntRange(0, 3)
	inst.Level = rapid.Uint32Range(0, 3).Draw(t, "level")
	inst.Phase = Phase(rapid.IntRange(1, int(Mailbox)).Draw(t, "phase 2"))
	inst.Cause.Kind = CauseKind(rapid.IntRange(0, int(CauseParent)).Draw(t, "cause 2"))
	if inst.Cause.Kind == 0 {
		inst.Cause = Cause{}
	}
	inst.Suspended, inst.FinishedAs = flag.Draw(t, "suspended"), text.Draw(t, "finished")
	if flag.Draw(t, "child of") {
		inst.Parent = &Parent{text.Draw(t, "parent"), n32.Draw(t, "parent run"), text.Draw(t, "parent path"), flag.Draw(t, "p1"), flag.Draw(t, "p2"), flag.Draw(t, "p3")}
	}
	for range rapid.IntRange(0, 4).Draw(t, "frames") {
		f := Frame{
			ID: inst.Frame + rapid.Uint32Range(1, 3).Draw(t, "frame"), Node: rapid.IntRange(0, 9).Draw(t, "node"), Lane: few.Draw(t, "lane"),
			Key: text.Draw(t, "key"), Number: n32.Draw(t, "number"), State: FrameState(rapid.IntRange(1, int(FrameUndone)).Draw(t, "frame state")), Item: blob.Draw(t, "item"),
		}
		if n := len(inst.Frames); n > 0 && flag.Draw(t, "nested") {
			f.In = inst.Frames[rapid.IntRange(0, n-1).Draw(t, "in")].ID
		}
		if flag.Draw(t, "failed") {
			f.Cause = Cause{CauseStep, text.Draw(t, "path"), text.Draw(t, "code"), text.Draw(t, "message")}
		}
		inst.Frame = f.ID
		inst.Frames = append(inst.Frames, f)
	}
	for range few.Draw(t, "signals") {
		inst.Signals = append(inst.Signals, BufferedSignal{text.Draw(t, "name"), text.Draw(t, "id"), text.Draw(t, "actor"), blob.Draw(t, "payload"), moment.Draw(t, "at"), moment.Draw(t, "expires")})
	}
	for range few.Draw(t, "latest") {
		inst.Latest = append(inst.Latest, NamedValue{text.Draw(t, "name"), blob.Draw(t, "value")})
	}
	for range few.Draw(t, "seen") {
		inst.SeenSignals = append(inst.SeenSignals, rapid.Uint64().Draw(t, "hash"))
	}
	for range few.Draw(t, "admin") {
		inst.AdminIDs = append(inst.AdminIDs, text.Draw(t, "id"))
	}
}

func drawNewerStep(t *rapid.T, inst *Instance, s *StepState, text *rapid.Generator[string], moment *rapid.Generator[Time]) {
	flag := rapid.Bool()
	s.Node = rapid.IntRange(0, 9).Draw(t, "node")
	s.State = StepStatus(rapid.IntRange(1, int(StepOpen)).Draw(t, "state 2"))
	s.Lane, s.Until, s.Lease, s.Child = rapid.IntRange(0, 3).Draw(t, "lane"), moment.Draw(t, "until"), moment.Draw(t, "lease"), text.Draw(t, "child")
	if n := len(inst.Frames); n > 0 && flag.Draw(t, "framed") {
		s.Frame = inst.Frames[rapid.IntRange(0, n-1).Draw(t, "step frame")].ID
	}
	for range rapid.IntRange(0, 2).Draw(t, "votes") {
		s.Votes = append(s.Votes, Vote{text.Draw(t, "actor"), flag.Draw(t, "approve"), text.Draw(t, "comment"), moment.Draw(t, "at")})
	}
	s.Spared, s.BudgetAt = rapid.Uint32Range(0, 2).Draw(t, "spared"), moment.Draw(t, "budget")
	if s.Timer.Kind != 0 {
		s.Timer.Kind = TimerKind(rapid.IntRange(1, int(TimerRemind)).Draw(t, "tkind 2"))
	}
}
