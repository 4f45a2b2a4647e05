package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Receiver takes deliveries. A delivery may come twice, then with the same ID.
type Receiver interface {
	Deliver(ctx context.Context, d Delivery) error
}

// Webhook posts deliveries as JSON.
type Webhook struct {
	url    string
	token  string
	client *http.Client
}

// deliveryTimeout bounds one try.
const deliveryTimeout = 10 * time.Second

// NewWebhook makes a receiver that posts to address, an http or https URL. token goes into the header
// Authorization as a bearer token, empty = none. Redirects are not followed: the token would go along.
func NewWebhook(address, token string) (*Webhook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("the address of the webhook is not an http or https URL") // without it: it may hold a secret
	}
	if strings.ContainsAny(token, "\r\n") {
		return nil, errors.New("the token of the webhook has more than one line")
	}
	return &Webhook{url: address, token: token, client: &http.Client{Timeout: deliveryTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// Deliver implements Receiver. Every answer of 200 to 299 is a success.
func (w *Webhook) Deliver(ctx context.Context, d Delivery) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook cannot be called")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", d.ID)
	if w.token != "" {
		req.Header.Set("Authorization", "Bearer "+w.token)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var named *url.Error // names the address, which may hold a secret
		if errors.As(err, &named) {
			err = named.Err
		}
		return fmt.Errorf("call the webhook: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the webhook answers %s", resp.Status)
	}
	return nil
}

// Topic writes deliveries to a topic, one record for each alert: key <saga>/<step>/<reason>, value as of a
// delivery with that alert alone.
type Topic struct {
	cl   *kgo.Client
	name string
}

// NewTopic makes a receiver that writes to a topic, which must exist.
func NewTopic(cl *kgo.Client, name string) *Topic { return &Topic{cl, name} }

// Deliver implements Receiver.
func (t *Topic) Deliver(ctx context.Context, d Delivery) error {
	recs := make([]*kgo.Record, len(d.Alerts))
	for i, a := range d.Alerts {
		one := d
		one.Alerts = []Alert{a}
		value, err := json.Marshal(one)
		if err != nil {
			return err
		}
		recs[i] = &kgo.Record{Topic: t.name, Key: []byte(a.Saga + "/" + a.Step + "/" + a.Reason), Value: value,
			Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/json")}, {Key: "ce_type", Value: []byte(kindOfDelivery)}}}
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	if err := t.cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("write to topic %s: %w", t.name, err)
	}
	return nil
}
