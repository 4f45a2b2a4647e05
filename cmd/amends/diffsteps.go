package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// compareDefinitions says what changed from a to b. It goes by the canonical forms, so it knows
// every field, and what has no words of its own is still shown.
func compareDefinitions(a, b *sagas.Definition) (*difference, error) {
	d := &difference{
		Old: differenceSide{a.Ref(), a.Digest().String(), a.Level()}, New: differenceSide{b.Ref(), b.Digest().String(), b.Level()},
		Same: a.Digest() == b.Digest(), Changes: []change{},
	}
	if d.Same {
		return d, nil
	}
	x, err := treeOf(a)
	if err != nil {
		return nil, err
	}
	y, err := treeOf(b)
	if err != nil {
		return nil, err
	}
	d.definition(a, b, x, y)
	d.participants(asTree(x["participants"]), asTree(y["participants"]))
	d.steps(flatten(x), flatten(y))
	for _, c := range d.Changes {
		if c.Danger != "" {
			d.Dangerous++
		}
	}
	return d, nil
}

func (d *difference) add(c change) { d.Changes = append(d.Changes, c) }

func (d *difference) definition(a, b *sagas.Definition, x, y tree) {
	switch {
	case a.Saga != b.Saga:
		d.add(change{What: "changed", Field: "saga", Old: a.Saga, New: b.Saga, Text: fmt.Sprintf("another saga: %s is now %s", a.Saga, b.Saga), Note: "Instances of " + a.Saga + " have nothing to do with it."})
	case a.Version == b.Version:
		d.add(change{What: "changed", Field: "version", Old: a.Ref(), New: b.Ref(), Text: a.Ref() + " has another content under the same version",
			Danger: "A published version never changes, so it cannot be published twice (SG33). Raise version."})
	case a.Version > b.Version:
		d.add(change{What: "changed", Field: "version", Old: a.Ref(), New: b.Ref(), Text: fmt.Sprintf("version goes back from %d to %d", a.Version, b.Version), Note: "Are the two files in the right order?"})
	}
	if a.Level() < b.Level() {
		d.add(change{What: "changed", Field: "requires", Old: fmt.Sprint(a.Level()), New: fmt.Sprint(b.Level()), Text: fmt.Sprintf("needs feature level %d, was %d", b.Level(), a.Level()),
			Note: "Every process of the cluster must know the level before this is published."})
	}
	rest := []map[string]any{maps.Clone(x), maps.Clone(y)}
	for _, m := range rest {
		for _, key := range []string{"saga", "version", "requires", "participants", "steps"} {
			delete(m, key)
		}
	}
	d.fields("", "", rest[0], rest[1])
}

func (d *difference) participants(x, y tree) {
	for _, name := range keysBoth(x, y) {
		path := "participants/" + name
		switch {
		case x[name] == nil:
			d.add(change{What: "added", Path: path, New: compact(y[name]), Text: "participant " + name + " is new"})
		case y[name] == nil:
			d.add(change{What: "removed", Path: path, Old: compact(x[name]), Text: "participant " + name + " is gone"})
		default:
			d.fields(path, "", asTree(x[name]), asTree(y[name]))
		}
	}
}

// step is one step of a definition with its place.
type step struct {
	id    string
	own   tree   // its fields without the steps inside
	where string // "checks/card": the step around it and its lane; "" = the saga's own list
	prev  string // the step before it in its list
	index int
}

