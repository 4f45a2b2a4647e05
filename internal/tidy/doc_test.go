package tidy

import "testing"

// TestDoc wants a doc.go with the package comment in every package: what it
// promises, and its invariants. A command's comment stands with its main.
func TestDoc(t *testing.T) {
	documented, seen := make(map[string]bool), make(map[string]bool)
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		seen[f.dir] = true
		if f.base == "doc.go" || f.pkg == "main" {
			if f.parse(t).Doc != nil {
				documented[f.dir] = true
			}
		}
	}
	for dir := range seen {
		if !documented[dir] {
			t.Errorf("%s has no package comment in doc.go: write what the package promises and its invariants", dir)
		}
	}
}
