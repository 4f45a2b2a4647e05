// Package claimcheck keeps values that are too large for Kafka in a store and lets a reference travel in
// their place:
//
//	{"ref": "claim:sha256-9f86…", "sha256": "9f86…", "size": 1048576, "type": "application/json"}
//
// The orchestrator never opens a reference: to it, it is a value like any other. Shrink puts the largest
// fields of an object away until the rest is small enough; Expand brings them back, wherever a mapping has
// taken them.
//
//	dir, err := claimcheck.NewDir("/var/lib/claims")
//	claims := &claimcheck.Claims{Store: dir}
//	c, err := client.New(client.Config{…, Claims: claims})             // inputs of starts
//	p, err := participant.New(participant.Config{…, Claims: claims})   // payloads and outputs
//
// # Promises
//
// What Expand gives back is what Shrink took: length and SHA-256 are compared, whatever the store says.
// Names in a store are made of the hash alone, so nothing in a reference leads anywhere else, and the same
// value is stored once. A value is stored, and safe from a crash, before its reference is given away.
// No more than the stated size is ever read.
//
// # Retention
//
// A store keeps what it has until somebody deletes it. A value may be needed as long as an instance that
// holds its reference: while it runs and, for participants that are asked again, until the end of its
// marker retention (30 days by default). Dir.Prune deletes what was not put for a time; a bucket has
// lifecycle rules.
//
// # Invariants
//
//  1. Expand(Shrink(v)) = v, as JSON. (TestShrinkExpand)
//  2. A value that was changed, cut or lost in the store is an error, never another value. (TestTampered)
//  3. A name in a store has 64 hexadecimal digits; everything else is refused before the store is asked.
//     (TestReferences)
//  4. A crash leaves a whole value or none under a name. (TestDirCrash)
package claimcheck
