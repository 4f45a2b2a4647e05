package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// Exit codes. They are part of the interface: scripts and service managers depend on them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitFindings    = 5
	exitTimeout     = 6  // the wait timed out
	exitUnreachable = 7  // Kafka or the API did not answer
	exitCompensated = 8  // the instance that was waited for was compensated
	exitAttention   = 9  // it failed or needs a person
	exitConfig      = 78 // bad server configuration: a service manager must not restart
	exitInterrupted = 130
)

// terminal is where a command talks: data goes to out, talk to err.
type terminal struct {
	in       io.Reader // nil when nobody is there to be asked
	out, err io.Writer
	tty      bool // out understands ANSI sequences
}

// codedError is an error with its exit code. An empty text prints nothing.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

func withCode(code int, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

func usage(format string, args ...any) error { return withCode(exitUsage, format, args...) }

// exit prints err, if it has something to say, and maps it to an exit code.
func (t *terminal) exit(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if text := err.Error(); text != "" && !errors.Is(err, context.Canceled) {
		var found sagas.Findings
		if errors.As(err, &found) {
			fmt.Fprintln(t.err, text)
		} else {
			fmt.Fprintln(t.err, "amends:", text)
		}
	}
	return code
}

func exitCode(err error) int {
	var coded *codedError
	var found sagas.Findings
	var netErr net.Error
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &found):
		return exitFindings
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, orchestrator.ErrNotFound):
		return exitNotFound
	case errors.Is(err, orchestrator.ErrConflict):
		return exitConflict
	case errors.Is(err, orchestrator.ErrInvalid):
		return exitUsage
	case errors.Is(err, orchestrator.ErrUnreachable), errors.Is(err, orchestrator.ErrMoving),
		errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr):
		return exitUnreachable
	case isUsage(err):
		return exitUsage
	}
	return exitError
}

// isUsage recognises cobra's own complaints, which carry no type.
func isUsage(err error) bool {
	for _, prefix := range []string{"unknown command", "unknown flag", "unknown shorthand flag", "flag needs an argument",
		"invalid argument", "accepts ", "requires at least", "required flag"} {
		if strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

// isTTY says whether f is a terminal that should get colours and redrawing.
func isTTY(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// asked is err for a command whose answer findings are: they are data, not talk, so they go to the output.
func asked(t *terminal, err error) error {
	var found sagas.Findings
	if !errors.As(err, &found) {
		return err
	}
	fmt.Fprintln(t.out, found.Error())
	fmt.Fprintf(t.err, "amends: %s\n", plural(len(found), "finding"))
	return &codedError{code: exitFindings}
}
