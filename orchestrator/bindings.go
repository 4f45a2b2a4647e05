package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bindings"
	"github.com/amendsio/amends/protocol"
)

// newRouter makes the part of the process that reads topics of others.
func newRouter(cfg Config, reg *metrics) (*bindings.Router, error) {
	return bindings.New(bindings.Config{
		Namespace: cfg.Namespace, Client: cfg.clientOpts(), Codec: cfg.Codec, CreateTopics: cfg.CreateTopics, Replication: cfg.ReplicationFactor,
		Advertise: cfg.Advertise, InstanceID: cfg.InstanceID, Timing: cfg.Timing, Failpoint: cfg.Failpoint, Clock: cfg.Clock,
		Logger: cfg.Logger, Registerer: reg.registry,
	})
}

// deskBinding begins the desk's records about bindings: + key.
const deskBinding = "!binding/"

// held is what somebody said about a binding.
type held struct {
	Paused bool   `json:"paused"`
	By     string `json:"by"`
	Reason string `json:"reason"`
	At     int64  `json:"at"` // ms
}

// active are the rules of the active versions, with what was said about them.
func (o *Orchestrator) activeRules() []bindings.Desired {
	known := o.definitions.current.Load()
	var out []bindings.Desired
	for typ, version := range known.active {
		l := known.versions[definitionRef{typ, version}]
		if l == nil || l.plan == nil || !l.open {
			continue
		}
		for i := range l.plan.Bindings {
			d := bindings.Desired{Rule: &bindings.Binding{Plan: l.plan, Def: &l.plan.Bindings[i]}, Since: known.since[typ]}
			var h held
			if o.desk.get(deskBinding+d.Rule.Key(), &h) {
				d.Paused = h.Paused
			}
			out = append(out, d)
		}
	}
	out = append(out, o.correlations()...)
	slices.SortFunc(out, func(a, b bindings.Desired) int { return strings.Compare(a.Rule.Key(), b.Rule.Key()) })
	return out
}

// bind keeps the router in step with the definitions and the desk until ctx ends. It begins when the desk is
// known: a binding that is paused must not read before.
func (o *Orchestrator) bind(ctx context.Context) {
	cl, err := kgo.NewClient(o.cfg.clientOpts()...)
	if err != nil {
		return // the options made clients before
	}
	end, err := committedEnd(ctx, cl, o.topics.Members)
	cl.Close()
	if err != nil {
		o.cfg.Logger.Warn("what people left about bindings cannot be read", "err", err)
	}
	o.desk.reached(ctx, end)
	for ctx.Err() == nil {
		changed := o.desk.watch()
		o.router.Set(o.activeRules())
		select {
		case <-ctx.Done():
		case <-changed:
		case <-o.rebind:
		}
	}
}

