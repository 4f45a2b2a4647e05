package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/api"
	"github.com/amendsio/amends/sagas"
)

// place is where a record is.
type place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (p place) String() string { return fmt.Sprintf("%s[%d]@%d", p.Topic, p.Partition, p.Offset) }

// fact is one entry of the lifecycle of an instance.
type fact struct {
	WorkflowID string            `json:"workflowId"`
	Seq        uint64            `json:"seq"`
	Rev        uint64            `json:"rev"`
	Run        uint32            `json:"run"`
	At         sagas.Time        `json:"at"`
	Kind       string            `json:"kind"`
	Path       string            `json:"path,omitempty"`
	Phase      string            `json:"phase"`
	Attention  []string          `json:"attention,omitempty"`
	Cause      string            `json:"cause,omitempty"`
	Definition string            `json:"definition,omitempty"`
	Detail     map[string]string `json:"detail,omitempty"`
	Source     *place            `json:"source,omitempty"`
	Place      place             `json:"place"`
}

func instancePath(id string) string {
	typ, rest := sagas.SplitWorkflowID(id)
	return "/api/v1/instances/" + url.PathEscape(typ) + "/" + api.EscapeID(rest)
}

func newHistoryCommand(t *terminal) *cobra.Command {
	cmd := onInstance(&cobra.Command{
		Use:     "history TYPE/ID",
		Short:   "Show what happened to an instance, and the record that caused each step",
		Example: "  amends history card-payment/order-1\n  amends history card-payment/order-1 -o jsonl",
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		var h struct {
			Facts   []fact `json:"facts"`
			Partial bool   `json:"partial"`

			Unread []string `json:"unread"`
		}
		if err := conn.api().get(cmd.Context(), instancePath(id)+"/history", nil, &h); err != nil {
			return err
		}
		switch {
		case len(h.Unread) > 0:
			fmt.Fprintln(t.err, "amends: a part of the log could not be read"+unreadText(h.Unread))
		case h.Partial:
			fmt.Fprintln(t.err, "amends: the beginning is gone by retention, or a part of the log could not be read")
		}
		return printList(cmd, t, h.Facts, func(f fact) string { return strconv.FormatUint(f.Seq, 10) }, factColumns)
	})
	outputFlag(cmd)
	serverFlags(cmd)
	return cmd
}

// unreadText says which partitions could not be read.
func unreadText(unread []string) string {
	switch n := len(unread); {
	case n == 0:
		return "; ask again"
	case n > 3:
		return ": " + strings.Join(unread[:3], "; ") + fmt.Sprintf("; and %d more", n-3)
	}
	return ": " + strings.Join(unread, "; ")
}

var factColumns = []column[fact]{
	{head: "SEQ", text: func(f fact) string { return strconv.FormatUint(f.Seq, 10) }},
	{head: "AT", text: func(f fact) string { return timeText(f.At) }},
	{head: "WHAT", text: func(f fact) string { return f.Kind }},
	{head: "STEP", text: func(f fact) string { return f.Path }},
	{head: "DETAIL", text: func(f fact) string {
		var details []string
		for k, v := range f.Detail {
			details = append(details, k+"="+v)
		}
		slices.Sort(details)
		return strings.TrimSpace(f.Cause + " " + strings.Join(append(details, f.Attention...), " "))
	}},
	{head: "CAUSED BY", text: func(f fact) string {
		if f.Source == nil {
			return "timer"
		}
		return f.Source.String()
	}},
	{head: "RECORD", wide: true, text: func(f fact) string { return f.Place.String() }},
}

func newExportCommand(t *terminal) *cobra.Command {
	cmd := onInstance(&cobra.Command{
		Use:     "export TYPE/ID",
		Short:   "Write everything that is known of an instance as one JSON object: state, history, messages",
		Example: "  amends instance export card-payment/order-1 > order-1.json",
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, conn *connection, id string, _ []string) error {
		out := map[string]json.RawMessage{}
		for name, path := range map[string]string{"instance": "", "history": "/history", "messages": "/messages"} {
			var raw json.RawMessage
			if err := conn.api().get(cmd.Context(), instancePath(id)+path, nil, &raw); err != nil {
				return err
			}
			out[name] = raw
		}
		return encode(t.out, "json", out)
	})
	serverFlags(cmd)
	return cmd
}
