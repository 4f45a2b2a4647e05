package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
)

// letter is a dead letter as the list shows it. What else the API says of it goes through as it is.
type letter struct {
	Offset     int64           `json:"offset"`
	At         sagas.Time      `json:"at"`
	State      string          `json:"state"`
	Class      string          `json:"class"`
	Stage      string          `json:"stage"`
	Message    string          `json:"message"`
	WorkflowID string          `json:"workflowId,omitempty"`
	From       place           `json:"from"`
	Node       string          `json:"node,omitempty"`
	Binding    string          `json:"binding,omitempty"`
	Key        string          `json:"key,omitempty"`
	Headers    json.RawMessage `json:"headers,omitempty"`
	Kind       string          `json:"kind,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"`
	Bytes      string          `json:"bytes,omitempty"`
	Size       int             `json:"size"`
	Handled    json.RawMessage `json:"handled,omitempty"`
}

func (l letter) name() string { return strconv.FormatInt(l.Offset, 10) }

var letterColumns = []column[letter]{
	{head: "LETTER", text: letter.name},
	{head: "AT", text: func(l letter) string { return timeText(l.At) }},
	{head: "STATE", text: func(l letter) string { return l.State }},
	{head: "CLASS", text: func(l letter) string { return l.Class }},
	{head: "WORKFLOW ID", text: func(l letter) string { return orNone(l.WorkflowID) }},
	{head: "MESSAGE", text: func(l letter) string { return l.Message }},
	{head: "FROM", wide: true, text: func(l letter) string { return l.From.String() }},
	{head: "BINDING", wide: true, text: func(l letter) string { return orNone(l.Binding) }},
	{head: "KIND", wide: true, text: func(l letter) string { return l.Kind }},
	{head: "BYTES", wide: true, text: func(l letter) string { return strconv.Itoa(l.Size) }},
}

func newLetterListCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the records that were set aside, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := apiOf(cmd)
			if err != nil {
				return err
			}
			state, _ := cmd.Flags().GetString("state")
			limit, _ := cmd.Flags().GetInt("limit")
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if state != "all" {
				q.Set("state", state)
			}
			if binding, _ := cmd.Flags().GetString("binding"); binding != "" {
				q.Set("binding", binding)
			}
			var page struct {
				Letters []letter `json:"letters"`
				Next    int64    `json:"next"`
				Partial bool     `json:"partial"`
				Unread  []string `json:"unread"`
			}
			if err := api.get(cmd.Context(), "/api/v1/dlq", q, &page); err != nil {
				return err
			}
			if page.Next != 0 {
				fmt.Fprintln(t.err, "amends: there are older ones; raise --limit")
			}
			if page.Partial {
				fmt.Fprintln(t.err, "amends: not all dead letters could be read"+unreadText(page.Unread))
			}
			return printList(cmd, t, page.Letters, letter.name, letterColumns)
		},
	}
	cmd.Flags().String("state", "open", "open, replayed, dropped or all")
	cmd.Flags().String("binding", "", "only what this binding set aside, TYPE/NAME")
	cmd.Flags().Int("limit", 100, "most to show, at most 1000")
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

// onLetter makes a command about one dead letter, its argument.
func onLetter(cmd *cobra.Command, run func(cmd *cobra.Command, api *apiClient, path string) error) *cobra.Command {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if n, err := strconv.ParseInt(args[0], 10, 64); err != nil || n < 0 {
			return usage("%q is not a dead letter: want its number in amends dlq list", args[0])
		}
		api, err := apiOf(cmd)
		if err != nil {
			return err
		}
		return run(cmd, api, "/api/v1/dlq/"+args[0])
	}
	serverFlags(cmd)
	return cmd
}

func newLetterGetCommand(t *terminal) *cobra.Command {
	cmd := onLetter(&cobra.Command{Use: "get LETTER", Short: "Show one dead letter: the record as it came, and why it was set aside"},
		func(cmd *cobra.Command, api *apiClient, path string) error {
			var l letter
			if err := api.get(cmd.Context(), path, nil, &l); err != nil {
				return err
			}
			return printAs(cmd, t, l, l.name(), func(w io.Writer) {
				printTable(w, []letter{l}, letterColumns, true)
				if len(l.Value) > 0 {
					fmt.Fprintf(w, "\n%s\n", l.Value)
				}
			})
		})
	outputFlag(cmd)
	return cmd
}

func newLetterReplayCommand(t *terminal) *cobra.Command {
	cmd := onLetter(&cobra.Command{
		Use:   "replay LETTER --reason TEXT",
		Short: "Write a dead letter to its topic again, edited if need be",
		Long: `Write a dead letter to its topic again, with --file another value. It is checked as its topic would check
it before it is written. With --dry-run nothing is written.`,
		Example: "  amends dlq get 17 -o json | jq .value > fixed.json && $EDITOR fixed.json\n  amends dlq replay 17 -f fixed.json --reason \"amount was missing\"",
	}, func(cmd *cobra.Command, api *apiClient, path string) error {
		body := map[string]any{}
		if file, _ := cmd.Flags().GetString("file"); file != "" {
			src, err := readFile(file)
			if err != nil {
				return withCode(exitUsage, "%w", err)
			}
			if !json.Valid(src) {
				return usage("%s is not JSON", file)
			}
			body["value"] = json.RawMessage(src)
		}
		if again, _ := cmd.Flags().GetBool("again"); again {
			body["again"] = true
		}
		return changeLetter(cmd, t, api, path+"/replay", body)
	})
	cmd.Flags().StringP("file", "f", "", "another value, JSON; - is standard input")
	cmd.Flags().Bool("again", false, "also when it was replayed or dropped before")
	letterFlags(cmd, true)
	return cmd
}

func newLetterDropCommand(t *terminal) *cobra.Command {
	cmd := onLetter(&cobra.Command{
		Use:   "drop LETTER --reason TEXT",
		Short: "Note that a dead letter needs nothing more",
		Long:  "Note that a dead letter needs nothing more. The record stays in its topic until its retention ends.",
	}, func(cmd *cobra.Command, api *apiClient, path string) error {
		return changeLetter(cmd, t, api, path+"/drop", map[string]any{})
	})
	letterFlags(cmd, false)
	return cmd
}

func letterFlags(cmd *cobra.Command, dry bool) {
	cmd.Flags().String("reason", "", "why; kept with it (required)")
	cmd.Flags().String("operator", "", "who acts (default: the name of the user)")
	if dry {
		cmd.Flags().Bool("dry-run", false, "show what would be written and stop")
	}
}

func changeLetter(cmd *cobra.Command, t *terminal, api *apiClient, path string, body map[string]any) error {
	reason, err := reasonOf(cmd)
	if err != nil {
		return err
	}
	reasoned(cmd, api, reason, body)
	q := url.Values{}
	if cmd.Flags().Lookup("dry-run") != nil {
		if dry, _ := cmd.Flags().GetBool("dry-run"); dry {
			q.Set("dryRun", "true")
		}
	}
	var answer json.RawMessage
	if err := api.post(cmd.Context(), path, q, body, &answer); err != nil {
		return err
	}
	return encode(t.out, "json", answer)
}
