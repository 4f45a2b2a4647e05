package build

import (
	"runtime"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// place is a line of Go.
type place struct {
	file string
	line int
}

// here is the line outside of this package that made the call.
func here() place {
	pc := make([]uintptr, 16)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, own) || strings.HasSuffix(f.File, "_test.go") {
			return place{f.File, f.Line}
		}
		if !more {
			return place{}
		}
	}
}

// own is the start of the names of all functions of this package.
var own = func() string {
	pc, _, _, _ := runtime.Caller(0)
	name := runtime.FuncForPC(pc).Name()
	slash := strings.LastIndexByte(name, '/')
	return name[:slash+1+strings.IndexByte(name[slash+1:], '.')+1]
}()

func (p place) finding(code, path, text, hint string) sagas.Finding {
	return sagas.Finding{File: p.file, Line: p.line, Col: 1, Code: code, Path: path, Text: text, Hint: hint}
}

// inGo moves a finding from the JSON, which nobody sees, to the line of its step.
func inGo(f sagas.Finding, places map[string]place) sagas.Finding {
	at := places[""]
	if parts := strings.Split(f.Path, "/"); len(parts) > 1 && parts[0] == "steps" {
		if p, ok := places[parts[1]]; ok {
			at = p
		}
	}
	f.File, f.Line, f.Col, f.Source = at.file, at.line, 1, ""
	return f
}
