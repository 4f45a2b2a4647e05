package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

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
// Publishers exclude each other by their transactional id, so two that race with different content
// for the same version cannot both win.
func Apply(ctx context.Context, cfg Config, defs []*sagas.Definition) ([]Published, error) {
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
	for try := 1; ; try++ {
		out, err := publish(ctx, cfg, topics, defs)
		if err == nil || !isFenced(err) || try == 5 || ctx.Err() != nil {
			return out, err
		}
	}
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
		names = append(names, s.Topic)
		if s.Undo != nil {
			names = append(names, s.Undo.Topic)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// publish is one try: fence other publishers, read what there is, write.
func publish(ctx context.Context, cfg Config, topics protocol.Topics, defs []*sagas.Definition) ([]Published, error) {
	cl, err := kgo.NewClient(cfg.clientOpts(append(readerOpts(),
		kgo.TransactionalID(protocol.App(cfg.Namespace)+"publisher"),
		kgo.TransactionTimeout(10*time.Second),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	)...)...)
	if err != nil {
		return nil, &Error{Code: CodeConfig, Class: ErrConfig, Cause: "kafka client", Err: err}
	}
	defer cl.Close()
	// From here on every other publisher that has begun is refused by the broker.
	if _, _, err := cl.ProducerID(ctx); err != nil {
		return nil, unreachable("become the publisher", err)
	}
	known := newDefinitions(cfg.Namespace, topics.Defs, cfg.Logger)
	if err := known.load(ctx, cl); err != nil {
		return nil, err
	}
	out, recs, err := plannedRecords(known.current.Load(), topics.Defs, defs)
	if err != nil || len(recs) == 0 {
		return out, err
	}
	if err := cl.BeginTransaction(); err != nil {
		return nil, unreachable("begin the transaction", err)
	}
	produced := cl.ProduceSync(ctx, recs...).FirstErr()
	if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(produced == nil)); produced == nil {
		produced = err
	}
	if produced != nil {
		return nil, unreachable("publish", produced)
	}
	return out, nil
}

// plannedRecords are what is missing in c.
func plannedRecords(c *catalog, topic string, defs []*sagas.Definition) ([]Published, []*kgo.Record, error) {
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
		if v := active[p.Type]; v != p.Version || c.active[p.Type] == v {
			continue
		}
		p.Activated = true
		recs = append(recs, &kgo.Record{Topic: topic, Key: []byte(p.Type + "@" + activeAlias),
			Value: strconv.AppendUint(nil, uint64(p.Version), 10)})
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
