// Package api is the HTTP interface of an amends process: health, metrics and read-only queries.
//
//	GET /livez, /readyz[?verbose], /metrics
//	GET /api/v1/instances?status=&type=&limit=&cursor=
//	GET /api/v1/instances/{type}/{id}
//	GET /api/v1/definitions
//
// Promises:
//
//   - Every process answers for every instance: it reads its own store, or asks the owner, one hop
//     at most.
//   - While a partition moves the answer is 503 with Retry-After, never a wrong "not found" and
//     never an incomplete list.
//   - Errors are RFC 9457 problems with a stable SG code.
//   - The header Amends-Node says which process answered.
//   - Nothing here changes state, and there is no login: keep the listener on loopback or in a
//     network of your own.
package api
