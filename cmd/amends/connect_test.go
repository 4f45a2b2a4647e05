package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// connect reads the connection of a command line, as every command does.
func connect(t *testing.T, args ...string) (*connection, settings, error) {
	t.Helper()
	cmd, _, err := newRoot(&terminal{out: &bytes.Buffer{}, err: &bytes.Buffer{}}).Find([]string{"start"})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	s, err := readSettings(cmd, "")
	c := &connection{}
	if err == nil {
		err = c.take(s)
	}
	return c, s, err
}

// emptyHome makes a configuration directory of the test's own.
func emptyHome(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	return dir
}

func writeProfiles(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(emptyHome(t), "amends", "profiles.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPrecedence: flag > environment > profile > properties > default, and each says where it is from.
func TestPrecedence(t *testing.T) {
	java := write(t, "client.properties", "bootstrap.servers=java:1\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"+
		"sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"java\" password=\"from java\";\n")
	path := writeProfiles(t, "current: prod\nprofiles:\n  prod:\n    namespace: pay\n    server: api.internal:8480\n    kafka-config: "+java+"\n  other: {brokers: [o:1]}\n")
	t.Setenv("AMENDS_SASL_PASSWORD_FILE", write(t, "password", "from env\n"))
	_, s, err := connect(t, "--namespace", "from-flag")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]string{
		"namespace": {"from-flag", "flag --namespace"}, "server": {"api.internal:8480", "profile prod (" + path + ":5)"},
		"brokers": {"java:1", java + ":1"}, "sasl-user": {"java", java + ":4"}, "sasl-password": {"", "default"},
		"sasl-password-file": {os.Getenv("AMENDS_SASL_PASSWORD_FILE"), "env AMENDS_SASL_PASSWORD_FILE"}, "tls": {"false", "default"},
	} {
		got := s.text(key)
		if key == "brokers" {
			got = strings.Join(s.list(key), ",")
		}
		if got != want[0] || s.origin(key) != want[1] {
			t.Errorf("%s: %q from %q, want %q from %q", key, got, s.origin(key), want[0], want[1])
		}
	}
	if password, err := s.secret("sasl-password"); err != nil || password != "from env" {
		t.Errorf("password: %q %v", password, err)
	}
	if c, _, err := connect(t, "--profile", "other", "--sasl-mechanism", "PLAIN", "--sasl-user", "u"); err != nil || fmt.Sprint(c.Brokers) != "[o:1]" || c.Server != defaultServer {
		t.Errorf("other profile: %v %v", c, err)
	}
	// A server takes no profile that it was not told to take.
	cmd, _, _ := newRoot(&terminal{}).Find([]string{"run"})
	if s, err := readSettings(cmd, ""); err != nil || s.text("namespace") != defaultNamespace {
		t.Errorf("server: %q %v", s.text("namespace"), err)
	}
}

func TestProfileFaults(t *testing.T) {
	for content, says := range map[string]string{
		"current: nowhere\n":                                `no profile "nowhere"`,
		"profiles:\n  a:\n    namespce: x\ncurrent: a\n":    `profiles.yaml:3: namespce: unknown setting. Did you mean "namespace"?`,
		"profile:\n  a: {}\n":                               `profiles.yaml:1: profile: unknown setting. Did you mean "profiles"?`,
		"current: a\nprofiles:\n  a: {data-dir: /x}\n":      "data-dir: unknown setting",
		"current: a\nprofiles:\n  a: {brokers: {x: 1}}\n":   "want a value",
		"profiles: [a]\n":                                   "want a map",
		"current: a\nprofiles:\n  a: {tls-ca: /x.pem}\n":    "tls is not",
		"current: a\nprofiles:\n  a: {sasl-user: me}\n":     "sasl-mechanism is not",
		"current: a\nprofiles:\n  a: {sasl-mechanism: X}\n": `"X" is not PLAIN`,
	} {
		writeProfiles(t, content)
		if code, _, talk := execute(t, "start", "x", "--dry-run"); code != exitUsage || !strings.Contains(talk, says) {
			t.Errorf("%q: exit %d, %q", content, code, talk)
		}
	}
}

func TestConfigCommands(t *testing.T) {
	path := writeProfiles(t, "# mine\ncurrent: a\nprofiles:\n  a: {namespace: x}\n  b: {sasl-mechanism: PLAIN, sasl-user: u, sasl-password: hunter2}\n")
	if code, out, talk := execute(t, "config", "use", "b"); code != exitOK || out != "b\n" {
		t.Fatalf("use: %d %q %q", code, out, talk)
	}
	if src, _ := os.ReadFile(path); !strings.Contains(string(src), "# mine") || strings.Count(string(src), "current:") != 1 {
		t.Errorf("the file is now %q", src)
	}
	code, out, _ := execute(t, "config", "show", "-o", "json")
	var rows []setting
	if err := json.Unmarshal([]byte(out), &rows); err != nil || code != exitOK {
		t.Fatalf("show: %d %v", code, err)
	}
	if strings.Contains(out, "hunter2") || !strings.Contains(out, "********") || !strings.Contains(out, "profile b (") {
		t.Errorf("show: %s", out)
	}
	if code, out, _ := execute(t, "config", "profiles"); code != exitOK || !strings.Contains(out, "b        yes") {
		t.Errorf("profiles: %d %q", code, out)
	}
	if code, _, talk := execute(t, "config", "use", "c"); code != exitUsage || !strings.Contains(talk, "there are: a, b") {
		t.Errorf("use c: %d %q", code, talk)
	}
	file := write(t, "amends.yaml", "namespace: from-file\nstandbys: 2\n")
	if code, out, talk := execute(t, "config", "show", "--config", file); code != exitOK || !strings.Contains(out, file+":2") || !strings.Contains(out, "data-dir") {
		t.Errorf("show --config: %d %s %s", code, out, talk)
	}
	if code, out, _ := execute(t, "config", "reference"); code != exitOK || !strings.Contains(out, "AMENDS_TOKEN_SECRET_FILE") {
		t.Errorf("reference: %d %s", code, out)
	}
}

func TestProperties(t *testing.T) {
	emptyHome(t)
	const login = "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  username=\"al\\\\\\\"ice\" \\\n  password='p=w;d';\n"
	_, s, err := connect(t, "--kafka-config", write(t, "a.properties", "# comment\n! another\nbootstrap.servers : SASL_SSL://a:1, b:2\n"+login+"client.id=app\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.list("brokers"), s.yes("tls"), s.text("sasl-mechanism"), s.text("sasl-user"), s.text("sasl-password"))
	if want := fmt.Sprint([]string{"a:1", "b:2"}, true, "SCRAM-SHA-512", `al"ice`, "p=w;d"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(s.notes) != 1 || !strings.Contains(s.notes[0], "a.properties:9: client.id is not used") {
		t.Errorf("notes: %v", s.notes)
	}
	token := write(t, "token", "x")
	if _, s, err = connect(t, "--kafka-config", write(t, "a.properties", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file://"+token)); err != nil || s.text("sasl-token-file") != token {
		t.Errorf("token file: %q %v", s.text("sasl-token-file"), err)
	}
	for content, says := range map[string]string{
		"security.protocol=SSL\nssl.truststore.location=/a.jks":                                                                               "a.properties:2: ssl.truststore.location cannot be used: only PEM",
		"security.protocol=SSL\nssl.keystore.location=/a.p12\nssl.keystore.type=PKCS12":                                                       "openssl pkcs12",
		"security.protocol=SSL\nssl.key.password=x":                                                                                           "keys with a password",
		"security.protocol=SSL\nssl.endpoint.identification.algorithm=":                                                                       "always checked",
		"security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI":                                                                                   "Kerberos",
		"security.protocol=SASL_SSL\nsasl.jaas.config=x":                                                                                      "Kerberos",
		"security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM":                                                                              "AWS_MSK_IAM is not supported",
		"security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=https://x":                               "only a file with the token",
		"security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.client.callback.handler.class=com.example.Mine\nsasl.jaas.config=m required;": "it names Java code",
		"security.protocol=SSH":                                  "is not a protocol",
		"security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN": "needs sasl-user and sasl-password-file",
	} {
		if _, _, err := connect(t, "--kafka-config", write(t, "a.properties", content)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", content, err)
		}
	}
	// Without TLS its settings do not matter, as they do not matter to a Java client.
	if _, _, err := connect(t, "--kafka-config", write(t, "a.properties", "ssl.truststore.location=/a.jks\n")); err != nil {
		t.Errorf("unused keystore: %v", err)
	}
}

// TestLogin connects to brokers that ask for each kind of login, with and without TLS.
func TestLogin(t *testing.T) {
	emptyHome(t)
	dir := t.TempDir()
	ca, serverCert := makeCertificates(t, dir)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, secure := range []bool{false, true} {
			opts := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, "alice", "wonder land")}
			args := []string{"--sasl-mechanism", mechanism, "--sasl-user", "alice"}
			if secure {
				opts = append(opts, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{serverCert}}))
				args = append(args, "--tls", "--tls-ca", ca)
			}
			c, err := kfake.NewCluster(opts...)
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, "--brokers", c.ListenAddrs()[0])
			if err := reach(t, append(args, "--sasl-password-file", write(t, "password", "wonder land\n"))...); err != nil {
				t.Errorf("%s, TLS %t: %v", mechanism, secure, err)
			}
			if err := reach(t, append(args, "--sasl-password", "wrong")...); err == nil {
				t.Errorf("%s, TLS %t: a wrong password was taken", mechanism, secure)
			}
			c.Close()
		}
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{serverCert}}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	java := write(t, "client.properties", "bootstrap.servers="+c.ListenAddrs()[0]+"\nsecurity.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location="+ca+"\n")
	if err := reach(t, "--kafka-config", java); err != nil {
		t.Errorf("TLS as a Java client: %v", err)
	}
	if err := reach(t, "--brokers", c.ListenAddrs()[0], "--tls"); err == nil {
		t.Error("a certificate of an unknown authority was taken")
	}
}

