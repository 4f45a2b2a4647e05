package bench_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/bench"
	"github.com/amendsio/amends/internal/kafkatest"
	"github.com/amendsio/amends/sagas"
)

// TestWorkloads: each compiles without a finding, takes its own input, and has its own command topics.
func TestWorkloads(t *testing.T) {
	for _, name := range bench.Workloads() {
		w, err := bench.WorkloadNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		def, err := w.Definition("load-1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sagas.Compile(def); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range def.Participants {
			if !strings.HasPrefix(p.Topic, "cmd.load-1-") {
				t.Errorf("%s: command topic %s is not of the run", name, p.Topic)
			}
		}
	}
	if _, err := bench.WorkloadNamed("none"); err == nil || !strings.Contains(err.Error(), "transfer") {
		t.Errorf("an unknown name: %v", err)
	}
}

// TestRun: every workload, on a small scale, and the loop beside the transfer. Both must end each saga
// the way it should.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and starts it several times")
	}
	binary := t.TempDir() + "/amends"
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/amendsio/amends/cmd/amends").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := kafkatest.New(t)
	for _, name := range bench.Workloads() {
		t.Run(name, func(t *testing.T) {
			w, err := bench.WorkloadNamed(name)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			var log bytes.Buffer
			report, err := bench.Run(ctx, bench.Options{
				Brokers: c.Seeds(), Namespace: c.Name("bench-" + name), Workload: w, Load: bench.Load{Sagas: 40, InFlight: 20, Refused: 10},
				Warm: 10, Tasks: 2, Processes: 1, Ceiling: name == "transfer", Rounds: 2, Binary: binary, Dir: t.TempDir(), Log: &log,
				Rates: []float64{20, 40}, RateFor: time.Second,
			})
			if err != nil {
				t.Fatalf("%v\n%s", err, log.Bytes())
			}
			results := []*bench.Result{&report.Engine}
			if name == "transfer" {
				if results = append(results, report.Ceiling); report.Ratio <= 0 {
					t.Errorf("no ratio: %+v", report)
				}
			}
			for _, r := range results {
				if r.Completed != 36 || r.Compensated != 4 {
					t.Errorf("%s: %d completed and %d compensated of 40, 4 of which are refused", r.What, r.Completed, r.Compensated)
				}
				if r.CPU["engine"] < 0 || r.Peak["engine"] == 0 || r.Broker.Records < 8 {
					t.Errorf("%s: %+v %+v", r.What, r, r.Broker)
				}
			}
			if n := 2 * len(results); len(report.Curve) != n || report.Curve[n-1].Rate != 40 || report.Curve[n-1].Completed+report.Curve[n-1].Compensated != 40 {
				t.Errorf("curve: %+v", report.Curve)
			}
			var out bytes.Buffer
			report.Print(&out)
			if !strings.Contains(out.String(), "engine, 2 tasks") || !strings.Contains(out.String(), "offered/s") {
				t.Error(out.String())
			}
		})
	}
}

// TestUsage: this process, and the one that listens on a port of this machine.
func TestUsage(t *testing.T) {
	u, err := bench.UsageOf(os.Getpid())
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	if u.RSS <= 0 || u.Peak < u.RSS/2 {
		t.Errorf("%+v", u)
	}
	c := kafkatest.New(t)
	if pids := bench.Listeners(c.Seeds()); !c.IsReal() && (len(pids) != 1 || pids[0] != os.Getpid()) {
		t.Errorf("listeners on %v: %v, and this process is %d", c.Seeds(), pids, os.Getpid())
	}
	if pids := bench.Listeners([]string{"broker.example:9092"}); pids != nil {
		t.Errorf("a process of another machine: %v", pids)
	}
}
