// Package desk is the Source of the pages over the HTTP API of the process that serves them: each question
// is a request to the API's handler, within the process, with the credentials of whoever looks. So a page
// shows what the API shows, a role may do on a page what it may do there, and any process answers for any
// instance.
//
//	mux.Handle("/", web.New(desk.New(apiHandler, desk.Options{Actions: true}), web.Options{...}))
//
// Promises:
//
//   - Nothing is kept but counts, for seconds, by who asked.
//   - An answer is bounded before it is decoded.
//   - A part of a page that the API cannot give, such as a history that retention took, is left out; the
//     page says so.
package desk
