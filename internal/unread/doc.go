// Package unread is what a loop of polls does about a topic that cannot be read: it says so without
// filling the log, and asks again without keeping a processor busy.
//
// The Kafka client reports some faults (a topic that was made anew, a right that is missing) with each
// poll, as fast as it is polled. Such a fault lasts until a person or a broker mends it.
package unread
