package orchestrator

import "testing"

// The parts of a budget are its whole, but for what the least of each is.
func TestDivideMemory(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		budget             int64
		correlates         bool
		sagas, correlation int64
	}{
		{0, true, 0, 0},
		{4096 * mib, true, 3584 * mib, 512 * mib},
		{4096 * mib, false, 4096 * mib, 512 * mib},
		{256 * mib, true, 192 * mib, 64 * mib},
		{64 * mib, true, 64 * mib, 64 * mib},
	} {
		if s, k := divideMemory(c.budget, c.correlates); s != c.sagas || k != c.correlation {
			t.Errorf("%d %t: sagas %d, correlation %d", c.budget, c.correlates, s, k)
		}
	}
}
