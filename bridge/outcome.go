package bridge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/participant"
	"github.com/amendsio/amends/protocol"
	"github.com/amendsio/amends/sagas"
)

// Codes that the bridge itself puts into replies, besides HTTP_<status> and those of package participant.
const (
	CodeUnreachable = "UNREACHABLE"        // no answer, and no connection was had
	CodeNoAnswer    = "NO_ANSWER"          // the request may have been received, and nothing was heard
	CodeCircuitOpen = "CIRCUIT_OPEN"       // the destination has failed often; it is left alone for a moment
	CodeOverloaded  = "OVERLOADED"         // too many calls wait for the destination in this process
	CodeBadRequest  = "BAD_REQUEST"        // an expression of the file has no result for this command
	CodeSecret      = "SECRET_UNAVAILABLE" // a file or variable is missing
	CodeRedirect    = "REDIRECT"           // redirects are refused
	CodeBadResponse = "BAD_RESPONSE"       // a 2xx whose body is too large, or from which output has no result
)

// result is what came of a call. Outcome is one of the protocol, of the call's operation.
type result struct {
	Outcome    protocol.Outcome `json:"o"`
	Effect     protocol.Effect  `json:"e,omitempty"`
	Code       string           `json:"c,omitempty"`
	Message    string           `json:"m,omitempty"`
	RetryAfter int64            `json:"r,omitempty"` // ms
	Noop       bool             `json:"n,omitempty"`
	Unsent     bool             `json:"u,omitempty"` // no connection was ever had for this key
	Output     []byte           `json:"-"`
}

// rule maps an answer. The first that holds counts.
type rule struct {
	when       *sagas.RecordExpr
	outcome    protocol.Outcome
	effect     protocol.Effect
	code       named
	retryAfter time.Duration
	noop       bool
}

// outcomes that the rules of each operation may name.
var outcomes = map[protocol.Op][]protocol.Outcome{
	protocol.OpDo:      {protocol.OutcomeOK, protocol.OutcomeRejected, protocol.OutcomeFailedRetriable, protocol.OutcomeFailedFatal},
	protocol.OpUndo:    {protocol.OutcomeOK, protocol.OutcomeFailedRetriable, protocol.OutcomeFailedFatal},
	protocol.OpInquire: {protocol.OutcomeExecuted, protocol.OutcomeNotExecuted, protocol.OutcomeRunning, protocol.OutcomeFailedRetriable},
}

func (p *parser) rule(op protocol.Op, v sagas.DocValue) rule {
	r := rule{}
	if !v.Fields("an entry of outcomes", "when", "outcome", "effect", "code", "retryAfter", "noop") {
		return r
	}
	if when := v.Required("when"); when.Given() {
		r.when = when.ExprIn(responseLanguage, "when", sagas.WantBool)
	}
	out := v.Required("outcome")
	if r.outcome = protocol.Outcome(out.Text("outcome")); out.Given() && !slices.Contains(outcomes[op], r.outcome) {
		var names []string
		for _, o := range outcomes[op] {
			names = append(names, string(o))
		}
		out.Fault("SG01", "", "outcome of %s is %s", op, strings.Join(names, ", "))
	}
	if e := v.Child("effect"); e.Given() {
		r.effect = protocol.Effect(e.Text("effect"))
		if !r.effect.Valid() || r.outcome != protocol.OutcomeFailedFatal || op != protocol.OpDo {
			e.Fault("SG01", "", "effect is none, done or unknown, of a failed-fatal do")
		}
	}
	if c := v.Child("code"); c.Given() {
		if c.IsExpr() {
			r.code = named{expr: c.ExprIn(responseLanguage, "code", sagas.WantText)}
		} else if r.code = (named{text: c.Text("code")}); len(r.code.text) > protocol.MaxCode {
			c.Fault("SG01", "", "code is longer than %d bytes", protocol.MaxCode)
		}
	}
	r.retryAfter = v.Child("retryAfter").Duration("retryAfter", 0, time.Millisecond, 24*time.Hour)
	if r.noop = v.Child("noop").Yes("noop"); r.noop && (op != protocol.OpUndo || r.outcome != protocol.OutcomeOK) {
		v.Child("noop").Fault("SG01", "", "noop is of an undo that is ok")
	}
	return r
}

// response is what a destination has answered.
type response struct {
	status  int
	header  http.Header
	body    []byte
	cut     bool // the body is longer than what was read
	arrived time.Time
}

// judge maps an answer. It cannot fail: what does not fit is a result too.
func (o *operation) judge(c *call, r response) result {
	res, ruled := o.ruled(c, r)
	if !ruled {
		res = o.usual(c, r)
	}
	if res.RetryAfter == 0 && res.Outcome == protocol.OutcomeFailedRetriable {
		res.RetryAfter = retryAfter(r.header, r.arrived).Milliseconds()
	}
	if res.Outcome != protocol.OutcomeOK && res.Outcome != protocol.OutcomeExecuted || o.op == protocol.OpUndo {
		return res
	}
	out, ok := o.shape(c, r)
	if !ok {
		return o.failed(protocol.OutcomeFailedFatal, CodeBadResponse)
	}
	res.Output = out
	return res
}