// flatten lists all steps of a definition, each before those inside it.
func flatten(def tree) []step {
	var all []step
	var list func(v any, where string)
	list = func(v any, where string) {
		prev := ""
		for i, x := range asList(v) {
			s := step{own: maps.Clone(asTree(x)), where: where, prev: prev, index: i}
			s.id, _ = s.own["id"].(string)
			delete(s.own, "id")
			prev = s.id
			at := len(all)
			all = append(all, s)
			inner := func(v any, lane string) { list(v, s.id+"/"+lane) }
			for _, key := range []string{"parallel", "lanes"} {
				lanes := asTree(s.own[key])
				if lanes == nil {
					continue
				}
				for _, name := range slices.Sorted(maps.Keys(lanes)) {
					inner(lanes[name], name)
				}
				s.own[key] = slices.Sorted(maps.Keys(lanes))
			}
			if branches := asList(s.own["choose"]); branches != nil {
				var conditions []any
				for n, b := range branches {
					if other, ok := asTree(b)["else"]; ok {
						inner(other, "else")
						continue
					}
					inner(asTree(b)["do"], fmt.Sprint(n+1))
					conditions = append(conditions, asTree(b)["when"])
				}
				s.own["choose"] = conditions
			}
			if do, ok := s.own["do"]; ok {
				inner(do, "do")
				delete(s.own, "do")
			}
			for _, key := range []string{"scope", "await", "approve"} {
				part := maps.Clone(asTree(s.own[key]))
				for _, sub := range []string{"catch", "onTimeout"} {
					branch := maps.Clone(asTree(part[sub]))
					if branch == nil {
						continue
					}
					if do, ok := branch["do"]; ok {
						inner(do, sub)
						branch["do"] = "steps"
						part[sub] = branch
					}
				}
				if part != nil {
					s.own[key] = part
				}
			}
			all[at] = s
		}
	}
	list(def["steps"], "")
	return all
}

func (d *difference) steps(x, y []step) {
	old, now := byID(x), byID(y)
	for _, s := range x {
		if _, ok := now[s.id]; !ok {
			d.removed(s)
		}
	}
	moved := movedSteps(x, y, old, now)
	for _, s := range y {
		o, ok := old[s.id]
		if !ok {
			d.added(s)
			continue
		}
		if moved[s.id] {
			d.add(change{What: "moved", Path: s.id, Old: o.place(), New: s.place(), Text: fmt.Sprintf("step %s moved: %s, was %s", s.id, s.place(), o.place()),
				Note: "Undos run in reverse order, so theirs changes too."})
		}
		if nodeOf(o.own) != nodeOf(s.own) {
			d.add(change{What: "changed", Path: s.id, Old: nodeOf(o.own), New: nodeOf(s.own), Text: fmt.Sprintf("step %s is a %s now, was a %s", s.id, nodeOf(s.own), nodeOf(o.own))})
			continue
		}
		d.fields(s.id, "", o.own, s.own)
	}
	d.pivots(x, y)
}

// pivots says which steps changed sides at a point of no return that both have.
func (d *difference) pivots(x, y []step) {
	before := func(list []step, pivot string) map[string]bool {
		m := map[string]bool{}
		for _, s := range list {
			if s.id == pivot {
				return m
			}
			m[s.id] = true
		}
		return nil
	}
	old := byID(x)
	for _, p := range y {
		if p.own["kind"] != "pivot" || old[p.id].own["kind"] != "pivot" {
			continue
		}
		was, is := before(x, p.id), before(y, p.id)
		for _, s := range y {
			if _, common := old[s.id]; !common || s.id == p.id || was[s.id] == is[s.id] {
				continue
			}
			c := change{What: "moved", Path: p.id, Text: fmt.Sprintf("step %s comes after the pivot %s now, was before it", s.id, p.id), Danger: "It is no longer undone, and no longer done before money or goods have moved for good."}
			if is[s.id] {
				c.Text = fmt.Sprintf("step %s comes before the pivot %s now, was after it", s.id, p.id)
				c.Danger = "It runs when everything may still be taken back, and must be undone then."
			}
			d.add(c)
		}
	}
}

func (s step) place() string {
	switch {
	case s.prev != "":
		return "after " + s.prev
	case s.where != "":
		return "first in " + s.where
	}
	return "the first step"
}

func byID(list []step) map[string]step {
	m := map[string]step{}
	for _, s := range list {
		m[s.id] = s
	}
	return m
}

