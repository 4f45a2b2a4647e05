package sagas

import "cmp"

// canonicalBindings are the bindings as the list `on`: `start` is only another way to write one.
func (d *Definition) canonicalBindings() []any {
	out := make([]any, len(d.On))
	for i := range d.On {
		b, o := &d.On[i], &object{}
		o.set("name", b.Name)
		o.set("topic", b.Topic)
		o.set("action", cmp.Or(b.Action, BindStart).String())
		setExpr(o, "when", b.When)
		setExpr(o, "id", b.ID)
		if b.Signal != "" {
			o.set("signal", b.Signal)
		}
		setTree(o, "input", b.Input)
		setTree(o, "payload", b.Payload)
		if b.Action.Signals() {
			o.set("ttl", limitText(b.TTL > 0, formatDuration(b.TTL)))
		}
		setExpr(o, "dedupe", b.Dedupe)
		o.set("from", cmp.Or(b.From, FromLatest).String())
		out[i] = o
	}
	return out
}
