package murmur2

// Partition returns the partition of key among n as Java's default partitioner, franz-go and
// kafkajs compute it: murmur2 without its sign bit, modulo n. librdkafka's default is another one.
// n must be positive.
func Partition(key []byte, n int32) int32 {
	return int32(Hash(key)&0x7fffffff) % n
}

// Hash is the 32-bit MurmurHash2 with the seed of Kafka's Java client.
func Hash(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(b))
	for len(b) >= 4 {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
		b = b[4:]
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
