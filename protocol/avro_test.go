package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/linkedin/goavro/v2"
	"pgregory.net/rapid"
)

// sampleAvro is one record of each schema, with most fields set.
func sampleAvro() [][]byte {
	var all [][]byte
	for _, v := range []any{
		&Start{Type: "t", ID: "o-1", Version: 2, StartID: "s", Input: []byte(`{"a":1}`), ReplyTo: "r", Tags: map[string]string{"k": "v"}, IssuedAt: 1700000000000, Causation: &Source{"t", 1, 2}},
		&Signal{Type: "t", ID: "o-1", Name: "n", SignalID: "s", Payload: []byte(`{"p":1}`), Actor: "a", TTL: 5, IssuedAt: 7},
		&Cancel{Type: "t", ID: "o-1", RequestID: "r", Reason: "why", Actor: "a", VoidTTL: 9},
		&Admin{Type: "t", ID: "o-1", Action: ActionRetryNewKey, Path: "auth", Operator: "o", Approver: "p", Reason: "r", ExpectRev: 3},
		&CommandRecord{Token: "t", WorkflowID: "t/o", Op: OpUndo, Name: "void", Key: "k", ForwardKey: "f", Attempt: 1, Round: 1, ReplyTo: "r", Payload: []byte("{}")},
		&ReplyRecord{Token: "t", Outcome: OutcomeFailedFatal, Effect: EffectNone, Code: "c", Message: "m", RetryAfter: 5, Noop: true, Handle: map[string]string{"a": "b"}, Payload: []byte("{}")},
		&Lifecycle{WorkflowID: "t/o", Run: 1, Seq: 4, Rev: 5, At: 1700000000000, Kind: "step-done", Path: "auth", Phase: "running", Attention: []string{"a", "b"}, Cause: "c", Definition: "t@1", Detail: []KV{{"a", "1"}, {"b", "2"}}, Source: &Source{"t", 1, 2}},
		&ChildDone{Type: "p", ID: "o-1", Run: 2, Path: "lines[a]/pay", Child: "t/o-2", End: EndCompensated, Code: "OVER_LIMIT", Message: "m", Output: []byte(`{"a":1}`)},
		&Reverse{Type: "t", ID: "o-2", Parent: "p/o-1", Run: 2, Path: "pay"},
		&ParentClosed{Type: "t", ID: "o-2", Parent: "p/o-1", Run: 2, Path: "pay"},
		&Start{Type: "t", ID: "o-2", StartID: "child/p/o-1/2/pay", Input: []byte(`{}`), Parent: &Parent{"p/o-1", 2, "pay", true}},
		&Lifecycle{WorkflowID: "t/o", Run: 1, Seq: 4, Rev: 5, At: 1700000000000, Kind: "signal-used", Path: "wait", Phase: "running", Definition: "t@1"},
	} {
		b, err := AppendAvro(nil, v)
		if err != nil {
			panic(err)
		}
		all = append(all, b)
	}
	return all
}

func TestAvroLimitsAreLowered(t *testing.T) {
	if goavro.MaxBlockCount != 65536 || goavro.MaxBlockSize != 1<<20 {
		t.Errorf("limits are %d and %d", goavro.MaxBlockCount, goavro.MaxBlockSize)
	}
}

