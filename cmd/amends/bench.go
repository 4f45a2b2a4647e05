package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/bench"
	"github.com/amendsio/amends/internal/local"
	"github.com/amendsio/amends/protocol"
)

func newBenchCommand(t *terminal) *cobra.Command {
	var (
		brokers                              []string
		workload                             string
		inFlight, sagas, tasks, procs, fails int
		warm, rounds, lanes                  int
		gather                               time.Duration
		rate                                 float64
		rates                                []string
		rateFor                              time.Duration
		ceiling, asJSON                      bool
		limit                                time.Duration
		engineArgs                           []string
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a cluster and print sagas/s, latency and what each process used",
		Long: `Put load on a cluster and print sagas/s, latency and what each process used.

It makes a namespace of its own on the cluster of --brokers (without: on an embedded broker), starts
amends as processes of this program, drives sagas through it with participants that answer at once, and
removes everything again. With --in-flight it is a closed loop: that many sagas are always under way.
With --rate it is an open loop: so many starts a second, whatever becomes of them, and latency counts
from the moment at which a saga should have started.

--ceiling runs the same transfers through a loop written by hand as well, with transactions and nothing
else, and prints how near the engine comes to it. Compare figures within one run only, and give the
broker time to warm up: --rounds measures both in turn.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := bench.WorkloadNamed(workload)
			if err != nil {
				return &codedError{exitUsage, err}
			}
			if ceiling && w.Name != "transfer" {
				return &codedError{exitUsage, fmt.Errorf("--ceiling knows the workload transfer only")}
			}
			for name, n := range map[string]int{"sagas": sagas, "tasks": tasks, "processes": procs, "in-flight": inFlight, "rounds": rounds} {
				if n < 1 || n > 10_000_000 {
					return &codedError{exitUsage, fmt.Errorf("--%s: %d, want 1 to 10000000", name, n)}
				}
			}
			if lanes < 0 || lanes > tasks || gather < 0 || gather > time.Second {
				return &codedError{exitUsage, fmt.Errorf("--lanes: %d, want at most --tasks; --gather: %s, want at most 1s", lanes, gather)}
			}
			if rate < 0 || fails < 0 || fails > 100 {
				return &codedError{exitUsage, fmt.Errorf("--rate and --refused must not be negative, and --refused not above 100")}
			}
			curve := make([]float64, len(rates))
			for i, text := range rates {
				n, err := strconv.ParseFloat(text, 64)
				if err != nil || !(n > 0 && n <= 1_000_000) {
					return &codedError{exitUsage, fmt.Errorf("--rates: %q, want numbers above 0, such as 20,100,500", text)}
				}
				curve[i] = n
			}
			if rateFor < time.Second || rateFor > time.Hour {
				return &codedError{exitUsage, fmt.Errorf("--rate-for: %s, want 1s to 1h", rateFor)}
			}
			if len(brokers) == 0 {
				broker, err := local.StartBroker("127.0.0.1:0", "")
				if err != nil {
					return err
				}
				defer broker.Close()
				brokers = []string{broker.Addr}
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			dir, err := os.MkdirTemp("", "amends-bench-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			if warm < 0 {
				if warm = max(2*inFlight, 500); ceiling {
					warm = max(warm, sagas)
				}
			}
			report, err := bench.Run(ctx, bench.Options{
				Brokers: brokers, Namespace: fmt.Sprintf("bench-%d", time.Now().UnixMilli()), Workload: w,
				Load: bench.Load{Sagas: sagas, InFlight: inFlight, Rate: rate, Refused: fails}, Warm: warm,
				Tasks: tasks, Processes: procs, Ceiling: ceiling, Lanes: lanes, Gather: gather, Rounds: rounds,
				Rates: curve, RateFor: rateFor,
				Binary: self, EngineArgs: engineArgs, Dir: dir, Log: t.err,
			})
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(t.out)
				enc.SetIndent("", "  ")
				return enc.Encode(report)
			}
			report.Print(t.out)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&brokers, "brokers", nil, "Kafka seed brokers, host:port (default: an embedded broker)")
	f.StringVar(&workload, "workload", "transfer", "transfer, card-payment, fan-out or timers")
	f.IntVar(&inFlight, "in-flight", 1000, "sagas under way at a time")
	f.Float64Var(&rate, "rate", 0, "starts per second instead of --in-flight")
	f.StringSliceVar(&rates, "rates", nil, "then so many starts per second, one rate after the other: latency against load, e.g. 20,100,500,1000")
	f.DurationVar(&rateFor, "rate-for", 10*time.Second, "how long each of --rates")
	f.IntVar(&sagas, "sagas", 20000, "sagas to measure")
	f.IntVar(&fails, "refused", 10, "of 100 sagas, how many a participant refuses, so that they are compensated")
	f.IntVar(&tasks, "tasks", 4, "partitions and tasks of the namespace")
	f.IntVar(&procs, "processes", 1, "processes of the engine")
	f.BoolVar(&ceiling, "ceiling", false, "measure a hand-written loop in the same run, and the ratio")
	f.IntVar(&lanes, "lanes", 0, "of the hand-written loop (default: tries 1, 2 and --tasks, and gathers of 0 to 10 ms)")
	f.DurationVar(&gather, "gather", 0, "how long the hand-written loop gathers, with --lanes")
	f.IntVar(&rounds, "rounds", 1, "how often to measure, engine and loop in turn; the median counts")
	f.IntVar(&warm, "warm", -1, "sagas before the measured ones: a broker is slow until its code is compiled (default twice --in-flight, with --ceiling also --sagas)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.DurationVar(&limit, "limit", 15*time.Minute, "give up after that long")
	f.StringArrayVar(&engineArgs, "engine-arg", nil, "further flag of amends run, e.g. --engine-arg=--log-level=info (repeatable)")
	return cmd
}

// newCeilingCommand is the loop of bench --ceiling as a process of its own, so that its work can be
// told from that of the load.
func newCeilingCommand(t *terminal) *cobra.Command {
	var (
		brokers           []string
		namespace         string
		partitions, lanes int
		gather            time.Duration
	)
	cmd := &cobra.Command{
		Use: "bench-ceiling", Hidden: true, Args: cobra.NoArgs,
		Short: "The hand-written loop of bench --ceiling",
		RunE: func(cmd *cobra.Command, _ []string) error {
			topics, err := protocol.NewTopics(namespace)
			if err != nil {
				return err
			}
			c := bench.Ceiling{Topics: topics, Namespace: namespace, Partitions: int32(partitions), Lanes: int32(lanes), Gather: gather}
			return c.Run(cmd.Context(), []kgo.Opt{kgo.SeedBrokers(brokers...)}, func() { fmt.Fprintln(t.out, "ready") })
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&brokers, "brokers", nil, "Kafka seed brokers")
	f.StringVar(&namespace, "namespace", "", "namespace of the run")
	f.IntVar(&partitions, "partitions", 4, "of the input topics")
	f.IntVar(&lanes, "lanes", 4, "goroutines with two transactional clients each")
	f.DurationVar(&gather, "gather", 0, "wait for more records")
	return cmd
}
