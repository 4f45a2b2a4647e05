package bridge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// service is a destination as this process uses it. Services share nothing.
type service struct {
	*destination
	client  *http.Client
	slots   chan struct{} // one token per call under way
	breaker breaker
	pacer   *pacer
	load    atomic.Int64 // calls that are under way or wait
}

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	idleTimeout      = 90 * time.Second
	maxHeaderBytes   = 64 << 10
)

// dialer is net.Dialer.DialContext, or what a test has in its place.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func newService(d *destination, dial dialer) (*service, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	config, err := d.tls.config()
	if err != nil {
		return nil, fmt.Errorf("destination %s: tls: %w", d.name, err)
	}
	for _, h := range d.headers { // what is missing should show at the start
		if _, err := h.value.get(time.Time{}); err != nil {
			return nil, fmt.Errorf("destination %s: header %s: %w", d.name, h.name, err)
		}
	}
	return &service{
		destination: d,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: handshakeTimeout,
				MaxIdleConns: d.concurrency, MaxIdleConnsPerHost: d.concurrency, MaxConnsPerHost: d.concurrency, IdleConnTimeout: idleTimeout,
				MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true, ForceAttemptHTTP2: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots:   make(chan struct{}, d.concurrency),
		breaker: breaker{failures: d.failures, pause: d.pause},
		pacer:   newPacer(d.rate, d.burst),
	}, nil
}

func (f tlsFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.serverName}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.ca)
		}
	}
	if f.cert != "" {
		if _, err := tls.LoadX509KeyPair(f.cert, f.key); err != nil {
			return nil, err
		}
		// Read again at each handshake, so that a certificate can be renewed under a running process.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.cert, f.key)
			return &pair, err
		}
	}
	return c, nil
}

// enter waits for a free slot and for the pace. leave must be called when it returns nil.
func (s *service) enter(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := sleep(ctx, s.pacer.reserve(time.Now())); err != nil {
		<-s.slots
		return err
	}
	return nil
}

func (s *service) leave() { <-s.slots }

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
