package orchestrator_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/amendsio/amends/protocol"
)

// noAnswer makes the cluster take no records for topic: what was asked of it is not known, the worst case of a client.
func (r *rig) noAnswer(topic string) {
	fake := r.c.Kfake()
	fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		id := fake.TopicInfo(topic).TopicID
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			if t.Topic == topic || t.TopicID == id {
				return nil, errors.New("the connection is lost"), true
			}
		}
		return nil, nil, false
	})
}

// TestStopsWithoutAnswer: what a process has to say when it comes and goes does not keep it.
func TestStopsWithoutAnswer(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.start()
		r.ready()
		r.shut()
		r.noAnswer(r.topics.Members)
		r.start()
		r.ready()
		time.Sleep(time.Minute)
		r.stop()
		select {
		case err := <-r.done:
			if err != nil {
				t.Error(err)
			}
			r.o = nil
		case <-time.After(10 * time.Minute):
			t.Fatal("it waits for an answer that does not come")
		}
	})
}

// TestRequestEndsWithoutAnswer: who asks a process for something gets an answer in the end.
func TestRequestEndsWithoutAnswer(t *testing.T) {
	virtual(t, func(t *testing.T, r *rig) {
		r.start()
		r.ready()
		r.noAnswer(r.topics.Intake)
		done := make(chan error, 1)
		go func() {
			_, err := r.o.Cancel(context.Background(), &protocol.Cancel{Type: "order", ID: "1", Reason: "test"})
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Error("what nobody has taken was answered with success")
			}
		case <-time.After(10 * time.Minute):
			t.Fatal("it waits for an answer that does not come")
		}
	})
}
