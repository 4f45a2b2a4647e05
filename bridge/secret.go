package bridge

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/amendsio/amends/sagas"
)

// namedSecret is a header of a destination.
type namedSecret struct {
	name  string
	value *secret
}

// secret is a text that stands in a file or in the environment, or one that is none and stands in the
// configuration. A file is read again when what was read is older than secretAge, so that it can be
// changed under a running process.
type secret struct {
	text, file, env, prefix string

	mu struct {
		sync.Mutex
		value string
		at    time.Time
	}
}

const (
	secretAge = 30 * time.Second
	secretMax = 64 << 10
)

// secretNames recognises headers that hold a secret by what people call them.
var secretNames = regexp.MustCompile(`(?i)auth|cookie|token|secret|passw|api-?key|access-?key|credential|signature|session`)

func secretName(header string) bool { return secretNames.MatchString(header) }

// ours are the headers that are not the file's to set.
var ours = []string{"idempotency-key", "host", "content-length", "content-type", "transfer-encoding", "connection", "trailer", "upgrade",
	"te", "expect", "traceparent", "accept-encoding"}

func headerName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != "" && len(name) <= 128
}

// headerValue says that a text can be the value of a header: no line ends, no other control characters.
func headerValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// headerOf checks the name of a header.
func (p *parser) headerOf(v sagas.DocValue, name string) {
	switch {
	case !headerName(name):
		v.Fault("SG03", "", "%q is not the name of a header", name)
	case slices.Contains(ours, strings.ToLower(name)):
		v.Fault("SG01", "", "the header %s is set by the bridge", name)
	}
}

// secret reads the value of a destination's header: {file: PATH} or {env: NAME}, with a prefix, or a
// text when the header does not look like a secret.
func (p *parser) secret(v sagas.DocValue, name string) *secret {
	if !v.IsMap() {
		s := &secret{text: v.Text(name)}
		if secretName(name) {
			v.Fault("SG01", "Write {file: /run/secrets/…} or {env: NAME}, with prefix: 'Bearer ' if it needs one.",
				"%s looks like a secret; a secret stands in a file or in the environment", name)
		}
		if !headerValue(s.text) {
			v.Fault("SG01", "", "the value of %s has characters that a header cannot have", name)
		}
		return s
	}
	s := &secret{}
	if !v.Fields("a secret", "file", "env", "prefix") {
		return s
	}
	s.file, s.env, s.prefix = v.Child("file").Text("file"), v.Child("env").Text("env"), v.Child("prefix").Text("prefix")
	if (s.file == "") == (s.env == "") {
		v.Fault("SG01", "", "%s needs one of file and env", name)
	}
	return s
}

var errSecret = errors.New("secret is not available")

// get is the value for a header. An error names the place and never the value.
func (s *secret) get(now time.Time) (string, error) {
	if s.file == "" && s.env == "" {
		return s.text, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.value != "" && (s.env != "" || now.Sub(s.mu.at) < secretAge) {
		return s.mu.value, nil
	}
	value, err := s.read()
	if err != nil {
		if s.mu.value != "" { // a file that is being replaced
			return s.mu.value, nil
		}
		return "", err
	}
	s.mu.value, s.mu.at = value, now
	return value, nil
}

func (s *secret) read() (string, error) {
	value, place := "", "environment variable "+s.env
	if s.env != "" {
		value = os.Getenv(s.env)
	} else {
		place = "file " + s.file
		info, err := os.Stat(s.file)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errSecret, err)
		}
		if info.Size() > secretMax {
			return "", fmt.Errorf("%w: %s is larger than %d bytes", errSecret, place, secretMax)
		}
		b, err := os.ReadFile(s.file)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errSecret, err)
		}
		value = string(b)
	}
	value = strings.TrimSpace(value)
	switch {
	case value == "":
		return "", fmt.Errorf("%w: %s is empty", errSecret, place)
	case !headerValue(value):
		return "", fmt.Errorf("%w: %s has characters that a header cannot have", errSecret, place)
	}
	return s.prefix + value, nil
}
