package sagas

var (
	emitFields     = []string{"topic", "type", "key", "with"}
	failFields     = []string{"code", "message"}
	continueFields = []string{"input"}
)

func (dec *decoder) emit(n *node, path string) *EmitDef {
	e := &EmitDef{}
	if !dec.fields(n, path, "emit", emitFields, nil) {
		return e
	}
	for _, f := range []struct {
		key  string
		rule nameRule
		into *string
	}{{"topic", topicName, &e.Topic}, {"type", eventName, &e.Type}} {
		v := dec.required(n, path, f.key, "")
		if v == nil {
			continue
		}
		s, ok := dec.str(v, join(path, f.key), f.key)
		if !ok {
			continue
		}
		if why := f.rule.check(s); why != "" {
			dec.fault(v.at, "SG03", join(path, f.key), "", "%s", why)
			continue
		}
		*f.into = s
	}
	e.Key = dec.expression(n.child("key"), path+"/key")
	e.With = notEmpty(dec.tree(n.child("with"), path+"/with"))
	return e
}

// set reads named values. The names are fields of step.<id>.
func (dec *decoder) set(n *node, path string) []byte {
	if !n.isMap {
		dec.fault(n.at, "SG01", path, "", "set must be a map of names, got %s", n.kind())
		return nil
	}
	if len(n.entries) == 0 {
		dec.fault(n.at, "SG05", path, "Name a value, or take the step out.", "set has no values")
		return nil
	}
	ok := true
	for _, e := range n.entries {
		why := valueName.check(e.key)
		if why == "" && e.key == nameState {
			why = "the value cannot be named \"state\", because step.<id>.state is the state of the step"
		}
		if why != "" {
			dec.fault(e.at, "SG03", path+"/"+e.key, "", "%s", why)
			ok = false
		}
	}
	tree := dec.tree(n, path)
	if !ok {
		return nil
	}
	return tree
}

// code reads a code of the business.
func (dec *decoder) code(n *node, path, what string) string {
	s, ok := dec.str(n, path, what)
	if !ok {
		return ""
	}
	if why := codeName.check(s); why != "" {
		dec.fault(n.at, "SG03", path, "", "%s", why)
		return ""
	}
	return s
}

func (dec *decoder) failNode(n *node, path string) *FailDef {
	if !n.isMap {
		return &FailDef{Code: dec.code(n, path, "fail")}
	}
	f := &FailDef{}
	dec.fields(n, path, "fail", failFields, nil)
	if c := dec.required(n, path, "code", "Add code:, which the result carries."); c != nil {
		f.Code = dec.code(c, path+"/code", "code")
	}
	if m := n.child("message"); m != nil {
		if s, ok := dec.str(m, path+"/message", "message"); ok {
			f.Message = s
			if len(s) > maxMessage {
				dec.fault(m.at, "SG01", path+"/message", "", "the message has %d bytes, the limit is %d", len(s), maxMessage)
			}
		}
	}
	return f
}

func (dec *decoder) continueNode(n *node, path string) *ContinueDef {
	c := &ContinueDef{}
	if !dec.fields(n, path, "continue", continueFields, nil) {
		return c
	}
	if in := dec.required(n, path, "input", "Add input: with what the next run gets."); in != nil {
		c.Input = notEmpty(dec.tree(in, path+"/input"))
	}
	return c
}
