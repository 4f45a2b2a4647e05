package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/amendsio/amends/sagas"
)

// Where the knowledge about a topic stands.
const (
	TopicThere   = "there"
	TopicMissing = "missing"
	TopicDenied  = "denied" // this process may not describe it
	TopicUnknown = "unknown"
)

// Ask names one command, or with an empty Key one topic, that facts are wanted for.
type Ask struct {
	WorkflowID  string
	Path        string
	Op          sagas.Op // 0 without a Key
	Participant string
	Topic       string
	Key         string     // idempotency key of the command
	From        sagas.Time // not sent before
	Attempt     uint32     // newest attempt that was sent
}

// Command is what is known of one command, or of one topic that takes none. -1 stands for a number
// that is not known.
type Command struct {
	Path        string `json:"path,omitempty"`
	Op          string `json:"op,omitempty"`
	Participant string `json:"participant,omitempty"`
	Topic       string `json:"topic"`
	TopicState  string `json:"topicState"`
	Partition   int32  `json:"partition"`
	First       int64  `json:"first"`             // offset of the oldest attempt that was found
	Offset      int64  `json:"offset"`            // of the newest attempt that was found
	Attempt     uint32 `json:"attempt,omitempty"` // that attempt
	End         int64  `json:"end"`               // where readers of committed records end now
	// Group is the participant's: named like it, or else the one that reads nearest to the end.
	Group string `json:"group,omitempty"`
	// GroupsKnown: the groups with a position on the topic were looked up; then none listed means that
	// there is none that this process may see.
	GroupsKnown bool     `json:"groupsKnown"`
	Groups      []Group  `json:"groups,omitempty"`
	Unknown     []string `json:"-"` // listed in Explanation.Unknown
}

// Group is a consumer group with a position on the topic.
type Group struct {
	Name     string `json:"name"`
	State    string `json:"state,omitempty"`
	Members  int    `json:"members"`
	Position int64  `json:"position"` // next offset that it reads of the partition
	Lag      int64  `json:"lag"`      // from there to End; markers of transactions count
}

// ReadPast says whether the group has read the newest attempt of the command, and whether any; known is
// false when that cannot be said.
func (c *Command) ReadPast(g *Group) (newest, any, known bool) {
	switch {
	case g == nil || g.Position < 0:
		return false, false, false
	case c.Offset >= 0:
		return g.Position > c.Offset, g.Position > c.First, true
	case c.End >= 0 && g.Position >= c.End:
		return true, true, true
	}
	return false, false, false
}

// group is the participant's own, nil when none is known.
func (c *Command) group() *Group {
	i := slices.IndexFunc(c.Groups, func(g Group) bool { return g.Name == c.Group })
	if i < 0 {
		return nil
	}
	return &c.Groups[i]
}

