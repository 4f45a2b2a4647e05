package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amendsio/amends/sagas"
)

// fakeCluster answers from its fields and counts the questions.
type fakeCluster struct {
	state    string
	found    Found
	findErr  error
	readers  []string
	seen     int
	readErr  error
	groups   map[string]Group
	groupErr map[string]error
	asked    map[string]int
	hang     bool
}

func (f *fakeCluster) ask(ctx context.Context, what string) error {
	if f.asked == nil {
		f.asked = map[string]int{}
	}
	f.asked[what]++
	if f.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *fakeCluster) Topic(ctx context.Context, _ string) (int32, string, error) {
	return 4, f.state, f.ask(ctx, "topic")
}

func (f *fakeCluster) End(ctx context.Context, _ string, _ int32) (int64, error) {
	return 100, f.ask(ctx, "end")
}

func (f *fakeCluster) Find(ctx context.Context, _ Place, _ Limits) (Found, error) {
	return f.found, errors.Join(f.ask(ctx, "find"), f.findErr)
}

func (f *fakeCluster) Readers(ctx context.Context, _ string, limit int) ([]string, int, error) {
	if err := f.ask(ctx, "readers"); err != nil || f.readErr != nil {
		return nil, 0, errors.Join(err, f.readErr)
	}
	return f.readers[:min(len(f.readers), limit)], max(f.seen, len(f.readers)), nil
}

func (f *fakeCluster) Group(ctx context.Context, name, _ string, _ int32) (Group, error) {
	if err := f.groupErr[name]; err != nil {
		return Group{}, err
	}
	g := f.groups[name]
	g.Name = name
	return g, f.ask(ctx, "group")
}

func (f *fakeCluster) Letter(ctx context.Context, _, _ string, _ Limits) (*DeadLetter, error) {
	return nil, f.ask(ctx, "letter")
}

func gatherer(f *fakeCluster, now *time.Time) *Gatherer {
	return NewGatherer(f, Limits{Groups: 3, Time: 50 * time.Millisecond}, func() time.Time { return *now }, func([]byte, int32) int32 { return 2 })
}

func oneAsk() Ask {
	return Ask{WorkflowID: "order/1", Path: "auth", Op: sagas.OpDo, Participant: "psp", Topic: "cmd.psp", Key: "k", From: 5_000, Attempt: 2}
}

func TestGatherKeepsWhatDoesNotChange(t *testing.T) {
	now := time.UnixMilli(0)
	f := &fakeCluster{state: TopicThere, found: Found{First: 7, Newest: 9, Attempt: 2}, readers: []string{"audit", "psp"},
		groups: map[string]Group{"psp": {Members: 1, Position: 8}, "audit": {Members: 2, Position: 100}}}
	g := gatherer(f, &now)
	for range 3 {
		c := g.Gather(t.Context(), []Ask{oneAsk()})[0]
		if c.Partition != 2 || c.First != 7 || c.Offset != 9 || c.Attempt != 2 || c.End != 100 || c.Group != "psp" || !c.GroupsKnown || len(c.Unknown) != 0 {
			t.Fatalf("%+v", c)
		}
		if g := c.Groups[0]; g.Name != "psp" || g.Lag != 92 {
			t.Errorf("%+v", g)
		}
	}
	if f.asked["find"] != 1 || f.asked["readers"] != 1 || f.asked["group"] != 6 {
		t.Errorf("asked %v", f.asked)
	}
	now = now.Add(time.Minute)
	g.Gather(t.Context(), []Ask{oneAsk()})
	if f.asked["readers"] != 2 {
		t.Errorf("after a minute the groups are the old ones: %v", f.asked)
	}
	again := oneAsk()
	again.Attempt = 3 // not found yet: asked for every time
	g.Gather(t.Context(), []Ask{again})
	g.Gather(t.Context(), []Ask{again})
	if f.asked["find"] != 3 {
		t.Errorf("asked %v", f.asked)
	}
}