// movedSteps are those in another list, and the fewest that explain another order of a list.
func movedSteps(x, y []step, old, now map[string]step) map[string]bool {
	moved := map[string]bool{}
	rank := map[string]map[string]int{} // of each list: position of its old steps that are still in it
	for _, s := range x {
		n, ok := now[s.id]
		if !ok {
			continue
		}
		if n.where != s.where {
			moved[s.id] = true
			continue
		}
		if rank[s.where] == nil {
			rank[s.where] = map[string]int{}
		}
		rank[s.where][s.id] = len(rank[s.where])
	}
	order := map[string][]string{}
	for _, s := range y {
		if _, ok := rank[s.where][s.id]; ok {
			order[s.where] = append(order[s.where], s.id)
		}
	}
	for where, ids := range order {
		kept := longestRise(ids, rank[where])
		for _, id := range ids {
			if !kept[id] {
				moved[id] = true
			}
		}
	}
	return moved
}

// longestRise are the most ids that are still in their old order.
func longestRise(ids []string, rank map[string]int) map[string]bool {
	length, before := make([]int, len(ids)), make([]int, len(ids))
	best := -1
	for i := range ids {
		length[i], before[i] = 1, -1
		for j := range i {
			if rank[ids[j]] < rank[ids[i]] && length[j]+1 > length[i] {
				length[i], before[i] = length[j]+1, j
			}
		}
		if best < 0 || length[i] > length[best] {
			best = i
		}
	}
	kept := map[string]bool{}
	for i := best; i >= 0; i = before[i] {
		kept[ids[i]] = true
	}
	return kept
}

func (d *difference) added(s step) {
	c := change{What: "added", Path: s.id, New: summaryOf(s.own), Text: fmt.Sprintf("step %s is new: %s, %s", s.id, summaryOf(s.own), s.place())}
	if s.own["kind"] == "pivot" {
		c.Danger = "It is a point of no return: nothing before it is undone any more once it is done."
	}
	d.add(c)
}

func (d *difference) removed(s step) {
	c := change{What: "removed", Path: s.id, Old: summaryOf(s.own), Text: fmt.Sprintf("step %s is gone: %s", s.id, summaryOf(s.own))}
	if s.own["kind"] == "pivot" {
		c.Danger = "It was the point of no return: what came before it can now be undone, what came after it too."
	}
	d.add(c)
}

// nodeOf is what kind of node a step is.
func nodeOf(own tree) string {
	for k := sagas.NodeCall; k <= sagas.NodeContinue; k++ {
		if _, ok := own[k.String()]; ok {
			return k.String()
		}
	}
	return "step"
}

func summaryOf(own tree) string {
	node := nodeOf(own)
	if node != "call" {
		return node
	}
	s := fmt.Sprintf("%v", own["call"])
	if kind, _ := own["kind"].(string); kind != "compensatable" {
		s = kind + " " + s
	}
	if undo := asTree(own["undo"]); undo != nil {
		s += fmt.Sprintf(", undone by %v", undo["call"])
	}
	return s
}

// fields compares two objects field by field; objects inside are compared the same way, but
// mappings, whose keys are the author's, as a whole field each.
func (d *difference) fields(path, prefix string, x, y tree) {
	for _, key := range keysBoth(x, y) {
		a, b := x[key], y[key]
		if compact(a) == compact(b) {
			continue
		}
		field := key
		if prefix != "" {
			field = prefix + "." + key
		}
		s, u := asTree(a), asTree(b)
		if s != nil && u != nil {
			d.fields(path, field, s, u)
			continue
		}
		d.field(path, field, a, b)
	}
}

func (d *difference) field(path, field string, a, b any) {
	c := change{What: "changed", Path: path, Field: field, Old: text(a), New: text(b)}
	who := "the saga"
	if path != "" {
		who = path
	}
	switch {
	case a == nil:
		c.What, c.Text = "added", fmt.Sprintf("%s: %s is new: %s", who, field, c.New)
	case b == nil:
		c.What, c.Text = "removed", fmt.Sprintf("%s: %s is gone, was %s", who, field, c.Old)
	default:
		c.Text = fmt.Sprintf("%s: %s is %s, was %s", who, field, c.New, c.Old)
	}
	c.Danger, c.Note = judge(path, field, a, b)
	d.add(c)
}

