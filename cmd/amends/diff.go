package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
)

func newDiffCommand(t *terminal) *cobra.Command {
	var saga string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say in words what changed between two definitions",
		Long: `Say in words what changed between two definitions: steps, their order, commands, kinds, time limits,
expressions, undos. Layout and defaults make no difference.

Running instances keep the version that they were started with; every change is for instances that
start later. A change marked with ! can cost money or block starts, and says why: look at it before
you publish. With one of them the exit code is 5, otherwise 0.`,
		Example: `  amends diff card-payment-1.yaml card-payment-2.yaml
  git show HEAD:saga.yaml | amends diff - saga.yaml
  amends diff old.yaml new.yaml -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var pair [2]*sagas.Definition
			for i, path := range args {
				defs, err := readDefinitions([]string{path})
				if err != nil {
					return err
				}
				if pair[i], err = pickDefinition(defs, saga); err != nil {
					return err
				}
			}
			d, err := compareDefinitions(pair[0], pair[1])
			if err != nil {
				return err
			}
			if err := printAs(cmd, t, d, d.New.Ref, d.print); err != nil {
				return err
			}
			if d.Dangerous > 0 {
				return &codedError{code: exitFindings}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&saga, "saga", "", "which saga of files of several, as type or type@version")
	outputFlag(cmd)
	return cmd
}

// difference is what changed between two definitions.
type difference struct {
	Old       differenceSide `json:"old"`
	New       differenceSide `json:"new"`
	Same      bool           `json:"same"`
	Dangerous int            `json:"dangerous"` // how many changes are
	Changes   []change       `json:"changes"`
}

type differenceSide struct {
	Ref    string `json:"ref"`
	Digest string `json:"digest"`
	Level  uint32 `json:"level"` // feature level that every process needs
}

// change is one thing that is different.
type change struct {
	What   string `json:"what"`           // added, removed, moved, changed
	Path   string `json:"path,omitempty"` // id of a step, participants/<name>; empty = the definition
	Field  string `json:"field,omitempty"`
	Old    string `json:"old,omitempty"`
	New    string `json:"new,omitempty"`
	Text   string `json:"text"`
	Danger string `json:"danger,omitempty"` // why it is dangerous
	Note   string `json:"note,omitempty"`   // what to know about it
}

func (d *difference) print(w io.Writer) {
	if d.Same {
		fmt.Fprintf(w, "%s: no difference (digest %.12s)\n", d.New.Ref, d.New.Digest)
		return
	}
	fmt.Fprintf(w, "%s → %s\n", d.Old.Ref, d.New.Ref)
	for _, c := range d.Changes {
		mark := " "
		if c.Danger != "" {
			mark = "!"
		}
		fmt.Fprintf(w, "%s %s\n", mark, c.Text)
		for _, s := range []string{c.Danger, c.Note} {
			if s != "" {
				fmt.Fprintf(w, "    %s\n", s)
			}
		}
	}
	if d.Old.Ref != d.New.Ref {
		fmt.Fprintf(w, "Running instances stay on %s; this is for instances that start when %s is active.\n", d.Old.Ref, d.New.Ref)
	}
}

// tree is an object of a canonical form.
type tree = map[string]any

func treeOf(d *sagas.Definition) (tree, error) {
	var t tree
	if err := json.Unmarshal(d.Canonical(), &t); err != nil {
		return nil, fmt.Errorf("canonical form of %s: %w", d.Ref(), err)
	}
	return t, nil
}
