package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/protocol"
)

const twoFile = `
bridge: NAME
destinations:
  slow: {url: 'http://slow.example', timeout: 10m, concurrency: 2, pending: 5, retries: 0}
  fast: {url: 'http://fast.example'}
commands:
  charge:
    do: {destination: slow, path: /charges}
  mail:
    do: {destination: fast, path: /mails}
`

// A destination that hangs holds up its own calls only, and no more than so many wait for it.
func TestIsolation(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		s.file = twoFile
		hangs := make(chan struct{})
		s.psp.script = func(_ http.ResponseWriter, req *http.Request, _ *provider, _ map[string]any) bool {
			if req.Host == "slow.example" {
				select {
				case <-hangs:
				case <-req.Context().Done():
				}
			}
			return false
		}
		for i := range 20 {
			k.Produce(s.record(s.do("order/1", fmt.Sprintf("slow-%02d", i)), `{}`))
		}
		for i := range 10 {
			k.Produce(s.record(s.command(protocol.OpDo, "mail", "order/1", fmt.Sprintf("mail-%d", i), ""), `{}`))
		}
		released := false
		s.while(nil, func(replies int) bool {
			if replies == 25 && !released { // 15 refused, 10 mails: 5 wait for the slow one
				released = true
				if n := s.psp.did("POST /charges"); n != 2 {
					t.Errorf("%d requests to the slow destination", n)
				}
				close(hangs)
			}
			return replies == 30
		})
		got := s.answers()
		for what, want := range map[string]int{"failed-retriable effect=none OVERLOADED after=1000ms": 15, `ok {"id":"ch-mail-`: 10, `ok {"id":"ch-slow-`: 5} {
			if n := strings.Count(got, what); n != want {
				t.Errorf("%d times %q, want %d, in\n%s", n, what, want, got)
			}
		}
	})
}

// A body that does not end, a command that is too large and a deadline that has passed.
func TestLimits(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T, k *kafkatest.Cluster) {
		s := newShop(t, k)
		written := make(chan int, 1)
		s.psp.script = func(rw http.ResponseWriter, req *http.Request, _ *provider, body map[string]any) bool {
			switch {
			case body["endless"] != nil:
				n := 0
				for chunk := []byte(strings.Repeat("x", 64<<10)); n < 1<<30; n += len(chunk) {
					if _, err := rw.Write(chunk); err != nil {
						break
					}
				}
				written <- n
				return true
			case body["slow"] != nil:
				<-req.Context().Done()
				return true
			}
			return false
		}
		late := s.do("order/3", "c")
		late.Deadline = time.Now().Add(-time.Second).UnixMilli()
		short := s.do("order/4", "d")
		short.Deadline = time.Now().Add(2 * time.Second).UnixMilli()
		began := time.Now()
		k.Produce(
			s.record(s.do("order/1", "a"), `{"endless":true}`),
			s.record(late, `{}`),
			s.record(short, `{"slow":true}`),
			s.record(s.do("order/5", "e"), `{"slow":true}`),
			s.record(s.do("order/6", "f"), `not JSON`),
		)
		s.until(5, nil)
		s.want(`a failed-fatal BAD_RESPONSE
c failed-retriable effect=none EXPIRED
d failed-retriable NO_ANSWER
e failed-retriable NO_ANSWER
f failed-fatal effect=none BAD_COMMAND`)
		if n := <-written; n > 8<<20 {
			t.Errorf("%d bytes of a body were taken", n)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}
