package query

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func row() *Row {
	return &Row{WorkflowID: "pay/order-1", Type: "pay", Version: 2, Run: 1, Status: "attention", Phase: "running", Attention: true, Active: true,
		Started: epoch.Add(-time.Hour).UnixMilli(), Updated: epoch.Add(-time.Minute).UnixMilli(),
		Tags: func() []Tag { return []Tag{{"customer", "c-1"}, {"region", "eu"}} }}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		src   string
		want  bool
		plain bool // no CEL is needed
	}{
		{``, true, true},
		{`status == "attention"`, true, true},
		{`status == "running"`, false, true},
		{`phase == "running" && type == "pay"`, true, true},
		{`"pay" == type`, true, true},
		{`phase in ["running", "finishing"]`, true, true},
		{`phase in []`, false, true},
		{`version == 2 && run == 1`, true, false},
		{`version in [1, 2]`, true, true},
		{`version in [1, 2] && version == 1`, false, true},
		{`version > 1`, true, false},
		{`tags.customer == "c-1"`, true, true},
		{`tags["customer"] == "c-1"`, true, true},
		{`tags.customer == "c-2"`, false, true},
		{`tags.nobody == "c-2"`, false, true},
		{`tags.nobody != "c-2"`, false, false},
		{`has(tags.region)`, true, false},
		{`tags.?nobody.orValue("x") == "x"`, true, false},
		{`started > now - duration("2h")`, true, true},
		{`started > now - duration("30m")`, false, true},
		{`started < timestamp("2026-11-21T11:00:00.0001Z")`, true, true},
		{`started <= timestamp("2026-11-21T11:00:00Z")`, true, true},
		{`started < timestamp("2026-11-21T11:00:00Z")`, false, true},
		{`timestamp("2026-11-21T11:00:00Z") == started`, true, false},
		{`now - duration("2h") < started`, true, true},
		{`due == timestamp(0)`, true, false},
		{`id.startsWith("order-")`, true, true},
		{`workflowId.startsWith("pay/") && workflowId.startsWith("pay/o")`, true, true},
		{`workflowId.startsWith("pay/") && workflowId.startsWith("x")`, false, false},
		{`attention && active`, true, true},
		{`!attention`, false, true},
		{`status == "running" || tags.region == "eu"`, true, false},
		{`id.matches("^order-[0-9]+$")`, true, false},
		{`updated.getFullYear() == 2026`, true, false},
	} {
		q, err := Compile(c.src, epoch)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		if got := q.Match(row()); got != c.want || (q.rest == nil) != c.plain {
			t.Errorf("%s: %t, want %t; plain %t, want %t", c.src, got, c.want, q.rest == nil, c.plain)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, src := range []string{
		`status`, `status = "x"`, `colour == "red"`, `version == "2"`, `1 + 1`, `tags.x == 1`,
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), strings.Repeat("attention && ", 1000) + "true",
		`id.matches("` + strings.Repeat("(a{1,100}){1,100}", 20) + `")`,
	} {
		if _, err := Compile(src, epoch); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.60s: %v", src, err)
		}
	}
}

// TestCost: an expensive condition matches nothing instead of taking long.
func TestCost(t *testing.T) {
	list := "[" + strings.TrimSuffix(strings.Repeat("1,", 90), ",") + "]"
	q, err := Compile(list+".all(a, "+list+".all(b, "+list+".all(c, a == b && b == c)))", epoch)
	if err != nil {
		t.Fatal(err)
	}
	if q.Match(row()) {
		t.Error("it cost nothing")
	}
}

func TestAnd(t *testing.T) {
	q, err := Compile(`tags.region == "eu"`, epoch)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status, typ string
		want        bool
	}{{"", "", true}, {"running", "", true}, {"attention", "pay", true}, {"completed", "", false}, {"", "refund", false}} {
		if got := q.And(c.status, c.typ).Match(row()); got != c.want {
			t.Errorf("%s %s: %t", c.status, c.typ, got)
		}
	}
}

// TestPlainAgrees: what is compared without CEL is what CEL would say.
func TestPlainAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
		part := func() string {
			op := pick("op", "==", "<", "<=", ">", ">=")
			switch pick("part", "text", "in", "tag", "time", "time2", "flag", "prefix", "version") {
			case "text":
				return pick("name", "status", "phase", "type") + ` == "` + pick("value", "running", "attention", "pay", "x") + `"`
			case "in":
				return pick("name", "status", "phase", "type") + ` in ["` + pick("value", "running", "attention", "pay", "x") + `", "y"]`
			case "tag":
				return "tags." + pick("tag", "customer", "region") + ` == "` + pick("value", "c-1", "eu") + `"`
			case "time":
				return pick("name", "started", "updated") + " " + op + ` now - duration("` + pick("d", "1h", "1m", "59m59.9999s", "90m") + `")`
			case "time2":
				return `now - duration("` + pick("d", "1h", "1m", "60000.4ms") + `") ` + op + " " + pick("name", "started", "updated")
			case "flag":
				return pick("not", "", "!") + pick("name", "attention", "active")
			case "prefix":
				return pick("name", "id", "workflowId") + `.startsWith("` + pick("value", "pay", "order", "pay/o", "") + `")`
			}
			return fmt.Sprintf("version in [%d, 7]", rapid.IntRange(1, 3).Draw(t, "version"))
		}
		parts := []string{part()}
		for range rapid.IntRange(0, 3).Draw(t, "more") {
			parts = append(parts, part())
		}
		src := strings.Join(parts, " && ")
		plain, err := Compile(src, epoch)
		if err != nil {
			t.Fatal(err)
		}
		// The same condition in a form that split does not see through.
		whole, err := Compile("("+src+") || false", epoch)
		if err != nil {
			t.Fatal(err)
		}
		if whole.rest == nil {
			t.Fatalf("%s: not decided by CEL", src)
		}
		if a, b := plain.Match(row()), whole.Match(row()); a != b {
			t.Fatalf("%s: %t without CEL, %t with it", src, a, b)
		}
	})
}
