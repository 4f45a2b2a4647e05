package sagas

import (
	"slices"
	"sort"
)

// record is the place of expressions over an event: they see the record and nothing of a saga.
var record = place{exprEnv{bindingEnv, bindingItems}, inRecord}

// recordNames are names that an expression over an event has and one over a saga may have for an item.
var recordNames = []string{nameHeaders, nameTopic, namePartition, nameOffset, nameTime}

// overEvent runs fn, whose expressions see an event of the topic: what they use is no part of instances.
func (c *checker) overEvent(topic string, fn func()) {
	newer := c.newer
	c.inBinding, c.topic = true, topic
	fn()
	c.newer, c.inBinding, c.topic = newer, false, ""
}

// checkEvent compiles an await of events. A condition over the event alone is asked before the event is
// brought to anybody: what it leaves out is never parked, and is no dead letter.
func (c *checker) checkEvent(i int) {
	a, ap, path := c.defs[i].Await, c.plan.Steps[i].Await, c.paths[i]+"/await"
	r := Route{Topic: a.Topic, Group: c.d.Saga, TTL: a.TTL}
	filter := ""
	c.overEvent(a.Topic, func() {
		r.Match = c.expr(path+"/match", a.Match, wantString, record)
		if c.overRecord(i, a.When) {
			filter = a.When
			r.When = c.expr(path+"/when", a.When, wantBool, record)
		}
	})
	if filter == "" {
		c.topic = a.Topic
		ap.When = c.expr(path+"/when", a.When, wantBool, place{c.envs[i], c.onEvent(i)})
		c.topic = ""
	}
	ap.Equals = c.expr(path+"/equals", a.Equals, wantString, place{c.envs[i], c.before(i, "equals", false)})
	r.Name = routeName(a.Topic, "await", a.Match, filter)
	ap.Route = r.Name
	c.route(r)
}

// overRecord says whether a condition sees the event and nothing of the saga.
func (c *checker) overRecord(i int, text string) bool {
	if text == "" || slices.ContainsFunc(c.envs[i].items, func(item string) bool { return slices.Contains(recordNames, item) }) {
		return false
	}
	x, _ := record.env.compile(text, wantBool)
	return x != nil && !x.refs.key // in a condition of an await it is the name of something else
}

// checkCorrelates compiles how participants answer by events.
func (c *checker) checkCorrelates() {
	var names []string
	for name, p := range c.d.Participants {
		if p.Correlate != nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		d, path := c.d.Participants[name].Correlate, "participants/"+name+"/correlate"
		r := Route{Topic: d.Topic, TTL: d.TTL, Name: routeName(d.Topic, "reply", d.Match, d.When, d.Op, d.Outcome, d.Code, d.Effect)}
		c.overEvent(d.Topic, func() {
			r.When = c.expr(path+"/when", d.When, wantBool, record)
			r.Match = c.expr(path+"/match", d.Match, wantString, record)
			r.Op = c.expr(path+"/op", d.Op, wantString, record)
			r.Outcome = c.expr(path+"/outcome", d.Outcome, wantString, record)
			r.Code = c.expr(path+"/code", d.Code, wantString, record)
			r.Effect = c.expr(path+"/effect", d.Effect, wantString, record)
		})
		c.inCommand = true
		plan := &CorrelatePlan{Name: r.Name, Equals: c.expr(path+"/equals", d.Equals, wantString, place{exprEnv{env: celEnv}, inCommand})}
		c.inCommand = false
		if plan.Equals != nil && !plan.Equals.refs.key && d.Op == "" && len(c.d.Participants[name].Ops) > 1 {
			c.fault(path+"/equals", "SG21", "Add op:, or make the value from key.", "a do and its undo can have the same value, so an event does not say which of them it answers")
		}
		if c.plan.Correlates == nil {
			c.plan.Correlates = map[string]*CorrelatePlan{}
		}
		c.plan.Correlates[name] = plan
		c.route(r)
	}
}

// inCommand is the rule for an expression over a command: input is its value, key its saga-key.
func inCommand(_ string, e *Expr, report reporter) {
	for _, s := range e.refs.steps {
		report(s.place, "SG07", "Put what it needs into with:.", "a command has input and key, and no step.%s", s.step)
	}
	for _, v := range e.refs.vars {
		report(v.place, "SG23", "", "a command has input and key, and no %s", v.name)
	}
	if e.refs.now || e.refs.signals {
		report(exprPlace{}, "SG23", "", "a command has input and key, and nothing of the saga")
	}
}

// route adds a route to the plan, once. Of two that differ in their time the longer one counts.
func (c *checker) route(r Route) {
	for i := range c.plan.Routes {
		if old := &c.plan.Routes[i]; old.Name == r.Name {
			old.TTL = max(old.TTL, r.TTL)
			return
		}
	}
	c.plan.Routes = append(c.plan.Routes, r)
}
