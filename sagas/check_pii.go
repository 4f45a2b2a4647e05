package sagas

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/amendsio/amends/internal/nearest"
)

// checkPrivate checks the paths of pii and that nothing personal goes where it cannot be masked: into
// keys, ids, paths of steps and tags, which are shown to everybody and kept in indexes.
func (c *checker) checkPrivate() {
	if len(c.d.PII) == 0 {
		return
	}
	for k, text := range c.d.PII {
		if p, ok := parsePrivate(text); ok {
			c.privateTarget("pii/"+strconv.Itoa(k), p)
		}
	}
	x := privateOf(c.plan)
	refuse := func(path, what string, e *Expr) {
		if x.expr(e) != nil {
			c.fault(path, "SG44", "Use a value that names nobody, such as a number that your system gave it.", "%s would show a value that pii names", what)
		}
	}
	refuse("id", "the id", c.plan.ID)
	if c.plan.Tags != nil {
		c.plan.Tags.root.walk(func(e *Expr) { refuse("tags", "a tag", e) })
	}
	for i := range c.plan.Steps {
		s, path := &c.plan.Steps[i], c.paths[i]
		switch {
		case s.Each != nil:
			refuse(path+"/each/key", "the key of an item", s.Each.Key)
		case s.Saga != nil:
			refuse(path+"/saga/id", "the id of a child", s.Saga.ID)
		case s.Emit != nil:
			refuse(path+"/emit/key", "the key of an event", s.Emit.Key)
		}
	}
	c.plan.private = x
}

// privateTarget checks that there is what a path names.
func (c *checker) privateTarget(at string, p privatePath) {
	switch p.root {
	case nameStep:
		if _, known := c.index[p.name]; !known {
			hint := ""
			if near := nearest.Name(p.name, c.names); near != "" {
				hint = fmt.Sprintf("Did you mean step.%s?", near)
			}
			c.fault(at, "SG07", hint, "there is no step %q", p.name)
		}
	case nameInput:
		in := c.d.Input
		if in == nil || len(in.Properties) == 0 || len(p.fields) == 0 {
			return
		}
		name := p.fields[0]
		if _, declared := in.Properties[name]; declared || slices.Contains(in.Required, name) {
			return
		}
		hint := ""
		if near := nearest.Name(name, slices.Sorted(maps.Keys(in.Properties))); near != "" {
			hint = fmt.Sprintf("Did you mean input.%s?", near)
		}
		c.fault(at, "SG07", hint, "the input declares no %q", name)
	}
}
