package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Result is one measured run. Durations in milliseconds, sizes in bytes.
type Result struct {
	What        string             `json:"what"` // engine or ceiling, with its settings
	Workload    string             `json:"workload"`
	InFlight    int                `json:"inFlight,omitempty"`
	Rate        float64            `json:"rate,omitempty"`
	Sagas       int                `json:"sagas"`
	Completed   int                `json:"completed"`
	Compensated int                `json:"compensated"`
	Seconds     float64            `json:"seconds"`
	PerSecond   float64            `json:"sagasPerSecond"`
	Transitions float64            `json:"transitionsPerSecond"`
	P50         float64            `json:"p50"`
	P99         float64            `json:"p99"`
	P999        float64            `json:"p999"`
	CPU         map[string]float64 `json:"cpuPerSaga"` // ms by process: engine, load, broker
	CPUAll      float64            `json:"cpuPerSagaAll"`
	Peak        map[string]int64   `json:"peakRSS"`
	Broker      *Traffic           `json:"topics,omitempty"`
}

// Traffic is what the topics of the namespace grew by, per saga.
type Traffic struct {
	Records      float64 `json:"recordsPerSaga"`
	Bytes        float64 `json:"bytesPerSaga"` // as the broker stores them, one replica
	Transactions float64 `json:"transactionsPerSaga,omitempty"`
}

// Report is what one invocation measured.
type Report struct {
	Engine  Result  `json:"engine"`
	Ceiling *Result `json:"ceiling,omitempty"`
	// Ratio is the engine's sagas/s by the ceiling's; with a rate it is 0.
	Ratio float64 `json:"ratio,omitempty"`
	// LatencyRatio is the engine's p50 by the ceiling's.
	LatencyRatio float64 `json:"latencyRatio,omitempty"`
	// Curve is latency against load: an open loop at each rate, in their order; at each the ceiling, if it
	// runs, and then the engine.
	Curve []Result `json:"curve,omitempty"`
}

func (r *Result) fill(w *Workload, l Load, out Outcome) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.Workload, r.InFlight, r.Rate, r.Sagas = w.Name, l.InFlight, l.Rate, l.Sagas
	if l.Rate > 0 {
		r.InFlight = 0
	}
	r.Completed, r.Compensated, r.Seconds = out.Completed, out.Compensated, out.Took.Seconds()
	r.PerSecond = float64(l.Sagas) / r.Seconds
	r.Transitions = r.PerSecond * float64(w.Transitions)
	r.P50, r.P99, r.P999 = ms(Percentile(out.Latency, 50)), ms(Percentile(out.Latency, 99)), ms(Percentile(out.Latency, 99.9))
}

// cpus is what each process used, in ms per saga.
func (r *Result) cpus() string {
	return fmt.Sprintf("engine %.3f, load %.3f, broker %.3f", r.CPU["engine"], r.CPU["load"], r.CPU["broker"])
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "what\tsagas/s\ttransitions/s\tp50 ms\tp99 ms\tp99.9 ms\tCPU ms/saga\tengine\tload\tbroker\tengine peak MB\trecords/saga\tbytes/saga\ttxn/saga")
	for _, res := range []*Result{&r.Engine, r.Ceiling} {
		if res == nil {
			continue
		}
		traffic := res.Broker
		if traffic == nil {
			traffic = &Traffic{}
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\t%.3f\t%d\t%.1f\t%.0f\t%.3f\n", res.What, res.PerSecond, res.Transitions,
			res.P50, res.P99, res.P999, res.CPUAll, res.CPU["engine"], res.CPU["load"], res.CPU["broker"], res.Peak["engine"]>>20,
			traffic.Records, traffic.Bytes, traffic.Transactions)
	}
	t.Flush()
	if len(r.Curve) > 0 {
		fmt.Fprintln(t, "\noffered/s\twhat\tsagas/s\tp50 ms\tp99 ms\tp99.9 ms\tCPU ms/saga\tprocessors busy\ttxn/saga")
		for i := range r.Curve {
			res := &r.Curve[i]
			txn := 0.0
			if res.Broker != nil {
				txn = res.Broker.Transactions
			}
			fmt.Fprintf(t, "%.0f\t%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.3f\t%.2f\t%.3f\n", res.Rate, res.What, res.PerSecond, res.P50, res.P99, res.P999,
				res.CPUAll, res.CPUAll*res.PerSecond/1000, txn)
		}
		t.Flush()
	}
	if r.Ratio > 0 {
		fmt.Fprintf(w, "engine / ceiling: %.2f of the sagas/s, %.2f times the p50\n", r.Ratio, r.LatencyRatio)
	} else if r.LatencyRatio > 0 {
		fmt.Fprintf(w, "engine / ceiling: %.2f times the p50\n", r.LatencyRatio)
	}
}
