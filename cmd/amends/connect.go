package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/amendsio/amends/orchestrator"
)

// Addresses that a developer's machine has by default.
const (
	defaultBroker    = "127.0.0.1:9092"
	defaultServer    = "http://127.0.0.1:8480"
	defaultListen    = "127.0.0.1:8480"
	defaultNamespace = "dev"
)

// annotationServer marks commands that are servers: a person's current profile is not theirs.
const annotationServer = "amends.server"

// annotationConnection marks flags that say how to connect; help lists them apart.
const annotationConnection = "amends.connection"

// connection is how a command reaches Kafka and the API.
type connection struct {
	Brokers   []string
	Namespace string
	Server    string
	APIToken  string
	// Client are the options of every Kafka client: TLS and login. The seed brokers are not among them.
	Client []kgo.Opt
	notes  []string
}

// kafkaFlags are the flags of commands that talk to Kafka.
func kafkaFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSlice("brokers", []string{defaultBroker}, "Kafka seed brokers, host:port")
	f.String("namespace", defaultNamespace, "prefix of all topics of one deployment")
	f.AddFlagSet(brokerLoginFlags())
	profileFlag(cmd)
}

// brokerLoginFlags are those of TLS and SASL.
func brokerLoginFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.String("kafka-config", "", "properties file of a Java client to connect as it would; other settings win over it")
	f.Bool("tls", false, "speak TLS with the brokers")
	f.String("tls-ca", "", "PEM file with the authorities to trust (default: the system's)")
	f.String("tls-cert", "", "PEM file with the certificate of this client")
	f.String("tls-key", "", "PEM file with its key")
	f.String("tls-server-name", "", "name in the brokers' certificates, when it is not their address")
	f.String("sasl-mechanism", "", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER (default: no login)")
	f.String("sasl-user", "", "user of PLAIN and SCRAM")
	f.String("sasl-password", "", "password; better in a file, which other users of the machine cannot see")
	f.String("sasl-password-file", "", "file with the password")
	f.String("sasl-token-file", "", "file with the token of OAUTHBEARER; it is read again at each login")
	f.VisitAll(markConnection)
	return f
}

func markConnection(f *pflag.Flag) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[annotationConnection] = []string{"true"}
}

// serverFlags are the flags of commands that talk to the API.
func serverFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.String("server", defaultServer, "base URL of the API of any amends process")
	if f.Lookup("api-token") == nil {
		tokens := pflag.NewFlagSet("", pflag.ContinueOnError)
		tokens.String("api-token", "", "token for the API; better in a file")
		tokens.String("api-token-file", "", "file with the token for the API")
		tokens.VisitAll(markConnection)
		f.AddFlagSet(tokens)
	}
	profileFlag(cmd)
}

func profileFlag(cmd *cobra.Command) {
	if f := cmd.Flags(); f.Lookup("profile") == nil {
		f.String("profile", "", "connection profile (default: the current one, see amends config profiles)")
		markConnection(f.Lookup("profile"))
	}
}

// connectionKeys are the settings that a profile may hold.
func connectionKeys() map[string]bool {
	cmd := &cobra.Command{}
	kafkaFlags(cmd)
	serverFlags(cmd)
	return flagNames(cmd)
}

// read fills c from flags, environment, profile and properties file.
func (c *connection) read(cmd *cobra.Command) error {
	s, err := readSettings(cmd, "")
	if err == nil {
		err = c.take(s)
	}
	if err != nil {
		return &codedError{exitUsage, err}
	}
	return nil
}

// apiOf is the API that the flags and settings of a command name.
func apiOf(cmd *cobra.Command) (*apiClient, error) {
	var conn connection
	if err := conn.read(cmd); err != nil {
		return nil, err
	}
	return conn.api(), nil
}

// take fills c from settings.
func (c *connection) take(s settings) (err error) {
	c.Brokers, c.Namespace, c.notes = s.list("brokers"), s.text("namespace"), s.notes
	c.Server = strings.TrimRight(s.text("server"), "/")
	if c.Server != "" && !strings.Contains(c.Server, "://") {
		c.Server = "http://" + c.Server
	}
	if c.APIToken, err = s.secret("api-token"); err != nil {
		return err
	}
	c.Client, err = loginOpts(s)
	return err
}

// orchestrator is what the package of that name wants to know of a connection.
func (c *connection) orchestrator() orchestrator.Config {
	return orchestrator.Config{Brokers: c.Brokers, Namespace: c.Namespace, Client: c.Client}
}

