package claimcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Config is what a store in a bucket needs.
type S3Config struct {
	// Endpoint is host or host:port, without a scheme. Required.
	Endpoint string
	// Bucket must exist. Required.
	Bucket string
	// Prefix of the objects' names, such as "claims/".
	Prefix string
	// Region. Default: the service is asked.
	Region string
	// Plain speaks HTTP instead of HTTPS.
	Plain bool
	// AccessKey and SecretKey. Default: the environment (AWS_*, MINIO_*), the shared file, or the machine's role.
	AccessKey, SecretKey string
	// Transport makes the requests. Default: that of the client library.
	Transport http.RoundTripper
}

// S3 is a store in a bucket of any service that speaks S3. Objects are named <prefix><name>. It deletes
// nothing: give the bucket a lifecycle rule.
type S3 struct {
	cfg    S3Config
	client *minio.Client
}

// NewS3 checks cfg. It does not connect.
func NewS3(cfg S3Config) (*S3, error) {
	if cfg.Endpoint == "" || cfg.Bucket == "" {
		return nil, errors.New("claimcheck: Endpoint and Bucket are required")
	}
	login := credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, "")
	if cfg.AccessKey == "" {
		login = credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.EnvMinio{},
			&credentials.FileAWSCredentials{}, &credentials.IAM{}})
	}
	cl, err := minio.New(cfg.Endpoint, &minio.Options{Creds: login, Secure: !cfg.Plain, Region: cfg.Region, Transport: cfg.Transport})
	if err != nil {
		return nil, fmt.Errorf("claimcheck: %w", err)
	}
	return &S3{cfg, cl}, nil
}

// Put implements Store. It is written again also when it is there: a lifecycle rule counts from then.
func (s *S3) Put(ctx context.Context, name string, value []byte, contentType string) error {
	if !validName(name) {
		return fmt.Errorf("%w: name", ErrMalformed)
	}
	_, err := s.client.PutObject(ctx, s.cfg.Bucket, s.cfg.Prefix+name, bytes.NewReader(value), int64(len(value)),
		minio.PutObjectOptions{ContentType: contentType, DisableMultipart: true})
	return s.fault(err)
}

// Get implements Store.
func (s *S3) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if !validName(name) {
		return nil, fmt.Errorf("%w: name", ErrMalformed)
	}
	object, err := s.client.GetObject(ctx, s.cfg.Bucket, s.cfg.Prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, s.fault(err)
	}
	if _, err := object.Stat(); err != nil {
		_ = object.Close() // it was never read
		return nil, s.fault(err)
	}
	return object, nil
}

// fault classes an error of the service.
func (s *S3) fault(err error) error {
	if err == nil {
		return nil
	}
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return ErrNotFound
	}
	return fmt.Errorf("%w: bucket %s: %w", ErrUnavailable, s.cfg.Bucket, err)
}
