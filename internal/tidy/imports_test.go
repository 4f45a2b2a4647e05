package tidy

import (
	"fmt"
	"strings"
	"testing"
)

const module = "github.com/amendsio/amends"

// rule says what the non-test files of one package (and of the packages below
// it, where they have no rule of their own) may import besides the standard
// library.
type rule struct {
	own   []string // packages of this module; "*" is all but those for tests
	third []string // other modules, by import path prefix; "*" is all
	std   []string // packages of the standard library that are banned
	why   string   // what the package is, and so what to do instead
}

const kgo = "github.com/twmb/franz-go"

// rules: dependencies point one way,
//
//	cmd → api, ui → orchestrator → (sagas, protocol), topology → changelog → statestore
//
// and sagas and topology do not know each other.
var rules = map[string]rule{
	"sagas": {
		third: []string{"cel.dev/", "go.yaml.in/yaml/", "google.golang.org/protobuf/"},
		std:   []string{"net", "os", "log", "sync", "io/fs", "syscall", "math/rand", "crypto/rand"},
		why:   "sagas is pure: no Kafka, disk, clock, locks or randomness. What it needs to know comes in with the Event, what it wants done goes out as an Effect",
	},
	"sagas/sagatest": {
		own:   []string{"sagas", "sagas/prove"},
		third: []string{"github.com/cockroachdb/datadriven", "github.com/google/go-cmp", "go.yaml.in/yaml/"},
		why:   "sagatest is for users' tests too: the machine and a script reader, no broker",
	},
	"sagas/sagasgen": {
		own: []string{"sagas"},
		why: "sagasgen makes definitions for property tests, from draws alone",
	},
	"sagas/build": {
		own: []string{"sagas"},
		why: "build is for authors of definitions: it writes what ParseDefinition reads, and nothing runs here",
	},
	"diagram": {
		own: []string{"sagas"},
		why: "diagram draws a definition: it knows no cluster, and gives bytes",
	},
	"sagas/prove": {
		own:   []string{"sagas"},
		third: []string{"cel.dev/"},
		why:   "prove explores the machine and nothing else: no broker, no participant kit",
	},
	"protocol": {
		third: []string{"github.com/linkedin/goavro/"},
		std:   []string{"net", "os"},
		why:   "protocol is what is on the wire, for any client: it has header and record types of its own and callers convert",
	},
	"schema": {
		own:   []string{"sagas", "protocol"},
		third: []string{kgo, "github.com/linkedin/goavro/", "cel.dev/"},
		why:   "schema turns bytes into values and back, for any reader: nothing of the engine or the runtime",
	},
	"statestore": {
		third: []string{"github.com/cockroachdb/pebble/", "github.com/cockroachdb/errors"},
		why:   "statestore is one task's Pebble store: it knows keys and bytes. Say what a record means through Indexer",
	},
	"statestore/storetest": {
		own:   []string{"statestore"},
		third: []string{"github.com/cockroachdb/pebble/", "github.com/google/go-cmp", "pgregory.net/rapid"},
		why:   "storetest proves a store by its surface only",
	},
	"changelog": {
		own:   []string{"statestore"},
		third: []string{kgo},
		why:   "changelog turns mutations into records and back: no Pebble (that is statestore's), nothing of sagas",
	},
	"topology/balance": {
		why: "balance is a pure function of what members told: no Kafka, no clock",
	},
	"topology": {
		own:   []string{"changelog", "statestore", "topology/balance"},
		third: []string{kgo, "github.com/cockroachdb/pebble/v2/vfs"},
		why:   "topology runs any processor: nothing of sagas or Avro in it, and instead of metrics it offers Hooks",
	},
	"topology/topologytest": {
		own: []string{"topology"},
		why: "topologytest drives a topology without a broker: what it needs of the runtime is topology.Driver",
	},
	"topology/keyed": {
		own:   []string{"internal/unread"},
		third: []string{kgo},
		why:   "keyed is at least once beside topology, not on it: a Kafka client and nothing of the runtime",
	},
	"derive": {
		own:   []string{"sagas", "protocol", "topology"},
		third: []string{kgo, "cel.dev/", "github.com/linkedin/goavro/", "github.com/prometheus/client_golang/"},
		why:   "derive is a stage on topology, in the language of definitions: nothing of the engine",
	},
	"correlate": {
		std: []string{"net", "os", "log", "sync", "math/rand", "crypto/rand"},
		why: "correlate is pure: what is known of one value. Kafka is for correlate/flow",
	},
	"claimcheck": {
		own:   []string{},
		third: []string{"github.com/minio/minio-go/v7"},
		why:   "claimcheck is bytes and a store: clients and participants are given one, and nothing in it knows Kafka",
	},
	"asyncapi": {
		own: []string{"sagas", "protocol"},
		why: "asyncapi is a pure function of definitions",
	},
	"bridge": {
		own:   []string{"sagas", "protocol", "participant", "participant/durable", "topology", "statestore"},
		third: []string{kgo, "github.com/prometheus/client_golang/"},
		why:   "bridge is a participant that a file declares: the kit, the runtime and the language of definitions, nothing of the engine",
	},
	"correlate/flow": {
		own:   []string{"correlate", "protocol", "topology", "statestore"},
		third: []string{kgo, "github.com/prometheus/client_golang/", "github.com/cockroachdb/pebble/v2/vfs"},
		why:   "flow is correlate on topology: nothing of the machine",
	},
	"query": {
		third: []string{"cel.dev/"},
		why:   "query compiles a condition over rows that it is given: it knows no store",
	},
	"explain": {
		own:   []string{"sagas", "protocol"},
		third: []string{kgo},
		why:   "explain is a pure function of an instance and facts, and the questions to Kafka that find them: nothing of the runtime",
	},
	"telemetry": {
		own:   []string{"orchestrator", "protocol", "internal/unread"},
		third: []string{kgo, "go.opentelemetry.io/otel", "github.com/prometheus/client_golang/"},
		why:   "telemetry tells others what the engine committed: it reads facts and spans and changes nothing",
	},
	"bindings": {
		own:   []string{"sagas", "protocol", "schema", "topology"},
		third: []string{kgo, "github.com/prometheus/client_golang/"},
		why:   "bindings reads topics of others on topology: of the engine it knows what goes on the intake",
	},
	"orchestrator": {
		own:   []string{"sagas", "protocol", "topology", "statestore", "query", "explain", "bindings", "schema", "correlate/flow", "internal/unread"},
		third: []string{kgo, "github.com/prometheus/client_golang/", "github.com/cockroachdb/pebble/v2/vfs"},
		why:   "orchestrator is sagas on topology: it reaches the store through the Cycle and the View",
	},
	"cluster": {
		own: []string{"orchestrator", "sagas", "protocol", "query", "explain"},
		why: "cluster asks the processes of a namespace and merges: Kafka and the store are the orchestrator's",
	},
	"api": {
		own:   []string{"cluster", "orchestrator", "bindings", "sagas", "protocol", "explain", "asyncapi"},
		third: []string{"github.com/prometheus/client_golang/", "github.com/danielgtaylor/huma/v2", "github.com/coreos/go-oidc/v3/oidc"},
		why:   "api is a thin face of orchestrator: ask it, not Kafka or the store",
	},
	"web": {
		own:   []string{"sagas", "diagram"},
		third: []string{"github.com/a-h/templ"},
		why:   "web shows what its Source answers: it asks no cluster, no API and no store by itself",
	},
	"web/desk": {
		own: []string{"web", "sagas"},
		why: "desk asks the API's handler, as any client would: what a page shows and may do is decided there",
	},
	"client": {
		own:   []string{"protocol"},
		third: []string{kgo},
		why:   "client is for producers: the protocol and a Kafka client, nothing of the engine",
	},
	"participant": {
		own:   []string{"protocol", "topology/keyed"},
		third: []string{kgo},
		why:   "participant is for services: the protocol and a Kafka client, nothing of the engine",
	},
	"participant/durable": {
		own:   []string{"protocol", "participant", "topology", "statestore"},
		third: []string{kgo, "github.com/cockroachdb/pebble/v2/vfs"},
		why:   "durable is an inbox on topology: still nothing of sagas",
	},
	"participant/sqlinbox": {
		own:   []string{"participant"},
		third: []string{},
		why:   "sqlinbox is for services with a database: database/sql, and the driver is theirs",
	},
	"docs":              {why: "docs is the pages as they are: whoever shows them imports it"},
	"examples":          {own: []string{"*"}, third: []string{"*"}},
	"cmd":               {own: []string{"*"}, third: []string{"*"}},
	"bench":             {own: []string{"*"}, third: []string{"*"}},
	"deploy/monitoring": {own: []string{"orchestrator"}, third: []string{"go.yaml.in/yaml/v4"}},
	"deploy/verify":     {third: []string{"*"}}, // a module of its own
	"internal/local": {
		own: []string{"*"}, third: []string{"*"},
	},
	"internal/kafkatest": {own: []string{}, third: []string{"*"}, why: "kafkatest is below all it tests, so that every package's tests can use it"},
	"internal/browser":   {own: []string{}, third: []string{"github.com/chromedp/"}, why: "browser knows pages and no product"},
	"internal/murmur2":   {why: leafWhy},
	"internal/nearest":   {why: leafWhy},
	"internal/unread":    {own: []string{}, third: []string{kgo}, why: "it is used below orchestrator, so it knows only the Kafka client"},
	"internal/mutants":   {},
	"internal/tidy":      {},
	"internal/blackbox":  {},
}