// TestClientCertificate connects to brokers that take nobody without a certificate of their authority.
func TestClientCertificate(t *testing.T) {
	emptyHome(t)
	dir := t.TempDir()
	ca, pair := makeCertificates(t, dir)
	authority, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	base := []string{"--brokers", c.ListenAddrs()[0], "--tls", "--tls-ca", ca}
	if err := reach(t, append(base, "--tls-cert", ca, "--tls-key", key)...); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := reach(t, base...); err == nil {
		t.Error("without a certificate: taken")
	}
	_, strangers := makeCertificates(t, t.TempDir())
	der, err = x509.MarshalPKCS8PrivateKey(strangers.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	theirs := write(t, "theirs.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: strangers.Certificate[0]})))
	if err := reach(t, append(base, "--tls-cert", theirs, "--tls-key", write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))))...); err == nil {
		t.Error("with a certificate of another authority: taken")
	}
	java := write(t, "client.properties", "bootstrap.servers="+c.ListenAddrs()[0]+"\nsecurity.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location="+ca+
		"\nssl.keystore.type=PEM\nssl.keystore.location="+write(t, "both.pem", string(authority)+readText(t, key))+"\n")
	if err := reach(t, "--kafka-config", java); err != nil {
		t.Errorf("with a certificate as a Java client has it: %v", err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// TestTokenFile: a login with OAUTHBEARER sends the token that the file has at that moment, so that whoever renews
// the file renews the login.
func TestTokenFile(t *testing.T) {
	emptyHome(t)
	file := write(t, "token", "first\n")
	_, s, err := connect(t, "--sasl-mechanism", "OAUTHBEARER", "--sasl-token-file", file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := saslMechanism(s)
	if err != nil || m.Name() != "OAUTHBEARER" {
		t.Fatalf("%v %v", m, err)
	}
	for _, token := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, hello, err := m.Authenticate(t.Context(), "broker:9092")
		if want := "n,,\x01auth=Bearer " + token + "\x01\x01"; err != nil || string(hello) != want {
			t.Errorf("the broker is told %q (%v), want %q", hello, err, want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Authenticate(t.Context(), "broker:9092"); err == nil || !strings.Contains(err.Error(), "sasl-token-file") {
		t.Errorf("without the file: %v", err)
	}
	if _, _, err := connect(t, "--sasl-mechanism", "OAUTHBEARER"); err == nil || !strings.Contains(err.Error(), "needs sasl-token-file") {
		t.Errorf("without a file: %v", err)
	}
}

// reach asks the brokers of a command line something.
func reach(t *testing.T, args ...string) error {
	t.Helper()
	c, _, err := connect(t, args...)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(c.kafka(kgo.RetryTimeout(2*time.Second), kgo.DialTimeout(2*time.Second))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).ListTopics(t.Context())
	return err
}

// makeCertificates makes an authority and a certificate for loopback. ca is the file of the authority.
func makeCertificates(t *testing.T, dir string) (ca string, server tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return ca, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
