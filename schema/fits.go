package schema

import (
	"context"
	"errors"
)

// Checker is a Codec that can say whether a value is one of a named record.
type Checker interface {
	// Fits returns nil when the JSON is a value of the Avro record, and when nobody knows the record. It wraps
	// ErrUnavailable when that cannot be known now; any other error says what does not fit, without repeating it.
	Fits(ctx context.Context, record string, json []byte) error
}

var _ Checker = (*Set)(nil)

// Fits implements Checker. A record is that of the directory, else the newest of the subject <record> or
// <record>-value in the registry, when it has this name. A field that the record does not have does not fit.
func (s *Set) Fits(ctx context.Context, record string, json []byte) error {
	known, err := s.named(ctx, record)
	if err != nil || known == nil {
		return err
	}
	_, err = known.Write(make([]byte, 0, len(json)), json)
	return err
}

// named finds a record by its full name, nil = it is nowhere.
func (s *Set) named(ctx context.Context, record string) (*Schema, error) {
	if s.cfg.Dir != nil {
		if known := s.cfg.Dir.byName[record]; known != nil {
			return known, nil
		}
	}
	if s.cfg.Registry == nil {
		return nil, nil
	}
	for _, subject := range [...]string{record, record + "-value"} { // as strategies for records name it
		newest, err := s.cfg.Registry.newest(ctx, subject)
		switch {
		case err == nil && newest.schema.Name() == record:
			return newest.schema, nil
		case errors.Is(err, ErrUnavailable) && s.cfg.Registry.Down() != nil:
			return nil, err
		}
	}
	return nil, nil
}
