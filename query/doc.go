// Package query is the language in which lists of instances are asked for: a CEL condition over what a
// list shows, compiled into what an index can answer and a filter for the rest.
//
//	status == "running" && tags.customer == "c-17"
//	type == "card-payment" && version in [1, 2] && started > now - duration("2h")
//	attention && id.startsWith("order-")
//
// Names: workflowId, type, id, status, phase (texts); version, run (numbers); attention, active (yes or no);
// started, updated, due, now (timestamps; due is 1970 when the instance waits for nobody's time); tags (texts
// by name, as the definition's `tags` made them); causes (why it needs a person, a list of texts such as
// UNDO_FAILED@auth: reason and id of the step). The rest is CEL's standard library without time zones.
//
// Promises:
//
//   - Compile is bounded in bytes, nesting and nodes, and each evaluation in cost; a condition that fails
//     for an instance, for example because the instance has no such tag, does not match it.
//   - now is a constant of the query, so that all pages of a list mean the same by it.
//   - What the access path gives is a superset of what matches: Match decides, and Exact says when there is
//     nothing left to decide.
package query