// Fingerprints are in every record on disk: a schema that changes needs a reader for the old one
// before its line here may change. The values were computed by another implementation of the
// specification's parsing canonical form and CRC-64-AVRO, so records of other Avro libraries are
// recognised.
func TestAvroFingerprints(t *testing.T) {
	pinned := map[string]uint64{
		SchemaStart:     0x4908952f4d753362,
		SchemaSignal:    0x7a652350ea5a966d,
		SchemaCancel:    0x6b5f747c03386dde,
		SchemaAdmin:     0x82460d0d596def18,
		SchemaCommand:   0xd2a98ba8c3ddacd8,
		SchemaReply:     0xd90517d9ea8f643a,
		SchemaLifecycle: 0xd798dac140f77828,

		SchemaChildDone:    0xd95a229465245752,
		SchemaReverse:      0xa46265e2dde9b86d,
		SchemaParentClosed: 0xcce0e54506279067,
	}
	for _, name := range SchemaNames() {
		if got := schemas[name].codec.Rabin; got != pinned[name] {
			t.Errorf("%s: 0x%016x", name, got)
		}
		if Schema(name) == "" {
			t.Errorf("%s has no text", name)
		}
	}
	former := map[string]uint64{SchemaStart: 0xaa5f9b0c7f63e5d6, SchemaLifecycle: 0x602504f6bec67dcc}
	for _, name := range SchemaNames() {
		got := uint64(0)
		if h := schemas[name].former; h != nil {
			got = binary.LittleEndian.Uint64(h[2:])
		}
		if got != former[name] {
			t.Errorf("former %s: 0x%016x", name, got)
		}
	}
	if Schema("Nothing") != "" {
		t.Error("a schema that does not exist")
	}
}

// depthOf returns the nesting of a schema and fails on one that refers to itself.
func depthOf(t *testing.T, node any, open map[string]bool) int {
	deepest := 0
	switch n := node.(type) {
	case []any:
		for _, branch := range n {
			deepest = max(deepest, depthOf(t, branch, open))
		}
	case map[string]any:
		if name, _ := n["name"].(string); name != "" && n["type"] == "record" {
			open[name] = true
			defer delete(open, name)
		}
		for _, f := range []string{"items", "values"} {
			deepest = max(deepest, depthOf(t, n[f], open))
		}
		if inner, ok := n["type"].(map[string]any); ok {
			deepest = max(deepest, depthOf(t, inner, open))
		}
		fields, _ := n["fields"].([]any)
		for _, f := range fields {
			deepest = max(deepest, depthOf(t, f.(map[string]any)["type"], open))
		}
		deepest++
	case string:
		if open[n] {
			t.Errorf("a schema refers to itself through %s", n)
		}
	}
	return deepest
}

func TestAvroDepthIsBounded(t *testing.T) {
	for name, s := range schemas {
		var tree any
		if err := json.Unmarshal([]byte(s.text), &tree); err != nil {
			t.Fatal(err)
		}
		if d := depthOf(t, tree, map[string]bool{}); d > 4 {
			t.Errorf("%s nests %d levels", name, d)
		}
	}
}

func TestAvroEnumsMatchTheSchemas(t *testing.T) {
	check := func(schema, enum string, index map[string]int) {
		var tree any
		if err := json.Unmarshal([]byte(schemas[schema].text), &tree); err != nil {
			t.Fatal(err)
		}
		symbols := symbolsOf(tree, enum)
		if len(symbols) != len(index) {
			t.Errorf("%s.%s: %d symbols, %d names", schema, enum, len(symbols), len(index))
		}
		for i, s := range symbols {
			if at, ok := index[strings.ReplaceAll(strings.ToLower(s), "_", "-")]; !ok || at != i {
				t.Errorf("%s.%s: %s is at %d, not %d", schema, enum, s, at, i)
			}
		}
	}
	check(SchemaLifecycle, "Kind", kindIndex)
	check(SchemaAdmin, "Action", actionIndex)
	check(SchemaChildDone, "End", endIndex)
	check(SchemaCommand, "Op", opIndex)
	check(SchemaReply, "Outcome", outcomeIndex)
	check(SchemaReply, "Effect", effectIndex)
}

func symbolsOf(node any, enum string) []string {
	switch n := node.(type) {
	case []any:
		for _, e := range n {
			if s := symbolsOf(e, enum); s != nil {
				return s
			}
		}
	case map[string]any:
		if n["name"] == enum && n["symbols"] != nil {
			var out []string
			for _, s := range n["symbols"].([]any) {
				out = append(out, s.(string))
			}
			return out
		}
		for _, v := range n {
			if s := symbolsOf(v, enum); s != nil {
				return s
			}
		}
	}
	return nil
}

