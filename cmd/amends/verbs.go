package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/amendsio/amends/orchestrator"
)

// verb is one entry of the table of commands. All that the program can do stands there once.
type verb struct {
	// name under its noun. A verb without a noun stands at the top only, under the name it has.
	name string
	// short are its names without the noun. The first is in the help of the program unless quiet.
	short []string
	quiet bool
	make  func(*terminal) *cobra.Command
}

// noun groups verbs.
type noun struct {
	name    string
	aliases []string
	group   string
	says    string
	// itself makes the noun a command of its own too.
	itself func(*terminal) *cobra.Command
	verbs  []verb
}

// Groups of the program's help, in order.
const (
	groupUse     = "use"
	groupOperate = "operate"
	groupDefine  = "define"
	groupServe   = "serve"
	groupTool    = "tool"
)

var groups = []*cobra.Group{
	{ID: groupUse, Title: "Start and watch sagas:"},
	{ID: groupOperate, Title: "Operate:"},
	{ID: groupDefine, Title: "Define and test:"},
	{ID: groupServe, Title: "Run:"},
	{ID: groupTool, Title: "Settings and help:"},
}

// nouns is the table of commands.
func nouns() []noun {
	decide := func(how string) func(*terminal) *cobra.Command {
		return func(t *terminal) *cobra.Command { return newDecideCommand(t, how) }
	}
	instance := []verb{
		{name: "list", short: []string{"ls", "list"}, make: newListCommand},
		{name: "get", short: []string{"show", "get"}, make: newGetCommand},
		{name: "history", short: []string{"history"}, make: newHistoryCommand},
		{name: "export", make: newExportCommand},
		{name: "watch", short: []string{"watch"}, make: newWatchCommand},
		{name: "explain", short: []string{"explain"}, make: newExplainCommand},
		{name: "start", short: []string{"start"}, make: newStartCommand},
		{name: "signal", short: []string{"signal"}, quiet: true, make: newSignalCommand},
		{name: "cancel", short: []string{"cancel"}, make: newCancelCommand},
	}
	for i := range operations {
		op := &operations[i]
		instance = append(instance, verb{name: op.verb, short: []string{op.verb}, quiet: true,
			make: func(t *terminal) *cobra.Command { return newOperationCommand(t, op) }})
	}
	return []noun{
		{name: "instance", aliases: []string{"inst"}, group: groupUse, says: "Everything that can be done with instances: start, look, act, repair", verbs: instance},
		{name: "task", group: groupOperate, says: "Approvals that wait for people", verbs: []verb{
			{name: "list", short: []string{"tasks"}, quiet: true, make: newTasksCommand},
			{name: "approve", short: []string{"approve"}, quiet: true, make: decide("approve")},
			{name: "refuse", short: []string{"refuse"}, quiet: true, make: decide("refuse")},
		}},
		{name: "def", aliases: []string{"definition"}, group: groupDefine, says: "Definitions: write, check, prove, publish, compare", verbs: []verb{
			{name: "list", make: newDefListCommand},
			{name: "show", make: newDefShowCommand},
			{name: "apply", short: []string{"apply"}, make: newApplyCommand},
			{name: "activate", short: []string{"activate"}, quiet: true, make: newActivateCommand},
			{name: "diff", short: []string{"diff"}, quiet: true, make: newDiffCommand},
			{name: "check", short: []string{"check"}, make: newCheckCommand},
			{name: "test", short: []string{"test"}, make: newTestCommand},
			{name: "prove", short: []string{"prove"}, make: newProveCommand},
			{name: "fmt", short: []string{"fmt"}, quiet: true, make: newFmtCommand},
			{name: "new", short: []string{"new"}, make: newNewCommand},
			{name: "diagram", short: []string{"diagram"}, make: newDiagramCommand},
			{name: "schema", short: []string{"schema"}, quiet: true, make: newSchemaCommand},
			{name: "asyncapi", short: []string{"asyncapi"}, quiet: true, make: newAsyncAPICommand},
		}},
		{name: "example", group: groupDefine, says: "Play the example sagas with simulated participants", verbs: []verb{
			{name: "list", make: newExampleListCommand},
			{name: "run", make: newExampleRunCommand},
		}},
		{name: "conformance", group: groupDefine, itself: newConformanceCommand},
		{name: "dlq", group: groupOperate, says: "Dead letters: records that were set aside", verbs: []verb{
			{name: "list", make: newLetterListCommand},
			{name: "get", make: newLetterGetCommand},
			{name: "replay", make: newLetterReplayCommand},
			{name: "drop", make: newLetterDropCommand},
		}},
		{name: "binding", group: groupOperate, says: "Topics of others that start and signal sagas", verbs: []verb{
			{name: "list", make: newBindingListCommand},
			{name: "pause", make: newBindingHoldCommand("pause", "Stop reading a topic for a binding, in all processes",
				"Stop reading a topic for a binding, in all processes, until it is resumed. The position stays, instances go on, and what\nis published meanwhile waits in its topic for as long as that keeps it.")},
			{name: "resume", make: newBindingHoldCommand("resume", "Go on reading where a binding was paused", "Go on reading where a binding was paused.")},
			{name: "replay", make: newBindingReplayCommand},
		}},
		{name: "batch", group: groupOperate, says: "Operator actions on many instances", verbs: []verb{
			{name: "start", make: newBatchStartCommand},
			{name: "list", make: newBatchListCommand},
			{name: "get", make: newBatchGetCommand},
			{name: "pause", make: newBatchSteerCommand("pause", orchestrator.BatchPaused, "Stop working on it, until it is resumed")},
			{name: "resume", make: newBatchSteerCommand("resume", orchestrator.BatchRunning, "Go on with it")},
			{name: "cancel", make: newBatchSteerCommand("cancel", orchestrator.BatchCancelled, "End it where it stands; what was sent stays sent")},
		}},
		{name: "audit", group: groupOperate, itself: newAuditCommand},
		{name: "node", group: groupOperate, says: "The processes of a namespace", verbs: []verb{{name: "list", make: newNodeListCommand}}},
		{name: "topic", group: groupOperate, says: "The topics of a namespace: what it needs, what is there", verbs: []verb{
			{name: "plan", make: newTopicPlanCommand},
			{name: "apply", make: newTopicApplyCommand},
			{name: "export", make: newTopicExportCommand},
		}},
		{name: "doctor", group: groupOperate, itself: newDoctorCommand},
		{name: "bundle", group: groupOperate, itself: newBundleCommand},
		{name: "level", group: groupOperate, itself: newLevelCommand, verbs: []verb{{name: "finalize", make: newFinalizeCommand}}},
		{name: "run", group: groupServe, itself: newRunCommand},
		{name: "dev", group: groupServe, itself: newDevCommand, verbs: []verb{
			{name: "status", make: newDevStatusCommand},
			{name: "kill", make: newDevKillCommand},
			{name: "clock", short: []string{"clock"}, quiet: true, make: newClockCommand},
		}},
		{name: "demo", group: groupServe, itself: newDemoCommand},
		{name: "derive", group: groupServe, itself: newDeriveCommand},
		{name: "bridge", group: groupServe, itself: newBridgeCommand},
		{name: "bench", group: groupServe, itself: newBenchCommand},
		{name: "bench-ceiling", itself: newCeilingCommand},
		{name: "config", group: groupTool, says: "Settings: what they are, where each comes from", verbs: []verb{
			{name: "show", make: newConfigShowCommand},
			{name: "reference", make: newConfigReferenceCommand},
			{name: "profiles", make: newConfigProfilesCommand},
			{name: "use", make: newConfigUseCommand},
		}},
		{name: "docs", group: groupTool, itself: newDocsCommand},
		{name: "version", group: groupTool, itself: newVersionCommand},
	}
}