// reached waits until this process has the desk up to end, deskPatience at most.
func (d *desk) reached(ctx context.Context, end int64) {
	patience := time.NewTimer(deskPatience)
	defer patience.Stop()
	for {
		d.mu.Lock()
		have, changed := d.next >= end, d.changed
		d.mu.Unlock()
		if have {
			return
		}
		select {
		case <-changed:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// watch is closed with the next change.
func (d *desk) watch() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// BindingInfo is one binding of an active version.
type BindingInfo struct {
	Key     string `json:"key"` // <type>/<name>
	Type    string `json:"type"`
	Version uint32 `json:"version"`
	Name    string `json:"name"`
	Topic   string `json:"topic"`
	Action  string `json:"action"`
	Signal  string `json:"signal,omitempty"`
	When    string `json:"when,omitempty"`
	From    string `json:"from"`
	Group   string `json:"group"` // under which its position is committed
	Paused  bool   `json:"paused"`
	By      string `json:"by,omitempty"`     // who paused or resumed it last
	Reason  string `json:"reason,omitempty"` // and why
	At      int64  `json:"at,omitempty"`     // ms
	// Lag is how many records are behind the position, all partitions together; -1 when it is not known yet.
	Lag int64 `json:"lag"`
	// Tasks run in the process that answers; Problem is why it does not read, or not all.
	Tasks   int    `json:"tasks"`
	Problem string `json:"problem,omitempty"`
}

// Bindings lists the bindings of the active versions, by key. Any process can do it.
func (o *Orchestrator) Bindings(ctx context.Context) ([]BindingInfo, error) {
	sender := o.sender.Load()
	if sender == nil {
		return nil, movingError(errors.New("this process does not run yet, or no more"))
	}
	here := map[string]bindings.State{}
	for _, s := range o.router.States() {
		here[s.Key] = s
	}
	out := []BindingInfo{}
	topics := map[string]bool{}
	for _, d := range o.activeRules() {
		info := BindingInfo{Key: d.Rule.Key(), Topic: d.Rule.Topic(), From: d.Rule.From().String(), Group: bindings.Group(o.cfg.Namespace, d.Rule.Key()), Lag: -1}
		switch b := d.Rule.(type) {
		case *bindings.Binding:
			def := b.Def.BindingDef
			info.Type, info.Version, info.Name, info.Action, info.Signal, info.When = b.Plan.Type, b.Plan.Version, def.Name, def.Action.String(), def.Signal, def.When
		case *bindings.Correlation:
			info.Name, info.Action = b.Name(), "correlate"
		}
		var h held
		if o.desk.get(deskBinding+info.Key, &h) {
			info.Paused, info.By, info.Reason, info.At = h.Paused, h.By, h.Reason, h.At
		}
		if s := here[info.Key]; !info.Paused {
			info.Tasks, info.Problem = s.Tasks, s.Reason
		}
		topics[info.Topic] = true
		out = append(out, info)
	}
	if len(out) == 0 {
		return out, nil
	}
	adm := kadm.NewClient(sender)
	names := make([]string, 0, len(topics))
	for t := range topics {
		names = append(names, t)
	}
	ends, err := adm.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return nil, unreachable("read the ends of topics", err)
	}
	groups := make([]string, len(out))
	for i := range out {
		groups[i] = out[i].Group
	}
	committed := adm.FetchManyOffsets(ctx, groups...)
	for i := range out {
		out[i].Lag = lagOf(committed[out[i].Group], ends[out[i].Topic], out[i].Topic)
	}
	return out, nil
}

// lagOf adds up what lies behind committed positions, -1 when there are none.
func lagOf(group kadm.FetchOffsetsResponse, ends map[int32]kadm.ListedOffset, topic string) int64 {
	if group.Err != nil || len(group.Fetched[topic]) == 0 {
		return -1
	}
	var lag int64
	for partition, at := range group.Fetched[topic] {
		if end, ok := ends[partition]; ok && end.Err == nil && at.Err == nil && at.At >= 0 {
			lag += max(0, end.Offset-at.At)
		}
	}
	return lag
}

// rule finds the rule of a key.
func (o *Orchestrator) rule(key string) (bindings.Rule, error) {
	for _, d := range o.activeRules() {
		if d.Rule.Key() == key {
			return d.Rule, nil
		}
	}
	return nil, &Error{Code: CodeNotFound, Class: ErrNotFound, Cause: fmt.Sprintf("no active version has a binding %s", key), Fix: "amends binding list has those that are read."}
}

// HoldBinding pauses a binding, or lets it go on where it stopped. It holds for all processes, and for later
// versions that have the binding.
func (o *Orchestrator) HoldBinding(ctx context.Context, key string, paused bool, by, reason string) (BindingInfo, error) {
	if _, err := o.rule(key); err != nil {
		return BindingInfo{}, err
	}
	h := held{Paused: paused, By: by, Reason: reason, At: o.cfg.Clock().UnixMilli()}
	if err := o.desk.put(ctx, o.sender.Load(), deskBinding+key, h); err != nil {
		return BindingInfo{}, err
	}
	o.cfg.Logger.Info("binding held or released by a person", "binding", key, "paused", paused, "by", by, "reason", reason)
	list, err := o.Bindings(ctx)
	if err != nil {
		return BindingInfo{}, err
	}
	for _, b := range list {
		if b.Key == key {
			return b, nil
		}
	}
	return BindingInfo{}, &Error{Code: CodeNotFound, Class: ErrNotFound, Cause: "the binding is gone"}
}

// ReplayBinding reads a part of the topic of a binding again, by the times of its records: to is 0 for now. What
// instances know already changes nothing. With dry nothing is written.
func (o *Orchestrator) ReplayBinding(ctx context.Context, key string, from, to int64, dry bool, by, reason string) (bindings.Reread, error) {
	rule, err := o.rule(key)
	if err != nil {
		return bindings.Reread{}, err
	}
	sender := o.sender.Load()
	if sender == nil {
		return bindings.Reread{}, movingError(errors.New("this process does not run yet, or no more"))
	}
	span := bindings.Span{From: time.UnixMilli(from)}
	if to > 0 {
		span.To = time.UnixMilli(to)
	}
	out, err := o.router.Replay(ctx, rule, span, dry, func(ctx context.Context, recs []*kgo.Record) error {
		return sender.ProduceSync(ctx, recs...).FirstErr()
	})
	if !dry {
		o.cfg.Logger.Info("a part of a topic was read again for a binding", "binding", key, "from", from, "to", to, "by", by, "reason", reason,
			"records", out.Records, "written", out.Written, "err", err)
	}
	switch {
	case errors.Is(err, bindings.ErrTooMany):
		return out, &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: err.Error(), Fix: "Replay it in several parts."}
	case err != nil:
		return out, unreachable("replay binding "+key, err)
	}
	return out, nil
}

// bindLetter sends a dead letter of a binding through the binding as it is now.
func (o *Orchestrator) bindLetter(ctx context.Context, key string, rec *kgo.Record, d protocol.DeadLetter, value []byte) ([]*kgo.Record, error) {
	rule, err := o.rule(key)
	if err != nil {
		return nil, err
	}
	again := &kgo.Record{Topic: d.Topic, Partition: d.Partition, Offset: d.Offset, Timestamp: time.UnixMilli(d.Timestamp), Key: rec.Key, Value: value}
	for _, h := range d.Original {
		again.Headers = append(again.Headers, kgo.RecordHeader(h))
	}
	list, err := o.router.Again(ctx, rule, again)
	var f *bindings.Fault
	switch {
	case errors.As(err, &f):
		return nil, &Error{Code: CodeBadRequest, Class: ErrInvalid, Cause: fmt.Sprintf("binding %s would refuse it again: %s: %s", key, f.Class, f.Message)}
	case err != nil:
		return nil, unreachable("binding "+key, err)
	case len(list) == 0:
		return nil, &Error{Code: CodeConflict, Class: ErrConflict, Cause: fmt.Sprintf("the record does not match the condition of binding %s", key), Fix: "Drop it."}
	}
	return list, nil
}