func opt(s string) any {
	if s == "" {
		return nil
	}
	return goavro.Union("string", s)
}

func optTime(ms int64) any {
	if ms == 0 {
		return nil
	}
	return goavro.Union("long", ms)
}

func native(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func nativeSource(s *Source) any {
	if s == nil {
		return nil
	}
	return goavro.Union("amends.v1.Source", map[string]any{"topic": s.Topic, "partition": s.Partition, "offset": s.Offset})
}

func nativeLifecycle(l *Lifecycle) map[string]any {
	detail := map[string]any{}
	for _, kv := range l.Detail {
		detail[kv.Key] = kv.Value
	}
	attention := []any{}
	for _, a := range l.Attention {
		attention = append(attention, a)
	}
	return map[string]any{
		"wid": l.WorkflowID, "run": int32(l.Run), "seq": int64(l.Seq), "rev": int64(l.Rev), "at": l.At,
		"kind": symbol(l.Kind), "path": opt(l.Path), "phase": l.Phase, "attention": attention, "cause": opt(l.Cause),
		"def": l.Definition, "detail": detail, "source": nativeSource(l.Source),
	}
}

// codecOf is the library's codec of the version that a record names.
func codecOf(b []byte) *goavro.Codec { return schemaByCode[binary.LittleEndian.Uint64(b[2:10])].codec }

func symbol(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }

func drawLifecycle(t *rapid.T) *Lifecycle {
	detail := rapid.MapOfN(rapid.String(), rapid.String(), 0, 5).Draw(t, "detail")
	l := &Lifecycle{
		WorkflowID: rapid.String().Draw(t, "wid"),
		Run:        rapid.Uint32Max(1<<31-1).Draw(t, "run"),
		Seq:        rapid.Uint64Max(1<<63-1).Draw(t, "seq"),
		Rev:        rapid.Uint64Max(1<<63-1).Draw(t, "rev"),
		At:         rapid.Int64Range(0, MaxTime).Draw(t, "at"),
		Kind:       rapid.SampledFrom(lifecycleKinds).Draw(t, "kind"),
		Path:       rapid.String().Draw(t, "path"),
		Phase:      rapid.String().Draw(t, "phase"),
		Attention:  rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "attention"),
		Cause:      rapid.String().Draw(t, "cause"),
		Definition: rapid.String().Draw(t, "def"),
		Source:     drawSource(t),
	}
	for _, k := range sortedKeys(detail) {
		l.Detail = append(l.Detail, KV{k, detail[k]})
	}
	return l
}

func drawSource(t *rapid.T) *Source {
	if rapid.Bool().Draw(t, "no source") {
		return nil
	}
	return &Source{rapid.StringMatching(`[a-z.]{0,20}`).Draw(t, "topic"), rapid.Int32Min(0).Draw(t, "partition"), rapid.Int64Min(0).Draw(t, "offset")}
}

// The writer by hand says what the library says: the library reads the same value from it, and
// writes the same bytes where it has no choice (it writes maps in random order).
func TestLifecycleEqualsLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLifecycle(t)
		got, err := AppendLifecycle([]byte("prefix"), l)
		if err != nil {
			t.Fatal(err)
		}
		got = bytes.TrimPrefix(got, []byte("prefix"))
		codec := codecOf(got)
		want := nativeLifecycle(l)
		read, rest, err := codec.NativeFromSingle(got)
		if err != nil || len(rest) > 0 || !cmp.Equal(read, any(want)) {
			t.Fatalf("the library reads %v, %v\nwant %v", read, err, want)
		}
		written, err := codec.SingleFromNative(nil, want)
		if err != nil || len(written) != len(got) || len(l.Detail) < 2 && !bytes.Equal(written, got) {
			t.Fatalf("the library writes %x, %v\ngot %x", written, err, got)
		}
		back, err := DecodeLifecycle(got)
		if err != nil || !cmp.Equal(back, l, cmpopts.EquateEmpty()) {
			t.Fatalf("got %+v, %v\nwant %+v", back, err, l)
		}
	})
}

