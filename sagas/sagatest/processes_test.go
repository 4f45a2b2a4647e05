package sagatest_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/amendsio/amends/sagas/sagatest"
	"pgregory.net/rapid"
)

// digestVariable makes the test binary print the digest of the fixed scenarios and nothing else.
const digestVariable = "AMENDS_SAGATEST_DIGEST"

// P1, across processes: another process has other map seeds and other addresses, and computes the
// same bytes.
func TestP01_PurityAcrossProcesses(t *testing.T) {
	if os.Getenv(digestVariable) != "" {
		fmt.Printf("digest %s\n", fixedScenarios())
		return
	}
	want := fixedScenarios()
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestP01_PurityAcrossProcesses$")
		cmd.Env = append(os.Environ(), digestVariable+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.Contains(string(out), "digest "+want) {
			t.Fatalf("another process computed something else than %s:\n%s", want, out)
		}
	}
}

// fixedScenarios hashes every state and every effect of scenarios that are the same in each process.
func fixedScenarios() string {
	sum := sha256.New()
	scenarios := rapid.Custom(func(t *rapid.T) int {
		s := newScenario(t, knobs{}, func(r sagatest.Record) {
			fmt.Fprintf(sum, "%x %s\n", encode(r.After), effectsText(r.Effects))
		})
		s.run(knobs{})
		s.settle()
		return len(s.trace)
	})
	for seed := range 60 {
		scenarios.Example(seed)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
