package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const envPrefix = "AMENDS_"

// settings are the values of one command: flag > environment > file > default. A key is the name of
// a flag everywhere.
type settings struct{ k *koanf.Koanf }

// readSettings merges the sources. Keys that no flag of any command has are refused.
func readSettings(cmd *cobra.Command, path string) (settings, error) {
	known := knownKeys(cmd.Root())
	k := koanf.New("\x00") // keys are flat: no delimiter ever matches
	if path != "" {
		mine := map[string]bool{}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { mine[f.Name] = true })
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return settings{}, fmt.Errorf("%s: %w", path, err)
		}
		for _, key := range k.Keys() {
			if !mine[key] || key == "config" {
				return settings{}, unknownKey(path+": "+key, key, mine)
			}
		}
	}
	var strange error
	err := k.Load(env.Provider("", env.Opt{Prefix: envPrefix, TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
		switch {
		case isServiceLink(name):
			return "", nil
		case !known[key]:
			strange = unknownKey(name, key, known)
			return "", nil
		case cmd.Flags().Lookup(key) == nil:
			return "", nil
		}
		if cmd.Flags().Lookup(key).Value.Type() == "stringSlice" {
			return key, strings.Split(value, ",")
		}
		return key, value
	}}), nil)
	if err == nil {
		err = strange
	}
	if err == nil {
		err = k.Load(posflag.Provider(cmd.Flags(), "", k), nil)
	}
	return settings{k}, err
}

func (s settings) text(key string) string { return s.k.String(key) }
func (s settings) number(key string) int  { return s.k.Int(key) }
func (s settings) yes(key string) bool    { return s.k.Bool(key) }

func (s settings) list(key string) []string {
	if one, ok := s.k.Get(key).(string); ok {
		return strings.Split(one, ",")
	}
	return s.k.Strings(key)
}

// knownKeys are the flags of all commands: one environment serves them all.
func knownKeys(root *cobra.Command) map[string]bool {
	known := map[string]bool{}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
	return known
}

// isServiceLink recognises what Kubernetes puts into the environment when a Service is called
// "amends": AMENDS_PORT, AMENDS_SERVICE_HOST, AMENDS_PORT_8480_TCP_ADDR and so on.
func isServiceLink(name string) bool {
	rest := strings.TrimPrefix(name, envPrefix)
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.Contains(rest, "SERVICE_HOST") ||
		strings.Contains(rest, "SERVICE_PORT") || strings.Contains(rest, "_PORT_") || strings.HasSuffix(rest, "_PORT")
}

func unknownKey(where, key string, known map[string]bool) error {
	if near := nearest(key, known); near != "" {
		return fmt.Errorf("%s: unknown setting. Did you mean %q?", where, near)
	}
	return fmt.Errorf("%s: unknown setting", where)
}

// nearest is the known key with the smallest edit distance, "" when none is close.
func nearest(key string, known map[string]bool) string {
	best, at := "", 1+len(key)/2
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := editDistance(key, k); d < at {
			best, at = k, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
