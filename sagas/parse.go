package sagas

import "strings"

// ParseDefinition reads one definition from YAML or JSON, fills in the defaults and checks it. The
// error is Findings and lists everything that is wrong. file is only used in the findings.
func ParseDefinition(file string, src []byte) (*Definition, error) {
	r := newReport(file, src)
	docs := readNodes(r, src)
	if len(docs) > 1 {
		r.add(docs[1].at, "SG01", "", "", "the file holds %d definitions, want one", len(docs))
		docs = docs[:1]
	}
	defs := parseDocs(r, docs)
	if err := r.found.asError(); err != nil {
		return nil, err
	}
	return defs[0], nil
}

// ParseDefinitions reads a file of several definitions, YAML documents divided by "---".
func ParseDefinitions(file string, src []byte) ([]*Definition, error) {
	r := newReport(file, src)
	defs := parseDocs(r, readNodes(r, src))
	seen := map[string]bool{}
	for _, d := range defs {
		if d.Saga != "" && seen[d.Ref()] {
			r.add(d.src.place("saga"), "SG02", "", "Raise the version.", "%s is defined twice in this file", d.Ref())
		}
		seen[d.Ref()] = true
	}
	if err := r.found.asError(); err != nil {
		return nil, err
	}
	return defs, nil
}

func parseDocs(r *report, docs []*node) []*Definition {
	var defs []*Definition
	for _, n := range docs {
		if !n.isMap && !n.isList && n.scalar == nil && len(docs) > 1 {
			continue // an empty document, as after a last "---"
		}
		from := len(r.found)
		d := decodeDefinition(r, n)
		if d == nil {
			continue
		}
		checkDefinition(r, d)
		d.src.warnings = r.found[from:].warnings()
		defs = append(defs, d)
	}
	if len(defs) == 0 && len(r.found) == 0 {
		r.add(at{1, 1}, "SG01", "", "A definition starts with saga: and version:.", "the file holds no definition")
	}
	return defs
}

// source remembers where the parts of a definition are written.
type source struct {
	report   *report // file and lines
	places   map[string]at
	newExprs bool     // an expression uses what level 2 added
	bindings []string // paths of the bindings
	warnings Findings
}

// place is where path is written, or the nearest part around it.
func (s *source) place(path string) at {
	if s == nil {
		return at{}
	}
	for {
		if p, ok := s.places[path]; ok {
			return p
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return s.places[""]
		}
		path = path[:i]
	}
}
