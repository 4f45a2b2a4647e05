package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/amendsio/amends/diagram"
)

//go:embed static
var embedded embed.FS

// file is one static file with the name that holds its hash: such a name is cached for ever.
type file struct {
	content []byte
	hash    string
}

var files = func() map[string]file {
	m := map[string]file{"diagram.css": newFile([]byte(diagram.CSS))}
	entries, err := fs.ReadDir(embedded, "static")
	if err != nil {
		panic(err) // the files are in the binary
	}
	for _, e := range entries {
		b, err := embedded.ReadFile(path.Join("static", e.Name()))
		if err != nil {
			panic(err)
		}
		m[e.Name()] = newFile(b)
	}
	return m
}()

func newFile(b []byte) file {
	sum := sha256.Sum256(b)
	return file{b, hex.EncodeToString(sum[:6])}
}

// asset is the address of a static file.
func asset(name string) string { return "/static/" + name + "?" + files[name].hash }

func staticFiles() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		f, ok := files[name]
		if !ok || r.URL.Path != "/static/"+name {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", `"`+f.hash+`"`)
		if r.URL.RawQuery == f.hash {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "public, max-age=3600")
		}
		if path.Ext(name) == ".woff2" {
			w.Header().Set("Content-Type", "font/woff2")
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.content))
	})
}
