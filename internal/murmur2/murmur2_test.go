package murmur2

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// The vectors are those of Kafka's own UtilsTest.testMurmur2.
func TestHashLikeJava(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(Hash([]byte(key))); got != want {
			t.Errorf("%q: got %d, want %d", key, got, want)
		}
	}
}

func TestPartitionLikeTheClient(t *testing.T) {
	client := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "key")
		n := rapid.Int32Range(1, 1000).Draw(t, "partitions")
		want := client.Partition(&kgo.Record{Key: key}, int(n))
		if got := Partition(key, n); int(got) != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	})
}
