package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"

	"github.com/amendsio/amends/internal/nearest"
)

const envPrefix = "AMENDS_"

// settings are the values of one command: flag > environment > file or profile > client properties >
// default. A key is the name of a flag everywhere.
type settings struct {
	k    *koanf.Koanf
	from map[string]string // where each value that is no default comes from
	// notes say what a client properties file holds that is of no use here.
	notes []string
}

// readSettings merges the sources. path is the YAML file of a server, "" for none: then a profile may
// stand in its place. Keys that no flag has are refused, with the place and the nearest name.
func readSettings(cmd *cobra.Command, path string) (settings, error) {
	s := settings{k: koanf.New("\x00"), from: map[string]string{}} // keys are flat: no delimiter ever matches
	above, err := environment(cmd)
	if err != nil {
		return s, err
	}
	chosen := func(key string) string { // by flag or environment, before the files are read
		f := cmd.Flags().Lookup(key)
		switch value, ok := above[key].(string); {
		case f == nil:
			return ""
		case f.Changed:
			return f.Value.String()
		case ok:
			return value
		}
		return ""
	}
	var middle layer
	if path != "" {
		if middle, err = readFileLayer(path, flagNames(cmd)); err != nil {
			return s, err
		}
	} else if cmd.Flags().Lookup("profile") != nil {
		if middle, err = readProfile(chosen("profile"), cmd.Annotations[annotationServer] == ""); err != nil {
			return s, err
		}
	}
	properties := chosen("kafka-config")
	if properties == "" {
		properties, _ = middle.values["kafka-config"].(string)
	}
	if properties != "" {
		below, notes, err := readProperties(properties)
		if err != nil {
			return s, err
		}
		s.notes = notes
		s.put(cmd, below)
	}
	s.put(cmd, middle)
	s.put(cmd, layer{values: above, place: func(key string) string { return "env " + envName(key) }})
	cmd.Flags().Visit(func(f *pflag.Flag) { s.replaces(f.Name) })
	if err := s.k.Load(posflag.Provider(cmd.Flags(), "", s.k), nil); err != nil {
		return s, err
	}
	cmd.Flags().Visit(func(f *pflag.Flag) { s.from[f.Name] = "flag --" + f.Name })
	return s, nil
}

// layer is one source: values by key, and the place of each for people.
type layer struct {
	values map[string]any
	place  func(key string) string
}

// put lays a source over what is there. What the command has no flag for is not its business.
func (s *settings) put(cmd *cobra.Command, l layer) {
	for key, value := range l.values {
		if cmd.Flags().Lookup(key) == nil {
			continue
		}
		s.replaces(key)
		_ = s.k.Set(key, value) // a flat key cannot fail
		s.from[key] = l.place(key)
	}
}

// replaces takes out what a lower source said in the other of the two forms of a secret, itself or a file.
func (s *settings) replaces(key string) {
	other := key + "-file"
	if without, ok := strings.CutSuffix(key, "-file"); ok {
		other = without
	}
	if s.from[other] != "" && (secretKeys[key] || secretKeys[other]) {
		s.k.Delete(other)
		delete(s.from, other)
	}
}

// secretKeys are shown by nobody.
var secretKeys = map[string]bool{"sasl-password": true, "api-token": true, "registry-password": true, "alert-webhook": true}

// origin says where the value of a key comes from.
func (s settings) origin(key string) string {
	if from := s.from[key]; from != "" {
		return from
	}
	return "default"
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// environment are the AMENDS_* variables that this command has a flag for.
func environment(cmd *cobra.Command) (map[string]any, error) {
	known := knownKeys(cmd.Root())
	var strange []error
	k := koanf.New("\x00")
	err := k.Load(env.Provider("", env.Opt{Prefix: envPrefix, TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "_", "-")
		f := cmd.Flags().Lookup(key)
		switch {
		case isServiceLink(name):
			return "", nil
		case !known[key]:
			strange = append(strange, unknownKey(name, key, known))
			return "", nil
		case f == nil:
			return "", nil
		case f.Value.Type() == "stringSlice":
			return key, strings.Split(value, ",")
		}
		return key, value
	}}), nil)
	if err == nil {
		slices.SortFunc(strange, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		err = errors.Join(strange...)
	}
	return k.Raw(), err
}

// readFileLayer reads a YAML map of flat keys and refuses those that are not in allowed: all of them at
// once, each with its line.
func readFileLayer(path string, allowed map[string]bool) (layer, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return layer{}, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return layer{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return layer{}, nil // an empty file
	}
	return nodeLayer(path, doc.Content[0], allowed)
}

// nodeLayer is the map of a YAML document as a source.
func nodeLayer(path string, node *yaml.Node, allowed map[string]bool) (layer, error) {
	l := layer{values: map[string]any{}}
	if node.Kind != yaml.MappingNode {
		return l, fmt.Errorf("%s:%d: want a map of settings", path, node.Line)
	}
	lines := map[string]int{}
	l.place = func(key string) string { return fmt.Sprintf("%s:%d", path, lines[key]) }
	var faults []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i].Value, any(nil)
		where := fmt.Sprintf("%s:%d: %s", path, node.Content[i].Line, key)
		switch {
		case !allowed[key]:
			faults = append(faults, unknownKey(where, key, allowed))
			continue
		case lines[key] != 0:
			faults = append(faults, fmt.Errorf("%s: is set in line %d already", where, lines[key]))
			continue
		}
		if err := node.Content[i+1].Decode(&value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", where, err))
			continue
		}
		if _, nested := value.(map[string]any); nested {
			faults = append(faults, fmt.Errorf("%s: want a value, not a map", where))
			continue
		}
		lines[key], l.values[key] = node.Content[i].Line, value
	}
	return l, errors.Join(faults...)
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

// secret is the value of key, or the content of the file that <key>-file names; surrounding white space is no part of a secret.
func (s settings) secret(key string) (string, error) {
	path := s.text(key + "-file")
	if path == "" {
		return s.text(key), nil
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s-file (%s): %w", key, s.origin(key+"-file"), err)
	}
	return strings.TrimSpace(string(src)), nil
}

// flagNames are the keys that a file for this command may hold.
func flagNames(cmd *cobra.Command) map[string]bool {
	mine := map[string]bool{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) { mine[f.Name] = true })
	for _, not := range []string{"config", "profile", "help"} {
		delete(mine, not)
	}
	return mine
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
	if near := nearest.Name(key, slices.Sorted(maps.Keys(known))); near != "" {
		return fmt.Errorf("%s: unknown setting. Did you mean %q?", where, near)
	}
	return fmt.Errorf("%s: unknown setting", where)
}
