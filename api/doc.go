// Package api is the HTTP interface of an amends process: health, metrics, queries, and, when
// it is allowed, signals and operator actions.
//
//	GET /livez, /readyz[?verbose], /metrics
//	GET /api/v1/instances?status=&type=&limit=&cursor=
//	GET /api/v1/instances/{type}/{id}
//	GET /api/v1/definitions
//	POST /api/v1/instances/{type}/{id}/actions   {"action","path","args","operator","reason","expectRev","requestId"}
//	POST /api/v1/instances/{type}/{id}/signals   {"name","signalId","payload","ttl","actor"}
//
// Promises:
//
//   - Every process answers for every instance: it reads its own store, or asks the owner, one hop
//     at most.
//   - While a partition moves the answer is 503 with Retry-After, never a wrong "not found" and
//     never an incomplete list.
//   - Errors are RFC 9457 problems with a stable SG code.
//   - The header Amends-Node says which process answered.
//   - A POST writes one record to Kafka, as the command line does, and answers 202 when Kafka has it;
//     what became of it is in the lifecycle. It is refused unless Options.Actions is set, and to pages
//     of another origin.
//   - There is no login: keep the listener on loopback or in a network of your own.
package api
