package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

const bindingsPath = "/api/v1/bindings"

func bindingName(b orchestrator.BindingInfo) string { return b.Key }

func bindingState(b orchestrator.BindingInfo) string {
	switch {
	case b.Paused:
		return "paused"
	case b.Problem != "":
		return "problem"
	}
	return "reading"
}

var bindingColumns = []column[orchestrator.BindingInfo]{
	{head: "BINDING", text: bindingName},
	{head: "TOPIC", text: func(b orchestrator.BindingInfo) string { return b.Topic }},
	{head: "ACTION", text: func(b orchestrator.BindingInfo) string { return strings.TrimSpace(b.Action + " " + b.Signal) }},
	{head: "STATE", text: bindingState},
	{head: "LAG", text: func(b orchestrator.BindingInfo) string {
		if b.Lag < 0 {
			return "-"
		}
		return strconv.FormatInt(b.Lag, 10)
	}},
	{head: "WHY", text: func(b orchestrator.BindingInfo) string {
		if b.Paused {
			return orNone(b.By + ": " + b.Reason)
		}
		return orNone(b.Problem)
	}},
	{head: "VERSION", wide: true, text: func(b orchestrator.BindingInfo) string { return strconv.FormatUint(uint64(b.Version), 10) }},
	{head: "FROM", wide: true, text: func(b orchestrator.BindingInfo) string { return b.From }},
	{head: "SINCE", wide: true, text: func(b orchestrator.BindingInfo) string {
		if b.At == 0 {
			return "-"
		}
		return timeText(sagas.Time(b.At))
	}},
	{head: "GROUP", wide: true, text: func(b orchestrator.BindingInfo) string { return b.Group }},
	{head: "WHEN", wide: true, text: func(b orchestrator.BindingInfo) string { return orNone(b.When) }},
}

func newBindingListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the topics that start and signal sagas, with their lag",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			var page struct {
				Bindings []orchestrator.BindingInfo `json:"bindings"`
			}
			if err := api.get(cmd.Context(), bindingsPath, nil, &page); err != nil {
				return err
			}
			return printList(cmd, t, page.Bindings, bindingName, bindingColumns)
		},
	}
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

// bindingPath is where a binding is in the API.
func bindingPath(key string) (string, error) {
	typ, name, ok := strings.Cut(key, "/")
	if !ok || typ == "" || name == "" {
		return "", usage("%q is not a binding: want TYPE/NAME, as in amends binding list", key)
	}
	return bindingsPath + "/" + url.PathEscape(typ) + "/" + url.PathEscape(name), nil
}

// changeBinding asks for one change of the binding that the argument names.
func changeBinding(cmd *cobra.Command, key, verb string, q url.Values, body map[string]any, into any) error {
	path, err := bindingPath(key)
	if err != nil {
		return err
	}
	reason, err := reasonOf(cmd)
	if err != nil {
		return err
	}
	api, err := apiOf(cmd)
	if err != nil {
		return err
	}
	reasoned(cmd, api, reason, body)
	return api.post(cmd.Context(), path+"/"+verb, q, body, into)
}

func newBindingHoldCommand(verb, short, long string) func(*terminal) *cobra.Command {
	return func(t *terminal) *cobra.Command {
		cmd := &cobra.Command{
			Use:   verb + " TYPE/NAME --reason TEXT",
			Short: short,
			Long:  long,
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				var b orchestrator.BindingInfo
				if err := changeBinding(cmd, args[0], verb, nil, map[string]any{}, &b); err != nil {
					return err
				}
				return printList(cmd, t, []orchestrator.BindingInfo{b}, bindingName, bindingColumns)
			},
		}
		letterFlags(cmd, false)
		outputFlag(cmd)
		serverFlags(cmd)
		return cmd
	}
}

func newBindingReplayCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay TYPE/NAME --since DURATION --reason TEXT",
		Short: "Read a part of a topic again for a binding",
		Long: `Read a part of a topic again for a binding, by the times of its records, with the active version. The
position of the binding stays where it is. Events keep their ids: a start that has run is a duplicate, and a signal
that an instance remembers is dropped. What cannot be evaluated is counted and shown. At most 100000 records at a
time. With --dry-run nothing is written.`,
		Example: "  amends binding replay card-payment/shop-orders --since 2h --dry-run --reason \"filter was wrong\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			since, _ := cmd.Flags().GetDuration("since")
			from, _ := cmd.Flags().GetString("from")
			switch {
			case (since > 0) == (from != ""):
				return usage("replay needs either --since or --from")
			case since > 0:
				body["from"] = time.Now().Add(-since).UTC().Format(time.RFC3339Nano)
			default:
				if _, err := time.Parse(time.RFC3339, from); err != nil {
					return usage("--from %q is not a time such as 2026-01-02T15:04:05Z", from)
				}
				body["from"] = from
			}
			if to, _ := cmd.Flags().GetString("to"); to != "" {
				if _, err := time.Parse(time.RFC3339, to); err != nil {
					return usage("--to %q is not a time such as 2026-01-02T15:04:05Z", to)
				}
				body["to"] = to
			}
			q := url.Values{}
			if dry, _ := cmd.Flags().GetBool("dry-run"); dry {
				q.Set("dryRun", "true")
			}
			var r struct {
				Records int      `json:"records"`
				Matched int      `json:"matched"`
				Passed  int      `json:"passed"`
				Dead    int      `json:"dead"`
				Written int      `json:"written"`
				Reasons []string `json:"reasons,omitempty"`
			}
			if err := changeBinding(cmd, args[0], "replay", q, body, &r); err != nil {
				return err
			}
			format, _ := cmd.Flags().GetString("output")
			if format != "" && format != "table" && format != "wide" {
				return encode(t.out, format, r)
			}
			fmt.Fprintf(t.out, "%d records: %d matched, %d passed over, %d cannot be evaluated; %d written\n", r.Records, r.Matched, r.Passed, r.Dead, r.Written)
			for _, reason := range r.Reasons {
				fmt.Fprintf(t.out, "  %s\n", reason)
			}
			return nil
		},
	}
	cmd.Flags().Duration("since", 0, "how far back to begin, such as 2h")
	cmd.Flags().String("from", "", "when to begin, such as 2026-01-02T15:04:05Z")
	cmd.Flags().String("to", "", "when to end (default: now)")
	letterFlags(cmd, true)
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}