// leaves are pure functions over the standard library alone, so anybody may use them.
var leaves = []string{"internal/murmur2", "internal/nearest"}

const leafWhy = "it is used everywhere, so it uses nothing"

// testOnly packages must not be part of the product.
var testOnly = []string{"internal/browser", "internal/kafkatest", "internal/tidy", "internal/mutants", "internal/blackbox", "internal/sim", "sagas/sagasgen", "statestore/storetest", "topology/topologytest"}

func TestImports(t *testing.T) {
	missing := make(map[string]bool)
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		name, r := ruleOf(f.dir)
		if name == "" {
			missing[f.dir] = true
			continue
		}
		for _, imp := range f.imports {
			if fault := r.judge(f.dir, imp); fault != "" {
				t.Errorf("%s imports %s: %s. %s (rule %q in internal/tidy/imports_test.go)", f.path, imp, fault, r.why, name)
			}
		}
	}
	for dir := range missing {
		t.Errorf("%s has no rule on what it may import: add one to rules in internal/tidy/imports_test.go", dir)
	}
}

// judge says what is wrong with an import, or "".
func (r rule) judge(dir, imp string) string {
	own, isOwn := strings.CutPrefix(imp, module+"/")
	if isOwn {
		for _, p := range testOnly {
			if within(own, p) && !within(dir, p) {
				return "that package is for tests, move the use into a _test.go file"
			}
		}
		if within(own, dir) || allows(leaves, own) || allows(r.own, own) {
			return ""
		}
		if len(r.own) == 0 {
			return "it may import no other package of this module"
		}
		return fmt.Sprintf("of this module it may import only %s", strings.Join(r.own, ", "))
	}
	if !strings.Contains(strings.Split(imp, "/")[0], ".") {
		for _, b := range r.std {
			if within(imp, b) {
				return "that part of the standard library is banned here"
			}
		}
		return ""
	}
	for _, p := range r.third {
		if p == "*" || strings.HasPrefix(imp, p) {
			return ""
		}
	}
	if len(r.third) == 0 {
		return "it may use the standard library only"
	}
	return fmt.Sprintf("of other modules it may import only %s", strings.Join(r.third, ", "))
}

