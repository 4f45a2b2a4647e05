package derive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/amendsio/amends/sagas"
)

// drawJSON draws a value over few names, so that paths often meet something.
func drawJSON(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	if depth == 0 {
		kind = 0
	}
	blank := rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "blank")
	switch {
	case depth > 0 && kind <= 6:
		var b strings.Builder
		b.WriteString("{" + blank)
		names := rapid.Permutation([]string{`"a"`, `"b"`, `"c"`, `"\u0064"`, `"é"`}).Draw(t, "names")
		for i, name := range names[:rapid.IntRange(0, 5).Draw(t, "n")] {
			if i > 0 {
				b.WriteString(blank + ",")
			}
			b.WriteString(blank + name + blank + ":" + drawJSON(t, depth-1))
		}
		return b.String() + "}" + blank
	case depth > 0 && kind == 7:
		return "[" + drawJSON(t, depth-1) + "," + drawJSON(t, 0) + "]"
	}
	return blank + rapid.SampledFrom([]string{`"x"`, `"y"`, `""`, `"x\n"`, `"\u0078"`, `"é"`, `1`, `-7`, `0`, `1.0`, `1e2`, `12345678901234567890`, `true`, `false`, `null`, `{}`, `[]`}).Draw(t, "leaf")
}

func drawObject(t *rapid.T) string {
	for range 20 {
		if s := strings.TrimSpace(drawJSON(t, 3)); s[0] == '{' {
			return s
		}
	}
	return `{"a":{"b":"x"}}`
}

func drawCondition(t *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 4).Draw(t, "form") {
		case 0:
			return "(" + drawCondition(t, depth-1) + " && " + drawCondition(t, depth-1) + ")"
		case 1:
			return "(" + drawCondition(t, depth-1) + " || " + drawCondition(t, depth-1) + ")"
		case 2:
			return "!(" + drawCondition(t, depth-1) + ")"
		}
	}
	path := rapid.SampledFrom([]string{"input.a", "input.a.b", "input.b", "input.?c.orValue(1)", "input.a.?b.orValue('x')", "input.d", "input.c.a.b"}).Draw(t, "path")
	lit := rapid.SampledFrom([]string{`"x"`, `""`, `1`, `0`, `-7`, `100`, `true`, `false`, `"é"`}).Draw(t, "literal")
	switch rapid.IntRange(0, 4).Draw(t, "test") {
	case 0:
		return "has(" + rapid.SampledFrom([]string{"input.a", "input.a.b", "input.b.c"}).Draw(t, "has") + ")"
	case 1:
		return path + " in [" + lit + ", 'y', 7]"
	case 2:
		return lit + " " + rapid.SampledFrom([]string{"==", "!=", "<", "<=", ">", ">="}).Draw(t, "op") + " " + path
	case 3:
		return path + " == true"
	}
	return path + " " + rapid.SampledFrom([]string{"==", "!=", "<", "<=", ">", ">="}).Draw(t, "op") + " " + lit
}

// TestConditionAgrees: whatever the bytes of a record say about a condition, CEL says too.
func TestConditionAgrees(t *testing.T) {
	decided := 0
	rapid.Check(t, func(t *rapid.T) {
		text := drawCondition(t, 2)
		x, problems := sagas.CompileRecordExpr(text, sagas.WantBool)
		if len(problems) > 0 {
			t.Skip(problems)
		}
		s := newSlots()
		c := newCondition(x, s)
		r := &record{scanner: *newScanner(s)}
		for range 5 {
			value := drawObject(t)
			if err := r.take(nil, []byte(value)); err != nil {
				t.Fatalf("%s: %v", value, err)
			}
			v := c.fast(&r.scanner)
			if v == unknown {
				continue
			}
			decided++
			want, err := r.cel().Bool(x)
			if err != nil || want != (v == yes) {
				t.Fatalf("%s of %s: the bytes say %v, CEL says %v %v", text, value, v == yes, want, err)
			}
		}
	})
	if decided == 0 {
		t.Error("the bytes never decided anything")
	}
}

