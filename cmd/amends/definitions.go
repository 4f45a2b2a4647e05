package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/amendsio/amends/orchestrator"
	"github.com/amendsio/amends/sagas"
)

// maxDefinitionFile bounds what is read of one file: definitions are far smaller.
const maxDefinitionFile = 4 << 20

// readDefinitions parses files ("-" is standard input) and reports the findings of all together.
func readDefinitions(paths []string) ([]*sagas.Definition, error) {
	var all []*sagas.Definition
	var found sagas.Findings
	for _, path := range paths {
		path = definitionPath(path)
		src, err := readFile(path)
		if err != nil {
			return nil, withCode(exitUsage, "%w", err)
		}
		defs, err := sagas.ParseDefinitions(path, src)
		var more sagas.Findings
		switch {
		case errors.As(err, &more):
			found = append(found, more...)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, defs...)
	}
	if len(found) > 0 {
		return nil, found
	}
	return all, nil
}

// readFile reads a file, "-" is standard input, and a directory stands for the saga.yaml in it.
func readFile(path string) ([]byte, error) {
	in := os.Stdin
	if path = definitionPath(path); path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	src, err := io.ReadAll(io.LimitReader(in, maxDefinitionFile+1))
	if err == nil && len(src) > maxDefinitionFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxDefinitionFile)
	}
	return src, err
}

// checkAll compiles every definition and reports the findings of all together.
func checkAll(defs []*sagas.Definition) error {
	_, err := orchestrator.Check(defs)
	return err
}

// definitionPath is the file that a path stands for.
func definitionPath(path string) string {
	if isDir(path) {
		return filepath.Join(path, "saga.yaml")
	}
	return path
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
