package main

import (
	"encoding/json"
	"testing"
)

func TestSchema(t *testing.T) {
	code, out, talk := execute(t, "schema")
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); code != exitOK || talk != "" || err != nil || doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("%d %v %v %q", code, doc["$schema"], err, talk)
	}
	if code, _, _ := execute(t, "schema", "extra"); code != exitUsage {
		t.Errorf("an argument: exit %d", code)
	}
}
