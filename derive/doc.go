// Package derive runs a stage that is declared in a file: it reads one wide topic, keeps the records
// that match, and writes slim ones.
//
//	derive: payments                     # prefix of the group, the transactional ids, the topics of its own
//	from: {topic: bank.events}           # JSON objects; or format: avro with schema: events.avsc
//	where: '=input.kind == "payment"'    # optional, CEL
//	to:
//	  - topic: bank.payments.slim
//	    key: '=input.card.id'            # default: the record's key
//	    value: {id: '=input.id', amount: '=input.amount.value', note: '=input.?note'}
//	  - topic: bank.payments.large
//	    where: '=input.amount.value > 100000'
//	                                     # no value: the record's value as it is
//
// The language of the expressions is that of saga definitions; a record has input and key. A tree of
// value may nest; a string that begins with "=" is an expression, and a field whose expression gives
// an empty optional is left out.
//
// # Promises
//
// Each record of the source has its outputs exactly once, as seen by readers of committed data
// (package topology). Outputs of one record are visible together. Records of one source partition
// come out in order.
//
// A record that is not what the file expects (not an object, a missing field, a schema that does not
// fit) goes to the dead-letter topic as it came, with the reason in headers. No record stops a
// partition.
//
// # Invariants
//
//  1. The fast way and CEL give the same result; where the fast way does not know, CEL decides.
//     (TestConditionAgrees, TestPathAgrees)
//  2. The scanner accepts what encoding/json accepts as an object, without repeated fields among those
//     that it looks for. (TestScanAgrees, FuzzScan)
//  3. What is counted was committed. (TestMetrics)
//
// # How it is fast
//
// One pass over the record finds all the fields that any expression picks, as places in its bytes
// (scan.go). A field that is copied is copied as it stands. A condition that compares fields with
// literals is decided on those bytes (condition.go). Only what is left goes to CEL, which parses the
// record once. No memory is allocated per record on the way.
package derive