// judge says why a change is dangerous, or what to know about it.
func judge(path, field string, a, b any) (danger, note string) {
	participant := strings.HasPrefix(path, "participants/")
	switch {
	case participant && field == "keyWindow" && longer(b, a):
		return "Retries may now go out later. If the participant forgets a key before, a late retry happens twice.", ""
	case participant && field == "topic":
		return "Commands of running instances stay on the old topic: a do and its undo may overtake each other while both are read.", ""
	case participant && (field == "format" || strings.HasPrefix(field, "schema")):
		return "The participant gets commands in another form: it must read both before this is active.", ""
	case participant && field == "ops":
		return "", "The participant must answer the new operations before this is active."
	case path == "" && field == "id":
		return "The same event gives another workflow ID: a repeated start is not recognised and runs twice.", ""
	case path == "" && field == "retention.marker" && longer(a, b):
		return "A start that comes again after this time is refused as too old, or runs twice when it says it is new.", ""
	case path == "" && field == "input.required":
		return missingFields(a, b), ""
	case path == "" && strings.HasPrefix(field, "input.properties.") && b != nil:
		return "", "A start whose input has another type is rejected."
	case path == "" && field == "pii":
		return "", "Values are masked by the version of the instance that they are in."
	case path == "" && field == "reuse":
		return "", "It says what a start with another input does to an ended instance."
	case field == "kind" && (a == "pivot" || b == "pivot"):
		return "The point of no return moved: other steps can be undone than before.", ""
	case field == "kind" && a == "compensatable" && b == "optional", field == "onReject" && b == "continue":
		return "", "A failure of it no longer undoes the saga."
	case field == "undo" && b == "none":
		return "Its effect stays when a later step fails.", ""
	case field == "undo.call", strings.HasPrefix(field, "undo.with"):
		return "", "An instance keeps the undo that was valid when the do was sent."
	case field == "onUnknown" && a == "inquire":
		return "Without asking, nobody knows whether an unanswered command happened.", ""
	case strings.HasSuffix(field, "retry.attempts") && b == nil:
		return "", "It is retried as long as within allows."
	case field == "within" && b == "none":
		return "", "It is retried without end."
	}
	return "", ""
}

// missingFields names what a start now must have.
func missingFields(a, b any) string {
	var more []string
	for _, x := range asList(b) {
		if !slices.ContainsFunc(asList(a), func(y any) bool { return x == y }) {
			more = append(more, text(x))
		}
	}
	if len(more) == 0 {
		return ""
	}
	return "Starts without " + strings.Join(more, ", ") + " are rejected from now on."
}

// longer compares durations of a canonical form; none is without limit.
func longer(a, b any) bool {
	if a == "none" || b == "none" {
		return a == "none" && b != "none"
	}
	return seconds(text(a)) > seconds(text(b))
}

// seconds of a duration in its canonical spelling, e.g. 1d12h.
func seconds(s string) (total float64) {
	unit := map[string]float64{"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if n <= 0 {
			return total
		}
		end := n
		for end < len(s) && s[end] >= 'a' {
			end++
		}
		count, err := strconv.Atoi(s[:n])
		if err != nil {
			return total
		}
		total += float64(count) * unit[s[n:end]]
		s = s[end:]
	}
	return total
}

func keysBoth(x, y tree) []string {
	keys := map[string]bool{}
	for _, m := range []tree{x, y} {
		for k := range m {
			keys[k] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

func asTree(v any) tree {
	t, _ := v.(tree)
	return t
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

// text shows a value on one line.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		if strings.HasPrefix(v, "=") || strings.ContainsAny(v, " \n") {
			return "'" + strings.Join(strings.Fields(v), " ") + "'"
		}
		return v
	}
	return compact(v)
}

func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(b.String())
}
