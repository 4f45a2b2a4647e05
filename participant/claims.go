package participant

import (
	"context"
	"errors"

	"github.com/amendsio/amends/protocol"
)

// Claims brings back values that travel by reference, and puts large ones away: package claimcheck has
// one. An error that will not heal says so by a method Permanent() bool.
type Claims interface {
	// Expand gives a JSON value with its references brought back.
	Expand(ctx context.Context, value []byte) ([]byte, error)
	// Shrink gives a JSON object with large fields put away, at most MaxOutput bytes.
	Shrink(ctx context.Context, value []byte) ([]byte, error)
}

// Codes of failures of claims.
const (
	CodeClaimUnavailable = "CLAIM_UNAVAILABLE" // failed-retriable: the store does not answer
	CodeClaimLost        = "CLAIM_LOST"        // failed-fatal: the value is not in the store, or not what was put there
)

// UseClaims has handlers see whole values: payloads and outputs of dos are brought back before a handler
// is called, and what it answers is put away where it is large. nil is none, the default. The store is
// asked within the local transaction of the handler.
func (h *Handlers) UseClaims(c Claims) { h.claims = c }

// perform calls the handler of a do.
func (x *execution) perform(ctx context.Context, tx Tx, h *handler) ([]byte, error) {
	payload, err := x.whole(ctx, x.payload, h.external)
	if err != nil {
		return nil, err
	}
	out, err := h.do(ctx, tx, payload)
	if err != nil {
		return nil, err
	}
	return x.fitting(ctx, out)
}

// whole is a value as a handler sees it. begun says that the do may have taken effect before.
func (x *execution) whole(ctx context.Context, value []byte, begun bool) ([]byte, error) {
	if x.claims == nil || len(value) == 0 {
		return value, nil
	}
	got, err := x.claims.Expand(ctx, value)
	if err == nil {
		return got, nil
	}
	x.log.Warn("a claim cannot be read", "step", x.cmd.Name, "workflow_id", x.cmd.WorkflowID, "error", err)
	if !permanent(err) {
		return nil, Retry(CodeClaimUnavailable, 0)
	}
	effect := protocol.EffectNone
	if begun {
		effect = protocol.EffectUnknown
	}
	return nil, Fatal(CodeClaimLost, effect)
}

// fitting is an output as it is stored and sent.
func (x *execution) fitting(ctx context.Context, out []byte) ([]byte, error) {
	if x.claims != nil && len(out) > 0 {
		small, err := x.claims.Shrink(ctx, out)
		switch {
		case err != nil && !permanent(err):
			x.log.Warn("a claim cannot be written", "step", x.cmd.Name, "workflow_id", x.cmd.WorkflowID, "error", err)
			return nil, Retry(CodeClaimUnavailable, 0)
		case err != nil:
			return nil, errBadOutput
		}
		out = small
	}
	if len(out) > MaxOutput {
		return nil, errBadOutput
	}
	return out, nil
}

func permanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}
