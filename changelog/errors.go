package changelog

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The errors of this package, by who must act. The broker's own error can be
// found in each with errors.Is.
//
//	retry    ErrRetry: a broker is away or busy; try again later
//	corrupt  ErrTruncated: wipe the store, restore from the log's start
//	fatal    ErrLost, ErrFatal: the operator
//
// A context that ended is returned as it is. The class fenced does not occur:
// reading needs no transactional id. Errors of the load function are returned
// unchanged.
var (
	// ErrRetry says that the changelog could not be read now.
	ErrRetry = errors.New("changelog is out of reach")
	// ErrTruncated says that the log starts after the position to read from.
	// The store missed records that are gone; it must be rebuilt.
	ErrTruncated = errors.New("changelog starts after the position")
	// ErrLost says that the log ends before a position that was read or
	// written before: the topic was deleted, made anew or truncated. The local
	// store may be the last copy. Stop, and ask the operator.
	ErrLost = errors.New("changelog lost records")
	// ErrFatal says that the changelog cannot be used as it is: no permission,
	// no such topic, a record that this program does not understand.
	ErrFatal = errors.New("changelog cannot be used")
)

// classify gives an error of the client or of a broker its class.
func classify(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrRetry), errors.Is(err, ErrTruncated), errors.Is(err, ErrLost), errors.Is(err, ErrFatal):
		return err
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("%w: grant READ and DESCRIBE on the topic: %w", ErrFatal, err)
	case errors.Is(err, kerr.InvalidTopicException), errors.Is(err, kerr.UnsupportedVersion), errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Errorf("%w: %w", ErrFatal, err)
	}
	return fmt.Errorf("%w: %w", ErrRetry, err)
}

// gone reports whether a broker says that the topic is not there, or is
// another one of the same name. Right after a start or a change of leader that
// may be said in error, so it counts only when it lasts.
func gone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) ||
		errors.Is(err, kerr.UnknownTopicID) ||
		errors.Is(err, kerr.InconsistentTopicID)
}

// lost is the class of a topic that stayed gone.
func lost(err error) error {
	var broker *kerr.Error
	errors.As(err, &broker)
	return fmt.Errorf("%w: the topic is gone: %w", ErrLost, broker)
}
