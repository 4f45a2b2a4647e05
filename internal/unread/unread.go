package unread

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	restLeast = 100 * time.Millisecond
	restMost  = 5 * time.Second // by default
	sayAgain  = time.Minute
	placesMax = 1000 // whose last fault is remembered
)

// Faults remembers what was said, and for how long the loop rests. The zero value is ready; one loop uses it.
type Faults struct {
	// Most is the longest rest, for what the same loop reads beside the fault. Default 5 s.
	Most time.Duration

	rest time.Duration
	said map[place]saying
}

type place struct {
	topic     string
	partition int32
}

type saying struct {
	text string
	at   time.Time
}

// After is called with what each poll brought. It calls say for each fault that is new or was last said a
// minute ago, and never once ctx has ended. A poll that brought faults and no record is followed by a rest,
// 100 ms at first and Most in the end, that the end of ctx cuts short.
func (f *Faults) After(ctx context.Context, fetches kgo.Fetches, say func(topic string, partition int32, err error)) {
	faults := 0
	fetches.EachError(func(topic string, partition int32, err error) {
		if ctx.Err() != nil {
			return
		}
		faults++
		at, now := place{topic, partition}, time.Now()
		if last := f.said[at]; last.text == err.Error() && now.Sub(last.at) < sayAgain {
			return
		}
		if f.said == nil || len(f.said) >= placesMax {
			f.said = make(map[place]saying)
		}
		f.said[at] = saying{err.Error(), now}
		say(topic, partition, err)
	})
	if faults == 0 || fetches.NumRecords() > 0 {
		f.rest = 0
		return
	}
	most := f.Most
	if most <= 0 {
		most = restMost
	}
	f.rest = min(max(2*f.rest, restLeast), most)
	timer := time.NewTimer(f.rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