// failed is a failure as the operation can say it: an inquiry is never fatal.
func (o *operation) failed(outcome protocol.Outcome, code string) result {
	if o.op == protocol.OpInquire {
		outcome = protocol.OutcomeFailedRetriable
	}
	return result{Outcome: outcome, Code: code}
}

func (o *operation) answers(c *call, r response) *sagas.RecordValues {
	v, err := c.values()
	if err != nil {
		return nil
	}
	headers := map[string]string{}
	for name, values := range r.header {
		headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(values, ", "), "?")
	}
	about, err := json.Marshal(headers)
	if err == nil {
		err = v.Set("headers", about)
	}
	if err == nil {
		err = v.Set("status", strconv.AppendInt(nil, int64(r.status), 10))
	}
	if err != nil {
		return nil
	}
	if r.cut || v.Set("body", r.body) != nil {
		_ = v.Set("body", []byte("null")) // constant input
	}
	plain, err := json.Marshal(strings.ToValidUTF8(string(r.body[:min(len(r.body), 4<<10)]), "?"))
	if err != nil || v.Set("text", plain) != nil {
		return nil
	}
	return v
}

// ruled is the result of the first rule that holds. A condition without a result does not hold: a
// proxy's page of HTML has no field that a rule asks for.
func (o *operation) ruled(c *call, r response) (result, bool) {
	if len(o.rules) == 0 {
		return result{}, false
	}
	v := o.answers(c, r)
	if v == nil {
		return result{}, false
	}
	for i := range o.rules {
		rule := &o.rules[i]
		if holds, err := v.Bool(rule.when); err != nil || !holds {
			continue
		}
		code, err := rule.code.value(v)
		if err != nil || code == "" {
			code = httpCode(r.status)
		}
		if rule.outcome == protocol.OutcomeOK || rule.outcome == protocol.OutcomeExecuted {
			code = ""
		}
		return result{Outcome: rule.outcome, Effect: rule.effect, Code: code, RetryAfter: rule.retryAfter.Milliseconds(), Noop: rule.noop}, true
	}
	return result{}, false
}

func httpCode(status int) string { return "HTTP_" + strconv.Itoa(status) }

// usual is what a status means when no rule holds.
func (o *operation) usual(c *call, r response) result {
	code := httpCode(r.status)
	switch {
	case r.status >= 200 && r.status < 300:
		if o.op == protocol.OpInquire {
			return result{Outcome: protocol.OutcomeExecuted}
		}
		return result{Outcome: protocol.OutcomeOK}
	case r.status >= 300 && r.status < 400:
		return o.failed(protocol.OutcomeFailedFatal, CodeRedirect)
	case r.status >= 500, r.status < 200, slices.Contains([]int{
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		// Who we are is not the saga's fault: a person renews the secret, and the command goes on.
		http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired}, r.status):
		return result{Outcome: protocol.OutcomeFailedRetriable, Code: code}
	}
	absent := r.status == http.StatusNotFound || r.status == http.StatusGone
	switch o.op {
	case protocol.OpInquire:
		if absent {
			return result{Outcome: protocol.OutcomeNotExecuted}
		}
		return result{Outcome: protocol.OutcomeFailedRetriable, Code: code}
	case protocol.OpUndo:
		switch {
		case absent && !c.known:
			return result{Outcome: protocol.OutcomeOK, Noop: true} // the do never arrived
		case r.status == http.StatusConflict:
			return result{Outcome: protocol.OutcomeFailedRetriable, Code: code}
		}
		return result{Outcome: protocol.OutcomeFailedFatal, Code: code}
	}
	if r.status == http.StatusConflict && !c.clean {
		// A request with this key may have been there before, and may be what is in conflict with it.
		return result{Outcome: protocol.OutcomeFailedRetriable, Code: code}
	}
	return result{Outcome: protocol.OutcomeRejected, Code: code}
}

// shape is the output: what the file says, or the body when it is an object.
func (o *operation) shape(c *call, r response) ([]byte, bool) {
	if r.cut {
		return nil, false
	}
	if o.output != nil {
		v := o.answers(c, r)
		if v == nil {
			return nil, false
		}
		out, err := o.output.value(v)
		if err != nil || len(out) == 0 || out[0] != '{' || !c.fits(out) {
			return nil, false
		}
		return out, true
	}
	body := bytes.TrimSpace(r.body)
	if len(body) == 0 || body[0] != '{' {
		return []byte("{}"), true
	}
	out, err := sagas.CanonicalJSON(body)
	if err != nil || !c.fits(out) {
		return nil, false
	}
	return out, true
}

// fits says that an output can be kept beside the payload in one record of the store.
func (c *call) fits(out []byte) bool { return len(out)+len(c.payload) <= participant.MaxOutput }

// retryAfterMax bounds what a destination may ask for.
const retryAfterMax = 24 * time.Hour

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" || len(text) > 64 {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, retryAfterMax)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), retryAfterMax)
	}
	return 0
}
