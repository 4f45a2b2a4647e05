package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/amendsio/amends/topology"
)

// TestDestinationLimits: what the flag, the environment and the file say arrives in the configuration.
func TestDestinationLimits(t *testing.T) {
	got, err := destinationLimits([]string{"cmd.psp rate=100 burst=20 retries=0.5 retries-min=5", "*  rate=1.5"})
	want := topology.Destinations{
		All:    topology.Lane{Rate: 1.5},
		Topics: map[string]topology.Lane{"cmd.psp": {Rate: 100, Burst: 20, Retries: 0.5, RetriesMin: 5}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	for text, why := range map[string]string{
		"":                         "does not begin",
		"rate=1":                   "does not begin",
		"cmd.psp":                  "no limit",
		"cmd.psp speed=1":          "speed is not",
		"cmd.psp rate":             "rate:",
		"cmd.psp rate=0":           "above 0",
		"cmd.psp rate=NaN":         "above 0",
		"cmd.psp rate=-1":          "above 0",
		"cmd.psp rate=1 rate=2":    "twice",
		"cmd.psp rate=1 burst=1.5": "whole",
		"cmd.psp burst=1":          "without rate",
		"cmd.psp retries-min=1":    "without retries",
	} {
		if _, err := destinationLimits([]string{text}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := destinationLimits([]string{"a rate=1", "a rate=2", "b x=1"}); err == nil || !strings.Contains(err.Error(), "already") || !strings.Contains(err.Error(), "x is not") {
		t.Errorf("two faults: %v", err)
	}
}

// TestDestinationSettings: all three ways to say it.
func TestDestinationSettings(t *testing.T) {
	file := write(t, "amends.yaml", "destination-limits:\n  - cmd.psp rate=3\n  - \"* rate=4\"\n")
	for _, c := range []struct {
		name, env string
		args      []string
		want      float64 // of cmd.psp
	}{
		{"file", "", []string{"--config", file}, 3},
		{"environment", "cmd.psp rate=5,* rate=4", []string{"--config", file}, 5},
		{"flag", "cmd.psp rate=5", []string{"--config", file, "--destination-limits", "cmd.psp rate=6", "--destination-limits", "* rate=4"}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("AMENDS_DESTINATION_LIMITS", c.env)
			}
			term := terminal{}
			cmd := newRunCommand(&term)
			if err := cmd.ParseFlags(c.args); err != nil {
				t.Fatal(err)
			}
			cfg, _, err := serverConfig(cmd, &term)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Destinations; got.Topics["cmd.psp"].Rate != c.want || got.All.Rate != 4 {
				t.Errorf("%+v", got)
			}
		})
	}
}
