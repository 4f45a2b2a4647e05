package protocol

import (
	"embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/linkedin/goavro/v2"
)

//go:embed schemas/*.avsc schemas/old/*.avsc
var schemaFiles embed.FS

// Names of our Avro records, without the namespace amends.v1.
const (
	SchemaStart     = "StartSaga"
	SchemaSignal    = "Signal"
	SchemaCancel    = "Cancel"
	SchemaAdmin     = "Admin"
	SchemaCommand   = "Command"
	SchemaReply     = "Reply"
	SchemaLifecycle = "Lifecycle"

	SchemaChildDone    = "ChildDone"
	SchemaReverse      = "Reverse"
	SchemaParentClosed = "ParentClosed"
)

var schemaNames = []string{SchemaStart, SchemaSignal, SchemaCancel, SchemaAdmin, SchemaCommand, SchemaReply, SchemaLifecycle,
	SchemaChildDone, SchemaReverse, SchemaParentClosed}

// oldSchemas are former versions of our records, by file. They are read for ever. A record that says
// nothing that its former version could not say is still written with the former fingerprint: both
// versions encode it to the same bytes, and a reader that has only the old schema goes on reading.
var oldSchemas = map[string]string{"StartSaga.1": SchemaStart, "Lifecycle.1": SchemaLifecycle}

// schema is one of our records as Avro knows it.
type schema struct {
	name   string
	text   string
	codec  *goavro.Codec
	header []byte // C3 01 and the CRC-64-AVRO fingerprint, little-endian
	former []byte // header of the version before, nil = there is none
}

var (
	schemas      = map[string]*schema{}
	schemaByCode = map[uint64]*schema{}
)

// The library's own limits are 2^31-1, and it allocates what a length field claims: ten bytes could
// ask for gigabytes. They are variables of the library, so this holds for the whole process.
func init() {
	goavro.MaxBlockCount = MaxAvroBlockCount
	goavro.MaxBlockSize = MaxAvroBlockBytes
	for _, name := range schemaNames {
		schemas[name] = readSchema(name, "schemas/"+name+".avsc")
	}
	for file, name := range oldSchemas {
		schemas[name].former = readSchema(name, "schemas/old/"+file+".avsc").header
	}
}

func readSchema(name, file string) *schema {
	text, err := schemaFiles.ReadFile(file)
	if err != nil {
		panic(err)
	}
	codec, err := goavro.NewCodec(plain(text))
	if err != nil {
		panic(fmt.Sprintf("schema %s: %v", file, err))
	}
	header := append([]byte{0xC3, 0x01}, make([]byte, 8)...)
	binary.LittleEndian.PutUint64(header[2:], codec.Rabin)
	s := &schema{name: name, text: string(text), codec: codec, header: header}
	schemaByCode[codec.Rabin] = s
	return s
}

// plain returns a schema without its logical types. The fingerprint of the Avro specification does
// not see them, but the library's would: with them, records of every other Avro implementation
// would look foreign. Times come out as plain longs, which is what we want anyway.
func plain(text []byte) string {
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		panic(err)
	}
	b, err := json.Marshal(withoutLogicalTypes(tree))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func withoutLogicalTypes(node any) any {
	switch n := node.(type) {
	case []any:
		for i := range n {
			n[i] = withoutLogicalTypes(n[i])
		}
	case map[string]any:
		if n["logicalType"] != nil {
			return n["type"]
		}
		for k := range n {
			n[k] = withoutLogicalTypes(n[k])
		}
	}
	return node
}

// Schema returns the text of one of our Avro schemas, "" when there is none of this name.
func Schema(name string) string {
	if s := schemas[name]; s != nil {
		return s.text
	}
	return ""
}

// SchemaNames returns the names of our Avro schemas.
func SchemaNames() []string { return append([]string(nil), schemaNames...) }

