package protocol

import "github.com/amendsio/amends/internal/murmur2"

// Partition returns the partition of key among n as Java's default partitioner, franz-go and
// kafkajs compute it. librdkafka's default is another one. n must be positive.
func Partition(key []byte, n int32) int32 { return murmur2.Partition(key, n) }