// TestGatherSaysWhatIsNotKnown: a missing right, a limit and silence are told apart, and never become facts.
func TestGatherSaysWhatIsNotKnown(t *testing.T) {
	denied := errors.New("GROUP_AUTHORIZATION_FAILED: Not authorized to access group.")
	for _, c := range []struct {
		name    string
		f       fakeCluster
		cause   Cause
		unknown string
	}{
		{"no DESCRIBE on the topic", fakeCluster{state: TopicDenied}, CauseParticipantAsked, "may not describe topic cmd.psp"},
		{"groups are denied", fakeCluster{state: TopicThere, readErr: denied}, CauseParticipantAsked, "which groups read topic cmd.psp: this process may not see it (GROUP_AUTHORIZATION_FAILED)"},
		{"the only group is denied", fakeCluster{state: TopicThere, readers: []string{"psp"}, groupErr: map[string]error{"psp": denied}}, CauseParticipantAsked, "the state of group psp: this process may not see it"},
		{"too many groups", fakeCluster{state: TopicThere, readers: []string{"psp"}, seen: 9, groups: map[string]Group{"psp": {Position: 3}}}, CauseNoMembers, "there are 9 groups, and 3 were looked at"},
		{"the log is too long", fakeCluster{state: TopicThere, findErr: errBounded, readers: []string{"psp"}, groups: map[string]Group{"psp": {Position: 3, Members: 2}}}, CauseParticipantAsked, "too much lies behind"},
		{"it is not there", fakeCluster{state: TopicThere}, CauseParticipantDown, "not on cmd.psp[2] any more, or not visible yet"},
		{"Kafka hangs", fakeCluster{state: TopicThere, hang: true}, CauseParticipantAsked, "Kafka did not answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.UnixMilli(0)
			got := gatherer(&c.f, &now).Gather(t.Context(), []Ask{oneAsk()})[0]
			cause, clause := got.verdict()
			if cause != c.cause {
				t.Errorf("cause %s (%s), want %s", cause, clause, c.cause)
			}
			if !strings.Contains(strings.Join(got.Unknown, "\n"), c.unknown) {
				t.Errorf("not known: %q, want %q", got.Unknown, c.unknown)
			}
			if strings.Contains(clause, "-1") {
				t.Errorf("a number that is not known is told: %s", clause)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	known := func(g ...Group) Command {
		c := Command{Participant: "psp", Topic: "cmd.psp", TopicState: TopicThere, Partition: 1, First: 10, Offset: 14, End: 20, GroupsKnown: true, Groups: g}
		c.choose()
		return c
	}
	for _, c := range []struct {
		name  string
		c     Command
		cause Cause
		says  string
	}{
		{"nobody", known(), CauseParticipantDown, "no consumer group"},
		{"not read, nobody in it", known(Group{Name: "psp", Position: 10, Lag: 10}), CauseNoMembers, "group psp has read to 10 (lag 10) and has no members"},
		{"read, nobody in it", known(Group{Name: "psp", Position: 15, Lag: 5}), CauseParticipantDown, "cmd.psp[1]@14, which group psp has read; it went away"},
		{"read once, nobody in it", known(Group{Name: "psp", Position: 11, Lag: 9}), CauseParticipantDown, "an attempt of it at 10, and not yet the newest, at cmd.psp[1]@14 (lag 9)"},
		{"not read", known(Group{Name: "psp", Members: 2, Position: 4, Lag: 16}), CauseLag, "group psp (2 members) has read to 4 (lag 16)"},
		{"read", known(Group{Name: "psp", Members: 2, Position: 20}), CauseParticipantSilent, "group psp (2 members) has read"},
		{"the participant's own group counts", known(Group{Name: "audit", Members: 1, Position: 20}, Group{Name: "psp", Position: 2, Lag: 18}), CauseNoMembers, "group psp"},
		{"else the one that reads", known(Group{Name: "old", Position: 20}, Group{Name: "pay-service", Members: 1, Position: 3, Lag: 17}), CauseLag, "group pay-service"},
		{"no position", known(Group{Name: "psp", Members: 1, Position: -1, Lag: -1}), CauseLag, "has read nothing of that partition"},
		{"topic gone", Command{Topic: "cmd.psp", TopicState: TopicMissing}, CauseNoTopic, "does not exist any more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cause, clause := c.c.verdict()
			if cause != c.cause || !strings.Contains(clause, c.says) {
				t.Errorf("%s: %s; want %s: %s", cause, clause, c.cause, c.says)
			}
		})
	}
	if cause, clause := (*Command)(nil).verdict(); cause != CauseParticipantAsked || clause != "" {
		t.Errorf("without facts: %s %s", cause, clause)
	}
}

func TestText(t *testing.T) {
	for ms, want := range map[int64]string{-5: "0ms", 999: "999ms", 59_999: "59s", 60_000: "1m", 61_000: "1m1s", 3_660_000: "1h1m", 90_000_000: "1d1h"} {
		if got := span(ms); got != want {
			t.Errorf("span(%d) = %s, want %s", ms, got, want)
		}
	}
	for in, want := range map[string]string{"order/1": "order/1", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "lines[a]/x": "'lines[a]/x'", "$(x)": "'$(x)'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%s) = %s, want %s", in, got, want)
		}
	}
	if got := fmt.Sprint(slices.Collect(slices.Values(sortedNames([]string{"b", "psp-2", "a", "psp"}, "cmd.psp")))); got != "[psp psp-2 a b]" {
		t.Error(got)
	}
}
