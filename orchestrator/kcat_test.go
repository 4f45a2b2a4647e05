package orchestrator_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
)

// TestBindingKcat is the recipe of docs/bindings.md with kcat itself: a line of shell starts a saga, with a key that
// librdkafka hashes in its own way, and one with an id of its own that is sent twice starts once.
func TestBindingKcat(t *testing.T) {
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed (Debian: apt install kcat); TestEventsOnce sends the same bytes to the same partitions")
	}
	r := newRig(t, kafkatest.Real(t))
	topic := r.c.CreateTopic(r.c.Name("refunds"), 5, nil)
	r.apply(countSaga(topic))
	r.start()
	r.ready()
	send := func(lines string, args ...string) {
		t.Helper()
		cmd := exec.Command(kcat, append([]string{"-P", "-b", strings.Join(r.c.Seeds(), ","), "-t", topic}, args...)...)
		cmd.Stdin = strings.NewReader(lines)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("kcat: %v\n%s", err, out)
		}
	}
	var lines strings.Builder
	for i := range 20 {
		fmt.Fprintf(&lines, "r-%d:{\"id\":\"k%d\",\"amount\":1500}\n", i, i)
	}
	send(lines.String(), "-K:")
	for range 2 {
		send(`{"id":"own"}`, "-H", "ce_id=e-17", "-H", "ce_source=/shop")
	}
	for i := range 20 {
		r.ends(fmt.Sprintf("count/k%d", i), "completed", 20*time.Millisecond)
	}
	r.ends("count/own", "completed", 20*time.Millisecond)
	r.until("the second one is a duplicate", 50*time.Millisecond, func() bool {
		return strings.Contains(strings.Join(r.kinds("count/own"), " "), "duplicate")
	})
	if d := r.deadLetters(); len(d) > 0 {
		t.Errorf("dead letters: %+v", d[0].why)
	}
}