func allows(list []string, own string) bool {
	for _, p := range list {
		if p == "*" || p == own {
			return true
		}
	}
	return false
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// ruleOf gives the rule of the nearest directory that has one.
func ruleOf(dir string) (string, rule) {
	for d := dir; d != ""; d = parent(d) {
		if r, ok := rules[d]; ok {
			return d, r
		}
	}
	return "", rule{}
}

func parent(dir string) string {
	i := strings.LastIndexByte(dir, '/')
	if i < 0 {
		return ""
	}
	return dir[:i]
}

// TestJudge shows that the rules bite.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		dir, imp string
		ok       bool
	}{
		{"sagas", "cel.dev/cel-go/cel", true},
		{"sagas", "time", true},
		{"sagas", "net/http", false},
		{"sagas", kgo + "/pkg/kgo", false},
		{"sagas", module + "/topology", false},
		{"topology", module + "/changelog", true},
		{"topology", module + "/sagas", false},
		{"topology", module + "/internal/murmur2", true},
		{"internal/murmur2", module + "/topology", false},
		{"topology", "github.com/cockroachdb/pebble/v2", false},
		{"topology", "github.com/cockroachdb/pebble/v2/vfs", true},
		{"api", module + "/statestore", false},
		{"cmd/amends", module + "/internal/local", true},
		{"cmd/amends", module + "/internal/kafkatest", false},
		{"statestore/storetest", module + "/statestore", true},
		{"statestore", module + "/statestore/storetest", false},
		{"internal/tidy", "github.com/google/go-cmp/cmp", false},
	} {
		_, r := ruleOf(c.dir)
		if fault := r.judge(c.dir, c.imp); (fault == "") != c.ok {
			t.Errorf("%s importing %s: got %q, want ok=%v", c.dir, c.imp, fault, c.ok)
		}
	}
}
