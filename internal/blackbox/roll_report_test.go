package blackbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// moves is what the processes logged of their takeovers.
type moves struct {
	still  samples // from fencing the former owner to the end of the changelog
	before samples // what was made ready until then
	first  samples // from there to the first commit
}

// takeovers reads from the processes' logs how long each task stood still by the
// taking over alone, and how long it took to get ready for that.
func takeovers(t *testing.T, processes []*process) (m moves) {
	t.Helper()
	for _, p := range processes {
		b, err := os.ReadFile(p.log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var said struct {
				Msg                                string
				Warming, Fencing, Reading, Resumed time.Duration
			}
			if json.Unmarshal([]byte(line), &said) != nil {
				continue
			}
			switch said.Msg {
			case "taken over":
				m.still.add(said.Fencing + said.Reading)
				m.before.add(said.Warming)
			case "first commit after the takeover":
				m.first.add(said.Resumed)
			}
		}
	}
	return m
}

// keepLogs copies the logs of the processes to where -roll.logs says.
func keepLogs(t *testing.T, processes []*process) {
	for _, p := range processes {
		if *rollLogs == "" {
			return
		}
		b, err := os.ReadFile(p.log)
		if err == nil {
			err = os.WriteFile(filepath.Join(*rollLogs, p.name+".log"), b, 0o644)
		}
		if err != nil {
			t.Errorf("log of %s: %v", p.name, err)
		}
	}
}

// cpu is what the processors of this machine have done since it started, in ticks.
type cpu struct{ busy, nice, all uint64 }

// cpuTimes reads it; where it cannot be read it stays nothing.
func cpuTimes() (c cpu) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return c
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil || i > 7 { // guests are in user time already
			continue
		}
		c.all += n
		if i == 1 {
			c.nice += n
		}
		if i != 3 && i != 4 { // idle, waiting for a disk
			c.busy += n
		}
	}
	return c
}

// since is the share of the time in which they were busy, with all there is on
// this machine. What somebody runs beside the test at a lower priority is named.
func (c cpu) since() string {
	now := cpuTimes()
	if now.all == c.all {
		return "unknown"
	}
	share := func(part uint64) uint64 { return part * 100 / (now.all - c.all) }
	if nice := share(now.nice - c.nice); nice > 0 {
		return fmt.Sprintf("%d %%, %d %% of it niced", share(now.busy-c.busy), nice)
	}
	return fmt.Sprintf("%d %%", share(now.busy-c.busy))
}

// samples are durations that print as a histogram.
type samples struct{ all []time.Duration }

func (s *samples) add(d ...time.Duration) { s.all = append(s.all, d...) }

// percentile is the smallest sample that p in a hundred do not exceed.
func (s *samples) percentile(p int) time.Duration {
	if len(s.all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.all))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func (s *samples) String() string {
	if len(s.all) == 0 {
		return "  none"
	}
	edges := []time.Duration{50, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, 8000, 10000, 15000}
	counts := make([]int, len(edges)+1)
	for _, d := range s.all {
		i := 0
		for i < len(edges) && d > edges[i]*time.Millisecond {
			i++
		}
		counts[i]++
	}
	var b strings.Builder
	for i, n := range counts {
		if n == 0 {
			continue
		}
		label := "more"
		if i < len(edges) {
			label = "<= " + (edges[i] * time.Millisecond).String()
		}
		fmt.Fprintf(&b, "  %-9s %6d %s\n", label, n, strings.Repeat("#", max(1, n*50/len(s.all))))
	}
	fmt.Fprintf(&b, "  %d samples, p50 %v, p90 %v, p99 %v, max %v", len(s.all), s.percentile(50).Round(time.Millisecond),
		s.percentile(90).Round(time.Millisecond), s.percentile(99).Round(time.Millisecond), s.percentile(100).Round(time.Millisecond))
	return b.String()
}
