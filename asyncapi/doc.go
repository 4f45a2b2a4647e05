// Package asyncapi describes what goes over Kafka around definitions as an AsyncAPI 3.0 document: the
// topics of the namespace, the commands of each participant with their headers, the events that start or
// signal sagas and those that sagas publish. It is for the tools of teams who write producers and
// participants; docs/protocol.md says the same in words.
//
// The document is written from the side of the orchestrator: it sends commands, domain events and facts,
// and receives replies, starts and signals.
//
// It is a pure function of the definitions: the same ones give the same bytes, in any order.
package asyncapi
