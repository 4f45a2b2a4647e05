// Command keyed-task calls two services for each order, at least once: see README.md.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/topology/keyed"
)

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "Kafka seed brokers")
	s := settings{}
	flag.StringVar(&s.topic, "topic", "shop.orders", "topic of the orders, keyed by customer")
	flag.StringVar(&s.mail, "mail", "http://127.0.0.1:8025/mails", "where mails are posted")
	flag.StringVar(&s.score, "score", "http://127.0.0.1:8026/scores", "where orders are scored")
	flag.Parse()
	s.client = []kgo.Opt{kgo.SeedBrokers(strings.Split(*brokers, ",")...)}
	s.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "keyed-task:", err)
		os.Exit(1)
	}
}

type settings struct {
	topic, mail, score string
	client             []kgo.Opt
	log                *slog.Logger
}

// run makes the two processors and runs them until ctx ends.
func run(ctx context.Context, s settings) error {
	producer, err := kgo.NewClient(s.client...)
	if err != nil {
		return err
	}
	defer producer.Close()
	var ps []*keyed.Processor
	for name, url := range map[string]string{"mail": s.mail, "score": s.score} {
		p, err := keyed.New(keyed.Config{
			Group:    s.topic + "." + name, // a group of its own: what one does never holds up the other
			Topics:   []string{s.topic},
			Client:   s.client,
			Handle:   post(url),
			Attempts: 5,
			SetAside: setAside(producer, s.topic+".dead"),
			Drain:    5 * time.Second,
			Logger:   s.log,
		})
		if err != nil {
			return err
		}
		ps = append(ps, p)
	}
	return keyed.RunAll(ctx, ps...)
}

// post calls a service for one order. No answer, or an answer of the 5xx kind, is waited for as long as
// it takes: the order is not at fault.
func post(url string) func(context.Context, *kgo.Record) error {
	client := &http.Client{}
	return func(ctx context.Context, rec *kgo.Record) error {
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
			status, err := call(ctx, client, url, rec)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err == nil && status < 300:
				return nil
			case err == nil && status < 500:
				return fmt.Errorf("%s answers %d", url, status)
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
	}
}

func call(ctx context.Context, client *http.Client, url string, rec *kgo.Record) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(rec.Value))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Customer", string(rec.Key))
	req.Header.Set("Idempotency-Key", fmt.Sprintf("%s/%d/%d", rec.Topic, rec.Partition, rec.Offset))
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, err
}

// setAside writes an order that a service refuses to the dead letters.
func setAside(producer *kgo.Client, topic string) func(context.Context, *kgo.Record, error) error {
	return func(ctx context.Context, rec *kgo.Record, err error) error {
		dead := &kgo.Record{Topic: topic, Key: rec.Key, Value: rec.Value,
			Headers: append(rec.Headers[:len(rec.Headers):len(rec.Headers)], kgo.RecordHeader{Key: "why", Value: []byte(err.Error())})}
		return producer.ProduceSync(ctx, dead).FirstErr()
	}
}
