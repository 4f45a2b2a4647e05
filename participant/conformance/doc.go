// Package conformance plays the nasty cases of docs/protocol.md against a running participant, over Kafka and from
// outside: whatever language it is written in, it is a topic to write to and replies to read.
//
//	report, err := conformance.Run(ctx, conformance.Config{
//		Participant: "stock",
//		Client:      []kgo.Opt{kgo.SeedBrokers("localhost:9092")},
//		Do:          "reserve", Undo: "release",
//		Accept:      []byte(`{"amount":5}`),
//		Refuse:      []byte(`{"amount":2000000}`),
//	})
//
// What it promises:
//
//   - Commands look as the orchestrator's do, and go to the participant's own topic. Replies come to a topic made for
//     the run, so no orchestrator hears of it. The participant's business does: run it against a test system.
//   - A fault is found from answers alone where that is possible. How often an effect stands can only be seen in the
//     participant's business, so Config.Effects asks; without it the report says what was not looked at.
//   - An answer that asks for another attempt (failed-retriable) gets one, as from the orchestrator, until Config.Wait
//     is over: a participant that is busy is not a faulty one.
//   - Each case has keys and workflow IDs of its own. Cases run one after another, in a fixed order, all of them.
//
// Run's error says that the cases could not be played (no topic, no answer at all); a participant that breaks the
// contract is a Report whose Passed is false.
package conformance
