package claimcheck

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Errors, classed by who must act.
var (
	// ErrUnavailable: the store does not answer. Try again.
	ErrUnavailable error = &fault{text: "the store of claims is not available"}
	// ErrNotFound: the store has no such value, or no longer.
	ErrNotFound error = &fault{"the claim is not in the store", true}
	// ErrMalformed: the reference or the value is not what it should be.
	ErrMalformed error = &fault{"the claim is malformed", true}
	// ErrTooLarge: the value is larger than the limits allow.
	ErrTooLarge error = &fault{"the value is too large", true}
)

// fault is an error that says whether it will heal.
type fault struct {
	text string
	ever bool
}

func (f *fault) Error() string { return f.text }

// Permanent says that trying again does not help.
func (f *fault) Permanent() bool { return f.ever }

// Store keeps values by name. A name has 64 characters of 0-9 and a-f. It is safe for concurrent use.
type Store interface {
	// Put stores a value, durably when it returns. The same name always comes with the same value.
	Put(ctx context.Context, name string, value []byte, contentType string) error
	// Get opens a value. The error is ErrNotFound or ErrUnavailable.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
}

// Ref is what travels in the place of a value.
type Ref struct {
	Ref    string `json:"ref"`    // claim:sha256-<hex>
	SHA256 string `json:"sha256"` // of the value, in hexadecimal
	Size   int64  `json:"size"`   // bytes
	Type   string `json:"type"`   // content type
}

const (
	prefix = "claim:sha256-"

	// DefaultInline is the size in bytes above which Shrink puts fields away.
	DefaultInline = 128 << 10
	// DefaultMax is the largest value that is stored or read, in bytes.
	DefaultMax = 64 << 20
	// MaxRefs bounds the references of one value that Expand follows.
	MaxRefs = 100

	jsonType = "application/json"
	maxType  = 128
	maxDepth = 64
)

// Claims puts values away and brings them back. The zero value of every field but Store is its default.
type Claims struct {
	Store  Store
	Inline int   // DefaultInline
	Max    int64 // DefaultMax; also of all values that one Expand brings back
}

func (c *Claims) inline() int { return cmp.Or(c.Inline, DefaultInline) }
func (c *Claims) max() int64  { return cmp.Or(c.Max, DefaultMax) }

// Put stores a value of any kind and gives its reference.
func (c *Claims) Put(ctx context.Context, value []byte, contentType string) (Ref, error) {
	if int64(len(value)) > c.max() {
		return Ref{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(value), c.max())
	}
	if contentType == "" || len(contentType) > maxType {
		return Ref{}, fmt.Errorf("%w: the content type has %d bytes, want 1 to %d", ErrMalformed, len(contentType), maxType)
	}
	sum := sha256.Sum256(value)
	name := hex.EncodeToString(sum[:])
	if err := c.Store.Put(ctx, name, value, contentType); err != nil {
		return Ref{}, fmt.Errorf("put claim: %w", err)
	}
	return Ref{prefix + name, name, int64(len(value)), contentType}, nil
}

// Get reads the value of a reference.
func (c *Claims) Get(ctx context.Context, r Ref) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.Size > c.max() {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, r.Size, c.max())
	}
	body, err := c.Store.Get(ctx, r.SHA256)
	if err != nil {
		return nil, fmt.Errorf("get claim %.12s: %w", r.SHA256, err)
	}
	defer body.Close()
	var value bytes.Buffer
	n, err := io.Copy(&value, io.LimitReader(body, r.Size+1)) // it grows with what is there, not with what is claimed
	if err != nil {
		return nil, fmt.Errorf("get claim %.12s: %w: %w", r.SHA256, ErrUnavailable, err)
	}
	sum := sha256.Sum256(value.Bytes())
	if n != r.Size || hex.EncodeToString(sum[:]) != r.SHA256 {
		return nil, fmt.Errorf("%w: what the store has under %.12s is not what was put there", ErrMalformed, r.SHA256)
	}
	return value.Bytes(), nil
}