// The same for the other records.
func TestRecordsEqualLibrary(t *testing.T) {
	id := rapid.StringMatching(`[a-z0-9/é-]{1,20}`)
	typ := rapid.StringMatching(`[a-z][a-z0-9-]{0,10}`)
	texts := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4)
	ms := rapid.Int64Range(0, MaxTime)
	nullable := func(branch string, n int64) any {
		if n == 0 {
			return nil
		}
		return goavro.Union(branch, n)
	}
	draw := map[string]func(t *rapid.T) (any, map[string]any, int){
		SchemaStart: func(t *rapid.T) (any, map[string]any, int) {
			s := &Start{Type: typ.Draw(t, "type"), ID: id.Draw(t, "id"), Version: rapid.Uint32Max(1<<31-1).Draw(t, "version"), StartID: rapid.String().Draw(t, "start id"),
				Input: []byte(`{"a":` + rapid.StringMatching(`[1-9][0-9]{0,9}`).Draw(t, "input") + `}`), NotBefore: ms.Draw(t, "not before"),
				ReplyTo: rapid.String().Draw(t, "reply to"), Tags: texts.Draw(t, "tags"), IssuedAt: ms.Draw(t, "issued at"), Causation: drawSource(t)}
			var version, parent any
			if s.Version != 0 {
				version = goavro.Union("int", int32(s.Version))
			}
			if rapid.Bool().Draw(t, "parent") {
				s.Parent = &Parent{"p/1", 4, "x", rapid.Bool().Draw(t, "reversible")}
				parent = goavro.Union("amends.v1.Parent", map[string]any{"wid": "p/1", "run": int32(4), "path": "x", "reversible": s.Parent.Reversible})
			}
			return s, map[string]any{"wid": s.WorkflowID(), "type": s.Type, "version": version, "startId": s.StartID, "input": s.Input, "inputSchema": "",
				"notBefore": optTime(s.NotBefore), "replyTo": opt(s.ReplyTo), "parent": parent, "tags": native(s.Tags), "issuedAt": s.IssuedAt, "causation": nativeSource(s.Causation)}, len(s.Tags)
		},
		SchemaSignal: func(t *rapid.T) (any, map[string]any, int) {
			s := &Signal{Type: typ.Draw(t, "type"), ID: id.Draw(t, "id"), Name: rapid.String().Draw(t, "name"), SignalID: rapid.String().Draw(t, "signal id"),
				Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload"), ContentType: rapid.String().Draw(t, "content type"), Actor: rapid.String().Draw(t, "actor"),
				TTL: ms.Draw(t, "ttl"), IssuedAt: ms.Draw(t, "issued at")}
			return s, map[string]any{"wid": s.WorkflowID(), "name": s.Name, "signalId": s.SignalID, "payload": s.Payload, "contentType": s.ContentType,
				"actor": opt(s.Actor), "ttlMs": nullable("long", s.TTL), "issuedAt": s.IssuedAt}, 0
		},
		SchemaCancel: func(t *rapid.T) (any, map[string]any, int) {
			c := &Cancel{Type: typ.Draw(t, "type"), ID: id.Draw(t, "id"), RequestID: rapid.String().Draw(t, "request"), Reason: rapid.String().Draw(t, "reason"),
				Actor: rapid.String().Draw(t, "actor"), VoidTTL: ms.Draw(t, "ttl")}
			return c, map[string]any{"wid": c.WorkflowID(), "requestId": c.RequestID, "reason": c.Reason, "actor": c.Actor, "voidTtlMs": c.VoidTTL}, 0
		},
		SchemaAdmin: func(t *rapid.T) (any, map[string]any, int) {
			a := &Admin{Type: typ.Draw(t, "type"), ID: id.Draw(t, "id"), RequestID: rapid.String().Draw(t, "request"), Action: rapid.SampledFrom(actions).Draw(t, "action"),
				Path: rapid.String().Draw(t, "path"), Args: texts.Draw(t, "args"), Operator: rapid.String().Draw(t, "operator"), Approver: rapid.String().Draw(t, "approver"),
				Reason: rapid.String().Draw(t, "reason"), ExpectRev: rapid.Uint64Max(1<<63-1).Draw(t, "rev")}
			return a, map[string]any{"wid": a.WorkflowID(), "requestId": a.RequestID, "action": symbol(string(a.Action)), "path": opt(a.Path), "args": native(a.Args),
				"operator": a.Operator, "approver": opt(a.Approver), "reason": a.Reason, "expectRev": int64(a.ExpectRev)}, len(a.Args)
		},
		SchemaCommand: func(t *rapid.T) (any, map[string]any, int) {
			c := &CommandRecord{Token: rapid.String().Draw(t, "token"), WorkflowID: rapid.String().Draw(t, "wid"), Type: rapid.String().Draw(t, "type"), Path: rapid.String().Draw(t, "path"),
				Op: rapid.SampledFrom([]Op{OpDo, OpUndo, OpInquire}).Draw(t, "op"), Name: rapid.String().Draw(t, "name"), Key: rapid.String().Draw(t, "key"),
				ForwardKey: rapid.String().Draw(t, "fwd"), Attempt: rapid.Uint32Max(1<<31-1).Draw(t, "attempt"), Round: rapid.Uint32Max(1<<31-1).Draw(t, "round"),
				Deadline: ms.Draw(t, "deadline"), ReplyTo: rapid.String().Draw(t, "reply to"), ReplyPartition: rapid.Int32Min(0).Draw(t, "partition"),
				Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload"), Schema: rapid.String().Draw(t, "schema"), Trace: rapid.String().Draw(t, "trace")}
			return c, map[string]any{"token": c.Token, "wid": c.WorkflowID, "type": c.Type, "path": c.Path, "op": symbol(string(c.Op)), "command": c.Name, "key": c.Key,
				"fwdKey": opt(c.ForwardKey), "attempt": int32(c.Attempt), "round": int32(c.Round), "deadline": optTime(c.Deadline), "replyTo": c.ReplyTo,
				"replyPartition": c.ReplyPartition, "payload": c.Payload, "schema": c.Schema, "traceparent": c.Trace}, 0
		},
		SchemaReply: func(t *rapid.T) (any, map[string]any, int) {
			r := &ReplyRecord{Token: rapid.String().Draw(t, "token"), Outcome: rapid.SampledFrom(allOutcomes).Draw(t, "outcome"), Code: rapid.String().Draw(t, "code"),
				Message: rapid.String().Draw(t, "message"), RetryAfter: ms.Draw(t, "retry"), Noop: rapid.Bool().Draw(t, "noop"), Replayed: rapid.Bool().Draw(t, "replayed"),
				Handle: texts.Draw(t, "handle"), Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload")}
			var effect any
			if rapid.Bool().Draw(t, "effect") {
				r.Effect = r.Outcome.DefaultEffect()
				effect = goavro.Union("amends.v1.Effect", symbol(string(r.Effect)))
			}
			return r, map[string]any{"token": r.Token, "outcome": symbol(string(r.Outcome)), "effect": effect, "code": opt(r.Code), "message": opt(r.Message),
				"retryAfterMs": nullable("long", r.RetryAfter), "noop": r.Noop, "replayed": r.Replayed, "handle": native(r.Handle), "payload": r.Payload}, len(r.Handle)
		},
		SchemaChildDone: func(t *rapid.T) (any, map[string]any, int) {
			d := &ChildDone{Type: typ.Draw(t, "type"), ID: id.Draw(t, "id"), Run: rapid.Uint32Max(1<<31-1).Draw(t, "run"), Path: rapid.String().Draw(t, "path"),
				Child: rapid.String().Draw(t, "child"), End: rapid.SampledFrom(ends).Draw(t, "end"), Code: rapid.String().Draw(t, "code"),
				Message: rapid.String().Draw(t, "message"), Output: rapid.SliceOf(rapid.Byte()).Draw(t, "output")}
			return d, map[string]any{"wid": d.WorkflowID(), "run": int32(d.Run), "path": d.Path, "child": d.Child, "end": symbol(string(d.End)), "code": opt(d.Code),
				"message": opt(d.Message), "output": d.Output}, 0
		},
		SchemaReverse: func(t *rapid.T) (any, map[string]any, int) {
			k := Kin{Type: typ.Draw(t, "type"), ID: id.Draw(t, "id"), Parent: rapid.String().Draw(t, "parent"), Run: rapid.Uint32Max(1<<31-1).Draw(t, "run"), Path: rapid.String().Draw(t, "path")}
			r := Reverse(k)
			return &r, map[string]any{"wid": r.WorkflowID(), "parent": k.Parent, "run": int32(k.Run), "path": k.Path}, 0
		},
		SchemaParentClosed: func(t *rapid.T) (any, map[string]any, int) {
			k := Kin{Type: typ.Draw(t, "type"), ID: id.Draw(t, "id"), Parent: rapid.String().Draw(t, "parent"), Run: rapid.Uint32Max(1<<31-1).Draw(t, "run"), Path: rapid.String().Draw(t, "path")}
			r := ParentClosed(k)
			return &r, map[string]any{"wid": r.WorkflowID(), "parent": k.Parent, "run": int32(k.Run), "path": k.Path}, 0
		},
	}
	for name, draw := range draw {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				rec, want, entries := draw(t)
				got, err := AppendAvro(nil, rec)
				if err != nil {
					t.Fatal(err)
				}
				codec := codecOf(got)
				written, err := codec.SingleFromNative(nil, want)
				if err != nil || len(written) != len(got) || entries < 2 && !bytes.Equal(written, got) {
					t.Fatalf("the library writes %x, %v\ngot %x of %+v", written, err, got, rec)
				}
				read, _, err := codec.NativeFromSingle(got)
				if err != nil || !cmp.Equal(read, any(want), cmpopts.EquateEmpty()) {
					t.Fatalf("the library reads %v, %v\nwant %v", read, err, want)
				}
				back, err := DecodeAvro(got)
				if err != nil || !cmp.Equal(back, rec, cmpopts.EquateEmpty()) {
					t.Fatalf("got %+v, %v\nwant %+v", back, err, rec)
				}
			})
		})
	}
}

func TestAppendAvroRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"unknown kind":       &Lifecycle{Kind: "begun"},
		"run":                &Lifecycle{Kind: "started", Run: 1 << 31},
		"seq":                &Lifecycle{Kind: "started", Seq: 1 << 63},
		"UTF-8":              &Lifecycle{Kind: "started", Cause: "\xff"},
		"detail twice":       &Lifecycle{Kind: "started", Detail: []KV{{"a", "1"}, {"a", "2"}}},
		"detail unsorted":    &Lifecycle{Kind: "started", Detail: []KV{{"b", "1"}, {"a", "2"}}},
		"unknown action":     &Admin{Action: "explode"},
		"unknown op":         &CommandRecord{Op: "redo"},
		"unknown outcome":    &ReplyRecord{Outcome: "fine"},
		"another type":       "text",
		"unknown effect":     &ReplyRecord{Outcome: OutcomeOK, Effect: "some"},
		"rev of an admin":    &Admin{Action: ActionClose, ExpectRev: 1 << 63},
		"version of a start": &Start{Version: 1 << 31},
	} {
		dst := []byte("kept")
		if got, err := AppendAvro(dst, v); err == nil || string(got) != "kept" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// varint writes an Avro long.
func varint(n int64) []byte { return binary.AppendVarint(nil, n) }

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestHostileAvro(t *testing.T) {
	header := func(name string) []byte { return schemas[name].header }
	str := func(s string) []byte { return append(varint(int64(len(s))), s...) }
	// startTo is a StartSaga up to its tags.
	startTo := concat(header(SchemaStart), str("t/x"), str("t"), varint(0), str(""), str("{}"), str(""), varint(0), varint(0), varint(0))
	lifecycleTo := concat(header(SchemaLifecycle), str("t/x"), varint(1), varint(1), varint(1), varint(1), varint(0), varint(0), str("running"))
	deep := []byte(`{"a":` + strings.Repeat("[", 200_000))
	for name, b := range map[string][]byte{
		"only the marker":        {0xC3, 0x01},
		"unknown fingerprint":    {0xC3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9},
		"no body":                header(SchemaStart),
		"huge map":               concat(startTo, varint(1<<40)),
		"map over the limit":     concat(startTo, varint(MaxAvroBlockCount+1)),
		"map at the limit":       concat(startTo, varint(MaxAvroBlockCount)),
		"negative huge map":      concat(startTo, varint(-1<<40), varint(10)),
		"most negative map":      concat(startTo, varint(-1<<63), varint(10)),
		"many empty tags":        concat(startTo, varint(3), str("a"), str(""), str("b"), str(""), str("a"), str("")),
		"huge array":             concat(lifecycleTo, varint(1<<40)),
		"array over the limit":   concat(lifecycleTo, varint(MaxAvroBlockCount+1)),
		"array at the limit":     concat(lifecycleTo, varint(MaxAvroBlockCount)),
		"huge string":            concat(header(SchemaCancel), varint(1<<40), []byte("abc")),
		"negative string":        concat(header(SchemaCancel), varint(-1), []byte("abc")),
		"endless varint":         concat(header(SchemaCancel), bytes.Repeat([]byte{0xff}, 1000)),
		"bad union":              concat(header(SchemaStart), str("t/x"), str("t"), varint(7)),
		"bad enum":               concat(header(SchemaAdmin), str("t/x"), str(""), varint(99)),
		"bytes after":            append(sampleAvro()[2], 0),
		"bad UTF-8":              concat(header(SchemaCancel), str("t/x"), str("\xff"), str(""), str(""), varint(0)),
		"bad workflow ID":        concat(header(SchemaCancel), str("no-slash"), str(""), str(""), str(""), varint(0)),
		"negative time to live":  concat(header(SchemaCancel), str("t/x"), str(""), str(""), str(""), varint(-5)),
		"deep input":             concat(header(SchemaStart), str("t/x"), str("t"), varint(0), str(""), str(string(deep)), str(""), varint(0), varint(0), varint(0), varint(0), varint(0), varint(0)),
		"input is no object":     concat(header(SchemaStart), str("t/x"), str("t"), varint(0), str(""), str("[]"), str(""), varint(0), varint(0), varint(0), varint(0), varint(0), varint(0)),
		"type is not of the wid": concat(header(SchemaStart), str("t/x"), str("u"), varint(0), str(""), str("{}"), str(""), varint(0), varint(0), varint(0), varint(0), varint(0), varint(0)),
		"oversized":              append(header(SchemaStart)[:10:10], make([]byte, MaxRecordBytes)...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := DecodeAvro(b)
		runtime.ReadMemStats(&after)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v", name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
			t.Errorf("%s: %d bytes were allocated for %d", name, grown, len(b))
		}
	}
}

func TestIntakeAvro(t *testing.T) {
	all := sampleAvro()
	got, err := DecodeIntake(nil, all[0], nil)
	if s, ok := got.(*Start); err != nil || !ok || s.WorkflowID() != "t/o-1" {
		t.Errorf("start: %+v, %v", got, err)
	}
	got, err = DecodeIntake(nil, all[2], nil)
	if c, ok := got.(*Cancel); err != nil || !ok || c.WorkflowID() != "t/o-1" {
		t.Errorf("cancel: %+v, %v", got, err)
	}
	got, err = DecodeControl(nil, all[3], nil)
	if a, ok := got.(*Admin); err != nil || !ok || a.Action != ActionRetryNewKey {
		t.Errorf("admin: %+v, %v", got, err)
	}
	// What instances tell one another is believed on the control topic only: whoever may start a saga
	// must not be able to end a step of another.
	intake, control := []int{0, 1, 2}, []int{2, 3, 7, 8, 9, 10}
	for i, b := range all {
		_, err := DecodeIntake(nil, b, nil)
		if slices.Contains(intake, i) != (err == nil) {
			t.Errorf("intake accepts record %d: %v", i, err)
		}
		if _, err := DecodeControl(nil, b, nil); slices.Contains(control, i) != (err == nil) {
			t.Errorf("control accepts record %d: %v", i, err)
		}
	}
	for _, s := range []*Start{
		{Type: "t", ID: "x", Input: []byte("{}"), Parent: &Parent{"p/1", 1, "a", false}},
		{Type: "t", ID: "x", Input: []byte("{}"), NotBefore: 5},
	} {
		b, _ := AppendAvro(nil, s)
		_, err := DecodeIntake(nil, b, nil)
		var e *Error
		if !errors.As(err, &e) || e.Class != ClassUnsupported {
			t.Errorf("%+v: %v", s, err)
		}
	}
	keyed, _ := AppendAvro(nil, &Start{Type: "t", Input: []byte("{}")})
	got, err = DecodeIntake([]byte("t/k-1"), keyed, nil)
	if s, ok := got.(*Start); err != nil || !ok || s.WorkflowID() != "t/k-1" || !s.IDFromKey {
		t.Errorf("id from the key: %+v, %v", got, err)
	}
}

func FuzzAvro(f *testing.F) {
	for _, b := range sampleAvro() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeAvro(b)
		if err != nil {
			return
		}
		again, err := AppendAvro(nil, v)
		if err != nil {
			t.Fatalf("cannot write %+v: %v", v, err)
		}
		back, err := DecodeAvro(again)
		if err != nil || !cmp.Equal(back, v, cmpopts.EquateEmpty()) {
			t.Fatalf("got %+v, %v\nwant %+v", back, err, v)
		}
	})
}

