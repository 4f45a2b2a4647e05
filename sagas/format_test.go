package sagas

import (
	"strings"
	"testing"
)

// Formats are in the canonical form only when they are not JSON, and they need level 3.
func TestFormats(t *testing.T) {
	text := func(participant string) string {
		return "saga: t\nversion: 1\ndeadline: 1h\nparticipants:\n  psp: " + participant + "\nsteps:\n  - {id: a, call: psp.x, undo: {call: psp.y}}\n"
	}
	parse := func(participant string) *Definition {
		t.Helper()
		d, err := ParseDefinition("t.yaml", []byte(text(participant)))
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDefinition("", d.Canonical())
		if err != nil || again.Digest() != d.Digest() {
			t.Fatalf("%s read again: %v", d.Canonical(), err)
		}
		return d
	}
	plain, asJSON := parse("{}"), parse("{format: json}")
	if plain.Digest() != asJSON.Digest() || plain.Level() != 1 || strings.Contains(string(plain.Canonical()), "format") {
		t.Errorf("format: json is not the default: %s, level %d", asJSON.Canonical(), plain.Level())
	}
	avro := parse("{format: avro, schema: {command: {x: psp.X}, reply: psp.Reply, subjects: topicRecord}}")
	p := avro.Participants["psp"]
	if avro.Level() != 3 || !p.Avro() || p.Schema.Record("x") != "psp.X" || p.Schema.Record("y") != "" {
		t.Errorf("%+v, level %d", p.Schema, avro.Level())
	}
	if want := `"format":"avro","keyWindow":"none","ops":["do","undo"],"schema":{"command":{"x":"psp.X"},"reply":"psp.Reply","subjects":"topicRecord"}`; !strings.Contains(string(avro.Canonical()), want) {
		t.Errorf("canonical form: %s", avro.Canonical())
	}
	if bare := parse("{format: avro}"); bare.Participants["psp"].Schema != nil || bare.Participants["psp"].Schema.Subject("cmd.psp", "") != "cmd.psp-value" {
		t.Error("a participant without schema has one")
	}
	for subjects, want := range map[string]string{"topic": "cmd.psp-value", "record": "psp.C", "topicRecord": "cmd.psp-psp.C"} {
		p := parse("{format: avro, schema: {command: psp.C, subjects: " + subjects + "}}").Participants["psp"]
		if got := p.Schema.Subject(p.Topic, p.Schema.Record("x")); got != want {
			t.Errorf("subjects %s: %s, want %s", subjects, got, want)
		}
	}
}
