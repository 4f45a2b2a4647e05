package sagas

import "testing"

// The keys are a public contract: participants store them, and a saga that runs through an upgrade
// must keep them.
func TestKeyGolden(t *testing.T) {
	for _, c := range []struct {
		ns, wid string
		run     uint32
		path    string
		op      Op
		round   uint32
		want    string
	}{
		{"prod", "card-payment/4711", 1, "auth", OpDo, 1, "20684ba8-a19f-447f-824f-1b5ff5307bc8"},
		{"prod", "card-payment/4711", 1, "auth", OpUndo, 1, "9367878a-b19e-4dc0-a9c4-66282ee9d4a9"},
		{"prod", "card-payment/4711", 1, "auth", OpUndo, 2, "bd5d9538-110c-4b42-8025-eb918fe1d57a"},
		{"prod", "card-payment/4711", 2, "auth", OpInquire, 1, "d68de79a-e2b7-407c-a876-2161a83782dc"},
		{"", "", 0, "", OpDo, 0, "9ff2c781-c070-4a7d-8409-5bd63a43ccdb"},
	} {
		if got := IdempotencyKey(c.ns, c.wid, c.run, c.path, c.op, c.round); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestKeyPartsAreApart(t *testing.T) {
	seen := map[string]string{}
	for _, c := range [][3]string{{"a", "bc", "d"}, {"ab", "c", "d"}, {"a", "b", "cd"}, {"abc", "", "d"}, {"", "abc", "d"}} {
		k := IdempotencyKey(c[0], c[1], 1, c[2], OpDo, 1)
		if other, ok := seen[k]; ok {
			t.Fatalf("%v and %s have one key", c, other)
		}
		seen[k] = c[0] + "|" + c[1] + "|" + c[2]
	}
}

func TestTraceGolden(t *testing.T) {
	key := idempotencyKey("prod", "card-payment/4711", 1, "auth", OpDo, 1)
	one := traceparent("prod", "card-payment/4711", 1, key, 1)
	two := traceparent("prod", "card-payment/4711", 1, key, 2)
	if one != "00-2a119ac2a710bd6da9905ebb8ec0ee04-da6bc48a4cf95f96-01" || two != "00-2a119ac2a710bd6da9905ebb8ec0ee04-8821064572d3182f-01" {
		t.Fatalf("got\n%s\n%s", one, two)
	}
}

func TestBackoff(t *testing.T) {
	r := Retry{Backoff: 1e9, BackoffMax: 10e9, Factor: 2}
	for n, want := range []int64{1: 1000, 2000, 4000, 8000, 10000, 10000} {
		if n > 0 && backoff(&r, uint32(n), 0) != want {
			t.Errorf("attempt %d: %d, want %d", n, backoff(&r, uint32(n), 0), want)
		}
	}
	if got := backoff(&r, 1<<32-1, 0); got != 10000 {
		t.Errorf("a great attempt number: %d", got)
	}
	r.Jitter = 0.5
	low, high := int64(1<<62), int64(0)
	for a := uint32(1); a <= 1000; a++ {
		got := backoff(&r, 9, jitterSeed("pay/1", "a", OpDo, 1, a))
		low, high = min(low, got), max(high, got)
	}
	if low < 5000 || high > 10000 || low > 5100 || high < 9900 {
		t.Errorf("jitter spreads from %d to %d", low, high)
	}
	if got := backoff(&r, 3, jitterSeed("card-payment/4711", "auth", OpDo, 1, 3)); got != 2386 {
		t.Errorf("golden: %d", got)
	}
}
