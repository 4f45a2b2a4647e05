// Package participant is the Go kit for services that execute saga commands. It keeps the contract
// of docs/protocol.md, so that a service has only its handlers to write:
//
//	p, err := participant.New(participant.Config{
//		Name:   "stock",
//		Client: []kgo.Opt{kgo.SeedBrokers("localhost:9092")},
//		Inbox:  participant.NewMemory(0),
//	})
//	participant.Do(p, "reserve", func(ctx context.Context, tx participant.Tx, in Reserve) (Reserved, error) {
//		if in.Quantity > 10 {
//			return Reserved{}, participant.Reject("OUT_OF_STOCK", "at most 10")
//		}
//		return Reserved{ID: tx.Key()}, tx.Put("r/"+tx.Key(), []byte(in.SKU))
//	})
//	participant.Undo(p, "release", func(ctx context.Context, tx participant.Tx, in Reserve, fwd participant.Forward) error {
//		return tx.Delete("r/" + fwd.Key)
//	})
//	err = p.Run(ctx)
//
// What it promises:
//
//   - A handler runs inside one local transaction of the Inbox, together with the row that
//     remembers its answer. A handler cannot reply by itself, and its Tx is dead once it returned.
//   - One key, one answer: a redelivered command hears the stored answer; a do whose undo came first
//     never runs; an undo of nothing is answered without calling the handler.
//   - Every answer that says "no effect remains" is stored, or stays true by itself (a deadline that
//     has passed). A refusal can never turn into a success later.
//   - A command's offset is committed after its reply was acknowledged, never before.
//   - Commands with the same record key are handled in order, one at a time, within one process.
//
// Adapters: Memory, for tests and for services that may forget; package sqlinbox keeps the inbox in
// the service's own PostgreSQL, MySQL or SQLite; package durable keeps inbox and business data in a
// local store with a Kafka changelog. Conformance checks an adapter against the contract.
package participant
