package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/sagas"
)

//go:embed scaffold
var scaffold embed.FS

func newNewCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use:   "new NAME",
		Short: "Write a new saga to begin with: definition, script, story",
		Long: `Write a new saga into a directory of its name: saga.yaml, a script that amends test runs, and a story that
amends example run plays with simulated participants. What is there is never overwritten.`,
		Example: "  amends new refund && amends check refund && amends test refund",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return writeScaffold(t, args[0])
		},
	}
}

func writeScaffold(t *terminal, dir string) error {
	name := filepath.Base(filepath.Clean(dir))
	files := map[string][]byte{}
	var order []string
	entries, err := scaffold.ReadDir("scaffold")
	if err != nil {
		return err
	}
	for _, e := range entries {
		src, err := scaffold.ReadFile("scaffold/" + e.Name())
		if err != nil {
			return err
		}
		text, err := template.New(e.Name()).Parse(string(src))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := text.Execute(&out, map[string]string{"Name": name}); err != nil {
			return err
		}
		files[e.Name()] = out.Bytes()
		order = append(order, e.Name())
	}
	// A name that no saga can have shows in the definition: nothing is written then.
	if def, err := sagas.ParseDefinition("saga.yaml", files["saga.yaml"]); err != nil {
		return err
	} else if err := checkAll([]*sagas.Definition{def}); err != nil {
		return err
	}
	for _, file := range order {
		path := filepath.Join(dir, file)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return withCode(exitConflict, "%s is there already", path)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range order {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, files[file], 0o644); err != nil {
			return err
		}
		t.say("%s", path)
	}
	fmt.Fprintf(t.err, "Next: amends check %s && amends test %s\n", strings.TrimSuffix(dir, "/"), strings.TrimSuffix(dir, "/"))
	return nil
}