// check says whether a reference is one of ours.
func (r Ref) check() error {
	if r.Ref != prefix+r.SHA256 || !validName(r.SHA256) || r.Size < 0 || r.Type == "" || len(r.Type) > maxType {
		return fmt.Errorf("%w: %.80q is no reference", ErrMalformed, r.Ref)
	}
	return nil
}

func validName(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Shrink puts the largest fields of a JSON object away until it has at most Inline bytes. An object that
// is small enough comes back as it is; one that stays too large, because it has very many fields, is
// ErrTooLarge.
func (c *Claims) Shrink(ctx context.Context, value []byte) ([]byte, error) {
	if len(value) <= c.inline() {
		return value, nil
	}
	if int64(len(value)) > c.max() {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(value), c.max())
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("%w: only an object can be shrunk", ErrMalformed)
	}
	names := make([]string, 0, len(fields))
	size := 2
	for name, field := range fields {
		names = append(names, name)
		size += len(name) + len(field) + 4
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(fields[b]), len(fields[a])), cmp.Compare(a, b))
	})
	for _, name := range names {
		if size <= c.inline() {
			break
		}
		before := len(fields[name])
		if before < 512 {
			break // a reference is hardly smaller
		}
		r, err := c.Put(ctx, fields[name], jsonType)
		if err != nil {
			return nil, err
		}
		if fields[name], err = json.Marshal(r); err != nil {
			return nil, err
		}
		size += len(fields[name]) - before
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if len(out) > c.inline() {
		return nil, fmt.Errorf("%w: %d bytes are left after the large fields were put away, at most %d", ErrTooLarge, len(out), c.inline())
	}
	return out, nil
}

// Expand brings every reference in a JSON value back, as deep as it lies. A value without references comes
// back as it is. What is brought back is not looked at again.
func (c *Claims) Expand(ctx context.Context, value []byte) ([]byte, error) {
	if !bytes.Contains(value, []byte(prefix)) {
		return value, nil
	}
	x := expansion{c: c, ctx: ctx, left: c.max()}
	return x.value(value, 0)
}

type expansion struct {
	c    *Claims
	ctx  context.Context
	left int64 // bytes that may still be brought back
	refs int
}

func (x *expansion) value(raw []byte, depth int) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	if depth > maxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d levels", ErrMalformed, maxDepth)
	}
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' || !bytes.Contains(raw, []byte(prefix)) {
		return raw, nil
	}
	if raw[0] == '[' {
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		for i := range items {
			var err error
			if items[i], err = x.value(items[i], depth+1); err != nil {
				return nil, err
			}
		}
		return json.Marshal(items)
	}
	if r, ok := refOf(raw); ok {
		return x.ref(r)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for name, field := range fields {
		got, err := x.value(field, depth+1)
		if err != nil {
			return nil, err
		}
		fields[name] = got
	}
	return json.Marshal(fields)
}

func (x *expansion) ref(r Ref) ([]byte, error) {
	if r.Type != jsonType { // the reader asks for it with Get
		return json.Marshal(r)
	}
	if x.refs++; x.refs > MaxRefs {
		return nil, fmt.Errorf("%w: more than %d references", ErrTooLarge, MaxRefs)
	}
	if x.left -= r.Size; x.left < 0 {
		return nil, fmt.Errorf("%w: the references together have more than %d bytes", ErrTooLarge, x.c.max())
	}
	value, err := x.c.Get(x.ctx, r)
	if err != nil {
		return nil, err
	}
	if !json.Valid(value) {
		return nil, fmt.Errorf("%w: the value of %.12s is not JSON", ErrMalformed, r.SHA256)
	}
	return value, nil
}

// refOf recognises a reference: an object with the four fields and no other, whose ref begins as ours do.
func refOf(raw []byte) (Ref, bool) {
	if len(raw) > 1024 {
		return Ref{}, false
	}
	var r Ref
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if dec.Decode(&r) != nil || !strings.HasPrefix(r.Ref, prefix) || r.check() != nil {
		return Ref{}, false
	}
	return r, true
}