// addVerbs puts the table under the root.
func addVerbs(root *cobra.Command, t *terminal) {
	root.AddGroup(groups...)
	root.SetHelpCommandGroupID(groupTool)
	root.SetCompletionCommandGroupID(groupTool)
	for _, n := range nouns() {
		cmd := &cobra.Command{Use: n.name, Short: n.says, Args: cobra.NoArgs}
		if n.itself != nil {
			cmd = n.itself(t)
		}
		cmd.Aliases, cmd.GroupID = n.aliases, n.group
		for _, v := range n.verbs {
			c := named(v.make(t), v.name)
			c.Aliases = map[string][]string{"list": {"ls"}, "get": {"show"}}[v.name]
			cmd.AddCommand(c)
			for i, short := range v.short {
				c := named(v.make(t), short)
				c.GroupID = n.group
				c.Hidden = v.quiet || i > 0
				if c.Long == "" {
					c.Long = c.Short + "."
				}
				c.Long += "\n\nThe same as amends " + n.name + " " + v.name + "."
				root.AddCommand(c)
			}
		}
		root.AddCommand(cmd)
	}
}

// named gives a command the name under which it stands in one place.
func named(c *cobra.Command, name string) *cobra.Command {
	_, rest, _ := strings.Cut(c.Use, " ")
	c.Use = strings.TrimSpace(name + " " + rest)
	return c
}