// isAvro reports whether b looks like the single-object encoding.
func isAvro(b []byte) bool { return len(b) >= 2 && b[0] == 0xC3 && b[1] == 0x01 }

// decodeNative checks frame and size and lets the codec decode the body. Our schemas do not refer
// to themselves, so the nesting of what comes out is that of the schema; each collection is bounded
// by MaxAvroBlockCount and each text by the input.
func decodeNative(b []byte) (name string, rec map[string]any, err error) {
	if len(b) > MaxRecordBytes {
		return "", nil, tooLarge("", "more Avro than a record may hold")
	}
	if !isAvro(b) || len(b) < 10 {
		return "", nil, malformed("", "not in the single-object encoding")
	}
	s := schemaByCode[binary.LittleEndian.Uint64(b[2:10])]
	if s == nil {
		return "", nil, &Error{Class: ClassUnknownSchema, Text: fmt.Sprintf("Avro fingerprint %x is not one of ours", b[2:10]), Hint: "Use the schemas that come with this release."}
	}
	native, rest, err := s.codec.NativeFromBinary(b[10:])
	if err != nil {
		// The library's text may repeat values, so it is not passed on.
		return "", nil, malformed("", "the bytes do not fit schema "+s.name)
	}
	if len(rest) > 0 {
		return "", nil, malformed("", "bytes after the end of "+s.name)
	}
	rec, ok := native.(map[string]any)
	if !ok {
		return "", nil, malformed("", "not a record")
	}
	return s.name, rec, nil
}

// DecodeAvro reads the single-object encoding of one of our records: *Start, *Signal, *Cancel,
// *Admin, *CommandRecord, *ReplyRecord, *Lifecycle, *ChildDone, *Reverse or *ParentClosed, in the
// present or a former version of its schema. It checks form, not meaning; DecodeIntake and
// DecodeControl check both. Byte fields alias b.
func DecodeAvro(b []byte) (any, error) {
	name, rec, err := decodeNative(b)
	if err != nil {
		return nil, err
	}
	f := fields{rec: rec}
	var v any
	switch name {
	case SchemaStart:
		v = f.start()
	case SchemaSignal:
		v = f.signal()
	case SchemaCancel:
		v = f.cancel()
	case SchemaAdmin:
		v = f.admin()
	case SchemaCommand:
		v = f.command()
	case SchemaReply:
		v = f.reply()
	case SchemaLifecycle:
		v = f.lifecycle()
	case SchemaChildDone:
		v = f.childDone()
	case SchemaReverse:
		r := Reverse(f.kin())
		v = &r
	case SchemaParentClosed:
		r := ParentClosed(f.kin())
		v = &r
	}
	if f.err != nil {
		return nil, f.err
	}
	return v, nil
}

