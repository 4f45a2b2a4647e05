package sagas

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rewriteCases are texts that are at an edge of what the rewriter knows.
var rewriteCases = []string{
	`{"to":"b","from":"a","n":{"z":1,"a":[{"y":2,"b":3},{}]}}`, `{"b":1,"a":2,"b":3}`, `{"a":1,"a":1}`, `{"":1,"a":{"":2}}`,
	` [ 1 , -2 , 0 ] `, `-0`, `01`, `-`, `1.0`, `1e2`, `999999999999999999`, `9999999999999999999`, `"é"`, "\"\xff\"", "{\"\xff\":1}",
	`"a\nb"`, "\"a\nb\"", "\"\x7f\"", `tru`, `truex`, `null`, `{"a" :1 , "b": [ ] }`, `{"a":1,}`, `[1,]`, `{"a"}`, `{`, ``, ` `, "\x00", `[1 2]`, `{} {}`,
	strings.Repeat("[", MaxValueDepth) + strings.Repeat("]", MaxValueDepth), strings.Repeat("[", MaxValueDepth+1) + strings.Repeat("]", MaxValueDepth+1),
	strings.Repeat(`{"a":`, MaxValueDepth) + "1" + strings.Repeat("}", MaxValueDepth), strings.Repeat(`{"a":`, MaxValueDepth+1) + "1" + strings.Repeat("}", MaxValueDepth+1),
}

// sameAsParsed fails when the rewriter takes what the parser refuses, or makes something else of it.
func sameAsParsed(t interface{ Fatalf(string, ...any) }, src []byte) (rewritten bool) {
	before := bytes.Clone(src)
	got, ok := rewriteJSON(src)
	if !bytes.Equal(src, before) {
		t.Fatalf("the source was changed: %q", before)
	}
	if !ok {
		return false
	}
	want, err := parsedJSON(src)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%q: rewritten %q, parsed %q, %v", src, got, want, err)
	}
	return true
}

func TestRewriteEdges(t *testing.T) {
	rewritten := 0
	for _, s := range rewriteCases {
		if sameAsParsed(t, []byte(s)) {
			rewritten++
		}
	}
	if rewritten < 8 {
		t.Errorf("%d of %d cases were rewritten: the rest says nothing", rewritten, len(rewriteCases))
	}
	if !sameAsParsed(t, []byte(rewriteCases[0])) {
		t.Error("a plain object is not rewritten")
	}
}

// TestRewriteIsParsed: on drawn texts, most of which are JSON, the two ways agree.
func TestRewriteIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		var value func(depth int)
		blank := func() { b.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "\n\t"}).Draw(t, "blank")) }
		text := func() {
			b.WriteString(`"` + rapid.SampledFrom([]string{"", "a", "b", "ab", "é", `\n`, `\u0041`, "\xff", "\x01", "z z"}).Draw(t, "text") + `"`)
		}
		value = func(depth int) {
			blank()
			switch k := rapid.IntRange(0, 5).Draw(t, "kind"); {
			case k == 0 && depth < 4:
				b.WriteByte('{')
				for i := range rapid.IntRange(0, 5).Draw(t, "members") {
					if i > 0 {
						b.WriteByte(',')
					}
					blank()
					text()
					blank()
					b.WriteByte(':')
					value(depth + 1)
				}
				b.WriteByte('}')
			case k == 1 && depth < 4:
				b.WriteByte('[')
				for i := range rapid.IntRange(0, 4).Draw(t, "items") {
					if i > 0 {
						b.WriteByte(',')
					}
					value(depth + 1)
				}
				b.WriteByte(']')
			case k <= 3:
				text()
			default:
				b.WriteString(rapid.SampledFrom([]string{"0", "-0", "7", "-12", "007", "1.5", "1e3", "123456789012345678", "1234567890123456789", "true", "false", "null", "nul", "-", "+1", ""}).Draw(t, "word"))
			}
			blank()
		}
		value(0)
		sameAsParsed(t, []byte(b.String()))
	})
}

// BenchmarkRewrite: a start of 200 bytes whose fields are not in order, both ways.
func BenchmarkRewrite(b *testing.B) {
	src := []byte(`{"from":"DE-1","to":"DE-2","amount":1500,"note":"` + strings.Repeat("0", 110) + `"}`)
	for name, fn := range map[string]func([]byte) ([]byte, error){"rewritten": CanonicalJSON, "parsed": parsedJSON} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := fn(src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
