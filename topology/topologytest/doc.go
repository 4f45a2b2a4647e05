// Package topologytest runs a topology without a broker, with a clock that the test moves.
//
//	d := topologytest.New(t, built)
//	d.Pipe("in", "k1", "5")
//	d.Pipe("in", "k1", "7")
//	d.Want("out", "k1=5", "k1=12")
//	d.Advance(time.Hour) // wall time; due entries and punctuation are called on the way
//	d.Crash()            // all memory and disks are lost: everything comes back from the changelog
//	d.Store("sums")      // the entries of a store
//
// The cycles, the stores and the changelog records are those of the runtime. What is not here is
// Kafka: no broker, no group, no second process. A transaction is a list of records that is kept or
// dropped. Everything happens on the goroutine of the test, in a fixed order.
package topologytest
