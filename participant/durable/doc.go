// Package durable runs a participant whose inbox and data live in a local store with a compacted
// changelog topic: no database is needed. The row of a command, what its handler wrote, the position
// in the command topic and the reply are one Kafka transaction, so a crash anywhere leaves either all
// of them or none.
//
//	p, err := durable.New(durable.Config{
//		Name:    "stock",
//		Client:  []kgo.Opt{kgo.SeedBrokers("localhost:9092")},
//		DataDir: "/var/lib/stock",
//		Create:  true,
//	})
//	participant.Do(p, "reserve", reserve)
//	participant.Undo(p, "release", release)
//	err = p.Run(ctx)
//
// What it promises, beside what package participant promises:
//
//   - A reply that a reader with read_committed sees belongs to a row that is stored, and the other
//     way round. There is exactly one reply per delivered command.
//   - An external call (participant.External) is made only after its row "started" is committed.
//   - Rows are forgotten after Config.Retention; a handler's own data is kept until it is deleted.
//
// Data is local to a task: a handler sees what handlers wrote for commands whose record keys hash to
// the same task. Commands are keyed by workflow ID unless the definition says otherwise, so data that
// many sagas share needs a definition that keys the step by it.
//
// Handlers of one task run one after another, on the goroutine of the task. The changelog's partition
// count is the number of tasks; it is fixed when the topic is created.
package durable
