package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A Java client's .properties file as a source of settings: every team that uses Kafka has one. What is
// needed to connect and cannot be used here is an error that says why and what to do; what merely tunes
// a Java client is a note.

// property is one line of a properties file.
type property struct {
	key, value string
	line       int
}

// readProperties reads the settings that a Java client would connect with.
func readProperties(path string) (layer, []string, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return layer{}, nil, fmt.Errorf("kafka-config: %w", err)
	}
	p := propertyReader{path: path, all: map[string]property{}, used: map[string]bool{}, out: map[string]any{}, lines: map[string]int{}}
	for _, one := range parseProperties(string(src)) {
		p.all[one.key] = one
	}
	p.connection()
	p.login()
	p.certificates()
	l := layer{values: p.out, place: func(key string) string { return fmt.Sprintf("%s:%d", path, p.lines[key]) }}
	return l, p.rest(), errors.Join(p.faults...)
}

type propertyReader struct {
	path   string
	all    map[string]property
	used   map[string]bool
	out    map[string]any
	lines  map[string]int
	faults []error
}

func (p *propertyReader) get(key string) string {
	p.used[key] = true
	return p.all[key].value
}

// set says that our key has its value from a line of the file.
func (p *propertyReader) set(key string, value any, from string) {
	p.out[key], p.lines[key] = value, p.all[from].line
}

func (p *propertyReader) cannot(key, why, fix string) {
	p.used[key] = true
	p.faults = append(p.faults, fmt.Errorf("%s:%d: %s cannot be used: %s. %s", p.path, p.all[key].line, key, why, fix))
}

func (p *propertyReader) connection() {
	if v := p.get("bootstrap.servers"); v != "" {
		servers := strings.Split(v, ",")
		for i, s := range servers {
			s = strings.TrimSpace(s)
			if _, rest, ok := strings.Cut(s, "://"); ok { // LISTENER://host:port
				s = rest
			}
			servers[i] = s
		}
		p.set("brokers", slices.DeleteFunc(servers, func(s string) bool { return s == "" }), "bootstrap.servers")
	}
	switch v := strings.ToUpper(p.get("security.protocol")); v {
	case "", "PLAINTEXT", "SASL_PLAINTEXT":
	case "SSL", "SASL_SSL":
		p.set("tls", true, "security.protocol")
	default:
		p.cannot("security.protocol", fmt.Sprintf("%q is not a protocol of Kafka", v), "Use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
	}
}

// login reads the mechanism and what it needs. Without a SASL protocol a Java client does not log in,
// whatever else the file says.
func (p *propertyReader) login() {
	jaas, mechanism := p.get("sasl.jaas.config"), p.get("sasl.mechanism")
	tokenURL := p.get("sasl.oauthbearer.token.endpoint.url")
	if !strings.HasPrefix(strings.ToUpper(p.get("security.protocol")), "SASL_") {
		return
	}
	for _, key := range []string{"sasl.client.callback.handler.class", "sasl.login.callback.handler.class", "sasl.login.class"} {
		if _, there := p.all[key]; there && !strings.HasSuffix(p.get(key), "OAuthBearerLoginCallbackHandler") {
			p.cannot(key, "it names Java code", "Log in with PLAIN, SCRAM or a token file.")
		}
	}
	switch mechanism {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		// What is missing here may be given elsewhere, so it is not looked for.
		options := jaasOptions(jaas)
		if v := options["username"]; v != "" {
			p.set("sasl-user", v, "sasl.jaas.config")
		}
		if v := options["password"]; v != "" {
			p.set("sasl-password", v, "sasl.jaas.config")
		}
	case "OAUTHBEARER":
		file, ok := strings.CutPrefix(tokenURL, "file://")
		if !ok {
			p.cannot("sasl.oauthbearer.token.endpoint.url", "only a file with the token can be read (file:///…)", "Let something refresh a token file, and name it there or with --sasl-token-file.")
			return
		}
		p.set("sasl-token-file", file, "sasl.oauthbearer.token.endpoint.url")
	case "", "GSSAPI": // Java's default is Kerberos
		p.cannot("sasl.mechanism", "Kerberos (GSSAPI) is not supported", "Use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.")
		return
	default:
		p.cannot("sasl.mechanism", fmt.Sprintf("%s is not supported", mechanism), "Use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.")
		return
	}
	p.set("sasl-mechanism", mechanism, "sasl.mechanism")
}

func (p *propertyReader) certificates() {
	const convert = "Convert it: keytool -importkeystore … -deststoretype PKCS12, then openssl pkcs12 -in store.p12 -out client.pem -nodes"
	tls, _ := p.out["tls"].(bool)
	isPEM := func(kind string) bool {
		return strings.EqualFold(p.get("ssl."+kind+".type"), "PEM")
	}
	take := func(key, property string) {
		if v := p.get(property); v != "" {
			p.set(key, v, property)
		}
	}
	for _, store := range []string{"truststore", "keystore"} {
		location := "ssl." + store + ".location"
		if p.get(location) != "" && !isPEM(store) && tls {
			p.cannot(location, "only PEM can be read, and without ssl."+store+".type=PEM it is a Java keystore", convert+".")
		}
		p.used["ssl."+store+".password"] = true
	}
	if !tls {
		return
	}
	if isPEM("truststore") {
		take("tls-ca", "ssl.truststore.location")
	}
	take("tls-ca", "ssl.truststore.certificates")
	if isPEM("keystore") {
		take("tls-cert", "ssl.keystore.location") // one file with both, as Java wants it
		take("tls-key", "ssl.keystore.location")
	}
	take("tls-cert", "ssl.keystore.certificate.chain")
	take("tls-key", "ssl.keystore.key")
	if p.get("ssl.key.password") != "" {
		p.cannot("ssl.key.password", "keys with a password cannot be read", "Write the key without one into a file that only you can read: openssl pkey -in client.key -out plain.key.")
	}
	if v, there := p.all["ssl.endpoint.identification.algorithm"]; there && strings.TrimSpace(v.value) == "" {
		p.cannot(v.key, "the name in the broker's certificate is always checked", "If it is another name than the address, give it with --tls-server-name, and take this line out.")
	}
	p.used["ssl.endpoint.identification.algorithm"] = true
}

// rest are the lines that say nothing about how to connect.
func (p *propertyReader) rest() []string {
	var notes []string
	for key, one := range p.all {
		if !p.used[key] {
			notes = append(notes, fmt.Sprintf("%s:%d: %s is not used: it tunes a Java client", p.path, one.line, key))
		}
	}
	slices.Sort(notes)
	return notes
}

// jaasOptions are the name="value" pairs of a login module.
func jaasOptions(jaas string) map[string]string {
	options := map[string]string{}
	rest := strings.TrimSpace(jaas)
	for {
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return options
		}
		if words := strings.Fields(name); len(words) > 0 { // the module and its flag stand before the first name
			name = words[len(words)-1]
		}
		after = strings.TrimLeft(after, " \t")
		value := ""
		if quote := strings.IndexAny(after, `"'`); quote == 0 {
			end := 1
			for ; end < len(after) && after[end] != after[0]; end++ {
				if after[end] == '\\' && end+1 < len(after) {
					end++
				}
				value += string(after[end])
			}
			rest = after[min(end+1, len(after)):]
		} else {
			end := strings.IndexAny(after, " \t;")
			if end < 0 {
				end = len(after)
			}
			value, rest = after[:end], after[end:]
		}
		options[name] = value
	}
}

