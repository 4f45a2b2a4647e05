package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// profiles are the connections of one person: a YAML file under the configuration directory.
//
//	current: prod
//	profiles:
//	  prod:
//	    brokers: [kafka-1:9093, kafka-2:9093]
//	    namespace: pay
//	    server: https://amends.internal
//	    kafka-config: /home/me/client.properties
type profiles struct {
	path    string
	current string
	nodes   map[string]*yaml.Node
}

// profilePath is the file of the profiles. XDG_CONFIG_HOME is honoured on every system.
func profilePath() (string, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", fmt.Errorf("the configuration directory: %w", err)
		}
	}
	return filepath.Join(dir, "amends", "profiles.yaml"), nil
}

// readProfiles reads the file; there may be none.
func readProfiles() (*profiles, error) {
	path, err := profilePath()
	if err != nil {
		return nil, err
	}
	p := &profiles{path: path, nodes: map[string]*yaml.Node{}}
	src, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return p, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want a map with current: and profiles:", path, root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		switch {
		case key.Value == "current":
			p.current = value.Value
		case key.Value == "profiles" && value.Kind == yaml.MappingNode:
			for k := 0; k+1 < len(value.Content); k += 2 {
				p.nodes[value.Content[k].Value] = value.Content[k+1]
			}
		case key.Value == "profiles":
			return nil, fmt.Errorf("%s:%d: profiles: want a map of names", path, value.Line)
		default:
			return nil, unknownKey(fmt.Sprintf("%s:%d: %s", path, key.Line, key.Value), key.Value, map[string]bool{"current": true, "profiles": true})
		}
	}
	return p, nil
}

func (p *profiles) names() []string { return slices.Sorted(maps.Keys(p.nodes)) }

// readProfile is the profile of that name; without a name the current one, when the caller may take it.
func readProfile(name string, takeCurrent bool) (layer, error) {
	if name == "" && !takeCurrent {
		return layer{}, nil
	}
	p, err := readProfiles()
	if err != nil {
		return layer{}, err
	}
	if name == "" {
		name = p.current
	}
	if name == "" {
		return layer{}, nil
	}
	node, ok := p.nodes[name]
	if !ok {
		return layer{}, fmt.Errorf("there is no profile %q in %s; there are: %s", name, p.path, orNone(strings.Join(p.names(), ", ")))
	}
	l, err := nodeLayer(p.path, node, connectionKeys())
	if err == nil {
		place := l.place
		l.place = func(key string) string { return "profile " + name + " (" + place(key) + ")" }
	}
	return l, err
}
