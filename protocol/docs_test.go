package protocol

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func page(t *testing.T) string {
	b, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// stringConstants returns the string constants of this package whose name starts with prefix.
func stringConstants(t *testing.T, prefix string) map[string]string {
	found := map[string]string{}
	for _, file := range []string{"headers.go", "deadletter.go", "reply.go", "errors.go", "records.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if !strings.HasPrefix(name.Name, prefix) || i >= len(spec.Values) {
					continue
				}
				if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					found[name.Name], _ = strconv.Unquote(lit.Value)
				}
			}
			return true
		})
	}
	return found
}

func TestPageNamesEverything(t *testing.T) {
	md := page(t)
	for prefix, least := range map[string]int{"Header": 35, "Outcome": 8, "Effect": 3, "Class": 5, "Arg": 6, "Action": 12} {
		constants := stringConstants(t, prefix)
		if len(constants) < least {
			t.Fatalf("found only %d constants %s*", len(constants), prefix)
		}
		for name, value := range constants {
			if value == string(ActionMigrate) {
				continue // a word of the schema that nothing takes yet
			}
			if !strings.Contains(md, "`"+value+"`") && !strings.Contains(md, "`"+value+":") {
				t.Errorf("docs/protocol.md does not say what %s (%s) is", name, value)
			}
		}
	}
	for _, field := range slices.Concat(startFields, cancelFields, signalFields, adminFields) {
		if !strings.Contains(md, "`"+field+"`") {
			t.Errorf("docs/protocol.md does not say what the field %s is", field)
		}
	}
	for _, kind := range LifecycleKinds()[formerKinds:] {
		if !strings.Contains(md, "`"+kind+"`") {
			t.Errorf("docs/protocol.md does not name the lifecycle kind %s", kind)
		}
	}
	for _, limit := range []int{MaxCode, MaxMessage, MaxTags, MaxDepth, MaxSignalName, MaxSignalBytes} {
		if !strings.Contains(md, strconv.Itoa(limit)) {
			t.Errorf("docs/protocol.md does not state the limit %d", limit)
		}
	}
}

// The command lines of the page are records that we accept.
func TestPageExamplesAreAccepted(t *testing.T) {
	lines := regexp.MustCompile(`(?m)^echo '(.*)' \| kcat .* -t pay\.saga\.(\w+)$`).FindAllStringSubmatch(page(t), -1)
	if len(lines) != 5 {
		t.Fatalf("found %d examples", len(lines))
	}
	for _, l := range lines {
		var err error
		if l[2] == "control" {
			_, err = DecodeControl(nil, []byte(l[1]), nil)
		} else {
			_, err = DecodeIntake(nil, []byte(l[1]), nil)
		}
		if err != nil {
			t.Errorf("%s: %v", l[1], err)
		}
	}
}
