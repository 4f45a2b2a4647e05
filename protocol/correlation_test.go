package protocol

import (
	"reflect"
	"strings"
	"testing"
)

func TestCorrelation(t *testing.T) {
	for name, c := range map[string]Correlation{
		"await":       {Kind: CorrelateSubscribe, Route: "air.events/1", Value: "PNR 1", WorkflowID: "trip/1", Run: 1, Path: "lines[a]/x", Group: "trip", Signal: "event/air.events/1/2"},
		"reply":       {Kind: CorrelateSubscribe, Route: "bank.events/1", Value: "k", WorkflowID: "trip/1", Run: 2, Path: "pay", Op: OpUndo, Token: "t", Until: 99},
		"unsubscribe": {Kind: CorrelateUnsubscribe, Route: "air.events/1", Value: "PNR", WorkflowID: "trip/1", Run: 1, Path: "a"},
		"event":       {Kind: CorrelateEvent, Route: "air.events/1", Value: "PNR", EventID: "e", Source: "air.events/3/17", Binding: "b", Groups: []string{"refund", "trip"}, TTL: 3600000},
		"answer":      {Kind: CorrelateEvent, Route: "air.events/1", Value: "PNR", EventID: "e", Groups: []string{""}, Op: OpDo, Outcome: OutcomeFailedFatal, Effect: EffectNone, Code: "NO"},
	} {
		got, err := ParseCorrelation(c.Headers())
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestCorrelationRefused(t *testing.T) {
	good := Correlation{Kind: CorrelateEvent, Route: "r", Value: "v", EventID: "e", Groups: []string{"g"}, TTL: 1}
	wait := Correlation{Kind: CorrelateSubscribe, Route: "r", Value: "v", WorkflowID: "t/1", Run: 1, Path: "p", Signal: "s"}
	for name, change := range map[string]func(ev, w *Correlation){
		"another kind":      func(ev, _ *Correlation) { ev.Kind = "publish" },
		"no value":          func(ev, _ *Correlation) { ev.Value = "" },
		"a long value":      func(ev, _ *Correlation) { ev.Value = strings.Repeat("x", MaxMatchValue+1) },
		"no id":             func(ev, _ *Correlation) { ev.EventID = "" },
		"many groups":       func(ev, _ *Correlation) { ev.Groups = make([]string, MaxEventGroups+1) },
		"a long time":       func(ev, _ *Correlation) { ev.TTL = MaxSignalTTL + 1 },
		"an outcome":        func(ev, _ *Correlation) { ev.Outcome = "fine" },
		"an effect":         func(ev, _ *Correlation) { ev.Outcome, ev.Effect = OutcomeOK, EffectNone },
		"an effect alone":   func(ev, _ *Correlation) { ev.Effect = EffectDone },
		"an operation":      func(ev, _ *Correlation) { ev.Op = "redo" },
		"nobody":            func(_, w *Correlation) { w.WorkflowID = "" },
		"no run":            func(_, w *Correlation) { w.Run = 0 },
		"signal and token":  func(_, w *Correlation) { w.Token = "t" },
		"neither of them":   func(_, w *Correlation) { w.Signal = "" },
		"not UTF-8, a path": func(_, w *Correlation) { w.Path = "\xff" },
	} {
		ev, w := good, wait
		change(&ev, &w)
		_, err1 := ParseCorrelation(ev.Headers())
		_, err2 := ParseCorrelation(w.Headers())
		if err1 == nil && err2 == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if string(CorrelationKey("a", "bc")) == string(CorrelationKey("ab", "c")) || len(CorrelationKey("a", "b")) != 32 {
		t.Error("keys of different values are equal")
	}
}
