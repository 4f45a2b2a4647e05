package sagas

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/internal/nearest"
)

// checkOps is about what the participants offer.
func (c *checker) checkOps(s *StepDef, path string) {
	c.offers(s.Call, OpDo, path+"/call")
	if s.Undo != nil {
		c.offers(s.Undo.Call, OpUndo, path+"/undo/call")
	}
	if s.Inquire == nil || s.Call == "" {
		return
	}
	own, _, _ := strings.Cut(s.Call, ".")
	asked, _, _ := strings.Cut(s.Inquire.Call, ".")
	if s.Inquire.Call != "" && asked != own {
		c.fault(path+"/inquire/call", "SG21", "Name a command of "+own+".", "%s cannot tell what became of a command of %s", asked, own)
		return
	}
	if _, known := c.d.Participants[own]; known { // else SG22 says it already
		at := path + "/inquire"
		if _, written := c.written(at); !written {
			at = path + "/onUnknown"
		}
		c.offers(s.Call, OpInquire, at)
	}
}

// written is where path itself is written.
func (c *checker) written(path string) (at, bool) {
	p, ok := c.d.src.places[path]
	return p, ok
}

func (c *checker) offers(call string, op Op, path string) {
	name, _, _ := strings.Cut(call, ".")
	if name == "" {
		return // reported when it was read
	}
	p, ok := c.d.Participants[name]
	if !ok {
		known := make([]string, 0, len(c.d.Participants))
		for n := range c.d.Participants {
			known = append(known, n)
		}
		slices.Sort(known)
		hint := "Add it to participants:."
		if near := nearest.Name(name, known); near != "" {
			hint = fmt.Sprintf("Did you mean %q?", near)
		}
		c.fault(path, "SG22", hint, "there is no participant %q", name)
		return
	}
	if !p.Offers(op) {
		c.fault(path, "SG21", "", "%s does not offer %s (ops: %s)", name, op, strings.Join(p.Ops, ", "))
	}
}
