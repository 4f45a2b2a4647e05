// Package murmur2 is the hash by which clients of Kafka choose the partition of a keyed record.
//
// It promises what Java's default partitioner, franz-go and kafkajs compute: the 32-bit MurmurHash2 with the seed of
// Kafka's Java client (org.apache.kafka.common.utils.Utils.murmur2). librdkafka's default is another one, CRC32.
package murmur2
