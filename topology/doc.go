// Package topology runs a Processor over Kafka topics. Identical processes share
// the work; each keeps the state of its tasks in local stores whose truth is a
// compacted changelog topic; each round of work ends in one Kafka transaction.
// The package knows nothing of what the records mean.
//
//	w, err := topology.New(topology.Config{
//		App:       "payments.saga.",
//		Inputs:    []string{"payments.saga.intake", "payments.saga.replies"},
//		Changelog: "payments.saga.state",
//		DataDir:   "/var/lib/payments",
//		Client:    []kgo.Opt{kgo.SeedBrokers("kafka:9092")},
//		Advertise: "10.0.0.7:7000",
//		Processor: func(task int32) topology.Processor { return newProcessor(task) },
//		Index:     index,
//	})
//	…
//	err = w.Run(ctx) // until ctx ends; then finishes, commits, leaves, closes
//
// # Tasks
//
// The changelog has one partition per task. Task t reads the partitions p of
// every input with p % tasks == t, and nothing else writes its state. The group
// says which process should run a task; being able to commit under the two
// transactional ids of the task is what owning it means.
//
// # Promises
//
// A record or a due timer has its effects (state, outputs, position) exactly
// once, as seen by readers of committed data, whatever crashes when. Effects of
// one record are visible together. Records of one input partition are processed
// in order (with Limits.KeyRecords those of one key of it); those of different
// partitions in any order.
//
// A record that cannot be handled is set aside by the processor in the same
// transaction. What goes wrong with the broker heals by itself. What cannot heal
// halts the one task, with a reason in Tasks, and the others go on.
//
// # Invariants
//
// Each is named with the test that holds it.
//
//  1. The store holds no write whose transaction is not committed: apply comes
//     after EndTxn is acknowledged. (TestCrashEverywhere, TestCommitOrder)
//
//  2. An error anywhere in a commit ends in the crash path: nothing is assumed
//     about its outcome. (TestCommitStopsAtFirstError, TestUnknownOutcome,
//     TestConnectionLostAtEnd)
//
//  3. Both ids are taken before anything is read, so a former owner cannot
//     commit any more; a transaction of timers alone is no exception, because
//     each holds the progress record. (TestTakeoverFences)
//
//  4. Store and changelog have the same content, derived entries included.
//     (every test that ends in rig.rebuilt)
//
//  5. Nothing depends on the group for safety; a fenced task comes back only
//     when a heartbeat has confirmed the membership. (TestTakeoverFences,
//     TestFencedByStranger)
//
//  6. What a poll returned belongs to the present assignment: all changes to it
//     are made between polls. (TestTaskCrash, TestRebalance)
//
//  7. Positions are never guessed: no reset, no jump over records that are gone.
//     (TestTruncatedInput, TestInputLostWhileAway, TestChangelogMadeAnew)
//
//  8. What waits in memory is bounded per task; a slow task does not hold up the
//     others. (TestBoundedQueue, TestQueueMarks)
//
//  9. A record on a foreign partition is sent on once and never processed in
//     place. (TestMisrouted)
//
//  10. One bad record costs itself and nothing else: no partition stops for it,
//     no output of it is seen. (TestPoison, TestPoisonedTimer, TestPoisonFails,
//     TestBisectionCondemnsTheRightInput)
//
//  11. Time on a task never falls. (TestTimeNeverFalls)
//
//  12. A task moves only along the picture at TaskState. (set panics otherwise,
//     in every test)
//
//  13. A topic of others that takes no writes holds back what is for it and
//     nothing else, when the processor is a Releaser; a key that waits is
//     released once for each wait, whatever crashes when.
//     (TestDestinationRefuses, TestCrashWithWaiting)
//
//  14. With Limits.KeyRecords a burst for one key holds up no other key; each
//     record is taken once, and those of a key in order, whatever crashes when.
//     (TestHotKeyIsFair, TestHotKeyCrash, TestSettle, TestHotKeyQueueIsBounded)
//
// # Streams
//
// A Builder makes a Topology out of typed streams (From, Filter, Map, FlatMap, Branch, Merge, Through,
// To), and Process nodes with stores, derived indexes and punctuation in wall and stream time. It
// compiles to a Processor per task; nothing of the promises above changes. Builder.Run makes a
// Processor of one's own the whole topology, without a layer in between. A Topology prints itself;
// package topologytest drives one without a broker.
//
//  15. What a node remembers is in stores, so a record that is rolled back or comes again after a crash
//     changes nothing twice. (TestStreamCrash, TestBuiltTopology, TestSetAside)
//
//  16. Punctuation that was missed is made up for once; stream time never falls. (TestPunctuation,
//     TestPunctuationWhileAway)
//
//  17. In an input of Config.Origins a source position is taken once. (derive: TestIntakeAgain)
//
// # Sharing
//
// Members tell what they hold when they join; the leader plans with package
// balance, which says who runs a task, who keeps a copy of it, and what has to be
// warm before it moves. assignor.go is that as the group's protocol, and
// assignor_wire.go the bytes.
//
//  18. A member lets go of a task before another is given it, also while older
//     processes that know only the plain protocol are in the group. (TestScale,
//     TestRollingUpgrade)
//  19. A task moves from a living member only to a warm copy, and nothing moves
//     that need not. (TestScale, TestStatic; balance: TestHistories)
//  20. What another member said is bounded before it is believed, and what cannot
//     be read counts as not said. (TestStranger, TestWireLimits, FuzzTold)
//
// # Handing over
//
// A standby (standby.go) tails a changelog into the store that the task would
// restore. The store is a replica (replica.go), which goes from one holder in the
// process to the next, open. Who takes a task over reads near to the end first
// and fences the former owner then, who works on until that moment; drain.go is
// that for a process that stops, watchdog.go for a task that is stuck.
//
//  21. A store is open in one place at a time: the next holder of a replica waits
//     until the former has gone. (TestStandbyPromotion, every test by the lock of
//     the directory)
//  22. A standby holds only what is committed, and shows whole commits.
//     (TestStandbySeesNoOpenTransaction, TestStandbyHoldsWhatIsCommitted)
//  23. The promotion of a warm standby restores nothing. (TestStandbyPromotion)
//  24. A task that moves works until it is fenced, and takes nothing over any
//     more. (TestMovingTaskWorksOn)
//  25. The end of a process waits for nobody who is not there, and for nobody
//     longer than Timing.Drain. (TestDrainEnds)
//  26. A stuck task is given away alone, and what it tries later is refused.
//     (TestStuckTask, TestStuckAlone)
//
// # Files
//
// destination.go, lane.go and probe.go keep topics of others from stopping a
// task; fair.go keeps one key from holding the others up. The walk of the data is cycle.go; commit.go ends it; takeover.go is how a task
// begins and how it goes on after any error; task.go is its life. member.go,
// consumer.go and producer.go are the three kinds of Kafka clients. worker.go
// holds them together. stream.go, process.go and builder.go are what authors of topologies use, run.go
// is what they compile to.
package topology
