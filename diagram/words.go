package diagram

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/amendsio/amends/sagas"
)

// detailOf says in a few words what a node does.
func detailOf(s *sagas.StepDef) string {
	switch {
	case s.Node == sagas.NodeCall:
		return s.Call
	case s.Node == sagas.NodeEach && s.Each != nil:
		return fmt.Sprintf("%s in %s, %d at once", s.Each.As, s.Each.In, s.Each.AtOnce) + itemRule(s.Each)
	case s.Node == sagas.NodeRace && s.Race != nil:
		return fmt.Sprintf("the first %d of %d", s.Race.First, len(s.Lanes))
	case s.Node == sagas.NodeScope && s.Scope != nil:
		return scopeWords(s.Scope)
	case s.Node == sagas.NodeRepeat && s.Repeat != nil:
		return fmt.Sprintf("up to %d times until %s", s.Repeat.Rounds, s.Repeat.Until)
	case s.Node == sagas.NodeSaga && s.Saga != nil:
		if s.Saga.Version > 0 {
			return fmt.Sprintf("%s@%d", s.Saga.Type, s.Saga.Version)
		}
		return s.Saga.Type
	case s.Node == sagas.NodeAwait && s.Await != nil && s.Await.Topic != "":
		return s.Await.Topic + waitWords(s.Await.Within, s.Await.OnTimeout)
	case s.Node == sagas.NodeAwait && s.Await != nil:
		return s.Await.Signal + waitWords(s.Await.Within, s.Await.OnTimeout)
	case s.Node == sagas.NodeSleep && s.Sleep != nil:
		if s.Sleep.For > 0 {
			return "for " + duration(s.Sleep.For)
		}
		return "until " + s.Sleep.Until
	case s.Node == sagas.NodeApprove && s.Approve != nil:
		who := strings.Join(s.Approve.Roles, ", ")
		if s.Approve.Quorum > 1 {
			who = fmt.Sprintf("%d × %s", s.Approve.Quorum, who)
		}
		return who + waitWords(s.Approve.Within, s.Approve.OnTimeout)
	case s.Node == sagas.NodeEmit && s.Emit != nil:
		return s.Emit.Type + " → " + s.Emit.Topic
	case s.Node == sagas.NodeSet:
		return strings.Join(keysOf(s.Set), ", ")
	case s.Node == sagas.NodeFail && s.Fail != nil:
		return s.Fail.Code
	case s.Node == sagas.NodeFinish && s.Finish != nil:
		return s.Finish.Code
	case s.Node == sagas.NodeContinue:
		return "as the next run"
	}
	return ""
}

func itemRule(e *sagas.EachDef) string {
	switch e.OnFailure {
	case sagas.ItemCollect:
		return ", failures are collected"
	case sagas.ItemTolerate:
		return fmt.Sprintf(", %d may fail", e.Tolerate)
	}
	return ""
}

func scopeWords(s *sagas.ScopeDef) string {
	if s.Rounds > 1 {
		return fmt.Sprintf("%d rounds on %s", s.Rounds, codes(s.RetryOn))
	}
	return "save-point"
}

func codes(list []string) string {
	if slices.Contains(list, "*") {
		return "any failure"
	}
	return strings.Join(list, ", ")
}

func waitWords(within time.Duration, rule sagas.TimeoutRule) string {
	if within <= 0 {
		return ""
	}
	w := ", within " + duration(within)
	if rule == sagas.TimeoutContinue {
		w += " or on"
	}
	return w
}

// pillOf names what is special about a node: the kind of a call, or the node itself.
func pillOf(s *sagas.StepDef) string {
	switch s.Node {
	case sagas.NodeCall:
		switch s.Kind {
		case sagas.Pivot, sagas.Retriable, sagas.Optional, sagas.ReadOnly:
			return s.Kind.String()
		}
		return ""
	case sagas.NodeSaga:
		if s.Kind == sagas.Pivot {
			return "saga, pivot"
		}
	}
	return s.Node.String()
}

// undoOf is the command that undoes a node.
func undoOf(s *sagas.StepDef) string {
	switch {
	case s.Node == sagas.NodeCall && s.Undo != nil:
		return s.Undo.Call
	case s.Node == sagas.NodeSaga && s.Saga != nil && s.Saga.Reversible:
		return "reverse " + s.Saga.Type
	}
	return ""
}

