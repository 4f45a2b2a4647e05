package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// watcher follows one instance to its end.
type watcher struct {
	t       *terminal
	api     *apiClient
	id      string
	quiet   bool // no tree, only the outcome
	timeout time.Duration

	printed map[string]bool // lines on a plain output, by their keys
	known   trail
	drawn   int // lines on a terminal
}

// watchFlags are those of commands that can follow an instance to its end.
func watchFlags(cmd *cobra.Command, wait bool) {
	f := cmd.Flags()
	f.Bool("watch", false, "show the steps until the instance has ended; the exit code says how")
	if wait {
		f.Bool("wait", false, "wait until the instance has ended; the exit code says how")
	}
	f.Duration("timeout", 0, "of the waiting (default: none)")
}

// follows says whether the command was asked to wait for the end.
func follows(cmd *cobra.Command) bool {
	watching, _ := cmd.Flags().GetBool("watch")
	waiting := false
	if cmd.Flags().Lookup("wait") != nil {
		waiting, _ = cmd.Flags().GetBool("wait")
	}
	return watching || waiting
}

func newWatcher(cmd *cobra.Command, t *terminal, conn *connection, id string) *watcher {
	watching, timeout := true, time.Duration(0)
	if cmd.Flags().Lookup("watch") != nil {
		watching, _ = cmd.Flags().GetBool("watch")
	}
	timeout, _ = cmd.Flags().GetDuration("timeout")
	return &watcher{t: t, api: conn.api(), id: id, quiet: !watching, timeout: timeout}
}

func newWatchCommand(t *terminal) *cobra.Command {
	cmd := onInstance(&cobra.Command{
		Use:   "watch TYPE/ID",
		Short: "Show the steps of an instance until it has ended; the exit code says how",
		Args:  cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		return newWatcher(cmd, t, conn, id).run(cmd.Context())
	})
	cmd.Flags().Duration("timeout", 0, "of the waiting (default: none)")
	serverFlags(cmd)
	return cmd
}

// pollEvery is how often a watch asks.
const pollEvery = 100 * time.Millisecond

// run returns nil when the instance completed, else an error with the exit code of the outcome.
func (w *watcher) run(ctx context.Context) error {
	began := time.Now()
	w.printed = map[string]bool{}
	seen := false
	for {
		v, err := w.api.instance(ctx, w.id)
		switch {
		case errors.Is(err, orchestrator.ErrNotFound) && !seen:
			if time.Since(began) > appearTimeout {
				return withCode(exitTimeout, "%s did not start within %s. Its record may be among the dead letters, or no process runs this namespace", w.id, appearTimeout)
			}
		case err != nil:
			return err
		default:
			if !seen && !w.quiet {
				fmt.Fprintf(w.t.out, "%s  %s\n", headline(v), w.api.base+pagePath(v.WorkflowID))
			}
			seen = true
			if !w.quiet {
				w.draw(ctx, v)
			}
			if done, err := w.outcome(v); done {
				return err
			}
		}
		if w.timeout > 0 && time.Since(began) > w.timeout {
			return withCode(exitTimeout, "%s has not ended within %s", w.id, w.timeout)
		}
		if !pause(ctx, pollEvery) {
			return ctx.Err()
		}
	}
}

// pagePath is where the page of an instance is, below the address of any process.
func pagePath(id string) string {
	typ, rest := sagas.SplitWorkflowID(id)
	return "/instances/" + url.PathEscape(typ) + "/" + api.EscapeID(rest)
}

// outcome says whether there is something to report, and with which exit code.
func (w *watcher) outcome(v sagas.View) (bool, error) {
	code := exitOK
	switch {
	case v.Phase == "completed":
	case v.Phase == "compensated":
		code = exitCompensated
	case v.Phase == "closed", v.Status == orchestrator.StatusAttention:
		code = exitAttention
	case v.Phase == "void", v.Phase == "marker":
		code = exitConflict
	default:
		return false, nil
	}
	fmt.Fprintln(w.t.out, summary(v))
	if code == exitOK {
		return true, nil
	}
	return true, &codedError{code: code}
}

// draw shows the steps: redrawn in place on a terminal, else each line once it is final.
func (w *watcher) draw(ctx context.Context, v sagas.View) {
	lines := stepLines(v, &w.known)
	// The logs are asked when there is something to say of them.
	if slices.ContainsFunc(lines, func(l line) bool { return l.final && !w.printed[l.key] }) {
		w.known.look(ctx, w.api, v)
		lines = stepLines(v, &w.known)
	}
	if w.t.tty {
		if w.drawn > 0 {
			fmt.Fprintf(w.t.out, "\x1b[%dA", w.drawn)
		}
		for _, l := range lines {
			fmt.Fprintf(w.t.out, "\x1b[2K%s\n", l.coloured())
		}
		for range w.drawn - len(lines) {
			fmt.Fprint(w.t.out, "\x1b[2K\n")
		}
		w.drawn = max(w.drawn, len(lines))
		for _, l := range lines {
			w.printed[l.key] = w.printed[l.key] || l.final
		}
		return
	}
	for _, l := range lines {
		if l.final && !w.printed[l.key] {
			w.printed[l.key] = true
			fmt.Fprintln(w.t.out, l.text)
		}
	}
}
