package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/amendsio/amends/sagas"
	"github.com/amendsio/amends/schema"
)

// schemaFlags are where Avro schemas come from.
func schemaFlags(f *pflag.FlagSet) {
	f.StringSlice("registry", nil, "URLs of the schema registry, Confluent's interface (default: none, and Avro of a registry is not read)")
	f.String("registry-user", "", "user of the registry, for basic authentication")
	f.String("registry-password", "", "password of that user; better in a file")
	f.String("registry-password-file", "", "file with that password")
	f.String("registry-token-file", "", "file with a bearer token for the registry, instead of a user")
	f.String("registry-ca", "", "PEM file with the CA of the registry (default: the system's)")
	f.String("registry-cert", "", "PEM file with our certificate for the registry")
	f.String("registry-key", "", "PEM file with the key of that certificate")
	f.String("schemas", "", "directory of .avsc files, for Avro without a registry")
}

// schemaSources reads the settings of schemaFlags; both are nil when none is set.
func schemaSources(s settings) (registry *schema.Registry, dir *schema.Dir, err error) {
	if path := s.text("schemas"); path != "" {
		if dir, err = schema.LoadDir(os.DirFS(path)); err != nil {
			return nil, nil, fmt.Errorf("schemas (%s): %w", s.origin("schemas"), err)
		}
	}
	urls := s.list("registry")
	if len(urls) == 0 {
		for _, k := range []string{"registry-user", "registry-password", "registry-password-file", "registry-token-file", "registry-ca", "registry-cert", "registry-key"} {
			if s.text(k) != "" {
				return nil, nil, fmt.Errorf("%s is set (%s), but registry is not", k, s.origin(k))
			}
		}
		return nil, dir, nil
	}
	cfg := schema.RegistryConfig{URLs: urls, User: s.text("registry-user")}
	if cfg.Pass, err = s.secret("registry-password"); err != nil {
		return nil, nil, err
	}
	if cfg.Token, err = s.secret("registry-token"); err != nil {
		return nil, nil, err
	}
	if cfg.TLS, err = registryTLS(s); err != nil {
		return nil, nil, err
	}
	if registry, err = schema.NewRegistry(cfg); err != nil {
		return nil, nil, fmt.Errorf("registry (%s): %w", s.origin("registry"), err)
	}
	return registry, dir, nil
}

func registryTLS(s settings) (*tls.Config, error) {
	if s.text("registry-ca") == "" && s.text("registry-cert") == "" && s.text("registry-key") == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	return config, tlsFiles(s, "registry-", config)
}

// codecOf is the codec of a server.
func codecOf(s settings, client []kgo.Opt) (schema.Codec, error) {
	registry, dir, err := schemaSources(s)
	if err != nil || registry == nil && dir == nil {
		return schema.Plain{}, err
	}
	return schema.New(schema.Config{Registry: registry, Dir: dir, Last: newestRecord(client)}), nil
}

// newestRecord reads the newest record of a topic: the last of the partition that has one.
func newestRecord(client []kgo.Opt) func(ctx context.Context, topic string) ([]kgo.RecordHeader, []byte, bool, error) {
	return func(ctx context.Context, topic string) ([]kgo.RecordHeader, []byte, bool, error) {
		cl, err := kgo.NewClient(client...)
		if err != nil {
			return nil, nil, false, err
		}
		defer cl.Close()
		adm := kadm.NewClient(cl)
		starts, err := adm.ListStartOffsets(ctx, topic)
		ends, err2 := adm.ListCommittedOffsets(ctx, topic)
		if err = errors.Join(err, err2); err != nil {
			return nil, nil, false, err
		}
		at, left := map[int32]kgo.Offset{}, 0
		ends.Each(func(end kadm.ListedOffset) {
			start, ok := starts.Lookup(topic, end.Partition)
			if end.Err != nil || !ok || start.Err != nil || end.Offset <= start.Offset {
				return
			}
			// A transaction ends with a marker, which is no record.
			at[end.Partition] = kgo.NewOffset().At(max(start.Offset, end.Offset-2))
			left++
		})
		if left == 0 {
			return nil, nil, false, nil
		}
		reader, err := kgo.NewClient(append(client[:len(client):len(client)], kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))...)
		if err != nil {
			return nil, nil, false, err
		}
		defer reader.Close()
		fetches := reader.PollFetches(ctx)
		var newest *kgo.Record
		fetches.EachRecord(func(rec *kgo.Record) {
			if rec.Value != nil && (newest == nil || rec.Timestamp.After(newest.Timestamp)) {
				newest = rec
			}
		})
		switch {
		case newest != nil:
			return newest.Headers, newest.Value, true, nil
		case ctx.Err() != nil: // only markers are left there: nothing says how the topic is written
			return nil, nil, false, nil
		}
		return nil, nil, false, fetches.Err()
	}
}

// typesOf checks definitions against schemas. missing hears of a type that is nowhere, but not of topics of events.
func typesOf(ctx context.Context, registry *schema.Registry, dir *schema.Dir, d *sagas.Definition) (sagas.Findings, []string, error) {
	var missing []string
	var unavailable error
	found := d.CheckTypes(func(u sagas.TypeUse) *sagas.ValueType {
		if dir != nil {
			s := dir.ByName(u.Record)
			if s == nil && u.Subject != "" && u.Record == "" {
				s = dir.ForSubject(u.Topic, u.Subject)
			}
			if s != nil {
				return s.Type()
			}
		}
		if registry != nil {
			subjects := []string{u.Subject}
			if u.Subject == "" {
				subjects = []string{u.Record, u.Record + "-value"} // as the record strategy names it
			}
			for _, subject := range subjects {
				s, err := registry.Latest(ctx, subject)
				switch {
				case err == nil && (u.Record == "" || s.Name() == u.Record):
					return s.Type()
				case err == nil:
					missing = append(missing, fmt.Sprintf("the subject %s holds %s, and the definition names %s", subject, s.Name(), u.Record))
					return nil
				case errors.Is(err, schema.ErrUnavailable) && registry.Down() != nil:
					unavailable = err
					return nil
				}
			}
		}
		if !u.Event { // whose topic may hold JSON as well
			missing = append(missing, fmt.Sprintf("no schema is known for %s", u))
		}
		return nil
	})
	return found, missing, unavailable
}

// incompatible are the schemas of the directory that the registry would not take as the next version of the subject of a
// command or of an input.
func incompatible(ctx context.Context, registry *schema.Registry, dir *schema.Dir, d *sagas.Definition) ([]string, error) {
	var out []string
	for _, u := range d.TypeUses() {
		s := dir.ByName(u.Record)
		subject := u.Subject
		if subject == "" {
			subject = u.Record
		}
		if s == nil {
			continue
		}
		is, known, reasons, err := registry.Compatible(ctx, subject, s.Text())
		if err != nil {
			return nil, err
		}
		if is || !known {
			continue
		}
		text := fmt.Sprintf("%s (%s) is not compatible with the subject %s", u.Record, dir.File(u.Record), subject)
		for _, r := range reasons {
			text += "\n  " + r
		}
		out = append(out, text)
	}
	return out, nil
}
