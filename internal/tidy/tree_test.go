package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// skipped entries of the root are made by tools and are not part of the tree. In a linked work tree
// .git is a file.
var skipped = map[string]bool{".git": true, ".kafka": true, ".postgres": true, "bin": true, "amends-data": true, "node_modules": true}

// madeByTools are folders, wherever they are, that the tools of other languages make.
var madeByTools = map[string]bool{"node_modules": true, ".venv": true, "__pycache__": true, "target": true}

// walk calls fn with the path of every file, relative to the root.
func walk(t *testing.T, fn func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // a temporary file of another test
			}
			return err
		}
		if skipped[d.Name()] && filepath.Dir(path) == root {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if madeByTools[d.Name()] && d.IsDir() {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			fn(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// file is one Go file of this module.
type file struct {
	path, dir, base, pkg string // path and dir relative to the root
	test                 bool   // _test.go
	imports              []string
	fset                 *token.FileSet
}

func goFiles(t *testing.T) []*file {
	t.Helper()
	var all []*file
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || strings.HasPrefix(path, "tools/") || strings.Contains("/"+path, "/testdata/") {
			return
		}
		f := &file{path: path, fset: token.NewFileSet()}
		f.base = path[strings.LastIndexByte(path, '/')+1:]
		f.dir = parent(path)
		f.test = strings.HasSuffix(path, "_test.go")
		tree, err := parser.ParseFile(f.fset, filepath.Join(root, path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		f.pkg = tree.Name.Name
		for _, spec := range tree.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			f.imports = append(f.imports, imp)
		}
		all = append(all, f)
	})
	if len(all) < 50 {
		t.Fatalf("found only %d Go files: is the root still %s?", len(all), root)
	}
	return all
}

// parse reads the whole file.
func (f *file) parse(t *testing.T) *ast.File {
	t.Helper()
	f.fset = token.NewFileSet()
	tree, err := parser.ParseFile(f.fset, filepath.Join(root, f.path), nil, parser.ParseComments)
	if err != nil {
		t.Fatalf("%s: %v", f.path, err)
	}
	return tree
}

func (f *file) at(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}