// parseProperties reads the format of java.util.Properties: comments, continued lines, three kinds of
// separators, escapes.
func parseProperties(src string) []property {
	var out []property
	lines := strings.Split(strings.ReplaceAll(src, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		at, l := i+1, strings.TrimLeft(lines[i], " \t\f")
		if l == "" || l[0] == '#' || l[0] == '!' {
			continue
		}
		for endsInBackslash(l) && i+1 < len(lines) {
			i++
			l = l[:len(l)-1] + strings.TrimLeft(lines[i], " \t\f")
		}
		key, value := splitProperty(l)
		out = append(out, property{unescape(key), strings.TrimRight(unescape(value), " \t"), at})
	}
	return out
}

func endsInBackslash(l string) bool {
	n := len(l) - len(strings.TrimRight(l, `\`))
	return n%2 == 1
}

// splitProperty cuts at the first separator that is not escaped.
func splitProperty(l string) (key, value string) {
	for i := 0; i < len(l); i++ {
		switch l[i] {
		case '\\':
			i++
		case '=', ':':
			return strings.TrimRight(l[:i], " \t"), strings.TrimLeft(l[i+1:], " \t")
		case ' ', '\t':
			rest := strings.TrimLeft(l[i:], " \t")
			if rest != "" && (rest[0] == '=' || rest[0] == ':') {
				rest = strings.TrimLeft(rest[1:], " \t")
			}
			return l[:i], rest
		}
	}
	return l, ""
}

func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'u':
			var r rune
			if i+4 < len(s) {
				if _, err := fmt.Sscanf(s[i+1:i+5], "%04x", &r); err == nil {
					b.WriteRune(r)
					i += 4
					continue
				}
			}
			b.WriteByte('u')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
