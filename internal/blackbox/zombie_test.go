package blackbox

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/changelog"
	"github.com/amendsio/amends/internal/kafkatest"
)

// TestKafkaZombie stops one of three processes for longer than its session
// while all its instances wait on timers only, lets the others take over, and
// then lets it go on as if no time had passed. What it still holds must not
// reach the log: not a command, not a record of state, and also not a
// transaction that has consumed nothing.
func TestKafkaZombie(t *testing.T) {
	c := kafkatest.Real(t)
	const sagas = 600
	w := newWorld(t, c)
	processes := startProcesses(t, c, 3)
	w.apply(2*time.Second, 10, 0)
	w.follow()
	commits := followCommits(t, c)

	// Nobody ships: every saga ends up in retries, which timers drive.
	w.ship.mute.Store(true)
	<-w.begin(sagas, 10*time.Second)
	w.waitFor(time.Minute, "all instances wait for the shipment or have ended", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		waiting := 0
		for _, kinds := range w.facts {
			if slices.Contains(kinds, "committed") || terminal(kinds[len(kinds)-1]) {
				waiting++
			}
		}
		return waiting == sagas
	})

	// A zombie that hears of its loss from the group before its timers fire
	// tries nothing. So there are rounds, until the broker had to refuse one.
	refused := 0
	for round := 1; refused == 0; round++ {
		if round > 6 {
			t.Fatal("in six rounds no zombie has tried to write: this test proves nothing")
		}
		refused = w.zombie(processes, commits)
	}

	w.ship.mute.Store(false)
	w.waitEnded(sagas, 90*time.Second)
	w.check(processes)
	commits.check()
	t.Logf("commits: %s", commits)
	for _, p := range processes {
		p.terminate(30 * time.Second)
	}
}

// zombie stops one process, lets the others take over, and lets it go on. It
// returns how often the broker has refused what the process tried to write.
func (w *world) zombie(processes []*process, commits *commits) (refused int) {
	w.t.Helper()
	var zombie *process
	var tasks []int32
	w.waitFor(time.Minute, "a process has tasks to lose", func() bool {
		// The zombie of the last round may still wait for its share.
		zombie = processes[w.rng.IntN(len(processes))]
		tasks = commits.ownedBy(zombie.listen)
		return len(tasks) > 0
	})
	said := len(logOf(w.t, zombie))
	zombie.pause()
	w.t.Logf("stopped %s, which owns tasks %v", zombie.name, tasks)
	w.waitFor(time.Minute, "other processes commit for all of its tasks", func() bool {
		return !slices.ContainsFunc(tasks, func(task int32) bool { return commits.last(task).Owner == zombie.listen })
	})
	taken := commits.lastOf(tasks)
	w.waitFor(time.Minute, "timers fire in the new owners", func() bool { return commits.timersSince(taken) >= 2*len(tasks) })

	before := commits.timersSince(taken)
	zombie.resume()
	w.waitFor(time.Minute, "the zombie closes its tasks", func() bool {
		return strings.Count(logOf(w.t, zombie)[said:], `"task closed"`) >= len(tasks)
	})
	// Whatever it still wants to do, it has the time to.
	w.waitFor(2*time.Minute, "timers go on firing", func() bool { return commits.timersSince(taken) >= before+2*len(tasks) })
	refused = refusals(logOf(w.t, zombie)[said:])
	w.t.Logf("%s went on: %d transactions by timers alone had been committed for its tasks meanwhile; %d of its own were refused", zombie.name, before, refused)
	return refused
}

// refusals counts the batches that the broker has refused because their owner was fenced. A task says
// so in one of two ways: it hears of the refusal first, or of its loss.
func refusals(log string) (n int) {
	for line := range strings.Lines(log) {
		fenced := strings.Contains(line, "INVALID_PRODUCER_EPOCH") || strings.Contains(line, "PRODUCER_FENCED")
		if strings.Contains(line, "another owner has taken the task") || fenced && strings.Contains(line, "task dropped its batch") {
			n++
		}
	}
	return n
}

