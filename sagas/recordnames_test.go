package sagas

import "testing"

func TestRecordLanguage(t *testing.T) {
	l, err := NewRecordLanguage("status", "body")
	if err != nil {
		t.Fatal(err)
	}
	var v RecordValues
	v.Reset([]byte(`{"b":1, "a":{"x":"y"}}`), "k")
	for name, value := range map[string]string{"status": "402", "body": `{"error": {"code":"NO_FUNDS"}, "list":[1,2]}`} {
		if err := v.Set(name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"status == 402 && body.error.code == 'NO_FUNDS'": "true",
		"body.error.code":          `"NO_FUNDS"`,
		"body.?missing":            "",
		"status":                   "402",
		"input.a":                  `{"x":"y"}`,
		"body.list.map(x, x * 2)":  "[2,4]",
		"key + string(status)":     `"k402"`,
		"{'s': status, 'i': body}": `{"i":{"error":{"code":"NO_FUNDS"},"list":[1,2]},"s":402}`,
	} {
		x, problems := l.Compile(text, WantValue)
		if problems != nil {
			t.Errorf("%s: %v", text, problems)
			continue
		}
		got, has, err := v.Append(nil, x)
		if err != nil || string(got) != want || has != (want != "") {
			t.Errorf("%s: got %s, %v, %v; want %s", text, got, has, err, want)
		}
	}
	for _, text := range []string{"step.a.b", "saga.now", "other", "event.x", "index"} {
		if _, problems := l.Compile(text, WantValue); problems == nil {
			t.Errorf("%s compiles", text)
		}
	}
	if _, problems := CompileRecordExpr("status", WantValue); problems == nil {
		t.Error("a record without names knows status")
	}
	if _, err := NewRecordLanguage("input"); err == nil {
		t.Error("the name input was given twice")
	}
	if err := v.Set("body", []byte("{")); err == nil {
		t.Error("half an object was taken")
	}
	// What one record set, the next does not see.
	v.Reset([]byte("{}"), "")
	x, _ := l.Compile("body.error.code", WantValue)
	if got, has, err := v.Append(nil, x); err == nil && has {
		t.Errorf("got %s from the record before", got)
	}
}
