package sagas

import "slices"

// Canonical is the definition as canonical JSON: what is published, and what the digest is made of.
// Key order, layout, YAML or JSON, and whether a default was written or left out make no
// difference. Every value that has a default is written, so that a published definition keeps its
// meaning under another release's defaults; fields that are absent stay absent, so that fields of
// later releases leave old digests alone. It parses back to the same definition.
func (d *Definition) Canonical() []byte {
	o := &object{}
	o.set("saga", d.Saga)
	o.set("version", int64(d.Version))
	if d.Input != nil {
		o.set("input", d.Input.canonical())
	}
	if d.ID != "" {
		o.set("id", "="+d.ID)
	}
	o.set("deadline", limitText(d.Deadline > 0, formatDuration(d.Deadline)))
	if len(d.Participants) > 0 {
		ps := &object{}
		for name, p := range d.Participants { // set keeps the keys sorted
			ps.set(name, p.canonical())
		}
		o.set("participants", ps)
	}
	o.set("steps", canonicalList(d.Steps))
	setTree(o, "output", d.Output)
	o.set("retention", &object{fields: []field{
		{"marker", formatDuration(d.Retention.Marker)},
		{"state", formatDuration(d.Retention.State)},
	}})
	setTree(o, "tags", notEmpty(d.Tags))
	if d.OnFailure > Drain {
		o.set("onFailure", d.OnFailure.String())
	}
	if d.Reuse > ReuseNever {
		o.set("reuse", d.Reuse.String())
	}
	if len(d.On) > 0 {
		o.set("on", d.canonicalBindings())
	}
	setStrings(o, "pii", d.PII)
	if d.Requires > d.usedLevel() {
		o.set("requires", int64(d.Requires))
	}
	return appendJSON(nil, o)
}

func limitText(limited bool, text string) string {
	if limited {
		return text
	}
	return "none"
}

// setTree adds a JSON tree, if there is one. A tree that is not JSON becomes a string that
// ParseDefinition refuses: only a definition made in Go can have one.
func setTree(o *object, key string, tree []byte) {
	if len(tree) == 0 {
		return
	}
	v, err := parseJSON(tree)
	if err != nil {
		v = string(tree)
	}
	o.set(key, v)
}

func setStrings(o *object, key string, list []string) {
	if len(list) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(list))
	vals := make([]any, len(sorted))
	for i, s := range sorted {
		vals[i] = s
	}
	o.set(key, vals)
}

func (in *InputDecl) canonical() any {
	if in.Name != "" {
		return in.Name
	}
	o := &object{}
	setStrings(o, "required", in.Required)
	if len(in.Properties) > 0 {
		props := &object{}
		for name, t := range in.Properties {
			props.set(name, &object{fields: []field{{"type", t}}})
		}
		o.set("properties", props)
	}
	return o
}

func (p Participant) canonical() *object {
	o := &object{}
	o.set("keyWindow", limitText(p.KeyWindow > 0, formatDuration(p.KeyWindow)))
	ops := []any{}
	for _, op := range []Op{OpDo, OpUndo, OpInquire} {
		if p.Offers(op) {
			ops = append(ops, op.String())
		}
	}
	o.set("ops", ops)
	o.set("topic", p.Topic)
	p.canonicalFormat(o)
	if p.Correlate != nil {
		o.set("correlate", p.Correlate.canonical())
	}
	return o
}

func (r Retry) canonical() *object {
	o := &object{}
	if r.Attempts > 0 {
		o.set("attempts", int64(r.Attempts))
	}
	o.set("backoff", formatDuration(r.Backoff))
	o.set("max", formatDuration(r.BackoffMax))
	o.set("factor", r.Factor)
	o.set("jitter", r.Jitter)
	setStrings(o, "nonRetryable", r.NonRetryable)
	return o
}
