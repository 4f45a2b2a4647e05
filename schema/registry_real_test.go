package schema

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// TestRealRegistry runs against the registry of REGISTRY_URL, such as an Apicurio's /apis/ccompat/v7 (make registry-test).
func TestRealRegistry(t *testing.T) {
	url := os.Getenv("REGISTRY_URL")
	if url == "" {
		t.Skip("REGISTRY_URL is not set: make registry-test starts a registry")
	}
	cl, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	topic := fmt.Sprintf("orders-%d", time.Now().UnixNano())
	put, err := cl.CreateSchema(background, topic+"-value", sr.Schema{Schema: orderSchema, Type: sr.TypeAvro})
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRegistry(RegistryConfig{URLs: []string{url}, Timeout: 20 * time.Second, UnknownFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	set := New(Config{Registry: r})
	value, headers, err := set.Encode(background, Target{Topic: topic, Encoding: Avro, Schema: "shop.Order"}, []byte(orderValue))
	if err != nil {
		t.Fatal(err)
	}
	got, f, err := set.Decode(background, topic, headers, value)
	if err != nil || string(got) != orderValue || f.ID != int32(put.ID) {
		t.Fatalf("%s, %+v, %v", got, f, err)
	}
	if _, _, err := set.Decode(background, topic, nil, appendPrefix(nil, 1_000_000)); !errors.Is(err, ErrMalformed) {
		t.Errorf("an unknown id: %v", err)
	}
	if _, err := r.Latest(background, topic+"-nothing"); !errors.Is(err, ErrMalformed) {
		t.Errorf("an unknown subject: %v", err)
	}
	// A field more without a default: the next version could not read what is there.
	more := orderSchema[:len(orderSchema)-3] + `, {"name":"extra","type":"string"}]}`
	if is, known, reasons, err := r.Compatible(background, topic+"-value", more); err != nil || !known || is {
		t.Errorf("compatibility: %v %v %v %v", is, known, reasons, err)
	}
	if is, known, _, err := r.Compatible(background, topic+"-value", orderSchema); err != nil || !known || !is {
		t.Errorf("compatibility with itself: %v %v %v", is, known, err)
	}
}
