package sagas

import (
	"slices"
	"strconv"
	"strings"
)

// Limits of pii.
const (
	maxPII     = 200
	maxPIIPath = 256
)

// pii reads the paths of personal values. Whether what they name is there is checked with the rest.
func (dec *decoder) pii(n *node) []string {
	list := dec.strings(n, "pii", "pii")
	if len(list) > maxPII {
		dec.fault(n.at, "SG01", "pii", "Name what is around them.", "%d paths, the limit is %d", len(list), maxPII)
		return nil
	}
	for i, text := range list {
		if _, ok := parsePrivate(text); !ok {
			at := "pii/" + strconv.Itoa(i)
			dec.fault(dec.src.place(at), "SG03", at, "Write input.<field>, step.<id>.<field> or signals.<name>.<field>.", "%q is not the path of a value", shorten([]byte(text)))
			return nil
		}
	}
	places := make(map[string]at, len(list))
	for i, text := range list {
		places[text] = dec.src.place("pii/" + strconv.Itoa(i))
	}
	slices.Sort(list)
	for i, text := range list {
		dec.src.places["pii/"+strconv.Itoa(i)] = places[text]
	}
	return list
}

// privatePath is one path of pii.
type privatePath struct {
	root   string   // nameInput, nameStep or nameSignals
	name   string   // of the step or the signal
	fields []string // from the outside in; none = the whole value
}

func parsePrivate(text string) (p privatePath, ok bool) {
	if len(text) > maxPIIPath {
		return p, false
	}
	parts := strings.Split(text, ".")
	if slices.Contains(parts, "") {
		return p, false
	}
	switch p.root = parts[0]; {
	case p.root == nameInput:
		p.fields = parts[1:]
		return p, true
	case (p.root == nameStep || p.root == nameSignals) && len(parts) > 1:
		p.name, p.fields = parts[1], parts[2:]
		return p, true
	}
	return p, false
}
