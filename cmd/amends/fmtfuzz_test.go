package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
)

// goodFiles are definitions without findings.
func goodFiles(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"sagas/testdata/good/*.yaml", "sagas/testdata/checks/*/good.yaml", "examples/*/saga.yaml"} {
		files, _ := filepath.Glob("../../" + pattern)
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[file] = src
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d files", len(all))
	}
	return all
}

// TestFormatDigest formats definitions whose keys are shuffled and whose layout is another: the
// digest stays. The canonical form, which is JSON, becomes YAML behind a comment.
func TestFormatDigest(t *testing.T) {
	for file, src := range goodFiles(t) {
		defs, err := sagas.ParseDefinitions(file, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range defs {
			sameDigest(t, d, append([]byte("# as JSON has it\n"), d.Canonical()...))
			rapid.Check(t, func(t *rapid.T) {
				var doc yaml.Node
				if err := yaml.Unmarshal(d.Canonical(), &doc); err != nil {
					t.Fatal(err)
				}
				shuffle(t, &doc)
				out, err := yaml.Marshal(&doc)
				if err != nil {
					t.Fatal(err)
				}
				sameDigest(t, d, out)
			})
		}
	}
}

func shuffle(t *rapid.T, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := len(n.Content)/2 - 1; i > 0; i-- {
			j := rapid.IntRange(0, i).Draw(t, "swap")
			for k := range 2 {
				n.Content[2*i+k], n.Content[2*j+k] = n.Content[2*j+k], n.Content[2*i+k]
			}
		}
	}
	n.Style = rapid.SampledFrom([]yaml.Style{n.Style, n.Style &^ yaml.FlowStyle, n.Style | yaml.FlowStyle}).Draw(t, "style")
	for _, c := range n.Content {
		shuffle(t, c)
	}
}

func sameDigest(t interface {
	Helper()
	Fatalf(string, ...any)
}, d *sagas.Definition, src []byte) {
	t.Helper()
	out, err := formatDefinitions("f", src)
	if err != nil {
		t.Fatalf("%s: %v\n%s", d.Ref(), err, src)
	}
	got, err := sagas.ParseDefinition("f", out)
	if err != nil || got.Digest() != d.Digest() {
		t.Fatalf("%s: %v, digest %s\n%s", d.Ref(), err, got.Digest(), out)
	}
}

// FuzzFormat formats any text: there is an error, or a layout that stays as it is.
func FuzzFormat(f *testing.F) {
	for _, src := range goodFiles(f) {
		f.Add(src)
	}
	f.Add([]byte(crooked))
	f.Add([]byte("a: |+\n  x\n\n\nb: 'c''d' # e\n"))
	f.Add([]byte("- - a: \"\\u2028\" # x\n    b: >2-\n\n      y\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := formatDefinitions("f", src)
		if err != nil {
			return
		}
		again, err := formatDefinitions("f", out)
		if err != nil || !bytes.Equal(out, again) {
			t.Errorf("not idempotent: %v\n%q\n%q\n%q", err, src, out, again)
		}
	})
}
