package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAsyncAPICommand(t *testing.T) {
	const file = "../../examples/card-payment/saga.yaml"
	code, doc, talk := execute(t, "asyncapi", file, "--namespace", "pay")
	if code != exitOK || !strings.Contains(doc, `"address": "pay.saga.intake"`) || !strings.Contains(doc, `"address": "cmd.psp"`) || strings.Contains(doc, `"servers"`) {
		t.Errorf("%d %s %s", code, doc, talk)
	}
	out := filepath.Join(t.TempDir(), "doc.yaml")
	if code, _, talk := execute(t, "asyncapi", file, "--namespace", "pay", "--brokers", "kafka:9092", "-o", "yaml", "--out", out); code != exitOK {
		t.Fatal(talk)
	}
	src, err := os.ReadFile(out)
	if err != nil || !strings.HasPrefix(string(src), "asyncapi: 3.0.0\n") || !strings.Contains(string(src), "host: kafka:9092") {
		t.Errorf("%v\n%s", err, src)
	}
	if code, _, _ := execute(t, "asyncapi", file, "-o", "xml"); code != exitUsage {
		t.Errorf("-o xml ends with %d", code)
	}
}
