package web

import (
	"testing"
	"time"
)

// BenchmarkInstancePage makes the page of an instance with 500 events; the limit is 150 ms of the server.
func BenchmarkInstancePage(b *testing.B) {
	f := newFake(b)
	h := New(f, f.options())
	for _, path := range []string{"/instances/card-payment/big-500", "/instances/card-payment/big-500?tab=history", "/instances/card-payment/big-500?tab=messages", "/instances/card-payment/big-500?tab=state"} {
		b.Run(path[len("/instances/card-payment/"):], func(b *testing.B) {
			worst := time.Duration(0)
			for b.Loop() {
				began := time.Now()
				if resp, _ := get(b, h, path); resp.StatusCode != 200 {
					b.Fatal(resp.Status)
				}
				worst = max(worst, time.Since(began))
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
			if mean := b.Elapsed() / time.Duration(b.N); mean > 150*time.Millisecond {
				b.Errorf("%v a page is over the limit of 150 ms", mean)
			}
		})
	}
}
