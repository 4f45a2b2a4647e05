package orchestrator_test

import (
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/amendsio/amends/schema"
)

// TestBindingAvro: an event in Avro, framed as Confluent's producers do, starts a saga by a registry. While the registry is
// down it waits; one whose schema nobody knows is a dead letter.
func TestBindingAvro(t *testing.T) {
	everywhere(t, func(t *testing.T, r *rig) {
		fake := srfake.NewRegistry()
		down := &atomic.Bool{}
		registry, err := schema.NewRegistry(schema.RegistryConfig{URLs: []string{"http://registry.example"}, Transport: inProcess{fake.Handler(), down}})
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.Codec = schema.New(schema.Config{Registry: registry})
		topic := r.c.CreateTopic(r.c.Name("orders"), 2, nil)
		id, _, err := fake.RegisterSchema(topic+"-value", sr.Schema{Type: sr.TypeAvro, Schema: `{"type":"record","name":"Order","namespace":"shop","fields":[
		{"name":"id","type":"string"},{"name":"note","type":["null","string"],"default":null}]}`})
		if err != nil {
			t.Fatal(err)
		}
		order := func(schemaID int, id string) []byte {
			b := binary.BigEndian.AppendUint32([]byte{0}, uint32(schemaID))
			b = append(binary.AppendVarint(b, int64(len(id))), id...)
			b = binary.AppendVarint(b, 1) // the second branch of the union
			return append(binary.AppendVarint(b, 2), "hi"...)
		}
		r.apply(`
saga: avro
version: 1
start: {name: orders, topic: ` + topic + `, id: =event.id, input: {note: =event.note}, from: earliest}
steps: [{id: a, set: {note: =input.note}}]
output: {note: =step.a.note}
`)
		r.start()
		r.ready()
		down.Store(true)
		r.c.Produce(&kgo.Record{Topic: topic, Key: []byte("k"), Value: order(id, "o-1")})
		r.until("the binding says that the registry is down", 50*time.Millisecond, func() bool {
			return strings.Contains(r.binding("avro/orders").Problem, "registry")
		})
		down.Store(false)
		v := r.ends("avro/o-1", "completed", 20*time.Millisecond)
		equal(t, "output", string(v.Output), `{"note":"hi"}`)
		r.c.Produce(&kgo.Record{Topic: topic, Value: order(4711, "o-2")})
		r.until("the unknown schema is a dead letter", 50*time.Millisecond, func() bool {
			d := r.deadLetters()
			return len(d) == 1 && d[0].why.Class == "MALFORMED" && d[0].why.Topic == topic
		})
	})
}

// inProcess takes requests to a registry without a network.
type inProcess struct {
	handler http.Handler
	down    *atomic.Bool
}

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if p.down.Load() {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, req)
	return w.Result(), nil
}