// kafka are the options of a client for one command.
func (c *connection) kafka(more ...kgo.Opt) []kgo.Opt {
	opts := append([]kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID("amends/cli")}, c.Client...)
	return append(opts, more...)
}

// loginOpts are TLS and SASL of settings; all faults at once.
func loginOpts(s settings) ([]kgo.Opt, error) {
	var opts []kgo.Opt
	config, tlsErr := tlsConfig(s)
	if config != nil {
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	mechanism, saslErr := saslMechanism(s)
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, errors.Join(tlsErr, saslErr)
}

func tlsConfig(s settings) (*tls.Config, error) {
	if !s.yes("tls") {
		for _, k := range []string{"tls-ca", "tls-cert", "tls-key", "tls-server-name"} {
			if s.text(k) != "" {
				return nil, fmt.Errorf("%s is set (%s), but tls is not: set tls, or take it out", k, s.origin(k))
			}
		}
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.text("tls-server-name")}
	return config, tlsFiles(s, "tls-", config)
}

// tlsFiles adds what the settings ca, cert and key name, which begin with prefix.
func tlsFiles(s settings, prefix string, config *tls.Config) error {
	ca, cert, key := prefix+"ca", prefix+"cert", prefix+"key"
	var faults []error
	if s.text(ca) != "" {
		pem, err := pemOf(s, ca)
		config.RootCAs = x509.NewCertPool()
		switch {
		case err != nil:
			faults = append(faults, err)
		case !config.RootCAs.AppendCertsFromPEM(pem):
			faults = append(faults, fmt.Errorf("%s (%s): there is no PEM certificate in it", ca, s.origin(ca)))
		}
	}
	switch {
	case (s.text(cert) == "") != (s.text(key) == ""):
		faults = append(faults, fmt.Errorf("%s and %s are given together or not at all", cert, key))
	case s.text(cert) != "":
		certPEM, err := pemOf(s, cert)
		keyPEM, err2 := pemOf(s, key)
		if err = errors.Join(err, err2); err == nil {
			var pair tls.Certificate
			if pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
				err = fmt.Errorf("%s (%s), %s (%s): %w", cert, s.origin(cert), key, s.origin(key), err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// pemOf is the value when that is PEM itself, as a properties file may hold it, else the file it names.
func pemOf(s settings, key string) ([]byte, error) {
	value := s.text(key)
	if strings.HasPrefix(strings.TrimSpace(value), "-----BEGIN ") {
		return []byte(value), nil
	}
	src, err := os.ReadFile(value)
	if err != nil {
		return nil, fmt.Errorf("%s (%s): %w", key, s.origin(key), err)
	}
	return src, nil
}

func saslMechanism(s settings) (sasl.Mechanism, error) {
	name, user := s.text("sasl-mechanism"), s.text("sasl-user")
	if name == "" {
		for _, k := range []string{"sasl-user", "sasl-password", "sasl-password-file", "sasl-token-file"} {
			if s.text(k) != "" {
				return nil, fmt.Errorf("%s is set (%s), but sasl-mechanism is not", k, s.origin(k))
			}
		}
		return nil, nil
	}
	if name == "OAUTHBEARER" {
		path := s.text("sasl-token-file")
		if path == "" {
			return nil, errors.New("sasl-mechanism OAUTHBEARER needs sasl-token-file")
		}
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := os.ReadFile(path)
			if err != nil {
				return oauth.Auth{}, fmt.Errorf("sasl-token-file: %w", err)
			}
			return oauth.Auth{Token: strings.TrimSpace(string(token))}, nil
		}), nil
	}
	password, err := s.secret("sasl-password")
	if err != nil {
		return nil, err
	}
	known := map[string]sasl.Mechanism{
		"PLAIN":         plain.Auth{User: user, Pass: password}.AsMechanism(),
		"SCRAM-SHA-256": scram.Auth{User: user, Pass: password}.AsSha256Mechanism(),
		"SCRAM-SHA-512": scram.Auth{User: user, Pass: password}.AsSha512Mechanism(),
	}
	mechanism, ok := known[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("sasl-mechanism (%s): %q is not PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER", s.origin("sasl-mechanism"), name)
	case user == "" || password == "":
		return nil, fmt.Errorf("sasl-mechanism %s needs sasl-user and sasl-password-file", name)
	}
	return mechanism, nil
}
