// Package examples holds the example sagas: one directory each, with its definition (saga.yaml), a
// story that plays it with simulated participants (story.yaml, see README.md) and, where there are
// some, test scripts. `amends example list` and `amends example run NAME` show and play them.
package examples

import (
	"embed"
	"fmt"
	"slices"
)

//go:embed */saga.yaml */story.yaml
var files embed.FS

// Names lists the examples, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // an embedded directory is always readable
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// Definition is the source of an example's saga.
func Definition(name string) ([]byte, error) { return read(name, "saga.yaml") }

// Story is the source of an example's story.
func Story(name string) ([]byte, error) { return read(name, "story.yaml") }

func read(name, file string) ([]byte, error) {
	b, err := files.ReadFile(name + "/" + file)
	if err != nil {
		return nil, fmt.Errorf("there is no example %q", name)
	}
	return b, nil
}