func FuzzDecodeLifecycle(f *testing.F) {
	for _, b := range sampleAvro() {
		f.Add(b[10:])
	}
	header := schemas[SchemaLifecycle].header
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := DecodeLifecycle(append(header[:10:10], body...))
		if err != nil {
			return
		}
		again, err := AppendLifecycle(nil, l)
		if err != nil {
			t.Fatalf("cannot write %+v: %v", l, err)
		}
		if back, err := DecodeLifecycle(again); err != nil || !cmp.Equal(back, l, cmpopts.EquateEmpty()) {
			t.Fatalf("got %+v, %v\nwant %+v", back, err, l)
		}
	})
}

var sampleLifecycle = &Lifecycle{WorkflowID: "card-payment/order-1", Run: 1, Seq: 12, Rev: 9, At: 1900000000000, Kind: "step-done", Path: "auth",
	Phase: "running", Definition: "card-payment@3", Detail: []KV{{"attempt", "1"}, {"key", "4dc5a6a2-7c0d-4b8b-9a57-0c2a3a3f8f11"}},
	Source: &Source{"pay.saga.replies", 7, 123456}}

func BenchmarkAppendLifecycle(b *testing.B) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = AppendLifecycle(buf[:0], sampleLifecycle); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendLifecycleLibrary(b *testing.B) {
	codec := schemas[SchemaLifecycle].codec
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = codec.SingleFromNative(buf[:0], nativeLifecycle(sampleLifecycle)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeLifecycle(b *testing.B) {
	buf, _ := AppendLifecycle(nil, sampleLifecycle)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeLifecycle(buf); err != nil {
			b.Fatal(err)
		}
	}
}
