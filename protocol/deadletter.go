package protocol

import (
	"math"
	"strconv"
)

// Headers that a dead letter has beside the original ones. All values are UTF-8 text. The family
// __<system>.errors.* is the one of Kafka Connect and Kafka Streams, so tools that filter those
// work with these.
const (
	HeaderErrorTopic      = "__saga.errors.topic"       // where the record came from
	HeaderErrorPartition  = "__saga.errors.partition"   //
	HeaderErrorOffset     = "__saga.errors.offset"      //
	HeaderErrorTimestamp  = "__saga.errors.timestamp"   // the record's own, ms
	HeaderErrorGroup      = "__saga.errors.group"       // consumer group that gave up on it
	HeaderErrorStage      = "__saga.errors.stage"       // where in the walk: route, decode, load, advance, stage, timer
	HeaderErrorClass      = "__saga.errors.class"       // stable class, e.g. MALFORMED
	HeaderErrorMessage    = "__saga.errors.message"     // for people; no payload
	HeaderErrorAttempts   = "__saga.errors.attempts"    // how often it was tried, from 1
	HeaderErrorWorkflowID = "__saga.errors.workflow.id" // if it is known
	HeaderErrorNode       = "__saga.errors.node"        // process that gave up
	HeaderErrorVersion    = "__saga.errors.version"     // of the software
)

// DeadLetter says why a record was set aside. The dead letter's key and value are those of the
// record, byte for byte; its headers are the record's, byte for byte and in order, then ours.
type DeadLetter struct {
	Original   []Header // of the record that was set aside
	Topic      string
	Partition  int32
	Offset     int64
	Timestamp  int64 // ms
	Group      string
	Stage      string
	Class      string
	Message    string
	Attempts   int
	WorkflowID string // "" = not known
	Node       string
	Version    string
}

// Headers returns the headers of the dead letter.
func (d DeadLetter) Headers() []Header {
	message := clean(d.Message, MaxMessage)
	w := newHeaderWriter(len(d.Original)+12, 80+len(d.Topic)+len(d.Group)+len(d.Stage)+len(d.Class)+len(message)+
		len(d.WorkflowID)+len(d.Node)+len(d.Version))
	w.hs = append(w.hs, d.Original...)
	w.add(HeaderErrorTopic, d.Topic)
	w.addInt(HeaderErrorPartition, int64(d.Partition))
	w.addInt(HeaderErrorOffset, d.Offset)
	w.addInt(HeaderErrorTimestamp, d.Timestamp)
	w.add(HeaderErrorGroup, d.Group)
	w.add(HeaderErrorStage, d.Stage)
	w.add(HeaderErrorClass, d.Class)
	w.add(HeaderErrorMessage, message)
	w.addInt(HeaderErrorAttempts, int64(max(d.Attempts, 1)))
	w.addSome(HeaderErrorWorkflowID, d.WorkflowID)
	w.addSome(HeaderErrorNode, d.Node)
	w.addSome(HeaderErrorVersion, d.Version)
	return w.hs
}

// ParseDeadLetter reads the headers of a dead letter. A record that was set aside more than once
// carries several sets; the last one is read, and Original holds the headers before it.
func ParseDeadLetter(h []Header) (DeadLetter, error) {
	from := -1
	for i := range h {
		if h[i].Key == HeaderErrorTopic {
			from = i
		}
	}
	if from < 0 {
		return DeadLetter{}, malformed(HeaderErrorTopic, "the header is missing")
	}
	r := headerReader{hs: h[from:]}
	if err := checkHeaders(r.hs); err != nil {
		return DeadLetter{}, err
	}
	d := DeadLetter{
		Original:  h[:from:from],
		Topic:     r.must(HeaderErrorTopic, MaxTopic),
		Partition: int32(r.number(HeaderErrorPartition, 0, math.MaxInt32, true)),
		Offset:    r.number(HeaderErrorOffset, 0, math.MaxInt64, true),
		Timestamp: r.signed(HeaderErrorTimestamp),
		Message:   r.message(HeaderErrorMessage),
		Attempts:  int(r.number(HeaderErrorAttempts, 1, math.MaxInt32, true)),
	}
	d.Group, _ = r.text(HeaderErrorGroup, MaxTopic)
	d.Stage, _ = r.text(HeaderErrorStage, MaxName)
	d.Class, _ = r.text(HeaderErrorClass, MaxName)
	d.WorkflowID, _ = r.text(HeaderErrorWorkflowID, MaxHeaderBytes)
	d.Node, _ = r.text(HeaderErrorNode, MaxHeaderBytes)
	d.Version, _ = r.text(HeaderErrorVersion, MaxHeaderBytes)
	if r.err != nil {
		return DeadLetter{}, r.err
	}
	return d, nil
}

// signed returns a required integer that may be negative: Kafka's "no timestamp" is -1.
func (r *headerReader) signed(key string) int64 {
	s := r.must(key, 20)
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		r.fail(malformed(key, "not a decimal integer"))
	}
	return n
}
