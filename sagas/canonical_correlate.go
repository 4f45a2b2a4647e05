package sagas

// canonicalEvent is the part of an await of events that is in place of signal:.
func (a *AwaitDef) canonicalEvent(o *object) {
	o.set("topic", a.Topic)
	setExpr(o, "match", a.Match)
	setExpr(o, "equals", a.Equals)
	o.set("ttl", limitText(a.TTL > 0, formatDuration(a.TTL)))
}

func (c *CorrelateDef) canonical() *object {
	o := &object{}
	o.set("topic", c.Topic)
	setExpr(o, "when", c.When)
	setExpr(o, "match", c.Match)
	setExpr(o, "equals", c.Equals)
	setExpr(o, "op", c.Op)
	setExpr(o, "outcome", c.Outcome)
	setExpr(o, "code", c.Code)
	setExpr(o, "effect", c.Effect)
	o.set("ttl", limitText(c.TTL > 0, formatDuration(c.TTL)))
	return o
}
