// Package api is the HTTP interface of an amends process: health, metrics, and, under /api/v1, all that people and
// programs can see and do. /openapi.json describes it; docs/api.md has what is not in there.
//
// Promises:
//
//   - Every process answers for every instance: it reads its own store, or asks the owner, one hop
//     at most.
//   - While a partition moves the answer is 503 with Retry-After, never a wrong "not found" and
//     never an incomplete list.
//   - Errors are RFC 9457 problems with a stable SG code.
//   - The header Saga-Node says which process answered.
//   - A change writes one record to Kafka, as the command line does, and answers 202 when Kafka has it; what
//     became of it is in the lifecycle. With dryRun it says what would be published and writes nothing. The same
//     request again changes nothing, on any process.
//   - It is refused unless Options.Actions is set, and to pages of another origin.
//   - With Options.Auth every request under /api has to come with a token whose person has the role of its
//     operation, and what is changed is noted under that person. Without, whoever reaches the listener may do
//     everything: keep it on loopback.
package api