// choose picks the participant's group: its name is the participant's, or begins with it; else the one
// with members that is nearest to the end.
func (c *Command) choose() {
	rank := func(g Group) int {
		switch {
		case g.Name == c.Participant, "cmd."+g.Name == c.Topic, g.Name == c.Topic:
			return 0
		case c.Participant != "" && strings.HasPrefix(g.Name, c.Participant):
			return 1
		case g.Members > 0:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(c.Groups, func(a, b Group) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		if a.Position != b.Position {
			return int(min(max(b.Position-a.Position, -1), 1))
		}
		return strings.Compare(a.Name, b.Name)
	})
	if c.Group = ""; len(c.Groups) > 0 {
		c.Group = c.Groups[0].Name
	}
}

// place is where the command lies.
func (c *Command) place() string {
	switch {
	case c.Partition < 0:
		return c.Topic
	case c.Offset < 0:
		return fmt.Sprintf("%s[%d]", c.Topic, c.Partition)
	}
	return fmt.Sprintf("%s[%d]@%d", c.Topic, c.Partition, c.Offset)
}

// verdict is what the facts say about who did not answer, and as a clause.
func (c *Command) verdict() (cause Cause, clause string) {
	if c == nil {
		return CauseParticipantAsked, ""
	}
	where := "its command is at " + c.place()
	switch c.TopicState {
	case TopicMissing:
		return CauseNoTopic, "its topic " + c.Topic + " does not exist any more"
	case TopicDenied, TopicUnknown:
		return CauseParticipantAsked, "its command is on " + c.Topic + ", of which nothing more can be seen from here"
	}
	if !c.GroupsKnown {
		return CauseParticipantAsked, where + ", and who reads it is not known"
	}
	g := c.group()
	if g == nil {
		return CauseParticipantDown, where + ", and no consumer group that can be seen from here has ever read that topic"
	}
	newest, any, known := c.ReadPast(g)
	name := "group " + g.Name
	if g.Members > 0 {
		name += " (" + plural(int64(g.Members), "member") + ")"
	}
	lag := ""
	if g.Lag >= 0 {
		lag = fmt.Sprintf(" (lag %d)", g.Lag)
	}
	read := fmt.Sprintf("%s, and %s has read to %d%s", where, name, g.Position, lag)
	switch {
	case newest:
		read = fmt.Sprintf("%s, which %s has read", where, name)
	case any:
		read = fmt.Sprintf("%s has read an attempt of it at %d, and not yet the newest, at %s%s", name, c.First, c.place(), lag)
	case g.Position < 0:
		read = fmt.Sprintf("%s, and %s has read nothing of that partition", where, name)
	}
	switch {
	case g.Members == 0 && any:
		return CauseParticipantDown, read + "; it went away with it and has no members now"
	case g.Members == 0:
		return CauseNoMembers, read + " and has no members"
	case any:
		return CauseParticipantSilent, read
	case !known && g.Position >= 0:
		return CauseParticipantAsked, read
	}
	return CauseLag, read
}

// command is what was gathered for a step, nil when nothing was.
func (x *explainer) command(path string, op sagas.Op) *Command {
	for i := range x.Commands {
		if c := &x.Commands[i]; c.Path == path && (op == 0 || c.Op == op.String()) {
			return c
		}
	}
	return nil
}

// MaxAsks bounds the commands of one instance that facts are gathered for: those that wait longest.
const MaxAsks = 4

// Asks names the commands of an instance that wait for an answer, and the topics that something of it
// waits for, those that wait longest first.
func Asks(i *sagas.Instance, p *sagas.Plan) []Ask {
	if i == nil || p == nil || !i.Phase.Active() {
		return nil
	}
	var list []Ask
	for k := range i.Steps {
		if a, ok := askOf(i, p, &i.Steps[k]); ok {
			list = append(list, a)
		}
	}
	slices.SortStableFunc(list, func(a, b Ask) int { return int(min(max(a.From-b.From, -1), 1)) })
	list = list[:min(len(list), MaxAsks)]
	for _, w := range i.Waiting(p) {
		if len(list) < MaxAsks && !slices.ContainsFunc(list, func(a Ask) bool { return a.Path == w.Path }) {
			list = append(list, Ask{WorkflowID: i.WorkflowID, Path: w.Path, Topic: w.Topic, Participant: participantOf(i, p, w.Path)})
		}
	}
	return list
}

func participantOf(i *sagas.Instance, p *sagas.Plan, path string) string {
	k := i.StepIndex(path)
	if k < 0 {
		return ""
	}
	s := &i.Steps[k]
	if s.Undo != sagas.UndoNone && s.Record.Set() {
		return s.Record.Participant
	}
	return p.Steps[s.Node].Participant
}

// askOf is the command of a step that is in flight.
func askOf(i *sagas.Instance, p *sagas.Plan, s *sagas.StepState) (Ask, bool) {
	d := &p.Steps[s.Node]
	a := Ask{WorkflowID: i.WorkflowID, Path: s.Path, Topic: topicOf(d.Topic, d.Participant), Participant: d.Participant}
	round := s.Round
	switch {
	case d.Node != sagas.NodeCall:
		return a, false
	case s.Undo == sagas.UndoPending || s.Undo == sagas.UndoBackoff:
		a.Op, a.From, a.Attempt, round = sagas.OpUndo, s.UndoSent, s.UndoAttempts, s.UndoRound
		a.Topic, a.Participant = topicOf(s.Record.Topic, s.Record.Participant), s.Record.Participant
	case s.Undo == sagas.UndoInquiring, s.Undo == sagas.UndoNone && s.State == sagas.StepInquiring && s.Asked > 0:
		a.Op, a.From, a.Attempt = sagas.OpInquire, s.AskedAt, s.Asked
	case s.Undo == sagas.UndoNone && (s.State == sagas.StepPending || s.State == sagas.StepBackoff):
		a.Op, a.From, a.Attempt = sagas.OpDo, s.FirstSent, s.Attempts
	default:
		return a, false
	}
	if a.Attempt == 0 {
		return a, false
	}
	a.Key = sagas.IdempotencyKey(p.Namespace, i.WorkflowID, i.Run, s.Path, a.Op, round)
	return a, true
}

func topicOf(topic, participant string) string {
	if topic == "" {
		return sagas.DefaultCommandTopicStart + participant
	}
	return topic
}
