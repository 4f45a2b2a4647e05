package bench

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/examples"
	"github.com/amendsio/amends/sagas"
)

//go:embed workloads/*.yaml
var sources embed.FS

// Workload is one kind of saga that can be put under load.
type Workload struct {
	Name string
	// Transitions is the number of input records and timers of one saga that completes.
	Transitions int
	source      func() ([]byte, error)
	input       func(n int, to string) []byte
}

// workloads lists all, by name.
var workloads = []Workload{
	{Name: "card-payment", Transitions: 5, source: card,
		input: func(n int, to string) []byte {
			return fmt.Appendf(nil, `{"amount":1500,"card":%q,"currency":"EUR","items":["a","b"],"address":{"street":"%064d"}}`, to, n)
		}},
	{Name: "fan-out", Transitions: 22, source: embedded("fan-out"),
		input: func(n int, to string) []byte {
			b := fmt.Appendf(nil, `{"to":%q,"lines":[`, to)
			for i := range 20 {
				b = fmt.Appendf(b, `{"sku":"sku-%d-%d"},`, n, i)
			}
			return append(b[:len(b)-1], "]}"...)
		}},
	{Name: "timers", Transitions: 4, source: embedded("timers"), input: transferInput},
	{Name: "transfer", Transitions: 4, source: embedded("transfer"), input: transferInput},
}

func transferInput(n int, to string) []byte {
	return fmt.Appendf(nil, `{"from":"DE-1","to":%q,"amount":1500,"note":"%0110d"}`, to, n)
}

func embedded(name string) func() ([]byte, error) {
	return func() ([]byte, error) { return sources.ReadFile("workloads/" + name + ".yaml") }
}

// card is the example, with command topics that get the prefix of a run like the others.
func card() ([]byte, error) {
	src, err := examples.Definition("card-payment")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"psp", "stock", "ship"} {
		src = []byte(strings.Replace(string(src), "\n  "+name+":\n", "\n  "+name+":\n    topic: cmd.$NS-"+name+"\n", 1))
	}
	return src, nil
}

// Workloads are the names that WorkloadNamed knows, sorted.
func Workloads() []string {
	names := make([]string, len(workloads))
	for i, w := range workloads {
		names[i] = w.Name
	}
	slices.Sort(names)
	return names
}

// WorkloadNamed finds a workload.
func WorkloadNamed(name string) (*Workload, error) {
	for i := range workloads {
		if workloads[i].Name == name {
			return &workloads[i], nil
		}
	}
	return nil, fmt.Errorf("workload %q is not known; there are %s", name, strings.Join(Workloads(), ", "))
}

// Definition is what the workload runs, with command topics of namespace ns.
func (w *Workload) Definition(ns string) (*sagas.Definition, error) {
	src, err := w.source()
	if err != nil {
		return nil, err
	}
	return sagas.ParseDefinition(w.Name+".yaml", []byte(strings.ReplaceAll(string(src), "$NS", ns)))
}

// Words in a payload by which a participant of a run knows what to say.
const (
	accepts = "DE-2"
	refuses = "DE-refuse"
)

// Start is the intake record of saga number n: about 200 bytes. One that is refused fails at the call
// that gets input.to (input.card), and is compensated.
func (w *Workload) Start(prefix string, n int, refused bool) (wid string, value []byte) {
	to := accepts
	if refused {
		to = refuses
	}
	id := fmt.Sprintf("%s-%d", prefix, n)
	return w.Name + "/" + id, fmt.Appendf(nil, `{"type":%q,"id":%q,"input":%s}`, w.Name, id, w.input(n, to))
}