// fields reads the codec's values: a union arrives as a map with one entry, an enum as its symbol.
// It keeps the first error.
type fields struct {
	rec map[string]any
	err error
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// value returns the value of a field, nil for the null of a union. Fields that are maps themselves
// are read by texts, so a map with one entry here is a branch of a union.
func (f *fields) value(name string) any {
	v := f.rec[name]
	if m, ok := v.(map[string]any); ok && len(m) == 1 {
		for _, inner := range m {
			return inner
		}
	}
	return v
}

func (f *fields) text(name string) string {
	s, _ := f.value(name).(string)
	if !utf8.ValidString(s) {
		f.fail(malformed(name, "not UTF-8"))
	}
	return s
}

func (f *fields) bytes(name string) []byte {
	b, _ := f.value(name).([]byte)
	return b
}

func (f *fields) bool(name string) bool {
	b, _ := f.value(name).(bool)
	return b
}

// natural reads an int or long that counts something.
func (f *fields) natural(name string, max int64) int64 {
	var n int64
	switch v := f.value(name).(type) {
	case int32:
		n = int64(v)
	case int64:
		n = v
	}
	if n < 0 || n > max {
		f.fail(malformed(name, fmt.Sprintf("not in 0..%d", max)))
		return 0
	}
	return n
}

func (f *fields) time(name string) int64 { return f.natural(name, MaxTime) }

// symbol reads an enum as the protocol spells it: lower case, words joined by '-'.
func (f *fields) symbol(name string) string {
	s, _ := f.value(name).(string)
	return strings.ReplaceAll(strings.ToLower(s), "_", "-")
}

func (f *fields) texts(name string) map[string]string {
	m, _ := f.rec[name].(map[string]any)
	if len(m) == 0 {
		return nil
	}
	texts := make(map[string]string, len(m))
	for k, v := range m {
		s, _ := v.(string)
		if !utf8.ValidString(k) || !utf8.ValidString(s) {
			f.fail(malformed(name, "not UTF-8"))
			return nil
		}
		texts[k] = s
	}
	return texts
}

func (f *fields) inner(name string) (*fields, bool) {
	m, ok := f.value(name).(map[string]any)
	return &fields{rec: m}, ok
}

func (f *fields) source(name string) *Source {
	in, ok := f.inner(name)
	if !ok {
		return nil
	}
	s := &Source{in.text("topic"), int32(in.natural("partition", math.MaxInt32)), in.natural("offset", math.MaxInt64)}
	f.join(in)
	return s
}

// join takes over the error of an inner record.
func (f *fields) join(in *fields) {
	if in.err != nil {
		f.fail(in.err)
	}
}

// wid splits the workflow ID of a record that must have one.
func (f *fields) wid() (typ, id string) {
	typ, id, err := SplitWorkflowID(f.text("wid"))
	if err != nil {
		f.fail(err)
	}
	return typ, id
}

func (f *fields) start() *Start {
	s := &Start{
		Type:      f.text("type"),
		Version:   uint32(f.natural("version", math.MaxInt32)),
		StartID:   f.text("startId"),
		Input:     f.bytes("input"),
		NotBefore: f.time("notBefore"),
		ReplyTo:   f.text("replyTo"),
		Tags:      f.texts("tags"),
		IssuedAt:  f.time("issuedAt"),
		Causation: f.source("causation"),
	}
	if wid := f.text("wid"); wid != "" {
		typ, id, err := SplitWorkflowID(wid)
		switch {
		case err != nil:
			f.fail(err)
		case typ != s.Type:
			f.fail(malformed("wid", "its type is not that of field type"))
		}
		s.ID = id
	}
	if in, ok := f.inner("parent"); ok {
		s.Parent = &Parent{in.text("wid"), uint32(in.natural("run", math.MaxInt32)), in.text("path"), in.bool("reversible")}
		f.join(in)
	}
	if schema := f.text("inputSchema"); schema != "" && !isJSON(schema) {
		f.fail(&Error{Class: ClassUnsupported, Field: "inputSchema", Text: "only JSON input is supported by this version"})
	}
	if len(s.Input) == 0 {
		s.Input = []byte("{}")
	}
	if s.Input[0] != '{' {
		f.fail(malformed("input", "want a JSON object"))
	} else if what := checkJSON(s.Input, 0); what != "" {
		f.fail(malformed("input", what))
	}
	return s
}

func (f *fields) signal() *Signal {
	typ, id := f.wid()
	return &Signal{
		Type: typ, ID: id,
		Name:        f.text("name"),
		SignalID:    f.text("signalId"),
		Payload:     f.bytes("payload"),
		ContentType: f.text("contentType"),
		Actor:       f.text("actor"),
		TTL:         f.natural("ttlMs", MaxTime),
		IssuedAt:    f.time("issuedAt"),
	}
}

func (f *fields) cancel() *Cancel {
	typ, id := f.wid()
	return &Cancel{
		Type: typ, ID: id,
		RequestID: f.text("requestId"),
		Reason:    f.text("reason"),
		Actor:     f.text("actor"),
		VoidTTL:   f.natural("voidTtlMs", MaxTime),
	}
}

func (f *fields) admin() *Admin {
	typ, id := f.wid()
	return &Admin{
		Type: typ, ID: id,
		RequestID: f.text("requestId"),
		Action:    Action(f.symbol("action")),
		Path:      f.text("path"),
		Args:      f.texts("args"),
		Operator:  f.text("operator"),
		Approver:  f.text("approver"),
		Reason:    f.text("reason"),
		ExpectRev: uint64(f.natural("expectRev", math.MaxInt64)),
	}
}

func (f *fields) command() *CommandRecord {
	return &CommandRecord{
		Token:          f.text("token"),
		WorkflowID:     f.text("wid"),
		Type:           f.text("type"),
		Path:           f.text("path"),
		Op:             Op(f.symbol("op")),
		Name:           f.text("command"),
		Key:            f.text("key"),
		ForwardKey:     f.text("fwdKey"),
		Attempt:        uint32(f.natural("attempt", math.MaxInt32)),
		Round:          uint32(f.natural("round", math.MaxInt32)),
		Deadline:       f.time("deadline"),
		ReplyTo:        f.text("replyTo"),
		ReplyPartition: int32(f.natural("replyPartition", math.MaxInt32)),
		Payload:        f.bytes("payload"),
		Schema:         f.text("schema"),
		Trace:          f.text("traceparent"),
	}
}

func (f *fields) reply() *ReplyRecord {
	r := &ReplyRecord{
		Token:      f.text("token"),
		Outcome:    Outcome(f.symbol("outcome")),
		Effect:     Effect(f.symbol("effect")),
		Code:       f.text("code"),
		Message:    f.text("message"),
		RetryAfter: f.natural("retryAfterMs", MaxTime),
		Noop:       f.bool("noop"),
		Replayed:   f.bool("replayed"),
		Handle:     f.texts("handle"),
		Payload:    f.bytes("payload"),
	}
	if r.Effect != "" && !r.Outcome.fits(r.Effect) {
		f.fail(malformed("effect", "contradicts outcome"))
	}
	return r
}

func (f *fields) childDone() *ChildDone {
	typ, id := f.wid()
	d := &ChildDone{
		Type: typ, ID: id,
		Run:     uint32(f.natural("run", math.MaxInt32)),
		Path:    f.text("path"),
		Child:   f.text("child"),
		End:     End(f.symbol("end")),
		Code:    f.text("code"),
		Message: f.text("message"),
		Output:  f.bytes("output"),
	}
	if len(d.Output) == 0 {
		d.Output = nil
	}
	return d
}

func (f *fields) kin() Kin {
	typ, id := f.wid()
	return Kin{Type: typ, ID: id, Parent: f.text("parent"), Run: uint32(f.natural("run", math.MaxInt32)), Path: f.text("path")}
}

func (f *fields) lifecycle() *Lifecycle {
	l := &Lifecycle{
		WorkflowID: f.text("wid"),
		Run:        uint32(f.natural("run", math.MaxInt32)),
		Seq:        uint64(f.natural("seq", math.MaxInt64)),
		Rev:        uint64(f.natural("rev", math.MaxInt64)),
		At:         f.time("at"),
		Kind:       f.symbol("kind"),
		Path:       f.text("path"),
		Phase:      f.text("phase"),
		Cause:      f.text("cause"),
		Definition: f.text("def"),
		Source:     f.source("source"),
	}
	items, _ := f.value("attention").([]any)
	for _, item := range items {
		s, _ := item.(string)
		if !utf8.ValidString(s) {
			f.fail(malformed("attention", "not UTF-8"))
			break
		}
		l.Attention = append(l.Attention, s)
	}
	for k, v := range f.texts("detail") {
		l.Detail = append(l.Detail, KV{k, v})
	}
	slices.SortFunc(l.Detail, func(a, b KV) int { return strings.Compare(a.Key, b.Key) })
	return l
}