func logOf(t *testing.T, p *process) string {
	t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// waitFor waits until ok says so. The time is patience, not a measurement.
func (w *world) waitFor(patience time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("after %v still not: %s. Open: %s", patience, what, w.openSample())
		}
	}
}

// commits are the progress records of a namespace's changelog, as a
// read_committed reader saw them one by one.
type commits struct {
	t *testing.T

	mu    sync.Mutex
	tasks map[int32][]commit
}

type commit struct {
	changelog.Progress
	offset int64
	timers bool // it has consumed nothing
}

func followCommits(t *testing.T, c *kafkatest.Cluster) *commits {
	t.Helper()
	cs := &commits{t: t, tasks: make(map[int32][]commit)}
	cl, err := kgo.NewClient(c.Opts(
		kgo.ConsumeTopics(c.Namespace()+".saga.state"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(cs.add)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
		cl.Close()
	})
	return cs
}

func (cs *commits) add(r *kgo.Record) {
	if string(r.Key) != changelog.ProgressKey {
		return
	}
	p, err := changelog.DecodeProgress(r.Value)
	if err != nil {
		cs.t.Errorf("task %d: progress at offset %d: %v", r.Partition, r.Offset, err)
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := cs.tasks[r.Partition]
	timers := len(all) > 0 && slices.Equal(all[len(all)-1].Inputs, p.Inputs)
	cs.tasks[r.Partition] = append(all, commit{p, r.Offset, timers})
}

// last is the newest commit of a task.
func (cs *commits) last(task int32) commit {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := cs.tasks[task]
	if len(all) == 0 {
		return commit{}
	}
	return all[len(all)-1]
}

func (cs *commits) lastOf(tasks []int32) map[int32]commit {
	m := make(map[int32]commit)
	for _, task := range tasks {
		m[task] = cs.last(task)
	}
	return m
}

// ownedBy gives the tasks whose newest commit is by the process at address.
func (cs *commits) ownedBy(address string) []int32 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var tasks []int32
	for task, all := range cs.tasks {
		if all[len(all)-1].Owner == address {
			tasks = append(tasks, task)
		}
	}
	slices.Sort(tasks)
	return tasks
}

// timersSince counts the commits after those given that consumed nothing.
func (cs *commits) timersSince(since map[int32]commit) int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	n := 0
	for task, from := range since {
		for _, c := range cs.tasks[task] {
			if c.offset > from.offset && c.timers {
				n++
			}
		}
	}
	return n
}

// check wants one line of commits per task: numbered without gap, time and
// epoch never falling, each epoch with one owner. A commit of a fenced owner
// would repeat a number, or bring back an old epoch.
func (cs *commits) check() {
	cs.t.Helper()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for task, all := range cs.tasks {
		for i := 1; i < len(all); i++ {
			was, is := all[i-1], all[i]
			switch {
			case is.Commit != was.Commit+1:
				cs.t.Errorf("task %d: commit %d of %s (epoch %d) follows commit %d of %s (epoch %d)", task, is.Commit, is.Owner, is.Epoch, was.Commit, was.Owner, was.Epoch)
			case is.Epoch < was.Epoch:
				cs.t.Errorf("task %d: epoch %d of %s follows epoch %d of %s", task, is.Epoch, is.Owner, was.Epoch, was.Owner)
			case is.Epoch == was.Epoch && is.Owner != was.Owner:
				cs.t.Errorf("task %d: epoch %d has two owners, %s and %s", task, is.Epoch, was.Owner, is.Owner)
			case is.Time < was.Time:
				cs.t.Errorf("task %d: commit %d goes back in time by %d ms", task, is.Commit, was.Time-is.Time)
			}
		}
	}
}

func (cs *commits) String() string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all, timers, takeovers := 0, 0, 0
	for _, task := range cs.tasks {
		all += len(task)
		for i, c := range task {
			if c.timers {
				timers++
			}
			if i > 0 && c.Epoch != task[i-1].Epoch {
				takeovers++
			}
		}
	}
	return fmt.Sprintf("%d of %d tasks, %d by timers alone, %d takeovers", all, len(cs.tasks), timers, takeovers)
}
