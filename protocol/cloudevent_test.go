package protocol

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const someEvent = `"specversion":"1.0","id":"e1","source":"/shop","type":"placed"`

func structured(value string) ([]Header, []byte, error) {
	return OpenCloudEvent([]Header{{HeaderContentType, []byte(ContentCloudEvents)}, {"x", []byte("y")}}, []byte(value))
}

// A structured event is the same event in binary mode.
func TestOpenCloudEvent(t *testing.T) {
	for _, c := range []struct{ name, value, content, payload, more string }{
		{"an object", `{` + someEvent + `,"data":{"a":[1, 2]}}`, "application/json", `{"a":[1, 2]}`, ""},
		{"any JSON", `{` + someEvent + `,"data":7,"datacontenttype":"application/vnd.shop+json"}`, "application/vnd.shop+json", `7`, ""},
		{"text", `{` + someEvent + `,"data":"a\nb","datacontenttype":"text/plain"}`, "text/plain", "a\nb", ""},
		{"bytes", `{` + someEvent + `,"data_base64":"wwE=","datacontenttype":"application/avro"}`, "application/avro", "\xc3\x01", ""},
		{"no data", `{` + someEvent + `}`, "application/json", `null`, ""},
		{"null", `{` + someEvent + `,"data":null}`, "application/json", `null`, ""},
		{"extensions", `{` + someEvent + `,"data":{},"sequence":12,"urgent":true,"none":null,"traceparent":"00-t"}`, "application/json", `{}`, "ce_sequence=12 ce_urgent=true ce_traceparent=00-t traceparent=00-t"},
	} {
		h, payload, err := structured(c.value)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, x := range h {
			got = append(got, x.Key+"="+string(x.Value))
		}
		want := append([]string{"x=y", "content-type=" + c.content, "ce_specversion=1.0", "ce_id=e1", "ce_source=/shop", "ce_type=placed"}, strings.Fields(c.more)...)
		if diff := cmp.Diff(want, got); diff != "" || string(payload) != c.payload {
			t.Errorf("%s: payload %q, headers %s", c.name, payload, diff)
		}
	}
	h, payload, err := OpenCloudEvent([]Header{{HeaderContentType, []byte("application/json")}}, []byte("{}"))
	if err != nil || len(h) != 1 || string(payload) != "{}" {
		t.Errorf("another record: %v, %q, %v", h, payload, err)
	}
}

func TestOpenCloudEventRefused(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"no JSON", `hello`, "not a JSON object"},
		{"no id", `{"specversion":"1.0","source":"/shop","type":"placed"}`, "id: the attribute is missing"},
		{"no version", `{"id":"1","source":"/shop","type":"placed"}`, "specversion: the attribute is missing"},
		{"another version", `{"specversion":"0.3","id":"1","source":"/shop","type":"placed"}`, "CloudEvents 1.0"},
		{"both", `{` + someEvent + `,"data":1,"data_base64":""}`, "not both"},
		{"no base64", `{` + someEvent + `,"data_base64":"?"}`, "not base64"},
		{"text that is none", `{` + someEvent + `,"data":{},"datacontenttype":"text/plain"}`, "want a string"},
		{"an attribute that is an object", `{` + someEvent + `,"shop":{}}`, "shop: want a string"},
		{"a bad name", `{` + someEvent + `,"Shop-Id":"x"}`, "lower-case"},
		{"twice", `{` + someEvent + `,"id":"e2"}`, "occurs twice"},
		{"too many", `{` + someEvent + `,"a1":1,"a2":1,"a3":1,"a4":1,"a5":1,"a6":1,"a7":1,"a8":1,"a9":1,"b1":1,"b2":1,"b3":1,"b4":1}`, "too many fields"},
		{"cut", `{` + someEvent, "at byte"},
	} {
		if _, _, err := structured(c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
