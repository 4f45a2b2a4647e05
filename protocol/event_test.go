package protocol

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEvent(t *testing.T) {
	for _, wid := range []string{"trip/t-1", "trip/2026/17", "trip/caf\u00e9 100%?#", "trip//x", "trip/a:b@c"} {
		e := Event{ID: "0b7d", WorkflowID: wid, Type: "trip.booked.v1", At: 1767323045006}
		h := e.Headers()
		back, err := ParseEvent(h)
		if err != nil || !cmp.Equal(back, e) {
			t.Errorf("got %+v, %v", back, err)
		}
		for _, c := range [][2]string{{HeaderCloudEventSpecVersion, "1.0"}, {HeaderCloudEventTime, "2026-01-02T03:04:05.006Z"}, {HeaderContentType, ContentJSON}} {
			if v, _, _ := lookup(h, c[0]); string(v) != c[1] {
				t.Errorf("%s is %q", c[0], v)
			}
		}
		source, _, _ := lookup(h, HeaderCloudEventSource)
		if u, err := url.Parse(string(source)); err != nil || u.Path != wid || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("source %q of %q: %+v %v", source, wid, u, err)
		}
	}
	if _, err := ParseEvent(nil); err == nil {
		t.Error("no headers accepted")
	}
}
