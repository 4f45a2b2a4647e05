package protocol

// Outcome is what a participant answers.
type Outcome string

const (
	OutcomeOK              Outcome = "ok"               // done; also when replayed
	OutcomeRejected        Outcome = "rejected"         // a business no: nothing remains, every redelivery hears the same
	OutcomeFailedRetriable Outcome = "failed-retriable" // send it again, with the same key
	OutcomeFailedFatal     Outcome = "failed-fatal"     // sending it again is useless
	OutcomeProgress        Outcome = "progress"         // still working; the value may hold the handle
	OutcomeExecuted        Outcome = "executed"         // to inquire: the do took effect
	OutcomeNotExecuted     Outcome = "not-executed"     // to inquire: the do did not and will not take effect
	OutcomeRunning         Outcome = "running"          // to inquire: not decided yet
)

// Effect says what remains at the participant.
type Effect string

const (
	EffectNone    Effect = "none"
	EffectDone    Effect = "done"
	EffectUnknown Effect = "unknown"
)

// DefaultEffect returns the effect of a reply that states none; "" for an outcome that does not
// exist.
func (o Outcome) DefaultEffect() Effect {
	switch o {
	case OutcomeOK, OutcomeExecuted:
		return EffectDone
	case OutcomeRejected, OutcomeNotExecuted:
		return EffectNone
	case OutcomeFailedRetriable, OutcomeFailedFatal, OutcomeProgress, OutcomeRunning:
		return EffectUnknown
	}
	return ""
}

// Valid reports whether o is an outcome of the protocol.
func (o Outcome) Valid() bool { return o.DefaultEffect() != "" }

// Valid reports whether e is an effect of the protocol.
func (e Effect) Valid() bool { return e == EffectNone || e == EffectDone || e == EffectUnknown }

// fits reports whether a reply may state effect e beside outcome o. An outcome that is definite
// cannot be contradicted; the failed ones may be made definite.
func (o Outcome) fits(e Effect) bool {
	switch o {
	case OutcomeFailedRetriable, OutcomeFailedFatal:
		return true
	}
	return e == o.DefaultEffect()
}

// Reply is the envelope of one answer. The value of the record is the output (of a progress reply:
// the handle) and is not part of it.
type Reply struct {
	Token       string // as it came with the command
	Outcome     Outcome
	Effect      Effect // after ParseReply never empty; empty is written as absent
	Code        string
	Message     string // for people; cut to MaxMessage
	RetryAfter  int64  // ms; 0 = none
	Noop        bool   // undo: there was nothing to undo
	Replayed    bool   // answered from the inbox
	Trace       string
	ContentType string
}

// Headers returns the record headers. They share one buffer. Effect is left out when it is the
// default of the outcome.
func (r Reply) Headers() []Header {
	message := clean(r.Message, MaxMessage)
	w := newHeaderWriter(10, 40+len(r.Token)+len(r.Outcome)+len(r.Effect)+len(r.Code)+len(message)+len(r.Trace)+len(r.ContentType))
	w.add(HeaderToken, r.Token)
	w.add(HeaderOutcome, string(r.Outcome))
	if r.Effect != "" && r.Effect != r.Outcome.DefaultEffect() {
		w.add(HeaderEffect, string(r.Effect))
	}
	w.addSome(HeaderCode, r.Code)
	w.addSome(HeaderMessage, message)
	if r.RetryAfter > 0 {
		w.addInt(HeaderRetryAfter, r.RetryAfter)
	}
	if r.Noop {
		w.add(HeaderNoop, "true")
	}
	if r.Replayed {
		w.add(HeaderReplayed, "true")
	}
	w.addSome(HeaderTraceparent, r.Trace)
	w.addSome(HeaderContentType, r.ContentType)
	return w.hs
}

// ParseReply reads the headers of a reply. When it fails and the token header itself was readable,
// the returned Reply holds it, so that the caller can count the reply as failed-retriable with code
// BAD_REPLY instead of waiting for a timeout.
func ParseReply(h []Header) (Reply, error) {
	if err := checkHeaders(h); err != nil {
		return replyToken(h), err
	}
	r := headerReader{hs: h}
	reply := Reply{
		Token:   r.must(HeaderToken, MaxToken),
		Outcome: Outcome(r.must(HeaderOutcome, 32)),
	}
	effect, stated := r.text(HeaderEffect, 16)
	reply.Effect = Effect(effect)
	reply.Code, _ = r.text(HeaderCode, MaxCode)
	reply.Message = r.message(HeaderMessage)
	reply.RetryAfter = r.number(HeaderRetryAfter, 0, MaxTime, false)
	reply.Noop = r.flag(HeaderNoop)
	reply.Replayed = r.flag(HeaderReplayed)
	reply.Trace, _ = r.text(HeaderTraceparent, 256)
	reply.ContentType, _ = r.text(HeaderContentType, 256)
	switch {
	case r.err != nil:
	case !reply.Outcome.Valid():
		r.fail(malformed(HeaderOutcome, "not an outcome of the protocol"))
	case !stated:
		reply.Effect = reply.Outcome.DefaultEffect()
	case !reply.Effect.Valid():
		r.fail(malformed(HeaderEffect, "want none, done or unknown"))
	case !reply.Outcome.fits(reply.Effect):
		r.fail(malformed(HeaderEffect, "contradicts "+HeaderOutcome))
	}
	if r.err != nil {
		return replyToken(h), r.err
	}
	return reply, nil
}

func replyToken(h []Header) Reply {
	r := headerReader{hs: h}
	token, _ := r.text(HeaderToken, MaxToken)
	return Reply{Token: token}
}

// Result is the envelope of the record that answers a start with ReplyTo once the instance ended.
// The value of the record is the output.
type Result struct {
	WorkflowID string
	Run        uint32
	Phase      string // completed, compensated or closed
	Cause      string
	Trace      string
}

// Headers returns the record headers.
func (r Result) Headers() []Header {
	cause := clean(r.Cause, MaxMessage)
	w := newHeaderWriter(6, 20+len(r.WorkflowID)+len(r.Phase)+len(cause)+len(r.Trace)+len(ContentJSON))
	w.add(HeaderWorkflowID, r.WorkflowID)
	w.addInt(HeaderRun, int64(r.Run))
	w.add(HeaderPhase, r.Phase)
	w.addSome(HeaderCause, cause)
	w.addSome(HeaderTraceparent, r.Trace)
	w.add(HeaderContentType, ContentJSON)
	return w.hs
}

// ParseResult reads the headers of a result.
func ParseResult(h []Header) (Result, error) {
	if err := checkHeaders(h); err != nil {
		return Result{}, err
	}
	r := headerReader{hs: h}
	res := Result{
		WorkflowID: r.must(HeaderWorkflowID, MaxWorkflowID),
		Run:        uint32(r.number(HeaderRun, 1, 1<<32-1, true)),
		Phase:      r.must(HeaderPhase, 32),
		Cause:      r.message(HeaderCause),
	}
	res.Trace, _ = r.text(HeaderTraceparent, 256)
	if r.err != nil {
		return Result{}, r.err
	}
	return res, nil
}
