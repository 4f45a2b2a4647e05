package topology

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/internal/murmur2"
)

// TestPartitionerIsJavas compares with kgo, which follows the Java client.
func TestPartitionerIsJavas(t *testing.T) {
	other := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	ours := Partitioner().ForTopic("t")
	for i := range 2000 {
		key := []byte(fmt.Sprintf("card-payment/%08x", i*i)[:1+i%18])
		for _, n := range []int{1, 2, 7, 12, 512} {
			want := other.Partition(&kgo.Record{Key: key}, n)
			if got := murmur2.Partition(key, int32(n)); int(got) != want {
				t.Fatalf("partition of %q among %d is %d, want %d", key, n, got, want)
			}
			if got := ours.Partition(&kgo.Record{Key: key, Partition: ByKey}, n); got != want {
				t.Fatalf("partitioner: %q among %d is %d, want %d", key, n, got, want)
			}
		}
	}
	if got := murmur2.Partition([]byte{}, 12); got < 0 {
		t.Fatalf("empty key: %d", got)
	}
}

func TestPartitionerTakesExplicitPartition(t *testing.T) {
	p := Partitioner().ForTopic("t")
	if got := p.Partition(&kgo.Record{Key: []byte("k"), Partition: 5}, 12); got != 5 {
		t.Fatalf("got %d", got)
	}
	if !p.RequiresConsistency(&kgo.Record{Partition: 5}) || !p.RequiresConsistency(&kgo.Record{Key: []byte("k"), Partition: ByKey}) {
		t.Fatal("a record with a partition or a key may move")
	}
	if p.RequiresConsistency(&kgo.Record{Partition: ByKey}) {
		t.Fatal("a record with neither may not move")
	}
}
