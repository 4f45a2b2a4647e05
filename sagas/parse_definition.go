package sagas

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/amendsio/amends/internal/nearest"
)

var (
	definitionFields  = []string{"saga", "version", "input", "id", "deadline", "participants", "steps", "output", "retention", "tags", "onFailure", "reuse", "requires", "start", "on", "pii"}
	participantFields = []string{"ops", "keyWindow", "topic", "format", "schema", "correlate"}
	inputFields       = []string{"required", "properties"}
	retentionFields   = []string{"state", "marker"}
)

func (dec *decoder) definition(n *node) {
	dec.fields(n, "", "a definition", definitionFields, nil)
	d := dec.d
	d.Saga = dec.name(n, "saga", sagaName)
	d.Version = dec.version(n)
	d.Input = dec.input(n.child("input"))
	d.ID = dec.expression(n.child("id"), "id")
	d.Deadline = dec.duration(n, "", "deadline", 0, true)
	dec.bindings(n)
	dec.participants(n.child("participants"))
	dec.steps(n)
	d.PII = dec.pii(n.child("pii"))
	d.Tags = notEmpty(dec.tags(n.child("tags")))
	d.OnFailure = FailurePolicy(dec.choice(n.child("onFailure"), "onFailure", "onFailure", failurePolicyNames, int(Drain)))
	d.Reuse = ReusePolicy(dec.choice(n.child("reuse"), "reuse", "reuse", reusePolicyNames, int(ReuseNever)))
	d.Requires = dec.requires(n)
	d.Output = notEmpty(dec.tree(n.child("output"), "output"))
	d.Retention = RetentionDef{DefaultStateRetention, DefaultMarkerRetention}
	if r := n.child("retention"); r != nil && dec.fields(r, "retention", "retention", retentionFields, nil) {
		d.Retention.State = dec.duration(r, "retention", "state", DefaultStateRetention, false)
		d.Retention.Marker = dec.duration(r, "retention", "marker", max(DefaultMarkerRetention, d.Retention.State), false)
	}
}

var (
	failurePolicyNames = []string{"", Drain: "drain", Eager: "eager"}
	reusePolicyNames   = []string{"", ReuseNever: "never", ReuseAfterFailed: "afterFailed", ReuseAlways: "always"}
)

// String is the name of the policy in a definition.
func (p FailurePolicy) String() string { return nameAt(failurePolicyNames, int(p)) }

// String is the name of the policy in a definition.
func (p ReusePolicy) String() string { return nameAt(reusePolicyNames, int(p)) }

// nameAt is the word of an enumeration, "invalid" outside it.
func nameAt(names []string, i int) string {
	if i > 0 && i < len(names) {
		return names[i]
	}
	return "invalid"
}

// requires reads the feature level. One that this release does not have refuses the definition: it
// says itself that it must not run here.
func (dec *decoder) requires(n *node) uint32 {
	if v := n.child("requires"); v != nil {
		if i, ok := v.scalar.(int64); ok && i > MaxLevel {
			dec.fault(v.at, "SG01", "requires", "Use a newer release.", "the definition requires level %d, this release has level %d", i, MaxLevel)
			return 0
		}
	}
	return dec.integer(n, "", "requires", 0, 1, MaxLevel)
}

// tags reads the searchable texts of an instance: a flat map.
func (dec *decoder) tags(n *node) []byte {
	if n == nil {
		return nil
	}
	if !n.isMap {
		dec.fault(n.at, "SG01", "tags", "", "tags must be a map of texts, got %s", n.kind())
		return nil
	}
	for _, e := range n.entries {
		p := "tags/" + e.key
		if e.key == "" || len(e.key) > 2*MaxNameBytes {
			dec.fault(e.at, "SG03", p, "", "the name of a tag has 1 to %d bytes", 2*MaxNameBytes)
		}
		dec.str(e.val, p, "a tag")
	}
	return dec.tree(n, "tags")
}

func (dec *decoder) version(n *node) uint32 {
	v := n.child("version")
	if v == nil {
		dec.fault(n.at, "SG01", "version", "Add version: 1 and raise it with every change.", "version is missing")
		return 0
	}
	i, ok := v.scalar.(int64)
	if !ok || v.isMap || v.isList || i < 1 || i > math.MaxInt32 {
		dec.fault(v.at, "SG01", "version", "", "version must be an integer from 1 to %d", math.MaxInt32)
		return 0
	}
	return uint32(i)
}

