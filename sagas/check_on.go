package sagas

import "slices"

// checkBindings compiles the expressions of the bindings. They see the record and nothing of a saga.
func (c *checker) checkBindings() {
	d := c.d
	if len(d.On) == 0 {
		return
	}
	newer := c.newer
	c.inBinding = true
	defer func() { c.newer, c.inBinding, c.topic = newer, false, "" }() // what bindings use is no part of instances
	here := place{exprEnv{bindingEnv, bindingItems}, inRecord}
	for i := range d.On {
		b, path := &d.On[i], "on"
		if i < len(d.src.bindings) {
			path = d.src.bindings[i]
		}
		c.topic = b.Topic
		c.plan.Bindings = append(c.plan.Bindings, BindingPlan{
			BindingDef: *b,
			When:       c.expr(path+"/when", b.When, wantBool, here),
			ID:         c.expr(path+"/id", b.ID, wantString, here),
			Input:      c.mapping(path+"/input", b.Input, here),
			Payload:    c.mapping(path+"/payload", b.Payload, here),
			Dedupe:     c.expr(path+"/dedupe", b.Dedupe, wantString, here),
		})
		if b.Signal != "" && !c.looksAt(b.Signal) {
			c.fault(path+"/signal", "SG07", "Await it, wake by it, or ask signals.last.", "no step looks at the signal %q", b.Signal)
		}
	}
}

// looksAt says whether anything in the saga may use a signal of that name. Of expressions it is only
// known that they ask for signals, not for which.
func (c *checker) looksAt(signal string) bool {
	return c.signals || slices.ContainsFunc(c.defs, func(s *StepDef) bool {
		return s.Await != nil && s.Await.Signal == signal ||
			s.Sleep != nil && slices.Contains(s.Sleep.Wake, signal) ||
			s.Repeat != nil && slices.Contains(s.Repeat.Wake, signal)
	})
}

// inRecord is the rule for expressions over a record: nothing of a saga can be referred to, because
// their environment does not have it.
func inRecord(string, *Expr, reporter) {}
