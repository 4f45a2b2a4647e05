package cluster

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/amendsio/amends/orchestrator"
)

// What one process asks another. Field names and operations only ever grow: during a rolling upgrade the two
// are of different releases.
const (
	// Prefix is the path of what processes ask one another; the operation follows. It is no part of the API.
	Prefix = "/internal/v1/"

	opGet    = "get"
	opFind   = "find"
	opCount  = "count"
	opCensus = "census"
	opNode   = "node"

	opPreview   = "preview"
	opExplain   = "explain"
	opApprovals = "approvals"
	opPulse     = "pulse"
	opStands    = "stands"

	headerSignature = "Amends-Peer"

	maxQuestion = 2 << 20
	maxAnswer   = 32 << 20
	maxSkew     = time.Minute // between the clocks of two processes
)

// errSilent says that a process did not answer, or not in our language.
var errSilent = errors.New("the process does not answer")

// peers asks other processes.
type peers struct {
	client *http.Client
	secret []byte
	now    func() time.Time
}

// ask puts one question. An error of the other side comes back as it was there; anything else is errSilent.
func (p *peers) ask(ctx context.Context, address, op string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+Prefix+op, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if len(p.secret) > 0 {
		at := strconv.FormatInt(p.now().UnixMilli(), 10)
		req.Header.Set(headerSignature, at+"."+hex.EncodeToString(sign(p.secret, at, op, body)))
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, answer); err != nil {
			return fmt.Errorf("%w: %w", errSilent, err)
		}
		return nil
	}
	var f failure
	if json.Unmarshal(text, &f) != nil || f.Code == "" {
		return fmt.Errorf("%w: status %d", errSilent, resp.StatusCode)
	}
	return f.error()
}

func sign(secret []byte, at, op string, body []byte) []byte {
	m := hmac.New(sha256.New, secret)
	sum := sha256.Sum256(body)
	fmt.Fprintf(m, "amends peer\n%s\n%s\n%x\n", at, op, sum)
	return m.Sum(nil)
}

// signed checks the signature of a question.
func (p *peers) signed(r *http.Request, op string, body []byte) bool {
	if len(p.secret) == 0 {
		return true
	}
	at, given, ok := strings.Cut(r.Header.Get(headerSignature), ".")
	ms, err := strconv.ParseInt(at, 10, 64)
	mac, err2 := hex.DecodeString(given)
	if !ok || err != nil || err2 != nil {
		return false
	}
	age := p.now().Sub(time.UnixMilli(ms))
	return age < maxSkew && age > -maxSkew && hmac.Equal(mac, sign(p.secret, at, op, body))
}

// failure is an error on its way between processes.
type failure struct {
	Class string `json:"class"`
	Code  string `json:"code"`
	Cause string `json:"cause"`
	Fix   string `json:"fix,omitempty"`
}

var classes = map[string]error{
	"not-found": orchestrator.ErrNotFound, "moving": orchestrator.ErrMoving, "invalid": orchestrator.ErrInvalid,
	"conflict": orchestrator.ErrConflict, "unreachable": orchestrator.ErrUnreachable,
}

func failureOf(err error) failure {
	f := failure{Class: "unreachable", Code: orchestrator.CodeInternal, Cause: "the process failed"}
	var moved *orchestrator.MovedError
	var e *orchestrator.Error
	switch {
	case errors.As(err, &moved): // our map is newer than the other's: it may not hop on
		f = failure{Class: "moving", Code: orchestrator.CodeMoving, Cause: "the owner has just changed", Fix: "Ask again in a moment."}
	case errors.As(err, &e):
		f.Code, f.Cause, f.Fix = e.Code, e.Cause, e.Fix
		for name, class := range classes {
			if errors.Is(e, class) {
				f.Class = name
			}
		}
	}
	return f
}

func (f failure) error() error {
	class, ok := classes[f.Class]
	if !ok {
		class = orchestrator.ErrUnreachable
	}
	return &orchestrator.Error{Code: f.Code, Cause: f.Cause, Fix: f.Fix, Class: class}
}

// Handler answers what other processes ask under Prefix, from this process alone.
func (c *Cluster) Handler() http.Handler {
	answers := map[string]func(context.Context, []byte) (any, error){
		opGet:       answer(func(ctx context.Context, r getRequest) (any, error) { return answerGet(ctx, c.local, r) }),
		opFind:      answer(func(ctx context.Context, r findRequest) (any, error) { return answerFind(ctx, c.local, r) }),
		opCount:     answer(func(ctx context.Context, r findRequest) (any, error) { return answerCount(ctx, c.local, r) }),
		opCensus:    answer(func(context.Context, struct{}) (any, error) { return c.local.Census() }),
		opPreview:   answer(func(ctx context.Context, p orchestrator.Proposal) (any, error) { return c.local.Preview(ctx, p) }),
		opExplain:   answer(func(ctx context.Context, r getRequest) (any, error) { return c.local.Explain(ctx, r.WorkflowID) }),
		opApprovals: answer(func(ctx context.Context, _ struct{}) (any, error) { return c.local.Approvals(ctx) }),
		opPulse:     answer(func(_ context.Context, q orchestrator.PulseQuestion) (any, error) { return c.local.Pulse(q) }),
		opStands:    answer(func(ctx context.Context, r standsRequest) (any, error) { return c.local.Stands(ctx, r.Type) }),
		opNode:      answer(func(context.Context, struct{}) (any, error) { return c.local.Node(), nil }),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op := strings.TrimPrefix(r.URL.Path, Prefix)
		fn := answers[op]
		if fn == nil || r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuestion))
		if err != nil {
			http.Error(w, "the question is too long", http.StatusRequestEntityTooLarge)
			return
		}
		if !c.peers.signed(r, op, body) {
			c.log.Warn("a question without the signature of a process of ours was refused", "from", r.RemoteAddr, "operation", op)
			http.Error(w, "not signed by a process of this namespace", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		out, err := fn(r.Context(), body)
		if err != nil {
			c.log.Debug("a question of another process failed", "operation", op, "err", err)
			w.WriteHeader(http.StatusConflict)
			out = failureOf(err)
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			c.log.LogAttrs(r.Context(), slog.LevelDebug, "an answer could not be written", slog.Any("err", err))
		}
	})
}

func answer[R any](fn func(context.Context, R) (any, error)) func(context.Context, []byte) (any, error) {
	return func(ctx context.Context, body []byte) (any, error) {
		var r R
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, invalid("the question cannot be read")
		}
		return fn(ctx, r)
	}
}
