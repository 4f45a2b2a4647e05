package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Published tells what Apply did with one definition.
type Published struct {
	Type    string `json:"type"`
	Version uint32 `json:"version"`
	Digest  string `json:"digest"`
	// Registered: the version is new. Otherwise it was there with the same content.
	Registered bool `json:"registered"`
	// Activated: new starts take this version from now on. Otherwise they did already.
	Activated bool `json:"activated"`
}

// Apply publishes definitions and makes each the active version of its type: all or none. It checks
// them first, refuses to change a version that is published (SG33), and creates the topics of the
// namespace and of the participants where cfg allows it. Starts that follow take the active version;
// instances that run are not touched.
//
// A definition that needs more than the feature level of the namespace is refused.
//
// Publishers exclude each other by their transactional id, so two that race with different content
// for the same version cannot both win.
func Apply(ctx context.Context, cfg Config, defs []*sagas.Definition) ([]Published, error) {
	return apply(ctx, cfg, defs, true)
}

// Register publishes definitions as Apply does, and leaves the active versions as they are.
func Register(ctx context.Context, cfg Config, defs []*sagas.Definition) ([]Published, error) {
	return apply(ctx, cfg, defs, false)
}

func apply(ctx context.Context, cfg Config, defs []*sagas.Definition, activate bool) ([]Published, error) {
	cfg = cfg.withDefaults()
	if err := configError(cfg.faults()); err != nil {
		return nil, err
	}
	if len(defs) == 0 {
		return nil, &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: "no definition to apply"}
	}
	topics, err := protocol.NewTopics(cfg.Namespace)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Class: ErrConfig, Cause: "Namespace: " + err.Error()}
	}
	plans, err := Check(defs)
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(cfg.clientOpts()...)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	lay, err := ensureNamespace(ctx, adm, cfg, topics)
	if err != nil {
		return nil, err
	}
	if err := ensureCommands(ctx, adm, cfg, allCommandTopics(plans), lay.partitions); err != nil {
		return nil, err
	}
	if err := ensureEvents(ctx, adm, cfg, allEventTopics(plans), lay.partitions); err != nil {
		return nil, err
	}
	if err := ensureCorrelation(ctx, adm, cfg, topics, plans, lay); err != nil {
		return nil, err
	}
	var out []Published
	err = withPublisher(ctx, cfg, true, func(p *publisher) error {
		level, err := p.newLevel(ctx)
		if err != nil {
			return err
		}
		if err := aboveLevel(max(level, p.known.Level()), plans); err != nil {
			return err
		}
		var recs []*kgo.Record
		if out, recs, err = plannedRecords(p.known, topics.Defs, defs, activate); err != nil {
			return err
		}
		if level != 0 {
			recs = append([]*kgo.Record{levelRecord(topics.Defs, level)}, recs...)
		}
		if len(recs) == 0 {
			return nil
		}
		return p.write(ctx, recs...)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Activate makes a published version the active one of its type: starts that name no version take it
// from now on. Running instances are not touched. It returns the version that was active before, 0
// when none was.
func Activate(ctx context.Context, cfg Config, typ string, version uint32) (before uint32, err error) {
	cfg = cfg.withDefaults()
	err = withPublisher(ctx, cfg, true, func(p *publisher) error {
		ref := definitionRef{typ, version}
		l := p.known.versions[ref]
		if l == nil {
			return &Error{Code: CodeNoDefinition, Class: ErrNotFound, Cause: ref.String() + " is not published", Fix: "Publish it with amends apply."}
		}
		if l.plan == nil {
			return &Error{Code: CodeNoDefinition, Class: ErrConflict, Cause: ref.String() + " cannot be used by this release: " + l.fault}
		}
		if before = p.known.active[typ]; before == version {
			return nil
		}
		return p.write(ctx, aliasRecord(p.topics.Defs, typ, version))
	})
	return before, err
}

func aliasRecord(topic, typ string, version uint32) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(typ + "@" + activeAlias), Value: strconv.AppendUint(nil, uint64(version), 10)}
}

// allCommandTopics are the topics that the plans send to.
func allCommandTopics(plans []*sagas.Plan) []string {
	var names []string
	for _, p := range plans {
		names = append(names, commandTopics(p)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func commandTopics(p *sagas.Plan) []string {
	var names []string
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Topic != "" { // only calls have one
			names = append(names, s.Topic)
		}
		if s.Undo != nil && s.Undo.Topic != "" {
			names = append(names, s.Undo.Topic)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// allEventTopics are the topics of the domain events of the plans.
func allEventTopics(plans []*sagas.Plan) []string {
	var names []string
	for _, p := range plans {
		for i := range p.Steps {
			if e := p.Steps[i].Emit; e != nil && e.Topic != "" {
				names = append(names, e.Topic)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// plannedRecords are what is missing in c.
func plannedRecords(c *catalog, topic string, defs []*sagas.Definition, activate bool) ([]Published, []*kgo.Record, error) {
	var out []Published
	var recs []*kgo.Record
	var conflicts []string
	active := map[string]uint32{}
	seen := map[definitionRef]sagas.Digest{}
	for _, def := range defs {
		ref, digest := definitionRef{def.Saga, def.Version}, def.Digest()
		p := Published{Type: def.Saga, Version: def.Version, Digest: digest.String()}
		have, there := seen[ref]
		if l := c.versions[ref]; l != nil {
			have, there = l.digest, true
		}
		switch {
		case there && have != digest:
			conflicts = append(conflicts, ref.String())
			continue
		case !there:
			p.Registered = true
			recs = append(recs, &kgo.Record{Topic: topic, Key: []byte(ref.String()), Value: def.Canonical(),
				Headers: []kgo.RecordHeader{{Key: "saga-digest", Value: []byte(p.Digest)}}})
		}
		seen[ref] = digest
		active[def.Saga] = max(active[def.Saga], def.Version)
		out = append(out, p)
	}
	if len(conflicts) > 0 {
		return nil, nil, &Error{Code: CodeVersionChanged, Class: ErrConflict,
			Cause: fmt.Sprintf("%v is published with other content, and a version never changes", conflicts),
			Fix:   "Raise the version number."}
	}
	for i := range out {
		p := &out[i]
		if v := active[p.Type]; !activate || v != p.Version || c.active[p.Type] == v {
			continue
		}
		p.Activated = true
		recs = append(recs, aliasRecord(topic, p.Type, p.Version))
	}
	return out, recs, nil
}

// isFenced says that another publisher took over between our reading and our writing.
func isFenced(err error) bool {
	for _, e := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, kerr.TransactionAbortable} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
