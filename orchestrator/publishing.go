package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// DefinitionSource is one version with its content.
type DefinitionSource struct {
	DefinitionInfo
	Source json.RawMessage `json:"source"` // canonical
}

// Definition shows one published version; version 0 is the active one.
func (o *Orchestrator) Definition(typ string, version uint32) (DefinitionSource, error) {
	known := o.definitions.current.Load()
	if version == 0 {
		version = known.active[typ]
	}
	l := known.versions[definitionRef{typ, version}]
	if l == nil {
		return DefinitionSource{}, &Error{Code: CodeNoDefinition, Class: ErrNotFound, Cause: definitionRef{typ, version}.String() + " is not published"}
	}
	for _, info := range o.Definitions() {
		if info.Type == typ && info.Version == version {
			return DefinitionSource{info, l.source}, nil
		}
	}
	return DefinitionSource{}, &Error{Code: CodeNoDefinition, Class: ErrNotFound, Cause: definitionRef{typ, version}.String() + " is not published"}
}

// Change is one difference between two versions. Path is that of the canonical form, with the ids of steps
// instead of their places.
type Change struct {
	Path   string          `json:"path"`
	Before json.RawMessage `json:"before,omitempty"` // absent: it was added
	After  json.RawMessage `json:"after,omitempty"`  // absent: it was removed
}

// maxChanges bounds a comparison.
const maxChanges = 1000

// CompareDefinitions says what differs between two published versions of a type.
func (o *Orchestrator) CompareDefinitions(typ string, from, to uint32) ([]Change, error) {
	a, err := o.Definition(typ, from)
	if err != nil {
		return nil, err
	}
	b, err := o.Definition(typ, to)
	if err != nil {
		return nil, err
	}
	out := []Change{}
	compareJSON("", a.Source, b.Source, &out)
	return out, nil
}

func compareJSON(path string, a, b json.RawMessage, out *[]Change) {
	if bytes.Equal(a, b) || len(*out) >= maxChanges {
		return
	}
	am, bm := members(a), members(b)
	if am == nil || bm == nil {
		*out = append(*out, Change{path, a, b})
		return
	}
	var names []string
	for name := range am {
		names = append(names, name)
	}
	for name := range bm {
		if _, there := am[name]; !there {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		compareJSON(strings.TrimPrefix(path+"."+name, "."), am[name], bm[name], out)
	}
}

// members are those of an object, or of a list of steps by their ids; nil for anything else.
func members(v json.RawMessage) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(v, &object) == nil {
		return object
	}
	var list []json.RawMessage
	if json.Unmarshal(v, &list) != nil {
		return nil
	}
	object = map[string]json.RawMessage{}
	for i, e := range list {
		var step struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(e, &step) != nil {
			return nil // a list of values is one value
		}
		if step.ID == "" {
			step.ID = strconv.Itoa(i)
		}
		object[step.ID] = e
	}
	return object
}

// Publish publishes definitions as Apply and Register do, with the settings of this process.
func (o *Orchestrator) Publish(ctx context.Context, file string, src []byte, activate bool) ([]Published, error) {
	defs, err := sagas.ParseDefinitions(file, src)
	if err != nil {
		return nil, &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: err.Error(), Fix: "See amends check."}
	}
	if activate {
		return Apply(ctx, o.cfg, defs)
	}
	return Register(ctx, o.cfg, defs)
}

// Activate makes a published version the active one, as the function of that name does.
func (o *Orchestrator) Activate(ctx context.Context, typ string, version uint32) (before uint32, err error) {
	return Activate(ctx, o.cfg, typ, version)
}

// Topics lists what this namespace reads and writes, for people who look for records.
func (o *Orchestrator) Topics() []string {
	t := o.topics
	names := []string{t.Intake, t.Replies, t.Control, t.Lifecycle, t.State, t.Defs, t.Members, t.DLQ}
	for _, l := range o.definitions.current.Load().versions {
		if l.plan != nil {
			names = append(names, commandTopics(l.plan)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func badBatch(format string, args ...any) error {
	return &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: fmt.Sprintf(format, args...)}
}
