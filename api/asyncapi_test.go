package api

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/amendsio/amends/asyncapi"
)

// TestAsyncAPI: the description is of the namespace, and a reader may have it.
func TestAsyncAPI(t *testing.T) {
	server := httptest.NewServer(New(&engine{name: "a", tasks: []int32{0}}, Options{Namespace: "pay"}))
	defer server.Close()
	resp, body := get(t, server.URL+"/api/v1/asyncapi")
	var doc struct {
		AsyncAPI string                     `json:"asyncapi"`
		Channels map[string]json.RawMessage `json:"channels"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != asyncapi.ContentType || doc.AsyncAPI != asyncapi.Version || doc.Channels["pay.saga.intake"] == nil {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}
