package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

func newDiffCommand(t *terminal) *cobra.Command {
	var saga string
	var live bool
	cmd := &cobra.Command{
		Use:   "diff OLD NEW | diff --live NEW",
		Short: "Say in words what changed between two definitions",
		Long: `Say in words what changed between two definitions: steps, their order, commands, kinds, time limits,
expressions, undos. Layout and defaults make no difference. With --live the old one is the active version
of the namespace behind --server, and it is said where its running instances stand.

Running instances keep the version that they were started with; every change is for instances that
start later. A change marked with ! can cost money or block starts, and says why: look at it before
you publish. With one of them the exit code is 5, otherwise 0.`,
		Example: `  amends diff card-payment-1.yaml card-payment-2.yaml
  amends diff --live card-payment-2.yaml
  git show HEAD:saga.yaml | amends diff - saga.yaml
  amends diff old.yaml new.yaml -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if live {
				return cobra.ExactArgs(1)(cmd, args)
			}
			return cobra.ExactArgs(2)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var defs []*sagas.Definition
			for _, path := range args {
				all, err := readDefinitions([]string{path})
				if err != nil {
					return err
				}
				def, err := pickDefinition(all, saga)
				if err != nil {
					return err
				}
				defs = append(defs, def)
			}
			var stands *liveStands
			if live {
				api, err := apiOf(cmd)
				if err != nil {
					return err
				}
				old, where, err := liveVersion(cmd.Context(), api, defs[0].Saga)
				if err != nil {
					return err
				}
				defs, stands = []*sagas.Definition{old, defs[0]}, where
			}
			d, err := compareDefinitions(defs[0], defs[1])
			if err != nil {
				return err
			}
			d.Live = stands
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
	cmd.Flags().BoolVar(&live, "live", false, "compare with the active version, and say where its running instances stand")
	serverFlags(cmd)
	outputFlag(cmd)
	return cmd
}

// liveStands is where the running instances of a saga are, of each version that has some. An instance at several
// steps is counted at each.
type liveStands struct {
	Stands  []orchestrator.Stand `json:"stands"`
	AtLeast bool                 `json:"atLeast,omitempty"` // there were too many to look at all
}

// liveVersion asks for the active version of a saga and where instances of all its versions stand.
func liveVersion(ctx context.Context, api *apiClient, saga string) (*sagas.Definition, *liveStands, error) {
	path := "/api/v1/definitions/" + url.PathEscape(saga)
	var active orchestrator.DefinitionSource
	if err := api.get(ctx, path+"/0", nil, &active); err != nil {
		return nil, nil, err
	}
	def, err := sagas.ParseDefinition(fmt.Sprintf("%s@%d", active.Type, active.Version), active.Source)
	if err != nil {
		return nil, nil, fmt.Errorf("the active version cannot be read by this release: %w", err)
	}
	var stands liveStands
	return def, &stands, api.get(ctx, path+"/stands", nil, &stands)
}

func (l *liveStands) print(w io.Writer, saga string) {
	if len(l.Stands) == 0 {
		fmt.Fprintf(w, "No instance of %s runs.\n", saga)
		return
	}
	least := ""
	if l.AtLeast {
		least = "at least "
	}
	for _, s := range l.Stands {
		step := "between steps"
		if s.Step != "" {
			step = "at " + s.Step
		}
		fmt.Fprintf(w, "  %s@%d  %s%d %s\n", saga, s.Version, least, s.N, step)
	}
}

// difference is what changed between two definitions.
type difference struct {
	Old       differenceSide `json:"old"`
	New       differenceSide `json:"new"`
	Same      bool           `json:"same"`
	Dangerous int            `json:"dangerous"` // how many changes are
	Changes   []change       `json:"changes"`
	Live      *liveStands    `json:"live,omitempty"` // with --live
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
		d.where(w)
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
	d.where(w)
}

func (d *difference) where(w io.Writer) {
	if d.Live != nil {
		saga, _, _ := strings.Cut(d.New.Ref, "@")
		d.Live.print(w, saga)
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
