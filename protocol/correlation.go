package protocol

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// Headers of the records of the correlation topic, beside those of commands and replies.
const (
	HeaderCorrelate = "saga-correlate" // subscribe, unsubscribe or event
	HeaderRoute     = "saga-route"     // which way of reading which topic
	HeaderValue     = "saga-value"     // the match value
	HeaderPath      = "saga-path"      // subscriptions: the step that waits
	HeaderGroup     = "saga-group"     // subscriptions: saga type
	HeaderSignal    = "saga-signal"    // subscriptions: name of the signal that the event becomes
	HeaderUntil     = "saga-until"     // subscriptions: ms since the epoch
	HeaderGroups    = "saga-groups"    // events: saga types that may wait for it, with commas between
	HeaderSource    = "saga-source"    // events: <topic>/<partition>/<offset>
	HeaderBinding   = "saga-binding"   // events: who read it
	HeaderTTL       = "saga-ttl"       // events: ms that it waits
)

// CorrelationKind is what a record of the correlation topic says.
type CorrelationKind string

const (
	CorrelateSubscribe   CorrelationKind = "subscribe"
	CorrelateUnsubscribe CorrelationKind = "unsubscribe"
	CorrelateEvent       CorrelationKind = "event"
)

// Limits of the records of the correlation topic.
const (
	MaxMatchValue  = 512 // bytes of a match value
	MaxEventGroups = 64  // saga types that may wait for one event
)

// Correlation is the envelope of a record of the correlation topic. The value of an event's record is its
// payload in JSON; the others have none. The key is CorrelationKey.
type Correlation struct {
	Kind         CorrelationKind
	Route, Value string

	// Of subscriptions.
	WorkflowID string
	Run        uint32
	Path       string
	Op         Op     // of a command that is answered
	Group      string // of an await
	Signal     string // of an await
	Token      string // of a command that is answered
	Until      int64  // ms; 0 = until unsubscribe

	// Of events.
	EventID string
	Source  string
	Binding string
	Groups  []string
	TTL     int64 // ms
	Outcome Outcome
	Effect  Effect
	Code    string
}

// CorrelationKey is the key of the records about one value: 32 hexadecimal digits.
func CorrelationKey(route, value string) []byte {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(route)) + " " + route + value))
	return hex.AppendEncode(nil, sum[:16])
}

// Headers returns the record headers. They share one buffer.
func (c Correlation) Headers() []Header {
	groups := strings.Join(c.Groups, ",")
	w := newHeaderWriter(14, 60+len(c.Kind)+len(c.Route)+len(c.Value)+len(c.WorkflowID)+len(c.Path)+len(c.Op)+len(c.Group)+len(c.Signal)+
		len(c.Token)+len(c.EventID)+len(c.Source)+len(c.Binding)+len(groups)+len(c.Outcome)+len(c.Effect)+len(c.Code)+len(ContentJSON))
	w.add(HeaderCorrelate, string(c.Kind))
	w.add(HeaderRoute, c.Route)
	w.add(HeaderValue, c.Value)
	w.addSome(HeaderOp, string(c.Op))
	if c.Kind == CorrelateEvent {
		w.add(HeaderCloudEventID, c.EventID)
		w.addSome(HeaderSource, c.Source)
		w.addSome(HeaderBinding, c.Binding)
		w.add(HeaderGroups, groups)
		w.addInt(HeaderTTL, c.TTL)
		w.addSome(HeaderOutcome, string(c.Outcome))
		w.addSome(HeaderEffect, string(c.Effect))
		w.addSome(HeaderCode, c.Code)
		w.add(HeaderContentType, ContentJSON)
		return w.hs
	}
	w.add(HeaderWorkflowID, c.WorkflowID)
	w.addInt(HeaderRun, int64(c.Run))
	w.add(HeaderPath, c.Path)
	w.addSome(HeaderGroup, c.Group)
	w.addSome(HeaderSignal, c.Signal)
	w.addSome(HeaderToken, c.Token)
	if c.Until > 0 {
		w.addInt(HeaderUntil, c.Until)
	}
	return w.hs
}

// ParseCorrelation reads the headers of a record of the correlation topic.
func ParseCorrelation(h []Header) (Correlation, error) {
	if err := checkHeaders(h); err != nil {
		return Correlation{}, err
	}
	r := headerReader{hs: h}
	c := Correlation{
		Kind:  CorrelationKind(r.must(HeaderCorrelate, 16)),
		Route: r.must(HeaderRoute, MaxTopic+32),
		Value: r.must(HeaderValue, MaxMatchValue),
	}
	op, _ := r.text(HeaderOp, 16)
	c.Op = Op(op)
	if op != "" && !c.Op.Valid() {
		r.fail(malformed(HeaderOp, "want do, undo or inquire"))
	}
	switch c.Kind {
	case CorrelateEvent:
		c.EventID = r.must(HeaderCloudEventID, MaxTopic+MaxID)
		c.Source, _ = r.text(HeaderSource, MaxTopic+40)
		c.Binding, _ = r.text(HeaderBinding, MaxTopic+32)
		groups, _ := r.text(HeaderGroups, MaxEventGroups*(MaxType+1))
		c.Groups = strings.Split(groups, ",")
		if len(c.Groups) > MaxEventGroups {
			r.fail(tooLarge(HeaderGroups, "more than "+strconv.Itoa(MaxEventGroups)+" groups"))
		}
		c.TTL = r.number(HeaderTTL, 0, MaxSignalTTL, true)
		outcome, answers := r.text(HeaderOutcome, 32)
		c.Outcome = Outcome(outcome)
		if answers && !c.Outcome.Valid() {
			r.fail(malformed(HeaderOutcome, "not an outcome of the protocol"))
		}
		effect, stated := r.text(HeaderEffect, 16)
		c.Effect = Effect(effect)
		if stated && (!answers || !c.Effect.Valid() || !c.Outcome.fits(c.Effect)) {
			r.fail(malformed(HeaderEffect, "does not fit "+HeaderOutcome))
		}
		c.Code, _ = r.text(HeaderCode, MaxCode)
	case CorrelateSubscribe, CorrelateUnsubscribe:
		c.WorkflowID = r.must(HeaderWorkflowID, MaxWorkflowID)
		c.Run = uint32(r.number(HeaderRun, 1, 1<<32-1, true))
		c.Path = r.must(HeaderPath, MaxPath)
		c.Group, _ = r.text(HeaderGroup, MaxType)
		c.Signal, _ = r.text(HeaderSignal, MaxSignalName)
		c.Token, _ = r.text(HeaderToken, MaxToken)
		c.Until = r.number(HeaderUntil, 0, MaxTime, false)
		if c.Kind == CorrelateSubscribe && (c.Signal == "") == (c.Token == "") {
			r.fail(malformed(HeaderSignal, "want either "+HeaderSignal+" or "+HeaderToken))
		}
	default:
		r.fail(malformed(HeaderCorrelate, "want subscribe, unsubscribe or event"))
	}
	if r.err != nil {
		return Correlation{}, r.err
	}
	return c, nil
}