// TestPathAgrees: a field picked from the bytes is the one that CEL picks.
func TestPathAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"input.a", "input.a.b", "input.a.b.c", "input.?a", "input.a.?b", "input.?a.b", "input.?a.?b.c", "input.?a.b.orValue(7)", "input.d", "input['é']"}).Draw(t, "path")
		x, problems := sagas.CompileRecordExpr(text, sagas.WantValue)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		s := newSlots()
		p := pathOf(x.Tree(), s)
		if p == nil {
			if text == "input['é']" {
				t.Skip("left to CEL")
			}
			t.Fatalf("%s is not recognised", text)
		}
		r := &record{scanner: *newScanner(s)}
		value := drawObject(t)
		if err := r.take(nil, []byte(value)); err != nil {
			t.Fatal(err)
		}
		raw, has, err := p.find(&r.scanner)
		slow, slowHas, slowErr := r.cel().Append(nil, x)
		if (err != nil) != (slowErr != nil) || has != slowHas {
			t.Fatalf("%s of %s: %s %v %v, CEL %s %v %v", text, value, raw, has, err, slow, slowHas, slowErr)
		}
		if err == nil && has {
			canonical, err := sagas.CanonicalJSON(raw)
			if err != nil || !bytes.Equal(canonical, slow) {
				t.Fatalf("%s of %s: %s, CEL %s", text, value, raw, slow)
			}
		}
	})
}

// agree compares the scanner with encoding/json on any bytes.
func agree(value []byte) error {
	s := newSlots()
	ids := s.add([]string{"a", "b"})
	sc := newScanner(s)
	err := sc.scan(value)
	var want map[string]json.RawMessage
	wantErr := json.Unmarshal(value, &want)
	trimmed := bytes.TrimLeft(value, " \t\r\n")
	if wantErr == nil && (len(trimmed) == 0 || trimmed[0] != '{') {
		wantErr = errNotObject // null
	}
	if err == nil && wantErr != nil {
		return fmt.Errorf("%q was taken, encoding/json says %w", value, wantErr)
	}
	if err != nil {
		if wantErr == nil && err != errUTF8 && err != errDepth && !strings.Contains(err.Error(), "twice") {
			return fmt.Errorf("%q was refused: %w", value, err)
		}
		return nil
	}
	raw, found := want["a"]
	at := sc.found[ids[0]]
	if found != (at.to != 0) || found && !bytes.Equal(value[at.from:at.to], raw) {
		return fmt.Errorf("%q: a is %q, encoding/json says %q", value, value[at.from:at.to], raw)
	}
	return nil
}

func TestScanAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := []byte(drawJSON(t, 4))
		for range rapid.IntRange(0, 2).Draw(t, "damages") {
			if i := rapid.IntRange(0, len(value)).Draw(t, "at"); i < len(value) {
				value[i] = rapid.SampledFrom([]byte(`{}[]",:\0-e.tn `+"\x01\xff")).Draw(t, "byte")
			} else if len(value) > 0 {
				value = value[:len(value)-1]
			}
		}
		if err := agree(value); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"b":1}}`, `{"\u0061":[1.5e-3,null,"\ud83d\ude00"]} `, `{"a":01}`, `[`, `null`, `{"a":1,}`, `{"b":{"a":2}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if err := agree(value); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkHandle is the work per wide record without Kafka: scan, four conditions, four projections.
func BenchmarkHandle(b *testing.B) {
	st := parse(b, wideStage)
	h := &handler{st: st, record: record{scanner: *newScanner(st.slots)}}
	value := wideRecord(1)
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if err := h.record.take(nil, value); err != nil {
			b.Fatal(err)
		}
		for i := range st.targets {
			tg := &st.targets[i]
			if ok, err := tg.where.holds(&h.record); err != nil || !ok {
				if err != nil {
					b.Fatal(err)
				}
				continue
			}
			out, _, err := tg.value.append(h.buf[:0], &h.record)
			if err != nil {
				b.Fatal(err)
			}
			h.buf = out
		}
	}
}

const wideStage = `
derive: bench
from: {topic: wide}
to:
  - {topic: a, where: '=input.kind == "payment"', value: {id: '=input.id', amount: '=input.amount'}}
  - {topic: b, where: '=input.amount > 10', value: {id: '=input.id', city: '=input.address.city'}}
  - {topic: c, value: {id: '=input.id', f: '=input.field33'}}
  - {topic: d, where: '=input.kind in ["refund", "payment"]', value: {id: '=input.id', last: '=input.last'}}
`

func wideRecord(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"id":"` + strconv.Itoa(n) + `","kind":"payment","amount":1500,"address":{"street":"Long Street 1","city":"Oslo"}`)
	for i := range 50 {
		fmt.Fprintf(&b, `,"field%d":"the value of field %d"`, i, i)
	}
	return []byte(b.String() + `,"last":[1,2,3]}`)
}
