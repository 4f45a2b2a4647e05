package participant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/amendsio/amends/protocol"
)

// Handlers are the commands of a participant. Make them with NewHandlers, or use a Participant,
// which is one. Register everything before the first command.
type Handlers struct {
	byName  map[name]*handler
	faults  []error
	log     *slog.Logger
	timeout time.Duration
	claims  Claims // nil = none
}

type name struct {
	op      protocol.Op
	command string
}

type handler struct {
	external bool
	window   time.Duration // of an external call; 0 = for ever
	do       func(ctx context.Context, tx Tx, payload []byte) ([]byte, error)
	undo     func(ctx context.Context, tx Tx, payload []byte, fwd Forward) error
	inquire  func(ctx context.Context, tx Tx, fwd Forward) ([]byte, error)
}

// DefaultHandlerTimeout is how long a handler may run when nothing else is said.
const DefaultHandlerTimeout = 30 * time.Second

// NewHandlers returns an empty set. A nil logger is silent; a timeout of 0 is the default.
func NewHandlers(log *slog.Logger, timeout time.Duration) *Handlers {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if timeout <= 0 {
		timeout = DefaultHandlerTimeout
	}
	return &Handlers{byName: map[name]*handler{}, log: log, timeout: timeout}
}

// Registrar is what Do, Undo and Inquire register with: a Participant, a durable one, or Handlers.
type Registrar interface {
	register(op protocol.Op, command string, h *handler)
}

func (h *Handlers) register(op protocol.Op, command string, one *handler) {
	n := name{op, command}
	switch {
	case command == "" || len(command) > protocol.MaxName:
		h.faults = append(h.faults, fmt.Errorf("handler %s %q: the name is empty or too long", op, command))
	case h.byName[n] != nil:
		h.faults = append(h.faults, fmt.Errorf("handler %s %s: registered twice", op, command))
	case one.do == nil && one.undo == nil && one.inquire == nil:
		h.faults = append(h.faults, fmt.Errorf("handler %s %s: the function is nil", op, command))
	}
	h.byName[n] = one
}

// Check reports every fault of the registrations.
func (h *Handlers) Check() error {
	faults := h.faults
	if len(h.byName) == 0 {
		faults = append(faults, errors.New("no handler is registered"))
	}
	return errors.Join(faults...)
}

// Option changes how one handler is run.
type Option func(*handler)

// External marks a do handler that calls another service, such as a payment provider. It runs
// between two local transactions: the first commits a row "started", the second the answer and what
// the handler wrote. The call must carry tx.Key() as its idempotency key; window says how long the
// other service remembers that key (0 = for ever). After a crash a redelivered command repeats the
// call within the window; later it is answered failed-fatal, and an Inquire handler has to find out.
func External(window time.Duration) Option {
	return func(h *handler) { h.external, h.window = true, window }
}

// Do registers a handler for the do of a command. In is read from the payload's JSON, Out must give
// a JSON object.
func Do[In, Out any](r Registrar, command string, fn func(ctx context.Context, tx Tx, in In) (Out, error), opts ...Option) {
	h := &handler{}
	if fn != nil {
		h.do = func(ctx context.Context, tx Tx, payload []byte) ([]byte, error) {
			var in In
			if err := decodePayload(payload, &in); err != nil {
				return nil, err
			}
			out, err := fn(ctx, tx, in)
			if err != nil {
				return nil, err
			}
			return encodeOutput(out)
		}
	}
	for _, opt := range opts {
		opt(h)
	}
	r.register(protocol.OpDo, command, h)
}

// Undo registers a handler for the undo of a command. It is called only when the do took effect or
// may have taken effect (fwd.Known says which). It must succeed in the end; until then it returns an
// error and is called again. ErrNoop says that there was nothing to undo.
func Undo[In any](r Registrar, command string, fn func(ctx context.Context, tx Tx, in In, fwd Forward) error) {
	h := &handler{}
	if fn != nil {
		h.undo = func(ctx context.Context, tx Tx, payload []byte, fwd Forward) error {
			var in In
			if err := decodePayload(payload, &in); err != nil {
				return err
			}
			return fn(ctx, tx, in, fwd)
		}
	}
	r.register(protocol.OpUndo, command, h)
}

// Inquire registers a handler that finds out what became of a do. It is called only when the inbox
// does not know: the do was started and never ended, or failed with an unknown effect. A nil error
// says that the do took effect and Out is its output; else ErrNotExecuted, ErrRunning, or an error
// to be asked again. Without a handler such a do stays undecided.
func Inquire[Out any](r Registrar, command string, fn func(ctx context.Context, tx Tx, fwd Forward) (Out, error)) {
	h := &handler{}
	if fn != nil {
		h.inquire = func(ctx context.Context, tx Tx, fwd Forward) ([]byte, error) {
			out, err := fn(ctx, tx, fwd)
			if err != nil {
				return nil, err
			}
			return encodeOutput(out)
		}
	}
	r.register(protocol.OpInquire, command, h)
}

// errBadPayload and errBadOutput are answered failed-fatal.
var (
	errBadPayload = errors.New("the payload does not fit the handler's input")
	errBadOutput  = errors.New("the handler's output is not a JSON object of at most 900 KiB")
)

func decodePayload(payload []byte, in any) error {
	if len(bytes.TrimSpace(payload)) == 0 {
		payload = []byte("{}")
	}
	if err := json.Unmarshal(payload, in); err != nil {
		return errBadPayload
	}
	return nil
}

func encodeOutput(out any) ([]byte, error) {
	b, err := json.Marshal(out)
	if err != nil || len(b) == 0 || b[0] != '{' {
		return nil, errBadOutput
	}
	return b, nil
}
