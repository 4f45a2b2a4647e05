// Package build makes definitions in Go instead of YAML, checked against the Go types of the
// messages.
//
//	auth := build.Call[AuthReq, AuthRes]("auth", "psp.authorise",
//		build.With{"amount": "=input.amount"}, build.Keep("authId"),
//		build.Undo("psp.void", build.With{"authId": "=step.auth.?authId"}))
//	capture := build.Pivot[CaptureReq, CaptureRes]("capture", "psp.capture",
//		build.With{"authId": auth.Field("authId")})
//	def, err := build.New[Order]("card-payment", 1).
//		Participant("psp", build.Ops("do", "undo", "inquire")).
//		Steps(auth, capture).
//		Build()
//
// Build writes the JSON of the definition and reads it with sagas.ParseDefinition, so a definition
// made here is the very same as one written in YAML: the same checks, the same defaults, the same
// digest. Nothing of the Go types is left in it.
//
// What Go knows is checked as well: fields of With against the JSON fields of the request, fields of
// Keep against those of the response, Field against what the step keeps, and input.x against the
// input. The error of Build is sagas.Findings with everything that is wrong, each at the file and
// line of the call that made the step. A message type of any, or of a map, is not checked.
//
// Expressions are texts. Where an expression must stand, a leading = may be left out; in With, a
// string that starts with = is an expression, and so is an Expr.
package build
