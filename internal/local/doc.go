// Package local is amends on one machine: an embedded broker, several nodes in one process and
// simulated participants. `amends dev` and `amends demo` are made of it.
//
// The nodes are the production runtime, unchanged; only the broker is an in-process stand-in. A node
// can be killed: its tasks then stop between two steps of a commit, as kill -9 would stop them, and
// leave the group without a word.
//
// Nothing here is for production: no login, one machine, a broker that keeps its log in memory unless
// it is given a directory.
package local
