package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// The schema of a topic is found in the directory and in the registry, and a wrong field is a finding with its place.
// A topic that has none may hold anything.
func TestCheckEvents(t *testing.T) {
	const schema = `{"type":"record","name":"shop.Placed","fields":[{"name":"orderId","type":"string"},{"name":"amount","type":"long"}]}`
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("orders.avsc", schema)
	other := t.TempDir()
	good := write("good.yaml", definitionOver("event.amount > 100", "orders"))
	bad := write("bad.yaml", definitionOver("event.ammount > 100", "orders"))
	wrong := write("wrong.yaml", definitionOver("event.orderId", "orders"))
	unknown := write("unknown.yaml", definitionOver("event.ammount > 100", "others"))

	fake := srfake.New()
	defer fake.Close()
	if _, _, err := fake.RegisterSchema("orders-value", sr.Schema{Schema: schema, Type: sr.TypeAvro}); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string][]string{"directory": {"--schemas", dir}, "registry": {"--registry", fake.URL()}, "both": {"--registry", fake.URL(), "--schemas", other}} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				file string
				code int
				want string
			}{
				{good, exitOK, "e@1 ok"},
				{unknown, exitOK, "e@1 ok"},
				{bad, exitFindings, `bad.yaml:5:47 SG25 on/0/when: shop.Placed has no field "ammount" where the expression asks for it. Did you mean "amount"?`},
				{wrong, exitFindings, `wrong.yaml:5:42 SG23 on/0/when: want bool, got string (event.orderId is shop.Placed.orderId: string).`},
			} {
				code, out, talk := execute(t, append([]string{"check", c.file}, source...)...)
				if code != c.code || !strings.Contains(out, c.want) {
					t.Errorf("%s: exit %d\n%s%s\nwant %s", filepath.Base(c.file), code, out, talk, c.want)
				}
			}
		})
	}
}

func definitionOver(when, topic string) string {
	return "saga: e\nversion: 1\nparticipants: {p: {ops: [do]}}\non:\n- {topic: " + topic + ", action: start, when: '=" + when + "', id: =event.orderId}\n" +
		"steps:\n- {id: a, call: p.do, kind: retriable}\n"
}
