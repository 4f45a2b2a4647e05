// Package docs holds the pages of the documentation, so that the program can show them without a network.
//
// The codes that errors carry are explained in one page, codes.md, a section each; a test keeps it equal to
// the codes in the source.
package docs

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.md
var files embed.FS

// Pages are the names of the pages, in their order.
func Pages() []string {
	entries, _ := fs.ReadDir(files, ".") // it is embedded
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".md"))
	}
	slices.Sort(names)
	return names
}

// Page is the text of a page in Markdown. ok is false when there is none of that name.
func Page(name string) (text string, ok bool) {
	src, err := files.ReadFile(name + ".md")
	return string(src), err == nil
}

// Title is the first heading of a page.
func Title(name string) string {
	text, _ := Page(name)
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(strings.TrimLeft(first, "# "))
}

// Code is what codes.md says about a code, such as SG10.
func Code(code string) (text string, ok bool) {
	page, _ := Page("codes")
	_, rest, ok := strings.Cut(page, "\n## "+code+"\n")
	if !ok {
		return "", false
	}
	text, _, _ = strings.Cut(rest, "\n## ")
	return strings.TrimSpace(text), true
}

// Codes are the codes that codes.md explains, in its order.
func Codes() []string {
	page, _ := Page("codes")
	var codes []string
	for l := range strings.Lines(page) {
		if code, ok := strings.CutPrefix(l, "## "); ok {
			codes = append(codes, strings.TrimSpace(code))
		}
	}
	return codes
}