func (dec *decoder) input(n *node) *InputDecl {
	if n == nil {
		return nil
	}
	if !n.isMap {
		s, ok := dec.str(n, "input", "input")
		if !ok {
			return nil
		}
		if why := avroName.check(s); why != "" {
			dec.fault(n.at, "SG03", "input", "", "%s", why)
			return nil
		}
		return &InputDecl{Name: s}
	}
	dec.fields(n, "input", "input", inputFields, nil)
	decl := &InputDecl{Required: dec.strings(n.child("required"), "input/required", "required")}
	slices.Sort(decl.Required)
	props := n.child("properties")
	if props == nil {
		return decl
	}
	if !props.isMap {
		dec.fault(props.at, "SG01", "input/properties", "", "properties must be a map of names, got %s", props.kind())
		return decl
	}
	for _, e := range props.entries {
		p := "input/properties/" + e.key
		dec.src.places[p] = e.val.at
		if !dec.fields(e.val, p, "a property", []string{"type"}, nil) {
			continue
		}
		t := e.val.child("type")
		if t == nil {
			dec.fault(e.val.at, "SG01", p, "Add type: "+strings.Join(inputTypes, ", ")+".", "type is missing")
			continue
		}
		s, ok := dec.str(t, p+"/type", "type")
		if !ok {
			continue
		}
		if !slices.Contains(inputTypes, s) {
			dec.fault(t.at, "SG01", p+"/type", "Use one of "+strings.Join(inputTypes, ", ")+".", "%q is not a type", s)
			continue
		}
		if decl.Properties == nil {
			decl.Properties = map[string]string{}
		}
		decl.Properties[e.key] = s
	}
	return decl
}

func (dec *decoder) participants(n *node) {
	dec.d.Participants = map[string]Participant{}
	if n == nil {
		return
	}
	if !n.isMap {
		dec.fault(n.at, "SG01", "participants", "", "participants must be a map of names, got %s", n.kind())
		return
	}
	if len(n.entries) > MaxParticipants {
		dec.fault(n.at, "SG01", "participants", "", "%d participants, the limit is %d", len(n.entries), MaxParticipants)
		return
	}
	for _, e := range n.entries {
		path := "participants/" + e.key
		dec.src.places[path] = e.at
		if why := participantName.check(e.key); why != "" {
			dec.fault(e.at, "SG03", path, "", "%s", why)
			continue
		}
		p := Participant{Ops: []string{"do", "undo"}, Topic: DefaultCommandTopicStart + e.key}
		v := e.val
		if v.isMap || v.isList || v.scalar != nil { // "psp:" alone takes the defaults
			if !dec.fields(v, path, "a participant", participantFields, nil) {
				dec.d.Participants[e.key] = p
				continue
			}
			p.KeyWindow = dec.duration(v, path, "keyWindow", 0, true)
			p.Correlate = dec.correlate(v.child("correlate"), path+"/correlate")
			if ops := v.child("ops"); ops != nil {
				p.Ops = dec.ops(ops, path+"/ops")
			}
			if t := v.child("topic"); t != nil {
				if s, ok := dec.str(t, path+"/topic", "topic"); ok {
					if why := topicName.check(s); why != "" {
						dec.fault(t.at, "SG03", path+"/topic", "", "%s", why)
					} else {
						p.Topic = s
					}
				}
			}
			dec.format(v, path, &p)
		}
		dec.d.Participants[e.key] = p
	}
}

func (dec *decoder) ops(n *node, path string) []string {
	order := []string{"do", "undo", "inquire"}
	ops := dec.strings(n, path, "ops")
	for i, op := range ops {
		if !slices.Contains(order, op) {
			hint := "Use do, undo, inquire."
			if near := nearest.Name(op, order); near != "" {
				hint = fmt.Sprintf("Did you mean %q?", near)
			}
			dec.fault(dec.src.place(join(path, strconv.Itoa(i))), "SG01", path, hint, "%q is not an operation", op)
		}
	}
	slices.SortFunc(ops, func(a, b string) int { return cmp.Compare(slices.Index(order, a), slices.Index(order, b)) })
	return ops
}