func laneLabel(s *sagas.StepDef, l *sagas.LaneDef) string {
	switch {
	case s.Node == sagas.NodeChoose && l.Name == sagas.LaneElse:
		return "else"
	case s.Node == sagas.NodeChoose:
		return "if " + l.When
	case s.Node == sagas.NodeScope && l.Name == sagas.LaneCatch:
		if s.Scope != nil {
			return "on " + codes(s.Scope.CatchOn)
		}
		return "catch"
	case l.Name == sagas.LaneTimeout:
		return "on timeout"
	case l.Name == sagas.LaneDo:
		return ""
	}
	return l.Name
}

// about is everything that a node says, for tooltips and descriptions. Lines end without a dot.
func (n *node) about() string {
	s := n.def
	lines := []string{n.title + ": " + s.Node.String() + " " + n.detail}
	if s.Node == sagas.NodeCall {
		lines[0] = n.title + ": " + s.Kind.String() + " call of " + s.Call
	}
	if n.when != "" {
		lines = append(lines, "only if "+n.when)
	}
	switch {
	case s.Node == sagas.NodeCall:
		t := "attempt " + duration(s.Attempt)
		if s.Within > 0 {
			t += ", within " + duration(s.Within)
		}
		if s.Retry.Attempts > 0 {
			t += fmt.Sprintf(", at most %d attempts", s.Retry.Attempts)
		}
		lines = append(lines, t)
		if s.OnReject {
			lines = append(lines, "a refusal is no failure")
		}
		if s.OnUnknown != 0 {
			lines = append(lines, "unknown outcome: "+s.OnUnknown.String())
		}
	case s.Each != nil:
		lines = append(lines, fmt.Sprintf("key %s, at most %d items", s.Each.Key, s.Each.Max))
	case s.Scope != nil && len(s.Scope.CatchOn) > 0:
		lines = append(lines, "catches "+codes(s.Scope.CatchOn))
	case s.Repeat != nil && len(s.Repeat.Wait) > 0:
		var waits []string
		for _, w := range s.Repeat.Wait {
			waits = append(waits, duration(w))
		}
		lines = append(lines, "waits "+strings.Join(waits, ", "))
	case s.Await != nil && s.Await.Topic != "":
		lines = append(lines, s.Await.Match+" = "+s.Await.Equals)
		if s.Await.When != "" {
			lines = append(lines, "which "+s.Await.When)
		}
	case s.Await != nil && s.Await.When != "":
		lines = append(lines, "which "+s.Await.When)
	case s.Fail != nil && s.Fail.Message != "":
		lines = append(lines, s.Fail.Message)
	}
	if u := undoOf(s); u != "" {
		if n.final {
			lines = append(lines, "undo "+u+", not after the point of no return")
		} else {
			lines = append(lines, "undo "+u)
		}
	} else if s.Why != "" {
		lines = append(lines, "no undo: "+s.Why)
	}
	return strings.Join(lines, "\n")
}

// describe tells the whole picture as text, for those who do not see it.
func (d *Diagram) describe() string {
	var b strings.Builder
	b.WriteString("In order: ")
	describeList(&b, d.root)
	b.WriteString(".")
	return b.String()
}

func describeList(b *strings.Builder, l *list) {
	for i, n := range l.nodes {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(n.title)
		if w := strings.TrimSpace(n.pill + " " + n.detail); w != "" {
			b.WriteString(" (" + w + ")")
		}
		if n.undo != "" {
			b.WriteString(", undone by " + n.undo)
		}
		if n.pivot {
			b.WriteString(", the point of no return")
		}
		for _, ln := range n.lanes {
			b.WriteString(" [")
			if ln.label != "" {
				b.WriteString(ln.label + ": ")
			}
			describeList(b, ln.list)
			b.WriteString("]")
		}
	}
	if len(l.nodes) == 0 {
		b.WriteString("nothing")
	}
}

// keysOf are the names of a JSON object, sorted.
func keysOf(tree []byte) []string {
	var m map[string]json.RawMessage
	if json.Unmarshal(tree, &m) != nil {
		return nil
	}
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// duration is a duration as definitions have it, e.g. 1d12h.
func duration(d time.Duration) string { return sagas.FormatDuration(d) }
