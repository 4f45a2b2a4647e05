package blackbox

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/amendsio/amends/internal/kafkatest"
)

// The scale of TestKafkaRoll. The defaults are those of the suite; make roll sets
// what the limits are stated for.
var (
	rollRate       = flag.Int("roll.rate", 40, "sagas offered per second, evenly over the partitions")
	rollRounds     = flag.Int("roll.rounds", 2, "rolling restarts of all processes")
	rollKills      = flag.Int("roll.kills", 1, "processes killed with -9 after that, one at a time")
	rollProcesses  = flag.Int("roll.processes", 2, "processes")
	rollPartitions = flag.Int("roll.partitions", 6, "partitions of the namespace, and tasks")
	rollState      = flag.Int("roll.state", 0, "MB of state that each process holds")
	rollWarm       = flag.Duration("roll.warm", 0, "load, and then a round of restarts that does not count, before the first one that does: brokers that have just started are several times as slow as ten minutes later")
	rollWithin     = flag.Duration("roll.within", 5*time.Minute, "the whole test; what is not there by then is a failure")
	rollLogs       = flag.String("roll.logs", "", "directory to which the processes' logs are copied at the end")
	rollLimits     = flag.Bool("roll.limits", false, "fail when a limit is not held; otherwise it is only printed")
)

// The limits.
const (
	rollGap     = time.Second      // longest pause in the completions of a partition around a restart, p99
	rollLate    = 2 * time.Second  // of any timer that is due around a restart
	rollBack    = 10 * time.Second // from kill -9 to the next completion of a partition, p99
	rollSession = 6 * time.Second  // after which the group notices a death
	rollAfter   = 2 * time.Second  // from there, since a standby is warm
)

const (
	rollNap   = time.Second // between the two steps of each saga
	rollPad   = 8 << 10     // bytes of state of a saga that only sleeps
	rollQuiet = 3 * time.Second
)

// TestKafkaRoll restarts all processes of a namespace one after the other, as a
// rolling update does (SIGTERM, wait for the end, start, wait until it is ready),
// while sagas are offered at a steady rate; then it kills some. It prints how long
// each partition stood still, and wants no saga lost or doubled.
func TestKafkaRoll(t *testing.T) {
	c := kafkatest.Real(t)
	r := newRoller(t, c)
	r.enter("start")
	processes := startMembers(t, c, *rollProcesses)
	t.Cleanup(func() { keepLogs(t, processes) })
	r.apply()
	r.follow()
	r.enter("fill")
	r.fill()
	r.enter("settle")
	stop := r.offer()
	r.settle()
	r.waitWarm(processes)
	restart := func(round int, p *process) []time.Duration {
		since := time.Now()
		p.terminate(r.left(time.Minute))
		down := time.Since(since)
		p.start()
		p.waitReady(r.left(2 * time.Minute))
		ready := time.Since(since)
		time.Sleep(rollQuiet)
		found := r.gaps(since, time.Now())
		t.Logf("round %d: %s down after %v, ready after %v, longest gap of a partition %v", round, p.name,
			down.Round(time.Millisecond), ready.Round(time.Millisecond), slices.Max(found).Round(time.Millisecond))
		return found
	}
	if *rollWarm > 0 {
		r.enter("warm")
		time.Sleep(r.left(*rollWarm))
		for _, p := range processes { // round 0 does not count
			restart(0, p)
		}
	}

	var steady, gaps, back samples
	r.enter("steady")
	since, busy := time.Now(), cpuTimes()
	time.Sleep(5 * rollQuiet)
	steady.add(r.gaps(since, time.Now())...)
	load := busy.since()
	calm := r.lateness(since, time.Now())

	rolling := time.Now()
	for round := range *rollRounds {
		r.enter(fmt.Sprintf("round %d", round+1))
		for _, p := range processes {
			gaps.add(restart(round+1, p)...)
		}
	}
	late := r.lateness(rolling, time.Now())
	for kill := range *rollKills {
		r.enter(fmt.Sprintf("kill %d", kill+1))
		p := processes[kill%len(processes)]
		r.waitWarm(processes)
		since := time.Now()
		p.kill()
		r.awaitAll(since, r.left(time.Minute))
		found := r.gaps(since, time.Now())
		back.add(found...)
		t.Logf("kill %d: %s is gone, longest gap of a partition %v", kill+1, p.name, slices.Max(found).Round(time.Millisecond))
		p.start()
		p.waitReady(r.left(2 * time.Minute))
	}
	r.enter("end")
	stop()
	r.waitAll(r.left(time.Minute))

	t.Logf("%d sagas/s offered over %d partitions, %d processes, %d MB of state each; processors busy without a restart: %s",
		*rollRate, *rollPartitions, *rollProcesses, *rollState, load)
	t.Logf("longest gaps without a restart in %v, per partition:\n%s", 5*rollQuiet, &steady)
	t.Logf("longest gaps around a restart, per partition and restart:\n%s", &gaps)
	t.Logf("longest gaps around kill -9, per partition and kill:\n%s", &back)
	moves := takeovers(t, processes)
	t.Logf("takeovers, from fencing the former owner to the end of the changelog:\n%s", &moves.still)
	t.Logf("takeovers, what was made ready before that:\n%s", &moves.before)
	t.Logf("takeovers, from the end of the changelog to the first commit:\n%s", &moves.first)
	t.Logf("timers' lateness without a restart, with the hops around them:\n%s", &calm)
	t.Logf("timers' lateness around restarts, with the hops around them:\n%s", &late)
	limit := func(what string, got, most time.Duration) {
		if verdict := fmt.Sprintf("%s: %v, limit %v", what, got.Round(time.Millisecond), most); got <= most || !*rollLimits {
			t.Log(verdict)
		} else {
			t.Error(verdict)
		}
	}
	limit("gap at a restart, p99", gaps.percentile(99), rollGap)
	limit("latest timer around restarts", late.percentile(100), rollLate)
	if *rollKills > 0 {
		limit("gap at kill -9, p99", back.percentile(99), rollBack)
		limit("gap at kill -9 after the session's end, p99", back.percentile(99)-rollSession, rollAfter)
	}
	r.check()
	for _, p := range processes {
		p.terminate(time.Minute)
	}
}

// startMembers starts processes that hand their tasks over: dynamic members. All
// at once, so that they meet at the making of the topics.
func startMembers(t *testing.T, c *kafkatest.Cluster, n int) []*process {
	t.Helper()
	return startProcessesWith(t, c, n, func(string) []string {
		return []string{"--replication-factor", strconv.Itoa(replicas(c)), "--partitions", strconv.Itoa(*rollPartitions)}
	})
}

func replicas(c *kafkatest.Cluster) int { return min(3, len(c.Seeds())) }
