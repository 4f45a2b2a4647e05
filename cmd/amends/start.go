package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/client"
	"github.com/amendsio/amends/orchestrator"
)

func newStartCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start TYPE",
		Short: "Start an instance",
		Long: `Start an instance: write a record to the intake topic, as any producer can.

With --watch or --wait it then asks the API (--server) until the instance has ended, and the exit
code says how: 0 completed, 8 compensated, 9 closed or in need of a person, 6 out of time.`,
		Example: `  amends start card-payment --id order-1 -d amount=1500 --watch
  amends start card-payment --id order-2 -f order-2.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var conn connection
			if err := conn.read(cmd); err != nil {
				return err
			}
			return start(cmd, t, &conn, args[0])
		},
	}
	f := cmd.Flags()
	f.String("id", "", "id of the instance, unique per saga type (default: the one that the definition makes of the input)")
	f.StringArrayP("data", "d", nil, "one field of the input, name=value; a value that is JSON is taken as such, anything else is text")
	f.StringP("file", "f", "", "JSON file with the input; - is standard input; -d adds to it")
	f.Uint32("version", 0, "version of the definition (default: the active one)")
	f.String("start-id", "", "id of this start, so that a repetition is recognised")
	f.Bool("dry-run", false, "show the record that would be written and stop")
	watchFlags(cmd, true)
	kafkaFlags(cmd)
	serverFlags(cmd)
	return cmd
}

func start(cmd *cobra.Command, t *terminal, conn *connection, typ string) error {
	f := cmd.Flags()
	id, _ := f.GetString("id")
	data, _ := f.GetStringArray("data")
	file, _ := f.GetString("file")
	version, _ := f.GetUint32("version")
	startID, _ := f.GetString("start-id")
	dry, _ := f.GetBool("dry-run")
	if typ == "" || strings.Contains(typ, "/") {
		return usage("%q is not a saga type; give the id with --id", typ)
	}
	input, err := inputOf(file, data)
	if err != nil {
		return err
	}
	follow := follows(cmd)
	if follow && id == "" {
		return usage("--watch and --wait need --id")
	}
	workflowID := typ + "/" + id
	w := newWatcher(cmd, t, conn, workflowID)
	begin := client.Start{Type: typ, ID: id, Version: version, StartID: startID, Input: input}
	if dry {
		return encode(t.out, "json", begin)
	}
	if follow {
		// An instance that has ended would be shown as if this start had run it.
		v, err := w.api.instance(cmd.Context(), workflowID)
		switch {
		case err == nil && ended(v.Phase):
			return &orchestrator.Error{Code: orchestrator.CodeConflict, Class: orchestrator.ErrConflict,
				Cause: fmt.Sprintf("%s exists already and is %s", workflowID, v.Phase), Fix: "Choose another --id."}
		case err != nil && !errors.Is(err, orchestrator.ErrNotFound):
			return err
		}
	}
	if err := sendIntake(cmd.Context(), conn, func(ctx context.Context, c *client.Client) error {
		return c.Start(ctx, begin)
	}); err != nil {
		return err
	}
	if !follow {
		if id != "" {
			fmt.Fprintln(t.out, workflowID)
		}
		fmt.Fprintln(t.err, "amends: the start is written to the intake topic")
		return nil
	}
	return w.run(cmd.Context())
}

// inputOf builds the input from a file and single fields.
func inputOf(file string, data []string) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if file != "" {
		src, err := readFile(file)
		if err != nil {
			return nil, withCode(exitUsage, "%w", err)
		}
		if err := json.Unmarshal(src, &fields); err != nil || fields == nil {
			return nil, usage("%s is not a JSON object: %v", file, err)
		}
	}
	for _, d := range data {
		name, value, ok := strings.Cut(d, "=")
		if !ok || name == "" {
			return nil, usage("-d %q is not name=value", d)
		}
		fields[name] = valueOf(value)
	}
	return json.Marshal(fields)
}

// valueOf takes JSON as it is and anything else as text.
func valueOf(s string) json.RawMessage {
	raw := bytes.TrimSpace([]byte(s))
	if len(raw) > 0 && json.Valid(raw) {
		return raw
	}
	text, _ := json.Marshal(s) // a string always has JSON
	return text
}

func ended(phase string) bool {
	switch phase {
	case "completed", "compensated", "closed", "marker", "void":
		return true
	}
	return false
}

// appearTimeout is how long a watch waits for the first sight of its instance.
const appearTimeout = 15 * time.Second
