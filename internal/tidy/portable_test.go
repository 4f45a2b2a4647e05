package tidy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unportable strings make the tree work on one machine or one network only.
// They are put together here so that this file does not contain them.
var unportable = map[string]string{
	"proxy." + "golang.org":  "let the go command choose its proxy (GOPROXY)",
	"sum." + "golang.org":    "let the go command choose its checksum database",
	"repo." + "maven.apache": "let Maven's settings choose the repository",
	"repo1." + "maven.org":   "let Maven's settings choose the repository",
	"registry." + "npmjs":    "let npm's settings choose the registry",
	"pypi" + ".org":          "let pip's settings choose the index",
	"docker" + ".io/":        "name an image without its registry",
	"../" + "shared":         "the repository stands alone: copy what it needs into it",
	"/" + "work/":            "use a path relative to the repository",
}

// TestPortable looks at every text file of the tree that is part of it.
func TestPortable(t *testing.T) {
	walk(t, func(path string) {
		if strings.HasSuffix(path, ".sum") {
			return
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			return // binary
		}
		for s, cure := range unportable {
			if i := bytes.Index(b, []byte(s)); i >= 0 {
				t.Errorf("%s:%d has %q: %s", path, 1+bytes.Count(b[:i], []byte("\n")), strings.TrimSpace(s), cure)
			}
		}
	})
}
