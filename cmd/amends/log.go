package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// logFlags are those of commands that write a log.
func logFlags(cmd *cobra.Command) {
	cmd.Flags().String("log-level", "info", "debug, info, warn or error")
	cmd.Flags().String("log-format", "auto", "json, text, or auto: text on a terminal, else json")
}

// newLog makes the log of a process. Errors are of the configuration.
func newLog(s settings, t *terminal) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.text("log-level"))); err != nil {
		return nil, fmt.Errorf("log-level: %q is not debug, info, warn or error", s.text("log-level"))
	}
	o := &slog.HandlerOptions{Level: level}
	switch format := s.text("log-format"); {
	case format == "text", format == "auto" && onTerminal(t.err):
		return slog.New(textLog(t.err, o)), nil
	case format == "json", format == "auto":
		return slog.New(slog.NewJSONHandler(t.err, o)), nil
	default:
		return nil, fmt.Errorf("log-format: %q is not json, text or auto", format)
	}
}

// onTerminal says whether a person reads what is written to w.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTerminal(f)
}

// textLog is a log for people: the time of day, the level, the text, then what belongs to it.
func textLog(w io.Writer, o *slog.HandlerOptions) slog.Handler {
	short := *o
	short.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
		}
		return a
	}
	return slog.NewTextHandler(w, &short)
}
